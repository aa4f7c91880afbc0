/* Pipes and FIFOs: blocking, atomic writes, packets, sizes, splice, tee, vmsplice, sendfile, copy_file_range. */
#include "probe.h"
#include <sys/ioctl.h>
#include <sys/sendfile.h>

static char big[1 << 20];

static void plain(void)
{
    BLOCK("pipes");
    int p[2];
    char b[200];
    SAY("bad flags", pipe2(p, 1));
    SAY("bad address", pipe((void *)8));
    SAY("pipe", pipe2(p, O_CLOEXEC | O_NONBLOCK));
    printf("%x %x %d\n", fcntl(p[0], F_GETFL), fcntl(p[1], F_GETFL), fcntl(p[0], F_GETFD));
    SAY("empty", read(p[0], b, 10));
    SAY("write", write(p[1], "hello", 5));
    int room;
    SAY("FIONREAD", ioctl(p[0], FIONREAD, &room));
    printf("%d\n", room);
    SAY("read", read(p[0], b, 3));
    SAY("read", read(p[0], b, 100));
    SAY("write 0", write(p[1], b, 0));
    SAY("read the wrong end", read(p[1], b, 1));
    SAY("write the wrong end", write(p[0], b, 1));
    SAY("lseek", lseek(p[0], 0, SEEK_SET));
    SAY("pread", pread(p[0], b, 1, 0));
    SAY("size", fcntl(p[0], F_GETPIPE_SZ));
    SAY("fill", write(p[1], big, 100000));
    SAY("full", write(p[1], b, 1));
    SAY("atomic", (read(p[0], big, 4096), write(p[1], big, 4097)));
    SAY("atomic", write(p[1], big, 4096));
    SAY("smaller than its contents", fcntl(p[0], F_SETPIPE_SZ, 4096));
    SAY("larger", fcntl(p[0], F_SETPIPE_SZ, 200000));
    SAY("more room", write(p[1], big, 1 << 20));
    SAY("fstat size", (lseek(p[0], 0, 0), 0));
    struct stat st;
    fstat(p[0], &st);
    printf("mode %o size %ld\n", st.st_mode, st.st_size);
    while (read(p[0], big, sizeof big) > 0)
        ;
    close(p[1]);
    SAY("end of file", read(p[0], b, 1));
    close(p[0]);
    pipe(p);
    close(p[0]);
    signal(SIGPIPE, SIG_IGN);
    SAY("no reader", write(p[1], b, 1));
    close(p[1]);
    pipe(p);
    pid_t pid = begin();
    if (pid == 0) {
        close(p[0]);
        _exit(write(p[1], big, 300000) == 300000 ? 0 : 1);
    }
    close(p[1]);
    long total = 0, n;
    while ((n = read(p[0], big, 1000)) > 0)
        total += n;
    printf("through %ld\n", total);
    reap("writer", pid);
    BLOCK("packets");
    pipe2(p, O_DIRECT);
    write(p[1], "one", 3);
    write(p[1], "three", 5);
    SAY("packet", read(p[0], b, 100));
    SAY("cut", read(p[0], b, 2));
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    SAY("rest is lost", read(p[0], b, 100));
    struct iovec v[3] = {{"ab", 2}, {NULL, 0}, {"cde", 3}}, r[2] = {{b, 1}, {b + 10, 50}};
    SAY("writev", writev(p[1], v, 3));
    SAY("readv", readv(p[0], r, 2));
    printf("%c %.4s\n", b[0], b + 10);
}

