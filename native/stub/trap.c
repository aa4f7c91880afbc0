/* What runs inside every guest process: the one signal handler that turns a trapped system call, a fault or an
 * interruption into a message to the Sentry, and the answer back into registers and memory (design D4, D10).
 *
 * Runs on the thread's own stub stack (slot i has stack i), with every signal but SIGSEGV and SIGBUS blocked.
 * Nothing here is trusted by the Sentry: a guest that jumps into this code or writes over its data harms itself.
 */
#include "stub.h"

enum { SIGBUS_ = 7, SIGSEGV_ = 11, SIGSYS_ = 31, SYS_SECCOMP_ = 1 };
enum { EAGAIN_ = 11, ENOMEM_ = 12, EFAULT_ = 14, EINVAL_ = 22, ENOSYS_ = 38 };
enum { FUTEX_WAIT_ = 0, FUTEX_WAKE_ = 1, FUTEX_REQUEUE_ = 3, FUTEX_CMP_REQUEUE_ = 4 };
enum { FUTEX_WAKE_OP_ = 5, FUTEX_WAIT_BITSET_ = 9, FUTEX_WAKE_BITSET_ = 10 };
enum { ARCH_SET_GS_ = 0x1001, ARCH_SET_FS_ = 0x1002, ARCH_GET_FS_ = 0x1003, ARCH_GET_GS_ = 0x1004 };
enum { MAP_ANONYMOUS_ = 0x20 };
enum { CLONE_VM_ = 0x100, CLONE_THREAD_ = 0x10000, CLONE_SETTLS_ = 0x80000 };
#define AUDIT_ARCH_X86_64_ 0xc000003eU
#define FP_XSTATE_MAGIC1 0x46505853U
#define SS_AUTODISARM_ (1UL << 31)

uint64_t brk_start, brk_now;
uint32_t guest_runs;

/* -- the hand-off (design D6) ------------------------------------------------------------------- */

static void set_bit(uint64_t *word, uint64_t bit)
{
    __atomic_fetch_or(word, 1UL << (bit & 63), __ATOMIC_SEQ_CST);
}

/* Say on the ready maps that this slot has a request, and ring when the Sentry sleeps. */
static void announce(uint64_t index)
{
    struct space_header *header = (struct space_header *)CHANNEL_BASE;
    struct shared_page *shared = (struct shared_page *)SHARED_BASE;
    struct ready_page *ready = (struct ready_page *)(SHARED_BASE + 0x1000);
    uint64_t space = header->index & (SLOTS - 1);

    set_bit(&header->words[index / 64], index);
    set_bit(&header->summary, index / 64);
    set_bit(&ready->groups[space / 64], space);
    set_bit(&ready->summary, space / 64);
    if (__atomic_load_n(&shared->sentry_sleeping, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        sys3(SYS_write, DOORBELL_FD, &one, 8);
    }
}

#define QUICK_LOOKS 200U /* some 300 ns: a simple call is answered by then, and a pause is a tenth of that */
#define SPIN_FLOOR 333U /* pauses, about 10 us */

/* No sched_yield here or in the Sentry: two spinners that yield to each other stay on one core for good
   (25 us a call), two that do not are soon moved apart (5).
   Spin as long as it has paid lately, but never less than a floor: a thread that stopped spinning would pay
   a wake-up for every call and could not find out that spinning pays again. */
static void wait_reply(struct slot *s, uint32_t seq)
{
    const struct shared_page *shared = (const struct shared_page *)SHARED_BASE;
    uint32_t most = shared->spin_guests ? s->spin_max : 0, least = most < SPIN_FLOOR ? most : SPIN_FLOOR;
    uint32_t limit = s->spin < least ? least : s->spin > most ? most : s->spin;

    /* On one core with the Sentry we only keep it from running; asleep, it may wake on another. */
    int together = this_cpu() == __atomic_load_n(&shared->sentry_cpu, __ATOMIC_RELAXED);
    if (together)
        limit = shared->sentry_sleeping ? least : 0;

    for (uint32_t i = 0; i < limit; i++) {
        if (__atomic_load_n(&s->rep_seq, __ATOMIC_ACQUIRE) == seq) {
            if (!together)
                s->spin = limit * 2;
            return;
        }
        if (__atomic_load_n(&s->parked, __ATOMIC_RELAXED))
            break;
        if (i >= QUICK_LOOKS)
            __builtin_ia32_pause();
    }
    if (!s->parked && !together)
        s->spin = limit - limit / 4;
    for (;;) {
        __atomic_store_n(&s->sleeping, 1, __ATOMIC_SEQ_CST);
        uint32_t seen = __atomic_load_n(&s->rep_seq, __ATOMIC_SEQ_CST);
        if (seen == seq)
            break;
        sys6(SYS_futex, (long)&s->rep_seq, FUTEX_WAIT_, seen, 0, 0, 0);
    }
    __atomic_store_n(&s->sleeping, 0, __ATOMIC_RELAXED);
}

void ask(struct slot *s, uint64_t index, uint32_t kind)
{
    uint32_t seq = s->req_seq + 1;

    s->kind = (uint16_t)kind;
    __atomic_exchange_n(&s->req_seq, seq, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&s->watched, __ATOMIC_SEQ_CST))
        announce(index);
    wait_reply(s, seq);
}

