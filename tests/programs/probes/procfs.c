/* What a process finds about itself in /proc, and a few system-wide files. */
#include "probe.h"
#include <ctype.h>
#include <dirent.h>
#include <sys/prctl.h>

static char b[1 << 16];

static int slurp(const char *name)
{
    int fd = open(name, O_RDONLY), n = 0, got;
    if (fd < 0) {
        printf("%s: %s\n", name, strerrorname_np(errno));
        b[0] = 0;
        return -1;
    }
    while (n < (int)sizeof b - 1 && (got = read(fd, b + n, sizeof b - 1 - n)) > 0)
        n += got;
    b[n] = 0;
    close(fd);
    return n;
}

/* The value of a line such as "Threads:\t1". */
static const char *field(const char *text, const char *name)
{
    static char value[300];
    const char *at = strstr(text, name);
    if (!at)
        return "(none)";
    at += strlen(name);
    while (*at == ':' || isblank(*at))
        at++;
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

static void *idle(void *unused) { (void)unused; for (;;) nap(1000); return NULL; }

static void identity(char **argv)
{
    BLOCK("identity");
    char link[300];
    int n = readlink("/proc/self", link, 300);
    link[n < 0 ? 0 : n] = 0;
    printf("self %d\n", atoi(link) == getpid());
    n = readlink("/proc/self/exe", link, 300);
    link[n] = 0;
    printf("exe %s\n", strrchr(link, '/'));
    n = readlink("/proc/self/cwd", link, 300);
    link[n] = 0;
    getcwd(b, sizeof b);
    printf("cwd %d\n", !strcmp(b, link));
    n = readlink("/proc/self/root", link, 300);
    printf("root %.*s\n", n, link);
    n = slurp("/proc/self/cmdline");
    printf("cmdline %d %d\n", n == (int)strlen(argv[0]) + 1, !strcmp(b, argv[0]));
    slurp("/proc/self/comm");
    printf("comm %s", b);
    prctl(PR_SET_NAME, "renamed");
    slurp("/proc/self/comm");
    printf("comm %s", b);
    int fd = open("/proc/self/comm", O_WRONLY);
    SAY("write comm", write(fd, "written", 7));
    prctl(PR_GET_NAME, link);
    printf("name %s\n", link);
    n = slurp("/proc/self/environ");
    printf("environ has PATH %d\n", n > 5 && memmem(b, n, "PATH=", 5) != NULL);
    slurp("/proc/self/status");
    const char *names[] = {"Name", "Umask", "State", "TracerPid", "Threads", "SigPnd", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs"};
    for (int k = 0; k < 10; k++)
        printf("%s: %s\n", names[k], field(b, names[k]));
    printf("Pid %d PPid %d Tgid %d\n", atoi(field(b, "\nPid")) == getpid(), atoi(field(b, "PPid")) == getppid(), atoi(field(b, "Tgid")) == getpid());
    int uid, euid;
    sscanf(field(b, "Uid"), "%d %d", &uid, &euid);
    printf("Uid %d VmSize %d VmRSS %d\n", uid == (int)getuid() && euid == (int)geteuid(), atoi(field(b, "VmSize")) > 1000, atoi(field(b, "VmRSS")) > 100);
    slurp("/proc/self/stat");
    int pid, ppid, group, session;
    char state, comm[50];
    n = sscanf(b, "%d (%[^)]) %c %d %d %d", &pid, comm, &state, &ppid, &group, &session);
    printf("stat %d %s %c %d %d %d %d\n", n, comm, state, pid == getpid(), ppid == getppid(), group == getpgrp(), session == getsid(0));
    int spaces = 0;
    for (char *c = b; *c; c++)
        spaces += *c == ' ';
    printf("fields %d\n", spaces + 1);
    slurp("/proc/self/statm");
    spaces = 0;
    for (char *c = b; *c; c++)
        spaces += *c == ' ';
    printf("statm fields %d\n", spaces + 1);
    slurp("/proc/self/limits");
    printf("limits %d\n", strstr(b, "Max open files") != NULL);
    slurp("/proc/self/cgroup");
    printf("cgroup %d\n", b[0] != 0);
    slurp("/proc/self/io");
    printf("io %d\n", strstr(b, "rchar") != NULL);
    slurp("/proc/self/oom_score_adj");
    printf("oom_score_adj %d\n", isdigit(b[0]) || b[0] == '-');
    slurp("/proc/self/loginuid");
    slurp("/proc/self/wchan");
    slurp("/proc/self/personality");
    printf("personality %s", b);
    slurp("/proc/self/uid_map");
    printf("uid_map %d\n", atoi(b) == 0);
    slurp("/proc/self/mountinfo");
    printf("mountinfo %d\n", strstr(b, " / / ") != NULL && strstr(b, " - proc ") != NULL);
    slurp("/proc/self/mounts");
    printf("mounts %d\n", strstr(b, "proc /proc proc") != NULL);
    slurp("/proc/self/auxv");
    n = readlink("/proc/self/ns/pid", link, 300);
    printf("ns %.*s\n", n > 5 ? 5 : n, link);
}

static void descriptors(void)
{
    BLOCK("descriptors");
    char link[300];
    int p[2], n;
    close(open("f", O_CREAT | O_WRONLY, 0600));
    int fd = open("f", O_RDWR | O_APPEND);
    write(fd, "12345", 5);
    pipe(p);
    sprintf(b, "/proc/self/fd/%d", fd);
    n = readlink(b, link, 300);
    link[n] = 0;
    printf("file %s\n", strrchr(link, '/'));
    struct stat s;
    lstat(b, &s);
    printf("mode %o\n", s.st_mode);
    sprintf(b, "/proc/self/fd/%d", p[0]);
    n = readlink(b, link, 300);
    printf("pipe %.*s\n", 6, link);
    lstat(b, &s);
    printf("mode %o\n", s.st_mode);
    sprintf(b, "/proc/self/fdinfo/%d", fd);
    slurp(b);
    printf("pos %s flags %s\n", (strcpy(link, field(b, "pos")), link), field(b, "flags"));
    unlink("f");
    sprintf(b, "/proc/self/fd/%d", fd);
    n = readlink(b, link, 300);
    link[n] = 0;
    printf("deleted %s\n", strrchr(link, '/'));
    SAY("open a deleted file", ({ int again = open(b, O_RDONLY); char t[9]; int r = read(again, t, 9); close(again); r; }));
    SAY("stat through it", stat(b, &s));
    printf("links %d size %ld\n", (int)s.st_nlink, (long)s.st_size);
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;
    n = 0;
    while ((e = readdir(d)))
        n += isdigit(e->d_name[0]) != 0;
    printf("open %d\n", n);
    closedir(d);
    SAY("unlink", unlink("/proc/self/fd/0"));
    SAY("create", open("/proc/self/fd/x", O_CREAT | O_RDWR, 0600));
    SAY("write to status", open("/proc/self/status", O_WRONLY));
    SAY("rmdir", rmdir("/proc/self"));
    SAY("mkdir", mkdir("/proc/new", 0700));
    SAY("nobody", open("/proc/999999/status", O_RDONLY));
}

static void threads(void)
{
    BLOCK("threads and other processes");
    pthread_t t;
    pthread_create(&t, NULL, idle, NULL);
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    int n = 0;
    while ((e = readdir(d)))
        n += isdigit(e->d_name[0]) != 0;
    printf("tasks %d\n", n);
    slurp("/proc/self/status");
    printf("Threads %s\n", field(b, "Threads"));
    char link[100];
    n = readlink("/proc/thread-self", link, 100);
    printf("thread-self %d\n", n > 0);
    pid_t pid = begin();
    if (pid == 0) {
        for (;;)
            pause();
    }
    nap(20);
    sprintf(link, "/proc/%d/status", pid);
    slurp(link);
    printf("child %s %s\n", (strcpy(link, field(b, "Name")), link), field(b, "State"));
    kill(pid, SIGSTOP);
    waitpid(pid, NULL, WUNTRACED);
    sprintf(link, "/proc/%d/status", pid);
    slurp(link);
    printf("%s\n", field(b, "State"));
    kill(pid, SIGKILL);
    nap(20);
    sprintf(link, "/proc/%d/status", pid);
    slurp(link);
    printf("%s\n", field(b, "State"));
    sprintf(link, "/proc/%d/cmdline", pid);
    printf("cmdline of a zombie %d\n", slurp(link));
    sprintf(link, "/proc/%d/exe", pid);
    SAY("exe of a zombie", readlink(link, b, 100));
    sprintf(link, "/proc/%d", pid);
    int fd = open(link, O_RDONLY | O_DIRECTORY);
    reap("child", pid);
    SAY("gone", openat(fd, "limits", O_RDONLY));
    SAY("gone", access(link, F_OK));
    SAY("kill 0", kill(pid, 0));
}

static void maps(void)
{
    BLOCK("maps");
    slurp("/proc/self/maps");
    printf("program %d stack %d heap %d vdso %d libc %d\n", strstr(b, "/procfs\n") != NULL, strstr(b, "[stack]") != NULL,
           (sbrk(4096), slurp("/proc/self/maps"), strstr(b, "[heap]") != NULL), strstr(b, "[vdso]") != NULL, strstr(b, "libc") != NULL);
    char *p = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, open("/proc/self/exe", O_RDONLY), 0), line[300];
    char *q = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(q + 4096, 4096, PROT_NONE);
    slurp("/proc/self/maps");
    sprintf(line, "%lx-%lx r--p 00000000", (long)p, (long)p + 8192);
    printf("file %d\n", strstr(b, line) != NULL);
    sprintf(line, "%lx-%lx ---p 00000000", (long)q + 4096, (long)q + 8192);
    printf("hole %d\n", strstr(b, line) != NULL);
    int bad = 0, lines = 0;
    uint64_t last = 0;
    for (char *at = b; *at; at = strchr(at, '\n') + 1, lines++) {
        uint64_t from, to;
        bad += sscanf(at, "%lx-%lx", &from, &to) != 2 || from < last || to <= from;
        last = to;
    }
    printf("in order %d\n", lines > 5 && !bad);
    SAY("smaps", slurp("/proc/self/smaps") > 100);
    int odd = memfd_create("odd \377 name", 0); /* no UTF-8 */
    ftruncate(odd, 4096);
    mmap(NULL, 4096, PROT_READ, MAP_SHARED, odd, 0);
    slurp("/proc/self/maps");
    printf("odd name in maps %d\n", strstr(b, "/memfd:odd \377 name (deleted)") != NULL);
    sprintf(b, "/proc/self/fd/%d", odd);
    int n = readlink(b, line, sizeof line);
    printf("and of its descriptor %d\n", n > 0 && !memcmp(line, "/memfd:odd \377 name (deleted)", (size_t)n));
}

static void system_wide(void)
{
    BLOCK("system");
    const char *files[] = {"version", "cpuinfo", "meminfo", "uptime", "loadavg", "stat", "filesystems", "mounts", "cmdline", "devices",
        "interrupts", "partitions", "swaps", "vmstat", "sys/kernel/osrelease", "sys/kernel/hostname", "sys/kernel/pid_max",
        "sys/kernel/random/uuid", "sys/kernel/random/boot_id", "sys/vm/overcommit_memory", "sys/vm/max_map_count", "sys/fs/file-max",
        "sys/net/core/somaxconn", "sys/net/ipv4/ip_local_port_range", "sys/kernel/cap_last_cap", "sys/fs/pipe-max-size", "net/tcp", "net/dev", "net/unix", "net/route"};
    for (int n = 0; n < (int)(sizeof files / sizeof *files); n++) {
        char name[100];
        sprintf(name, "/proc/%s", files[n]);
        printf("%s %d\n", files[n], slurp(name) > 0);
    }
    slurp("/proc/meminfo");
    printf("MemTotal %d MemAvailable %d\n", atoi(field(b, "MemTotal")) > 1000, atoi(field(b, "MemAvailable")) > 1000);
    slurp("/proc/cpuinfo");
    int n = 0;
    for (char *at = b; (at = strstr(at, "processor\t")); at++)
        n++;
    printf("processors %d\n", n == sysconf(_SC_NPROCESSORS_ONLN));
    slurp("/sys/devices/system/cpu/online");
    printf("online %s", b);
    double up, idle_time;
    slurp("/proc/uptime");
    printf("uptime %d\n", sscanf(b, "%lf %lf", &up, &idle_time));
    slurp("/proc/stat");
    printf("btime %d\n", strstr(b, "btime ") != NULL && !strncmp(b, "cpu  ", 5));
}

int main(int argc, char **argv)
{
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, (void (*)(int))idle);
    identity(argv);
    descriptors();
    threads();
    maps();
    system_wide();
    return 0;
}
