/* Sockets: Unix (stream, dgram, seqpacket, rights, credentials, abstract), TCP and UDP over the loopback. */
#include "probe.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static char b[1000], big[1 << 20];

static socklen_t name(struct sockaddr_un *a, const char *path, bool abstract)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    strcpy(a->sun_path + abstract, path);
    return offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path) + !abstract;
}

static void pairs(void)
{
    BLOCK("pairs");
    int s[2], d[2], q[2];
    SAY("stream", socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s));
    SAY("dgram", socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, d));
    SAY("seqpacket", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, q));
    SAY("inet", socketpair(AF_INET, SOCK_STREAM, 0, (int[2]){0}));
    int *all[3] = {s, d, q};
    for (int n = 0; n < 3; n++) {
        int *p = all[n];
        SAY("empty", recv(p[1], b, 10, 0));
        SAY("send", send(p[0], "abc", 3, 0));
        SAY("send", send(p[0], "defgh", 5, 0));
        SAY("send nothing", send(p[0], "", 0, 0));
        SAY("peek", recv(p[1], b, 2, MSG_PEEK));
        SAY("truncated", recv(p[1], b, 2, MSG_TRUNC));
        SAY("rest", recv(p[1], b, 100, 0));
        SAY("rest", recv(p[1], b, 100, 0));
        int value = -1;
        socklen_t size = sizeof value;
        getsockopt(p[0], SOL_SOCKET, SO_TYPE, &value, &size);
        printf("type %d\n", value);
        SAY("shutdown", shutdown(p[0], SHUT_WR));
        SAY("after shutdown", recv(p[1], b, 10, 0));
        SAY("send", send(p[0], "x", 1, MSG_NOSIGNAL));
        close(p[1]);
        SAY("peer gone", send(p[0], "x", 1, MSG_NOSIGNAL));
        SAY("peer gone", recv(p[0], b, 10, 0));
    }
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    send(s[0], "lost", 4, 0);
    close(s[0]);
    SAY("data before the end", recv(s[1], b, 10, 0));
    SAY("the end", recv(s[1], b, 10, 0));
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    send(s[1], "unread", 6, 0);
    close(s[0]);
    SAY("reset", recv(s[1], b, 10, 0));
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    if (begin() == 0) {
        for (int n = 0; n < 10; n++) {
            nap(5);
            send(s[0], "0123456789", 10, 0);
        }
        _exit(0);
    }
    SAY("MSG_WAITALL", recv(s[1], b, 100, MSG_WAITALL));
    wait(NULL);
}

static void passing(void)
{
    BLOCK("rights and credentials");
    int s[2], p[2], got[3] = {-1, -1, -1};
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    pipe(p);
    char control[CMSG_SPACE(3 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))] = "";
    struct iovec v = {"m", 1}, r = {b, 10};
    struct msghdr out = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(8)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&out);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(8);
    memcpy(CMSG_DATA(c), p, 8);
    SAY("sendmsg", sendmsg(s[0], &out, 0));
    struct msghdr in = {.msg_iov = &r, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SAY("recvmsg", recvmsg(s[1], &in, MSG_CMSG_CLOEXEC));
    c = CMSG_FIRSTHDR(&in);
    printf("type %d length %zu flags %x\n", c->cmsg_type, c->cmsg_len, in.msg_flags & ~MSG_CMSG_CLOEXEC);
    memcpy(got, CMSG_DATA(c), 8);
    SAY("cloexec", fcntl(got[0], F_GETFD));
    SAY("through the passed end", write(got[1], "p", 1));
    SAY("read", read(p[0], b, 1));
    in.msg_controllen = 0;
    out.msg_controllen = CMSG_SPACE(8);
    c = CMSG_FIRSTHDR(&out);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(8);
    memcpy(CMSG_DATA(c), p, 8);
    sendmsg(s[0], &out, 0);
    SAY("no room", recvmsg(s[1], &in, 0));
    printf("flags %x\n", in.msg_flags);
    int bad = 99;
    memcpy(CMSG_DATA(c), &bad, 4);
    SAY("bad descriptor", sendmsg(s[0], &out, 0));
    int one = 1;
    SAY("SO_PASSCRED", setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, 4));
    send(s[0], "c", 1, 0);
    in.msg_controllen = sizeof control;
    SAY("recvmsg", recvmsg(s[1], &in, 0));
    c = CMSG_FIRSTHDR(&in);
    struct ucred cred;
    memcpy(&cred, CMSG_DATA(c), sizeof cred);
    printf("type %d pid %d uid %d\n", c->cmsg_type, cred.pid == getpid(), cred.uid == getuid());
    socklen_t size = sizeof cred;
    SAY("SO_PEERCRED", getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &size));
    printf("pid %d\n", cred.pid == getpid());
    pid_t pid = begin();
    if (pid == 0) {
        memset(control, 0, sizeof control);
        out.msg_control = control;
        out.msg_controllen = CMSG_SPACE(sizeof cred);
        c = CMSG_FIRSTHDR(&out);
        c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS, c->cmsg_len = CMSG_LEN(sizeof cred);
        cred.pid = getpid();
        memcpy(CMSG_DATA(c), &cred, sizeof cred);
        SAY("own credentials", sendmsg(s[0], &out, 0));
        cred.pid = 1 + getppid() * 7;
        memcpy(CMSG_DATA(c), &cred, sizeof cred);
        SAY("false pid", sendmsg(s[0], &out, 0));
        done(0);
    }
    reap("child", pid);
}