/* -- requests: marshalling by the table in the shared pages --------------------------------------- */

enum { ARG_STRING = 1, ARG_BUFFER = 2, ARG_BULK = 3 };
enum { SHORT_CALL = 1 };
enum { SENT_NULL = -1, SENT_TOO_LARGE = -2, SENT_APART = -3 };
enum { BULK_MIN = 256, BULK_MAX = 16384 };

static int64_t marshal_one(uint8_t kind, uint64_t value, uint64_t next, uint8_t *to, uint64_t room)
{
    if (kind == ARG_STRING) {
        if (!value)
            return SENT_NULL;
        return copy_string(to, (void *)value, room < 4096 ? room : 4096);
    }
    uint64_t size = kind == ARG_BUFFER ? next : kind & 0x80 ? (kind & 0x7fU) * 8 : kind & 0x3fU;
    if (kind != ARG_BUFFER && !value)
        return SENT_NULL;
    if (size > room)
        return SENT_TOO_LARGE;
    return copy_bytes(to, (void *)value, size) ? -EFAULT_ : (int64_t)size;
}

/* The contents of a write stand behind the records that make up the request: the Sentry takes them from there if it
   wants them at all, straight to where they go. Few are a record like any other; of many it says only that. */
static int64_t marshal_apart(struct slot *s, uint32_t used, uint64_t value, uint64_t size)
{
    if (size > BULK_MAX || size > DATA_SIZE - used)
        return SENT_TOO_LARGE;
    return copy_bytes(s->data + used, (void *)value, size) ? -EFAULT_ : SENT_APART;
}

/* A few bytes, the call's only in-argument, in place of the arguments that it has not got. */
static uint32_t marshal_small(struct slot *s, uint64_t value, uint64_t size)
{
    int64_t n = copy_bytes(&s->args[4], (void *)value, size) ? -EFAULT_ : (int64_t)size;

    s->args[3] = (uint64_t)n;
    return DATA_IN_ARGS | (n > 0 ? 8 + (((uint32_t)n + 7) & ~7U) : 8);
}

/* After the arguments are in place: it may write over the last of them. */
static uint32_t marshal(struct slot *s, uint64_t nr, const uint64_t *args)
{
    uint32_t used = 0, apart_at = 0;
    int apart = -1;

    if (nr >= 512)
        return 0;
    const uint8_t *row = (const uint8_t *)(SHARED_BASE + 0x2000) + nr * 8;
    if (row[6] == SHORT_CALL && args[2] <= SMALL_SIZE)
        return marshal_small(s, args[1], args[2]);
    for (int i = 0; i < 6; i++) {
        if (!row[i])
            continue;
        if (used + 16 > DATA_SIZE)
            break;
        uint64_t next = i < 5 ? args[i + 1] : 0;
        int64_t n = SENT_TOO_LARGE;
        if (row[i] == ARG_BULK && next > BULK_MIN) {
            apart = i;
            apart_at = used;
        } else {
            uint8_t kind = row[i] == ARG_BULK ? ARG_BUFFER : row[i];
            n = marshal_one(kind, args[i], next, s->data + used + 8, DATA_SIZE - used - 8);
        }
        memcpy(s->data + used, &n, 8);
        used += 8 + (n > 0 ? ((uint32_t)n + 7) & ~7U : 0);
    }
    if (apart >= 0) {
        int64_t n = marshal_apart(s, used, args[apart], args[apart + 1]);
        memcpy(s->data + apart_at, &n, 8);
    }
    return used;
}

/* rt_sigreturn has no arguments: send the frame's ucontext, so that the Sentry learns the mask. */
static uint32_t marshal_sigreturn(struct slot *s, uint64_t sp)
{
    int64_t n = copy_bytes(s->data + 8, (void *)sp, sizeof(struct ucontext)) ? -EFAULT_ : (int64_t)sizeof(struct ucontext);
    memcpy(s->data, &n, 8);
    return 8 + sizeof(struct ucontext);
}

/* exit(2) and exit_group(2) bring what the Sentry would have to look for in this process otherwise. */
static uint32_t marshal_exit(struct slot *s, uint64_t nr)
{
    struct last_words words = {0, 0};
    uint64_t head[3]; /* struct robust_list_head */
    uint64_t usage[18]; /* struct rusage */

    if (s->robust_list && !copy_bytes(head, (void *)s->robust_list, sizeof head))
        words.holds_no_lock = head[0] == s->robust_list && !head[2];
    if (nr == SYS_exit_group && sys2(SYS_getrusage, 0, usage) == 0)
        words.peak_kib = usage[4];
    memcpy(s->data, &words, sizeof words);
    return sizeof words;
}

static uint32_t marshal_call(struct slot *s, uint64_t nr, const uint64_t *args)
{
    return nr == SYS_exit_group || nr == SYS_exit ? marshal_exit(s, nr) : marshal(s, nr, args);
}

/* -- system calls that the stub answers by itself (design D8 keeps the list) ---------------------------- */

