/* Signal frames: the guest's, as Linux builds them (design D10), and those that new threads start from. */
#include "stub.h"

#define FP_XSTATE_MAGIC1 0x46505853U
#define SS_AUTODISARM_ (1UL << 31)
enum { FUTEX_WAIT_OPERATION = 0, FUTEX_WAIT_BITSET_OPERATION = 9 };

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
    if (operation != FUTEX_WAIT_OPERATION && operation != FUTEX_WAIT_BITSET_OPERATION)
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
uint32_t deliver_signal(struct slot *s, struct ucontext *uc)
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

int restore_frame(struct ucontext *uc)
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
uint64_t frame_for_child(struct ucontext *uc, uint64_t from, uint64_t to, uint64_t stack)
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
