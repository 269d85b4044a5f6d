// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions and interrupts, and three ways to meet them: a handler for a vector ([`set_handler`]), an instruction that is
//! allowed to fault ([`guarded!`] and its readymade uses), and a machine state that is run until it traps ([`State::run`]).
//!
//! An exception that none of the three expects is reported with its registers and ends the program.

use crate::exit::{self, Code};
use crate::segments::{self, InterruptStack, MAX_PROCESSORS};
use crate::{cpu, println};
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::fmt;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

global_asm!(include_str!("traps.s"));

unsafe extern "C" {
    static trap_gates: [[u8; 16]; 256];
    fn run_until_trap(state: *mut State, resume_stack: *mut u64);
    fn resume_after_trap();
}

/// The registers of interrupted code, as they lie on the interrupt stack. A handler may change them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Frame {
    /// General-purpose register.
    pub r15: u64,
    /// General-purpose register.
    pub r14: u64,
    /// General-purpose register.
    pub r13: u64,
    /// General-purpose register.
    pub r12: u64,
    /// General-purpose register.
    pub r11: u64,
    /// General-purpose register.
    pub r10: u64,
    /// General-purpose register.
    pub r9: u64,
    /// General-purpose register.
    pub r8: u64,
    /// General-purpose register.
    pub rdi: u64,
    /// General-purpose register.
    pub rsi: u64,
    /// General-purpose register.
    pub rbp: u64,
    /// General-purpose register.
    pub rbx: u64,
    /// General-purpose register.
    pub rdx: u64,
    /// General-purpose register.
    pub rcx: u64,
    /// General-purpose register.
    pub rax: u64,
    /// Vector of the trap.
    pub vector: u64,
    /// Error code, 0 for a trap that has none.
    pub error: u64,
    /// Instruction pointer.
    pub rip: u64,
    /// Code segment selector.
    pub cs: u64,
    /// Flags.
    pub rflags: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Stack segment selector.
    pub ss: u64,
}

/// An exception that was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Vector, 0 to 31.
    pub vector: u8,
    /// Error code, 0 for an exception that has none.
    pub error: u32,
    /// Where the faulting instruction stands (or, for a trap, the one after it).
    pub rip: u64,
    /// CR2, which only a page fault sets.
    pub cr2: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", name(self.vector))?;
        if self.error != 0 || matches!(self.vector, 8 | 10..=14 | 17) {
            write!(f, "({:#x})", self.error)?;
        }
        if self.vector == vector::PAGE_FAULT {
            write!(f, " at address {:#x}", self.cr2)?;
        }
        Ok(())
    }
}

/// The exception vectors that programs name.
pub mod vector {
    /// #DE
    pub const DIVIDE: u8 = 0;
    /// #DB
    pub const DEBUG: u8 = 1;
    /// NMI
    pub const NMI: u8 = 2;
    /// #BP
    pub const BREAKPOINT: u8 = 3;
    /// #OF
    pub const OVERFLOW: u8 = 4;
    /// #BR
    pub const BOUND: u8 = 5;
    /// #UD
    pub const INVALID_OPCODE: u8 = 6;
    /// #NM
    pub const NO_MATH: u8 = 7;
    /// #DF
    pub const DOUBLE_FAULT: u8 = 8;
    /// #TS
    pub const INVALID_TSS: u8 = 10;
    /// #NP
    pub const NOT_PRESENT: u8 = 11;
    /// #SS
    pub const STACK: u8 = 12;
    /// #GP
    pub const GENERAL_PROTECTION: u8 = 13;
    /// #PF
    pub const PAGE_FAULT: u8 = 14;
    /// #MF
    pub const MATH: u8 = 16;
    /// #AC
    pub const ALIGNMENT: u8 = 17;
    /// #XM
    pub const SIMD: u8 = 19;
}

/// The short name of an exception.
pub fn name(vector: u8) -> &'static str {
    const NAMES: [&str; 22] = [
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "(9)", "#TS", "#NP", "#SS", "#GP",
        "#PF", "(15)", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    ];
    NAMES.get(usize::from(vector)).copied().unwrap_or("interrupt")
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

struct Shared<T>(UnsafeCell<T>);
// SAFETY: the IDT is filled before other processors start, and changed by programs on one processor only; a `Local` is touched
// by its own processor only.
unsafe impl<T> Sync for Shared<T> {}

static IDT: Shared<[Gate; 256]> = Shared(UnsafeCell::new([Gate { low: 0, high: 0 }; 256]));
static HANDLERS: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// What one processor expects.
struct Local {
    /// Where a guarded instruction goes on when it faults; 0 when none is expected.
    recovery: AtomicU64,
    fault: UnsafeCell<Option<Fault>>,
    /// The state that is running until it traps; 0 when none is.
    running: AtomicU64,
    resume_stack: UnsafeCell<u64>,
}

