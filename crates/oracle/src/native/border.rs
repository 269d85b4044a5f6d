// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way into a test's code and back.
//!
//! In: every register is loaded and an IRET goes to the code, with any RFLAGS, stack pointer and code segment. Out: there is only one way, a signal. Its
//! handler ([`super::signals`]) copies the registers out of the signal frame and returns to [`leave`] instead.

use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32};

use crate::state::VectorArea;

/// Values of [`Context::with_vector`].
pub(super) const WITHOUT_VECTOR: u32 = 0;
pub(super) const WITH_FXSAVE: u32 = 1;
pub(super) const WITH_AVX: u32 = 2;

/// What the way in and out needs. There is one, and only the thread that owns the runner uses it.
#[repr(C)]
pub(super) struct Context {
    pub(super) vector: VectorArea,
    pub(super) gprs: [u64; 16],
    pub(super) rip: u64,
    pub(super) rflags: u64,
    pub(super) cs: u64,
    pub(super) ss: u64,
    /// DS and ES.
    pub(super) data: u64,
    pub(super) fs_base: u64,
    pub(super) gs_base: u64,
    pub(super) host_rsp: u64,
    host_fs_base: u64,
    host_gs_base: u64,
    host_mxcsr: u32,
    host_fcw: u32,
    /// Vector state that is loaded and kept: none, that of FXRSTOR64, or that of XRSTOR64 with AVX.
    pub(super) with_vector: u32,
    /// ES, CS, SS, DS, FS, GS at the end.
    pub(super) selectors: [u16; 6],
    /// Exception that ended the run.
    pub(super) trap: u64,
    pub(super) error_code: u64,
    pub(super) address: u64,
    /// Not zero: the watch ended the run.
    pub(super) timed_out: u32,
    /// Counts runs.
    pub(super) serial: u32,
}

/// Holds the [`Context`].
#[repr(transparent)]
pub(super) struct Shared(UnsafeCell<Context>);

// SAFETY: used by one thread at a time: the one that owns the runner, and signal handlers that interrupt its test code.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn get(&self) -> *mut Context {
        self.0.get()
    }
}

pub(super) static CONTEXT: Shared = Shared(UnsafeCell::new(Context {
    vector: VectorArea([0; VectorArea::BYTES]),
    gprs: [0; 16],
    rip: 0,
    rflags: 0,
    cs: 0,
    ss: 0,
    data: 0,
    fs_base: 0,
    gs_base: 0,
    host_rsp: 0,
    host_fs_base: 0,
    host_gs_base: 0,
    host_mxcsr: 0,
    host_fcw: 0,
    with_vector: 0,
    selectors: [0; 6],
    trap: 0,
    error_code: 0,
    address: 0,
    timed_out: 0,
    serial: 0,
}));

/// Test code is running, or the instructions around it.
pub(super) static RUNNING: AtomicBool = AtomicBool::new(false);
/// The serial number that the watch saw last.
pub(super) static WATCHED: AtomicU32 = AtomicU32::new(0);

