/* Signal frames (native/stub/frames.c): a part of trap_cases.c. */

/* What the host's kernel would hand to on_signal; the floating-point image is exactly as large as it says. */
static struct ucontext *host_frame(uint32_t fpsize)
{
    struct ucontext *uc = calloc(1, sizeof *uc);
    void *fp;
    uint32_t magic = FP_XSTATE_MAGIC1;
    uint64_t features = 7;

    CHECK(posix_memalign(&fp, 64, fpsize) == 0);
    memset(fp, 0x5a, fpsize);
    if (fpsize > 512) {
        memcpy((uint8_t *)fp + 464, &magic, 4);
        memcpy((uint8_t *)fp + 468, &fpsize, 4);
        memcpy((uint8_t *)fp + 472, &features, 8);
    }
    uc->mc.fpstate = (uint64_t)fp;
    uc->mc.sp = GUEST_END - 64;
    uc->mc.ip = 0x401000;
    uc->mc.ax = 39;
    uc->mc.bx = 77;
    uc->mc.cs = 0x33;
    uc->mc.ss = 0x2b;
    uc->mc.flags = 0x10646;
    uc->sigmask = 0xabc;
    return uc;
}

static void ask_for_handler(struct deliver d)
{
    struct slot *s = slot_one();
    memcpy(s->p, &d, sizeof d);
    memset(s->siginfo, 0x11, 128);
    s->nouts = 0;
    s->result = -4;
}

static void handler_gets_a_frame_as_linux_builds_it(void)
{
    const uint32_t sizes[] = {512, 576, 836, 2696};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct ucontext *uc = host_frame(sizes[i]), frame;
        uint64_t before_sp = uc->mc.sp;
        ask_for_handler((struct deliver){.signo = 10, .handler = 0x402000, .restorer = 0x403000, .saved_mask = 5});
        CHECK(deliver_signal(slot_one(), uc) == 0);
        CHECK(uc->mc.ip == 0x402000 && uc->mc.di == 10 && uc->mc.ax == 0);
        CHECK(uc->mc.sp % 16 == 8 && uc->mc.sp + 8 == uc->mc.dx && uc->mc.si == uc->mc.dx + sizeof frame);
        CHECK(!(uc->mc.flags & 0x500));
        memcpy(&frame, (void *)uc->mc.dx, sizeof frame);
        CHECK(frame.sigmask == 5 && frame.mc.ip == 0x401000 && frame.mc.sp == before_sp && frame.mc.ax == 39);
        CHECK(frame.mc.fpstate % 64 == 0 && frame.mc.fpstate >= uc->mc.si + 128);
        CHECK(frame.mc.fpstate + sizes[i] <= before_sp - 128); /* the red zone */
        CHECK(*(uint8_t *)(frame.mc.fpstate + sizes[i] - 1) == 0x5a);
        CHECK(*(uint64_t *)uc->mc.sp == 0x403000 && *(uint8_t *)uc->mc.si == 0x11);
        CHECK(uc->sigmask == 0xabc); /* the host's mask is never the guest's */
        free((void *)uc->mc.fpstate);
        free(uc);
    }
}

static void handler_after_a_call_sees_its_result_or_runs_it_again(void)
{
    struct ucontext *uc = host_frame(576), frame;

    ask_for_handler((struct deliver){.handler = 1, .in_syscall = 1, .report = 1});
    CHECK(deliver_signal(slot_one(), uc) == KIND_INTERRUPTED);
    memcpy(&frame, (void *)uc->mc.dx, sizeof frame);
    CHECK((long)frame.mc.ax == -4 && frame.mc.ip == 0x401000);
    ask_for_handler((struct deliver){.handler = 1, .in_syscall = 2});
    uc->mc.ax = 39;
    uc->mc.ip = 0x401002;
    CHECK(deliver_signal(slot_one(), uc) == 0);
    memcpy(&frame, (void *)uc->mc.dx, sizeof frame);
    CHECK(frame.mc.ax == 39 && frame.mc.ip == 0x401000);
}

static void frame_that_does_not_fit_changes_nothing(void)
{
    const uint64_t stacks[] = {0, 64, GUEST, GUEST + 512, GUEST_END + 4096, ~0UL, 1UL << 63};

    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        struct ucontext *uc = host_frame(2696), was;
        uc->mc.sp = stacks[i];
        was = *uc;
        ask_for_handler((struct deliver){.handler = 1});
        CHECK(deliver_signal(slot_one(), uc) == KIND_FRAME_FAULT);
        CHECK(!memcmp(&was, uc, sizeof was));
    }
}

static void handler_on_the_alternate_stack(void)
{
    struct ucontext *uc = host_frame(576);
    struct deliver d = {.handler = 1, .use_stack = 1, .stack_sp = GUEST, .stack_size = 0x1000};

    ask_for_handler(d);
    CHECK(deliver_signal(slot_one(), uc) == 0);
    CHECK(uc->mc.sp > GUEST && uc->mc.sp < GUEST + 0x1000);
    uint64_t first = uc->mc.sp;
    CHECK(deliver_signal(slot_one(), uc) == 0); /* on it already: further down */
    CHECK(uc->mc.sp < first - 576 - sizeof(struct ucontext) && uc->mc.sp > GUEST);
}

