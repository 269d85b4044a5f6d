# SPDX-License-Identifier: MIT OR Apache-2.0
# From 64-bit mode down to real mode and back. The whole journey is copied to MODES_BASE (0x7000), below 64 KiB, so that all of it
# can be reached by 16-bit offsets with base 0. What it sees on the way it writes to the record at MODES_RECORD (0x6000).
#
# The record, in 32-bit words: 0 CR0 in real mode, 1 the vector of a real-mode INT, 2 the IP that INT pushed, 3 flags it pushed,
# 4 the vector of a division by zero, 5 what it pushed as IP less the IP of the instruction, 6 a word read at segment:offset,
# 7 a word read beyond 64 KiB with the limit of protected mode ("unreal"), 8 the vector of an access beyond 64 KiB in real mode,
# 9 an address that wraps at 1 MiB or not, 10 EFLAGS after POPFD, 11 sum made by a loop in 16-bit protected mode,
# 12 SP after a push at SP = 0, 13 a sentinel at the end, 14 the sentinel through a 4 MiB page, 15 through a 4 KiB page of 32-bit
# paging, 16 through a 2 MiB page of PAE paging, 17 CR2 and 18 the error code of a page fault under 32-bit paging.

.set MODES_BASE, 0x7000
.set RECORD, 0x6000
.set REAL_STACK, 0x6F00
.set PAGE_DIRECTORY, 0x5000
.set PAGE_TABLE, 0x4000
.set PAE_POINTERS, 0x3000
.set PAE_DIRECTORY, 0x2000
.set REAL_IDT, 0x6400                       # 256 vectors of 4 bytes would reach 0x6800: only some are filled

.macro record index, value
    mov dword ptr [RECORD + 4 * \index], \value
.endm

.section .text.modes, "ax"
.global modes_journey
.global modes_journey_end
.balign 16
.code64
modes_journey:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    pushfq
    cli
    mov rax, cr0
    push rax
    mov rax, cr3
    push rax
    mov rax, cr4
    push rax
    sgdt [RECORD + 0x100]
    sidt [RECORD + 0x110]
    mov dword ptr [RECORD + 0x120], esp
    mov eax, offset AT_journey_gdtr
    lgdt [rax]
    # Compatibility mode, 16-bit: paging may go off only outside 64-bit mode.
    push 0x08
    push offset AT_from_64
    .byte 0x48, 0xCB                        # retfq

.code16
from_64:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov gs, ax                              # for its limit: a load in real mode changes the base only
    mov ss, ax
    mov esp, REAL_STACK
    mov eax, cr0
    and eax, 0x7FFFFFFF
    mov cr0, eax                            # paging off: long mode becomes protected mode
    mov ecx, 0xC0000080
    rdmsr
    and eax, 0xFFFFFEFF                     # EFER.LME off
    wrmsr

    # 16-bit protected mode.
    xor eax, eax
    mov cx, 10
2:  add ax, cx
    loop 2b
    record 11, eax

    # Real mode, with 64 KiB limits in DS, 4 GiB in ES and FS.
    mov ax, 0x18
    mov es, ax
    mov fs, ax
    .byte 0x66, 0x0F, 0x01, 0x1E            # lidt [...], 32-bit base
    .word AT_real_idtr
    mov eax, cr0
    and al, 0xFE
    mov cr0, eax
    .byte 0xEA                              # jmp far 0:in_real_mode
    .word AT_in_real_mode
    .word 0
in_real_mode:
    xor ax, ax
    mov ds, ax
    mov ss, ax
    mov sp, REAL_STACK
    mov eax, cr0
    record 0, eax

    # Interrupt vector table: INT 0x60, #DE, #GP.
    mov word ptr [REAL_IDT + 4 * 0x60], offset AT_on_int
    mov word ptr [REAL_IDT + 4 * 0x60 + 2], 0
    mov word ptr [REAL_IDT], offset AT_on_divide
    mov word ptr [REAL_IDT + 2], 0
    mov word ptr [REAL_IDT + 4 * 13], offset AT_on_general
    mov word ptr [REAL_IDT + 4 * 13 + 2], 0
    stc
    int 0x60
after_int:
    xor cx, cx
divides:
    div cx
