/* What the probes share. A probe prints one line per observation, the same in every run: no pids, addresses,
 * times or inode numbers. Each is run on the host and inside; the host decides what is right. */
#ifndef PROBE_H
#define PROBE_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The result of a call, or the name of its error. */
#define SAY(what, call)                                                          \
    do {                                                                         \
        errno = 0;                                                               \
        long result_ = (long)(call);                                             \
        if (result_ == -1)                                                       \
            printf("%s: %s\n", what, strerrorname_np(errno));                    \
        else                                                                     \
            printf("%s: %ld\n", what, result_);                                  \
    } while (0)

/* As SAY, for results that are descriptors, pids or addresses: only whether it worked. */
#define TRY(what, call)                                                          \
    ({                                                                           \
        errno = 0;                                                               \
        long result_ = (long)(call);                                             \
        printf("%s: %s\n", what, result_ == -1 ? strerrorname_np(errno) : "ok"); \
        result_;                                                                 \
    })

#define BLOCK(name) printf("-- %s\n", name)

static inline void nap(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static inline long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void say_status(const char *what, int status)
{
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else if (WIFSTOPPED(status))
        printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
}

static inline void reap(const char *what, pid_t pid)
{
    int status = 0;
    if (waitpid(pid, &status, 0) == pid)
        say_status(what, status);
    else
        printf("%s: wait %s\n", what, strerrorname_np(errno));
}

static inline pid_t begin(void)
{
    fflush(stdout);
    return fork();
}

static inline void done(int code)
{
    fflush(stdout);
    _exit(code);
}
#endif
