/* The rows of design.md section 4: what one operation costs, in nanoseconds.
 *
 *     micro [-t MILLISECONDS] [-d DIR] [-s TMPFSDIR] [ROW...]   one JSON line per row
 *     micro -l                                                  the names of the rows
 *     micro time COMMAND [ARG...]                               wall time of a command, as a JSON line
 *
 * A row runs in batches that are long enough for the clock; the median batch is reported. A row that
 * fails says so in its line, and the others go on. Static, so that it runs in any root file system.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 15
#define PAGE 4096

static const char *directory = ".";
static const char *tmpfs = "/dev/shm";
static const char *self;
static char buffer[PAGE];
static char path[PAGE];
static int fd = -1;
static int pair[2] = {-1, -1};
static pid_t child;

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The raw call: a C library may answer from a cache or the vDSO. */
static long raw(long nr)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(nr) : "rcx", "r11", "memory");
    return result;
}

/* -- set-up and tear-down: 0, or -1 with errno -------------------------------------------------- */

static int nothing(void)
{
    return 0;
}

static int open_zero(void)
{
    return fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
}

static int open_null(void)
{
    return fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
}

static int open_self(void)
{
    return fd = open(self, O_RDONLY | O_CLOEXEC);
}

static int make_file(const char *where)
{
    snprintf(path, sizeof path, "%s/micro.%d", where, (int)getpid());
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    return pwrite(fd, buffer, PAGE, 0) == PAGE ? 0 : -1;
}

static int make_on_tmpfs(void)
{
    return make_file(tmpfs);
}

static int make_in_directory(void)
{
    return make_file(directory);
}

static int make_eventfd(void)
{
    return fd = eventfd(0, EFD_CLOEXEC);
}

static int make_pipe(void)
{
    return pipe2(pair, O_CLOEXEC);
}

static void close_all(void)
{
    if (fd >= 0)
        close(fd);
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    fd = pair[0] = pair[1] = -1;
    if (path[0])
        unlink(path);
    path[0] = 0;
    if (child > 0) {
        waitpid(child, NULL, 0);
        child = 0;
    }
}

/* Starts a child that sends every byte back; the parent reads from in and writes to out. */
static int echo_child(int child_in, int child_out, int in, int out)
{
    child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        char byte;
        close(in);
        if (out != in)
            close(out);
        while (read(child_in, &byte, 1) == 1)
            if (write(child_out, &byte, 1) != 1)
                break;
        _exit(0);
    }
    close(child_in);
    if (child_out != child_in)
        close(child_out);
    pair[0] = in;
    pair[1] = out == in ? -1 : out;
    fd = -1;
    return 0;
}

static int pipe_echo(void)
{
    int there[2], back[2];
    if (pipe2(there, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
        return -1;
    return echo_child(there[0], back[1], back[0], there[1]);
}

static int unix_echo(void)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return -1;
    return echo_child(ends[1], ends[1], ends[0], ends[0]);
}

static int tcp_echo(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || client < 0 || bind(listener, (void *)&a, sizeof a) || listen(listener, 1) ||
        getsockname(listener, (void *)&a, &size) || connect(client, (void *)&a, sizeof a))
        return -1;
    int server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    close(listener);
    if (server < 0)
        return -1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return echo_child(server, server, client, client);
}

/* -- the operations: n times; 0, or -1 with errno ------------------------------------------------ */

static int do_getppid(long n)
{
    while (n--)
        raw(SYS_getppid);
    return 0;
}

static int do_getpid(long n)
{
    while (n--)
        raw(SYS_getpid);
    return 0;
}

static int do_read1(long n)
{
    while (n--)
        if (read(fd, buffer, 1) != 1)
            return -1;
    return 0;
}

static int do_write1(long n)
{
    while (n--)
        if (write(fd, buffer, 1) != 1)
            return -1;
    return 0;
}

static int do_pread4k(long n)
{
    while (n--)
        if (pread(fd, buffer, PAGE, 0) != PAGE)
            return -1;
    return 0;
}

