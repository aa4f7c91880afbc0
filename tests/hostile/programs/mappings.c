/* Every way to unmap, protect, move, advise or map over what is not ours: the stub, the channel, the shared pages, the
 * vDSO, the stub stacks and the fences. Each is refused, and everything is as it was. */
#include "hostile.h"

static const struct { const char *name; uint64_t start, length; } trusted[] = {
    {"stub", STUB_TEXT, 4096},
    {"loader", LOADER_TEXT, 4096},
    {"stub's constants", STUB_RODATA, 4096},
    {"stub's data", STUB_DATA, 4096},
    {"channel", CHANNEL_BASE, CHANNEL_SIZE},
    {"own slot", CHANNEL_BASE + SLOT_SIZE, SLOT_SIZE},
    {"shared page", SHARED_BASE, 4096},
    {"ready map", SHARED_BASE + 0x1000, 4096},
    {"marshalling table", SHARED_BASE + 0x2000, 4096},
    {"vDSO", VDSO_BASE, 4096},
    {"stub stacks", STACKS_BASE, STACKS_SIZE},
    {"all of it", TRUSTED_BASE, TRUSTED_END - TRUSTED_BASE},
    {"fence above", TRUSTED_END, 4096},
    {"fence below", TRUSTED_BASE - 4096, 4096},
    {"last page", (1UL << 47) - 8192, 4096},
    {"beyond user space", 1UL << 47, 4096},
    {"kernel", -4096UL, 4096},
    {"kernel's text", 0xffffffff81000000UL, 4096},
};

/* Refused with an error, and never ENOSYS: a call that Linux has. */
static void refused(const char *what, const char *where, long result)
{
    if (result >= 0 || result < -4095 || result == -ENOSYS)
        wrong("%s of the %s: %lx", what, where, result);
}