static void names(void)
{
    BLOCK("names");
    struct sockaddr_un a, got;
    int l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t n = name(&a, "sock", false);
    SAY("connect nowhere", connect(l, (void *)&a, n));
    SAY("bind", bind(l, (void *)&a, n));
    SAY("bind again", bind(l, (void *)&a, n));
    SAY("connect before listen", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, n));
    SAY("listen", listen(l, 1));
    SAY("open", open("sock", O_RDWR));
    struct stat st;
    stat("sock", &st);
    printf("kind %o\n", st.st_mode & S_IFMT);
    SAY("in use", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, n));
    int c = socket(AF_UNIX, SOCK_STREAM, 0);
    SAY("connect", connect(c, (void *)&a, n));
    SAY("connect again", connect(c, (void *)&a, n));
    SAY("wrong type", connect(socket(AF_UNIX, SOCK_DGRAM, 0), (void *)&a, n));
    socklen_t size = sizeof got;
    int s = accept4(l, (void *)&got, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    printf("accepted flags %x %d length %u\n", fcntl(s, F_GETFL) & O_NONBLOCK, fcntl(s, F_GETFD), size);
    size = sizeof got;
    SAY("getpeername", getpeername(c, (void *)&got, &size));
    printf("%u %s\n", size, got.sun_path);
    size = sizeof got;
    SAY("getsockname", getsockname(c, (void *)&got, &size));
    printf("%u\n", size);
    fcntl(l, F_SETFL, O_NONBLOCK);
    SAY("nobody", accept(l, NULL, NULL));
    unlink("sock");
    SAY("unlinked", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, n));
    n = name(&a, "wardian-probe", true);
    int abstract = socket(AF_UNIX, SOCK_DGRAM, 0), d = socket(AF_UNIX, SOCK_DGRAM, 0);
    SAY("abstract", bind(abstract, (void *)&a, n));
    SAY("abstract in use", bind(d, (void *)&a, n));
    SAY("sendto", sendto(d, "dgram", 5, 0, (void *)&a, n));
    size = sizeof got;
    SAY("recvfrom", recvfrom(abstract, b, 100, 0, (void *)&got, &size));
    printf("sender length %u\n", size);
    SAY("autobind", bind(d, (void *)&a, sizeof(sa_family_t)));
    size = sizeof got;
    getsockname(d, (void *)&got, &size);
    printf("length %u first %d\n", size, got.sun_path[0]);
    SAY("not connected", send(d, "x", 1, 0));
    SAY("connect", connect(d, (void *)&a, n));
    SAY("send", send(d, "x", 1, 0));
    SAY("listen", listen(d, 1));
    SAY("accept", accept(d, NULL, NULL));
    SAY("family", bind(socket(AF_UNIX, SOCK_DGRAM, 0), &(struct sockaddr){AF_INET}, 16));
    SAY("type", socket(AF_UNIX, 77, 0));
    SAY("protocol", socket(AF_UNIX, SOCK_STREAM, 5));
    SAY("unknown family", socket(99, SOCK_STREAM, 0));
}

