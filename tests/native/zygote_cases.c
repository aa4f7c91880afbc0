/* native/stub/zygote.c under the sanitizers; test_stub.py runs each case in a process of its own. */
#include "hosted.h"

#include "zygote.c"

const char text_end[1], rodata_end[1], data_end[1]; /* stub.lds has them */
uint64_t brk_start, brk_now;                         /* the rest is answered.c's */
uint32_t guest_runs;
struct patch_areas patch_areas; /* and patch.c's */

uint64_t open_block(uint64_t index)
{
    return index;
}

void on_signal(int signo, void *info, void *context)
{
    struct ucontext *uc = context;
    (void)signo;
    (void)info;
    uc->mc.ip = (uint64_t)copy_fault;
}

/* -- /proc/self/maps ------------------------------------------------------------------------------------ */

static char maps[20000];
static size_t read_so_far;

static void read_maps(const struct host_call *call)
{
    if (call->nr != SYS_read)
        return;
    size_t n = strlen(maps) - read_so_far, most = (size_t)call->args[2];
    n = n < most ? n : most;
    n = n < 4000 ? n : 4000;
    memcpy((void *)call->args[1], maps + read_so_far, n);
    read_so_far += n;
    answers[ncalls] = (long)n;
}

static void vdso_moves_with_its_data(void)
{
    on_call = read_maps;
    strcpy(maps, "400000-401000 r-xp 00000000 08:01 12 /program\n"
                 "7ffff7fb9000-7ffff7fbd000 r--p 00000000 00:00 0 [vvar]\n"
                 "7ffff7fbd000-7ffff7fbf000 r--p 00000000 00:00 0 [vvar_vclock]\n"
                 "7ffff7fbf000-7ffff7fc1000 r-xp 00000000 00:00 0 [vdso]\n"
                 "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0 [stack]");
    CHECK(move_vdso(0x7ffff7fbf000) == VDSO_BASE + 0x6000);
    const struct host_call *last = &calls[ncalls - 1];
    CHECK(last->nr == SYS_mremap && last->args[0] == 0x7ffff7fbf000 && last->args[1] == 0x2000);
    CHECK(last->args[4] == (long)(VDSO_BASE + 0x6000));
    CHECK(last[-2].nr == SYS_mremap && last[-2].args[4] == (long)VDSO_BASE);
}

static void maps_of_any_length_or_shape(void)
{
    const char *const shapes[] = {"7", "-", "7-", "7-8", "7-8\n", "\n", "[vdso", "7-8 [", "x"};

    on_call = read_maps;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        memset(maps, 0, sizeof maps);
        for (size_t at = 0; at < sizeof maps - 8; at += strlen(shapes[i]))
            strcpy(maps + at, shapes[i]);
        ncalls = 0;
        read_so_far = 0;
        CHECK(move_vdso(0x7000) == 0); /* there is none among them */
        ncalls = 0;
        read_so_far = 0;
        strcpy(maps, shapes[i]);
        CHECK(move_vdso(0x7000) == 0);
    }
}

/* -- the image of a program ------------------------------------------------------------------------------ */

static int expected; /* the status that the pool process is to end with */

static void ends(const struct host_call *call)
{
    if (call->nr == SYS_exit_group) {
        CHECK(call->args[0] == expected);
        exit(0);
    }
    ncalls = 0; /* many mappings */
}

static void map_blob(uint64_t nmaps, uint64_t nblobs, uint64_t address, uint64_t length)
{
    struct image image = {.nmaps = nmaps, .nblobs = nblobs};
    struct image_blob blob = {address, length};

    on_call = ends;
    memcpy(slot_one()->data + sizeof image, &blob, sizeof blob);
    memcpy(slot_one()->data + sizeof image + sizeof blob, "contents", 8);
    must(load_image(&image, slot_one()->data, DATA_SIZE, received, 0), 31);
}

static void blob_is_copied(void)
{
    map_blob(0, 1, GUEST, 8);
    CHECK(!memcmp((void *)GUEST, "contents", 8));
}

static void blob_longer_than_the_image_ends_the_process(void)
{
    expected = 31;
    map_blob(0, 1, GUEST, ~0UL);
    CHECK(!"went on");
}

static void blob_for_no_memory_ends_the_process(void)
{
    expected = 31;
    map_blob(0, 1, GUEST_END - 4, 8);
    CHECK(!"went on");
}

static void more_maps_than_the_image_holds_end_the_process(void)
{
    expected = 31;
    map_blob(~0UL, 0, 0, 0);
    CHECK(!"went on");
}

static void more_blobs_than_the_image_holds_end_the_process(void)
{
    expected = 31;
    map_blob(0, ~0UL, GUEST, 0);
    CHECK(!"went on");
}

#define CASE(name) {#name, name},
static const struct hosted_case cases[] = {
    CASE(vdso_moves_with_its_data)
    CASE(maps_of_any_length_or_shape)
    CASE(blob_is_copied)
    CASE(blob_longer_than_the_image_ends_the_process)
    CASE(blob_for_no_memory_ends_the_process)
    CASE(more_maps_than_the_image_holds_end_the_process)
    CASE(more_blobs_than_the_image_holds_end_the_process)
};

int main(int argc, char **argv)
{
    return argc == 2 ? run_case(cases, sizeof cases / sizeof *cases, argv[1]) : 2;
}
