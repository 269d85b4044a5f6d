# SPDX-License-Identifier: MIT OR Apache-2.0
# The first instructions of a guest program, on the boot processor and on application processors.
# Both arrive in 32-bit protected mode without paging and leave in 64-bit mode on the first 4 GiB, identity-mapped.

.set MULTIBOOT_MAGIC, 0x1BADB002
.set MULTIBOOT_FLAGS, 0x00010003            # page-aligned modules, memory information, address fields valid

.section .multiboot, "ax"
.balign 4
multiboot_header:
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
    .long multiboot_header
    .long image_start
    .long image_loaded_end
    .long image_end
    .long guest_start

.section .bss.boot, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4:      .skip 4096
.global boot_pdpt
boot_pdpt:      .skip 4096
boot_pd:        .skip 4 * 4096
boot_stack:     .skip 128 * 1024
boot_stack_top:

.section .data.boot, "aw"
.balign 16
boot_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF                # 0x08: 64-bit code
    .quad 0x00CF93000000FFFF                # 0x10: data
    .quad 0x00CF9B000000FFFF                # 0x18: 32-bit code, for application processors on their way up
boot_gdt_end:
boot_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt
.global boot_magic
boot_magic:     .long 0
.global boot_info
boot_info:      .long 0
.global ap_tickets
ap_tickets:     .long 0                     # application processors that have arrived
.global ap_limit
ap_limit:       .long 0                     # how many of them have a stack
.global ap_stacks
ap_stacks:      .quad 0
.global ap_stack_size
ap_stack_size:  .quad 0

.section .text.boot, "ax"
.code32
.global guest_start
guest_start:
    cli
    cld
    mov dword ptr [boot_magic], eax
    mov dword ptr [boot_info], ebx
    mov esp, offset boot_stack_top

    # Present and writable at every level; the user window is made elsewhere.
    mov eax, offset boot_pdpt
    or eax, 3
    mov dword ptr [boot_pml4], eax
    mov eax, offset boot_pd
    or eax, 3
    mov edi, offset boot_pdpt
    mov ecx, 4
2:  mov dword ptr [edi], eax
    add eax, 4096
    add edi, 8
    dec ecx
    jnz 2b
    mov eax, 0x83                           # present, writable, 2 MiB
    mov edi, offset boot_pd
    mov ecx, 4 * 512
3:  mov dword ptr [edi], eax
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 3b

    call enter_long_mode
    .code64
    mov rsp, offset boot_stack_top
    xor ebp, ebp
    call guest_main_on_boot_processor
    ud2

# Called from 32-bit code, returns to the 64-bit code after the call. Clobbers EAX, ECX, EDX.
.code32
enter_long_mode:
    pop edx                                 # where to go on
    mov eax, 0x620                          # CR4: PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov eax, offset boot_pml4
    mov cr3, eax
    push edx
    mov ecx, 0xC0000080                     # EFER.LME
    rdmsr
    or eax, 0x100
    wrmsr
    pop edx
    mov eax, cr0
    and eax, 0x1FFAFFF3                     # caches on (CD, NW clear), no alignment checks, no EM, no TS
    or eax, 0x80010023                      # PG, WP, NE, MP, PE
    mov cr0, eax
    lgdt [boot_gdtr]
    push 0x08
    push edx
    retf

# The page that the start-up IPI points at: 16-bit code, copied below 1 MiB, so it may only use addresses in its own copy.
.global ap_trampoline
.global ap_trampoline_end
.balign 16
.code16
ap_trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    .byte 0x66, 0x0F, 0x01, 0x16            # lgdt [ap_gdtr - ap_trampoline], with all 32 bits of the base
    .word ap_gdtr - ap_trampoline
    mov eax, cr0
    or al, 1
    mov cr0, eax
    .byte 0x66, 0xEA                        # jmp far 0x18:ap_protected
    .long ap_protected
    .word 0x18
.balign 4
ap_gdtr:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt
ap_trampoline_end:

.code32
ap_protected:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    # A ticket gives this processor its index and its stack; one that comes too many parks.
    mov ebx, 1
    lock xadd dword ptr [ap_tickets], ebx
    cmp ebx, dword ptr [ap_limit]
    jae 4f
    mov eax, ebx
    inc eax
    imul eax, dword ptr [ap_stack_size]
    add eax, dword ptr [ap_stacks]
    mov esp, eax
    mov esi, eax
    call enter_long_mode
    .code64
    mov esp, esi                            # zero-extends: the stacks are below 4 GiB
    xor ebp, ebp
    mov edi, ebx
    inc edi
    call guest_main_on_application_processor
    ud2
.code32
4:  hlt
    jmp 4b
.code64
