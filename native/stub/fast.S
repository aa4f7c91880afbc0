# The way into the stub from a patched call site (patch.c), and the way back: no signal, no trap.
#
# A site's trampoline comes here with the system call's number and arguments in their registers, the guest's stack
# pointer, and rcx = where to go on. rcx and r11 are the guest's to lose, as with the syscall instruction; all the
# rest is kept, the flags included. gs points to the thread's struct thread_block.
#
# Host signals are not blocked here. on_signal sees by the address where it has broken in (the labels below), and
# has an interruption wait in the block's pending word, which fast_check looks at last.
    .section .note.GNU-stack,"",@progbits

    .set GUEST_SP, 0            # struct thread_block
    .set STACK_TOP, 8
    .set PENDING, 16
    .set RESULT, 24
    .set RESUME, 32
    .set TRAP, 56

    .section .text.fast,"ax",@progbits
    .globl fast_entry, fast_begin, fast_switched, fast_check, fast_leave, fast_jump, fast_trap, fast_refused
fast_entry:
    jmp *fast_vector(%rip)

fast_begin:
    mov %rsp, %gs:GUEST_SP
    mov %gs:STACK_TOP, %rsp
fast_switched:
    pushfq                      # struct fast_regs, from its end
    cld
    push %rcx
    push %rax
    push %r9
    push %r8
    push %r10
    push %rdx
    push %rsi
    push %rdi
    mov %rsp, %rdi
    sub $8, %rsp
    call fast_call
    add $8, %rsp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %r10
    pop %r8
    pop %r9
    pop %rax
    pop %rcx
fast_check:
    cmpl $0, %gs:PENDING
    jne fast_interrupted
fast_leave:
    popfq
    mov %gs:GUEST_SP, %rsp
fast_jump:
    jmp *%rcx

# An interruption waits: say so from a signal handler, which has the whole state of the guest. If we are on our
# way into one, that one looks.
fast_interrupted:
    lea fast_trap(%rip), %r11
    cmp %r11, %rcx
    je fast_leave
    movl $0, %gs:PENDING
    mov %rax, %gs:RESULT
    mov %rcx, %gs:RESUME
    mov $0x3ff1, %eax           # TRAP_INTERRUPTED
    mov %rax, %gs:TRAP
    lea fast_trap(%rip), %rcx
    jmp fast_leave

# No such system call: the filter makes it a trap.
fast_trap:
    syscall
    hlt

# Once the guest has taken gs for itself, patched sites trap again: their trampolines have a syscall
# instruction just before the place where they go on.
fast_refused:
    lea -2(%rcx), %rcx
    jmp *%rcx
