/* The zygote: the first process of a sandbox's guests, and the loader that each pool process runs before the
 * guest's first instruction (design D9). Everything here is trusted: it runs before any guest code, under the first
 * filter, which lets this text section do what it needs; the second filter ends that.
 *
 * Started by wardian.platform.stub.launch with descriptors DOORBELL_FD, SHARED_FD and ZYGOTE_FD. When the Sentry goes
 * away (end of file on ZYGOTE_FD) it kills its process group, which is every guest process.
 */
#include "image.h"
#include "stub.h"

extern const char text_end[], rodata_end[], data_end[]; /* stub.lds */

enum { PROT_R = 1, PROT_RW = 3 };
enum { SHARED = 0x1, PRIVATE = 0x2, FIXED = 0x10, ANON = 0x20, NORESERVE = 0x4000, NOREPLACE = 0x100000 };
enum { MAX_FDS = 32, MAX_FILTER = 8192 };

static struct {
    uint16_t first_len, second_len; /* instructions */
    uint8_t code[MAX_FILTER];
} filters;
static int received[MAX_FDS];

static _Noreturn void die(int code)
{
    for (;;)
        sys1(SYS_exit_group, code);
}

static void must(long result, int code)
{
    if (result < 0 && result > -4096)
        die(code);
}

/* -- messages ------------------------------------------------------------------------------------ */

static long receive(int fd, void *to, size_t room, int *nfds)
{
    uint64_t control[(16 + 4 * MAX_FDS + 7) / 8];
    struct iovec iov = {to, room};
    struct msghdr message = {0, 0, 0, &iov, 1, control, sizeof control, 0};
    long n;

    do
        n = sys3(SYS_recvmsg, fd, &message, 0x40000000 /* MSG_CMSG_CLOEXEC */);
    while (n == -4);
    *nfds = 0;
    if (n > 0 && message.controllen >= 16) {
        struct cmsghdr *header = (struct cmsghdr *)control;
        if (header->level == 1 && header->type == 1) { /* SOL_SOCKET, SCM_RIGHTS */
            *nfds = (int)((header->len - 16) / 4);
            memcpy(received, header + 1, (size_t)*nfds * 4);
        }
    }
    return n;
}

static long send_with_fd(int fd, void *from, size_t count, int passed)
{
    uint64_t control[3] = {20, 1UL << 32 | 1, 0}; /* cmsg_len; level, type; descriptor */
    struct iovec iov = {from, count};
    struct msghdr message = {0, 0, 0, &iov, 1, control, sizeof control, 0};

    if (passed < 0)
        message.control = 0, message.controllen = 0;
    memcpy(&control[2], &passed, 4);
    return sys3(SYS_sendmsg, fd, &message, 0x4000 /* MSG_NOSIGNAL */);
}

/* -- the address space that all guests inherit ------------------------------------------------------ */

struct range {
    uint64_t start, end;
};

