/* mmap in all its forms, mprotect, mremap, madvise, brk, msync, mincore, mlock, and what faults. */
#include "probe.h"
#include <sys/shm.h>

static sigjmp_buf jump;
static int faulted;
static void on_fault(int signo) { faulted = signo; siglongjmp(jump, 1); }

/* Reads (or writes) one byte and says what happened. */
static void touch(const char *what, volatile char *at, int write_it)
{
    faulted = 0;
    char c = 0;
    if (sigsetjmp(jump, 1) == 0) {
        if (write_it)
            *at = 'w';
        else
            c = *at;
    }
    printf("%s: %s %d\n", what, faulted == SIGSEGV ? "SIGSEGV" : faulted == SIGBUS ? "SIGBUS" : "fine", faulted ? 0 : c);
}

static char *map(size_t size, int prot, int flags, int fd, off_t at)
{
    char *p = mmap(NULL, size, prot, flags, fd, at);
    if (p == MAP_FAILED)
        printf("mmap: %s\n", strerrorname_np(errno));
    return p;
}

static void anonymous(void)
{
    BLOCK("anonymous");
    char *p = map(16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    touch("fresh", p, 0);
    touch("write", p + 8192, 1);
    SAY("mprotect", mprotect(p, 4096, PROT_READ));
    touch("read only", p, 1);
    SAY("mprotect", mprotect(p, 4096, PROT_NONE));
    touch("none", p, 0);
    SAY("munmap", munmap(p + 4096, 4096));
    touch("hole", p + 4096, 0);
    SAY("mprotect over a hole", mprotect(p, 16384, PROT_READ));
    SAY("munmap again", munmap(p, 16384));
    SAY("munmap nothing", munmap(p, 4096));
    SAY("munmap unaligned", munmap(p + 1, 4096));
    SAY("munmap 0", munmap(p, 0));
    SAY("mmap 0", mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    SAY("no type", mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    SAY("too large", mmap(NULL, 1ul << 47, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    SAY("wraps", mmap(NULL, -4096ul, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
    SAY("kernel address", mmap((void *)(1ul << 47), 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
    SAY("unaligned fixed", mmap((void *)0x10000001, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0);
    p = map(8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(p, "kept");
    printf("fixed over it %d\n", mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 4096);
    SAY("noreplace", mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0);
    printf("hint %d\n", (munmap(p + 4096, 4096), mmap(p + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) == p + 4096);
    SAY("mprotect unaligned", mprotect(p + 1, 4096, PROT_READ));
    SAY("mprotect prot", mprotect(p, 4096, 0x100));
    p = map(1ul << 36, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    SAY("use a part of a large reservation", mprotect(p + (1ul << 35), 65536, PROT_READ | PROT_WRITE));
    touch("there", p + (1ul << 35), 1);
    SAY("munmap", munmap(p, 1ul << 36));
    char *low = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    printf("32 bit %d\n", (uintptr_t)low < 1ul << 32);
    p = map(65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_STACK | MAP_GROWSDOWN, -1, 0);
    touch("populated", p, 1);
    unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    p = map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(p, code, sizeof code);
    mprotect(p, 4096, PROT_READ | PROT_EXEC);
    printf("code runs %d\n", ((int (*)(void))p)());
}

static void shared(void)
{
    BLOCK("shared between processes");
    char *p = map(8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *q = map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(q, "mine");
    pid_t pid = begin();
    if (pid == 0) {
        strcpy(p + 4096, "from the child");
        strcpy(q, "child's");
        _exit(0);
    }
    reap("child", pid);
    printf("%s, %s\n", p + 4096, q);
    char *grown = mremap(p, 8192, 16384, MREMAP_MAYMOVE);
    printf("mremap of shared %d\n", grown != MAP_FAILED && !strcmp(grown + 4096, "from the child"));
    if (grown != MAP_FAILED)
        touch("beyond its object", grown + 12288, 0);
    int fd = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    SAY("ftruncate", ftruncate(fd, 4096));
    p = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    strcpy(p, "memfd");
    char b[10] = "";
    SAY("pread", pread(fd, b, 6, 0));
    printf("%s\n", b);
    SAY("pwrite", pwrite(fd, "M", 1, 0));
    printf("%s\n", p);
    SAY("seals", fcntl(fd, F_GET_SEALS));
    SAY("seal write while mapped", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    SAY("seal shrink", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    SAY("shrink", ftruncate(fd, 100));
    SAY("grow", ftruncate(fd, 10000));
    munmap(p, 4096);
    SAY("seal write", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    SAY("write", pwrite(fd, "x", 1, 0));
    SAY("map", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    SAY("more seals", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    SAY("no seals", fcntl(memfd_create("n", 0), F_ADD_SEALS, F_SEAL_SHRINK));
    SAY("memfd flags", memfd_create("x", 0x80));
    int shm = shm_open("/probe", O_RDWR | O_CREAT | O_EXCL, 0600);
    printf("shm_open %d\n", shm >= 0);
    SAY("ftruncate", ftruncate(shm, 8192));
    p = map(8192, PROT_READ | PROT_WRITE, MAP_SHARED, shm, 0);
    pid = begin();
    if (pid == 0) {
        int again = shm_open("/probe", O_RDWR, 0);
        char *r = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 4096);
        strcpy(r, "over /dev/shm");
        _exit(0);
    }
    reap("child", pid);
    printf("%s\n", p + 4096);
    SAY("shm_unlink", shm_unlink("/probe"));
}

static void files(void)
{
    BLOCK("files");
    char b[20] = "";
    int fd = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int n = 0; n < 3; n++)
        for (int k = 0; k < 512; k++)
            write(fd, n == 0 ? "aaaaaaaa" : n == 1 ? "bbbbbbbb" : "cccccccc", 8);
    SAY("truncate", ftruncate(fd, 10000));
    char *p = map(16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *q = map(16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *r = map(4096, PROT_READ, MAP_SHARED, fd, 4096);
    printf("%c%c%c %c\n", p[0], q[4096], p[8192], r[0]);
    p[0] = 'S';
    q[1] = 'P';
    pread(fd, b, 4, 0);
    printf("shared write %.4s private %.4s\n", b, q);
    pwrite(fd, "file", 4, 4096);
    printf("written later: shared %.4s private %.4s other %.4s\n", p + 4096, q + 4096, r);
    touch("tail of the last page", p + 10100, 0);
    touch("beyond", p + 12288, 0);
    touch("beyond, private", q + 12288, 0);
    SAY("grow", ftruncate(fd, 16384));
    touch("now", p + 12288, 1);
    SAY("shrink", ftruncate(fd, 4096));
    touch("gone", p + 4096, 0);
    touch("first page", p, 0);
    SAY("msync", msync(p, 4096, MS_SYNC));
    SAY("msync async", msync(p, 16384, MS_ASYNC));
    SAY("msync flags", msync(p, 4096, MS_SYNC | MS_ASYNC));
    SAY("msync unaligned", msync(p + 1, 4096, MS_SYNC));
    SAY("msync nothing", (munmap(r, 4096), msync(r, 4096, MS_SYNC)));
    int ro = open("file", O_RDONLY), wo = open("file", O_WRONLY), dir = open(".", O_RDONLY);
    SAY("shared write of a read-only file", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
    SAY("private write of a read-only file", mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0) == MAP_FAILED ? -1 : 0);
    SAY("write-only file", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED ? -1 : 0);
    SAY("directory", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, dir, 0) == MAP_FAILED ? -1 : 0);
    SAY("closed", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 99, 0) == MAP_FAILED ? -1 : 0);
    SAY("unaligned offset", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, ro, 100) == MAP_FAILED ? -1 : 0);
    int pi[2];
    pipe(pi);
    SAY("pipe", mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, pi[0], 0) == MAP_FAILED ? -1 : 0);
    char *shared_ro = map(4096, PROT_READ, MAP_SHARED, ro, 0);
    SAY("mprotect to write", mprotect(shared_ro, 4096, PROT_READ | PROT_WRITE));
    close(fd);
    unlink("file");
    strcpy(p, "unlinked");
    printf("%s\n", p);
    pid_t pid = begin();
    if (pid == 0) {
        strcpy(p, "child wrote");
        q[0] = 'C';
        _exit(0);
    }
    reap("child", pid);
    printf("%s %c\n", p, q[0]);
    int zero = open("/dev/zero", O_RDWR);
    p = map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    touch("/dev/zero", p, 1);
    fd = open("two", O_RDWR | O_CREAT, 0600);
    write(fd, "x", 1);
    int fd2 = open("two", O_RDWR);
    p = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    q = map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd2, 0);
    p[0] = 'y';
    printf("two mappings, one file %c\n", q[0]);
    pid = begin();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "cat two", NULL);
        _exit(1);
    }
    reap("cat", pid);
}

static void moving(void)
{
    BLOCK("mremap, madvise and the rest");
    char *p = map(16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(p, "moved");
    char *q = mremap(p, 16384, 1 << 20, MREMAP_MAYMOVE);
    printf("grow %s\n", q == MAP_FAILED ? strerrorname_np(errno) : q);
    SAY("grown part", q[(1 << 20) - 1]);
    p = mremap(q, 1 << 20, 4096, 0);
    printf("shrink in place %d %s\n", p == q, p);
    touch("cut off", p + 4096, 0);
    char *target = map(8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    q = mremap(p, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    printf("fixed %d %s\n", q == target, q);
    SAY("overlap", mremap(q, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, q) == MAP_FAILED ? -1 : 0);
    SAY("flags", mremap(q, 4096, 4096, 0x80) == MAP_FAILED ? -1 : 0);
    SAY("fixed alone", mremap(q, 4096, 4096, MREMAP_FIXED, target) == MAP_FAILED ? -1 : 0);
    SAY("unmapped", mremap((void *)0x10000, 4096, 8192, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0);
    SAY("cannot grow in place", (map(4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), mmap(q + 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), mremap(q, 4096, 8192, 0) == MAP_FAILED ? -1 : 0));
    SAY("DONTNEED", madvise(q, 4096, MADV_DONTNEED));
    SAY("zero again", q[0]);
    for (int advice = 0; advice < 5; advice++)
        SAY("advice", madvise(q, 4096, advice));
    SAY("FREE", madvise(q, 4096, MADV_FREE));
    SAY("DONTFORK", madvise(q, 4096, MADV_DONTFORK));
    SAY("HUGEPAGE", madvise(q, 4096, MADV_HUGEPAGE) == 0 || errno == EINVAL ? 0 : -1);
    SAY("bad advice", madvise(q, 4096, 999));
    SAY("advice to nothing", madvise((void *)0x10000, 4096, MADV_WILLNEED));
    SAY("unaligned", madvise(q + 1, 4096, MADV_NORMAL));
    unsigned char there[4] = {9, 9, 9, 9};
    p = map(16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    p[4096] = 1;
    SAY("mincore", mincore(p, 16384, there));
    printf("%d\n", there[1] & 1);
    SAY("mincore of a hole", (munmap(p + 8192, 4096), mincore(p, 16384, there)));
    SAY("mlock", mlock(p, 4096));
    SAY("munlock", munlock(p, 4096));
    SAY("mlockall", mlockall(4 | 8));
    SAY("mlock2", mlock2(p, 4096, 1));
    SAY("munlockall", munlockall());
    SAY("mlock of a hole", mlock(p, 16384));
    BLOCK("brk");
    char *start = sbrk(0);
    printf("grow %d\n", sbrk(100000) == start);
    touch("new", start + 99999, 1);
    printf("shrink %d\n", sbrk(-100000) == start + 100000);
    touch("cut off", start + 90000, 0);
    SAY("below the start", brk((void *)4096));
    printf("unchanged %d\n", sbrk(0) == start);
    for (int n = 0; n < 50; n++)
        sbrk(4096 * 16);
    touch("in steps", start + 4096 * 16 * 49, 1);
    BLOCK("pkeys and others");
    SAY("remap_file_pages", syscall(SYS_remap_file_pages, p, 4096, 0, 0, 0) == 0 ? 0 : -1);
    char b[4] = "";
    struct iovec here = {b, 4}, remote = {"rem", 4};
    SAY("process_vm_readv of oneself", process_vm_readv(getpid(), &here, 1, &remote, 1, 0));
    printf("%s\n", b);
    remote.iov_base = (void *)8;
    SAY("bad remote", process_vm_readv(getpid(), &here, 1, &remote, 1, 0));
    SAY("nobody", process_vm_readv(999999, &here, 1, &remote, 1, 0));
    int fd = open("/proc/self/mem", O_RDWR);
    static char secret[] = "secret";
    char out[8] = "";
    SAY("/proc/self/mem", pread(fd, out, 7, (off_t)(uintptr_t)secret));
    SAY("write there", pwrite(fd, "S", 1, (off_t)(uintptr_t)secret));
    printf("%s %s\n", out, secret);
}

/* Where a mapping moves to, and what it leaves behind. */
static char *move(const char *what, void *from, size_t size, size_t to_size, int flags, void *to)
{
    char *at = mremap(from, size, to_size, flags, to);
    printf("%s: %s\n", what, at == MAP_FAILED ? strerrorname_np(errno) : "ok");
    return at;
}

static void placing(void)
{
    enum { PAGE = 4096, KEEP = MREMAP_MAYMOVE | MREMAP_DONTUNMAP, FIXED = MREMAP_MAYMOVE | MREMAP_FIXED };
    const int plain = MAP_PRIVATE | MAP_ANONYMOUS, rw = PROT_READ | PROT_WRITE;
    BLOCK("mremap to a place");
    char *a = map(8 * PAGE, rw, plain, -1, 0), *c = map(16 * PAGE, rw, plain, -1, 0);
    a[0] = 'a';
    move("fixed", a, 2 * PAGE, 2 * PAGE, FIXED, c + 4 * PAGE);
    touch("there", c + 4 * PAGE, 0);
    touch("here", a, 0);
    move("onto itself", c, 4 * PAGE, 4 * PAGE, FIXED, c + 2 * PAGE);
    move("unaligned", c, PAGE, PAGE, FIXED, c + 5 * PAGE + 1);
    move("larger", c + 4 * PAGE, PAGE, 3 * PAGE, FIXED, c + 8 * PAGE);
    move("smaller", c + 8 * PAGE, 3 * PAGE, PAGE, FIXED, c + 12 * PAGE);
    touch("there", c + 12 * PAGE, 0);
    touch("cut off", c + 9 * PAGE, 0);
    move("fixed alone", c, PAGE, PAGE, MREMAP_FIXED, c + 4 * PAGE);
    move("beyond", c, PAGE, PAGE, FIXED, (void *)(1ul << 47));
    move("longer than everything", c, PAGE, -PAGE, MREMAP_MAYMOVE, NULL);
    BLOCK("MREMAP_DONTUNMAP");
    a = map(4 * PAGE, rw, plain, -1, 0);
    a[0] = 'b';
    char *b = move("moved", a, 4 * PAGE, 4 * PAGE, KEEP, NULL);
    touch("there", b, 0);
    touch("here, fresh", a, 0);
    a[0] = 'c';
    move("to a place", a, 4 * PAGE, 4 * PAGE, KEEP | MREMAP_FIXED, c);
    touch("there", c, 0);
    touch("here", a, 0);
    move("other size", a, 4 * PAGE, 8 * PAGE, KEEP, NULL);
    move("without MAYMOVE", a, PAGE, PAGE, MREMAP_DONTUNMAP, NULL);
    move("nothing", a, 0, 0, KEEP, NULL);
    move("unaligned", a, PAGE, PAGE, KEEP, (void *)7);
    int fd = open("moved", O_RDWR | O_CREAT | O_TRUNC, 0600);
    write(fd, "file", 4);
    ftruncate(fd, 4 * PAGE);
    a = map(4 * PAGE, rw, MAP_SHARED, fd, 0);
    b = move("shared file", a, 4 * PAGE, 4 * PAGE, KEEP, NULL);
    touch("there", b, 0);
    touch("here", a, 0);
    BLOCK("msync");
    SAY("file", msync(a, 4 * PAGE, MS_SYNC));
    mlock(a, PAGE);
    SAY("invalidate locked", msync(a, PAGE, MS_INVALIDATE | MS_SYNC));
    SAY("invalidate", msync(a + PAGE, PAGE, MS_INVALIDATE | MS_SYNC));
    munmap(a + PAGE, PAGE);
    SAY("hole", msync(a, 4 * PAGE, MS_SYNC));
    SAY("hole, later", msync(a, 4 * PAGE, MS_ASYNC));
    SAY("before the hole", msync(a, PAGE, MS_SYNC));
    SAY("length wraps", msync(a, -1, MS_SYNC));
    SAY("end wraps", msync((void *)-PAGE, 2 * PAGE, MS_SYNC));
    ftruncate(fd, PAGE);
    SAY("beyond the end of the file", msync(a + 2 * PAGE, PAGE, MS_SYNC));
}

int main(void)
{
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
    anonymous();
    shared();
    files();
    moving();
    placing();
    return 0;
}
