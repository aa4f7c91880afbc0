/* What reads and writes move: every size at which the way of the bytes changes, and buffers that end half way. */
#include "probe.h"
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define MOST (1 << 19)

static unsigned char from[MOST + 64], to[MOST + 64];
static const int sizes[] = {0, 1, 7, 8, 255, 256, 257, 264, 4095, 4096, 8191, 8192, 8193, 16383, 16384, 16385, 31743, 31744,
                            32768, 65536, 65537, 131071, 131072, 131073, 200000, MOST};
#define SIZES ((int)(sizeof sizes / sizeof *sizes))

static unsigned sum(const unsigned char *data, long count)
{
    unsigned value = 1;
    for (long i = 0; i < count; i++)
        value = value * 31 + data[i];
    return value;
}

/* Files: there and back, in two ways, with what stands around it. */
static void file(const char *name, int flags)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR | flags, 0600);
    printf("-- %s\n", name);
    for (int i = 0; i < SIZES; i++) {
        memset(to, 0, sizeof to);
        ftruncate(fd, 0);
        long put = pwrite(fd, from + i, sizes[i], 5), got = pread(fd, to + 3, sizes[i] + 10, 0);
        printf("%d: %ld %ld %u size %ld\n", sizes[i], put, got, sum(to, sizeof to), (long)lseek(fd, 0, SEEK_END));
        lseek(fd, 2, SEEK_SET);
        put = write(fd, from, sizes[i]);
        long now = lseek(fd, 0, SEEK_CUR);
        lseek(fd, 1, SEEK_SET);
        got = read(fd, to, sizes[i]);
        printf("   %ld at %ld, %ld at %ld %u\n", put, now, got, (long)lseek(fd, 0, SEEK_CUR), sum(to, sizeof to));
        SAY("past the end", pread(fd, to, 100, MOST * 2L));
    }
    close(fd);
}

/* Streams: as many as fit, in the order in which they came. */
static void stream(const char *name, int in, int out)
{
    printf("-- %s\n", name);
    for (int i = 0; i < SIZES; i++) {
        if (sizes[i] > 65536)
            break;
        memset(to, 0, sizeof to);
        long put = write(in, from + i, sizes[i]), got = 0, step = sizes[i] / 3 + 1;
        while (got < put)
            got += read(out, to + got, step);
        printf("%d: %ld %ld %u\n", sizes[i], put, got, sum(to, sizeof to));
    }
}

/* Larger than any buffer in between: the writer blocks, and a signal does not lose count. */
static volatile int alarms;

static void on_alarm(int signo)
{
    alarms++;
}

static void blocked_writer(void)
{
    int p[2], status;
    pipe(p);
    struct sigaction act = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &act, NULL);
    if (fork() == 0) {
        usleep(300000);
        long got = 0, n;
        close(p[1]);
        while ((n = read(p[0], to + got, 50000)) > 0)
            got += n;
        printf("got %ld, %s\n", got, memcmp(from, to, got) ? "other bytes" : "the same");
        fflush(stdout);
        _exit(0);
    }
    ualarm(100000, 0);
    long put = write(p[1], from, MOST);
    printf("put %ld, alarms %d\n", put, alarms);
    fflush(stdout);
    put = write(p[1], from + put, MOST - put);
    printf("put %ld\n", put);
    fflush(stdout);
    close(p[1]);
    wait(&status);
}

/* The last byte before the edge is there, the next is not. */
static void edges(void)
{
    char *edge = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + (1 << 17);
    munmap(edge, 1 << 17);
    int fd = open("edges", O_CREAT | O_RDWR, 0600), zero = open("/dev/zero", O_RDONLY), p[2];
    pipe(p);
    ftruncate(fd, 1 << 18);
    memset(edge - 100000, 'e', 100000);
    SAY("pread over the edge", pread(fd, edge - 20000, 60000, 0));
    SAY("pread over the edge, of pages", pread(fd, edge - 65536, 1 << 17, 0));
    SAY("pread over the edge, few", pread(fd, edge - 100, 400, 0));
    SAY("pread over the edge, with a page", pread(fd, edge - 5000, 6000, 0));
    SAY("pread at the edge, few", pread(fd, edge, 400, 0));
    SAY("pread at the edge", pread(fd, edge, 60000, 0));
    SAY("pread at the edge, and of the file", pread(fd, edge, 60000, 1 << 18));
    SAY("pread up to the edge", pread(fd, edge - 60000, 60000, 0));
    memset(edge - 100000, 'e', 100000);
    SAY("pwrite over the edge", pwrite(fd, edge - 20000, 60000, 0));
    SAY("pwrite over the edge, few", pwrite(fd, edge - 100, 400, 100000));
    SAY("pwrite up to the edge", pwrite(fd, edge - 60000, 60000, 1 << 18));
    SAY("pwrite at the edge", pwrite(fd, edge, 1, 5));
    SAY("pwrite at the edge, many", pwrite(fd, edge, 60000, 5));
    SAY("size", lseek(fd, 0, SEEK_END));
    pread(fd, to, MOST, 0);
    printf("contents %u\n", sum(to, (1 << 18) + 60000));
    SAY("zeros at the edge", read(zero, edge, 60000));
    SAY("zeros over the edge", read(zero, edge - 60000, 80000));
    SAY("zeros up to the edge", read(zero, edge - 60000, 60000));
    printf("cleared %d %d %d\n", edge[-1], edge[-60000], edge[-60001]);
    SAY("pipe at the edge", write(p[1], edge, 1000));
    write(p[1], from, 1000);
    SAY("pipe to the edge", read(p[0], edge, 9000));
    struct iovec split[] = {{edge - 5, 5}, {to, 0}, {to, 10}, {edge, 100}};
    SAY("readv that ends at the edge", preadv(fd, split, 3, 0));
    split[1].iov_len = 3;
    split[1].iov_base = edge - 1;
    SAY("readv over the edge", preadv(fd, split, 3, 0));
    split[1].iov_len = 0;
    SAY("readv that begins at the edge", preadv(fd, split + 3, 1, 0));
    SAY("writev that ends at the edge", pwritev(fd, split, 3, 0));
    int small = open("small", O_CREAT | O_RDWR, 0600);
    SAY("small over the edge", pwrite(small, edge - 300, 400, 0));
    SAY("size of small", lseek(small, 0, SEEK_END));
    ftruncate(small, 400);
    memset(to, 1, 400);
    pread(small, to, 400, 0);
    printf("nothing behind it %d %d\n", to[299], to[300]);
}

