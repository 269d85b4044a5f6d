// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs one instruction natively with every register set, and catches what it raises.

use std::mem::offset_of;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::{HostFrame, VectorState};

/// All registers, as the trampoline below loads and stores them.
#[repr(C, align(64))]
pub(super) struct Registers {
    legacy: [u8; 512],
    pub(super) gprs: [u64; 16],
    pub(super) rflags: u64,
    ymm_high: [[u8; 16]; 16],
    has_avx: u64,
}

/// Address of a signal's cause in the code page, if one came.
pub(super) type Signal = libc::c_int;

static FAULT: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
static PREVIOUS: OnceLock<Vec<(Signal, libc::sigaction)>> = OnceLock::new();

unsafe extern "sysv64" {
    fn viridian_test_native_run(registers: *mut Registers, code: *const u8);
    fn viridian_test_native_return();
}

std::arch::global_asm!(
    ".local viridian_test_registers",
    ".comm viridian_test_registers, 8, 8",
    ".local viridian_test_host_rsp",
    ".comm viridian_test_host_rsp, 8, 8",
    ".local viridian_test_entry",
    ".comm viridian_test_entry, 8, 8",
    ".local viridian_test_rdi",
    ".comm viridian_test_rdi, 8, 8",
    ".globl viridian_test_native_run",
    "viridian_test_native_run:",
    "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
    "sub rsp, 24",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 8]",
    "mov [rip + viridian_test_registers], rdi",
    "mov [rip + viridian_test_host_rsp], rsp",
    "mov [rip + viridian_test_entry], rsi",
    "fxrstor64 [rdi]",
    "cmp qword ptr [rdi + {has_avx}], 0",
    "je 2f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vinsertf128 ymm\\n, ymm\\n, [rdi + {ymm} + 16 * \\n], 1",
    ".endr",
    "2:",
    "push qword ptr [rdi + {rflags}]",
    "popfq",
    "mov rax, [rdi + {gprs} + 0]", "mov rcx, [rdi + {gprs} + 8]",
    "mov rdx, [rdi + {gprs} + 16]", "mov rbx, [rdi + {gprs} + 24]",
    "mov rsp, [rdi + {gprs} + 32]", "mov rbp, [rdi + {gprs} + 40]",
    "mov rsi, [rdi + {gprs} + 48]",
    "mov r8, [rdi + {gprs} + 64]", "mov r9, [rdi + {gprs} + 72]",
    "mov r10, [rdi + {gprs} + 80]", "mov r11, [rdi + {gprs} + 88]",
    "mov r12, [rdi + {gprs} + 96]", "mov r13, [rdi + {gprs} + 104]",
    "mov r14, [rdi + {gprs} + 112]", "mov r15, [rdi + {gprs} + 120]",
    "mov rdi, [rdi + {gprs} + 56]",
    "jmp [rip + viridian_test_entry]",
    ".globl viridian_test_native_return",
    "viridian_test_native_return:",
    "mov [rip + viridian_test_rdi], rdi",
    "mov rdi, [rip + viridian_test_registers]",
    "mov [rdi + {gprs} + 32], rsp",
    "mov rsp, [rip + viridian_test_host_rsp]",
    "mov [rdi + {gprs} + 0], rax", "mov [rdi + {gprs} + 8], rcx",
    "mov [rdi + {gprs} + 16], rdx", "mov [rdi + {gprs} + 24], rbx",
    "mov [rdi + {gprs} + 40], rbp", "mov [rdi + {gprs} + 48], rsi",
    "mov rax, [rip + viridian_test_rdi]", "mov [rdi + {gprs} + 56], rax",
    "mov [rdi + {gprs} + 64], r8", "mov [rdi + {gprs} + 72], r9",
    "mov [rdi + {gprs} + 80], r10", "mov [rdi + {gprs} + 88], r11",
    "mov [rdi + {gprs} + 96], r12", "mov [rdi + {gprs} + 104], r13",
    "mov [rdi + {gprs} + 112], r14", "mov [rdi + {gprs} + 120], r15",
    "pushfq",
    "pop qword ptr [rdi + {rflags}]",
    "fxsave64 [rdi]",
    "cmp qword ptr [rdi + {has_avx}], 0",
    "je 2f",
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    "vextractf128 [rdi + {ymm} + 16 * \\n], ymm\\n, 1",
    ".endr",
    "vzeroupper",
    "2:",
    "fninit",
    "fldcw [rsp + 8]",
    "ldmxcsr [rsp]",
    "cld",
    "add rsp, 24",
    "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx",
    "ret",
    gprs = const offset_of!(Registers, gprs),
    rflags = const offset_of!(Registers, rflags),
    ymm = const offset_of!(Registers, ymm_high),
    has_avx = const offset_of!(Registers, has_avx),
);

