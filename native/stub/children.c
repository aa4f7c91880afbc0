/* clone(2): threads, forks and vforks, as the Sentry orders them (struct clone_order). */
#include "stub.h"

enum { CLONE_VM_ = 0x100, CLONE_THREAD_ = 0x10000, CLONE_SETTLS_ = 0x80000 };

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
uint32_t clone_child(struct slot *s, struct ucontext *uc, uint64_t index)
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
