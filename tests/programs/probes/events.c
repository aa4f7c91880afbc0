/* epoll, poll, select, eventfd, signalfd, inotify. */
#include "probe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>

static int ep;

static void add(int fd, uint32_t events, int data)
{
    struct epoll_event e = {events, {.u32 = (uint32_t)data}};
    SAY("add", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static void modify(int fd, uint32_t events, int data)
{
    struct epoll_event e = {events, {.u32 = (uint32_t)data}};
    SAY("modify", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e));
}

static void ready(const char *what)
{
    struct epoll_event e[16];
    int n = epoll_wait(ep, e, 16, 30);
    printf("%s:", what);
    for (int want = 0; want < 16; want++)
        for (int i = 0; i < n; i++)
            if ((int)e[i].data.u32 == want)
                printf(" %d=%x", want, e[i].events);
    printf("\n");
}

static void epolls(void)
{
    BLOCK("epoll");
    int p[2], q[2], s[2];
    char b[100];
    ep = epoll_create1(EPOLL_CLOEXEC);
    pipe2(p, O_NONBLOCK);
    pipe2(q, O_NONBLOCK);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    add(p[0], EPOLLIN, 1);
    ready("nothing");
    write(p[1], "ab", 2);
    ready("level");
    ready("level again");
    modify(p[0], EPOLLIN | EPOLLET, 1);
    ready("edge after modify");
    ready("edge again");
    write(p[1], "c", 1);
    ready("edge after more");
    read(p[0], b, 1);
    ready("edge after a part was read");
    modify(p[0], EPOLLIN | EPOLLONESHOT, 1);
    ready("oneshot");
    ready("oneshot spent");
    write(p[1], "c", 1);
    ready("oneshot still spent");
    modify(p[0], EPOLLIN | EPOLLONESHOT, 1);
    ready("oneshot armed");
    modify(p[0], EPOLLIN, 1);
    add(s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 2);
    ready("socket");
    write(s[1], "x", 1);
    ready("socket has data");
    shutdown(s[1], SHUT_WR);
    ready("socket half closed");
    close(s[1]);
    ready("socket closed");
    ready("edge: nothing new");
    add(q[1], EPOLLOUT | EPOLLET, 3);
    ready("writable");
    char big[70000] = "";
    SAY("fill", write(q[1], big, sizeof big));
    ready("full");
    read(q[0], big, 100);
    ready("a little room");
    while (read(q[0], big, sizeof big) > 0)
        ;
    ready("empty");
    close(q[0]);
    ready("reader gone");
    struct epoll_event e = {EPOLLIN, {0}};
    SAY("add twice", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
    SAY("modify absent", epoll_ctl(ep, EPOLL_CTL_MOD, 0, &e));
    SAY("delete", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    SAY("delete absent", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
    SAY("closed fd", epoll_ctl(ep, EPOLL_CTL_ADD, 99, &e));
    SAY("itself", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
    SAY("not epoll", epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
    int file = open("file", O_RDWR | O_CREAT, 0600);
    SAY("regular file", epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
    SAY("bad op", epoll_ctl(ep, 9, p[0], &e));
    SAY("max 0", epoll_wait(ep, &e, 0, 0));
    SAY("bad address", epoll_wait(ep, (void *)8, 1, 0));
    SAY("create 0", epoll_create(0));
    SAY("create flags", epoll_create1(5));
    int outer = epoll_create1(0), was = ep;
    ep = outer;
    add(was, EPOLLIN, 5);
    SAY("cycle", epoll_ctl(was, EPOLL_CTL_ADD, outer, &e));
    ready("nested empty");
    ep = was;
    add(p[0], EPOLLIN, 1);
    write(p[1], "y", 1);
    ep = outer;
    ready("nested");
    ep = was;
    int copy = dup(p[0]);
    close(p[0]);
    ready("a duplicate keeps it");
    close(copy);
    ready("gone with the last one");
    SAY("lseek", lseek(ep, 0, SEEK_SET));
    SAY("read", read(ep, b, 1));
    pid_t pid = begin();
    int late[2];
    pipe(late);
    if (pid == 0)
        _exit(0);
    reap("child", pid);
    ep = epoll_create1(0);
    add(late[0], EPOLLIN, 7);
    pid = begin();
    if (pid == 0) {
        nap(30);
        write(late[1], "z", 1);
        _exit(0);
    }
    SAY("woken from outside", epoll_wait(ep, &e, 1, 3000));
    reap("child", pid);
    sigset_t mask;
    sigemptyset(&mask);
    SAY("pwait", epoll_pwait(ep, &e, 1, 0, &mask));
    SAY("pwait2", syscall(441, ep, &e, 1, &(struct timespec){0, 0}, NULL, 0));
    SAY("pwait2 bad time", syscall(441, ep, &e, 1, &(struct timespec){0, -1}, NULL, 0));
    int ev = eventfd(0, 0), two = epoll_create1(0);
    e.events = EPOLLIN | EPOLLEXCLUSIVE;
    SAY("exclusive", epoll_ctl(two, EPOLL_CTL_ADD, ev, &e));
    SAY("modify exclusive", epoll_ctl(two, EPOLL_CTL_MOD, ev, &e));
    e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
    SAY("exclusive and oneshot", epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e));
}

static void polls(void)
{
    BLOCK("poll and select");
    int p[2], s[2];
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    struct pollfd f[5] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {99, POLLIN, 0}, {-1, POLLIN, 0}, {s[0], POLLIN | POLLOUT | POLLPRI, 0}};
    SAY("poll", poll(f, 5, 0));
    for (int n = 0; n < 5; n++)
        printf("%x ", f[n].revents);
    printf("\n");
    close(p[1]);
    f[0].events = 0;
    SAY("hang-up", poll(f, 1, 100));
    printf("%x\n", f[0].revents);
    close(s[1]);
    f[4].events = POLLIN | POLLRDHUP | POLLOUT;
    SAY("closed peer", poll(f + 4, 1, 100));
    printf("%x\n", f[4].revents);
    int q[2];
    pipe(q);
    close(q[0]);
    f[0] = (struct pollfd){q[1], POLLOUT, 0};
    SAY("no reader", poll(f, 1, 0));
    printf("%x\n", f[0].revents);
    int file = open("file", O_RDWR), dir = open(".", O_RDONLY), null = open("/dev/null", O_RDWR);
    struct pollfd g[3] = {{file, POLLIN | POLLOUT, 0}, {dir, POLLIN, 0}, {null, POLLIN | POLLOUT, 0}};
    SAY("files", poll(g, 3, 0));
    printf("%x %x %x\n", g[0].revents, g[1].revents, g[2].revents);
    SAY("nothing", poll(NULL, 0, 10));
    SAY("too many", poll(f, 1u << 30, 0));
    SAY("bad address", poll((void *)8, 1, 0));
    SAY("ppoll", ppoll(g, 1, &(struct timespec){0, 1000}, NULL));
    SAY("ppoll bad", ppoll(g, 1, &(struct timespec){0, -1}, NULL));
    fd_set r, w;
    FD_ZERO(&r);
    FD_ZERO(&w);
    FD_SET(p[0], &r);
    FD_SET(s[0], &w);
    SAY("select", select(50, &r, &w, NULL, &(struct timeval){1, 0}));
    printf("%d %d\n", !!FD_ISSET(p[0], &r), !!FD_ISSET(s[0], &w));
    FD_ZERO(&r);
    FD_SET(40, &r);
    SAY("closed", select(41, &r, NULL, NULL, NULL));
    struct timeval left = {5, 0};
    int t[2];
    pipe(t);
    FD_ZERO(&r);
    FD_SET(t[0], &r);
    if (begin() == 0) {
        nap(50);
        write(t[1], "x", 1);
        _exit(0);
    }
    SAY("select waits", select(t[0] + 1, &r, NULL, NULL, &left));
    printf("time is updated %d\n", left.tv_sec == 4);
    wait(NULL);
    SAY("negative", select(-1, NULL, NULL, NULL, &left));
    SAY("pselect", pselect(0, NULL, NULL, NULL, &(struct timespec){0, 1000}, NULL));
}

static void counters(void)
{
    BLOCK("eventfd");
    uint64_t n = 5;
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    SAY("write", write(fd, &n, 8));
    SAY("read", read(fd, &n, 8));
    printf("sum %lu\n", n);
    SAY("empty", read(fd, &n, 8));
    n = UINT64_MAX;
    SAY("too much", write(fd, &n, 8));
    n--;
    SAY("most", write(fd, &n, 8));
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    SAY("poll", poll(&p, 1, 0));
    printf("%x\n", p.revents);
    n = 1;
    SAY("full", write(fd, &n, 8));
    SAY("short", read(fd, &n, 7));
    SAY("long", (n = 0, read(fd, &n, 8)));
    SAY("lseek", lseek(fd, 0, SEEK_CUR));
    SAY("pread", pread(fd, &n, 8, 0));
    int sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    for (int i = 0; i < 3; i++)
        SAY("semaphore", read(sem, &n, 8));
    SAY("flags", eventfd(0, 0x10));
    int wait = eventfd(0, 0);
    pid_t pid = begin();
    if (pid == 0) {
        nap(30);
        n = 9;
        write(wait, &n, 8);
        _exit(0);
    }
    SAY("blocking read", read(wait, &n, 8));
    printf("%lu\n", n);
    reap("writer", pid);
    BLOCK("signalfd");
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    fd = signalfd(-1, &mask, SFD_NONBLOCK);
    struct signalfd_siginfo i[4];
    SAY("empty", read(fd, i, sizeof i));
    raise(SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 6});
    p = (struct pollfd){fd, POLLIN, 0};
    SAY("poll", poll(&p, 1, 100));
    SAY("read two", read(fd, i, sizeof i));
    printf("%u %d %u, %u %d %d\n", i[0].ssi_signo, i[0].ssi_code, i[0].ssi_pid == (uint32_t)getpid(), i[1].ssi_signo == SIGRTMIN, i[1].ssi_code, i[1].ssi_int);
    SAY("short", read(fd, i, 100));
    sigdelset(&mask, SIGUSR1);
    SAY("change the mask", signalfd(fd, &mask, 0) == fd);
    raise(SIGUSR1);
    SAY("not ours any more", read(fd, i, sizeof i));
    SAY("lseek", lseek(fd, 0, SEEK_CUR));
    SAY("write", write(fd, i, 8));
    SAY("not a signalfd", signalfd(0, &mask, 0));
    SAY("flags", signalfd(-1, &mask, 0x10));
}

static const char *names(uint32_t mask)
{
    static char text[100];
    snprintf(text, sizeof text, "%x%s", mask & 0xfff, mask & IN_ISDIR ? " dir" : mask & IN_IGNORED ? " ignored" : mask & IN_Q_OVERFLOW ? " overflow" : mask & IN_UNMOUNT ? " unmount" : "");
    return text;
}

static void drain(int fd)
{
    char b[8192] __attribute__((aligned(8)));
    long n = read(fd, b, sizeof b);
    if (n < 0)
        printf("  none\n");
    for (char *at = b; at < b + n;) {
        struct inotify_event *e = (void *)at;
        printf("  %d %s %s%s\n", e->wd, names(e->mask), e->len ? e->name : "-", e->cookie ? " cookie" : "");
        at += sizeof *e + e->len;
    }
}

static void watches(void)
{
    BLOCK("inotify");
    int fd = inotify_init1(IN_NONBLOCK);
    mkdir("watched", 0700);
    SAY("watch", inotify_add_watch(fd, "watched", IN_ALL_EVENTS));
    SAY("empty", read(fd, names, 0));
    int f = open("watched/a", O_RDWR | O_CREAT, 0600);
    write(f, "x", 1);
    lseek(f, 0, SEEK_SET);
    char c;
    read(f, &c, 1);
    fchmod(f, 0400);
    ftruncate(f, 0);
    close(f);
    drain(fd);
    rename("watched/a", "watched/b");
    mkdir("watched/d", 0700);
    link("watched/b", "watched/c");
    symlink("x", "watched/s");
    drain(fd);
    rename("watched/b", "b");
    rename("b", "watched/b");
    unlink("watched/c");
    rmdir("watched/d");
    drain(fd);
    SAY("watch a file", inotify_add_watch(fd, "watched/b", IN_ATTRIB | IN_DELETE_SELF | IN_MODIFY));
    unlink("watched/b");
    drain(fd);
    SAY("watch again", inotify_add_watch(fd, "watched", IN_CREATE));
    SAY("mask add", inotify_add_watch(fd, "watched", IN_DELETE | IN_MASK_ADD));
    SAY("onlydir", inotify_add_watch(fd, "file", IN_CREATE | IN_ONLYDIR));
    SAY("mask create", inotify_add_watch(fd, "watched", IN_DELETE | IN_MASK_CREATE));
    SAY("nothing", inotify_add_watch(fd, "watched", 0));
    SAY("no file", inotify_add_watch(fd, "nosuch", IN_CREATE));
    SAY("remove", inotify_rm_watch(fd, 1));
    SAY("remove again", inotify_rm_watch(fd, 1));
    drain(fd);
    SAY("watch", inotify_add_watch(fd, "watched", IN_CREATE | IN_ONESHOT));
    close(open("watched/e", O_CREAT | O_WRONLY, 0600));
    close(open("watched/f", O_CREAT | O_WRONLY, 0600));
    int room = 0;
    SAY("FIONREAD", ioctl(fd, FIONREAD, &room));
    printf("bytes %d\n", room);
    drain(fd);
    SAY("init flags", inotify_init1(3));
    SAY("lseek", lseek(fd, 0, SEEK_CUR));
    SAY("not inotify", inotify_add_watch(0, "watched", IN_CREATE));
}

static int woken, watched;

static void *wait_for_it(void *at)
{
    struct epoll_event event;
    if (epoll_wait(*(int *)at, &event, 1, 1000) > 0)
        __sync_fetch_and_add(&woken, 1);
    return NULL;
}

/* Four threads, each with an epoll of its own, wait for one eventfd. */
static void herd(const char *what, uint32_t flags)
{
    int epolls[4];
    pthread_t threads[4];
    watched = eventfd(0, EFD_NONBLOCK);
    woken = 0;
    for (int n = 0; n < 4; n++) {
        struct epoll_event event = {EPOLLIN | flags};
        epolls[n] = epoll_create1(0);
        epoll_ctl(epolls[n], EPOLL_CTL_ADD, watched, &event);
        pthread_create(&threads[n], NULL, wait_for_it, &epolls[n]);
    }
    nap(200);
    eventfd_write(watched, 1);
    for (int n = 0; n < 4; n++)
        pthread_join(threads[n], NULL);
    printf("%s: %d woken\n", what, woken);
}

int main(void)
{
    epolls();
    polls();
    counters();
    watches();
    BLOCK("a herd");
    herd("all", 0);
    herd("EPOLLEXCLUSIVE", EPOLLEXCLUSIVE);
    herd("EPOLLEXCLUSIVE | EPOLLET", EPOLLEXCLUSIVE | EPOLLET);
    return 0;
}
