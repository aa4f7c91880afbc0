/* Signal masks that change often, while signals come from elsewhere: nothing blocked is delivered, nothing is lost. */
#include "probe.h"
#include <sys/signalfd.h>

static volatile sig_atomic_t got, bad, blocked_now;
static sigset_t usr1, none, old;

static void on_usr1(int signo)
{
    (void)signo;
    got++;
    bad += blocked_now;
}

static void hold(void) { sigprocmask(SIG_BLOCK, &usr1, NULL); blocked_now = 1; }
static void let_go(void) { blocked_now = 0; sigprocmask(SIG_UNBLOCK, &usr1, NULL); }

static int sender(pid_t to, int count)
{
    for (int i = 0; i < count; i++) {
        kill(to, SIGUSR1);
        usleep(500);
    }
    return 0;
}

static void *idle(void *unused)
{
    sigset_t mine;
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    return (void *)(long)(sigismember(&mine, SIGUSR1) * 2 + sigismember(&mine, SIGUSR2));
}

int main(int argc, char **argv)
{
    int status;
    void *seen;
    pthread_t thread;
    struct sigaction a = {.sa_handler = on_usr1};

    if (argc > 1) {
        sigprocmask(SIG_BLOCK, NULL, &old);
        printf("after exec: USR1 %d USR2 %d\n", sigismember(&old, SIGUSR1), sigismember(&old, SIGUSR2));
        return 0;
    }
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigaction(SIGUSR1, &a, NULL);
    for (int i = 0; i < 50; i++) {
        hold();
        let_go();
    }
    hold();
    raise(SIGUSR1);
    printf("held %d", got);
    let_go();
    printf(", let go %d\n", got);

    got = 0;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        _exit(sender(parent, 100));
    while (waitpid(pid, &status, WNOHANG) == 0) {
        for (int i = 0; i < 100; i++) {
            hold();
            let_go();
        }
    }
    printf("some came %d, while blocked %d\n", got > 0, bad);

    sigset_t both = usr1, now;
    sigaddset(&both, SIGUSR2);
    for (int i = 0; i < 10; i++)
        sigprocmask(SIG_SETMASK, &both, NULL);
    sigaddset(&both, SIGKILL);
    sigprocmask(SIG_BLOCK, &both, &old);
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("KILL %d, same %d\n", sigismember(&now, SIGKILL), sigismember(&old, SIGUSR2));
    pthread_create(&thread, NULL, idle, NULL);
    pthread_join(thread, &seen);
    printf("thread has %ld\n", (long)seen);
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        execl(argv[0], argv[0], "again", NULL);
    waitpid(pid, &status, 0);

    siginfo_t info;
    struct timespec soon = {5, 0};
    pid = fork();
    if (pid == 0)
        _exit(sender(parent, 1));
    SAY("sigtimedwait", sigtimedwait(&usr1, &info, &soon));
    waitpid(pid, &status, 0);
    int fd = signalfd(-1, &usr1, SFD_CLOEXEC);
    raise(SIGUSR1);
    struct signalfd_siginfo record;
    SAY("signalfd", read(fd, &record, sizeof record) == sizeof record && record.ssi_signo == SIGUSR1);
    got = 0;
    blocked_now = 0;
    raise(SIGUSR1);
    printf("pending %d", sigpending(&now) == 0 && sigismember(&now, SIGUSR1));
    SAY(", sigsuspend", sigsuspend(&none));
    printf("handled %d\n", got);
    raise(SIGUSR1);
    SAY("ppoll", ppoll(NULL, 0, &soon, &none));
    printf("handled %d\n", got);
    SAY("bad how", sigprocmask(77, &usr1, NULL));
    SAY("no how needed", sigprocmask(77, NULL, &now));
    SAY("bad set", syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8L, NULL, 8L));
    SAY("bad size", syscall(SYS_rt_sigprocmask, SIG_BLOCK, &usr1, NULL, 4L));
    SAY("bad old", syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, 8L, 8L));
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("set all the same %d\n", !sigismember(&now, SIGUSR1));
    return 0;
}
