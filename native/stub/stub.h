/* What the stub's files share among themselves. */
#ifndef WARDIAN_STUB_STUB_H
#define WARDIAN_STUB_STUB_H

#include "channel.h"
#include "sys.h"

/* At the top of each stub stack; gs points to it (fast.S knows the offsets). */
struct thread_block {
    uint64_t guest_sp;  /* of a thread that came in by fast_entry */
    uint64_t stack_top; /* where it goes on here */
    uint64_t pending;   /* INTERRUPT_SIGNAL came meanwhile */
    uint64_t result;    /* what rax shall be after TRAP_INTERRUPTED; the call's number for TRAP_ANSWERED */
    uint64_t resume;    /* and rip */
    uint64_t guest_gs;  /* what arch_prctl(ARCH_GET_GS) tells */
    uint64_t gs;        /* what a new thread loads (start.S knows the offset) */
    uint64_t trap;      /* TRAP_*: fast.S is on its way into a signal handler */
    uint64_t nonce;     /* of the last clone_order: a child has it too (layout.NONCE_OFFSET) */
    uint32_t host_tid;  /* of a forked child, written by the host kernel */
};

_Static_assert(__builtin_offsetof(struct thread_block, nonce) == 64, "nonce");

#define BLOCK_ROOM 128UL /* the block, and what keeps a signal frame off it */
#define SIGNAL_STACK_SIZE (STACK_SIZE - BLOCK_ROOM)

/* What fast.S has saved, lowest address first. */
struct fast_regs {
    uint64_t di, si, dx, r10, r8, r9, ax, cx, flags;
};

/* System calls that nobody has: how fast.S becomes a signal handler. */
enum { TRAP_ANSWERED = 0x3ff0, TRAP_INTERRUPTED = 0x3ff1 };

static inline struct slot *slot_at(uint64_t index)
{
    return (struct slot *)(CHANNEL_BASE + index * SLOT_SIZE);
}

static inline uint64_t index_of(const struct slot *s)
{
    return ((uint64_t)s - CHANNEL_BASE) / SLOT_SIZE;
}

static inline __attribute__((always_inline)) uint64_t my_index(void)
{
    return ((uint64_t)__builtin_frame_address(0) - STACKS_BASE) / STACK_SIZE;
}

static inline struct thread_block *block_at(uint64_t index)
{
    return (struct thread_block *)(STACKS_BASE + (index + 1) * STACK_SIZE - BLOCK_ROOM);
}

#ifndef WARDIAN_HOSTED /* an ordinary program needs its own */
static inline void set_fs_base(uint64_t base)
{
    __asm__ volatile("wrfsbase %0" : : "r"(base));
}
#else
extern uint64_t fs_base;
#define set_fs_base(base) ((void)(fs_base = (base)))
#endif

/* handoff.c */
void ask(struct slot *s, uint64_t index, uint32_t kind);

/* marshal.c: the length of what is in the slot's data now */
uint32_t marshal_call(struct slot *s, uint64_t nr, const uint64_t *args);
uint32_t marshal_sigreturn(struct slot *s, uint64_t sp);

/* answered.c: true when the call has its result */
int answered_from_slot(struct slot *s, uint32_t nr, const uint64_t *args, uint64_t *result);
int answered_here(struct slot *s, struct sigcontext *mc, const uint64_t *args);
long stub_brk(uint64_t wanted);
uint64_t open_block(uint64_t index); /* for a new thread; what gs must be */
void inherit_gs(uint64_t from, uint64_t to);

/* frames.c */
uint32_t deliver_signal(struct slot *s, struct ucontext *uc);
int restore_frame(struct ucontext *uc);
uint64_t frame_for_child(struct ucontext *uc, uint64_t from, uint64_t to, uint64_t stack);
void reset_fpu(uint8_t *fp);

/* granted.c */
#define MAX_RECEIVED 8U
long receive_fds(int *fds, uint32_t count); /* what the Sentry has sent; 0 or a negative errno */
long map_granted(const uint64_t *p);

/* children.c: what to report next, or 0 */
uint32_t clone_child(struct slot *s, struct ucontext *uc, uint64_t index);

/* trap.c */
void fast_call(struct fast_regs *r);
void set_result(struct slot *s, struct sigcontext *mc);
extern uint32_t guest_runs; /* from the guest's first instruction on */

/* exec.c */
void exec_here(struct slot *s, struct ucontext *uc, uint64_t index);

/* fast.S */
extern const char fast_entry[], fast_begin[], fast_switched[], fast_check[], fast_leave[], fast_jump[], fast_trap[];
extern const char fast_refused[];
extern const void *fast_vector;

/* patch.c */
struct patch_areas {
    uint64_t start[2]; /* 0: none */
};
extern struct patch_areas patch_areas;
extern uint32_t patch_threads; /* this memory has had more than one thread */
void consider_site(struct slot *s, uint64_t ip, uint32_t nr);
uint64_t original_ip(uint64_t ip);
int in_patched_site(struct sigcontext *mc, int signo);
void forget_patches(const uint64_t *areas); /* of the program before this one */
void patch_hold(void);
void patch_release(void);

#endif