static void attack(int i)
{
    const char *name = trusted[i].name;
    uint64_t at = trusted[i].start, length = trusted[i].length;
    void *own = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("lines", O_RDONLY), memory = (int)syscall(SYS_memfd_create, "m", 0);

    ftruncate(memory, 1 << 20);
    refused("munmap", name, CALL(SYS_munmap, at, length, 0, 0, 0, 0));
    for (int prot = 0; prot < 8; prot++)
        refused("mprotect", name, CALL(SYS_mprotect, at, length, prot, 0, 0, 0));
    refused("mremap growing", name, CALL(SYS_mremap, at, length, length + 4096, MREMAP_MAYMOVE, 0, 0));
    refused("mremap away", name, CALL(SYS_mremap, at, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, own, 0));
    refused("mremap of nothing", name, CALL(SYS_mremap, at, 0, length, MREMAP_MAYMOVE, 0, 0));
    refused("mremap keeping", name, CALL(SYS_mremap, at, length, length, MREMAP_MAYMOVE | 4, 0, 0));
    refused("mremap over", name, CALL(SYS_mremap, own, 4096, length, MREMAP_MAYMOVE | MREMAP_FIXED, at, 0));
    static const int advice[] = {MADV_DONTNEED, MADV_FREE, MADV_REMOVE, MADV_DONTFORK, MADV_WIPEONFORK, MADV_MERGEABLE,
                                 MADV_COLD, MADV_PAGEOUT, MADV_HWPOISON, 101, MADV_POPULATE_WRITE, 102};
    for (unsigned j = 0; j < sizeof advice / sizeof *advice; j++)
        refused("madvise", name, CALL(SYS_madvise, at, length, advice[j], 0, 0, 0));
    refused("mmap over", name, CALL(SYS_mmap, at, length, 7, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    refused("shared mmap over", name, CALL(SYS_mmap, at, length, 3, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    refused("mmap of a file over", name, CALL(SYS_mmap, at, length, 1, MAP_PRIVATE | MAP_FIXED, fd, 0));
    refused("mmap of a memfd over", name, CALL(SYS_mmap, at, length, 3, MAP_SHARED | MAP_FIXED, memory, 0));
    refused("mmap without replacing", name,
            CALL(SYS_mmap, at, length, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    refused("reading into", name, CALL(SYS_read, fd, at, 64, 0, 0, 0));
    munmap(own, 8192);
    close(fd);
    close(memory);
}

/* A range that begins in our own memory and ends in theirs. */
static void overlap(void)
{
    const uint64_t low = 0x10000, fence = TRUSTED_BASE - GUEST_TOP;
    refused("long munmap", "guest", CALL(SYS_munmap, low, TRUSTED_BASE, 0, 0, 0, 0));
    refused("long munmap", "end of the guest", CALL(SYS_munmap, GUEST_TOP - 4096, fence + 8192, 0, 0, 0, 0));
    refused("munmap with a negative length", "guest", CALL(SYS_munmap, low, -low, 0, 0, 0, 0));
    refused("long mprotect", "end of the guest", CALL(SYS_mprotect, GUEST_TOP - 4096, fence + 8192, 7, 0, 0, 0));
    refused("long mmap", "end of the guest", CALL(SYS_mmap, GUEST_TOP - 4096, fence + 8192, 3,
                                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0));
    refused("long mremap", "guest", CALL(SYS_mremap, low, 4096, fence + (1UL << 45), MREMAP_MAYMOVE, 0, 0));
    refused("growing stack mmap", "guest", CALL(SYS_mmap, GUEST_TOP, 4096, 3,
                                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN, -1, 0));
    refused("mmap of the last page of the fence", "guest",
            CALL(SYS_mmap, TRUSTED_BASE - 4096, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

/* Where the host chooses, it chooses below GUEST_TOP. */
static void choices(void)
{
    static const uint64_t hints[] = {0, GUEST_TOP, TRUSTED_BASE, STUB_TEXT, (1UL << 47) - 4096};
    for (unsigned i = 0; i < sizeof hints / sizeof *hints; i++)
        for (int shared = 0; shared < 2; shared++) {
            long at = CALL(SYS_mmap, hints[i], 4096, 3, (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
            if (at > 0 && (uint64_t)at >= GUEST_TOP)
                wrong("mmap with hint %lx chose %lx", hints[i], at);
        }
    CHECK((uint64_t)sbrk(0) < GUEST_TOP);
    CHECK((uint64_t)CALL(SYS_brk, STUB_TEXT, 0, 0, 0, 0, 0) < GUEST_TOP);
    CHECK((uint64_t)CALL(SYS_brk, -1, 0, 0, 0, 0, 0) < GUEST_TOP);
}

/* Reads and writes by instruction: what is read-only is so, and what is not mapped kills only us. */
static void touch(void)
{
    static const uint64_t readonly[] = {STUB_TEXT, LOADER_TEXT, STUB_RODATA, SHARED_BASE, SHARED_BASE + 0x2000, VDSO_BASE,
                                        TRUSTED_BASE, TRUSTED_END, GUEST_TOP, TRUSTED_BASE - 8};
    for (unsigned i = 0; i < sizeof readonly / sizeof *readonly; i++)
        CHECK(FAULT(*(volatile char *)readonly[i] = 1) != 0);
    static const uint64_t calls[] = {CHANNEL_BASE, STACKS_BASE, STUB_DATA, SHARED_BASE, SHARED_BASE + 0x1000};
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) /* nothing there can be executed */
        CHECK(FAULT(((void (*)(void))calls[i])()) != 0);
}

static void write_over_stub_data(void)
{
    for (uint64_t at = STUB_DATA; at < STUB_DATA + 0x6000; at += 8)
        *(volatile uint64_t *)at = at * 0x9E3779B97F4A7C15UL;
    CHECK((uint64_t)CALL(SYS_brk, 0, 0, 0, 0, 0, 0) != 1);
    CHECK(lines_are_right());
    CHECK(malloc(1 << 20) != NULL);
}

int main(void)
{
    catch_faults();
    begin_witness();
    for (unsigned i = 0; i < sizeof trusted / sizeof *trusted; i++)
        attack(i);
    overlap();
    choices();
    touch();
    CHECK(IN_CHILD(PATIENCE_MS, write_over_stub_data()) == 0);
    CHECK(IN_CHILD(PATIENCE_MS, (attack(0), overlap())) == 0); /* a forked child is as well kept */
    end_witness();
    return verdict("mappings");
}