/* arch/x86/kernel/signal.c, get_sigframe: SIGSEGV instead of writing below the alternate stack. */
static void frame_larger_than_the_alternate_stack_is_a_fault(void)
{
    struct ucontext *uc = host_frame(2696), was = *uc;
    struct deliver d = {.handler = 1, .use_stack = 1, .stack_sp = GUEST + 0x1000, .stack_size = 2048};

    ask_for_handler(d);
    CHECK(deliver_signal(slot_one(), uc) == KIND_FRAME_FAULT);
    CHECK(!memcmp(&was, uc, sizeof was) && *guest(0xff8) == 0);
    d.stack_size = 0x1000;
    ask_for_handler(d);
    CHECK(deliver_signal(slot_one(), uc) == 0);
    CHECK(deliver_signal(slot_one(), uc) == KIND_FRAME_FAULT); /* a second one does not fit */
    d.use_stack = 0; /* without SA_ONSTACK, but standing on it */
    ask_for_handler(d);
    CHECK(deliver_signal(slot_one(), uc) == KIND_FRAME_FAULT);
}

static void frame_comes_back_as_it_was(void)
{
    struct ucontext *uc = host_frame(836), was = *uc;
    uint8_t *fp = (uint8_t *)uc->mc.fpstate, image[836];

    memset(fp + 24, 0, 4);
    memset(fp + 512, 0, 64);
    fp[512] = 7;
    memcpy(image, fp, sizeof image);
    ask_for_handler((struct deliver){.handler = 0x402000});
    CHECK(deliver_signal(slot_one(), uc) == 0);
    CHECK(memcmp(image, fp, sizeof image));
    uc->mc.sp += 8; /* the handler's ret took the restorer's address */
    CHECK(restore_frame(uc) == 0);
    was.mc.oldmask = uc->mc.oldmask;
    CHECK(!memcmp(&was.mc, &uc->mc, sizeof was.mc));
    CHECK(!memcmp(image, fp, sizeof image));
}

static void hostile_frame_gets_no_privileges(void)
{
    struct ucontext *uc = host_frame(836), *frame = (struct ucontext *)guest(0);
    uint8_t *from = guest(1024), *fp = (uint8_t *)uc->mc.fpstate;
    uint32_t magic = FP_XSTATE_MAGIC1, size = ~0U, mxcsr;
    uint64_t features;

    memset(guest(0), 0xff, GUEST_END - GUEST);
    memcpy(from + 464, &magic, 4);
    memcpy(from + 468, &size, 4);
    frame->mc.fpstate = (uint64_t)from;
    uc->mc.sp = GUEST;
    CHECK(restore_frame(uc) == 0);
    CHECK(uc->mc.cs == 0x33 && uc->mc.ss == 0x2b && uc->mc.fpstate == (uint64_t)fp);
    CHECK((uc->mc.flags & ~0x50dd5UL) == (0x10646 & ~0x50dd5UL)); /* IF, IOPL, VM, ... */
    memcpy(&mxcsr, fp + 24, 4);
    memcpy(&features, fp + 512, 8);
    CHECK(mxcsr == 0xffff && features == 7);
    memcpy(&size, fp + 468, 4);
    CHECK(size == 836 && fp[835] == 0x5a && fp[520] == 0);
}

static void frame_that_cannot_be_read(void)
{
    struct ucontext *uc = host_frame(2696);
    const uint64_t images[] = {8, GUEST_END, GUEST_END - 460, GUEST_END - 511, ~0UL, ~0UL - 463, 1UL << 63};

    uc->mc.sp = GUEST_END - sizeof *uc + 1;
    CHECK(restore_frame(uc) == -14);
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        memset(guest(0), 0, GUEST_END - GUEST);
        ((struct ucontext *)guest(0))->mc.fpstate = images[i];
        uc->mc.sp = GUEST;
        CHECK(restore_frame(uc) == -14);
    }
}

/* A host futex wait that was broken off would run again; any other call that is yet to be made must be made. */
static void only_a_futex_wait_is_interrupted(void)
{
    for (uint64_t operation = 0; operation < 16; operation++) {
        struct ucontext *uc = host_frame(512), frame;
        memcpy(guest(0), "\x0f\x05", 2);
        uc->mc.ip = GUEST;
        uc->mc.ax = SYS_futex;
        uc->mc.si = operation | 0x180; /* PRIVATE, CLOCK_REALTIME */
        ask_for_handler((struct deliver){.handler = 1});
        CHECK(deliver_signal(slot_one(), uc) == 0);
        memcpy(&frame, (void *)uc->mc.dx, sizeof frame);
        int wait = operation == 0 || operation == 9; /* FUTEX_WAIT, FUTEX_WAIT_BITSET */
        CHECK(frame.mc.ip == GUEST + (wait ? 2 : 0));
        CHECK(frame.mc.ax == (wait ? (uint64_t)-4 : SYS_futex));
        free((void *)uc->mc.fpstate);
        free(uc);
    }
}

static void new_thread_starts_from_a_copy_of_the_frame(void)
{
    struct ucontext *uc = (struct ucontext *)(STACKS_BASE + 2 * STACK_SIZE - 4096);
    struct ucontext *from = host_frame(836);

    *uc = *from;
    uc->mc.fpstate = (uint64_t)uc + 1024;
    memcpy((void *)uc->mc.fpstate, (void *)from->mc.fpstate, 836);
    struct ucontext *copy = (struct ucontext *)frame_for_child(uc, 1, 2, GUEST);
    CHECK((uint64_t)copy == (uint64_t)uc + STACK_SIZE && copy->mc.fpstate == uc->mc.fpstate + STACK_SIZE);
    CHECK(copy->mc.sp == GUEST && copy->mc.ax == 0 && copy->mc.ip == uc->mc.ip && copy->mc.bx == 77);
    CHECK(copy->stack.sp == STACKS_BASE + 2 * STACK_SIZE && copy->stack.size == SIGNAL_STACK_SIZE);
    CHECK(!memcmp((void *)copy->mc.fpstate, (void *)uc->mc.fpstate, 836));
    CHECK(((struct ucontext *)frame_for_child(uc, 1, 2, 0))->mc.sp == uc->mc.sp); /* vfork stays where it is */
}