static void fifos(void)
{
    BLOCK("FIFOs");
    char b[10];
    SAY("mkfifo", mkfifo("fifo", 0600));
    SAY("mkfifo", mkfifo("fifo", 0600));
    SAY("writer alone", open("fifo", O_WRONLY | O_NONBLOCK));
    int r = TRY("reader alone", open("fifo", O_RDONLY | O_NONBLOCK));
    SAY("no writer", read(r, b, 1));
    int w = TRY("writer", open("fifo", O_WRONLY | O_NONBLOCK));
    SAY("empty", read(r, b, 1));
    SAY("write", write(w, "x", 1));
    struct pollfd p = {r, POLLIN, 0};
    close(w);
    SAY("poll", poll(&p, 1, 0));
    printf("%x\n", p.revents);
    SAY("read", read(r, b, 10));
    SAY("end", read(r, b, 10));
    close(r);
    pid_t pid = begin();
    if (pid == 0) {
        nap(30);
        w = open("fifo", O_WRONLY);
        write(w, "late", 4);
        _exit(0);
    }
    r = TRY("waits for a writer", open("fifo", O_RDONLY));
    SAY("read", read(r, b, 10));
    reap("writer", pid);
    close(r);
    int both = TRY("both", open("fifo", O_RDWR));
    SAY("write", write(both, "z", 1));
    SAY("read", read(both, b, 10));
    close(both);
    alarm(0);
    signal(SIGALRM, (void (*)(int))getpid);
    siginterrupt(SIGALRM, 1);
    ualarm(30000, 0);
    SAY("interrupted open", open("fifo", O_RDONLY));
    SAY("truncate", truncate("fifo", 5));
}

static void moving(void)
{
    BLOCK("splice and friends");
    int p[2], q[2], f = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600), g = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char b[100] = "";
    pipe2(p, O_NONBLOCK);
    pipe2(q, O_NONBLOCK);
    write(f, "0123456789", 10);
    loff_t at = 2;
    SAY("file to pipe", splice(f, &at, p[1], NULL, 4, 0));
    printf("at %ld\n", at);
    SAY("tee", tee(p[0], q[1], 100, 0));
    SAY("tee read", read(q[0], b, 100));
    SAY("pipe to file", splice(p[0], NULL, g, NULL, 100, 0));
    SAY("empty pipe", splice(p[0], NULL, g, NULL, 100, SPLICE_F_NONBLOCK));
    SAY("no pipe", splice(f, NULL, g, NULL, 10, 0));
    SAY("same pipe", splice(p[0], NULL, p[1], NULL, 10, 0));
    SAY("offset of a pipe", splice(p[0], &at, g, NULL, 10, 0));
    struct iovec v = {"vector", 6};
    SAY("vmsplice", vmsplice(p[1], &v, 1, 0));
    SAY("pipe to pipe", splice(p[0], NULL, q[1], NULL, 100, 0));
    SAY("read", read(q[0], b, 100));
    printf("%.6s\n", b);
    SAY("splice at the end", splice(f, NULL, p[1], NULL, 10, 0));
    at = 5;
    SAY("sendfile", sendfile(g, f, &at, 100));
    printf("at %ld own %ld\n", at, lseek(f, 0, SEEK_CUR));
    lseek(f, 0, SEEK_SET);
    SAY("sendfile to a pipe", sendfile(p[1], f, NULL, 3));
    printf("own %ld\n", lseek(f, 0, SEEK_CUR));
    SAY("sendfile from a pipe", sendfile(g, p[0], NULL, 3));
    int s[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    SAY("sendfile to a socket", sendfile(s[0], f, NULL, 100));
    SAY("recv", recv(s[1], b, 100, MSG_DONTWAIT));
    SAY("splice from a socket", (write(s[0], "sock", 4), splice(s[1], NULL, p[1], NULL, 100, 0)));
    loff_t in = 0, out = 100;
    SAY("copy_file_range", copy_file_range(f, &in, g, &out, 5, 0));
    printf("%ld %ld %ld\n", in, out, lseek(g, 0, SEEK_END));
    SAY("overlapping", (in = 0, out = 2, copy_file_range(f, &in, f, &out, 5, 0)));
    SAY("flags", copy_file_range(f, &in, g, &out, 5, 1));
    SAY("beyond", (in = 1000, copy_file_range(f, &in, g, &out, 5, 0)));
    SAY("to a pipe", copy_file_range(f, NULL, p[1], NULL, 5, 0));
    int a = open("copy", O_WRONLY | O_APPEND);
    SAY("append", copy_file_range(f, NULL, a, NULL, 5, 0));
    SAY("sendfile append", sendfile(a, f, NULL, 5));
    SAY("splice append", (write(p[1], "x", 1), splice(p[0], NULL, a, NULL, 5, 0)));
    SAY("read only", sendfile(open("copy", O_RDONLY), f, NULL, 5));
}

int main(void)
{
    plain();
    fifos();
    moving();
    return 0;
}
