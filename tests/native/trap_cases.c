/* The stub's part in a conversation under the sanitizers; test_stub.py runs each case in a process of its own. */
#include "hosted.h"

#include "handoff.c"
#include "marshal.c"
#include "answered.c"
#include "frames.c"
#include "granted.c"
#include "children.c"
#include "exec.c"
#include "trap.c"

static uint8_t *guest(uint64_t offset)
{
    return (uint8_t *)(GUEST + offset);
}

/* -- marshalling ---------------------------------------------------------------------------------------- */

static uint8_t *row(uint64_t nr)
{
    return (uint8_t *)(SHARED_BASE + 0x2000 + nr * 8);
}

/* The next record of the request's data; answers where its bytes are. */
static const uint8_t *record(uint32_t *at, int64_t *n)
{
    const uint8_t *data = slot_one()->data + *at + 8;
    memcpy(n, data - 8, 8);
    *at += 8 + (*n > 0 ? ((uint32_t)*n + 7) & ~7U : 0);
    return data;
}

static void marshal_sends_what_the_table_says(void)
{
    uint32_t at = 0;
    int64_t n;

    memcpy(row(5), (uint8_t[]){1, 2, 0, 0x40 | 16, 0x80 | 4, 0}, 6);
    memcpy(guest(0), "a path", 7);
    memcpy(guest(64), "buffer, structures and more bytes", 33);
    uint64_t args[6] = {GUEST, GUEST + 64, 6, GUEST + 72, GUEST + 64, 0};
    uint32_t used = marshal(slot_one(), 5, args);

    CHECK(!memcmp(record(&at, &n), "a path", 6) && n == 6);
    CHECK(!memcmp(record(&at, &n), "buffer", 6) && n == 6);
    CHECK(!memcmp(record(&at, &n), "structures and m", 16) && n == 16);
    CHECK(!memcmp(record(&at, &n), "buffer, structures and more byte", 32) && n == 32);
    CHECK(at == used);
}

static void marshal_says_what_it_could_not_read(void)
{
    static const struct { uint8_t kind; uint64_t value, next; int64_t wanted; } tries[] = {
        {1, 0, 0, -1},
        {1, 8, 0, -14},
        {1, GUEST_END - 3, 0, -14}, /* ends with its page */
        {1, ~0UL, 0, -14},
        {1, 1UL << 63, 0, -14}, /* no canonical address */
        {2, 0, 0, 0},
        {2, 0, 1, -14},
        {2, GUEST_END - 3, 3, 3},
        {2, GUEST_END - 3, 4, -14},
        {2, GUEST, ~0UL, -2},
        {2, GUEST, 1UL << 63, -2},
        {0x48, 0, 0, -1},
        {0x48, GUEST_END - 7, 0, -14},
        {0x48, GUEST_END - 8, 0, 8},
        {0x80 | 0x6f, GUEST, 0, 0x6f * 8},
    };

    memset(guest(0), 'x', GUEST_END - GUEST);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        uint64_t args[6] = {tries[i].value, tries[i].next};
        uint32_t at = 0;
        int64_t n;
        *row(7) = tries[i].kind;
        uint32_t used = marshal(slot_one(), 7, args);
        record(&at, &n);
        CHECK(n == tries[i].wanted);
        CHECK(at == used);
    }
}

/* Contents: few are a record, many stand behind all of them, too many or bad ones nowhere. */
static void marshal_puts_contents_behind_the_records(void)
{
    static const struct { uint64_t value, size; int64_t wanted; } tries[] = {
        {GUEST, 0, 0}, {GUEST, 256, 256}, {GUEST, 257, -3}, {GUEST, 4096, -3},
        {GUEST_END - 257, 258, -14}, {0, 257, -14}, {GUEST, BULK_MAX + 1, -2}, {GUEST, ~0UL, -2},
    };

    memset(guest(0), 'c', GUEST_END - GUEST);
    memcpy(row(11), (uint8_t[]){0, 3, 0, 0, 2, 0}, 6);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        uint64_t args[6] = {1, tries[i].value, tries[i].size, 0, GUEST + 8, 3};
        uint32_t at = 0;
        int64_t n, m;
        memset(slot_one()->data, 0, DATA_SIZE);
        uint32_t used = marshal(slot_one(), 11, args);
        record(&at, &n);
        CHECK(n == tries[i].wanted);
        CHECK(!memcmp(record(&at, &m), "ccc", 3) && m == 3);
        CHECK(at == used);
        const uint8_t *behind = slot_one()->data + used;
        CHECK(n != -3 || (behind[0] == 'c' && behind[tries[i].size - 1] == 'c' && !behind[tries[i].size]));
    }
}

