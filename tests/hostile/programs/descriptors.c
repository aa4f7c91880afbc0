/* The descriptors of the host process, whose numbers a guest knows: the doorbell, the channel, the control socket and
 * what comes over it. From our own text each number is a descriptor of our own or none; from the stub's the host does
 * what its filter allows, and that is of no use. */
#include "hostile.h"

static uint64_t stub_sites[256];
static int nstub;
static char bytes[256], control[256];
static struct iovec vector = {bytes, sizeof bytes};

static struct msghdr message(void)
{
    struct msghdr m = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    return m;
}

static long jump(long nr, long a, long b, long c, long d, long e, long f)
{
    const long registers[6] = {a, b, c, d, e, f};
    return call_at(stub_sites[nr % nstub], nr, registers);
}
#define JUMP(nr, a, b, c, d, e, f) jump(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Sites whose next instruction leaves the result alone. */
static void find_stub_sites(void)
{
    find_sites();
    for (int i = 0; i < nsites && nstub < 256; i++) {
        const long none[6] = {0};
        if (in_stub(sites[i]) && call_at(sites[i], 599, none) == -ENOSYS)
            stub_sites[nstub++] = sites[i];
    }
    CHECK(nstub > 3);
}

/* No descriptor is ours but 0, 1 and 2: whatever is there on the host, the Sentry says EBADF. */
static void from_our_text(int fd)
{
    struct msghdr m = message();
    struct stat st;
    CHECK(CALL(SYS_read, fd, bytes, 8, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_write, fd, bytes, 8, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_pread64, fd, bytes, 8, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_pwrite64, fd, bytes, 8, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_recvmsg, fd, &m, MSG_DONTWAIT, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_sendmsg, fd, &m, MSG_DONTWAIT, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_fstat, fd, &st, 0, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_ftruncate, fd, 0, 0, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_ioctl, fd, 0x541b, bytes, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_fcntl, fd, F_DUPFD, 0, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_dup2, fd, 100, 0, 0, 0, 0) == -EBADF);
    CHECK(CALL(SYS_close, fd, 0, 0, 0, 0, 0) == -EBADF);
    for (int prot = 0; prot < 8; prot++)
        for (int flags = 1; flags < 4; flags++)
            CHECK(CALL(SYS_mmap, 0, 4096, prot, flags, fd, 0) == -EBADF);
}

static void mapped(const char *how, int fd, long result)
{
    if (result >= 0 || result < -4095)
        wrong("%s of descriptor %d: %lx", how, fd, result);
}

/* The same from the stub: nothing to read, nothing to send, nothing to map. */
static void from_the_stub(int fd)
{
    struct msghdr m = message();
    long got = JUMP(SYS_write, fd, bytes, 8, 0, 0, 0);
    CHECK(got == (fd == DOORBELL_FD ? 8 : -EBADF) || (fd == DOORBELL_FD && got == -EAGAIN));
    CHECK(JUMP(SYS_read, fd, bytes, 8, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_write, fd, bytes, 9, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_write, fd, bytes, 4096, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_write, fd, bytes, 8L | 1L << 32, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_writev, fd, &vector, 1, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_sendmsg, fd, &m, MSG_DONTWAIT, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_sendto, fd, bytes, 8, MSG_DONTWAIT, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_ioctl, fd, 0x541b, bytes, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_fcntl, fd, F_DUPFD, 0, 0, 0, 0) == -EBADF);
    CHECK(JUMP(SYS_dup2, fd, 100, 0, 0, 0, 0) == -EBADF);
    got = JUMP(SYS_recvmsg, fd, &m, MSG_DONTWAIT, 0, 0, 0);
    CHECK(fd == CONTROL_FD ? got == -EAGAIN || got == -ENOTSOCK : got == -EBADF);
    got = JUMP(SYS_mmap, 0, 4096, 3, MAP_SHARED, fd, 0);
    mapped("shared mmap", fd, got);
    mapped("private mmap", fd, JUMP(SYS_mmap, 0, 4096, 3, MAP_PRIVATE, fd, 0));
    mapped("executable mmap", fd, JUMP(SYS_mmap, 0, 4096, 5, MAP_PRIVATE, fd, 0));
    mapped("channel elsewhere", fd, JUMP(SYS_mmap, STACKS_BASE, CHANNEL_SIZE, 3, MAP_SHARED | MAP_FIXED, fd, 0));
    mapped("half a channel", fd, JUMP(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE / 2, 3, MAP_SHARED | MAP_FIXED, fd, 0));
    mapped("channel from the middle", fd,
           JUMP(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE, 3, MAP_SHARED | MAP_FIXED, fd, SLOT_SIZE));
    mapped("executable channel", fd, JUMP(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE, 7, MAP_SHARED | MAP_FIXED, fd, 0));
    if (fd != CHANNEL_FD)
        mapped("other channel", fd, JUMP(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE, 3, MAP_SHARED | MAP_FIXED, fd, 0));
}

