/* Conversations with the Sentry (native/stub/handoff.c, trap.c, granted.c, exec.c): a part of trap_cases.c. */

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
