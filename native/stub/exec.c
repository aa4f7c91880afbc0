/* execve(2) in the process that asks for it, where the new program may do what the old one might: no process is
 * forked for it, none is woken, none has to end. The Sentry decides (wardian.platform.stub.programs); a guest that does
 * not do as it is told runs on with the rights it has.
 */
#include "image.h"
#include "stub.h"

#define MOST_AT_ONCE 0x0d0000000000UL /* below what the filter lets a call on memory reach */

/* Nothing of the old program stays where the new one could find it. */
static void unmap_guest(void)
{
    for (uint64_t at = 0; at < GUEST_TOP; at += MOST_AT_ONCE) {
        uint64_t left = GUEST_TOP - at;
        if (sys2(SYS_munmap, at, left < MOST_AT_ONCE ? left : MOST_AT_ONCE))
            sys1(SYS_exit_group, 1);
    }
}

/* The registers of a fresh program (System V ABI, "Process initialization"). */
static void reset_registers(struct sigcontext *mc, const struct image *image)
{
    struct sigcontext old = *mc;

    memset(mc, 0, sizeof *mc);
    mc->ip = image->entry;
    mc->sp = image->sp;
    mc->flags = 0x202;
    mc->cs = old.cs;
    mc->ss = old.ss;
    mc->fpstate = old.fpstate;
    reset_fpu((uint8_t *)mc->fpstate);
    set_fs_base(0);
}

void exec_here(struct slot *s, struct ucontext *uc, uint64_t index)
{
    int fds[MAX_RECEIVED];
    struct image image;
    uint32_t nfds = (uint32_t)s->p[0];

    memcpy(&image, s->data, sizeof image);
    if (nfds > MAX_RECEIVED || (nfds && receive_fds(fds, nfds)))
        sys1(SYS_exit_group, 1);
    unmap_guest();
    if (load_image(&image, s->data, DATA_SIZE, fds, (int)nfds))
        sys1(SYS_exit_group, 1);
    sys3(SYS_close_range, CONTROL_FD + 1, ~0U, 0);
    memset(s->data, 0, 4096);
    brk_start = brk_now = image.brk_start;
    forget_patches(image.patch_areas);
    reset_registers(&uc->mc, &image);
    __asm__ volatile("wrgsbase %0" : : "r"(open_block(index)));
}
