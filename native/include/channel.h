/* The memory that a guest thread and the Sentry talk through, and the addresses both agree on.
 *
 * One memfd per guest address space holds SLOTS slots of SLOT_SIZE bytes: slot 0 is the space's header, every
 * other slot is one thread's channel. Everything here is writable by the guest: the Sentry copies a request once and
 * believes nothing it reads twice (design D3, D4). Mirrors wardian/platform/layout.py; a test compares them.
 */
#ifndef WARDIAN_CHANNEL_H
#define WARDIAN_CHANNEL_H

#include <stdint.h>

#define GUEST_TOP     0x700000000000UL
#define TRUSTED_BASE  0x7e0000000000UL
#define LOADER_TEXT   0x7e0000001000UL
#define STUB_TEXT     0x7e0000004000UL
#define STUB_TEXT_END 0x7e0000010000UL
#define STUB_RODATA   0x7e0000010000UL /* stub.lds has these two */
#define STUB_DATA     0x7e0000012000UL
#define CHANNEL_BASE  0x7e0010000000UL
#define CHANNEL_SIZE  0x8000000UL
#define SLOT_SIZE     0x8000UL
#define SLOTS         4096UL
#define SHARED_BASE   0x7e0020000000UL
#define SHARED_SIZE   0x4000UL
#define VDSO_BASE     0x7e0030000000UL
#define STACKS_BASE   0x7e0040000000UL
#define STACK_SIZE    0x10000UL
#define STACKS_SIZE   (STACK_SIZE * SLOTS)
#define TRUSTED_END   0x7e0050000000UL
#define PATCH_AREA_SIZE 0x100000UL

#define DOORBELL_FD    3
#define CHANNEL_FD     4
#define CONTROL_FD     5
#define SHARED_FD      6
#define ZYGOTE_FD      7
#define GRANT_FD_FIRST 64

#define UNFIT_ERRNO    4095       /* what the filter answers a repeated memory call that the Sentry must see */
#define INTERRUPT_SIGNAL 23       /* SIGURG: ignored by default, so a stray one harms nobody */

/* What a thread says (slot.kind). */
enum {
    KIND_SYSCALL = 1,     /* nr, args, ip, sp, marshalled data */
    KIND_FAULT = 2,       /* nr = signal; data = host siginfo */
    KIND_INTERRUPTED = 3, /* after INTERRUPT_SIGNAL, or where ACTION_SIGRETURN asked for it */
    KIND_FRAME_FAULT = 4, /* a signal frame could not be written or read */
    KIND_HOSTRET = 5,     /* args[0] = result of ACTION_HOSTCALL */
    KIND_CLONED = 6,      /* args[0] = result of ACTION_CLONE in the parent: of a vfork, or of one that failed */
    KIND_CHECKIN = 7,     /* first message of a forked child; args[0] = its host tid, it says */
    KIND_PATCH = 9,       /* args[0..1] = a piece of text: may it be written to? (ACTION_RETURN, 1) */
    KIND_READY = 8,       /* a pool process is set up (not sent by guests) */
};

/* What the Sentry answers (slot.action). */
enum {
    ACTION_RETURN = 1,   /* result goes to rax; outs are copied */
    ACTION_RESUME = 2,   /* registers as they were */
    ACTION_SIGNAL = 3,   /* enter a handler: struct deliver in params, siginfo in data */
    ACTION_SIGRETURN = 4,/* restore the guest's frame at its stack pointer; p[0]: report KIND_INTERRUPTED */
    ACTION_HOSTCALL = 5, /* p[0] = nr, p[1..6] = arguments; answered by KIND_HOSTRET */
    ACTION_CLONE = 6,    /* parameters: struct clone_order; a thread's or a fork's parent goes on with result */
    ACTION_EXIT = 7,     /* p[0] = clear_child_tid address */
    ACTION_EXIT_GROUP = 8,
    ACTION_EXEC = 10,    /* become the program in data (struct image); p[0] = descriptors that wait on CONTROL_FD */
    ACTION_MAP = 9,      /* mmap of the read-only descriptor that waits on CONTROL_FD; p[0..4] = address, length,
                            prot, flags, offset; the result goes to rax, nothing is reported */
};

/* A call costs as many transfers between two cores as it touches cache lines: the request is line 0, the reply
 * line 1, and what is needed less often stands further down. */
struct slot {
    /* line 0, the request: written by the guest thread */
    uint32_t req_seq;
    uint16_t kind;
    uint16_t sleeping;
    uint32_t data_len;
    uint32_t nr;
    uint64_t args[6];
    /* line 1, the reply: written by the Sentry */
    uint32_t rep_seq;
    uint32_t watched; /* the Sentry looks at req_seq by itself: no need to announce */
    uint32_t parked;  /* the answer will take long: sleep at once */
    uint32_t spin_max;
    uint16_t action;
    uint16_t small; /* the first out stands in small_out */
    uint32_t nouts; /* of the others */
    int64_t result;
    uint8_t small_out[32]; /* struct out, at most SMALL_SIZE bytes */
    /* line 2 */
    uint64_t p[12];
    /* line 3, or the rest of it: the guest thread's own */
    uint64_t ip; /* read when asked for */
    uint64_t sp;
    uint32_t host_tid; /* written by the host kernel: CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID */
    uint32_t spin;     /* the thread's adaptive spin budget, in pauses */
    /* what the stub answers by itself (design D8); written by the Sentry */
    struct ids {
        uint32_t valid;
        uint32_t pid, tid, uid, euid, gid, egid;
    } ids;
    uint64_t mask; /* the thread's signal mask, its own to change as long as MASK_LEASE is set */
    uint64_t robust_list; /* set_robust_list(2), likewise; 0: not set here */
    uint8_t pad[88];
    uint8_t siginfo[128]; /* of ACTION_SIGNAL */
    uint8_t data[SLOT_SIZE - 512];
};

