/* Pseudo-terminals: modes, line discipline, job control, controlling terminals, window size, hang-up. */
#include "probe.h"
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>

static char b[10000];
static int master, slave;

static void show(const char *what, long n)
{
    printf("%s: ", what);
    if (n < 0) {
        printf("%s\n", strerrorname_np(errno));
        return;
    }
    for (long k = 0; k < n; k++)
        printf(b[k] < 32 || b[k] > 126 ? "\\%03o" : "%c", b[k] < 32 || b[k] > 126 ? (unsigned char)b[k] : b[k]);
    printf("\n");
}

static void from_slave(const char *what) { nap(5); show(what, read(slave, b, sizeof b)); }
static void from_master(const char *what) { nap(5); show(what, read(master, b, sizeof b)); }

static void fresh(void)
{
    openpty(&master, &slave, NULL, NULL, NULL);
    fcntl(master, F_SETFL, O_NONBLOCK);
    fcntl(slave, F_SETFL, O_NONBLOCK);
}

static void type_in(const char *text) { write(master, text, strlen(text)); }

static void set(tcflag_t in, tcflag_t out, tcflag_t local)
{
    struct termios t;
    tcgetattr(slave, &t);
    t.c_iflag = in;
    t.c_oflag = out;
    t.c_lflag = local;
    tcsetattr(slave, TCSANOW, &t);
}