after_divide:
    # Segment times 16: 0x0610:0x0100 is 0x6200.
    mov dword ptr [0x6200], 0xCAFE1234
    mov ax, 0x610
    mov gs, ax
    mov eax, gs:[0x100]
    record 6, eax
    # ES keeps base 0 and limit 4 GiB from protected mode: read the record's end through it, by a 32-bit address.
    mov edi, 0x100000                       # the multiboot header, at 1 MiB
    .byte 0x67, 0x26, 0x66, 0x8B, 0x07      # mov eax, es:[edi]
    record 7, eax
    # DS has the limit of real mode.
    mov edi, 0x10000
general_at:
    .byte 0x67, 0x66, 0x8B, 0x07            # mov eax, [edi]
after_general:
    # 0xFFFF:0x10 is 1 MiB, for A20 is open.
    mov ax, 0xFFFF
    mov gs, ax
    mov eax, gs:[0x10]
    record 9, eax
    # 32-bit flags in real mode.
    mov eax, 0x00240202
    push eax
    .byte 0x66
    popf
    .byte 0x66
    pushf
    pop eax
    cli
    record 10, eax
    # SP wraps within 64 KiB: the word goes to 0xFFFE of a segment at 0x60000.
    mov ax, 0x6000
    mov ss, ax
    xor sp, sp
    push ax
    mov bx, sp
    xor ax, ax
    mov ss, ax
    mov sp, REAL_STACK
    movzx ebx, bx
    record 12, ebx
    mov eax, 0x600DF00D
    record 13, eax

    # And up again.
    lgdt [AT_journey_gdtr]
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0xEA
    .word AT_protected
    .word 0x08
protected:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, cr3
    mov ebp, eax
    mov eax, cr4
    mov ebx, eax
    .byte 0x66, 0xEA                        # jmp far 0x28:in_32
    .long AT_in_32
    .word 0x28
.code32
in_32:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov esp, REAL_STACK
    # 32-bit paging: 0 and 4 MiB are 4 MiB pages of physical 0, 8 MiB has a page table whose entry 0 is the record's page.
    mov dword ptr [PAGE_DIRECTORY], 0x83
    mov dword ptr [PAGE_DIRECTORY + 4], 0x83
    mov dword ptr [PAGE_DIRECTORY + 8], PAGE_TABLE + 3
    mov dword ptr [PAGE_DIRECTORY + 12], 0
    mov dword ptr [PAGE_TABLE], RECORD + 3
    mov eax, ebx
    and eax, 0xFFFFFFDF                     # PAE off
    or eax, 0x10                            # PSE on
    mov cr4, eax
    mov eax, PAGE_DIRECTORY
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov ecx, dword ptr [0x400000 + RECORD + 4 * 13]
    record 14, ecx
    mov ecx, dword ptr [0x800000 + 4 * 13]
    record 15, ecx
    # A page fault through a 32-bit gate: error code, EIP, CS, EFLAGS on the stack.
    mov eax, offset AT_on_page_fault
    mov word ptr [REAL_IDT + 8 * 14], ax
    mov word ptr [REAL_IDT + 8 * 14 + 2], 0x28
    mov dword ptr [REAL_IDT + 8 * 14 + 4], 0x8E00
    mov eax, offset AT_protected_idtr
    lidt [eax]
    mov dword ptr [0xC00ABC], 1
after_fault:
    mov eax, cr0
    and eax, 0x7FFFFFFF
    mov cr0, eax
    # PAE paging: linear 0 and 2 MiB are physical 0.
    mov dword ptr [PAE_POINTERS], PAE_DIRECTORY + 1
    mov dword ptr [PAE_POINTERS + 4], 0
    mov dword ptr [PAE_POINTERS + 8], 0
    mov dword ptr [PAE_POINTERS + 12], 0
    mov dword ptr [PAE_POINTERS + 16], 0
    mov dword ptr [PAE_POINTERS + 20], 0
    mov dword ptr [PAE_POINTERS + 24], 0
    mov dword ptr [PAE_POINTERS + 28], 0
    mov dword ptr [PAE_DIRECTORY], 0x83
    mov dword ptr [PAE_DIRECTORY + 4], 0
    mov dword ptr [PAE_DIRECTORY + 8], 0x83
    mov dword ptr [PAE_DIRECTORY + 12], 0
    mov eax, ebx
    or eax, 0x20
    mov cr4, eax
    mov eax, PAE_POINTERS
    mov cr3, eax
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    mov ecx, dword ptr [0x200000 + RECORD + 4 * 13]
    record 16, ecx
    mov eax, cr0
    and eax, 0x7FFFFFFF
    mov cr0, eax
    mov cr3, ebp
    mov cr4, ebx
    # Long mode again.
    mov ecx, 0xC0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    .byte 0xEA                              # jmp far 0x20:in_64
    .long AT_in_64
    .word 0x20
