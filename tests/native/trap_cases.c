/* The stub's part in a conversation under the sanitizers; test_stub.py runs each case in a process of its own. The
 * cases are in four files, one program, so that the stub is compiled once.
 */
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

#include "marshal_cases.c"
#include "answer_cases.c"
#include "frame_cases.c"
#include "handoff_cases.c"

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
    CASE(marshal_of_the_strings_of_an_exec)
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
