/* Signal-driven I/O: O_ASYNC with F_SETOWN, F_SETSIG and their relatives, on pipes, sockets and terminals. */
#include "probe.h"
#include <netinet/in.h>
#include <pty.h>
#include <sys/ioctl.h>

static volatile int signals;
static siginfo_t last;

static void on_signal(int signo, siginfo_t *info, void *context)
{
    signals++;
    last = *info;
}

static void show(const char *what, int fd)
{
    nap(30);
    printf("%s: %d", what, signals);
    if (signals && last.si_code != SI_KERNEL)
        printf(" signal %d code %d band %lx fd %d", last.si_signo, last.si_code, last.si_band, last.si_fd == fd);
    printf("\n");
    signals = 0;
}

static void arm(int fd, int signo)
{
    fcntl(fd, F_SETOWN, getpid());
    fcntl(fd, F_SETSIG, signo);
    fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
}

static void pipes(void)
{
    static char b[70000];
    int p[2];
    BLOCK("pipes");
    pipe(p);
    arm(p[0], 0);
    show("armed", p[0]);
    write(p[1], "x", 1);
    show("SIGIO", p[0]);
    write(p[1], "x", 1);
    show("not empty before", p[0]);
    SAY("F_GETSIG", fcntl(p[0], F_GETSIG));
    SAY("F_SETSIG", fcntl(p[0], F_SETSIG, SIGRTMIN));
    SAY("F_SETSIG", fcntl(p[0], F_SETSIG, 99));
    SAY("F_GETSIG", fcntl(p[0], F_GETSIG));
    write(p[1], "x", 1);
    show("real-time", p[0]);
    arm(p[1], SIGUSR1);
    read(p[0], b, sizeof b);
    show("read", p[1]);
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    while (write(p[1], b, 4096) > 0)
        ;
    show("filled", p[1]);
    read(p[0], b, sizeof b);
    show("room", p[1]);
    fcntl(p[0], F_SETFL, O_ASYNC);
    close(p[1]);
    show("closed", p[0]);
}

static void sockets(void)
{
    int s[2], group = 0, pid = getpid(), one = 1;
    BLOCK("sockets");
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    arm(s[0], SIGRTMIN);
    write(s[1], "x", 1);
    show("stream", s[0]);
    shutdown(s[1], SHUT_WR);
    show("shut down", s[0]);
    close(s[1]);
    show("closed", s[0]);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
    SAY("SIOCSPGRP", ioctl(s[0], SIOCSPGRP, &pid));
    SAY("SIOCGPGRP", ioctl(s[0], SIOCGPGRP, &group));
    SAY("FIOASYNC", ioctl(s[0], FIOASYNC, &one));
    printf("owner %d flags %x\n", group == pid && fcntl(s[0], F_GETOWN) == pid, fcntl(s[0], F_GETFL));
    send(s[1], "x", 1, 0);
    show("datagram", s[0]);
    struct sockaddr_in name = {AF_INET, 0, {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof name;
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    bind(udp, (void *)&name, size);
    getsockname(udp, (void *)&name, &size);
    arm(udp, SIGRTMIN);
    sendto(udp, "x", 1, 0, (void *)&name, size);
    nap(30);
    printf("udp %d signal %d fd %d\n", signals > 0, last.si_signo, last.si_fd == udp);
    signals = 0;
}

static void terminals(void)
{
    int master, slave;
    BLOCK("terminals");
    openpty(&master, &slave, NULL, NULL, NULL);
    arm(slave, SIGRTMIN);
    write(master, "a\n", 2);
    show("a line", slave);
}

static void owners(void)
{
    int p[2];
    struct f_owner_ex owner = {F_OWNER_TID, getpid()};
    BLOCK("owners");
    pipe(p);
    SAY("nobody yet", fcntl(p[0], F_GETOWN));
    SAY("no such process", fcntl(p[0], F_SETOWN, 999999));
    SAY("a thread", fcntl(p[0], F_SETOWN_EX, &owner));
    SAY("which", fcntl(p[0], F_GETOWN_EX, &owner));
    printf("kind %d it %d\n", owner.type, owner.pid == getpid());
    owner.type = 9;
    SAY("unknown kind", fcntl(p[0], F_SETOWN_EX, &owner));
    fcntl(p[0], F_SETFL, O_ASYNC);
    write(p[1], "x", 1);
    show("to the thread", p[0]);
    SAY("the group", fcntl(p[0], F_SETOWN, -getpgrp()));
    printf("group %d\n", fcntl(p[0], F_GETOWN) == -getpgrp());
    SAY("which", fcntl(p[0], F_GETOWN_EX, &owner));
    printf("kind %d it %d\n", owner.type, owner.pid == getpgrp());
    fcntl(p[0], F_SETFL, 0);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
    sigaction(SIGIO, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGRTMIN, &action, NULL);
    pipes();
    sockets();
    terminals();
    owners();
    return 0;
}
