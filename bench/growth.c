/* How the cost of an operation grows with what is there already: descriptors, tasks, path components, bytes, ...
 *
 *     growth [-t MILLISECONDS] ROW N     one JSON line: nanoseconds for one operation where there are N
 *     growth -l                          the names of the rows
 *
 * The median of BATCHES batches. The current directory has a file "big" and directories d/d/d/..., each with a file
 * "f" (growth.py makes them). Static, as micro.c.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 15
#define PAGE 4096
#define MOST 20000

static int count; /* N */
static int fds[MOST], others[MOST];
static char path[PAGE];
static char *buffer;
static int fd = -1;
static pid_t last;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what)
{
    printf("{\"error\": \"%s: %m\"}\n", what);
    exit(1);
}

static long must(long result, const char *what)
{
    if (result < 0)
        fail(what);
    return result;
}

/* -- set-ups ------------------------------------------------------------------------------------ */

static void open_many(void)
{
    for (int i = 0; i < count; i++)
        fds[i] = (int)must(open("/dev/zero", O_RDONLY), "open");
}

static void deep(void)
{
    for (int i = 0; i < count - 1; i++)
        strcat(path, "d/");
    strcat(path, "f");
}

static void deep_tmpfs(void)
{
    must(chdir("/dev/shm"), "chdir");
    char name[PAGE] = "";
    for (int i = 0; i < count - 1; i++) {
        strcat(name, "d/");
        mkdir(name, 0755);
    }
    deep();
    close((int)must(open(path, O_CREAT | O_WRONLY, 0644), "open"));
}

static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void many_threads(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    for (int i = 1; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, sleep_for_ever, NULL))
            fail("pthread_create");
    }
    usleep(200000);
}

static void many_processes(void)
{
    for (int i = 1; i < count; i++) {
        last = (pid_t)must(fork(), "fork");
        if (!last) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            sleep_for_ever(NULL);
        }
    }
    if (!last)
        last = getpid();
    usleep(200000);
}

static void host_file(void)
{
    buffer = malloc((size_t)count);
    memset(buffer, 1, (size_t)count);
    fd = (int)must(open("big", O_RDONLY), "open");
}

static void tmpfs_file(void)
{
    host_file();
    fd = (int)must(open("/dev/shm/big", O_CREAT | O_RDWR | O_TRUNC, 0644), "open");
    must(pwrite(fd, buffer, (size_t)count, 0), "pwrite");
}

static void watch(int one)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = one};
    must(epoll_ctl(fd, EPOLL_CTL_ADD, one, &event), "epoll_ctl");
}

static void many_pairs(void)
{
    fd = (int)must(epoll_create1(0), "epoll_create1");
    for (int i = 0; i < count; i++) {
        int pair[2];
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
        fds[i] = pair[0];
        others[i] = pair[1];
        watch(fds[i]);
    }
}

static struct sockaddr_in address = {.sin_family = AF_INET};

static void connect_one(int i)
{
    others[i] = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(connect(others[i], (struct sockaddr *)&address, sizeof address), "connect");
    fds[i] = (int)must(accept(fd, NULL, NULL), "accept");
}

static void many_connections(void)
{
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    must(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    must(listen(fd, 128), "listen");
    must(getsockname(fd, (struct sockaddr *)&address, &size), "getsockname");
    for (int i = 0; i < count; i++)
        connect_one(i);
}

static void watched_connections(void)
{
    many_connections();
    fd = (int)must(epoll_create1(0), "epoll_create1");
    for (int i = 0; i < count; i++)
        watch(fds[i]);
}

static void many_files(void)
{
    must(chdir("/dev/shm"), "chdir");
    mkdir("many", 0755);
    must(chdir("many"), "chdir");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "file%d", i);
        close((int)must(open(path, O_CREAT | O_WRONLY, 0644), "open"));
    }
}

static const struct itimerspec hour = {.it_value.tv_sec = 3600};

static void many_timers(void)
{
    for (int i = 0; i < count; i++) {
        fds[i] = (int)must(timerfd_create(CLOCK_MONOTONIC, 0), "timerfd_create");
        must(timerfd_settime(fds[i], 0, &hour, NULL), "timerfd_settime");
    }
}

