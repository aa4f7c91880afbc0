# Copies whose faults are put right by on_signal: a SIGSEGV or SIGBUS between copy_begin and copy_end
# continues at copy_fault.
    .section .note.GNU-stack,"",@progbits

    .text
    .globl copy_begin, copy_end, copy_fault, copy_bytes, clear_bytes, copy_string, exchange_word
copy_begin:
copy_bytes:                     # rdi to, rsi from, rdx count
    mov %rdx, %rcx
    rep movsb
    xor %eax, %eax
    ret
clear_bytes:                    # rdi at, rsi count
    mov %rsi, %rcx
    xor %eax, %eax
    rep stosb
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
