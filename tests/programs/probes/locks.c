/* flock, POSIX record locks, open file description locks, leases. */
#include "probe.h"
#include <sys/file.h>

static long lock(int fd, int command, int type, off_t start, off_t length)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &l);
}

static void ask(const char *what, int fd, int command, int type, off_t start, off_t length)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    long r = fcntl(fd, command, &l);
    printf("%s: %ld type %d start %ld length %ld pid %d\n", what, r, l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid > 0 ? 1 : l.l_pid);
}

static void whole_files(void)
{
    BLOCK("flock");
    int a = open("locked", O_RDWR | O_CREAT, 0600), b = open("locked", O_RDWR), copy = dup(a);
    SAY("exclusive", flock(a, LOCK_EX));
    SAY("again", flock(a, LOCK_EX));
    SAY("by a duplicate", flock(copy, LOCK_EX | LOCK_NB));
    SAY("by another", flock(b, LOCK_SH | LOCK_NB));
    SAY("down to shared", flock(a, LOCK_SH));
    SAY("by another", flock(b, LOCK_SH | LOCK_NB));
    SAY("up to exclusive", flock(a, LOCK_EX | LOCK_NB));
    SAY("unlock", flock(b, LOCK_UN));
    SAY("up to exclusive", flock(a, LOCK_EX | LOCK_NB));
    close(a);
    SAY("the duplicate holds it", flock(b, LOCK_SH | LOCK_NB));
    pid_t pid = begin();
    if (pid == 0) {
        nap(50);
        flock(copy, LOCK_UN);
        _exit(0);
    }
    SAY("waits for a child to unlock it", flock(b, LOCK_EX));
    reap("child", pid);
    SAY("bad operation", flock(b, 16));
    SAY("mandatory lock", flock(b, 32));
    SAY("closed", flock(99, LOCK_EX));
    signal(SIGALRM, (void (*)(int))getpid);
    siginterrupt(SIGALRM, 1);
    ualarm(30000, 0);
    int c = open("locked", O_RDONLY);
    SAY("interrupted", flock(c, LOCK_SH));
    int d = open(".", O_RDONLY);
    SAY("directory", flock(d, LOCK_EX));
}

static void records(void)
{
    BLOCK("record locks");
    int a = open("records", O_RDWR | O_CREAT, 0600), p[2], q[2];
    char c;
    pipe(p);
    pipe(q);
    ftruncate(a, 100);
    SAY("write lock", lock(a, F_SETLK, F_WRLCK, 10, 10));
    SAY("overlapping own", lock(a, F_SETLK, F_RDLCK, 15, 10));
    pid_t pid = begin();
    if (pid == 0) {
        int b = open("records", O_RDWR);
        ask("child asks", b, F_GETLK, F_WRLCK, 0, 100);
        ask("child asks to read", b, F_GETLK, F_RDLCK, 17, 1);
        SAY("read there", lock(b, F_SETLK, F_RDLCK, 16, 3));
        SAY("write there", lock(b, F_SETLK, F_WRLCK, 12, 1));
        SAY("write elsewhere", lock(b, F_SETLK, F_WRLCK, 50, 0));
        fflush(stdout);
        write(p[1], "x", 1);
        read(q[0], &c, 1);
        SAY("waits", lock(b, F_SETLKW, F_WRLCK, 12, 1));
        done(0);
    }
    read(p[0], &c, 1);
    ask("parent asks", a, F_GETLK, F_WRLCK, 0, 0);
    SAY("conflict", lock(a, F_SETLK, F_WRLCK, 60, 1));
    write(q[1], "x", 1);
    nap(50);
    SAY("would deadlock", lock(a, F_SETLKW, F_WRLCK, 60, 1));
    SAY("unlock", lock(a, F_SETLK, F_UNLCK, 0, 0));
    reap("child", pid);
    SAY("freed by its end", lock(a, F_SETLK, F_WRLCK, 50, 10));
    close(open("records", O_RDONLY));
    pid = begin();
    if (pid == 0) {
        SAY("any close gives them up", lock(a, F_SETLK, F_WRLCK, 0, 0));
        done(0);
    }
    reap("child", pid);
    SAY("read-only file", lock(open("records", O_RDONLY), F_SETLK, F_WRLCK, 0, 1));
    SAY("negative", lock(a, F_SETLK, F_WRLCK, -5, 1));
    SAY("negative length", lock(a, F_SETLK, F_WRLCK, 5, -5));
    SAY("type", lock(a, F_SETLK, 9, 5, 5));
    SAY("lockf", lockf(a, F_TLOCK, 10));
    SAY("lockf test", lockf(a, F_TEST, 10));
    SAY("pipe", lock(p[0], F_SETLK, F_RDLCK, 0, 1));
    BLOCK("open file description locks");
    int x = open("records", O_RDWR), y = open("records", O_RDWR);
    lockf(a, F_ULOCK, 0);
    SAY("write lock", lock(x, F_OFD_SETLK, F_WRLCK, 0, 10));
    SAY("another description", lock(y, F_OFD_SETLK, F_RDLCK, 5, 1));
    ask("asks", y, F_OFD_GETLK, F_RDLCK, 5, 1);
    SAY("POSIX lock", lock(a, F_SETLK, F_RDLCK, 5, 1));
    pid = begin();
    if (pid == 0) {
        SAY("a child shares it", lock(x, F_OFD_SETLK, F_RDLCK, 0, 10));
        done(0);
    }
    reap("child", pid);
    SAY("now shared", lock(y, F_OFD_SETLK, F_RDLCK, 5, 1));
    struct flock l = {.l_type = F_RDLCK, .l_pid = 5};
    SAY("pid must be 0", fcntl(x, F_OFD_SETLK, &l));
    pid = begin();
    if (pid == 0) {
        nap(50);
        close(y);
        _exit(0);
    }
    close(y);
    SAY("waits", lock(x, F_OFD_SETLKW, F_WRLCK, 0, 0));
    reap("child", pid);
}

int main(void)
{
    whole_files();
    records();
    return 0;
}