static LOCALS: [Shared<Local>; MAX_PROCESSORS] = [const {
    Shared(UnsafeCell::new(Local {
        recovery: AtomicU64::new(0),
        fault: UnsafeCell::new(None),
        running: AtomicU64::new(0),
        resume_stack: UnsafeCell::new(0),
    }))
}; MAX_PROCESSORS];

fn local() -> &'static Local {
    // SAFETY: only this processor uses it, and its fields are cells.
    unsafe { &*LOCALS[segments::processor_index()].0.get() }
}

/// Fills the IDT, once.
pub(crate) fn initialise() {
    for vector in 0..=255 {
        set_gate_to_default(vector);
    }
}

/// Loads the IDT on this processor.
pub fn load_idt() {
    let register: [u16; 5] = {
        let base = IDT.0.get() as u64;
        [16 * 256 - 1, base as u16, (base >> 16) as u16, (base >> 32) as u16, (base >> 48) as u16]
    };
    // SAFETY: the table is static and filled.
    unsafe { asm!("lidt [{}]", in(reg) &register, options(nostack, preserves_flags)) };
}

/// The kinds of gate of 64-bit mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum GateKind {
    /// Clears IF.
    Interrupt = 0xE,
    /// Leaves IF.
    Trap = 0xF,
}

/// Sets a gate: target, interrupt stack, kind, and the least privileged CPL that may reach it by INT n.
///
/// # Safety
/// The target must be code that handles the trap and ends it with IRETQ, or never returns.
pub unsafe fn set_gate(vector: u8, target: u64, stack: InterruptStack, kind: GateKind, privilege: u8) {
    let attributes = stack as u64 | u64::from(kind as u8) << 8 | u64::from(privilege & 3) << 13 | 1 << 15;
    let gate = Gate {
        low: (target & 0xFFFF)
            | u64::from(segments::KERNEL_CODE) << 16
            | attributes << 32
            | (target >> 16 & 0xFFFF) << 48,
        high: target >> 32,
    };
    // SAFETY: one of 256 entries; volatile, for the processor reads it.
    unsafe { IDT.0.get().cast::<Gate>().add(usize::from(vector)).write_volatile(gate) };
}

/// Sets a gate's present bit.
pub fn set_gate_present(vector: u8, present: bool) {
    // SAFETY: one of 256 entries.
    unsafe {
        let gate = IDT.0.get().cast::<Gate>().add(usize::from(vector));
        let mut value = gate.read_volatile();
        value.low = value.low & !(1 << 47) | u64::from(present) << 47;
        gate.write_volatile(value);
    }
}

/// Gives a gate back to this module. #BP, #OF and the vectors from 32 may be reached from CPL 3 by INT n.
pub fn set_gate_to_default(vector: u8) {
    let stack = match vector {
        vector::NMI | 18 => InterruptStack::NonMaskable,
        vector::DOUBLE_FAULT => InterruptStack::DoubleFault,
        0..32 => InterruptStack::Exception,
        _ => InterruptStack::Interrupt,
    };
    let privilege = if matches!(vector, 3 | 4 | 32..) { 3 } else { 0 };
    // SAFETY: the gates of traps.s handle every vector.
    unsafe {
        let target = &raw const trap_gates[usize::from(vector)] as u64;
        set_gate(vector, target, stack, GateKind::Interrupt, privilege);
    }
}

/// A function that serves a vector. It runs with interrupts off and must not turn them on: its stack is the vector's.
pub type Handler = fn(&mut Frame);

/// Sets (or with `None` takes away) the handler of a vector, for all processors. It is asked before anything else.
pub fn set_handler(vector: u8, handler: Option<Handler>) {
    HANDLERS[usize::from(vector)].store(handler.map_or(0, |handler| handler as usize), Ordering::Release);
}

