/* What runs inside every guest process: the one signal handler that turns a trapped system call, a fault or an
 * interruption into a message to the Sentry, and the answer back into registers and memory (design D4, D10).
 *
 * Runs on the thread's own stub stack (slot i has stack i), with every signal but SIGSEGV and SIGBUS blocked.
 * Nothing here is trusted by the Sentry: a guest that jumps into this code or writes over its data harms itself.
 */
#include "stub.h"

enum { SIGBUS_ = 7, SIGSEGV_ = 11, SIGSYS_ = 31, SYS_SECCOMP_ = 1 };
#define AUDIT_ARCH_X86_64_ 0xc000003eU

uint32_t guest_runs;

enum { FUTEX_WAKE_ONE = 1 };

/* -- answers ---------------------------------------------------------------------------------- */

/* Copy page by page, or write zeros: how far that went. */
static uint64_t copy_up_to_fault(uint64_t to, const uint8_t *from, uint64_t count)
{
    uint64_t done = 0;

    while (done < count) {
        uint64_t step = 4096 - ((to + done) & 4095);
        step = step < count - done ? step : count - done;
        if (from ? copy_bytes((void *)(to + done), from + done, step) : clear_bytes((void *)(to + done), step))
            break;
        done += step;
    }
    return done;
}

/* One out, which stands before its bytes; answers how far the next one is from it, 0 for a bad address. ``contents``
   counts what a read has brought as far as there was memory for it; it is nothing when something else failed. */
static uint64_t copy_out(const uint8_t *at, uint64_t room, uint64_t *contents)
{
    struct out out;

    memcpy(&out, at, sizeof out);
    uint64_t length = out.length & ~(OUT_ZEROS | OUT_CONTENTS), counts = out.length & OUT_CONTENTS;
    const uint8_t *from = out.length & OUT_ZEROS ? NULL : at + sizeof out;
    if (from && length > room - sizeof out)
        return *contents = 0;
    if (from ? copy_bytes((void *)out.address, from, length) : clear_bytes((void *)out.address, length)) {
        *contents = counts ? *contents + copy_up_to_fault(out.address, from, length) : 0;
        return 0;
    }
    *contents += counts ? length : 0;
    return sizeof out + (from ? (length + 7) & ~7UL : 0);
}

/* Answers 0, or the result instead: a short count (read(2)), or EFAULT. */
static long copy_outs(struct slot *s)
{
    uint64_t used = 0, contents = 0;
    uint32_t count = s->nouts;
    int failed = s->small && !copy_out(s->small_out, sizeof s->small_out, &contents);

    for (uint32_t i = 0; i < count && !failed && used + sizeof(struct out) <= DATA_SIZE; i++) {
        uint64_t step = copy_out(s->data + used, DATA_SIZE - used, &contents);
        failed = !step;
        used += step;
    }
    return !failed ? 0 : contents ? (long)contents : -EFAULT_;
}

static long result_of(struct slot *s)
{
    long instead = s->nouts || s->small ? copy_outs(s) : 0;
    return instead ? instead : s->result;
}

void set_result(struct slot *s, struct sigcontext *mc)
{
    mc->ax = (uint64_t)result_of(s);
}

static _Noreturn void leave(uint64_t clear_tid)
{
    uint32_t zero = 0;
    if (clear_tid && !copy_bytes((void *)clear_tid, &zero, 4))
        sys6(SYS_futex, (long)clear_tid, FUTEX_WAKE_ONE, 1, 0, 0, 0);
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
            if (s->p[0] == SYS_mmap && s->p[5] < GRANT_FD_FIRST + SLOTS)
                sys1(SYS_close, s->p[5]); /* granted for this call alone */
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
    if (s->action == ACTION_EXIT_GROUP)
        sys1(SYS_exit_group, 0);
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