static long stub_brk(uint64_t wanted)
{
    if (wanted < brk_start || wanted >= GUEST_TOP)
        return (long)brk_now;
    uint64_t old_end = (brk_now + 4095) & ~4095UL, new_end = (wanted + 4095) & ~4095UL;
    if (new_end > old_end) {
        /* MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED_NOREPLACE|MAP_NORESERVE */
        long got = sys6(SYS_mmap, (long)old_end, (long)(new_end - old_end), 3, 0x104022, -1, 0);
        if (got != (long)old_end)
            return (long)brk_now;
    } else if (new_end < old_end) {
        sys2(SYS_munmap, new_end, old_end - new_end);
    }
    brk_now = wanted;
    return (long)brk_now;
}

const void *fast_vector = fast_begin;

uint64_t open_block(uint64_t index)
{
    struct thread_block *block = block_at(index);

    memset(block, 0, sizeof *block);
    block->stack_top = (uint64_t)block;
    block->gs = (uint64_t)block;
    return (uint64_t)block;
}

/* A guest that wants gs for itself gets it: from then on patched sites trap again in all its threads. */
static void set_guest_gs(uint64_t address)
{
    block_at(my_index())->guest_gs = address;
    if (!address)
        return;
    __atomic_store_n(&fast_vector, fast_refused, __ATOMIC_SEQ_CST);
    __asm__ volatile("wrgsbase %0" : : "r"(address));
}

/* clone(2): a new thread's gs base is its parent's, where the guest has set one. */
static void inherit_gs(uint64_t from, uint64_t to)
{
    struct thread_block *block = block_at(to);

    block->guest_gs = block_at(from)->guest_gs;
    if (block->guest_gs)
        block->gs = block->guest_gs;
}

static long stub_arch_prctl(uint64_t code, uint64_t address)
{
    uint64_t value;

    switch (code) {
    case ARCH_SET_FS_:
    case ARCH_SET_GS_:
        if (address >= 1UL << 47)
            return -1; /* EPERM, as arch_prctl(2) */
        if (code == ARCH_SET_FS_)
            set_fs_base(address);
        else
            set_guest_gs(address);
        return 0;
    case ARCH_GET_FS_:
        __asm__ volatile("rdfsbase %0" : "=r"(value));
        return copy_bytes((void *)address, &value, 8);
    case ARCH_GET_GS_:
        return copy_bytes((void *)address, &block_at(my_index())->guest_gs, 8);
    default:
        return -EINVAL_;
    }
}

/* FUTEX_WAKE_OP: change the second word, wake at the first, and at the second when what it was compares. */
static long futex_wake_op(const uint64_t *a, uint32_t private)
{
    uint32_t code = (uint32_t)a[5], old, new;
    int32_t operand = (int32_t)(code << 8) >> 20, other = (int32_t)(code << 20) >> 20;
    uint32_t *second = (uint32_t *)a[4];
    long done;

    if (code >> 28 & 8) /* FUTEX_OP_OPARG_SHIFT */
        operand = (int32_t)(1U << (operand & 31));
    if (copy_bytes(&old, second, 4))
        return -EFAULT_;
    do {
        switch (code >> 28 & 7) {
        case 0: new = (uint32_t)operand; break;
        case 1: new = old + (uint32_t)operand; break;
        case 2: new = old | (uint32_t)operand; break;
        case 3: new = old & ~(uint32_t)operand; break;
        case 4: new = old ^ (uint32_t)operand; break;
        default: return -ENOSYS_;
        }
        done = exchange_word(second, &old, new);
    } while (done == 1);
    if (done)
        return done;
    int32_t was = (int32_t)old;
    int holds;
    switch (code >> 24 & 15) {
    case 0: holds = was == other; break;
    case 1: holds = was != other; break;
    case 2: holds = was < other; break;
    case 3: holds = was <= other; break;
    case 4: holds = was > other; break;
    case 5: holds = was >= other; break;
    default: return -ENOSYS_;
    }
    long woken = sys6(SYS_futex, (long)a[0], FUTEX_WAKE_ | private, (long)a[2], 0, 0, 0);
    if (woken < 0 || !holds)
        return woken;
    long there = sys6(SYS_futex, (long)second, FUTEX_WAKE_ | private, (long)a[3], 0, 0, 0);
    return there < 0 ? there : woken + there;
}

/* The futex operations the host filter does not let through. Requeueing becomes waking: waiters must cope
   with a spurious wake-up anyway (futex(2)). */
static long stub_futex(const uint64_t *a)
{
    uint32_t operation = (uint32_t)a[1] & 0x7f, private = (uint32_t)a[1] & 0x80, word;

    switch (operation) {
    case FUTEX_CMP_REQUEUE_:
        if (copy_bytes(&word, (void *)a[0], 4))
            return -EFAULT_;
        if (word != (uint32_t)a[5])
            return -EAGAIN_;
        /* fall through */
    case FUTEX_REQUEUE_:
        return sys6(SYS_futex, (long)a[0], FUTEX_WAKE_ | private, 0x7fffffff, 0, 0, 0);
    case FUTEX_WAKE_BITSET_: {
        /* Waking all is the only way not to miss the one that matches. */
        long woken = sys6(SYS_futex, (long)a[0], FUTEX_WAKE_ | private, 0x7fffffff, 0, 0, 0);
        return woken > (long)(int32_t)a[2] ? (long)(int32_t)a[2] : woken;
    }
    case FUTEX_WAKE_OP_:
        return futex_wake_op(a, private);
    default:
        return -ENOSYS_;
    }
}