static int do_pwrite4k(long n)
{
    while (n--)
        if (pwrite(fd, buffer, PAGE, 0) != PAGE)
            return -1;
    return 0;
}

static int do_fstat(long n)
{
    struct stat s;
    while (n--)
        if (fstat(fd, &s))
            return -1;
    return 0;
}

static int do_stat(long n)
{
    struct stat s;
    while (n--)
        if (stat(self, &s))
            return -1;
    return 0;
}

static int do_lseek(long n)
{
    while (n--)
        if (lseek(fd, 0, SEEK_SET))
            return -1;
    return 0;
}

static int do_open(long n)
{
    while (n--) {
        int opened = open(self, O_RDONLY | O_CLOEXEC);
        if (opened < 0 || close(opened))
            return -1;
    }
    return 0;
}

static int do_clock(long n)
{
    struct timespec t;
    while (n--)
        if (clock_gettime(CLOCK_MONOTONIC, &t))
            return -1;
    return 0;
}

static int map_pages(long n, int touched)
{
    while (n--) {
        char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return -1;
        for (int i = 0; i < touched; i++)
            ((volatile char *)p)[i * PAGE] = 1;
        if (munmap(p, 16 * PAGE))
            return -1;
    }
    return 0;
}

static int do_mmap(long n)
{
    return map_pages(n, 0);
}

static int do_mmap_touch(long n)
{
    return map_pages(n, 16);
}

static int do_eventfd(long n)
{
    uint64_t value = 1;
    while (n--)
        if (write(fd, &value, 8) != 8 || read(fd, &value, 8) != 8)
            return -1;
    return 0;
}

static int do_pipe_self(long n)
{
    while (n--)
        if (write(pair[1], buffer, 1) != 1 || read(pair[0], buffer, 1) != 1)
            return -1;
    return 0;
}

static int do_pingpong(long n)
{
    int out = pair[1] < 0 ? pair[0] : pair[1];
    while (n--)
        if (write(out, buffer, 1) != 1 || read(pair[0], buffer, 1) != 1)
            return -1;
    return 0;
}

static void *thread_main(void *argument)
{
    return argument;
}