#define SLOT_TID_OFFSET 240 /* of host_tid */
#define SLOT_ROBUST_OFFSET 288
#define MASK_LEASE 0x100UL  /* the bit of SIGKILL, which no mask has */

#define DATA_SIZE (SLOT_SIZE - 512)
#define SMALL_SIZE 16
#define DATA_IN_ARGS (1U << 31) /* in data_len: a record of at most SMALL_SIZE bytes stands in args[3..5] */

/* Slot 0: which threads of this space have something to say. */
struct space_header {
    uint64_t summary;
    uint64_t words[SLOTS / 64];
    uint32_t index; /* of this space in the shared ready map; written by the Sentry */
};

/* Shared by all guest processes: page 0 is read-only for them, page 1 is not, page 2 is read-only. */
struct shared_page {
    uint32_t sentry_sleeping;
    uint32_t spin_guests; /* 0: guest threads do not spin (a loaded machine) */
    uint32_t validated;   /* --memory-mode=validated: the stub repeats trapped memory calls, which are notified */
    uint32_t patching;    /* call sites may be rewritten */
    uint32_t sentry_cpu;  /* where the Sentry was last seen to run */
};

/* The number of the core that we run on, from the segment that Linux keeps it in (as its vDSO does). */
static inline uint32_t this_cpu(void)
{
    uint32_t segment_limit;
    __asm__ volatile("lsl %1, %0" : "=r"(segment_limit) : "r"(0x7b));
    return segment_limit & 0xfff;
}

struct ready_page {
    uint64_t summary;
    uint64_t groups[64];
};

struct out {
    uint64_t address;
    uint64_t length; /* followed by the bytes, padded to 8; with OUT_ZEROS by none */
};
#define OUT_ZEROS (1UL << 63)
#define OUT_CONTENTS (1UL << 62) /* what a read has brought: counted where memory ends half way */

/* Parameters of ACTION_CLONE, in slot.p. */
struct clone_order {
    uint64_t flags; /* of the host's clone(2) */
    uint64_t slot;  /* the child's; 0: a fork, whose channel and control socket wait on CONTROL_FD */
    uint64_t stack; /* 0: as the parent's */
    uint64_t tls;
    uint64_t nonce; /* kept in the parent's memory, so that a child can show whose child it is */
    uint64_t parent_tid_at, child_tid_at; /* where the guest wants the child's tid; 0: nowhere */
};

/* Behind the path of an execve: so many strings of argv and envp, each with its NUL, in size bytes. Below zero: the
 * Sentry is to read them by itself. */
struct exec_strings {
    int64_t size;
    uint32_t counts[2];
};

/* The data of exit(2) and exit_group(2): what the guest says of itself. */
struct last_words {
    uint64_t peak_kib;      /* ru_maxrss; 0: not told */
    uint64_t holds_no_lock; /* its robust futex list is empty */
};

/* Parameters of ACTION_SIGNAL, in slot.p. */
struct deliver {
    uint64_t signo;
    uint64_t handler;
    uint64_t restorer;
    uint64_t flags; /* sa_flags */
    uint64_t saved_mask;
    uint64_t stack_sp; /* the guest's alternate stack, for uc_stack */
    uint64_t stack_size;
    uint64_t stack_flags;
    uint64_t use_stack; /* start on the alternate stack unless already there */
    uint64_t in_syscall; /* 1: rax = result; 2: restart the call */
    uint64_t report;     /* 1: KIND_INTERRUPTED follows, more signals wait */
};

/* The pool loader's program, in the data area of slot 1: this, then maps, then blobs. */
struct image_map {
    uint64_t address, length, prot, offset;
    int64_t fd_index; /* of the descriptors that came with the message, or -1 */
};
struct image_blob {
    uint64_t address, length; /* followed by the bytes, padded to 8 */
};
struct image {
    uint64_t nmaps, nblobs, entry, sp, brk_start;
    uint64_t patch_areas[2]; /* reserved near the program and near its libraries; 0: none */
};

_Static_assert(sizeof(struct slot) == SLOT_SIZE, "slot size");
_Static_assert(__builtin_offsetof(struct slot, rep_seq) == 64, "the reply has a line of its own");
_Static_assert(__builtin_offsetof(struct slot, p) == 128, "and is all there, but for parameters");
_Static_assert(__builtin_offsetof(struct slot, robust_list) == SLOT_ROBUST_OFFSET, "robust_list");
_Static_assert(__builtin_offsetof(struct slot, host_tid) == SLOT_TID_OFFSET, "host_tid");
_Static_assert(sizeof(struct space_header) <= SLOT_SIZE, "header size");

#endif
