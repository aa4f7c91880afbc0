/* Opening, naming, reading and describing files. */
#include "probe.h"
#include <dirent.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static char b[4096], long_name[300], long_path[5000];

static void make(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    write(fd, text, strlen(text));
    close(fd);
}

static void show(const char *name)
{
    struct stat s;
    if (lstat(name, &s))
        printf("%s: %s\n", name, strerrorname_np(errno));
    else
        printf("%s: mode %o links %d size %ld\n", name, s.st_mode, S_ISDIR(s.st_mode) ? 0 : (int)s.st_nlink, S_ISDIR(s.st_mode) ? 0 : (long)s.st_size);
}

static void opening(void)
{
    BLOCK("open");
    make("f", "contents");
    mkdir("d", 0755);
    symlink("f", "l");
    symlink("loop", "loop");
    symlink("nosuch", "dangling");
    SAY("no file", open("nosuch", O_RDONLY));
    SAY("empty name", open("", O_RDONLY));
    SAY("directory for writing", open("d", O_WRONLY));
    SAY("O_CREAT of a directory", open("d", O_RDONLY | O_CREAT, 0600));
    SAY("O_DIRECTORY", open("f", O_RDONLY | O_DIRECTORY));
    SAY("slash", open("f/", O_RDONLY));
    SAY("create with a slash", open("new/", O_CREAT | O_WRONLY, 0600));
    SAY("below a file", open("f/x", O_RDONLY));
    SAY("exclusive", open("f", O_CREAT | O_EXCL | O_RDWR, 0600));
    SAY("exclusive link", open("dangling", O_CREAT | O_EXCL | O_RDWR, 0600));
    SAY("nofollow", open("l", O_RDONLY | O_NOFOLLOW));
    SAY("loop", open("loop", O_RDONLY));
    SAY("dangling", open("dangling", O_RDONLY));
    TRY("create through a link", open("dangling", O_CREAT | O_RDWR, 0600));
    show("nosuch");
    memset(long_name, 'n', 256);
    SAY("long name", open(long_name, O_RDONLY));
    memset(long_path, '/', 4096);
    SAY("long path", open(long_path, O_RDONLY));
    int fd = TRY("O_PATH", open("f", O_PATH));
    SAY("read O_PATH", read(fd, b, 1));
    SAY("fstat O_PATH", fstat(fd, &(struct stat){0}));
    SAY("fchmod O_PATH", fchmod(fd, 0600));
    SAY("flags O_PATH", fcntl(fd, F_GETFL));
    sprintf(b, "/proc/self/fd/%d", fd);
    TRY("open again by /proc", open(b, O_RDONLY));
    fd = TRY("O_PATH of a link", open("l", O_PATH | O_NOFOLLOW));
    SAY("readlinkat", readlinkat(fd, "", b, 100));
    fd = open("f", O_RDWR | O_APPEND | O_NONBLOCK);
    printf("flags %x\n", fcntl(fd, F_GETFL));
    SAY("O_TRUNC read only", (fd = open("f", O_RDONLY | O_TRUNC)) >= 0 ? 0 : -1);
    show("f");
    umask(027);
    close(open("masked", O_CREAT | O_WRONLY, 0777));
    show("masked");
    mkdir("masked.d", 0777);
    show("masked.d");
    umask(022);
    fd = open("mode0", O_CREAT | O_RDWR, 0);
    SAY("mode 0 but open", write(fd, "x", 1));
    int d = open("d", O_RDONLY | O_DIRECTORY);
    TRY("openat", openat(d, "in", O_CREAT | O_RDWR, 0600));
    SAY("openat a file", openat(fd, "x", O_RDONLY));
    SAY("openat closed", openat(99, "x", O_RDONLY));
    TRY("absolute with a bad dirfd", openat(99, "/etc/passwd", O_RDONLY));
    SAY("read a directory", read(d, b, 10));
    SAY("write to a read-only description", write(d, b, 10));
    int t = TRY("O_TMPFILE", open("d", O_TMPFILE | O_RDWR, 0600));
    SAY("write", write(t, "temporary", 9));
    struct stat s;
    fstat(t, &s);
    printf("links %d\n", (int)s.st_nlink);
    sprintf(b, "/proc/self/fd/%d", t);
    SAY("linkat", linkat(AT_FDCWD, b, AT_FDCWD, "d/linked", AT_SYMLINK_FOLLOW));
    show("d/linked");
    SAY("O_TMPFILE of a file", open("f", O_TMPFILE | O_RDWR, 0600));
    SAY("O_TMPFILE read only", open("d", O_TMPFILE | O_RDONLY, 0600));
    SAY("/dev/null", open("/dev/null", O_RDWR | O_TRUNC) >= 0 ? 0 : -1);
    SAY("/proc/self/fd/99", open("/proc/self/fd/99", O_RDONLY));
}