static int do_thread(long n)
{
    while (n--) {
        pthread_t thread;
        errno = pthread_create(&thread, NULL, thread_main, NULL);
        if (errno || pthread_join(thread, NULL))
            return -1;
    }
    return 0;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile long counter;

static void *contender(void *argument)
{
    for (long n = *(long *)argument; n > 0; n--) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

/* Two threads; n counts the critical sections of both. */
static int do_mutex(long n)
{
    pthread_t thread;
    long half = n / 2 + 1;
    errno = pthread_create(&thread, NULL, contender, &half);
    if (errno)
        return -1;
    contender(&half);
    return pthread_join(thread, NULL);
}

static int reap(pid_t pid)
{
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -1;
    if (status) {
        errno = ECHILD;
        return -1;
    }
    return 0;
}

static int do_fork(long n)
{
    while (n--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (reap(pid))
            return -1;
    }
    return 0;
}

static int do_exec(long n)
{
    char *const words[] = {"micro", "exit", NULL};
    char *const none[] = {NULL};
    while (n--) {
        pid_t pid = fork();
        if (pid == 0) {
            execve(self, words, none);
            _exit(127);
        }
        if (reap(pid))
            return -1;
    }
    return 0;
}

static const struct row {
    const char *name;
    int (*prepare)(void);
    int (*run)(long n);
} rows[] = {
    {"getppid", nothing, do_getppid},
    {"getpid", nothing, do_getpid},
    {"read1", open_zero, do_read1},
    {"write1", open_null, do_write1},
    {"lseek", open_self, do_lseek},
    {"fstat", open_self, do_fstat},
    {"stat", nothing, do_stat},
    {"open_close", nothing, do_open},
    {"pread4k_file", open_self, do_pread4k},
    {"pwrite4k_file", make_in_directory, do_pwrite4k},
    {"pread4k_tmpfs", make_on_tmpfs, do_pread4k},
    {"pwrite4k_tmpfs", make_on_tmpfs, do_pwrite4k},
    {"clock_gettime", nothing, do_clock},
    {"mmap_munmap", nothing, do_mmap},
    {"mmap_touch16", nothing, do_mmap_touch},
    {"eventfd", make_eventfd, do_eventfd},
    {"pipe_self", make_pipe, do_pipe_self},
    {"pipe_pingpong", pipe_echo, do_pingpong},
    {"unix_pingpong", unix_echo, do_pingpong},
    {"tcp_pingpong", tcp_echo, do_pingpong},
    {"thread", nothing, do_thread},
    {"mutex", nothing, do_mutex},
    {"fork_wait", nothing, do_fork},
    {"fork_exec_wait", nothing, do_exec},
};
#define ROWS (sizeof rows / sizeof rows[0])

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The quickest of a few runs of n, -1 for an error: one disturbed run shall not end the doubling. */
static int64_t quickest(int (*run)(long), long n)
{
    int64_t best = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t start = now();
        if (run(n))
            return -1;
        int64_t took = now() - start;
        best = took < best ? took : best;
    }
    return best;
}

/* Doubles the batch until it takes a fair share of the time asked for. */
static long calibrate(int (*run)(long), int64_t share)
{
    for (long n = 1;; n *= 2) {
        int64_t took = quickest(run, n);
        if (took < 0)
            return -1;
        if (took * 2 >= share || n >= 1L << 40)
            return took * 2 >= share && took < share ? n * share / (took + 1) : n;
    }
}

static int measure(const struct row *row, int64_t nanoseconds)
{
    double cost[BATCHES];
    long n = -1;
    errno = 0;
    if (row->prepare() >= 0)
        n = calibrate(row->run, nanoseconds / BATCHES);
    for (int i = 0; n > 0 && i < BATCHES; i++) {
        int64_t start = now();
        if (row->run(n))
            n = -1;
        cost[i] = (double)(now() - start) / (double)n;
    }
    int failure = errno;
    close_all();
    if (n <= 0) {
        printf("{\"name\": \"%s\", \"error\": \"%s\"}\n", row->name, strerror(failure));
        return 1;
    }
    qsort(cost, BATCHES, sizeof cost[0], ascending);
    printf("{\"name\": \"%s\", \"ns\": %.1f, \"best\": %.1f, \"worst\": %.1f, \"batch\": %ld}\n",
           row->name, cost[BATCHES / 2], cost[0], cost[BATCHES - 1], n);
    return 0;
}

static int wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return 1;
    return count == 0;
}

static int time_command(char **command)
{
    int status = 0;
    int64_t start = now();
    pid_t pid = fork();
    if (pid == 0) {
        dup2(2, 1); /* our standard output carries the JSON line alone */
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("micro: time");
        return 1;
    }
    printf("{\"name\": \"time\", \"ns\": %lld, \"status\": %d}\n", (long long)(now() - start), status);
    return 0;
}

int main(int argc, char **argv)
{
    static char resolved[PAGE];
    long milliseconds = 300;
    int option, failures = 0;
    if (argc > 1 && !strcmp(argv[1], "exit"))
        return 0;
    if (argc > 2 && !strcmp(argv[1], "time"))
        return time_command(argv + 2);
    self = realpath(argv[0], resolved) ? resolved : "/proc/self/exe";
    while ((option = getopt(argc, argv, "t:d:s:l")) != -1) {
        if (option == 't')
            milliseconds = atol(optarg);
        else if (option == 'd')
            directory = optarg;
        else if (option == 's')
            tmpfs = optarg;
        else if (option == 'l') {
            for (size_t i = 0; i < ROWS; i++)
                puts(rows[i].name);
            return 0;
        } else
            return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < ROWS; i++)
        if (wanted(rows[i].name, argc - optind, argv + optind))
            failures += measure(&rows[i], milliseconds * 1000000LL);
    return failures ? 1 : 0;
}