static void vectors(void)
{
    int fd = open("vectors", O_CREAT | O_RDWR, 0600), p[2];
    struct iovec v[40];
    pipe(p);
    for (int i = 0; i < 40; i++)
        v[i] = (struct iovec){from + i * 1000, i * 37};
    SAY("pwritev", pwritev(fd, v, 40, 3));
    SAY("writev to a pipe", writev(p[1], v, 40));
    for (int round = 0; round < 2; round++) {
        memset(to, 0, sizeof to);
        for (int i = 0; i < 40; i++)
            v[i].iov_base = to + i * 1000;
        SAY("readv", round ? readv(p[0], v, 40) : preadv(fd, v, 40, 3));
        printf("%u\n", sum(to, sizeof to));
    }
    for (int count = 1; count <= 10; count++) {
        for (int i = 0; i < count; i++)
            v[i] = (struct iovec){from + i * 1000, (i % 3) * 100 * count};
        long put = writev(p[1], v, count), written = pwritev(fd, v, count, count);
        for (int i = 0; i < count; i++)
            v[i] = (struct iovec){to + i * 1500, i * 50 * count};
        memset(to, 0, sizeof to);
        long got = put ? readv(p[0], v, count) : 0;
        printf("%d parts: %ld %ld %ld %u\n", count, put, written, got, sum(to, sizeof to));
        SAY("and back", preadv(fd, v, count, 1));
        printf("%u\n", sum(to, sizeof to));
        while (put > got)
            got += read(p[0], to, put - got);
    }
    v[0] = (struct iovec){to, 100000};
    v[1] = (struct iovec){to + 200000, 100000};
    SAY("large preadv", preadv(open("file", O_RDONLY), v, 2, 1));
    printf("%u\n", sum(to, sizeof to));
}

static void copies(void)
{
    int fd = open("file", O_RDONLY), out = open("copy", O_CREAT | O_TRUNC | O_RDWR, 0600), s[2];
    off_t at = 7;
    loff_t here = 3, there = 11;
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    SAY("sendfile to a file", sendfile(out, fd, &at, 300000));
    SAY("and its offset", at);
    SAY("sendfile to a socket", sendfile(s[0], fd, NULL, 50000));
    SAY("and the offset", lseek(fd, 0, SEEK_CUR));
    long got = 0, n;
    while (got < 50000 && (n = read(s[1], to + got, 20000)) > 0)
        got += n;
    printf("%ld %u\n", got, sum(to, got));
    SAY("copy_file_range", copy_file_range(fd, &here, out, &there, 200000, 0));
    pread(out, to, MOST, 0);
    printf("%u\n", sum(to, 300000));
    SAY("sendfile at the end", sendfile(out, fd, &(off_t){1L << 40}, 5));
    int event = eventfd(0, EFD_NONBLOCK), few = open("few", O_RDWR | O_CREAT, 0600);
    SAY("few bytes", write(few, "abc", 3));
    SAY("too few for an eventfd", sendfile(event, few, &(off_t){0}, 8));
    SAY("no bytes of a file that was here before", preadv(open("/etc/passwd", O_RDONLY), &(struct iovec){&event, 0}, 1, 0));
}

static void limits(void)
{
    int fd = open("limited", O_CREAT | O_RDWR, 0600), app = open("limited", O_WRONLY | O_APPEND);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, RLIM_INFINITY});
    SAY("up to the limit", pwrite(fd, from, 60000, 70000));
    SAY("beyond", pwrite(fd, from, 60000, 100000));
    SAY("append beyond", write(app, from, 1));
    ftruncate(fd, 99000);
    SAY("append up to it", write(app, from, 60000));
    SAY("and its offset", lseek(app, 0, SEEK_CUR));
}

int main(void)
{
    for (int i = 0; i < (int)sizeof from; i++)
        from[i] = (unsigned char)(i * 7 + i / 251);
    int p[2], s[2];
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    file("file", 0);
    file("appended", O_APPEND);
    file("/dev/shm/contents-probe", 0);
    unlink("/dev/shm/contents-probe");
    stream("pipe", p[1], p[0]);
    stream("socket", s[0], s[1]);
    blocked_writer();
    edges();
    vectors();
    copies();
    limits();
    return 0;
}