/// Called by traps.s with the frame on the interrupt stack.
#[unsafe(no_mangle)]
extern "C" fn trap_dispatch(frame: &mut Frame) {
    let vector = frame.vector as u8;
    let handler = HANDLERS[usize::from(vector)].load(Ordering::Acquire);
    if handler != 0 {
        // SAFETY: only `set_handler` stores here, and it stores handlers.
        let handler = unsafe { core::mem::transmute::<usize, Handler>(handler) };
        return handler(frame);
    }
    let local = local();
    let running = local.running.swap(0, Ordering::Relaxed);
    if running != 0 {
        // SAFETY: the state that `State::run` holds exclusively while it waits for us.
        let state = unsafe { &mut *(running as *mut State) };
        state.frame = *frame;
        state.cr2 = cpu::cr2();
        state.read_selectors();
        frame.rip = resume_after_trap as *const () as u64;
        frame.cs = u64::from(segments::KERNEL_CODE);
        frame.ss = u64::from(segments::KERNEL_DATA);
        frame.rflags = 2;
        // SAFETY: written by `run_until_trap` on this processor.
        frame.rsp = unsafe { *local.resume_stack.get() };
        return;
    }
    let recovery = local.recovery.swap(0, Ordering::Relaxed);
    if recovery != 0 && vector < 32 {
        let fault = Fault { vector, error: frame.error as u32, rip: frame.rip, cr2: cpu::cr2() };
        // SAFETY: the guarded instruction's owner reads it after this returns.
        unsafe { *local.fault.get() = Some(fault) };
        frame.rip = recovery;
        // A single step must not go on behind the recovery.
        frame.rflags &= !(1 << 8);
        return;
    }
    report(frame)
}

fn report(frame: &Frame) -> ! {
    let vector = frame.vector as u8;
    println!("\nunexpected {} (vector {vector}) on processor {}", name(vector), segments::processor_index());
    println!("  error {:#x}  rip {:#x}:{:#x}  cr2 {:#x}", frame.error, frame.cs, frame.rip, cpu::cr2());
    println!("  rflags {:#x}  rsp {:#x}:{:#x}", frame.rflags, frame.ss, frame.rsp);
    println!(
        "  rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}",
        frame.rax, frame.rbx, frame.rcx, frame.rdx
    );
    println!(
        "  rsi {:016x}  rdi {:016x}  rbp {:016x}  r8  {:016x}",
        frame.rsi, frame.rdi, frame.rbp, frame.r8
    );
    println!(
        "  r9  {:016x}  r10 {:016x}  r11 {:016x}  r12 {:016x}",
        frame.r9, frame.r10, frame.r11, frame.r12
    );
    println!("  r13 {:016x}  r14 {:016x}  r15 {:016x}", frame.r13, frame.r14, frame.r15);
    exit::exit(Code::UnexpectedException)
}

/// For [`guarded!`]: where it stores its way out.
pub fn recovery_slot() -> *mut u64 {
    let local = local();
    // SAFETY: this processor's own cell.
    unsafe { *local.fault.get() = None };
    local.recovery.as_ptr()
}

/// For [`guarded!`]: the fault since [`recovery_slot`], if there was one.
pub fn take_fault() -> Option<Fault> {
    let local = local();
    local.recovery.store(0, Ordering::Relaxed);
    // SAFETY: this processor's own cell.
    unsafe { (*local.fault.get()).take() }
}

/// Executes instructions that may fault: `guarded!("rdmsr"; in("ecx") n, out("eax") low)` gives `Option<Fault>`. After a fault
/// it goes on behind the last one, with every register as the faulting instruction left it. Must stand in an `unsafe` block.
/// The instructions may use `{recovery_scratch}` no more than the operands' names.
#[macro_export]
macro_rules! guarded {
    ($($instruction:expr),+ ; $($operands:tt)*) => {{
        let slot = $crate::trap::recovery_slot();
        core::arch::asm!(
            "lea {recovery_scratch}, [rip + 77f]",
            "mov [{recovery_slot}], {recovery_scratch}",
            $($instruction,)+
            "77:",
            recovery_slot = in(reg) slot,
            recovery_scratch = out(reg) _,
            $($operands)*
        );
        $crate::trap::take_fault()
    }};
}

fn result<T>(value: T, fault: Option<Fault>) -> Result<T, Fault> {
    fault.map_or(Ok(value), Err)
}

/// Reads a model-specific register that may be missing.
pub fn rdmsr(number: u32) -> Result<u64, Fault> {
    let (mut low, mut high) = (0_u32, 0_u32);
    // SAFETY: reads an MSR; a fault is caught.
    let fault = unsafe { guarded!("rdmsr"; in("ecx") number, inout("eax") low, inout("edx") high) };
    result(u64::from(high) << 32 | u64::from(low), fault)
}

/// Writes a model-specific register that may refuse.
pub fn wrmsr(number: u32, value: u64) -> Result<(), Fault> {
    // SAFETY: a fault is caught; a value that takes the ground from under the program is the caller's mistake to see.
    let fault = unsafe {
        guarded!("wrmsr"; in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32)
    };
    result((), fault)
}

/// Reads 32 bits from a port.
pub fn in32(port: u16) -> Result<u32, Fault> {
    let mut value = 0_u32;
    // SAFETY: a fault is caught.
    let fault = unsafe { guarded!("in eax, dx"; in("dx") port, inout("eax") value) };
    result(value, fault)
}

