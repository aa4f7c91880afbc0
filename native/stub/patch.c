/* Rewrites system call instructions of the guest that trap often into jumps into the stub (design D7).
 *
 * A site's first five bytes become `jmp rel32` to a trampoline of 64 bytes in one of two areas that exec has
 * reserved near the program and near its libraries. Two shapes are known:
 *
 *     mov $nr, %eax; syscall       the mov is replaced, the syscall instruction stays as it is
 *     syscall; INSTRUCTION         both are replaced; the trampoline repeats the instruction (at least three bytes,
 *                                  the same wherever it stands)
 *
 * Whoever stands in the second shape between its two instructions (a thread that waits, a saved signal frame) finds
 * the byte 06 there, which is no instruction: in_patched_site sends it on to the trampoline's copy. Other sites keep
 * trapping, as do sites that can be written to (code made at run time) or that the Sentry does not know as the
 * private text of a file.
 *
 * All of this is the guest's own memory and harms nobody else; what it must not do is break a program that behaves.
 */
#include "stub.h"

enum { TRAMPOLINE = 64, SLOTS_OF_AREA = PATCH_AREA_SIZE / TRAMPOLINE };
enum { PATCH_AFTER = 4, NEVER = 0xffffffff };
enum { TALLIES = 256 };
enum { SIGILL_ = 4, SIGTRAP_ = 5 };
enum { PROT_RX = 5, PROT_RWX = 7 };
enum { SYNC_CORE = 1 << 5, REGISTER_SYNC_CORE = 1 << 6 }; /* membarrier(2): MEMBARRIER_CMD_PRIVATE_EXPEDITED_* */

#define NO_INSTRUCTION 0x06 /* push %es, which 64-bit mode has not */
#define PAGE 4096UL

struct patch_areas patch_areas;
uint32_t patch_threads;

static uint64_t used[2][SLOTS_OF_AREA / 64];
static uint32_t next_plain[2]; /* where to look for a free trampoline that may lie anywhere */
static struct {
    uint64_t ip;
    uint32_t traps;
} tallies[TALLIES];
static uint32_t lock;
static uint64_t site_in_work;

struct site {
    uint64_t start;    /* first of the five bytes */
    uint64_t after;    /* what rip was after the syscall instruction */
    uint8_t moved[8];  /* the instruction that the trampoline repeats */
    uint32_t nmoved;   /* 0: the first shape */
    uint32_t nr;       /* of the first shape */
};

struct trampoline {
    uint8_t code[48];
    uint64_t target;   /* fast_entry */
    uint64_t after;    /* site.after */
};

_Static_assert(sizeof(struct trampoline) == TRAMPOLINE, "trampoline");

/* -- which sites ------------------------------------------------------------------------------- */

/* Length of an instruction that does the same wherever it stands and is at least three bytes long; else 0. */
static uint32_t movable(const uint8_t *code)
{
    int rex = (code[0] & 0xf0) == 0x40;
    const uint8_t *at = code + rex;
    uint32_t start = (uint32_t)rex, length = 0;

    if (at[0] == 0x3d)                                              /* cmp $imm32, %eax */
        length = start + 5;
    else if (at[0] == 0x83 && at[1] >= 0xc0)                        /* add, or, and, sub, xor, cmp $imm8, reg */
        length = start + 3;
    else if ((at[0] == 0x89 || at[0] == 0x8b || at[0] == 0x85 || at[0] == 0x63 || at[0] == 0x31) && at[1] >= 0xc0)
        length = start + 2;                                         /* mov, test, movslq, xor reg, reg */
    else if ((at[0] == 0x89 || at[0] == 0x8b) && (at[1] & 0xc7) == 0x44 && at[2] == 0x24)
        length = start + 4;                                         /* mov to or from disp8(%rsp) */
    return length >= 3 ? length : 0;
}

static int recognise(struct site *site, uint64_t ip, uint32_t nr)
{
    uint8_t before[10], behind[8];
    uint32_t value;

    site->after = ip;
    site->nmoved = 0;
    site->nr = nr;
    if (!copy_bytes(before, (void *)(ip - 10), 10)) {
        memcpy(&value, before + 4, 4); /* ends where the syscall instruction begins */
        int prefixed = (before[2] & 0xf0) == 0x40;
        if (value == nr && before[3] == 0xb8 && !prefixed) {
            site->start = ip - 7;
            return 1;
        }
        if (value == nr && nr < 0x80000000 && before[1] == 0x48 && before[2] == 0xc7 && before[3] == 0xc0) {
            site->start = ip - 9;
            return 1;
        }
    }
    if (copy_bytes(behind, (void *)ip, 8))
        return 0;
    site->nmoved = movable(behind);
    memcpy(site->moved, behind, 8);
    site->start = ip - 2;
    return site->nmoved != 0;
}

/* -- trampolines ------------------------------------------------------------------------------- */

