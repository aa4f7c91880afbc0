# Entries and exits: the zygote's start, signal return, thread creation, and the way into a fresh program.
    .section .note.GNU-stack,"",@progbits

    .section .text.start,"ax",@progbits
    .globl _start
_start:
    xor %ebp, %ebp
    mov %rsp, %rdi
    and $-16, %rsp
    call zygote
    hlt

    .globl restore_rt
restore_rt:
    mov $15, %eax
    syscall

# long clone_thread(flags, frame, ptid, ctid, tls, checks_in): the child starts with rsp = frame, a copy of the
# parent's signal frame, and returns into the guest through it. The child of a vfork, which is a host process of
# its own, reports itself first.
    .globl clone_thread
clone_thread:
    mov %rcx, %r10
    mov $56, %eax
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  mov %rsp, %rax              # the child: gs from the block at the top of its stack
    or $0xffff, %rax
    mov -79(%rax), %rax
    wrgsbase %rax
    test %r9, %r9
    jz 2f
    mov %rsp, %rbx
    mov %rsp, %rdi
    and $-16, %rsp
    call check_in
    mov %rbx, %rsp
2:  mov $15, %eax               # rt_sigreturn from the prepared frame
    syscall
    hlt

# Enter a fresh program (System V ABI, "Process initialization"): rsp from the image, all else zero.
    .globl enter_guest
enter_guest:                    # rdi entry, rsi stack pointer
    mov %rsi, %rsp
    push %rdi
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    xor %r8d, %r8d
    xor %r9d, %r9d
    xor %r10d, %r10d
    xor %r11d, %r11d
    xor %r12d, %r12d
    xor %r13d, %r13d
    xor %r14d, %r14d
    xor %r15d, %r15d
    ret