static void resolving(void)
{
    BLOCK("openat2");
    mkdir("r", 0755);
    mkdir("r/s", 0755);
    make("r/in", "in");
    symlink("/etc/passwd", "r/absolute");
    symlink("../f", "r/up");
    symlink("in", "r/near");
    symlink("/in", "r/rooted");
    int d = open("r", O_PATH);
    const char *names[] = {"in", "near", "up", "absolute", "rooted", "..", "s/../in", "/etc/passwd", "s/../../f"};
    uint64_t how[] = {0, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV};
    for (int n = 0; n < 9; n++)
        for (int k = 0; k < 6; k++) {
            struct open_how h = {.flags = O_RDONLY, .resolve = how[k]};
            if ((n == 3 || n == 4) && how[k] == RESOLVE_NO_XDEV)
                continue; /* depends on whether the host's root is a mount of its own */
            sprintf(b, "%s %lx", names[n], how[k]);
            TRY(b, syscall(SYS_openat2, d, names[n], &h, sizeof h));
        }
    struct open_how h = {.flags = O_RDONLY, .resolve = RESOLVE_NO_MAGICLINKS};
    SAY("magic link", syscall(SYS_openat2, d, "/proc/self/exe", &h, sizeof h));
    h.resolve = RESOLVE_NO_XDEV;
    SAY("other file system", syscall(SYS_openat2, d, "/proc/version", &h, sizeof h));
    h.resolve = 1ul << 40;
    SAY("unknown resolve", syscall(SYS_openat2, d, "in", &h, sizeof h));
    h = (struct open_how){.flags = O_RDONLY, .mode = 0600};
    SAY("mode without O_CREAT", syscall(SYS_openat2, d, "in", &h, sizeof h));
    SAY("size", syscall(SYS_openat2, d, "in", &h, 8));
    h = (struct open_how){.flags = O_RDONLY, .resolve = RESOLVE_BENEATH | RESOLVE_IN_ROOT};
    SAY("both", syscall(SYS_openat2, d, "in", &h, sizeof h));
}

