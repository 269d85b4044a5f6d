// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptor tables: one GDT for all processors, a task state segment and interrupt stacks for each.
//!
//! `core` is compiled with the red zone, so no handler may run on the stack that it interrupts: every gate names an interrupt
//! stack. The order of the selectors serves SYSCALL, SYSRET, SYSENTER and SYSEXIT alike.

use core::arch::asm;
use core::cell::UnsafeCell;

/// The most processors a guest program uses.
pub const MAX_PROCESSORS: usize = 16;

/// 64-bit code, CPL 0.
pub const KERNEL_CODE: u16 = 0x08;
/// Data, CPL 0.
pub const KERNEL_DATA: u16 = 0x10;
/// 32-bit code, CPL 3 (with its RPL).
pub const USER_CODE_32: u16 = 0x18 | 3;
/// Data, CPL 3 (with its RPL).
pub const USER_DATA: u16 = 0x20 | 3;
/// 64-bit code, CPL 3 (with its RPL).
pub const USER_CODE: u16 = 0x28 | 3;
/// 32-bit code, CPL 0.
pub const KERNEL_CODE_32: u16 = 0x38;
/// 16-bit code with base 0 and limit 0xFFFF, CPL 0.
pub const KERNEL_CODE_16: u16 = 0x40;
/// 16-bit data with base 0 and limit 0xFFFF, CPL 0.
pub const KERNEL_DATA_16: u16 = 0x48;
/// The first of [`SPARE_COUNT`] selectors that a program may fill by [`set_descriptor`].
pub const FIRST_SPARE: u16 = 0x50;
/// How many spare selectors there are.
pub const SPARE_COUNT: u16 = 8;
const FIRST_TASK: u16 = FIRST_SPARE + 8 * SPARE_COUNT;

/// Which interrupt stack a gate uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InterruptStack {
    /// No switch unless the privilege level changes; then [`set_kernel_stack`]'s.
    None = 0,
    /// Exceptions.
    Exception = 1,
    /// External and inter-processor interrupts.
    Interrupt = 2,
    /// NMI and machine check.
    NonMaskable = 3,
    /// Double fault.
    DoubleFault = 4,
}

const STACK_SIZE: usize = 16 * 1024;
const STACKS: usize = 5;

/// A bit for each port, and the closing byte that the processor may read with the last one.
const IO_MAP_BYTES: usize = 8192 + 1;

/// The 64-bit task state segment (Intel SDM 3A 8.7): only stacks and the I/O permission bitmap are left of it.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct TaskState {
    reserved0: u32,
    privilege_stacks: [u64; 3],
    reserved1: u64,
    interrupt_stacks: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map_base: u16,
    /// All ones after start-up: no port is open to CPL 3 until a program opens it.
    io_map: [u8; IO_MAP_BYTES],
    padding: [u8; 3],
}

/// What each processor has to itself, or what is written before there are others.
#[repr(C, align(64))]
struct Own<T>(UnsafeCell<T>);

// SAFETY: each processor touches its own task and stacks; the GDT is filled before other processors start, and later only by
// programs that use its spare entries on one processor.
unsafe impl<T> Sync for Own<T> {}

const GDT_ENTRIES: usize = FIRST_TASK as usize / 8 + 2 * MAX_PROCESSORS;

static GDT: Own<[u64; GDT_ENTRIES]> = Own(UnsafeCell::new({
    let mut gdt = [0; GDT_ENTRIES];
    gdt[1] = 0x00AF_9B00_0000_FFFF;
    gdt[2] = 0x00CF_9300_0000_FFFF;
    gdt[3] = 0x00CF_FB00_0000_FFFF;
    gdt[4] = 0x00CF_F300_0000_FFFF;
    gdt[5] = 0x00AF_FB00_0000_FFFF;
    gdt[6] = 0x00CF_F300_0000_FFFF;
    gdt[7] = 0x00CF_9B00_0000_FFFF;
    gdt[8] = 0x0000_9B00_0000_FFFF;
    gdt[9] = 0x0000_9300_0000_FFFF;
    gdt
}));