static int take(int area, uint32_t slot)
{
    uint64_t bit = 1UL << (slot & 63);
    if (used[area][slot / 64] & bit)
        return 0;
    used[area][slot / 64] |= bit;
    return 1;
}

static uint64_t plain_trampoline(int area)
{
    while (next_plain[area] < SLOTS_OF_AREA) {
        uint32_t slot = next_plain[area]++;
        if (take(area, slot))
            return patch_areas.start[area] + slot * TRAMPOLINE;
    }
    return 0;
}

/* A trampoline for the second shape: the third byte of the jump to it is NO_INSTRUCTION. */
static uint64_t chosen_trampoline(int area, uint64_t jump_end)
{
    uint64_t base = patch_areas.start[area];
    uint64_t first = (jump_end + (NO_INSTRUCTION << 8) + TRAMPOLINE - 1) & ~(uint64_t)(TRAMPOLINE - 1);

    for (uint64_t offset = (first - base) & 0xffff; offset < PATCH_AREA_SIZE; offset += 0x10000) {
        for (uint64_t at = offset; at < PATCH_AREA_SIZE; at += TRAMPOLINE) {
            if ((base + at - jump_end) >> 8 << 56 != (uint64_t)NO_INSTRUCTION << 56)
                break;
            if (take(area, (uint32_t)(at / TRAMPOLINE)))
                return base + at;
        }
    }
    return 0;
}

static int reaches(uint64_t from, uint64_t to)
{
    int64_t distance = (int64_t)(to - from);
    return distance > -0x7ff00000L && distance < 0x7ff00000L;
}

static uint64_t find_trampoline(const struct site *site)
{
    for (int area = 0; area < 2; area++) {
        uint64_t at = 0;
        if (!patch_areas.start[area] || !reaches(site->start, patch_areas.start[area]))
            continue;
        at = site->nmoved ? chosen_trampoline(area, site->start + 5) : plain_trampoline(area);
        if (at)
            return at;
    }
    return 0;
}

static uint8_t *put(uint8_t *to, const void *bytes, uint32_t count)
{
    memcpy(to, bytes, count);
    return to + count;
}

static uint8_t *put_relative(uint8_t *to, uint64_t here, uint64_t target)
{
    int32_t distance = (int32_t)(target - (here + 4));
    return put(to, &distance, 4);
}

static void write_trampoline(const struct site *site, uint64_t at)
{
    struct trampoline t;
    uint8_t *to = t.code;
    uint32_t lead = site->nmoved ? 0 : 5;
    uint64_t go_on = at + lead + 7 + 6 + 2;

    memset(&t, 0xcc, sizeof t);
    if (lead) {
        *to++ = 0xb8;                                                     /* mov $nr, %eax */
        to = put(to, &site->nr, 4);
    }
    to = put(to, "\x48\x8d\x0d", 3);                                      /* lea go_on(%rip), %rcx */
    to = put_relative(to, at + lead + 3, go_on);
    to = put(to, "\xff\x25", 2);                                          /* jmp *target(%rip) */
    to = put_relative(to, at + lead + 9, at + offsetof(struct trampoline, target));
    to = put(to, "\x0f\x05", 2);                                          /* syscall */
    to = put(to, site->moved, site->nmoved);
    *to++ = 0xe9;                                                         /* jmp back */
    put_relative(to, go_on + site->nmoved + 1, site->after + site->nmoved);
    t.target = (uint64_t)fast_entry;
    t.after = site->after;
    memcpy((void *)at, &t, sizeof t);
}

/* -- writing ----------------------------------------------------------------------------------- */

static int protect(uint64_t from, uint64_t to, long prot)
{
    from &= ~(PAGE - 1);
    to = (to + PAGE - 1) & ~(PAGE - 1);
    return sys3(SYS_mprotect, from, to - from, prot) == 0;
}

/* No other core runs on with instructions that it has read before. */
static int sync_cores(void)
{
    if (!patch_threads)
        return 1;
    if (sys2(SYS_membarrier, SYNC_CORE, 0) == 0)
        return 1;
    return sys2(SYS_membarrier, REGISTER_SYNC_CORE, 0) == 0 && sys2(SYS_membarrier, SYNC_CORE, 0) == 0;
}

/* Threads may be running here: whoever comes while the bytes change hits int3 and tries again. */
static void write_jump(const struct site *site, uint64_t trampoline)
{
    volatile uint8_t *at = (volatile uint8_t *)site->start;
    int32_t distance = (int32_t)(trampoline - (site->start + 5));
    const uint8_t *bytes = (const uint8_t *)&distance;

    __atomic_store_n(&site_in_work, site->start, __ATOMIC_SEQ_CST);
    at[0] = 0xcc;
    if (site->nmoved)
        at[2] = NO_INSTRUCTION;
    sync_cores();
    for (int i = 0; i < 4; i++)
        at[1 + i] = bytes[i];
    sync_cores();
    at[0] = 0xe9;
    sync_cores();
}