/* A few bytes of a short call: in the place of arguments that it has not got. */
static void marshal_puts_few_bytes_among_the_arguments(void)
{
    static const struct { uint64_t value, size; int64_t wanted; uint32_t used; } tries[] = {
        {GUEST, 0, 0, 8}, {0, 0, 0, 8}, {GUEST, 1, 1, 16}, {GUEST + 1, 8, 8, 16}, {GUEST, 16, 16, 24},
        {GUEST_END - 1, 2, -14, 8}, {0, 1, -14, 8}, {~0UL, 16, -14, 8},
    };
    struct slot *s = slot_one();

    memcpy(guest(0), "0123456789abcdef", 16);
    memcpy(row(13), (uint8_t[]){0, 3, 0, 0, 0, 0, SHORT_CALL}, 7);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        uint64_t args[6] = {1, tries[i].value, tries[i].size, ~0UL, ~0UL, ~0UL};
        memcpy(s->args, args, sizeof args);
        CHECK(marshal(s, 13, args) == (DATA_IN_ARGS | tries[i].used));
        CHECK((int64_t)s->args[3] == tries[i].wanted);
        CHECK(tries[i].wanted <= 0 || !memcmp(&s->args[4], (void *)tries[i].value, tries[i].size));
    }
    uint64_t args[6] = {1, GUEST, 17};
    CHECK(marshal(s, 13, args) == 8 + 24);
}

static void marshal_joins_what_an_iovec_points_to(void)
{
    static const struct { uint64_t parts[4]; uint64_t count; int64_t wanted, status; } tries[] = {
        {{GUEST + 100, 3, GUEST + 200, 2}, 2, 40, -3},
        {{GUEST + 100, 5, 8, 0}, 2, 40, -3},
        {{GUEST + 100, 5}, 1, 24, -3},
        {{GUEST + 100, 5, 8, 1}, 2, 40, -14},
        {{GUEST + 100, 5, GUEST, ~0UL}, 2, 40, -2},
        {{GUEST + 100, ~0UL - 3, GUEST, 4}, 2, 40, -2},
        {{GUEST + 100, 1, GUEST, BULK_MAX}, 2, 40, -2},
        {{0}, 0, -2, 0}, {{0}, IOVEC_MAX + 1, -2, 0}, {{0}, ~0UL, -2, 0}, {{0}, 1UL << 60, -2, 0},
    };

    memcpy(row(12), (uint8_t[]){0, 5, 0, 0x48, 0, 0, 0}, 7);
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        uint64_t args[6] = {1, GUEST, tries[i].count, GUEST + 8};
        uint32_t at = 0;
        int64_t n, m, status;
        memset(guest(0), 0, GUEST_END - GUEST);
        memcpy(guest(0), tries[i].parts, sizeof tries[i].parts);
        memcpy(guest(100), "abcde", 5);
        memcpy(guest(200), "de", 2);
        uint32_t used = marshal(slot_one(), 12, args);
        const uint8_t *array = record(&at, &n);
        CHECK(n == tries[i].wanted);
        record(&at, &m);
        CHECK(m == 8 && at == used);
        if (n < 0)
            continue;
        memcpy(&status, array + n - 8, 8);
        CHECK(status == tries[i].status && !memcmp(array, tries[i].parts, (size_t)n - 8));
        CHECK(status != -3 || !memcmp(slot_one()->data + used, "abcde", 5));
    }

    uint64_t args[6] = {GUEST_END - 16, 1};
    int64_t n;
    uint32_t at = 0;
    *row(13) = 4;
    CHECK(marshal(slot_one(), 13, args) == 24);
    record(&at, &n);
    CHECK(n == 16);
    args[1] = 2;
    at = 0;
    CHECK(marshal(slot_one(), 13, args) == 8);
    record(&at, &n);
    CHECK(n == -14);
}

static void marshal_ends_strings_at_4096(void)
{
    uint64_t args[6] = {GUEST};
    int64_t n;
    uint32_t at = 0;

    *row(7) = 1;
    memset(guest(0), 'x', GUEST_END - GUEST);
    CHECK(marshal(slot_one(), 7, args) == 8);
    record(&at, &n);
    CHECK(n == -36);
    *guest(4095) = 0;
    CHECK(marshal(slot_one(), 7, args) == 8 + 4096);
    at = 0;
    record(&at, &n);
    CHECK(n == 4095);
}