/// The one page that native instructions run in; whoever holds it may run them.
pub(super) struct CodePage(*mut u8);

// SAFETY: the page belongs to whoever holds the mutex around it.
unsafe impl Send for CodePage {}

/// Takes the code page; the trampoline and the fault record are its holder's too.
pub(super) fn code_page() -> MutexGuard<'static, CodePage> {
    static PAGE: OnceLock<Mutex<CodePage>> = OnceLock::new();
    PAGE.get_or_init(|| {
        let rights = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
        // SAFETY: a new private mapping disturbs nothing.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(page, libc::MAP_FAILED, "no page for native code");
        CODE_PAGE.store(page as usize, std::sync::atomic::Ordering::SeqCst);
        install();
        Mutex::new(CodePage(page.cast()))
    })
    .lock()
    .unwrap_or_else(PoisonError::into_inner)
}

static CODE_PAGE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

fn install() {
    let signals = [libc::SIGFPE, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL];
    let previous = signals.map(|signal| {
        // SAFETY: all-zero is a valid sigaction; the call reads the present one into it.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) }, 0);
        (signal, action)
    });
    assert!(PREVIOUS.set(previous.to_vec()).is_ok(), "installed once");
    for signal in signals {
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `handler` has the signature that SA_SIGINFO asks for.
        assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted thread's context.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let instruction = &mut registers[libc::REG_RIP as usize];
    if *instruction as usize == CODE_PAGE.load(std::sync::atomic::Ordering::SeqCst) {
        FAULT.store(signal, std::sync::atomic::Ordering::SeqCst);
        *instruction = viridian_test_native_return as *const () as libc::greg_t;
        return;
    }
    let previous = PREVIOUS.get().and_then(|all| all.iter().find(|(number, _)| *number == signal));
    match previous {
        Some((_, action))
            if action.sa_flags & libc::SA_SIGINFO != 0
                && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction) =>
        {
            // SAFETY: registered with SA_SIGINFO, so it has this signature.
            let next: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(action.sa_sigaction) };
            next(signal, info, context);
        }
        // SAFETY: ends the process, as the default action would.
        _ => unsafe { libc::abort() },
    }
}

impl CodePage {
    /// Runs `bytes` on the registers of `frame`. Returns the signal that it raised.
    ///
    /// Only the first instruction may raise one; all may only touch registers and memory that the test gave it.
    pub(super) fn run(&mut self, bytes: &[u8], frame: &mut HostFrame) -> Option<Signal> {
        let mut registers = Registers {
            legacy: [0; 512],
            gprs: frame.gprs,
            rflags: frame.rflags,
            ymm_high: std::array::from_fn(|index| frame.vector.ymm_high(index).to_le_bytes()),
            has_avx: u64::from(std::arch::is_x86_feature_detected!("avx")),
        };
        let (image, length) = frame.vector.fxsave(super::super::PointerWidth::Offset64, true);
        registers.legacy[..length].copy_from_slice(&image[..length]);
        // jmp [rip + 0] to the trampoline's second half.
        let mut code = bytes.to_vec();
        code.extend([0xFF, 0x25, 0, 0, 0, 0]);
        code.extend((viridian_test_native_return as *const () as usize).to_le_bytes());
        FAULT.store(0, std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the page is ours while we hold it, and has room. The trampoline restores what the calling convention
        // asks for, whatever the instruction does to registers.
        unsafe {
            self.0.copy_from_nonoverlapping(code.as_ptr(), code.len());
            viridian_test_native_run(&raw mut registers, self.0);
        }
        frame.gprs = registers.gprs;
        frame.rflags = registers.rflags;
        for (index, value) in registers.ymm_high.iter().enumerate() {
            frame.vector.set_ymm_high(index, u128::from_le_bytes(*value));
        }
        let loaded: Result<(), _> =
            frame.vector.fxrstor(&registers.legacy, super::super::PointerWidth::Offset64, true);
        loaded.expect("hardware's MXCSR has no reserved bit");
        let signal = FAULT.load(std::sync::atomic::Ordering::SeqCst);
        (signal != 0).then_some(signal)
    }
}

/// x87 pointers are addresses of different programs: left out of comparisons.
pub(super) fn without_pointers(vector: &VectorState) -> VectorState {
    let mut vector = vector.clone();
    vector.set_x87_pointers(0, 0, 0);
    vector
}