static int listener(int family, struct sockaddr_storage *a, socklen_t *size)
{
    int l = socket(family, SOCK_STREAM, 0);
    memset(a, 0, sizeof *a);
    a->ss_family = family;
    if (family == AF_INET)
        ((struct sockaddr_in *)a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        ((struct sockaddr_in6 *)a)->sin6_addr = in6addr_loopback;
    *size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    SAY("bind", bind(l, (void *)a, *size));
    SAY("listen", listen(l, 5));
    getsockname(l, (void *)a, size);
    return l;
}

static void tcp(int family)
{
    printf("-- TCP family %d\n", family);
    struct sockaddr_storage a, other;
    socklen_t size, n;
    int one = 1, value, l = listener(family, &a, &size);
    int c = socket(family, SOCK_STREAM, 0), s;
    SAY("not connected", send(c, "x", 1, MSG_NOSIGNAL));
    SAY("not connected", recv(c, b, 1, 0));
    SAY("getpeername", getpeername(c, (void *)&other, &size));
    SAY("connect", connect(c, (void *)&a, size));
    n = sizeof other;
    s = TRY("accept", accept(l, (void *)&other, &n));
    printf("length %u family %d\n", n, other.ss_family);
    SAY("send", send(c, "hello", 5, 0));
    SAY("recv", recv(s, b, 100, 0));
    SAY("nothing", recv(s, b, 100, MSG_DONTWAIT));
    SAY("nodelay", setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, 4));
    n = 4;
    SAY("get", getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, &n));
    printf("%d\n", value);
    struct tcp_info info;
    n = sizeof info;
    SAY("info", getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &n));
    printf("state %d\n", info.tcpi_state);
    struct pollfd p = {s, POLLIN | POLLOUT | POLLRDHUP, 0};
    SAY("poll", poll(&p, 1, 0));
    printf("%x\n", p.revents);
    pid_t pid = begin();
    if (pid == 0) {
        long total = 0, got;
        shutdown(c, SHUT_RDWR);
        close(c);
        _exit(0);
    }
    reap("shutdown in a child ends it for all", pid);
    SAY("recv", recv(s, b, 100, 0));
    poll(&p, 1, 0);
    printf("%x\n", p.revents);
    close(c);
    close(s);
    c = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int r = connect(c, (void *)&a, size);
    printf("non-blocking connect %d\n", r == 0 || errno == EINPROGRESS);
    p = (struct pollfd){c, POLLOUT, 0};
    SAY("poll", poll(&p, 1, 1000));
    n = 4;
    SAY("SO_ERROR", getsockopt(c, SOL_SOCKET, SO_ERROR, &value, &n));
    printf("%d\n", value);
    s = accept(l, NULL, NULL);
    pid = begin();
    if (pid == 0) {
        long total = 0, got;
        close(c);
        while ((got = recv(s, big, sizeof big, 0)) > 0)
            total += got;
        printf("received %ld\n", total);
        done(0);
    }
    close(s);
    fcntl(c, F_SETFL, 0);
    for (int k = 0; k < 5; k++)
        send(c, big, sizeof big, 0);
    SAY("FIN", shutdown(c, SHUT_WR));
    reap("receiver", pid);
    SAY("end", recv(c, b, 10, 0));
    close(c);
    c = socket(family, SOCK_STREAM, 0);
    connect(c, (void *)&a, size);
    s = accept(l, NULL, NULL);
    setsockopt(c, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(c);
    nap(20);
    SAY("reset", recv(s, b, 1, 0));
    SAY("then", recv(s, b, 1, 0));
    close(s);
    int second = socket(family, SOCK_STREAM, 0);
    SAY("in use", bind(second, (void *)&a, size));
    SAY("reuseaddr", setsockopt(second, SOL_SOCKET, SO_REUSEADDR, &one, 4));
    SAY("in use by a listener", bind(second, (void *)&a, size));
    close(l);
    SAY("after close", bind(second, (void *)&a, size));
    SAY("refused", connect(socket(family, SOCK_STREAM, 0), (void *)&a, size));
    fcntl(second, F_SETFL, O_NONBLOCK);
    listen(second, 1);
    SAY("accept", accept(second, NULL, NULL));
    SAY("accept not listening", accept(c = socket(family, SOCK_STREAM, 0), NULL, NULL));
    SAY("time-out", setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 30000}, sizeof(struct timeval)));
    connect(c, (void *)&a, size);
    long start = now_ms();
    SAY("recv", recv(c, b, 1, 0));
    printf("waited %d\n", now_ms() - start >= 29);
    SAY("urgent", send(c, "u", 1, MSG_OOB));
    int unread = -1;
    s = accept(second, NULL, NULL);
    SAY("SIOCINQ", ioctl(s, FIONREAD, &unread));
    SAY("option", setsockopt(c, SOL_SOCKET, 9999, &one, 4));
    SAY("size", setsockopt(c, SOL_SOCKET, SO_REUSEADDR, &one, 1));
}