/* The slot ends with the data: a byte more would be a fault, and that an EFAULT instead of what is checked here. */
static void marshal_fills_the_slot_and_no_more(void)
{
    uint8_t *large = malloc(DATA_SIZE);
    int64_t n;
    uint32_t at = 0;

    memset(large, 'l', DATA_SIZE);
    memcpy(row(9), (uint8_t[]){2, 0, 2, 0, 1, 0}, 6);
    uint64_t args[6] = {(uint64_t)large, DATA_SIZE - 8, (uint64_t)large, 8, GUEST, 0};
    CHECK(marshal(slot_one(), 9, args) == DATA_SIZE);
    record(&at, &n);
    CHECK(n == DATA_SIZE - 8);

    args[1] = DATA_SIZE - 7;
    at = 0;
    CHECK(marshal(slot_one(), 9, args) == 8 + 16 + 8);
    record(&at, &n);
    CHECK(n == -2);
    record(&at, &n);
    CHECK(n == 8);
    record(&at, &n);
    CHECK(n == 0);

    args[1] = DATA_SIZE - 32; /* leaves 24: the string gets 16 of them */
    args[3] = 1 << 20;
    memset(guest(0), 's', 4096);
    at = 0;
    CHECK(marshal(slot_one(), 9, args) <= DATA_SIZE);
    free(large);
}

/* Any row, any argument: the records are whole and inside the slot. */
static void marshal_of_anything(void)
{
    const uint64_t values[] = {0, 1, 8, 4096, DATA_SIZE - 8, DATA_SIZE, ~0UL, 1UL << 63, GUEST, GUEST + 4093,
                               GUEST_END - 1, GUEST_END, GUEST_TOP, CHANNEL_BASE + SLOT_SIZE + 1000};
    const uint8_t kinds[] = {0, 1, 2, 0x41, 0x7f, 0x81, 0xef, 0xff, 0x40, 0x80, 3};

    srandom(1);
    for (int turn = 0; turn < 20000; turn++) {
        uint64_t args[6];
        for (int i = 0; i < 6; i++) {
            args[i] = values[(size_t)random() % (sizeof values / sizeof *values)];
            row(0)[i] = kinds[(size_t)random() % sizeof kinds];
        }
        uint32_t used = marshal(slot_one(), 0, args), at = 0;
        CHECK(used <= DATA_SIZE);
        for (int i = 0; i < 6; i++) {
            int64_t n;
            if (row(0)[i] && at < used)
                record(&at, &n);
        }
        CHECK(args[0] > GUEST_TOP || args[1] > GUEST_TOP || at <= DATA_SIZE);
    }
}

static void marshal_of_numbers_beyond_the_table(void)
{
    uint64_t args[6] = {0};

    for (uint64_t nr = 512; nr; nr *= 2)
        CHECK(marshal(slot_one(), nr, args) == 0);
    CHECK(marshal(slot_one(), ~0UL, args) == 0);
    CHECK(marshal(slot_one(), 511, args) == 0);
}

static void marshal_of_a_signal_frame(void)
{
    int64_t n;
    uint32_t at = 0;

    CHECK(marshal_sigreturn(slot_one(), GUEST_END - 304) == 8 + 304);
    record(&at, &n);
    CHECK(n == 304);
    at = 0;
    CHECK(marshal_sigreturn(slot_one(), GUEST_END - 303) == 8 + 304);
    record(&at, &n);
    CHECK(n == -14);
}

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

/* -- signal frames -------------------------------------------------------------------------------------- */

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

/* -- the hand-off --------------------------------------------------------------------------------------- */

static struct reply {
    uint32_t action;
    int64_t result;
    uint64_t p[12];
} replies[8];
static int nreplies;

/* The Sentry's part, played while the stub sleeps. */
static void sentry(const struct host_call *call)
{
    struct slot *s = slot_one();
    if (call->nr != SYS_futex || (uint32_t *)call->args[0] != &s->rep_seq)
        return;
    CHECK(s->sleeping == 1 && call->args[1] == FUTEX_WAIT_);
    struct reply *r = &replies[nreplies++];
    s->action = r->action;
    s->result = r->result;
    memcpy(s->p, r->p, sizeof s->p);
    s->rep_seq = s->req_seq;
}

static void announcement_sets_bits_and_rings_a_sleeper(void)
{
    struct space_header *header = (struct space_header *)CHANNEL_BASE;
    struct shared_page *shared = (struct shared_page *)SHARED_BASE;
    struct ready_page *ready = (struct ready_page *)(SHARED_BASE + 0x1000);

    header->index = 0xfffff041; /* the guest's to write: anything stays inside the ready map */
    announce(4095);
    CHECK(header->summary == 1UL << 63 && header->words[63] == 1UL << 63);
    CHECK(ready->groups[1] == 2 && ready->summary == 2 && ncalls == 0);
    shared->sentry_sleeping = 1;
    announce(1);
    CHECK(ncalls == 1 && calls[0].nr == SYS_write && calls[0].args[0] == DOORBELL_FD && calls[0].args[2] == 8);
}

