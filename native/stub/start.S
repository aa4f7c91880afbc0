# The stub's assembly: entry, signal return, copies that survive a missing page, and thread creation.
    .section .note.GNU-stack,"",@progbits

    .section .text.start,"ax",@progbits
    .globl restore_rt
restore_rt:
    mov $15, %eax
    syscall

# Copies whose faults are put right by on_signal: a SIGSEGV or SIGBUS between copy_begin and copy_end
# continues at copy_fault.
    .globl copy_begin, copy_end, copy_fault, copy_bytes, copy_string, exchange_word
copy_begin:
copy_bytes:                     # rdi to, rsi from, rdx count
    mov %rdx, %rcx
    rep movsb
    xor %eax, %eax
    ret
copy_string:                    # rdi to, rsi from, rdx limit
    xor %eax, %eax
1:  cmp %rdx, %rax
    jae 2f
    movb (%rsi,%rax), %cl
    movb %cl, (%rdi,%rax)
    test %cl, %cl
    jz 3f
    inc %rax
    jmp 1b
2:  mov $-36, %rax              # ENAMETOOLONG
3:  ret
exchange_word:                  # rdi at, rsi expected, edx wanted
    mov (%rsi), %eax
    lock cmpxchg %edx, (%rdi)
    jne 4f
    xor %eax, %eax
    ret
4:  mov %eax, (%rsi)
    mov $1, %eax
    ret
copy_end:
copy_fault:
    mov $-14, %rax              # EFAULT
    ret

# long clone_thread(flags, frame, ptid, ctid, tls, nonce): the child starts with rsp = frame, a copy of the
# parent's signal frame, and returns into the guest through it. A nonce (vfork: the child is a host process of
# its own) is shown to the Sentry first: arch_prctl(CHECKIN_CODE, nonce), which is notified.
    .globl clone_thread
clone_thread:
    mov %rcx, %r10
    mov $56, %eax
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  test %r9, %r9
    jz 2f
    mov $0x57415244, %edi
    mov %r9, %rsi
    mov $158, %eax
    syscall
    test %rax, %rax
    jz 2f
    mov $1, %edi                # the Sentry does not know us
    mov $231, %eax
    syscall
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