.code64
in_64:
    mov esp, dword ptr [RECORD + 0x120]
    lgdt [RECORD + 0x100]
    lidt [RECORD + 0x110]
    pop rax
    mov cr4, rax
    pop rax
    mov cr3, rax
    pop rax
    mov cr0, rax
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    # The caller's code segment, by a far return.
    pop rax
    push 0x08
    push rax
    .byte 0x48, 0xCB

.code32
on_page_fault:
    pop ecx
    record 18, ecx
    mov ecx, cr2
    record 17, ecx
    mov ecx, offset AT_after_fault
    mov dword ptr [esp], ecx
    iretd

.code16
on_int:
    mov bp, sp
    record 1, 0x60
    movzx eax, word ptr [bp]
    sub eax, offset AT_after_int
    record 2, eax
    movzx eax, word ptr [bp + 4]
    record 3, eax
    iret
on_divide:
    mov bp, sp
    record 4, 0x100
    movzx eax, word ptr [bp]
    sub eax, offset AT_divides
    record 5, eax
    mov word ptr [bp], offset AT_after_divide
    iret
on_general:
    mov bp, sp
    movzx eax, word ptr [bp]
    sub eax, offset AT_general_at
    add eax, 13
    record 8, eax
    mov word ptr [bp], offset AT_after_general
    iret

.balign 8
journey_gdt:
    .quad 0
    .quad 0x00009B000000FFFF                # 0x08: 16-bit code
    .quad 0x000093000000FFFF                # 0x10: 16-bit data, 64 KiB
    .quad 0x00CF93000000FFFF                # 0x18: data, 4 GiB
    .quad 0x00AF9B000000FFFF                # 0x20: 64-bit code
    .quad 0x00CF9B000000FFFF                # 0x28: 32-bit code
journey_gdtr:
    .word 6 * 8 - 1
    .quad AT_journey_gdt
real_idtr:
    .word 0x3FF
    .long REAL_IDT
protected_idtr:
    .word 0x7F
    .long REAL_IDT
modes_journey_end:
.code64

# Where the labels are once the journey is copied.
.set AT_journey_gdtr, MODES_BASE + (journey_gdtr - modes_journey)
.set AT_from_64, MODES_BASE + (from_64 - modes_journey)
.set AT_real_idtr, MODES_BASE + (real_idtr - modes_journey)
.set AT_in_real_mode, MODES_BASE + (in_real_mode - modes_journey)
.set AT_on_int, MODES_BASE + (on_int - modes_journey)
.set AT_on_divide, MODES_BASE + (on_divide - modes_journey)
.set AT_on_general, MODES_BASE + (on_general - modes_journey)
.set AT_protected, MODES_BASE + (protected - modes_journey)
.set AT_in_64, MODES_BASE + (in_64 - modes_journey)
.set AT_after_int, MODES_BASE + (after_int - modes_journey)
.set AT_divides, MODES_BASE + (divides - modes_journey)
.set AT_after_divide, MODES_BASE + (after_divide - modes_journey)
.set AT_general_at, MODES_BASE + (general_at - modes_journey)
.set AT_after_general, MODES_BASE + (after_general - modes_journey)
.set AT_journey_gdt, MODES_BASE + (journey_gdt - modes_journey)
.set AT_in_32, MODES_BASE + (in_32 - modes_journey)
.set AT_on_page_fault, MODES_BASE + (on_page_fault - modes_journey)
.set AT_protected_idtr, MODES_BASE + (protected_idtr - modes_journey)
.set AT_after_fault, MODES_BASE + (after_fault - modes_journey)