static void conversation_goes_on_until_an_answer_ends_it(void)
{
    struct slot *s = slot_one();
    struct ucontext *uc = host_frame(512);

    on_call = sentry;
    s->watched = 1;
    replies[0] = (struct reply){ACTION_HOSTCALL, 0, {SYS_munmap, 1, 2, 3, 4, 5, 6}};
    replies[1] = (struct reply){ACTION_RETURN, -2, {0}};
    answers[1] = -22; /* of the host call: after the first sleep */
    converse(s, uc, 1, KIND_SYSCALL);
    CHECK((long)uc->mc.ax == -2 && s->req_seq == 2 && s->kind == KIND_HOSTRET && (int64_t)s->args[0] == -22);
    CHECK(calls[1].nr == SYS_munmap && calls[1].args[5] == 6 && s->sleeping == 0);
}

static void descriptor_that_did_not_come_is_not_mapped(void)
{
    const uint64_t p[12] = {GUEST, 4096, 1, 2, 0};

    answers[0] = -11;
    CHECK(map_granted(p) == -11 && ncalls == 1);
    answers[1] = 1; /* a byte, and controllen still says that there is room, but no message came */
    answers[2] = (long)GUEST;
    on_call = NULL;
    CHECK(map_granted(p) == (long)GUEST);
    CHECK(calls[2].nr == SYS_mmap && calls[2].args[4] == 0 && calls[3].nr == SYS_close);
}

static void put_image(const struct image *image, const struct image_map *map, uint64_t address, const char *text)
{
    struct slot *s = slot_one();
    struct image_blob blob = {address, strlen(text)};
    uint8_t *to = s->data;

    memcpy(to, image, sizeof *image);
    memcpy(to += sizeof *image, map, sizeof *map);
    memcpy(to += sizeof *map, &blob, sizeof blob);
    memcpy(to + sizeof blob, text, blob.length);
}

static void exec_leaves_nothing_of_the_old_program(void)
{
    struct slot *s = slot_one();
    struct ucontext *uc = host_frame(1024);
    struct image image = {1, 1, 0x402000, GUEST_END - 256, 0x500000, {0x600000, 0}};
    struct image_map map = {GUEST, 4096, 1, 8192, -1};
    uint16_t cwd;

    memset((void *)GUEST, 'x', 4096);
    put_image(&image, &map, GUEST + 8, "arguments");
    patch_threads = 1;
    fs_base = 77;
    answers[9] = (long)GUEST;
    exec_here(s, uc, 1);
    int at = 0;
    uint64_t end = 0; /* of what is unmapped */
    for (; calls[at].nr == SYS_munmap; at++) {
        CHECK((uint64_t)calls[at].args[0] == end && (uint64_t)calls[at].args[1] < TRUSTED_BASE - GUEST_TOP);
        end += (uint64_t)calls[at].args[1];
    }
    CHECK(end == GUEST_TOP && at == 9);
    CHECK(calls[at].nr == SYS_mmap && (uint64_t)calls[at].args[0] == GUEST && calls[at].args[2] == 1);
    CHECK(calls[at].args[3] == 0x4032 && calls[at].args[4] == -1 && calls[at + 1].nr == SYS_close_range);
    CHECK(memcmp((void *)(GUEST + 8), "arguments", 9) == 0);
    CHECK(uc->mc.ip == 0x402000 && uc->mc.sp == GUEST_END - 256 && uc->mc.ax == 0 && uc->mc.bx == 0);
    CHECK(uc->mc.cs == 0x33 && uc->mc.flags == 0x202 && uc->sigmask == 0xabc && fs_base == 0);
    memcpy(&cwd, (uint8_t *)uc->mc.fpstate, 2);
    CHECK(cwd == 0x37f && brk_start == 0x500000 && brk_now == 0x500000);
    CHECK(patch_areas.start[0] == 0x600000 && patch_threads == 0 && s->data[0] == 0);
}

static void ended(const struct host_call *call)
{
    if (call->nr == SYS_exit_group)
        exit(0);
}