/// Writes 32 bits to a port.
pub fn out32(port: u16, value: u32) -> Result<(), Fault> {
    // SAFETY: a fault is caught.
    let fault = unsafe { guarded!("out dx, eax"; in("dx") port, in("eax") value) };
    result((), fault)
}

/// Reads 64 bits from an address that may not be readable.
pub fn read64(address: u64) -> Result<u64, Fault> {
    let mut value = 0_u64;
    // SAFETY: a fault is caught.
    let fault =
        unsafe { guarded!("mov {value}, [{address}]"; address = in(reg) address, value = inout(reg) value) };
    result(value, fault)
}

/// Writes 64 bits to an address that may not be writable.
///
/// # Safety
/// If it is writable it must not be memory that the compiler knows.
pub unsafe fn write64(address: u64, value: u64) -> Result<(), Fault> {
    // SAFETY: a fault is caught; the rest as the caller promises.
    let fault =
        unsafe { guarded!("mov [{address}], {value}"; address = in(reg) address, value = in(reg) value) };
    result((), fault)
}

/// A machine state to run, and after [`State::run`] the state in which it trapped. Its layout is known to traps.s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct State {
    /// General registers, instruction pointer, flags, stack; after a run also vector and error code.
    pub frame: Frame,
    /// Data segment selector.
    pub ds: u32,
    /// Extra segment selector.
    pub es: u32,
    /// FS selector.
    pub fs: u32,
    /// GS selector.
    pub gs: u32,
    /// CR2 after the run.
    pub cr2: u64,
    /// CR0 during the run, for bits with which compiled code could not run; 0 to leave it as it is.
    pub cr0: u64,
}

const _: () = assert!(size_of::<Frame>() == 176 && core::mem::offset_of!(State, cr0) == 200);

impl State {
    /// 64-bit code at CPL 0, interrupts off.
    pub fn kernel(rip: u64, rsp: u64) -> State {
        let frame = Frame {
            rip,
            cs: u64::from(segments::KERNEL_CODE),
            rflags: 2,
            rsp,
            ss: u64::from(segments::KERNEL_DATA),
            ..Frame::default()
        };
        State {
            frame,
            ds: u32::from(segments::KERNEL_DATA),
            es: u32::from(segments::KERNEL_DATA),
            ..State::default()
        }
    }

    /// 64-bit code at CPL 3, interrupts off.
    pub fn user(rip: u64, rsp: u64) -> State {
        let frame = Frame {
            rip,
            cs: u64::from(segments::USER_CODE),
            rflags: 2,
            rsp,
            ss: u64::from(segments::USER_DATA),
            ..Frame::default()
        };
        State {
            frame,
            ds: u32::from(segments::USER_DATA),
            es: u32::from(segments::USER_DATA),
            ..State::default()
        }
    }

    /// 32-bit code at CPL 3, interrupts off.
    pub fn user32(rip: u64, rsp: u64) -> State {
        let mut state = State::user(rip, rsp);
        state.frame.cs = u64::from(segments::USER_CODE_32);
        state
    }

    /// Runs the state until the next trap that has no handler, which ends up in it: vector, error code, CR2, registers.
    ///
    /// # Safety
    /// What the code does is the caller's affair. It must trap before it destroys anything of this program.
    pub unsafe fn run(&mut self) {
        let local = local();
        let interrupts = cpu::rflags() & 1 << 9 != 0;
        cpu::disable_interrupts();
        local.running.store(self as *mut State as u64, Ordering::Relaxed);
        // SAFETY: the state outlives the run, and a trap brings us back; the rest as the caller promises.
        unsafe {
            run_until_trap(self, local.resume_stack.get());
            // What the code loaded into them means nothing here.
            asm!("mov ds, {data:x}", "mov es, {data:x}", data = in(reg) segments::KERNEL_DATA, options(nostack));
        }
        if interrupts {
            cpu::enable_interrupts();
        }
    }

    /// The trap that ended the run.
    pub fn fault(&self) -> Fault {
        Fault {
            vector: self.frame.vector as u8,
            error: self.frame.error as u32,
            rip: self.frame.rip,
            cr2: self.cr2,
        }
    }

    fn read_selectors(&mut self) {
        // SAFETY: reads four selectors.
        unsafe {
            asm!("mov {:e}, ds", out(reg) self.ds, options(nomem, nostack, preserves_flags));
            asm!("mov {:e}, es", out(reg) self.es, options(nomem, nostack, preserves_flags));
            asm!("mov {:e}, fs", out(reg) self.fs, options(nomem, nostack, preserves_flags));
            asm!("mov {:e}, gs", out(reg) self.gs, options(nomem, nostack, preserves_flags));
        }
    }
}