static void naming(void)
{
    BLOCK("names");
    make("a", "a");
    make("c", "c");
    mkdir("e1", 0755);
    mkdir("e2", 0755);
    make("e2/x", "x");
    SAY("rename", rename("a", "b"));
    SAY("rename missing", rename("a", "b"));
    SAY("rename onto itself", rename("b", "b"));
    SAY("file onto directory", rename("b", "e1"));
    SAY("directory onto file", rename("e1", "b"));
    SAY("directory onto full directory", rename("e1", "e2"));
    SAY("directory onto empty directory", rename("e2", "e1"));
    SAY("into itself", rename("e1", "e1/sub"));
    SAY("onto its parent", rename("e1/x", "e1"));
    SAY("dot", rename("e1/.", "q"));
    SAY("NOREPLACE", renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_NOREPLACE));
    SAY("NOREPLACE", renameat2(AT_FDCWD, "b", AT_FDCWD, "a", RENAME_NOREPLACE));
    SAY("EXCHANGE", renameat2(AT_FDCWD, "a", AT_FDCWD, "e1", RENAME_EXCHANGE));
    show("a");
    show("e1");
    SAY("EXCHANGE missing", renameat2(AT_FDCWD, "a", AT_FDCWD, "nothing", RENAME_EXCHANGE));
    SAY("both", renameat2(AT_FDCWD, "a", AT_FDCWD, "e1", RENAME_EXCHANGE | RENAME_NOREPLACE));
    SAY("link", link("c", "c2"));
    show("c");
    SAY("link exists", link("c", "c2"));
    SAY("link a directory", link("a", "a2"));
    SAY("rename to a link of itself", rename("c", "c2"));
    show("c2");
    SAY("linkat a symlink", linkat(AT_FDCWD, "l", AT_FDCWD, "l2", 0));
    show("l2");
    SAY("linkat following", linkat(AT_FDCWD, "l", AT_FDCWD, "l3", AT_SYMLINK_FOLLOW));
    show("l3");
    SAY("symlink exists", symlink("x", "l"));
    SAY("empty symlink", symlink("", "empty"));
    SAY("readlink", readlink("l", b, 100));
    SAY("readlink cut", readlink("dangling", b, 3));
    SAY("readlink of a file", readlink("c", b, 100));
    SAY("readlink 0", readlink("l", b, 0));
    SAY("unlink a directory", unlink("d"));
    SAY("unlink with a slash", unlink("c/"));
    SAY("unlink .", unlink("."));
    SAY("rmdir full", rmdir("d"));
    SAY("rmdir a file", rmdir("c"));
    SAY("rmdir .", rmdir("e2/."));
    SAY("rmdir ..", rmdir("d/.."));
    SAY("rmdir /", rmdir("/"));
    SAY("unlinkat", unlinkat(AT_FDCWD, "masked.d", AT_REMOVEDIR));
    SAY("unlinkat flags", unlinkat(AT_FDCWD, "c", 0x10));
    SAY("mkdir exists", mkdir("d", 0755));
    SAY("mkdir below nothing", mkdir("no/d", 0755));
    SAY("mkdir with slashes", mkdir("slashes//", 0755));
    SAY("mkdir setgid", mkdir("setgid", 02755));
    show("setgid");
    SAY("mknod file", mknod("node", S_IFREG | 0600, 0));
    show("node");
    SAY("mknod fifo", mknod("fifo", S_IFIFO | 0600, 0));
    show("fifo");
    SAY("mknod socket", mknod("socket", S_IFSOCK | 0600, 0));
    show("socket");
    SAY("mknod directory", mknod("dir", S_IFDIR | 0600, 0));
    SAY("mknod bad", mknod("bad", 0170000, 0));
    SAY("chdir", chdir("d"));
    getcwd(b, sizeof b);
    printf("cwd %s\n", strrchr(b, '/'));
    SAY("getcwd small", syscall(SYS_getcwd, b, 2));
    SAY("chdir ..", chdir(".."));
    SAY("chdir file", chdir("c2"));
    mkdir("gone", 0755);
    chdir("gone");
    rmdir("../gone");
    SAY("getcwd of nothing", syscall(SYS_getcwd, b, 100));
    SAY("create in nothing", open("x", O_CREAT | O_WRONLY, 0600));
    SAY("stat .", stat(".", &(struct stat){0}));
    SAY("..", chdir(".."));
    int d = open("d", O_RDONLY);
    SAY("fchdir", fchdir(d));
    SAY("back", chdir(".."));
    SAY("access", access("c2", R_OK | W_OK));
    SAY("access missing", access("missing", F_OK));
    SAY("access mode", access("c2", 99));
    SAY("faccessat2", syscall(439, AT_FDCWD, "c2", R_OK, AT_EACCESS));
    SAY("faccessat2 flags", syscall(439, AT_FDCWD, "c2", R_OK, 0x1));
}

