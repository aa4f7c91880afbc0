/* What an answer does in the guest, and calls that need none (native/stub/answered.c): a part of trap_cases.c. */

/* -- answers -------------------------------------------------------------------------------------------- */

static uint64_t put_out(uint64_t at, uint64_t address, uint64_t length, const char *bytes)
{
    struct out out = {address, length};
    memcpy(slot_one()->data + at, &out, 16);
    if (bytes)
        memcpy(slot_one()->data + at + 16, bytes, length);
    return at + 16 + ((length + 7) & ~7UL);
}

static void outs_reach_guest_memory(void)
{
    struct slot *s = slot_one();
    struct sigcontext mc = {0};
    uint64_t at = put_out(0, GUEST + 1, 5, "hello");

    at = put_out(at, GUEST_END - 8, 8, "12345678");
    put_out(at, 0, 0, "");
    s->nouts = 3;
    s->result = 42;
    set_result(s, &mc);
    CHECK(mc.ax == 42);
    CHECK(!memcmp(guest(0), "\0hello\0", 7) && !memcmp((void *)(GUEST_END - 8), "12345678", 8));
}

static void outs_that_fault_are_efault(void)
{
    struct slot *s = slot_one();
    struct sigcontext mc = {0};
    uint64_t bad[] = {0, GUEST_END, GUEST_END - 2, ~0UL, 1UL << 63, CHANNEL_BASE + 2 * SLOT_SIZE};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        s->nouts = 2;
        s->result = 42;
        put_out(put_out(0, GUEST, 1, "x"), bad[i], 3, "abc");
        set_result(s, &mc);
        CHECK((long)mc.ax == -14);
    }
}

static void outs_of_zeros_need_no_bytes(void)
{
    struct slot *s = slot_one();
    struct sigcontext mc = {0};

    memset(guest(0), 'x', GUEST_END - GUEST);
    s->nouts = 2;
    s->result = 42;
    memcpy(s->data, &(struct out){GUEST + 1, 4000 | OUT_ZEROS}, 16);
    put_out(16, GUEST + 2, 1, "y");
    set_result(s, &mc);
    CHECK(mc.ax == 42);
    CHECK(*guest(0) == 'x' && *guest(1) == 0 && *guest(2) == 'y' && *guest(4000) == 0 && *guest(4001) == 'x');

    s->nouts = 1;
    memcpy(s->data, &(struct out){GUEST_END - 8, 9 | OUT_ZEROS}, 16);
    set_result(s, &mc);
    CHECK((long)mc.ax == -14);
}

static void a_small_out_comes_first(void)
{
    struct slot *s = slot_one();
    struct sigcontext mc = {0};

    s->small = 1;
    s->result = 42;
    memcpy(s->small_out, &(struct out){GUEST, 16}, 16);
    memcpy(s->small_out + 16, "0123456789abcdef", 16);
    set_result(s, &mc);
    CHECK(mc.ax == 42 && !memcmp(guest(0), "0123456789abcdef", 16) && !*guest(16));
    s->nouts = 1;
    put_out(0, GUEST + 1, 2, "xy");
    set_result(s, &mc);
    CHECK(mc.ax == 42 && !memcmp(guest(0), "0xy34", 5));
    for (uint64_t length = 17; length; length <<= 1) {
        memcpy(s->small_out, &(struct out){GUEST, length & ~(OUT_ZEROS | OUT_CONTENTS)}, 16);
        set_result(s, &mc);
        CHECK((long)mc.ax == -14 || !(length & ~(OUT_ZEROS | OUT_CONTENTS)));
    }
    memcpy(s->small_out, &(struct out){GUEST_END, 1}, 16);
    set_result(s, &mc);
    CHECK((long)mc.ax == -14);
}

static void contents_that_end_half_way_are_a_short_count(void)
{
    struct slot *s = slot_one();
    struct sigcontext mc = {0};
    struct { uint64_t at, length; long wanted; } tries[] = {
        {GUEST_END - 7, 7 | OUT_CONTENTS, 42}, {GUEST_END - 7, 8 | OUT_CONTENTS, 12}, {GUEST_END, 8 | OUT_CONTENTS, 5},
        {GUEST_END - 7, 8, -14}, {GUEST_END - 5000, 9000 | OUT_CONTENTS | OUT_ZEROS, 5005}, {8, 1 | OUT_CONTENTS, 5},
    };

    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        s->nouts = 2;
        s->result = 42;
        uint64_t at = put_out(0, GUEST, 5, "first");
        memcpy(s->data, &(struct out){GUEST, 5 | OUT_CONTENTS}, 16);
        memcpy(s->data + at, &(struct out){tries[i].at, tries[i].length}, 16);
        set_result(s, &mc);
        CHECK((long)mc.ax == tries[i].wanted);
    }
    s->nouts = 1;
    memcpy(s->data, &(struct out){GUEST_END, 5 | OUT_CONTENTS}, 16);
    set_result(s, &mc);
    CHECK((long)mc.ax == -14);
}

/* The channel is the guest's to write, so the stub may meet any list. */
static void outs_of_nonsense_stay_inside_the_slot(void)
{
    struct slot *s = slot_one();
    uint64_t lengths[] = {~0UL >> 2, ~6UL >> 2, 1UL << 61, DATA_SIZE, DATA_SIZE - 15, DATA_SIZE - 16, DATA_SIZE - 31, 0, 8};

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        s->nouts = ~0U;
        memset(s->data, 0, DATA_SIZE);
        put_out(0, CHANNEL_BASE + SLOT_SIZE + 512, lengths[i], NULL);
        long failed = copy_outs(s);
        CHECK(!failed || failed == -14);
        CHECK(failed || lengths[i] <= DATA_SIZE - 16);
    }
}