/* --memory-mode=validated: the guest's own call was trapped; from here it is notified to the Sentry, which lets it
   go on. Answers 0 when the call is of another kind (a file's mapping): then it becomes a message. */
static int repeat_memory_call(struct sigcontext *mc, const uint64_t *a)
{
    struct shared_page *shared = (struct shared_page *)SHARED_BASE;

    if (!shared->validated || ((uint32_t)mc->ax == SYS_mmap && !(a[3] & MAP_ANONYMOUS_)))
        return 0; /* a file's mapping is a message: the descriptor's number is the guest's own */
    long result = sys6((long)mc->ax, (long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5]);
    if (result == -UNFIT_ERRNO)
        return 0;
    mc->ax = (uint64_t)result;
    return 1;
}

/* Calls that only ask who the caller is, once the Sentry has told. */
static int answered_from_ids(const struct slot *s, uint32_t nr, uint64_t *result)
{
    if (!s->ids.valid)
        return 0;
    switch (nr) {
    case SYS_getpid: *result = s->ids.pid; return 1;
    case SYS_gettid: *result = s->ids.tid; return 1;
    case SYS_getuid: *result = s->ids.uid; return 1;
    case SYS_geteuid: *result = s->ids.euid; return 1;
    case SYS_getgid: *result = s->ids.gid; return 1;
    case SYS_getegid: *result = s->ids.egid; return 1;
    default: return 0;
    }
}

/* rt_sigprocmask(2) while the Sentry lets the mask out: one exchange, which fails when it has just taken it back.
   What is odd goes to the Sentry. */
