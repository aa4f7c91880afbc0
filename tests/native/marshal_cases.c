/* What a call takes along to the Sentry (native/stub/marshal.c): a part of trap_cases.c. */

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

/* What stands behind the path: the head, and the strings at `strings`. */
static struct exec_strings exec_strings_of(uint64_t argv, uint64_t envp, const uint8_t **strings)
{
    struct exec_strings head;
    uint64_t args[6] = {GUEST, argv, envp};
    int64_t n;
    uint32_t at = 0;

    *row(SYS_execve) = 1;
    memcpy(guest(0), "/bin/x", 7);
    uint32_t used = marshal_call(slot_one(), SYS_execve, args);
    CHECK(!memcmp(record(&at, &n), "/bin/x", 6) && n == 6);
    memcpy(&head, slot_one()->data + at, sizeof head);
    CHECK(used == at + sizeof head + (head.size > 0 ? (uint32_t)head.size : 0) && used <= DATA_SIZE);
    *strings = slot_one()->data + at + sizeof head;
    return head;
}

static void marshal_of_the_strings_of_an_exec(void)
{
    uint64_t argv[] = {GUEST + 64, GUEST + 68, 0}, envp[] = {GUEST + 72, 0}, bad[] = {GUEST + 64, 8, 0};
    const uint8_t *strings;
    struct exec_strings head;

    memcpy(guest(64), "one\0two\0A=b", 12);
    memcpy(guest(128), argv, sizeof argv);
    memcpy(guest(192), envp, sizeof envp);
    head = exec_strings_of(GUEST + 128, GUEST + 192, &strings);
    CHECK(head.size == 12 && head.counts[0] == 2 && head.counts[1] == 1);
    CHECK(!memcmp(strings, "one\0two\0A=b", 12));
    head = exec_strings_of(0, 0, &strings);
    CHECK(head.size == 0 && !head.counts[0] && !head.counts[1]);
    head = exec_strings_of(GUEST + 136, 0, &strings);
    CHECK(head.size == 4 && head.counts[0] == 1 && !memcmp(strings, "two", 4));
    memcpy(guest(256), bad, sizeof bad);
    CHECK(exec_strings_of(GUEST + 256, 0, &strings).size < 0);
    CHECK(exec_strings_of(8, GUEST + 192, &strings).size < 0);
    CHECK(exec_strings_of(GUEST + 128, ~0UL, &strings).size < 0);
    CHECK(exec_strings_of(1UL << 63, 0, &strings).size < 0);
    memcpy((void *)(GUEST_END - 8), argv, 8);
    CHECK(exec_strings_of(GUEST_END - 8, 0, &strings).size < 0); /* no NULL before the end */
    memset(guest(300), 'x', 3000);
    *guest(3300) = 0;
    uint64_t large[] = {GUEST + 300, GUEST + 300, GUEST + 300, 0};
    memcpy(guest(128), large, sizeof large);
    CHECK(exec_strings_of(GUEST + 128, 0, &strings).size < 0);
    CHECK(exec_strings_of(GUEST + 136, 0, &strings).size == 6002);
}