/// Runs what [`CONTEXT`] says and comes back when a signal ended it.
///
/// # Safety
/// The handlers must be installed, an alternate signal stack in force, the caller the runner's thread, and the context complete:
/// selectors that Linux gives to programs, canonical addresses, RFLAGS.NT clear.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn enter() {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "stmxcsr [rip + {c} + {host_mxcsr}]",
        "fnstcw [rip + {c} + {host_fcw}]",
        "mov [rip + {c} + {host_rsp}], rsp",
        "cmp dword ptr [rip + {c} + {with_vector}], 0",
        "je 2f",
        "fxrstor64 [rip + {c} + {vector}]",
        "cmp dword ptr [rip + {c} + {with_vector}], {with_avx}",
        "jne 2f",
        "mov eax, 7",
        "xor edx, edx",
        "xrstor64 [rip + {c} + {vector}]",
        "2: rdfsbase rax",
        "mov [rip + {c} + {host_fs_base}], rax",
        "rdgsbase rax",
        "mov [rip + {c} + {host_gs_base}], rax",
        "mov rax, [rip + {c} + {fs_base}]",
        "wrfsbase rax",
        "mov rax, [rip + {c} + {gs_base}]",
        "wrgsbase rax",
        "mov ds, word ptr [rip + {c} + {data}]",
        "mov es, word ptr [rip + {c} + {data}]",
        "push qword ptr [rip + {c} + {ss}]",
        "push qword ptr [rip + {c} + {gprs} + 4*8]",
        "push qword ptr [rip + {c} + {rflags}]",
        "push qword ptr [rip + {c} + {cs}]",
        "push qword ptr [rip + {c} + {rip}]",
        "mov rax, [rip + {c} + {gprs} + 0*8]",
        "mov rcx, [rip + {c} + {gprs} + 1*8]",
        "mov rdx, [rip + {c} + {gprs} + 2*8]",
        "mov rbx, [rip + {c} + {gprs} + 3*8]",
        "mov rbp, [rip + {c} + {gprs} + 5*8]",
        "mov rsi, [rip + {c} + {gprs} + 6*8]",
        "mov rdi, [rip + {c} + {gprs} + 7*8]",
        "mov r8, [rip + {c} + {gprs} + 8*8]",
        "mov r9, [rip + {c} + {gprs} + 9*8]",
        "mov r10, [rip + {c} + {gprs} + 10*8]",
        "mov r11, [rip + {c} + {gprs} + 11*8]",
        "mov r12, [rip + {c} + {gprs} + 12*8]",
        "mov r13, [rip + {c} + {gprs} + 13*8]",
        "mov r14, [rip + {c} + {gprs} + 14*8]",
        "mov r15, [rip + {c} + {gprs} + 15*8]",
        "iretq",
        c = sym CONTEXT,
        host_mxcsr = const offset_of!(Context, host_mxcsr),
        host_fcw = const offset_of!(Context, host_fcw),
        host_rsp = const offset_of!(Context, host_rsp),
        host_fs_base = const offset_of!(Context, host_fs_base),
        host_gs_base = const offset_of!(Context, host_gs_base),
        with_vector = const offset_of!(Context, with_vector),
        with_avx = const WITH_AVX,
        vector = const offset_of!(Context, vector),
        fs_base = const offset_of!(Context, fs_base),
        gs_base = const offset_of!(Context, gs_base),
        data = const offset_of!(Context, data),
        ss = const offset_of!(Context, ss),
        cs = const offset_of!(Context, cs),
        rip = const offset_of!(Context, rip),
        rflags = const offset_of!(Context, rflags),
        gprs = const offset_of!(Context, gprs),
    )
}

/// Where the signal handler returns to: the second half of [`enter`]. RSP is what it was there.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn leave() {
    naked_asm!(
        // What a signal's return does not take from its frame: NT, with which IRET would fault, and ID.
        "push 0x202",
        "popfq",
        "rdfsbase rax",
        "mov [rip + {c} + {fs_base}], rax",
        "rdgsbase rax",
        "mov [rip + {c} + {gs_base}], rax",
        "mov [rip + {c} + {selectors} + 0*2], es",
        "mov [rip + {c} + {selectors} + 3*2], ds",
        "mov [rip + {c} + {selectors} + 4*2], fs",
        "mov [rip + {c} + {selectors} + 5*2], gs",
        "cmp dword ptr [rip + {c} + {with_vector}], {with_avx}",
        "jne 2f",
        "vzeroupper",
        "2:",
        "xor eax, eax",
        "mov ds, eax",
        "mov es, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov rax, [rip + {c} + {host_fs_base}]",
        "wrfsbase rax",
        "mov rax, [rip + {c} + {host_gs_base}]",
        "wrgsbase rax",
        "fninit",
        "fldcw [rip + {c} + {host_fcw}]",
        "ldmxcsr [rip + {c} + {host_mxcsr}]",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
        c = sym CONTEXT,
        host_mxcsr = const offset_of!(Context, host_mxcsr),
        host_fcw = const offset_of!(Context, host_fcw),
        host_fs_base = const offset_of!(Context, host_fs_base),
        host_gs_base = const offset_of!(Context, host_gs_base),
        selectors = const offset_of!(Context, selectors),
        with_vector = const offset_of!(Context, with_vector),
        with_avx = const WITH_AVX,
        fs_base = const offset_of!(Context, fs_base),
        gs_base = const offset_of!(Context, gs_base),
    )
}
