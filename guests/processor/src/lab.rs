// SPDX-License-Identifier: MIT OR Apache-2.0
//! What all topics use: pieces of code to run, a second, user-accessible view of the program, and verdicts.

use crate::tcg;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use support::page::{self, Page, Size, bits};
use support::trap::State;
use support::{check, cpu};

/// Where the first 16 MiB of memory appear a second time, open to CPL 3. Below 4 GiB, for 32-bit code.
pub(crate) const USER: u64 = 0x8000_0000;
const USER_SIZE: u64 = 16 << 20;

/// Where topics map pages as they like, 4-level tables of their own from the second level down.
pub(crate) const WINDOW: u64 = 0x80_0000_0000;

const STACK_PAGES: usize = 4;
static KERNEL_STACK: [Page; STACK_PAGES] = [const { Page::new() }; STACK_PAGES];
static USER_STACK: [Page; STACK_PAGES] = [const { Page::new() }; STACK_PAGES];

static IS_TCG: AtomicBool = AtomicBool::new(false);

/// Makes the user view.
pub(crate) fn prepare() {
    for offset in (0..USER_SIZE).step_by(Size::Large.bytes() as usize) {
        // SAFETY: no program memory lies at the view's own addresses: it begins at 2 GiB.
        unsafe { page::map(USER + offset, offset, Size::Large, bits::PRESENT | bits::WRITE | bits::USER) };
    }
    let found = cpu::cpuid(0x4000_0000, 0);
    let hypervisor = cpu::cpuid(1, 0).ecx & 1 << 31 != 0;
    let tcg = u32::from_le_bytes(*b"TCGT");
    IS_TCG.store(hypervisor && found.ebx == tcg, Ordering::Relaxed);
}

/// Defines a function of bare instructions. It is never called: its address goes into a [`State`].
///
/// By convention 64-bit code puts into RBX the address at which the trap is expected to stand: `lea rbx, [rip + 9f]`.
macro_rules! code {
    ($($name:ident: $($line:expr),+;)+) => { $(
        #[unsafe(naked)]
        extern "C" fn $name() {
            core::arch::naked_asm!($($line),+)
        }
    )+ };
}
pub(crate) use code;

/// The address of a piece of code.
pub(crate) fn at(code: extern "C" fn()) -> u64 {
    code as *const () as u64
}

/// An address of the program as CPL 3 sees it.
pub(crate) fn user(address: u64) -> u64 {
    address + USER
}

/// The top of the stack that code at CPL 0 gets.
pub(crate) fn kernel_stack() -> u64 {
    KERNEL_STACK[0].address() + STACK_PAGES as u64 * page::SIZE - 64
}

/// The top of the stack that code at CPL 3 gets, as it sees it.
pub(crate) fn user_stack() -> u64 {
    user(USER_STACK[0].address()) + STACK_PAGES as u64 * page::SIZE - 64
}

/// 64-bit code at CPL 0.
pub(crate) fn kernel_state(code: extern "C" fn()) -> State {
    State::kernel(at(code), kernel_stack())
}

/// 64-bit code at CPL 3.
pub(crate) fn user_state(code: extern "C" fn()) -> State {
    State::user(user(at(code)), user_stack())
}

/// 32-bit code at CPL 3.
pub(crate) fn user32_state(code: extern "C" fn()) -> State {
    State::user32(user(at(code)), user_stack())
}

/// Runs a state to its end.
pub(crate) fn run(mut state: State) -> State {
    // SAFETY: the pieces of code of this program do what their topic says, on stacks of their own, and end in a trap.
    unsafe { state.run() };
    state
}

/// Prints and counts the verdict on one check; the details only if it failed.
pub(crate) fn verdict(topic: &str, passed: bool, what: &str, details: fmt::Arguments<'_>) {
    if passed {
        return check::record(topic, true, format_args!("{what}"));
    }
    match tcg::known_wrong(what).filter(|_| is_tcg()) {
        Some(reason) => check::record_skip(topic, format_args!("{what}: TCG is known to be wrong, {reason}")),
        None => check::record(topic, false, format_args!("{what}: {details}")),
    }
}