static void cooked(void)
{
    BLOCK("canonical");
    struct termios t;
    fresh();
    SAY("tcgetattr", tcgetattr(slave, &t));
    printf("%x %x %x %x\n", t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
    for (int n = 0; n < 19; n++)
        printf("%d ", t.c_cc[n]);
    printf("\nspeed %u name %s\n", cfgetospeed(&t), strncmp(ttyname(slave), "/dev/pts/", 9) ? "?" : "/dev/pts/");
    SAY("isatty", isatty(slave));
    SAY("isatty", isatty(master));
    type_in("half");
    from_slave("half a line");
    from_master("echo");
    type_in(" line\nnext\n");
    from_slave("a line");
    from_slave("next line");
    from_master("echo");
    type_in("ab\x7f\x7fxy wo rd\x17z\n");
    from_slave("erase and word erase");
    from_master("echo");
    type_in("killed\x15kept\n");
    from_slave("kill");
    from_master("echo");
    type_in("a\x16\x03" "b\x01\n");
    from_slave("literal next");
    from_master("echo of controls");
    type_in("\x04");
    from_slave("end of file");
    type_in("partial\x04");
    from_slave("pushed");
    type_in("cr\r");
    from_slave("carriage return");
    write(slave, "out\nput\ttab", 11);
    from_master("output");
    int n = -1;
    type_in("four\n");
    nap(5);
    SAY("FIONREAD", ioctl(slave, FIONREAD, &n));
    printf("%d\n", n);
    SAY("TIOCOUTQ", ioctl(slave, TIOCOUTQ, &n));
    SAY("flush", tcflush(slave, TCIFLUSH));
    from_slave("flushed");
    SAY("short read", (type_in("abcdef\n"), nap(5), read(slave, b, 3)));
    from_slave("rest");
    memset(b, 'L', 5000);
    SAY("too long", write(master, b, 5000) > 0);
    type_in("\n");
    nap(5);
    SAY("limit", read(slave, b, sizeof b));
    while (read(master, b, sizeof b) > 0)
        ;
}

static void raw(void)
{
    BLOCK("raw and other modes");
    struct termios t;
    fresh();
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    SAY("tcsetattr", tcsetattr(slave, TCSAFLUSH, &t));
    type_in("a\r\x03\x04");
    from_slave("raw");
    from_master("no echo");
    write(slave, "x\ny", 3);
    from_master("raw output");
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    tcsetattr(slave, TCSANOW, &t);
    fcntl(slave, F_SETFL, 0);
    long start = now_ms();
    SAY("VTIME", read(slave, b, 1));
    printf("waited %d\n", now_ms() - start >= 90);
    t.c_cc[VMIN] = 3;
    t.c_cc[VTIME] = 0;
    tcsetattr(slave, TCSANOW, &t);
    if (begin() == 0) {
        for (int n = 0; n < 3; n++) {
            nap(10);
            type_in("m");
        }
        _exit(0);
    }
    SAY("VMIN", read(slave, b, 10));
    wait(NULL);
    fcntl(slave, F_SETFL, O_NONBLOCK);
    set(INLCR | IGNCR, OPOST | ONLCR | OCRNL, ICANON);
    type_in("a\rb\nc");
    from_slave("INLCR IGNCR");
    set(ICRNL | IUCLC | ISTRIP, OPOST | OLCUC, ICANON | IEXTEN);
    type_in("MiXed\xe1\r");
    from_slave("case and strip");
    write(slave, "lower", 5);
    from_master("OLCUC");
    set(ICRNL | IXON, OPOST, ICANON | ECHO | ECHONL | ECHOCTL);
    type_in("\x13");
    nap(5);
    SAY("write while stopped", write(slave, "held", 4));
    from_master("stopped");
    type_in("\x11");
    nap(5);
    SAY("write", write(slave, "free", 4));
    from_master("started");
    SAY("tcflow", tcflow(slave, TCOOFF));
    SAY("write", write(slave, "held", 4));
    SAY("tcflow", tcflow(slave, TCOON));
    int on = 1;
    SAY("packet mode", ioctl(master, TIOCPKT, &on));
    write(slave, "p", 1);
    from_master("packet");
    tcflush(slave, TCOFLUSH);
    from_master("flush packet");
    SAY("tcdrain", tcdrain(slave));
    SAY("tcsendbreak", tcsendbreak(slave, 0));
    SAY("unknown ioctl", ioctl(slave, 0x5499, 0));
    SAY("bad address", ioctl(slave, TCGETS, 8));
    SAY("TCSETS on a pipe", ({ int p[2]; pipe(p); ioctl(p[0], TCGETS, b); }));
}

static volatile sig_atomic_t seen;
static void note(int signo) { seen = seen * 100 + signo; }

static void jobs(void)
{
    BLOCK("job control");
    fresh();
    fcntl(slave, F_SETFL, 0);
    char *name = ptsname(master);
    pid_t pid = begin();
    if (pid == 0) {
        struct winsize w = {0};
        pid_t group;
        setsid();
        SAY("not ours yet", open("/dev/tty", O_RDWR));
        SAY("tcgetpgrp before", tcgetpgrp(slave));
        SAY("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
        TRY("/dev/tty", open("/dev/tty", O_RDWR));
        printf("foreground %d session %d\n", tcgetpgrp(slave) == getpgrp(), tcgetsid(slave) == getsid(0));
        signal(SIGINT, note);
        signal(SIGQUIT, note);
        signal(SIGWINCH, note);
        type_in("\x03\x1c");
        nap(20);
        printf("signals %d\n", seen);
        seen = 0;
        SAY("size", ioctl(master, TIOCSWINSZ, &(struct winsize){40, 120, 0, 0}));
        nap(10);
        SAY("size", ioctl(slave, TIOCGWINSZ, &w));
        printf("%d %d signal %d\n", w.ws_row, w.ws_col, seen);
        seen = 0;
        ioctl(master, TIOCSWINSZ, &(struct winsize){40, 120, 0, 0});
        nap(10);
        printf("same size, signal %d\n", seen);
        pid_t child = begin();
        if (child == 0) {
            setpgid(0, 0);
            signal(SIGTTOU, SIG_IGN);
            SAY("to the foreground", tcsetpgrp(slave, getpgrp()));
            signal(SIGTTOU, SIG_DFL);
            signal(SIGINT, SIG_DFL);
            type_in("\x03");
            nap(500);
            done(1);
        }
        int status;
        waitpid(child, &status, WUNTRACED);
        say_status("Ctrl-C in the foreground", status);
        signal(SIGTTOU, SIG_IGN);
        SAY("back", tcsetpgrp(slave, getpgrp()));
        signal(SIGTTOU, SIG_DFL);
        child = begin();
        if (child == 0) {
            setpgid(0, 0);
            read(slave, b, 1);
            done(1);
        }
        waitpid(child, &status, WUNTRACED);
        say_status("read in the background", status);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        child = begin();
        if (child == 0) {
            setpgid(0, 0);
            signal(SIGTTIN, SIG_IGN);
            SAY("read with SIGTTIN ignored", read(slave, b, 1));
            SAY("write is allowed", write(slave, "w", 1));
            fflush(stdout);
            struct termios t;
            tcgetattr(slave, &t);
            tcsetattr(slave, TCSANOW, &t);
            done(1);
        }
        waitpid(child, &status, WUNTRACED);
        say_status("tcsetattr in the background", status);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        struct termios t;
        tcgetattr(slave, &t);
        t.c_lflag |= TOSTOP;
        tcsetattr(slave, TCSANOW, &t);
        child = begin();
        if (child == 0) {
            setpgid(0, 0);
            write(slave, "x", 1);
            done(1);
        }
        waitpid(child, &status, WUNTRACED);
        say_status("write under TOSTOP", status);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        child = begin();
        if (child == 0) {
            setpgid(0, 0);
            nap(1000);
            done(1);
        }
        nap(10);
        signal(SIGTTOU, SIG_IGN);
        tcsetpgrp(slave, child);
        type_in("\x1a");
        waitpid(child, &status, WUNTRACED);
        say_status("Ctrl-Z", status);
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        tcsetpgrp(slave, getpgrp());
        SAY("foreign group", tcsetpgrp(slave, 999999));
        SAY("TIOCNOTTY", (signal(SIGHUP, note), ioctl(slave, TIOCNOTTY)));
        SAY("no terminal", open("/dev/tty", O_RDWR));
        done(0);
    }
    reap("session", pid);
    BLOCK("hang-up");
    fresh();
    int p[2];
    pipe(p);
    pid = begin();
    if (pid == 0) {
        close(master);
        login_tty(slave);
        write(p[1], "r", 1);
        pause();
    }
    close(slave);
    read(p[0], b, 1);
    close(master);
    reap("the terminal goes away", pid);
    fresh();
    close(master);
    fcntl(slave, F_SETFL, 0);
    SAY("read after the master closed", read(slave, b, 1));
    SAY("write after the master closed", write(slave, b, 1));
    struct pollfd f = {slave, POLLIN | POLLOUT, 0};
    SAY("poll", poll(&f, 1, 0));
    printf("%x\n", f.revents);
    fresh();
    write(slave, "last words", 10);
    close(slave);
    from_master("before the end");
    SAY("slave closed", read(master, b, 1));
    f = (struct pollfd){master, POLLIN | POLLOUT, 0};
    SAY("poll", poll(&f, 1, 0));
    printf("%x\n", f.revents);
    SAY("opened again", (slave = open(ptsname(master), O_RDWR | O_NOCTTY)) < 0 ? -1 : 0);
    SAY("alive", read(master, b, 1));
    int number = -1, locked = -1;
    master = posix_openpt(O_RDWR | O_NOCTTY);
    SAY("number", ioctl(master, TIOCGPTN, &number));
    SAY("locked", ioctl(master, TIOCGPTLCK, &locked));
    printf("%d\n", locked);
    SAY("open a locked one", open(ptsname(master), O_RDWR | O_NOCTTY));
    SAY("unlock", unlockpt(master));
    TRY("open", open(ptsname(master), O_RDWR | O_NOCTTY));
    TRY("TIOCGPTPEER", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    struct stat s;
    stat(ptsname(master), &s);
    printf("mode %o owner %d\n", s.st_mode & ~020 /* as devpts is mounted */, s.st_uid == getuid());
}

int main(void)
{
    signal(SIGHUP, SIG_DFL);
    cooked();
    raw();
    jobs();
    return 0;
}
