/* Every system-call number, the x32 and 32-bit ones too, with arguments that would do harm on the host. */
#include "hostile.h"
#include <sys/time.h>

#define X32 0x40000000L
#define LAST 600
#define TOGETHER 8
#define PATTERNS 10

static char path[64] = "made-by-guest", text[4096];

/* Those that stop a test rather than the Sentry: they wait, end us, or end our neighbours by right. */
static int left_out(long nr)
{
    switch (nr) {
    case SYS_exit: case SYS_exit_group: case SYS_pause: case SYS_rt_sigreturn: case SYS_kill: case SYS_tkill:
    case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo: case SYS_rt_sigsuspend: case SYS_reboot:
    case SYS_pidfd_send_signal: case 335: /* uretprobe: SIGILL outside its trampoline, on the host as here */
        return 1;
    }
    return 0;
}

static const long *patterns(int which)
{
    static long a[6];
    const long buffer = (long)text;
    for (int i = 0; i < 6; i++)
        switch (which) {
        case 0: a[i] = 0; break;
        case 1: a[i] = -1; break;
        case 2: a[i] = i + 1; break;
        case 3: a[i] = buffer; break;
        case 4: a[i] = (long)CHANNEL_BASE + SLOT_SIZE; break;
        case 5: a[i] = i == 0 ? AT_FDCWD : i == 1 ? (long)path : O_CREAT | O_RDWR; break;
        case 6: a[i] = i == 0 ? (long)path : i == 1 ? O_CREAT | O_RDWR : 0777; break;
        case 7: a[i] = i == 0 ? 3 : i == 1 ? buffer : 8; break;
        case 8: a[i] = 1L << 63; break;
        case 9: a[i] = i & 1 ? 0x7fffffff : (long)STUB_TEXT; break;
        }
    return a;
}

static void awake(int signo)
{
    (void)signo; /* a call that waits ends with EINTR */
}

/* One child makes one call with every pattern. What it says is in its status, since it may lose its memory. */
static void try_patterns(long nr)
{
    struct sigaction action = {.sa_handler = awake};
    struct { struct timeval every, first; } timer = {{0, 20000}, {0, 20000}};
    int bad = 0;

    silence();
    sigaction(SIGALRM, &action, NULL);
    CALL(SYS_setitimer, 0, &timer, 0, 0, 0, 0);
    for (int which = 0; which < PATTERNS; which++) {
        const long *a = patterns(which);
        long result = raw(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
        bad |= nr > 480 && result != -ENOSYS;
    }
    CALL(SYS_exit_group, bad, 0, 0, 0, 0, 0);
}

static void try_numbers(long first)
{
    pid_t pids[TOGETHER] = {0};
    for (int i = 0; i < TOGETHER; i++) {
        if (left_out(first + i))
            continue;
        pids[i] = begin();
        if (pids[i] == 0)
            try_patterns(first + i);
    }
    for (int i = 0; i < TOGETHER; i++) {
        int status = pids[i] ? end_of(pids[i], 1000) : 0;
        if (first + i > 480 && status)
            wrong("number %ld: wait status %#x", first + i, status);
    }
}

/* Numbers that cannot do anything answer in our own process. */
static void try_foreign(void)
{
    long a = (long)path;
    for (long nr = 0; nr <= LAST; nr++) {
        long x32 = CALL(X32 | nr, a, O_CREAT | O_RDWR, 0777, 0, 0, 0);
        long old = int80(nr, a, O_CREAT | O_RDWR, 0777);
        if (x32 != -ENOSYS)
            wrong("x32 %ld answers %ld", nr, x32);
        if (old != -ENOSYS)
            wrong("int 0x80 %ld answers %ld", nr, old);
    }
    CHECK(CALL(SYS_getpid | 1L << 32, 0, 0, 0, 0, 0, 0) == getpid()); /* Linux looks at eax alone */
    CHECK(CALL(SYS_openat | -1L << 32, AT_FDCWD, "no-such-file", 0, 0, 0, 0) == -ENOENT);
    CHECK(CALL(-1, 0, 0, 0, 0, 0, 0) == -ENOSYS);
    CHECK(CALL(0x7fffffff, 0, 0, 0, 0, 0, 0) == -ENOSYS);
}

int main(void)
{
    begin_witness();
    try_foreign();
    for (long nr = 0; nr <= LAST; nr += TOGETHER)
        try_numbers(nr);
    end_witness();
    return verdict("numbers");
}
