/* fork, vfork, posix_spawn, clone, wait in all its forms, groups and sessions, orphans, exit. */
#include "probe.h"
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>

extern char **environ;

static void waits(void)
{
    BLOCK("wait");
    int status;
    SAY("no children", wait(&status));
    for (int code = 0; code < 300; code += 150) {
        pid_t pid = begin();
        if (pid == 0)
            _exit(code);
        reap("exit", pid);
    }
    pid_t pid = begin();
    if (pid == 0)
        for (;;)
            pause();
    SAY("WNOHANG", waitpid(pid, &status, WNOHANG));
    siginfo_t info = {0};
    SAY("waitid WNOHANG", waitid(P_PID, pid, &info, WEXITED | WNOHANG));
    printf("signo %d\n", info.si_signo);
    kill(pid, SIGSTOP);
    SAY("waitid stopped", waitid(P_PID, pid, &info, WSTOPPED));
    printf("code %d status %d\n", info.si_code == CLD_STOPPED, info.si_status);
    kill(pid, SIGCONT);
    SAY("waitid continued", waitid(P_ALL, 0, &info, WCONTINUED));
    printf("code %d status %d\n", info.si_code == CLD_CONTINUED, info.si_status);
    kill(pid, SIGTERM);
    SAY("waitid WNOWAIT", waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    printf("code %d status %d pid %d\n", info.si_code == CLD_KILLED, info.si_status, info.si_pid == pid);
    reap("again", pid);
    SAY("gone", waitpid(pid, &status, 0));
    SAY("waitid flags", waitid(P_ALL, 0, &info, 0));
    SAY("waitid type", waitid(99, 0, &info, WEXITED));
    SAY("wait4 flags", syscall(SYS_wait4, -1, &status, 0x1000, NULL));
    SAY("somebody else's", waitpid(1 + getpid() * 7, &status, 0));
    SAY("no such group", waitpid(-999999, &status, 0));
    struct rusage usage = {0};
    pid = begin();
    if (pid == 0) {
        for (volatile long n = 0; n < 60000000; n++)
            ;
        _exit(0);
    }
    wait4(pid, &status, 0, &usage);
    printf("child time %d maxrss %d\n", usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec > 10000, usage.ru_maxrss > 100);
    pid_t pids[5];
    for (int n = 0; n < 5; n++)
        if ((pids[n] = begin()) == 0)
            _exit(n);
    for (int n = 4; n >= 0; n--)
        reap("in order", pids[n]);
}

static int shared_number;
static char stack[65536] __attribute__((aligned(16)));

static int thread_like(void *argument)
{
    shared_number = *(int *)argument;
    return 6;
}

struct clone3 { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, a, b, c; };

/* The end of a stack that no address space has. */
static void stack_fails(struct clone3 *arguments, size_t size)
{
    static const uint64_t places[][2] = {{-1UL, 8}, {-4096UL, 1UL << 63}, {1UL << 47, 4096}, {4096, 1UL << 47}};
    for (int i = 0; i < 4; i++) {
        arguments->stack = places[i][0];
        arguments->stack_size = places[i][1];
        SAY("stack out of bounds", syscall(SYS_clone3, arguments, size));
    }
    arguments->stack = arguments->stack_size = 0;
}

/* No descriptor for the child, or no place for its number: no child either, and the next one is fine. */
static void pidfd_fails(struct clone3 *arguments, size_t size)
{
    struct rlimit old, few;
    int pidfd = -1;
    arguments->pidfd = 8;
    SAY("pidfd at a bad address", syscall(SYS_clone3, arguments, size));
    arguments->flags |= CLONE_VM | CLONE_VFORK;
    SAY("and of a vfork", syscall(SYS_clone3, arguments, size));
    arguments->flags = CLONE_PIDFD;
    arguments->pidfd = (uintptr_t)&pidfd;
    getrlimit(RLIMIT_NOFILE, &old);
    few = (struct rlimit){3, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    SAY("no room for a pidfd", syscall(SYS_clone3, arguments, size));
    setrlimit(RLIMIT_NOFILE, &old);
    SAY("nobody to wait for", waitpid(-1, NULL, 0));
    int file = open("/proc/self/exe", O_RDONLY);
    char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);
    printf("mapped %d\n", map != MAP_FAILED && !memcmp(map, "\177ELF", 4));
    close(file);
    pid_t pid = syscall(SYS_clone3, arguments, size);
    if (pid == 0)
        _exit(6);
    reap("pidfd", pid);
    close(pidfd);
}

static void ways(void)
{
    BLOCK("ways to make a process");
    shared_number = 1;
    pid_t pid = begin();
    if (pid == 0) {
        shared_number = 2;
        _exit(getppid() > 0 && getpid() != getppid() ? 0 : 1);
    }
    reap("fork", pid);
    printf("memory is apart %d\n", shared_number);
    fflush(stdout);
    pid = vfork();
    if (pid == 0) {
        shared_number = 3;
        _exit(5);
    }
    printf("vfork shares and waits %d\n", shared_number);
    reap("vfork", pid);
    pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 12", NULL);
        _exit(1);
    }
    reap("vfork and exec", pid);
    pid = vfork();
    if (pid == 0) {
        execl("/no/such", "such", NULL);
        _exit(errno == ENOENT ? 13 : 1);
    }
    reap("vfork and failed exec", pid);
    SAY("posix_spawn", posix_spawn(&pid, "/bin/sh", NULL, NULL, (char *[]){"sh", "-c", "exit 14", NULL}, environ));
    reap("spawned", pid);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "spawned", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_addclose(&actions, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    SAY("posix_spawnp", posix_spawnp(&pid, "echo", &actions, &attributes, (char *[]){"echo", "written", NULL}, environ));
    reap("spawned", pid);
    char text[16] = "";
    int fd = open("spawned", O_RDONLY);
    SAY("output", read(fd, text, 15));
    printf("%s", text);
    SAY("posix_spawn missing", posix_spawn(&pid, "/no/such", NULL, NULL, (char *[]){"x", NULL}, environ));
    int number = 44;
    pid = clone(thread_like, stack + sizeof stack, CLONE_VM | SIGCHLD, &number);
    reap("clone with memory", pid);
    printf("number %d\n", shared_number);
    number = 45;
    pid = clone(thread_like, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS | SIGCHLD, &number);
    printf("number at once %d\n", shared_number);
    reap("clone", pid);
    signal(SIGUSR1, SIG_IGN);
    pid = clone(thread_like, stack + sizeof stack, SIGUSR1, &number);
    SAY("other exit signal", waitpid(pid, NULL, 0));
    int status = 0;
    waitpid(pid, &status, __WCLONE);
    say_status("with __WCLONE", status);
    SAY("clone bad flags", syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    SAY("clone thread alone", syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    int parent_tid = 0, pidfd = -1;
    fflush(stdout);
    pid = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_PIDFD & 0 | SIGCHLD, 0, &parent_tid, 0, 0);
    if (pid == 0)
        _exit(3);
    printf("parent tid %d\n", parent_tid == pid);
    reap("raw clone", pid);
    struct clone3 arguments = {
        .flags = CLONE_PIDFD, .pidfd = (uintptr_t)&pidfd, .exit_signal = SIGCHLD};
    fflush(stdout);
    pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid == 0)
        _exit(4);
    siginfo_t info;
    struct pollfd p = {pidfd, POLLIN, 0};
    SAY("poll pidfd", poll(&p, 1, 2000));
    SAY("waitid pidfd", waitid(P_PIDFD, pidfd, &info, WEXITED));
    printf("status %d\n", info.si_status);
    SAY("clone3 size", syscall(SYS_clone3, &arguments, 8));
    stack_fails(&arguments, sizeof arguments);
    pidfd_fails(&arguments, sizeof arguments);
}

static void on_signal(int signo) { (void)signo; }

static void groups(void)
{
    BLOCK("groups and sessions");
    pid_t pid = begin();
    if (pid == 0) {
        SAY("setpgid", setpgid(0, 0));
        printf("leader %d\n", getpgrp() == getpid());
        SAY("setsid as a leader", setsid());
        SAY("setpgid nobody", setpgid(999999, 0));
        SAY("setpgid to a foreign group", setpgid(0, 999999));
        SAY("getpgid nobody", getpgid(999999));
        SAY("getsid nobody", getsid(999999));
        pid_t child = begin();
        if (child == 0) {
            TRY("setsid", setsid());
            printf("session %d group %d\n", getsid(0) == getpid(), getpgrp() == getpid());
            SAY("setpgid as session leader", setpgid(0, 0));
            SAY("no controlling terminal", open("/dev/tty", O_RDWR));
            done(0);
        }
        reap("session", child);
        signal(SIGUSR1, on_signal);
        for (int n = 0; n < 3; n++)
            if ((child = begin()) == 0) {
                signal(SIGUSR1, SIG_DFL);
                for (;;)
                    pause();
            }
        nap(30);
        SAY("kill the group", kill(0, SIGUSR1));
        for (int n = 0; n < 3; n++) {
            int status;
            wait(&status);
            say_status("member", status);
        }
        SAY("killpg nobody", killpg(999999, SIGUSR1));
        done(0);
    }
    reap("group", pid);
    int p[2];
    pipe(p);
    pid = begin();
    if (pid == 0) {
        pid_t me = getpid(), middle = fork();
        if (middle == 0) {
            char c = 0;
            nap(60);
            c = getppid() != me ? 'r' : 's';
            write(p[1], &c, 1);
            _exit(0);
        }
        _exit(0);
    }
    reap("middle", pid);
    char c;
    SAY("orphan", read(p[0], &c, 1));
    printf("new parent %c\n", c);
    SAY("subreaper", prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid = begin();
    if (pid == 0) {
        if (fork() == 0) {
            nap(40);
            _exit(21);
        }
        _exit(0);
    }
    reap("middle", pid);
    int status = 0;
    TRY("grandchild is ours", wait(&status));
    say_status("grandchild", status);
    SAY("pdeathsig", prctl(PR_SET_PDEATHSIG, SIGTERM));
    pipe(p);
    pid = begin();
    if (pid == 0) {
        if (fork() == 0) {
            close(p[0]);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            pause();
        }
        nap(30);
        _exit(0);
    }
    close(p[1]);
    reap("parent dies", pid);
    SAY("child died with it", read(p[0], &c, 1));
    while (wait(NULL) > 0)
        ;
}

static void at_exit(void) { printf("atexit\n"); }

static void *quit(void *unused) { (void)unused; nap(20); exit(31); }
static void *leave(void *unused) { (void)unused; nap(20); return NULL; }

static void ends(void)
{
    BLOCK("ends");
    pid_t pid = begin();
    if (pid == 0) {
        atexit(at_exit);
        exit(30);
    }
    reap("exit", pid);
    pid = begin();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, quit, NULL);
        for (;;)
            pause();
    }
    reap("exit in a thread", pid);
    pid = begin();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, leave, NULL);
        pthread_exit(NULL);
    }
    reap("the main thread goes first", pid);
    pid = begin();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, leave, NULL);
        execl("/bin/sh", "sh", "-c", "exit 32", NULL);
    }
    reap("exec with threads", pid);
    pid = begin();
    if (pid == 0)
        syscall(SYS_exit, 33);
    reap("raw exit", pid);
    signal(SIGPIPE, SIG_DFL);
    pid = begin();
    if (pid == 0) {
        int p[2];
        pipe(p);
        close(p[0]);
        write(p[1], "x", 1);
        _exit(0);
    }
    reap("SIGPIPE", pid);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOFBF, 65536);
    waits();
    ways();
    groups();
    ends();
    return 0;
}
