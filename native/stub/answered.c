/* System calls that the stub answers by itself (design D8 keeps the list). */
#include "stub.h"

enum { FUTEX_WAKE_ = 1, FUTEX_REQUEUE_ = 3, FUTEX_CMP_REQUEUE_ = 4, FUTEX_WAKE_OP_ = 5, FUTEX_WAKE_BITSET_ = 10 };
enum { ARCH_SET_GS_ = 0x1001, ARCH_SET_FS_ = 0x1002, ARCH_GET_FS_ = 0x1003, ARCH_GET_GS_ = 0x1004 };
enum { MAP_ANONYMOUS_ = 0x20 };

uint64_t brk_start, brk_now;

long stub_brk(uint64_t wanted)
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
void inherit_gs(uint64_t from, uint64_t to)
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
int answered_from_slot(struct slot *s, uint32_t nr, const uint64_t *args, uint64_t *result)
{
    switch (nr) {
    case SYS_rseq: *result = (uint64_t)-ENOSYS_; return 1; /* every thread of glibc's asks */
    case SYS_rt_sigprocmask: return answered_mask(s, args, result);
    case SYS_set_robust_list: return answered_robust_list(s, args, result);
    default: return answered_from_ids(s, nr, result);
    }
}

int answered_here(struct slot *s, struct sigcontext *mc, const uint64_t *args)
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
