/* Bad addresses, bad descriptors and bad numbers for many calls: the errno, and that nothing else happens. */
#include "probe.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/utsname.h>

#define BAD ((void *)8)
#define CALL(...) SAY(#__VA_ARGS__, syscall(SYS_##__VA_ARGS__))

int main(void)
{
    int fd = open("f", O_CREAT | O_RDWR, 0600), p[2], s[2], ep = epoll_create1(0), dir = open(".", O_RDONLY);
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    munmap(edge, 4096);
    char *half = edge - 3;
    pipe(p);
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    write(fd, "0123456789", 10);
    write(p[1], "0123456789", 10);
    BLOCK("bad addresses");
    CALL(read, p[0], NULL, 0);
    CALL(write, p[1], BAD, 5);
    CALL(pread64, fd, BAD, 5, 0);
    CALL(pwrite64, fd, BAD, 5, 0);
    CALL(readv, fd, BAD, 1);
    CALL(writev, fd, BAD, 1);
    CALL(open, BAD, O_RDONLY);
    CALL(open, NULL, O_RDONLY);
    CALL(stat, BAD, BAD);
    CALL(stat, "f", BAD);
    CALL(fstat, fd, BAD);
    CALL(lstat, "f", NULL);
    CALL(getcwd, BAD, 100);
    CALL(chdir, BAD);
    CALL(rename, "f", BAD);
    CALL(link, BAD, "x");
    CALL(symlink, "x", BAD);
    CALL(readlink, "/proc/self", BAD, 10);
    CALL(mkdir, BAD, 0700);
    CALL(unlink, BAD);
    CALL(chmod, BAD, 0);
    CALL(access, BAD, 0);
    CALL(getdents64, dir, BAD, 1000);
    CALL(statfs, ".", BAD);
    CALL(truncate, BAD, 0);
    CALL(utimensat, AT_FDCWD, "f", BAD, 0);
    CALL(setxattr, "f", BAD, "x", 1, 0);
    CALL(getxattr, "f", "user.x", BAD, 1);
    CALL(pipe2, BAD, 0);
    CALL(poll, BAD, 1, 0);
    CALL(select, 5, BAD, NULL, NULL, NULL);
    CALL(epoll_ctl, ep, EPOLL_CTL_ADD, p[0], BAD);
    CALL(epoll_wait, ep, BAD, 0, 0);
    CALL(ioctl, p[0], 0x541B, BAD);
    CALL(fcntl, fd, F_GETLK, BAD);
    CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, BAD);
    CALL(bind, s[0], BAD, 10);
    CALL(connect, s[0], BAD, 10);
    CALL(getsockname, s[0], BAD, BAD);
    CALL(getsockopt, s[0], SOL_SOCKET, SO_TYPE, BAD, BAD);
    CALL(setsockopt, s[0], SOL_SOCKET, SO_REUSEADDR, BAD, 4);
    CALL(sendto, s[0], BAD, 5, 0, NULL, 0);
    CALL(sendmsg, s[0], BAD, 0);
    CALL(recvmsg, s[0], BAD, MSG_DONTWAIT);
    CALL(rt_sigaction, SIGUSR1, BAD, NULL, 8);
    CALL(rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8);
    CALL(rt_sigpending, BAD, 8);
    CALL(rt_sigtimedwait, BAD, NULL, NULL, 8);
    CALL(sigaltstack, BAD, NULL);
    CALL(nanosleep, BAD, NULL);
    CALL(clock_gettime, CLOCK_PROCESS_CPUTIME_ID, BAD);
    CALL(timer_create, CLOCK_MONOTONIC, BAD, BAD);
    CALL(setitimer, ITIMER_REAL, BAD, NULL);
    CALL(getitimer, ITIMER_REAL, BAD);
    CALL(wait4, -1, BAD, WNOHANG, NULL);
    CALL(getrlimit, RLIMIT_CORE, BAD);
    CALL(setrlimit, RLIMIT_CORE, BAD);
    CALL(getrusage, RUSAGE_SELF, BAD);
    CALL(uname, BAD);
    CALL(sysinfo, BAD);
    CALL(times, BAD);
    CALL(getgroups, 100, BAD) ;
    CALL(getresuid, BAD, BAD, BAD);
    CALL(sched_getaffinity, 0, 1024, BAD);
    CALL(prctl, 16, BAD);
    CALL(sendfile, p[1], fd, BAD, 10);
    CALL(futex, BAD, 1, 1, NULL, NULL, 0);
    CALL(getrandom, BAD, 10, 0);
    CALL(statx, AT_FDCWD, "f", 0, 0x7ff, BAD);
    CALL(mincore, fd, 1, BAD);
    CALL(signalfd4, -1, BAD, 8, 0);
    CALL(timerfd_settime, timerfd_create(CLOCK_MONOTONIC, 0), 0, BAD, NULL);
    CALL(inotify_add_watch, inotify_init1(0), BAD, 1);
    CALL(memfd_create, BAD, 0);
    CALL(openat2, AT_FDCWD, "f", BAD, 24);
    CALL(clone3, BAD, 88);
    CALL(execve, BAD, BAD, BAD);
    CALL(copy_file_range, fd, BAD, fd, NULL, 1, 0);
    CALL(preadv2, fd, BAD, 1, 0, 0, 0);
    CALL(name_to_handle_at, AT_FDCWD, BAD, BAD, BAD, 0);
    BLOCK("bad descriptors");
    int calls[] = {SYS_read, SYS_write, SYS_close, SYS_fstat, SYS_lseek, SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev, SYS_dup, SYS_fcntl,
        SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_getdents64, SYS_fchdir, SYS_fchmod, SYS_fchown, SYS_fstatfs, SYS_ioctl,
        SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_bind, SYS_listen, SYS_accept, SYS_connect, SYS_getsockname,
        SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_epoll_wait, SYS_splice, SYS_tee, SYS_fallocate, SYS_readahead, SYS_syncfs,
        SYS_timerfd_gettime, SYS_flistxattr, SYS_inotify_rm_watch, SYS_fadvise64, SYS_sync_file_range, SYS_vmsplice, SYS_preadv, SYS_copy_file_range};
    for (int n = 0; n < (int)(sizeof calls / sizeof *calls); n++) {
        static char room[8192];
        char name[30];
        sprintf(name, "call %d", calls[n]);
        SAY(name, syscall(calls[n], 77, room, 10, 0, 0, 0));
    }
    BLOCK("wrong kind of descriptor");
    SAY("listen on a file", listen(fd, 1));
    SAY("epoll_wait on a file", epoll_wait(fd, (void *)half, 1, 0));
    SAY("timerfd on a pipe", timerfd_settime(p[0], 0, &(struct itimerspec){0}, NULL));
    SAY("getdents of a pipe", syscall(SYS_getdents64, p[0], half, 1));
    SAY("fchdir to a file", fchdir(fd));
    SAY("ftruncate a pipe", ftruncate(p[1], 0));
    SAY("fallocate a pipe", fallocate(p[1], 0, 0, 10));
    SAY("lseek a socket", lseek(s[0], 0, SEEK_SET));
    SAY("sendfile from a socket", sendfile(fd, s[0], NULL, 1));
    SAY("pread a tty or pipe", pread(p[0], half, 1, 0));
    SAY("mmap a socket", mmap(NULL, 4096, 1, MAP_PRIVATE, s[0], 0) == MAP_FAILED ? -1 : 0);
    SAY("openat below a pipe", openat(p[0], "x", O_RDONLY));
    SAY("fchmod a pipe", fchmod(p[0], 0600));
    SAY("fsync a socket", fsync(s[0]));
    SAY("readahead a pipe", readahead(p[0], 0, 10));
    BLOCK("the pipe still has its bytes");
    char left[20];
    SAY("read", read(p[0], left, 20));
    return 0;
}