/* The doorbell, rung for nothing and filled up: others work on. */
static void ring(void)
{
    static const uint64_t most = -2UL;
    for (int i = 0; i < 50; i++)
        JUMP(SYS_write, DOORBELL_FD, i % 2 ? (const void *)&most : bytes, 8, 0, 0, 0);
    JUMP(SYS_write, DOORBELL_FD, 8, 8, 0, 0, 0);
}

static void map_lines(int times)
{
    int fd = dup2(open("lines", O_RDONLY), GRANT_FD_FIRST + 5); /* a number that the host knows otherwise */
    for (int i = 0; i < times; i++) {
        char *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) {
            wrong("mmap number %d: %s", i, strerror(errno));
            break;
        }
        CHECK(at[0] == 'l');
        munmap(at, 4096);
    }
    close(fd);
}

/* Takes what the Sentry sends to the stub of the same process. */
static void *steal(void *unused)
{
    struct msghdr m = message();
    for (;;)
        JUMP(SYS_recvmsg, CONTROL_FD, &m, 0, 0, 0, 0);
    return unused;
}

/* The loot is a file that we may read: it cannot be written, and is no descriptor of ours. */
static void rob_ourselves(void)
{
    pthread_t thief;
    int fd = open("lines", O_RDONLY);
    pthread_create(&thief, NULL, steal, NULL);
    for (int i = 0; i < 30; i++) {
        char *at = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        CHECK(at == MAP_FAILED || at[0] == 'l');
    }
    for (int loot = fd + 1; loot < GRANT_FD_FIRST; loot++) {
        CHECK(CALL(SYS_read, loot, bytes, 8, 0, 0, 0) == -EBADF);
        mapped("writable mmap of the loot", loot, JUMP(SYS_mmap, 0, 4096, 3, MAP_SHARED, loot, 0));
        CHECK(JUMP(SYS_write, loot, bytes, 8, 0, 0, 0) == -EBADF);
    }
}

/* A descriptor that could be written to was granted for one mapping: it is gone when that is made. */
static void keep_what_was_granted(void)
{
    int fd = memfd_create("granted", 0);
    ftruncate(fd, 4096);
    char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    at[0] = 'x';
    munmap(at, 4096);
    for (int granted = GRANT_FD_FIRST; granted < GRANT_FD_FIRST + 8; granted++)
        CHECK(JUMP(SYS_dup2, granted, CONTROL_FD, 0, 0, 0, 0) == -EBADF);
}

/* A forked child waits on the socket that it inherits, for what is meant for its parent. */
static void rob_our_parent(void)
{
    struct msghdr m = message();
    silence();
    for (;;)
        if (JUMP(SYS_recvmsg, CONTROL_FD, &m, 0, 0, 0, 0) == -ENOTSOCK)
            break;
    CALL(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

int main(void)
{
    catch_faults();
    find_stub_sites();
    for (int fd = 3; fd < GRANT_FD_FIRST + 8; fd++)
        from_our_text(fd);
    for (int fd = 3; fd < GRANT_FD_FIRST + 8; fd++)
        if (fd < 8 || fd > 62)
            from_the_stub(fd);
    begin_witness();
    for (int i = 0; i < 3; i++)
        CHECK(IN_CHILD(PATIENCE_MS, ring()) == 0);
    CHECK(IN_CHILD(PATIENCE_MS, rob_ourselves()) == 0);
    CHECK(IN_CHILD(PATIENCE_MS, keep_what_was_granted()) == 0);
    pid_t thief = begin();
    if (thief == 0)
        rob_our_parent();
    nap(50);
    map_lines(50);
    end_of(thief, 500);
    map_lines(50);
    end_witness();
    return verdict("descriptors");
}