// All zero, so that they take no room in the file.
const NO_TASK: TaskState = TaskState {
    reserved0: 0,
    privilege_stacks: [0; 3],
    reserved1: 0,
    interrupt_stacks: [0; 7],
    reserved2: 0,
    reserved3: 0,
    io_map_base: 0,
    io_map: [0; IO_MAP_BYTES],
    padding: [0; 3],
};
static TASKS: [Own<TaskState>; MAX_PROCESSORS] = [const { Own(UnsafeCell::new(NO_TASK)) }; MAX_PROCESSORS];
static STACK_AREA: Own<[[[u8; STACK_SIZE]; STACKS]; MAX_PROCESSORS]> =
    Own(UnsafeCell::new([[[0; STACK_SIZE]; STACKS]; MAX_PROCESSORS]));

#[repr(C, packed)]
struct TableRegister {
    limit: u16,
    base: u64,
}

/// Gives the processor `index` its descriptor tables and interrupt stacks.
pub(crate) fn initialise(index: usize) {
    let task = TASKS[index].0.get();
    let base = task as u64;
    // SAFETY: this processor's own task and stacks; the two GDT entries are its own as well.
    unsafe {
        let stacks = &raw const (*STACK_AREA.0.get())[index];
        let top = |number: usize| stacks as u64 + (STACK_SIZE * (number + 1)) as u64;
        (*task).privilege_stacks = [top(0); 3];
        (*task).interrupt_stacks = [top(1), top(2), top(3), top(4), 0, 0, 0];
        (*task).io_map_base = 104;
        (*task).io_map = [0xFF; IO_MAP_BYTES];
        let limit = (104 + IO_MAP_BYTES - 1) as u64;
        let gdt = GDT.0.get().cast::<u64>();
        let entry = gdt.add(FIRST_TASK as usize / 8 + 2 * index);
        entry.write((limit & 0xFFFF) | (base & 0xFF_FFFF) << 16 | 0x89 << 40 | (base >> 24 & 0xFF) << 56);
        entry.add(1).write(base >> 32);
        let register = TableRegister { limit: (GDT_ENTRIES * 8 - 1) as u16, base: gdt as u64 };
        asm!(
            "lgdt [{register}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "mov ss, {data:x}",
            "xor {scratch:e}, {scratch:e}",
            "mov fs, {scratch:x}",
            "mov gs, {scratch:x}",
            "ltr {task:x}",
            register = in(reg) &raw const register,
            code = const KERNEL_CODE,
            data = in(reg) KERNEL_DATA,
            task = in(reg) FIRST_TASK + 16 * index as u16,
            scratch = out(reg) _,
        );
    }
}

/// The index of the processor that asks: its task register tells, whatever a program does to GS.
pub fn processor_index() -> usize {
    let selector: u16;
    // SAFETY: STR reads the task register.
    unsafe { asm!("str {:x}", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    usize::from(selector.saturating_sub(FIRST_TASK) / 16)
}

/// Fills a spare selector (requested privilege ignored) and gives the selector back.
///
/// # Panics
/// If the selector is not one of the spare ones.
pub fn set_descriptor(selector: u16, descriptor: u64) -> u16 {
    assert!((FIRST_SPARE..FIRST_TASK).contains(&(selector & !7)), "not a spare selector: {selector:#x}");
    // SAFETY: a spare entry, used by one processor.
    unsafe { GDT.0.get().cast::<u64>().add(usize::from(selector / 8)).write_volatile(descriptor) };
    selector
}

/// The descriptor in the GDT that a selector names.
pub fn descriptor(selector: u16) -> u64 {
    // SAFETY: within the table, for it has more entries than any selector of this module.
    unsafe { GDT.0.get().cast::<u64>().add(usize::from(selector / 8)).read_volatile() }
}

/// The stack pointer that this processor loads when it comes from CPL 3 through a gate without an interrupt stack.
pub fn kernel_stack() -> u64 {
    // SAFETY: this processor's own task state.
    unsafe { (*TASKS[processor_index()].0.get()).privilege_stacks[0] }
}

/// Opens (true) or closes a port to CPL 3 on this processor.
pub fn open_port(port: u16, open: bool) {
    let map = TASKS[processor_index()].0.get();
    // SAFETY: this processor's own task state, and a byte inside the map.
    unsafe {
        let byte = (&raw mut (*map).io_map).cast::<u8>().add(usize::from(port / 8));
        let bit = 1 << (port % 8);
        byte.write_volatile(if open { byte.read_volatile() & !bit } else { byte.read_volatile() | bit });
    }
}