static void udp(void)
{
    BLOCK("UDP");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t n = sizeof a;
    int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    SAY("bind", bind(u, (void *)&a, n));
    getsockname(u, (void *)&a, &n);
    SAY("sendto", sendto(v, "hello", 5, 0, (void *)&a, n));
    n = sizeof from;
    SAY("recvfrom", recvfrom(u, b, 3, MSG_TRUNC, (void *)&from, &n));
    SAY("back", sendto(u, "back", 4, 0, (void *)&from, n));
    SAY("recv", recv(v, b, 100, 0));
    SAY("empty", recv(v, b, 100, 0));
    SAY("no address", send(v, "x", 1, 0));
    SAY("connect", connect(v, (void *)&a, sizeof a));
    SAY("send nothing", send(v, "", 0, 0));
    SAY("recv nothing", recv(u, b, 100, 0));
    SAY("too large", send(v, big, 66000, 0));
    SAY("large", send(v, big, 60000, 0));
    SAY("recv", recv(u, big, 66000, 0));
    struct mmsghdr m[3] = {0};
    struct iovec iov[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    for (int k = 0; k < 3; k++)
        m[k].msg_hdr.msg_iov = iov + k, m[k].msg_hdr.msg_iovlen = 1;
    SAY("sendmmsg", sendmmsg(v, m, 3, 0));
    for (int k = 0; k < 3; k++)
        iov[k].iov_base = b + k * 100, iov[k].iov_len = 100;
    SAY("recvmmsg", recvmmsg(u, m, 3, 0, NULL));
    printf("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
    close(u);
    send(v, "x", 1, 0);
    nap(20);
    SAY("refused", send(v, "x", 1, 0));
    SAY("disconnect", connect(v, &(struct sockaddr){AF_UNSPEC}, sizeof(struct sockaddr)));
    int one = 1;
    SAY("broadcast", setsockopt(v, SOL_SOCKET, SO_BROADCAST, &one, 4));
    SAY("privileged port", ({ a.sin_port = htons(1); bind(v, (void *)&a, sizeof a) == 0 || errno == EACCES ? 0 : -1; }));
    a.sin_addr.s_addr = htonl(0x08080808);
    a.sin_port = 0;
    SAY("foreign address", bind(socket(AF_INET, SOCK_DGRAM, 0), (void *)&a, sizeof a));
}

static void around(void)
{
    BLOCK("around");
    struct addrinfo *list, hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    SAY("getaddrinfo", getaddrinfo("localhost", "80", &hints, &list));
    printf("%s %d\n", inet_ntoa(((struct sockaddr_in *)list->ai_addr)->sin_addr), ntohs(((struct sockaddr_in *)list->ai_addr)->sin_port));
    struct ifaddrs *all;
    SAY("getifaddrs", getifaddrs(&all));
    int found = 0;
    for (struct ifaddrs *i = all; i; i = i->ifa_next)
        found += !strcmp(i->ifa_name, "lo") && i->ifa_addr && i->ifa_addr->sa_family == AF_INET;
    printf("lo %d index %u\n", found, if_nametoindex("lo"));
    struct ifreq r = {.ifr_name = "lo"};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    SAY("SIOCGIFFLAGS", ioctl(s, SIOCGIFFLAGS, &r));
    printf("up %d loopback %d\n", !!(r.ifr_flags & IFF_UP), !!(r.ifr_flags & IFF_LOOPBACK));
    int value;
    socklen_t n = 4;
    SAY("SO_DOMAIN", getsockopt(s, SOL_SOCKET, SO_DOMAIN, &value, &n));
    printf("%d\n", value);
    SAY("SO_PROTOCOL", getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &value, &n));
    printf("%d\n", value);
    SAY("SO_SNDBUF", (value = 50000, setsockopt(s, SOL_SOCKET, SO_SNDBUF, &value, 4)));
    SAY("SO_SNDBUF", getsockopt(s, SOL_SOCKET, SO_SNDBUF, &value, &n));
    printf("%d\n", value);
    SAY("not a socket", send(0, b, 1, 0));
    SAY("closed", send(99, b, 1, 0));
    SAY("lseek", lseek(s, 0, SEEK_SET));
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};
    SAY("any", bind(six, (void *)&a6, sizeof a6));
    listen(six, 1);
    n = sizeof a6;
    getsockname(six, (void *)&a6, &n);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = a6.sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    SAY("v4 to a v6 listener", connect(s = socket(AF_INET, SOCK_STREAM, 0), (void *)&a4, sizeof a4));
    n = sizeof a6;
    accept(six, (void *)&a6, &n);
    printf("mapped %d\n", IN6_IS_ADDR_V4MAPPED(&a6.sin6_addr));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    pairs();
    passing();
    names();
    tcp(AF_INET);
    tcp(AF_INET6);
    udp();
    around();
    return 0;
}