/* What cannot be loaded ends the process: the old program is gone by then. */
static void exec_that_fails_is_the_end(void)
{
    struct image image = {1, 1, 0x402000, GUEST_END - 256, 0x500000, {0, 0}};
    struct image_map map = {GUEST, 4096, 1, 0, -1};

    put_image(&image, &map, GUEST, "text");
    on_call = ended;
    answers[9] = -12;
    exec_here(slot_one(), host_frame(512), 1);
    CHECK(!"it went on");
}

static void exit_tells_what_the_sentry_would_look_for(void)
{
    struct slot *s = slot_one();
    uint64_t head[3] = {GUEST, 0, 0}, words[2];

    s->robust_list = GUEST;
    memcpy((void *)GUEST, head, sizeof head);
    CHECK(marshal_call(s, SYS_exit_group, head) == 16 && ncalls == 1 && calls[0].nr == SYS_getrusage);
    memcpy(words, s->data, 16);
    CHECK(words[1] == 1);
    head[2] = GUEST + 64; /* a lock is just being taken */
    memcpy((void *)GUEST, head, sizeof head);
    CHECK(marshal_call(s, SYS_exit, head) == 16 && ncalls == 1);
    memcpy(words, s->data, 16);
    CHECK(words[0] == 0 && words[1] == 0);
    s->robust_list = GUEST_END;
    CHECK(marshal_call(s, SYS_exit, head) == 16);
    memcpy(words, s->data, 16);
    CHECK(words[1] == 0);
}

static void calls_of_other_architectures_are_enosys(void)
{
    struct siginfo si = {.u.sys.arch = 0x40000003};
    struct ucontext *uc = host_frame(512);

    CHECK(trapped_call(slot_one(), &si, uc) == 0 && (long)uc->mc.ax == -38);
    si.u.sys.arch = AUDIT_ARCH_X86_64_;
    uc->mc.ax = 0xdeadbeef00000027UL; /* getpid: the host looks at eax alone */
    uc->mc.r9 = 6;
    CHECK(trapped_call(slot_one(), &si, uc) == 1);
    CHECK(slot_one()->nr == 39 && slot_one()->args[5] == 6 && slot_one()->data_len == 0);
    uc->mc.ax = 12;
    brk_start = brk_now = 4096;
    uc->mc.di = 0;
    CHECK(trapped_call(slot_one(), &si, uc) == 0 && uc->mc.ax == 4096);
}

#define CASE(name) {#name, name},
static const struct hosted_case cases[] = {
    CASE(marshal_sends_what_the_table_says)
    CASE(marshal_says_what_it_could_not_read)
    CASE(marshal_puts_contents_behind_the_records)
    CASE(marshal_puts_few_bytes_among_the_arguments)
    CASE(marshal_joins_what_an_iovec_points_to)
    CASE(marshal_ends_strings_at_4096)
    CASE(marshal_fills_the_slot_and_no_more)
    CASE(marshal_of_anything)
    CASE(marshal_of_numbers_beyond_the_table)
    CASE(marshal_of_a_signal_frame)
    CASE(outs_reach_guest_memory)
    CASE(outs_that_fault_are_efault)
    CASE(outs_of_zeros_need_no_bytes)
    CASE(a_small_out_comes_first)
    CASE(contents_that_end_half_way_are_a_short_count)
    CASE(outs_of_nonsense_stay_inside_the_slot)
    CASE(brk_moves_by_pages)
    CASE(futex_wake_op_computes_as_linux)
    CASE(futex_requeue_wakes)
    CASE(arch_prctl_refuses_bad_bases)
    CASE(handler_gets_a_frame_as_linux_builds_it)
    CASE(handler_after_a_call_sees_its_result_or_runs_it_again)
    CASE(frame_that_does_not_fit_changes_nothing)
    CASE(handler_on_the_alternate_stack)
    CASE(frame_larger_than_the_alternate_stack_is_a_fault)
    CASE(frame_comes_back_as_it_was)
    CASE(hostile_frame_gets_no_privileges)
    CASE(frame_that_cannot_be_read)
    CASE(only_a_futex_wait_is_interrupted)
    CASE(new_thread_starts_from_a_copy_of_the_frame)
    CASE(announcement_sets_bits_and_rings_a_sleeper)
    CASE(conversation_goes_on_until_an_answer_ends_it)
    CASE(descriptor_that_did_not_come_is_not_mapped)
    CASE(exec_leaves_nothing_of_the_old_program)
    CASE(exec_that_fails_is_the_end)
    CASE(exit_tells_what_the_sentry_would_look_for)
    CASE(calls_of_other_architectures_are_enosys)
};

int main(int argc, char **argv)
{
    return argc == 2 ? run_case(cases, sizeof cases / sizeof *cases, argv[1]) : 2;
}
