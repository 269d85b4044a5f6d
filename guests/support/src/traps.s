# SPDX-License-Identifier: MIT OR Apache-2.0
# 256 gates, 16 bytes each, that make every trap look alike: error code (or 0) and vector on the stack, then the registers.
# The layout above RSP is trap::Frame.

.section .text.traps, "ax"
.code64
.balign 16
.global trap_gates
trap_gates:
.set vector, 0
.rept 256
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21)
    .else
    push 0
    .endif
    .byte 0x68                              # push imm32: the short form would extend the sign
    .long vector
    .byte 0xE9                              # jmp rel32
    .long trap_common - . - 4
.set vector, vector + 1
.endr

trap_common:
    cld
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp                            # the frame
    mov rbp, rsp
    and rsp, -16
    sub rsp, 528
    # Handlers use SSE registers. Saving them must not fault, whatever the interrupted code set in CR0.
    mov rax, cr0
    mov rbx, rax
    mov dword ptr [rsp + 512], 0x1F80
    test al, 0x0C
    jz 2f
    and al, 0xF3
    mov cr0, rax
2:  fxsave64 [rsp]
    ldmxcsr [rsp + 512]
    call trap_dispatch
    fxrstor64 [rsp]
    test bl, 0x0C
    jz 3f
    mov cr0, rbx
3:  mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16                             # vector and error code
    iretq

# fn run_until_trap(state: *mut State, resume_stack: *mut u64)
# Leaves with the registers and selectors of the state; comes back when the next captured trap has filled it in.
.global run_until_trap
run_until_trap:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov rax, cr0
    push rax
    mov [rsi], rsp
    mov rbx, rdi
    mov rcx, [rbx + 200]
    test rcx, rcx
    jz 2f
    mov cr0, rcx
2:
    mov eax, [rbx + 176]
    mov ds, eax
    mov eax, [rbx + 180]
    mov es, eax
    mov eax, [rbx + 184]
    mov fs, eax
    mov eax, [rbx + 188]
    mov gs, eax
    # SS, RSP, RFLAGS, CS, RIP for IRETQ. Pushed by 64 bits: the segment selectors are the low words.
    push qword ptr [rbx + 168]
    push qword ptr [rbx + 160]
    push qword ptr [rbx + 152]
    push qword ptr [rbx + 144]
    push qword ptr [rbx + 136]
    mov r15, [rbx]
    mov r14, [rbx + 8]
    mov r13, [rbx + 16]
    mov r12, [rbx + 24]
    mov r11, [rbx + 32]
    mov r10, [rbx + 40]
    mov r9, [rbx + 48]
    mov r8, [rbx + 56]
    mov rdi, [rbx + 64]
    mov rsi, [rbx + 72]
    mov rbp, [rbx + 80]
    mov rdx, [rbx + 96]
    mov rcx, [rbx + 104]
    mov rax, [rbx + 112]
    mov rbx, [rbx + 88]
    iretq

# Where a captured trap returns to, on the stack that run_until_trap left.
.global resume_after_trap
resume_after_trap:
    pop rax
    mov rcx, cr0
    cmp rax, rcx
    je 2f
    mov cr0, rax
2:  pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret
