/* Who am I: asked often, by threads and children, and after every change. */
#include "probe.h"

#define OFTEN 12

static void *thread_main(void *unused)
{
    long other = 0;
    (void)unused;
    for (int i = 0; i < OFTEN; i++)
        other += gettid() != getpid();
    return (void *)other;
}

static int child(pid_t parent)
{
    int wrong = 0;
    for (int i = 0; i < OFTEN; i++)
        wrong += getpid() == parent || gettid() != getpid() || getppid() != parent;
    printf("child: %d\n", wrong);
    SAY("setresgid", setresgid(7, 8, 9));
    printf("groups %d %d\n", getgid(), getegid());
    SAY("setresuid", setresuid(5, 6, 0));
    for (int i = 0; i < OFTEN; i++)
        wrong += getuid() != 5 || geteuid() != 6;
    SAY("seteuid", seteuid(0));
    printf("users %d %d, wrong %d\n", getuid(), geteuid(), wrong);
    return 0;
}

int main(void)
{
    pid_t parent = getpid();
    int wrong = 0, status;
    void *other;
    pthread_t thread;

    for (int i = 0; i < OFTEN; i++)
        wrong += getpid() != parent || gettid() != parent || getuid() != geteuid();
    pthread_create(&thread, NULL, thread_main, NULL);
    pthread_join(thread, &other);
    printf("thread is another %ld times\n", (long)other);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        return child(parent);
    waitpid(pid, &status, 0);
    pid = vfork();
    if (pid == 0)
        _exit(getpid() == parent);
    waitpid(pid, &status, 0);
    printf("vfork %d, still %d, wrong %d\n", WEXITSTATUS(status), getpid() == parent && gettid() == parent, wrong);
    return 0;
}