static void contents(void)
{
    BLOCK("contents");
    int fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0644);
    SAY("write", write(fd, "0123456789", 10));
    SAY("lseek", lseek(fd, -3, SEEK_END));
    SAY("read", read(fd, b, 100));
    SAY("end", read(fd, b, 100));
    SAY("negative", lseek(fd, -1, SEEK_SET));
    SAY("whence", lseek(fd, 0, 9));
    SAY("far", lseek(fd, 1000000, SEEK_SET));
    SAY("write", write(fd, "x", 1));
    struct stat s;
    fstat(fd, &s);
    printf("size %ld sparse %d\n", s.st_size, s.st_blocks < 100);
    SAY("SEEK_DATA", lseek(fd, 0, SEEK_DATA));
    SAY("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE));
    SAY("SEEK_DATA", lseek(fd, 8192, SEEK_DATA));
    SAY("SEEK_DATA beyond", lseek(fd, 2000000, SEEK_DATA));
    SAY("SEEK_HOLE in the last", lseek(fd, 1000000, SEEK_HOLE));
    SAY("pread", pread(fd, b, 10, 5));
    printf("%.5s%d\n", b, b[5]);
    SAY("pread negative", pread(fd, b, 10, -1));
    SAY("pwrite", pwrite(fd, "ABC", 3, 2));
    SAY("position", lseek(fd, 0, SEEK_CUR));
    struct iovec v[3] = {{b, 4}, {NULL, 0}, {b + 100, 4}};
    SAY("preadv", preadv(fd, v, 3, 1));
    printf("%.4s %.4s\n", b, b + 100);
    SAY("pwritev", pwritev(fd, v, 3, 20));
    SAY("preadv2", preadv2(fd, v, 3, -1, 0));
    SAY("preadv2 flags", preadv2(fd, v, 3, 0, 0x1000));
    SAY("iov count", readv(fd, v, -1));
    SAY("iov count", readv(fd, v, 1025));
    v[0].iov_len = -1;
    SAY("iov length", readv(fd, v, 1));
    SAY("truncate", ftruncate(fd, 5));
    SAY("size", lseek(fd, 0, SEEK_END));
    SAY("grow", ftruncate(fd, 50));
    SAY("zeros", (pread(fd, b, 50, 0), b[0] == '0' && b[10] == 0));
    SAY("negative", ftruncate(fd, -1));
    SAY("read only", ftruncate(open("data", O_RDONLY), 5));
    SAY("truncate a directory", truncate("d", 5));
    SAY("fallocate", fallocate(fd, 0, 0, 100000));
    SAY("size", lseek(fd, 0, SEEK_END));
    SAY("keep size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 200000));
    SAY("size", lseek(fd, 0, SEEK_END));
    SAY("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    SAY("punched", (pread(fd, b, 1, 0), b[0]));
    SAY("negative length", fallocate(fd, 0, 0, 0));
    SAY("fsync", fsync(fd));
    SAY("fdatasync", fdatasync(fd));
    SAY("sync_file_range", sync_file_range(fd, 0, 100, 7));
    SAY("fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    SAY("fsync a pipe", ({ int p[2]; pipe(p); fsync(p[0]); }));
    int ap = open("data", O_WRONLY | O_APPEND);
    lseek(ap, 0, SEEK_SET);
    SAY("append", write(ap, "end", 3));
    SAY("append position", lseek(ap, 0, SEEK_CUR));
    SAY("pwrite appends too", pwrite(ap, "e", 1, 0));
    SAY("size", lseek(ap, 0, SEEK_END));
    int copy = dup(fd);
    lseek(fd, 7, SEEK_SET);
    SAY("dup shares the position", lseek(copy, 0, SEEK_CUR));
    SAY("dup2 itself", dup2(fd, fd) == fd);
    SAY("dup3 itself", dup3(fd, fd, 0));
    SAY("dup2 closed", dup2(99, 5));
    SAY("dup2 large", dup2(fd, 1 << 30));
    SAY("F_DUPFD", fcntl(fd, F_DUPFD, 50));
    SAY("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 50));
    SAY("GETFD", fcntl(51, F_GETFD));
    SAY("close_range", close_range(50, 60, 0));
    SAY("closed", fcntl(51, F_GETFD));
    SAY("close_range flags", close_range(50, 60, 99));
    SAY("close_range order", close_range(60, 50, 0));
    SAY("close", close(99));
    SAY("fcntl", fcntl(fd, 9999));
    SAY("large read", read(fd, b, 1ul << 62) >= 0 ? 0 : -1);
}

static void attributes(void)
{
    BLOCK("attributes");
    make("attr", "x");
    SAY("chmod", chmod("attr", 07777));
    show("attr");
    SAY("chmod link", (symlink("attr", "attrlink"), chmod("attrlink", 0600)));
    show("attr");
    SAY("fchmodat2", syscall(452, AT_FDCWD, "attr", 0640, 0));
    SAY("fchmodat nofollow", fchmodat(AT_FDCWD, "attr", 0640, 0x9999));
    SAY("chown", chown("attr", getuid(), getgid()));
    SAY("chown nothing", chown("attr", -1, -1));
    SAY("utimensat", utimensat(AT_FDCWD, "attr", (struct timespec[]){{100, 5}, {200, 7}}, 0));
    struct stat s;
    stat("attr", &s);
    printf("times %ld.%ld %ld.%ld\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
    SAY("omit", utimensat(AT_FDCWD, "attr", (struct timespec[]){{0, UTIME_OMIT}, {0, UTIME_NOW}}, 0));
    stat("attr", &s);
    printf("times %ld.%ld %d\n", s.st_atim.tv_sec, s.st_atim.tv_nsec, labs(s.st_mtim.tv_sec - time(NULL)) < 3);
    SAY("bad", utimensat(AT_FDCWD, "attr", (struct timespec[]){{0, 2000000000}, {0, 0}}, 0));
    SAY("symlink itself", utimensat(AT_FDCWD, "attrlink", (struct timespec[]){{1, 0}, {2, 0}}, AT_SYMLINK_NOFOLLOW));
    lstat("attrlink", &s);
    printf("times %ld %ld\n", s.st_atim.tv_sec, s.st_mtim.tv_sec);
    SAY("setxattr", setxattr("attr", "user.name", "value", 5, 0));
    SAY("create", setxattr("attr", "user.name", "v2", 2, XATTR_CREATE));
    SAY("replace", setxattr("attr", "user.name", "v2", 2, XATTR_REPLACE));
    SAY("replace missing", setxattr("attr", "user.no", "v2", 2, XATTR_REPLACE));
    SAY("getxattr size", getxattr("attr", "user.name", NULL, 0));
    SAY("getxattr", getxattr("attr", "user.name", b, 100));
    SAY("getxattr small", getxattr("attr", "user.name", b, 1));
    SAY("missing", getxattr("attr", "user.missing", b, 100));
    SAY("listxattr", listxattr("attr", b, 100));
    SAY("empty name", setxattr("attr", "user.", "x", 1, 0));
    SAY("namespace", setxattr("attr", "nospace.x", "x", 1, 0));
    SAY("no dot", setxattr("attr", "plain", "x", 1, 0));
    SAY("long name", (memset(long_name, 'n', 256), memcpy(long_name, "user.", 5), setxattr("attr", long_name, "x", 1, 0)));
    SAY("user on a symlink", lsetxattr("attrlink", "user.x", "x", 1, 0));
    SAY("removexattr", removexattr("attr", "user.name"));
    SAY("again", removexattr("attr", "user.name"));
    SAY("flags", setxattr("attr", "user.f", "x", 1, 9));
    struct statx x;
    SAY("statx", statx(AT_FDCWD, "attr", 0, STATX_BASIC_STATS | STATX_BTIME, &x));
    printf("mask %d mode %o links %u attributes %d\n", (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS, x.stx_mode, x.stx_nlink, 0);
    SAY("statx flags", statx(AT_FDCWD, "attr", 0x8000, 0, &x));
    SAY("statx mask", statx(AT_FDCWD, "attr", 0, 0x80000000, &x));
    SAY("statx empty", statx(open("attr", O_RDONLY), "", AT_EMPTY_PATH, STATX_SIZE, &x));
    printf("size %lld\n", x.stx_size);
    SAY("fstatat empty", fstatat(AT_FDCWD, "", &s, 0));
    struct statfs fs;
    SAY("statfs", statfs(".", &fs));
    printf("names %ld\n", fs.f_namelen);
    stat("/dev/null", &s);
    printf("null %o %u %u\n", s.st_mode, major(s.st_rdev), minor(s.st_rdev));
    BLOCK("directories");
    mkdir("list", 0755);
    for (int n = 0; n < 300; n++) {
        sprintf(b, "list/entry%03d", n);
        close(open(b, O_CREAT | O_WRONLY, 0600));
    }
    DIR *d = opendir("list");
    struct dirent *e;
    int count = 0, sum = 0, kinds = 0;
    while ((e = readdir(d))) {
        count++;
        if (e->d_name[0] == 'e')
            sum += atoi(e->d_name + 5), kinds += e->d_type == DT_REG;
    }
    printf("entries %d sum %d regular %d\n", count, sum, kinds);
    rewinddir(d);
    for (int n = 0; n < 10; n++)
        e = readdir(d);
    long at = telldir(d);
    char next[256];
    strcpy(next, readdir(d)->d_name);
    seekdir(d, at);
    printf("seekdir %d\n", !strcmp(next, readdir(d)->d_name));
    rewinddir(d);
    count = 0;
    while ((e = readdir(d)))
        if (e->d_name[0] == 'e') {
            sprintf(b, "list/%.200s", e->d_name);
            count += unlink(b) == 0;
        }
    printf("removed while reading %d\n", count);
    SAY("rmdir", rmdir("list"));
    SAY("readdir of a removed directory", (rewinddir(d), errno = 0, readdir(d) == NULL));
    SAY("getdents small", syscall(SYS_getdents64, open("d", O_RDONLY), b, 5));
    SAY("getdents of a file", syscall(SYS_getdents64, open("attr", O_RDONLY), b, 500));
    SAY("old getdents", syscall(SYS_getdents, open("d", O_RDONLY), b, 500) > 0);
}

int main(void)
{
    umask(022);
    opening();
    resolving();
    naming();
    contents();
    attributes();
    return 0;
}