/* Text that can be written to is made at run time, and will be made again. */
static int writable(uint64_t address)
{
    uint32_t word, *at = (uint32_t *)(address & ~3UL);
    return !copy_bytes(&word, at, 4) && exchange_word(at, &word, word) >= 0;
}

static void patch(const struct site *site)
{
    if (!sync_cores() || writable(site->start) || writable(site->start + 4))
        return;
    uint64_t at = find_trampoline(site);
    if (!at || !protect(at, at + TRAMPOLINE, PROT_RWX))
        return;
    write_trampoline(site, at);
    protect(at, at + TRAMPOLINE, PROT_RX);
    if (!protect(site->start, site->start + 5, PROT_RWX))
        return;
    write_jump(site, at);
    protect(site->start, site->start + 5, PROT_RX);
}

/* -- from the signal handler --------------------------------------------------------------------- */

void forget_patches(const uint64_t *areas)
{
    memcpy(&patch_areas, areas, sizeof patch_areas);
    memset(used, 0, sizeof used);
    memset(next_plain, 0, sizeof next_plain);
    memset(tallies, 0, sizeof tallies);
    patch_threads = 0;
    fast_vector = fast_begin;
}

void patch_hold(void)
{
    while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

void patch_release(void)
{
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
}

/* A trap came from the syscall instruction that ends at ip: count it, and patch the site when it has cost enough.
   The Sentry says whether this is text; it is asked once. */
void consider_site(struct slot *s, uint64_t ip, uint32_t nr)
{
    const struct shared_page *shared = (const struct shared_page *)SHARED_BASE;
    uint32_t at = (uint32_t)((ip >> 1) ^ (ip >> 12)) % TALLIES;
    struct site site;

    if (!shared->patching || ip >= GUEST_TOP || ip < PAGE)
        return;
    if (tallies[at].ip != ip) {
        tallies[at].ip = ip;
        tallies[at].traps = 0;
    }
    if (tallies[at].traps == NEVER || ++tallies[at].traps < PATCH_AFTER)
        return;
    if (!recognise(&site, ip, nr)) {
        tallies[at].traps = NEVER;
        return;
    }
    if (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
        return; /* another thread is at it: next time */
    tallies[at].traps = NEVER;
    s->args[0] = site.start;
    s->args[1] = ip + sizeof site.moved;
    s->data_len = 0;
    ask(s, index_of(s), KIND_PATCH);
    if (s->action == ACTION_RETURN && s->result == 1)
        patch(&site);
    patch_release();
}

static const struct trampoline *trampoline_at(uint64_t ip)
{
    for (int area = 0; area < 2; area++) {
        uint64_t offset = ip - patch_areas.start[area];
        if (patch_areas.start[area] && offset < PATCH_AREA_SIZE) {
            uint64_t slot = offset / TRAMPOLINE;
            if (used[area][slot / 64] >> (slot & 63) & 1)
                return (const struct trampoline *)(patch_areas.start[area] + slot * TRAMPOLINE);
        }
    }
    return 0;
}

static uint64_t go_on_of(const struct trampoline *t)
{
    return (uint64_t)t + (t->code[0] == 0xb8 ? 20 : 15);
}

/* What rip would be without the patch, for a thread that stands behind a trampoline's syscall instruction (or on it:
   to be run again). */
uint64_t original_ip(uint64_t ip)
{
    const struct trampoline *t = trampoline_at(ip);
    if (t && ip == go_on_of(t))
        return t->after;
    if (t && ip == go_on_of(t) - 2)
        return t->after - 2;
    return ip;
}

/* The trampoline that the five bytes of a site jump to, or none. */
static const struct trampoline *jump_of(uint64_t site, const uint8_t *code)
{
    int32_t distance;

    memcpy(&distance, code + 1, 4);
    uint64_t target = site + 5 + (uint64_t)(int64_t)distance;
    const struct trampoline *t = code[0] == 0xe9 ? trampoline_at(target) : 0;
    return (uint64_t)t == target ? t : 0;
}

/* A SIGILL or SIGTRAP whose cause is a patch: true when it is put right. */
int in_patched_site(struct sigcontext *mc, int signo)
{
    uint8_t code[5];
    uint64_t site = mc->ip - (signo == SIGTRAP_ ? 1 : 2);

    if ((signo != SIGTRAP_ && signo != SIGILL_) || copy_bytes(code, (void *)site, 5))
        return 0;
    const struct trampoline *t = jump_of(site, code);
    int unfinished = code[0] == 0xcc && __atomic_load_n(&site_in_work, __ATOMIC_SEQ_CST) == site;
    if (signo == SIGTRAP_ && (t || unfinished)) {
        mc->ip = site; /* int3 stood there: try again */
        return 1;
    }
    if (signo != SIGILL_ || code[2] != NO_INSTRUCTION)
        return 0;
    if (unfinished)
        return 1; /* try again here, too */
    if (!t || t->after != mc->ip)
        return 0;
    mc->ip = go_on_of(t);
    return 1;
}