/// Tells whether QEMU's TCG is what runs here.
pub(crate) fn is_tcg() -> bool {
    IS_TCG.load(Ordering::Relaxed)
}

/// Judges that a state has trapped with a vector and an error code, at the address in RBX.
pub(crate) fn trapped(topic: &str, what: &str, state: &State, vector: u8, error: u32) {
    let fault = state.fault();
    let passed = fault.vector == vector && fault.error == error && fault.rip == state.frame.rbx;
    verdict(
        topic,
        passed,
        what,
        format_args!(
            "{fault} at {:#x}; expected {}({error:#x}) at {:#x}",
            fault.rip,
            support::trap::name(vector),
            state.frame.rbx
        ),
    );
}

/// `holds!(topic, condition, "what", "details {}", ...)`
macro_rules! holds {
    ($topic:expr, $condition:expr, $what:expr $(,)?) => {
        $crate::lab::verdict($topic, $condition, $what, format_args!("it is not so"))
    };
    ($topic:expr, $condition:expr, $what:expr, $($details:tt)+) => {
        $crate::lab::verdict($topic, $condition, $what, format_args!($($details)+))
    };
}
pub(crate) use holds;

/// What CPUID offers, as the bits are found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered(u32, u32, fn(&cpu::CpuidResult) -> u32, u32);

impl Offered {
    /// Tells whether the processor has it.
    pub(crate) fn yes(self) -> bool {
        let Offered(leaf, subleaf, register, bit) = self;
        let top = cpu::cpuid(leaf & 0x8000_0000, 0).eax;
        top >= leaf && register(&cpu::cpuid(leaf, subleaf)) >> bit & 1 != 0
    }
}

pub(crate) const SEP: Offered = Offered(1, 0, |r| r.edx, 11);
pub(crate) const PCID: Offered = Offered(1, 0, |r| r.ecx, 17);
pub(crate) const CX16: Offered = Offered(1, 0, |r| r.ecx, 13);
pub(crate) const XSAVE: Offered = Offered(1, 0, |r| r.ecx, 26);
pub(crate) const AVX: Offered = Offered(1, 0, |r| r.ecx, 28);
pub(crate) const BMI1: Offered = Offered(7, 0, |r| r.ebx, 3);
pub(crate) const AVX2: Offered = Offered(7, 0, |r| r.ebx, 5);
pub(crate) const XSAVEOPT: Offered = Offered(0xD, 1, |r| r.eax, 0);
pub(crate) const XSAVEC: Offered = Offered(0xD, 1, |r| r.eax, 1);
pub(crate) const XGETBV1: Offered = Offered(0xD, 1, |r| r.eax, 2);
pub(crate) const XSAVES: Offered = Offered(0xD, 1, |r| r.eax, 3);
pub(crate) const FSGSBASE: Offered = Offered(7, 0, |r| r.ebx, 0);
pub(crate) const SMEP: Offered = Offered(7, 0, |r| r.ebx, 7);
pub(crate) const INVPCID: Offered = Offered(7, 0, |r| r.ebx, 10);
pub(crate) const SMAP: Offered = Offered(7, 0, |r| r.ebx, 20);
pub(crate) const UMIP: Offered = Offered(7, 0, |r| r.ecx, 2);
pub(crate) const RDPID: Offered = Offered(7, 0, |r| r.ecx, 22);
pub(crate) const SYSCALL: Offered = Offered(0x8000_0001, 0, |r| r.edx, 11);
pub(crate) const NX: Offered = Offered(0x8000_0001, 0, |r| r.edx, 20);
pub(crate) const HUGE: Offered = Offered(0x8000_0001, 0, |r| r.edx, 26);
pub(crate) const RDTSCP: Offered = Offered(0x8000_0001, 0, |r| r.edx, 27);