/* -- calls answered in the stub ------------------------------------------------------------------------- */

static void brk_moves_by_pages(void)
{
    brk_start = brk_now = GUEST + 0x10;
    CHECK(stub_brk(0) == (long)(GUEST + 0x10) && stub_brk(GUEST_TOP) == (long)(GUEST + 0x10));
    CHECK(stub_brk(GUEST + 0xf) == (long)(GUEST + 0x10) && stub_brk(~0UL) == (long)(GUEST + 0x10));
    CHECK(ncalls == 0);
    CHECK(stub_brk(GUEST + 0x1000) == (long)(GUEST + 0x1000) && ncalls == 0);
    answers[0] = (long)(GUEST + 0x1000);
    CHECK(stub_brk(GUEST + 0x1001) == (long)(GUEST + 0x1001));
    CHECK(ncalls == 1 && calls[0].nr == SYS_mmap && calls[0].args[1] == 0x1000);
    answers[1] = -12; /* ENOMEM */
    CHECK(stub_brk(GUEST_TOP - 1) == (long)(GUEST + 0x1001));
    CHECK(stub_brk(GUEST + 0x20) == (long)(GUEST + 0x20));
    CHECK(calls[2].nr == SYS_munmap && calls[2].args[0] == (long)(GUEST + 0x1000) && calls[2].args[1] == 0x1000);
}

static long wake_op(uint32_t code, uint32_t was, uint32_t *now)
{
    uint32_t *second = (uint32_t *)guest(16);
    uint64_t args[6] = {GUEST, 5 | 0x80, 1, 7, (uint64_t)second, code};
    *second = was;
    ncalls = 0;
    long result = stub_futex(args);
    *now = *second;
    return result;
}

static uint32_t code_of(uint32_t operation, uint32_t comparison, uint32_t operand, uint32_t other)
{
    return operation << 28 | comparison << 24 | (operand & 0xfff) << 12 | (other & 0xfff);
}

static void futex_wake_op_computes_as_linux(void)
{
    uint32_t now;

    answers[0] = 1;
    answers[1] = 2;
    CHECK(wake_op(code_of(0, 0, 9, 5), 5, &now) == 3 && now == 9 && ncalls == 2 && calls[1].args[2] == 7);
    CHECK(wake_op(code_of(0, 0, 9, 6), 5, &now) == 1 && now == 9 && ncalls == 1);
    CHECK(wake_op(code_of(1, 1, (uint32_t)-2, 5), 5, &now) == 1 && now == 3);
    CHECK(wake_op(code_of(1, 4, 1, (uint32_t)-1), 0x7fffffff, &now) == 3 && now == 0x80000000U);
    CHECK(wake_op(code_of(2, 2, 3, 5), 4, &now) == 3 && now == 7);
    CHECK(wake_op(code_of(3, 3, 3, 7), 7, &now) == 3 && now == 4);
    CHECK(wake_op(code_of(4, 5, 3, 7), 1, &now) == 1 && now == 2);
    CHECK(wake_op(code_of(8, 0, 31, 0), 0, &now) == 3 && now == 0x80000000U);
    CHECK(wake_op(code_of(8, 0, 0xfff, 0), 0, &now) == 3 && now == 0x80000000U);
    CHECK(wake_op(code_of(5, 0, 1, 0), 0, &now) == -38 && now == 0 && ncalls == 0);
    CHECK(wake_op(code_of(0, 6, 1, 0), 0, &now) == -38 && now == 1 && ncalls == 0);
    uint64_t nowhere[6] = {GUEST, 5, 1, 1, GUEST_END, 0};
    CHECK(stub_futex(nowhere) == -14);
}

static void futex_requeue_wakes(void)
{
    uint64_t args[6] = {GUEST, 4, 1, 1, GUEST + 8, 3};

    *(uint32_t *)guest(0) = 4;
    CHECK(stub_futex(args) == -11 && ncalls == 0);
    args[5] = 4;
    answers[0] = 2;
    CHECK(stub_futex(args) == 2 && calls[0].args[1] == FUTEX_WAKE_ && calls[0].args[2] == 0x7fffffff);
    args[0] = GUEST_END;
    CHECK(stub_futex(args) == -14);
    for (uint64_t operation = 11; operation < 128; operation++) {
        args[1] = operation;
        CHECK(stub_futex(args) == -38);
    }
}

static void arch_prctl_refuses_bad_bases(void)
{
    uint64_t base = 0;

    CHECK(stub_arch_prctl(0x1002, 1UL << 47) == -1 && stub_arch_prctl(0x1001, ~0UL) == -1);
    CHECK(stub_arch_prctl(0x1003, GUEST_END) == -14 && stub_arch_prctl(0x1004, GUEST_END - 4) == -14);
    CHECK(stub_arch_prctl(0x1003, GUEST_END - 8) == 0);
    __asm__("rdfsbase %0" : "=r"(base));
    CHECK(!memcmp((void *)(GUEST_END - 8), &base, 8));
    CHECK(stub_arch_prctl(0, 0) == -22);
}
