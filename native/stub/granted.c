/* Descriptors that the Sentry sends over the control socket. */
#include "stub.h"

/* Take the descriptors that the Sentry has sent ahead of its answer. */
long receive_fds(int *fds, uint32_t count)
{
    uint64_t control[2 + MAX_RECEIVED / 2] = {0};
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {0, 0, 0, &iov, 1, control, sizeof control, 0};

    if (sys3(SYS_recvmsg, CONTROL_FD, &message, 0x40000040) != 1 || /* CLOEXEC|DONTWAIT */
        message.controllen < 16 + 4 * count)
        return -EAGAIN_;
    memcpy(fds, control + 2, 4 * count);
    return 0;
}

/* mmap(2) of a host file that is open for reading only, without a notification: the filter knows the range of
   such descriptors. */
long map_granted(const uint64_t *p)
{
    int fd;

    if (receive_fds(&fd, 1))
        return -EAGAIN_;
    long result = sys6(SYS_mmap, (long)p[0], (long)p[1], (long)p[2], (long)p[3], fd, (long)p[4]);
    sys1(SYS_close, fd);
    return result;
}