static void many_mappings(void)
{
    fd = (int)must(open("big", O_RDONLY), "open");
    for (int i = 0; i < count; i++) /* neighbours differ, so that they stay apart */
        if (mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            fail("mmap");
}

/* -- operations --------------------------------------------------------------------------------- */

static long read_last(void) { return read(fds[count - 1], path, 1); }
static long dup_close(void) { return close(dup(0)); }
static long look(void) { return syscall(SYS_getppid); }
static long stat_path(void) { struct stat s; return stat(path, &s); }
static long open_path(void) { return close(open(path, O_RDONLY)); }
static long exists(void) { return kill(last, 0); }
static long nap(void) { return usleep(100); }
static long read_all(void) { return pread(fd, buffer, (size_t)count, 0) == count ? 0 : -1; }
static long rearm(void) { return timerfd_settime(fds[count / 2], 0, &hour, NULL); }
static long create(void) { return close(open("new", O_CREAT | O_WRONLY, 0644)) | unlink("new"); }

static long fork_wait(void)
{
    pid_t child = fork();
    if (!child)
        _exit(0);
    return waitpid(child, NULL, 0);
}

static long wake_one(void)
{
    struct epoll_event event;
    if (write(others[count / 2], "x", 1) != 1 || epoll_wait(fd, &event, 1, -1) != 1)
        return -1;
    return read(event.data.fd, path, 1);
}

static long connect_close(void)
{
    connect_one(count);
    return close(fds[count]) | close(others[count]);
}

static long map_unmap(void)
{
    return munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0), PAGE);
}

static const struct row {
    const char *name;
    void (*prepare)(void);
    long (*run)(void);
} rows[] = {
    {"read, N descriptors", open_many, read_last},
    {"dup+close, N descriptors", open_many, dup_close},
    {"fork+wait, N descriptors", open_many, fork_wait},
    {"stat, N components", deep, stat_path},
    {"open+close, N components", deep, open_path},
    {"stat on tmpfs, N components", deep_tmpfs, stat_path},
    {"getppid, N threads", many_threads, look},
    {"getppid, N processes", many_processes, look},
    {"kill, N processes", many_processes, exists},
    {"usleep(100), N threads", many_threads, nap},
    {"usleep(100), N processes", many_processes, nap},
    {"fork+wait, N processes", many_processes, fork_wait},
    {"pread of N bytes", host_file, read_all},
    {"pread of N bytes, tmpfs", tmpfs_file, read_all},
    {"write+epoll_wait+read, N Unix sockets", many_pairs, wake_one},
    {"write+epoll_wait+read, N TCP connections", watched_connections, wake_one},
    {"connect+accept+close, N TCP connections", many_connections, connect_close},
    {"stat, N files in the directory", many_files, stat_path},
    {"create+unlink, N files in the directory", many_files, create},
    {"timerfd_settime, N timers", many_timers, rearm},
    {"mmap+munmap of a file, N mappings", many_mappings, map_unmap},
};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double batch(const struct row *row, long size)
{
    int64_t start = now();
    for (long i = 0; i < size; i++)
        if (row->run() < 0)
            fail(row->name);
    return (double)(now() - start) / (double)size;
}

int main(int argc, char **argv)
{
    double results[BATCHES], target = 20e6;
    if (argc == 2 && !strcmp(argv[1], "-l")) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            puts(rows[i].name);
        return 0;
    }
    if (argc > 2 && !strcmp(argv[1], "-t")) {
        target = atof(argv[2]) * 1e6;
        argv += 2;
        argc -= 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    count = argc == 3 ? atoi(argv[2]) : 0;
    for (size_t i = 0; count > 0 && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, argv[1]))
            continue;
        rows[i].prepare();
        long size = 1;
        while (size < 1000000 && batch(&rows[i], size) * (double)size < target / 2)
            size *= 2;
        for (int b = 0; b < BATCHES; b++)
            results[b] = batch(&rows[i], size);
        qsort(results, BATCHES, sizeof *results, by_size);
        printf("{\"name\": \"%s\", \"n\": %d, \"ns\": %.1f}\n", rows[i].name, count, results[BATCHES / 2]);
        fflush(stdout);
        _exit(0);
    }
    printf("{\"error\": \"no such row, or no N: growth -l\"}\n");
    return 2;
}