static uint64_t hex(const char **at)
{
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

static int starts_with(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return 0;
    return 1;
}

/* Move [vvar] and [vdso] next to the stub, out of the range that guests may map over. Answers the vDSO's address. */
static uint64_t move_vdso(uint64_t vdso)
{
    static char text[16384];
    struct range ranges[8];
    int count = 0;
    long used = 0, n;
    long fd = sys6(SYS_openat, -100, (long)"/proc/self/maps", 0x80000, 0, 0, 0);

    if (fd < 0 || !vdso)
        return 0;
    while (used < (long)sizeof text - 1 && (n = sys3(SYS_read, fd, text + used, sizeof text - 1 - (size_t)used)) > 0)
        used += n;
    sys1(SYS_close, fd);
    text[used] = 0;
    for (const char *line = text; *line && count < 8;) {
        struct range r;
        r.start = hex(&line);
        line += *line == '-';
        r.end = hex(&line);
        while (*line && *line != '\n' && *line != '[')
            line++;
        if (starts_with(line, "[vvar") || starts_with(line, "[vdso]"))
            ranges[count++] = r;
        while (*line && *line++ != '\n')
            ;
    }
    if (!count)
        return 0;
    uint64_t base = ranges[0].start;
    for (int i = 0; i < count; i++) {
        uint64_t size = ranges[i].end - ranges[i].start;
        must(sys6(SYS_mremap, (long)ranges[i].start, (long)size, (long)size, 3, /* MAYMOVE|FIXED */
                  (long)(VDSO_BASE + ranges[i].start - base), 0), 20);
    }
    return VDSO_BASE + vdso - base;
}

static void fence(uint64_t start, uint64_t end)
{
    if (start < end)
        must(sys6(SYS_mmap, (long)start, (long)(end - start), 0, PRIVATE | ANON | NORESERVE | NOREPLACE, -1, 0), 21);
}

static void map_trusted(uint64_t stack_top)
{
    must(sys6(SYS_mmap, SHARED_BASE, SHARED_SIZE, PROT_R, SHARED | FIXED, SHARED_FD, 0), 22);
    must(sys6(SYS_mmap, SHARED_BASE + 0x1000, 0x1000, PROT_RW, SHARED | FIXED, SHARED_FD, 0x1000), 23);
    must(sys6(SYS_mmap, STACKS_BASE, STACKS_SIZE, PROT_RW, PRIVATE | ANON | NORESERVE | FIXED, -1, 0), 24);
    fence(GUEST_TOP, TRUSTED_BASE);
    fence(TRUSTED_END, (stack_top - 0x400000) & ~0xfffUL);
}

static void handle_signals(void)
{
    static const int faults[] = {4, 5, 7, 8, 11, 31, INTERRUPT_SIGNAL};
    const uint64_t keep = 1UL << 10 | 1UL << 6; /* SIGSEGV, SIGBUS: faults of the stub's own copies */
    uint64_t none = 0;
    /* SA_SIGINFO|SA_ONSTACK|SA_RESTART|SA_RESTORER|SA_NODEFER */
    struct kernel_sigaction action = {on_signal, 0x4 | 0x08000000 | 0x10000000 | 0x04000000 | 0x40000000, restore_rt, ~keep};
    struct kernel_sigaction ignore = {(void (*)(int, void *, void *))1, 0, 0, 0};
    struct stack stack = {STACKS_BASE + STACK_SIZE, 0, 0, SIGNAL_STACK_SIZE};

    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
        must(sys6(SYS_rt_sigaction, faults[i], (long)&action, 0, 8, 0, 0), 26);
    for (int signo = 1; signo < 32; signo++) { /* job control and the like are the Sentry's, never the host's */
        int used = signo == 9 || signo == 19;
        for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
            used |= faults[i] == signo;
        if (!used)
            sys6(SYS_rt_sigaction, signo, (long)&ignore, 0, 8, 0, 0);
    }
    sys2(SYS_sigaltstack, &stack, 0);
    sys6(SYS_rt_sigprocmask, 2, (long)&none, 0, 8, 0, 0);
}

/* -- the pool process: load the image, close the filter, go -------------------------------------------- */

static void install_second_filter(void)
{
    struct sock_fprog program = {filters.second_len, filters.code + filters.first_len * 8};
    must(sys3(SYS_seccomp, 1, 0, &program), 35);
}

static _Noreturn void pool_process(void)
{
    struct slot *slot = (struct slot *)(CHANNEL_BASE + SLOT_SIZE);
    struct image image;
    char byte = 'R';
    int nfds;

    must(sys6(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE, PROT_RW, SHARED | FIXED, CHANNEL_FD, 0), 36);
    sys2(SYS_prctl, 1, 9); /* PR_SET_PDEATHSIG, SIGKILL */
    must(send_with_fd(CONTROL_FD, &byte, 1, -1), 37);
    if (receive(CONTROL_FD, &byte, 1, &nfds) != 1)
        die(0); /* the Sentry did not need this process */
    memcpy(&image, slot->data, sizeof image);
    must(load_image(&image, slot->data, DATA_SIZE, received, nfds), 31);
    brk_start = brk_now = image.brk_start;
    memcpy(&patch_areas, image.patch_areas, sizeof patch_areas);
    if (byte == 'W') { /* more to place than the channel holds: the Sentry writes it now and says when it is done */
        byte = 'M';
        must(send_with_fd(CONTROL_FD, &byte, 1, -1), 38);
        if (receive(CONTROL_FD, &byte, 1, &nfds) != 1)
            die(0);
    }
    sys6(SYS_close_range, CONTROL_FD + 1, ~0U, 0, 0, 0, 0); /* grants come on CONTROL_FD from now on */
    memset(slot->data, 0, 4096);
    install_second_filter();
    guest_runs = 1;
    __asm__ volatile("wrgsbase %0" : : "r"(open_block(1)));
    enter_guest(image.entry, image.sp);
}

static void spawn(int nfds)
{
    if (nfds != 2)
        die(40);
    long pid = sys6(SYS_clone, 17 /* SIGCHLD */, 0, 0, 0, 0, 0);
    if (pid == 0) {
        must(sys2(SYS_dup2, received[0], CHANNEL_FD), 41);
        must(sys2(SYS_dup2, received[1], CONTROL_FD), 42);
        sys6(SYS_close_range, CONTROL_FD + 1, ~0U, 0, 0, 0, 0);
        pool_process();
    }
    if (pid < 0)
        send_with_fd(received[1], "E", 1, -1);
    sys1(SYS_close, received[0]);
    sys1(SYS_close, received[1]);
}

/* -- the zygote ------------------------------------------------------------------------------------ */

static void install_first_filter(uint64_t vdso)
{
    int nfds;
    long n = receive(ZYGOTE_FD, &filters, sizeof filters, &nfds);

    must(n < 4 || (filters.first_len + filters.second_len) * 8L + 4 != n ? -1 : 0, 43);
    struct sock_fprog program = {filters.first_len, filters.code};
    must(sys6(SYS_prctl, 38, 1, 0, 0, 0, 0), 44); /* PR_SET_NO_NEW_PRIVS */
    long listener = sys3(SYS_seccomp, 1, 8, &program); /* SECCOMP_FILTER_FLAG_NEW_LISTENER */
    must(listener, 45);
    must(send_with_fd(ZYGOTE_FD, &vdso, 8, (int)listener), 46);
    sys1(SYS_close, listener);
}

_Noreturn void zygote(uint64_t *stack)
{
    uint64_t argc = stack[0], vdso = 0, features = 0;
    uint64_t *p = stack + argc + 2;
    char byte;
    int nfds;

    while (*p++)
        ;
    for (; p[0]; p += 2) {
        if (p[0] == 33)
            vdso = p[1];
        if (p[0] == 26)
            features = p[1];
    }
    if (!(features & 2))
        die(47); /* no FSGSBASE */
    sys1(SYS_setsid, 0);
    /* Everything from GUEST_TOP to our stack is taken, so that the host's own choice of an address for a
       guest's mmap always falls below GUEST_TOP. */
    fence(TRUSTED_BASE, LOADER_TEXT);
    fence((uint64_t)text_end, STUB_RODATA);
    fence((uint64_t)rodata_end, STUB_DATA);
    fence((uint64_t)data_end, TRUSTED_END);
    vdso = move_vdso(vdso);
    map_trusted((uint64_t)stack);
    handle_signals();
    install_first_filter(vdso);
    while (receive(ZYGOTE_FD, &byte, 1, &nfds) == 1)
        spawn(nfds);
    sys2(SYS_kill, 0, 9);
    die(0);
}