static int answered_mask(struct slot *s, const uint64_t *args, uint64_t *result)
{
    uint64_t word = __atomic_load_n(&s->mask, __ATOMIC_SEQ_CST), old = word & ~MASK_LEASE, new = old, set;

    if (!(word & MASK_LEASE) || args[3] != 8)
        return 0;
    if (args[1]) {
        if (copy_bytes(&set, (void *)args[1], 8))
            return 0;
        switch ((uint32_t)args[0]) {
        case 0: new = old | set; break;
        case 1: new = old & ~set; break;
        case 2: new = set; break;
        default: return 0;
        }
    }
    new &= ~(1UL << 8 | 1UL << 18); /* SIGKILL, SIGSTOP */
    if (!__atomic_compare_exchange_n(&s->mask, &word, new | MASK_LEASE, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return 0;
    *result = args[2] && copy_bytes((void *)args[2], &old, 8) ? (uint64_t)-EFAULT_ : 0;
    return 1;
}

/* set_robust_list(2): nobody looks before the thread ends. */
static int answered_robust_list(struct slot *s, const uint64_t *args, uint64_t *result)
{
    if (!(__atomic_load_n(&s->mask, __ATOMIC_SEQ_CST) & MASK_LEASE) || args[1] != 24 || !args[0])
        return 0;
    s->robust_list = args[0];
    *result = 0;
    return 1;
}

/* What the Sentry has told or lent (design D8). */
static int answered_from_slot(struct slot *s, uint32_t nr, const uint64_t *args, uint64_t *result)
{
    switch (nr) {
    case SYS_rseq: *result = (uint64_t)-ENOSYS_; return 1; /* every thread of glibc's asks */
    case SYS_rt_sigprocmask: return answered_mask(s, args, result);
    case SYS_set_robust_list: return answered_robust_list(s, args, result);
    default: return answered_from_ids(s, nr, result);
    }
}

static int answered_here(struct slot *s, struct sigcontext *mc, const uint64_t *args)
{
    switch ((uint32_t)mc->ax) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
        return repeat_memory_call(mc, args);
    case SYS_brk:
        mc->ax = (uint64_t)stub_brk(args[0]);
        return 1;
    case SYS_arch_prctl:
        mc->ax = (uint64_t)stub_arch_prctl(args[0], args[1]);
        return 1;
    case SYS_futex:
        mc->ax = (uint64_t)stub_futex(args);
        return 1;
    default:
        return answered_from_slot(s, (uint32_t)mc->ax, args, &mc->ax);
    }
}

/* -- answers ---------------------------------------------------------------------------------- */

/* One out, which stands before its bytes; answers how far the next one is from it, 0 for a bad address. */
static uint64_t copy_out(const uint8_t *at, uint64_t room)
{
    struct out out;

    memcpy(&out, at, sizeof out);
    if (out.length & OUT_ZEROS)
        return clear_bytes((void *)out.address, out.length & ~OUT_ZEROS) ? 0 : sizeof out;
    if (out.length > room - sizeof out || copy_bytes((void *)out.address, at + sizeof out, out.length))
        return 0;
    return sizeof out + ((out.length + 7) & ~7UL);
}

static int copy_outs(struct slot *s)
{
    uint64_t used = 0;
    uint32_t count = s->nouts;

    if (s->small && !copy_out(s->small_out, sizeof s->small_out))
        return -EFAULT_;
    for (uint32_t i = 0; i < count && used + sizeof(struct out) <= DATA_SIZE; i++) {
        uint64_t step = copy_out(s->data + used, DATA_SIZE - used);
        if (!step)
            return -EFAULT_;
        used += step;
    }
    return 0;
}

static long result_of(struct slot *s)
{
    return (s->nouts || s->small) && copy_outs(s) ? -EFAULT_ : s->result;
}

static void set_result(struct slot *s, struct sigcontext *mc)
{
    mc->ax = (uint64_t)result_of(s);
}

static uint32_t xstate_size(const uint8_t *fp)
{
    uint32_t magic, size;
    memcpy(&magic, fp + 464, 4);
    memcpy(&size, fp + 468, 4);
    return magic == FP_XSTATE_MAGIC1 && size >= 576 && size <= STACK_SIZE / 4 ? size : 512;
}

/* A host futex wait that our interrupt broke off stands ready to be run again (SA_RESTART): without
   SA_RESTART in the guest's handler it must say EINTR instead (signal(7)). A wake that is just about to be made
   looks the same but for its operation, and must not be lost. */
static void interrupt_futex(struct sigcontext *mc)
{
    uint16_t code;
    uint64_t operation = mc->si & 0x7f;
    if (operation != FUTEX_WAIT_ && operation != FUTEX_WAIT_BITSET_)
        return;
    if (mc->ax == SYS_futex && !copy_bytes(&code, (void *)mc->ip, 2) && code == 0x050f) {
        mc->ax = (uint64_t)-4;
        mc->ip += 2;
    }
}

/* The initial state of the floating-point unit, in a frame. */
void reset_fpu(uint8_t *fp)
{
    uint16_t cwd = 0x37f;
    uint32_t mxcsr = 0x1f80;

    memcpy(fp, &cwd, 2);
    memcpy(fp + 24, &mxcsr, 4);
    if (xstate_size(fp) > 512)
        memset(fp + 512, 0, 8);
    else
        memset(fp + 32, 0, 128 + 256);
}

static int on_stack(const struct deliver *d, uint64_t sp)
{
    return sp > d->stack_sp && sp - d->stack_sp <= d->stack_size;
}

/* Build the guest's rt_sigframe below its stack pointer and continue in its handler (arch/x86 signal_64.c).
   Answers what to report next, or 0 to go there. */
static uint32_t deliver_signal(struct slot *s, struct ucontext *uc)
{
    struct sigcontext *mc = &uc->mc;
    struct deliver d;
    struct ucontext frame;
    uint8_t *fp = (uint8_t *)mc->fpstate;
    uint32_t fpsize = xstate_size(fp);

    memcpy(&d, s->p, sizeof d);
    if (d.in_syscall == 2)
        mc->ip -= 2;
    else if (d.in_syscall)
        set_result(s, mc);
    else if (!(d.flags & 0x10000000UL)) /* SA_RESTART */
        interrupt_futex(mc);

    int alternate = on_stack(&d, mc->sp) && !(d.stack_flags & SS_AUTODISARM_);
    uint64_t sp = mc->sp - 128;
    if (d.use_stack && !alternate) {
        alternate = 1;
        sp = d.stack_sp + d.stack_size;
    }
    uint64_t fp_at = (sp - fpsize) & ~63UL;
    uint64_t at = ((fp_at - 8 - sizeof frame - 128) & ~15UL) - 8;
    if (alternate && !on_stack(&d, at))
        return KIND_FRAME_FAULT; /* better than to write below the alternate stack */

    memcpy(&frame, uc, sizeof frame);
    frame.link = 0;
    frame.stack.sp = d.stack_sp;
    frame.stack.flags = (uint32_t)d.stack_flags;
    frame.stack.size = d.stack_size;
    frame.mc.fpstate = fp_at;
    frame.mc.oldmask = d.saved_mask;
    frame.sigmask = d.saved_mask;
    if (copy_bytes((void *)fp_at, fp, fpsize) || copy_bytes((void *)at, &d.restorer, 8) ||
        copy_bytes((void *)(at + 8), &frame, sizeof frame) ||
        copy_bytes((void *)(at + 8 + sizeof frame), s->siginfo, 128))
        return KIND_FRAME_FAULT;

    mc->ip = d.handler;
    mc->sp = at;
    mc->di = d.signo;
    mc->si = at + 8 + sizeof frame;
    mc->dx = at + 8;
    mc->ax = 0;
    mc->flags &= ~0x10500UL; /* RF, DF, TF */
    reset_fpu(fp); /* handlers start with the initial state */
    return d.report ? KIND_INTERRUPTED : 0;
}

/* The floating-point half of rt_sigreturn: the guest's image into the host frame's, with what the CPU would
   refuse masked away, so that the host's own return cannot fail. */
static int restore_fpu(uint8_t *fp, uint64_t from)
{
    uint32_t size = xstate_size(fp);
    uint8_t keep[48], tail[4];
    uint64_t header[8], features = 3;
    uint32_t mxcsr, magic;

    memcpy(keep, fp + 464, 48);
    if (size > 512) {
        memcpy(tail, fp + size - 4, 4);
        memcpy(&features, fp + 472, 8);
    }
    uint32_t want = size;
    if (copy_bytes(&magic, (void *)(from + 464), 4))
        return -EFAULT_;
    if (magic != FP_XSTATE_MAGIC1)
        want = 512;
    if (copy_bytes(fp, (void *)from, want))
        return -EFAULT_;
    memcpy(fp + 464, keep, 48);
    memcpy(&mxcsr, fp + 24, 4);
    mxcsr &= 0xffff;
    memcpy(fp + 24, &mxcsr, 4);
    if (size > 512) {
        memcpy(header, fp + 512, 64);
        uint64_t present = want == 512 ? 3 : header[0] & features;
        memset(header, 0, 64);
        header[0] = present;
        memcpy(fp + 512, header, 64);
        memcpy(fp + size - 4, tail, 4);
    }
    return 0;
}

static int restore_frame(struct ucontext *uc)
{
    struct ucontext frame;
    struct sigcontext *mc = &uc->mc, old = uc->mc;
    const uint64_t user_flags = 0x50dd5; /* FIX_EFLAGS of the kernel: AC, OF, DF, TF, SF, ZF, AF, PF, CF, RF */

    if (copy_bytes(&frame, (void *)mc->sp, sizeof frame))
        return -EFAULT_;
    *mc = frame.mc;
    mc->flags = (old.flags & ~user_flags) | (frame.mc.flags & user_flags);
    mc->cs = old.cs;
    mc->ss = old.ss;
    mc->gs = old.gs;
    mc->fs = old.fs;
    mc->fpstate = old.fpstate;
    if (frame.mc.fpstate)
        return restore_fpu((uint8_t *)old.fpstate, frame.mc.fpstate);
    return 0;
}

/* A copy of this signal frame on the new thread's stub stack: it starts by returning from it. */
static uint64_t frame_for_child(struct ucontext *uc, uint64_t from, uint64_t to, uint64_t stack)
{
    uint64_t delta = (to - from) * STACK_SIZE;
    uint64_t begin = (uint64_t)uc, end = uc->mc.fpstate + xstate_size((uint8_t *)uc->mc.fpstate);
    struct ucontext *copy = (struct ucontext *)(begin + delta);

    memcpy(copy, uc, end - begin);
    copy->mc.fpstate += delta;
    copy->stack.sp = STACKS_BASE + to * STACK_SIZE;
    copy->stack.size = SIGNAL_STACK_SIZE;
    copy->stack.flags = 0;
    copy->mc.ax = 0;
    if (stack)
        copy->mc.sp = stack;
    return (uint64_t)copy;
}

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

/* The child of a fork: its memory is the parent's, only channel and control socket must be exchanged. Nothing of
   the guest runs before. */
static void take_channel(const int *fds)
{
    sys2(SYS_dup2, fds[0], CHANNEL_FD);
    sys2(SYS_dup2, fds[1], CONTROL_FD);
    sys3(SYS_close_range, CONTROL_FD + 1, ~0U, 0);
    long at = sys6(SYS_mmap, CHANNEL_BASE, CHANNEL_SIZE, 3, 0x11, CHANNEL_FD, 0);
    if (at != (long)CHANNEL_BASE)
        sys1(SYS_exit_group, 1);
    sys2(SYS_prctl, 1, 9); /* PR_SET_PDEATHSIG, SIGKILL */
}

static void write_tid(uint64_t address, int64_t tid)
{
    int32_t number = (int32_t)tid;
    if (address)
        copy_bytes((void *)address, &number, 4); /* clone(2) ignores a bad address */
}

/* fork(2), and clone(2) of the kind. 0 in the child. */
static long fork_child(struct slot *s, struct ucontext *uc, uint64_t index, const struct clone_order *order)
{
    struct thread_block *block = block_at(index);
    int64_t tid = s->result;
    int fds[2];

    if (receive_fds(fds, 2))
        return -EAGAIN_;
    patch_hold(); /* no half-written site in the child, where nobody would finish it */
    long pid = sys6(SYS_clone, (long)(order->flags & ~(uint64_t)CLONE_SETTLS_), 0, 0, (long)&block->host_tid, 0, 0);
    patch_release();
    if (pid == 0) {
        patch_threads = 0;
        take_channel(fds);
        write_tid(order->child_tid_at, tid);
        uc->mc.ax = 0;
        if (order->stack)
            uc->mc.sp = order->stack;
        if (order->flags & CLONE_SETTLS_)
            set_fs_base(order->tls);
        s->args[0] = block->host_tid;
        return 0;
    }
    sys1(SYS_close, fds[0]);
    sys1(SYS_close, fds[1]);
    return pid;
}

/* A thread, or a process that shares the memory (vfork). */
static long clone_thread_child(struct slot *s, struct ucontext *uc, uint64_t index, const struct clone_order *order)
{
    uint64_t to = order->slot & (SLOTS - 1);
    int *tid = (int *)&slot_at(to)->host_tid;

    open_block(to);
    patch_threads = 1;
    inherit_gs(index, to);
    write_tid(order->child_tid_at, s->result);
    return clone_thread((long)order->flags, (void *)frame_for_child(uc, index, to, order->stack), tid, tid,
                        (long)order->tls, !(order->flags & CLONE_THREAD_));
}

/* Make a child as the Sentry says. Answers what to report next, or 0 to go on. */
static uint32_t clone_child(struct slot *s, struct ucontext *uc, uint64_t index)
{
    struct clone_order order;

    memcpy(&order, s->p, sizeof order);
    block_at(index)->nonce = order.nonce;
    write_tid(order.parent_tid_at, s->result);
    long pid = order.flags & CLONE_VM_ ? clone_thread_child(s, uc, index, &order) : fork_child(s, uc, index, &order);
    if (pid == 0)
        return KIND_CHECKIN;
    if (pid > 0 && (order.flags & CLONE_THREAD_ || !(order.flags & CLONE_VM_))) {
        uc->mc.ax = (uint64_t)s->result;
        return 0;
    }
    s->args[0] = (uint64_t)pid;
    return KIND_CLONED;
}

/* mmap(2) of a host file that is open for reading only, without a notification: the filter knows the range of
   such descriptors. */
static long map_granted(const uint64_t *p)
{
    int fd;

    if (receive_fds(&fd, 1))
        return -EAGAIN_;
    long result = sys6(SYS_mmap, (long)p[0], (long)p[1], (long)p[2], (long)p[3], fd, (long)p[4]);
    sys1(SYS_close, fd);
    return result;
}

static _Noreturn void leave(uint64_t clear_tid)
{
    uint32_t zero = 0;
    if (clear_tid && !copy_bytes((void *)clear_tid, &zero, 4))
        sys6(SYS_futex, (long)clear_tid, FUTEX_WAKE_, 1, 0, 0, 0);
    for (;;)
        sys1(SYS_exit, 0);
}

/* Do what the answer says, and ask again until the answer is to go on. */
static void obey(struct slot *s, struct ucontext *uc, uint64_t index)
{
    uint32_t kind = KIND_FRAME_FAULT;

    for (;; ask(s, index, kind)) {
        switch (s->action) {
        case ACTION_RETURN:
            set_result(s, &uc->mc);
            return;
        case ACTION_SIGNAL:
            kind = deliver_signal(s, uc);
            if (!kind)
                return;
            break;
        case ACTION_SIGRETURN:
            if (restore_frame(uc)) {
                kind = KIND_FRAME_FAULT;
                break;
            }
            if (!s->p[0])
                return;
            kind = KIND_INTERRUPTED;
            break;
        case ACTION_HOSTCALL:
            s->args[0] = (uint64_t)sys6((long)s->p[0], (long)s->p[1], (long)s->p[2], (long)s->p[3],
                                        (long)s->p[4], (long)s->p[5], (long)s->p[6]);
            kind = KIND_HOSTRET;
            break;
        case ACTION_CLONE:
            kind = clone_child(s, uc, index);
            if (!kind)
                return;
            break;
        case ACTION_MAP:
            uc->mc.ax = (uint64_t)map_granted(s->p);
            return;
        case ACTION_EXEC:
            exec_here(s, uc, index);
            return;
        case ACTION_EXIT:
            leave(s->p[0]);
        case ACTION_EXIT_GROUP:
            sys1(SYS_exit_group, 0);
            break;
        default: /* ACTION_RESUME */
            return;
        }
    }
}

/* The child of a vfork says that it is there (start.S). */
void check_in(struct ucontext *uc)
{
    uint64_t index = my_index();
    struct slot *s = slot_at(index);

    s->args[0] = s->host_tid;
    ask(s, index, KIND_CHECKIN);
    obey(s, uc, index);
}

static void converse(struct slot *s, struct ucontext *uc, uint64_t index, uint32_t kind)
{
    ask(s, index, kind);
    obey(s, uc, index);
}

/* Say what is no system call: an interruption, or a fault whose data are in place. */
static void report(struct slot *s, struct ucontext *uc, uint64_t index, uint32_t kind, uint32_t nr)
{
    s->nr = nr;
    s->data_len = kind == KIND_FAULT ? 128 : 0;
    s->ip = uc->mc.ip;
    s->sp = uc->mc.sp;
    converse(s, uc, index, kind);
}

/* -- the way in from a patched site (fast.S) ------------------------------------------------------ */

/* Calls that go through the syscall instruction of the trampoline: those the host may answer, and those whose
   answer needs a signal frame in any case. */
static int goes_slowly(uint32_t nr)
{
    switch (nr) {
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mprotect:
    case SYS_mremap:
    case SYS_madvise:
    case SYS_futex:
    case SYS_sched_yield:
    case SYS_arch_prctl:
    case SYS_rt_sigreturn:
    case SYS_clone:
    case SYS_fork:
    case SYS_vfork:
    case SYS_clone3:
    case SYS_execve:
    case SYS_execveat:
        return 1;
    default:
        return 0;
    }
}

void fast_call(struct fast_regs *r)
{
    uint64_t index = my_index();
    struct slot *s = slot_at(index);
    struct thread_block *block = block_at(index);
    uint64_t args[6] = {r->di, r->si, r->dx, r->r10, r->r8, r->r9};
    uint32_t nr = (uint32_t)r->ax;

    if (goes_slowly(nr)) {
        r->cx -= 2;
        return;
    }
    if (nr == SYS_brk) {
        r->ax = (uint64_t)stub_brk(args[0]);
        return;
    }
    if (answered_from_slot(s, nr, args, &r->ax))
        return;
    s->nr = nr;
    memcpy(s->args, args, sizeof args);
    s->data_len = marshal_call(s, nr, args);
    s->ip = original_ip(r->cx);
    s->sp = block->guest_sp;
    ask(s, index, KIND_SYSCALL);
    if (s->action == ACTION_RETURN) {
        r->ax = (uint64_t)result_of(s);
        return;
    }
    if (s->action == ACTION_EXIT)
        leave(s->p[0]);
    block->result = r->ax;
    block->resume = r->cx;
    r->ax = block->trap = TRAP_ANSWERED;
    r->cx = (uint64_t)fast_trap;
}

/* An interruption has broken in between a patched site and its way back. True when it must wait: fast_check or
   after_fast_trap finds it. Otherwise the thread stands in the guest now. */
static int interrupted_inside(struct sigcontext *mc, uint64_t index)
{
    struct thread_block *block = block_at(index);
    uint64_t ip = mc->ip;
    int inside = mc->sp - (STACKS_BASE + index * STACK_SIZE) < STACK_SIZE;

    if (ip >= (uint64_t)fast_begin && ip < (uint64_t)fast_switched) {
        mc->ip = mc->cx - 2; /* nothing was done yet */
        return 0;
    }
    int leaves = ip >= (uint64_t)fast_leave && ip <= (uint64_t)fast_jump;
    if (leaves && mc->cx != (uint64_t)fast_trap) {
        if (ip == (uint64_t)fast_leave)
            mc->flags = *(uint64_t *)mc->sp;
        if (inside)
            mc->sp = block->guest_sp;
        mc->ip = mc->cx;
        return 0;
    }
    if (!inside && !leaves && ip != (uint64_t)fast_trap)
        return 0;
    if (ip >= (uint64_t)fast_check && ip < (uint64_t)fast_leave)
        mc->ip = (uint64_t)fast_check;
    block->pending = 1;
    return 1;
}

/* fast.S wants what only a signal handler can do: act on an answer that is no plain result, or report an
   interruption. */
static void after_fast_trap(struct slot *s, struct ucontext *uc, uint64_t index)
{
    struct thread_block *block = block_at(index);
    uint64_t what = block->trap;

    block->trap = 0;
    uc->mc.ax = block->result;
    uc->mc.ip = original_ip(block->resume);
    if (what == TRAP_ANSWERED)
        obey(s, uc, index);
    else
        block->pending = 1;
    if (!block->pending)
        return;
    block->pending = 0;
    report(s, uc, index, KIND_INTERRUPTED, ~0U);
}

/* -- the signal handler --------------------------------------------------------------------------- */

static int trapped_call(struct slot *s, struct siginfo *si, struct ucontext *uc)
{
    struct sigcontext *mc = &uc->mc;
    uint64_t args[6] = {mc->di, mc->si, mc->dx, mc->r10, mc->r8, mc->r9};

    if (si->u.sys.arch != AUDIT_ARCH_X86_64_) {
        mc->ax = (uint64_t)-ENOSYS_; /* int 0x80: a kernel without IA32 emulation says the same */
        return 0;
    }
    uint32_t nr = (uint32_t)mc->ax; /* Linux, and so the filter, looks at eax alone */
    mc->ip = original_ip(mc->ip);
    if (!goes_slowly(nr))
        consider_site(s, mc->ip, nr);
    if (answered_here(s, mc, args))
        return 0;
    s->nr = nr;
    memcpy(s->args, args, sizeof args);
    s->data_len = nr == SYS_rt_sigreturn ? marshal_sigreturn(s, mc->sp) : marshal_call(s, nr, args);
    return 1;
}

void on_signal(int signo, void *info, void *context)
{
    struct ucontext *uc = context;
    uint64_t index = my_index();
    struct slot *s = slot_at(index);

    if ((signo == SIGSEGV_ || signo == SIGBUS_) && uc->mc.ip >= (uint64_t)copy_begin && uc->mc.ip < (uint64_t)copy_end) {
        uc->mc.ip = (uint64_t)copy_fault;
        return;
    }
    if (!guest_runs) {
        /* The zygote or a pool process, which nobody has a reason to signal. Faults end it. */
        if (signo != INTERRUPT_SIGNAL && signo != SIGSYS_)
            sys1(SYS_exit_group, 1);
        return;
    }
    if (in_patched_site(&uc->mc, signo))
        return;
    if (signo == SIGSYS_) {
        if (((struct siginfo *)info)->code != SYS_SECCOMP_)
            return; /* somebody outside has sent it */
        if (uc->mc.ip == (uint64_t)fast_trap + 2 && block_at(index)->trap) {
            after_fast_trap(s, uc, index);
        } else if (trapped_call(s, info, uc)) {
            s->ip = uc->mc.ip;
            s->sp = uc->mc.sp;
            converse(s, uc, index, KIND_SYSCALL);
        }
    } else if (signo == INTERRUPT_SIGNAL) {
        /* Inside fast_call a request may be on its way: nothing of the slot is touched then. */
        if (!interrupted_inside(&uc->mc, index))
            report(s, uc, index, KIND_INTERRUPTED, ~0U);
    } else {
        struct siginfo *si = info;
        s->args[0] = (uint64_t)(int64_t)si->code;
        s->args[1] = si->u.fault.addr;
        memcpy(s->data, si, 128);
        report(s, uc, index, KIND_FAULT, (uint32_t)signo);
    }
}
