// SPDX-License-Identifier: MIT OR Apache-2.0
//! Recovery from faults in code that may touch memory which is not there.
//!
//! We are a library inside other people's processes, so the rules are strict: one handler is installed, once, when the first
//! range is registered; it acts only when the faulting instruction lies in a registered range, and hands every other
//! fault to the handler that was there before. It allocates nothing and takes no lock.
//!
//! A recovered fault continues at the range's landing address with the signal number in RAX; all other registers are as they
//! were at the faulting instruction. Code in a range must therefore keep its stack pointer balanced where it can
//! fault, or restore it at the landing.

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Signals that can be recovered from: bad address, bad backing page, arithmetic and SIMD exceptions.
const SIGNALS: [libc::c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE];
const MOST_RANGES: usize = 64;

struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
    landing: AtomicUsize,
}

static RANGES: [Range; MOST_RANGES] =
    [const { Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0), landing: AtomicUsize::new(0) } };
        MOST_RANGES];
static RANGE_COUNT: AtomicUsize = AtomicUsize::new(0);
static INSTALL: Once = Once::new();

/// Registers host code `start..end`: a fault of an instruction in it continues at `landing`. A range stays
/// registered for the life of the process.
///
/// # Panics
/// When more than 64 ranges are registered: ranges are arenas, of which a process has a few, never single stubs.
///
/// # Safety
/// `start..end` must be code that is valid to leave at any of its faulting instructions towards `landing`, with RAX
/// overwritten, and that stays so for the life of the process.
pub unsafe fn register(start: usize, end: usize, landing: usize) {
    INSTALL.call_once(install);
    let slot = RANGE_COUNT.fetch_add(1, Ordering::AcqRel);
    assert!(slot < MOST_RANGES, "more than {MOST_RANGES} recovery ranges");
    let range = &RANGES[slot];
    range.end.store(end, Ordering::Relaxed);
    range.landing.store(landing, Ordering::Relaxed);
    // A range counts from the moment its start is not zero, so it is stored last.
    range.start.store(start, Ordering::Release);
}

fn landing_of(address: usize) -> Option<usize> {
    let count = RANGE_COUNT.load(Ordering::Acquire).min(MOST_RANGES);
    RANGES[..count].iter().find_map(|range| {
        let start = range.start.load(Ordering::Acquire);
        let inside = start != 0 && start <= address && address < range.end.load(Ordering::Relaxed);
        inside.then(|| range.landing.load(Ordering::Relaxed))
    })
}

struct Earlier([core::cell::UnsafeCell<core::mem::MaybeUninit<libc::sigaction>>; SIGNALS.len()]);
// SAFETY: written once, inside `INSTALL`, before the handler that reads it is in force for that signal; only read afterwards.
unsafe impl Sync for Earlier {}
static EARLIER: Earlier =
    Earlier([const { core::cell::UnsafeCell::new(core::mem::MaybeUninit::uninit()) }; SIGNALS.len()]);

fn install() {
    for (index, &signal) in SIGNALS.iter().enumerate() {
        // SAFETY: `sigaction` is called with valid pointers; the handler has the SA_SIGINFO signature, and the earlier
        // action is read (first call) and kept before ours comes into force (second call).
        unsafe {
            let earlier = (*EARLIER.0[index].get()).as_mut_ptr();
            libc::sigaction(signal, core::ptr::null(), earlier);
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, &raw const action, core::ptr::null_mut());
        }
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid ucontext_t, which is ours to change until we return.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    #[allow(clippy::cast_sign_loss)]
    let address = registers[libc::REG_RIP as usize] as usize;
    if let Some(landing) = landing_of(address) {
        registers[libc::REG_RIP as usize] = landing as i64;
        registers[libc::REG_RAX as usize] = i64::from(signal);
        return;
    }
    hand_on(signal, info, context);
}

/// A fault that is not ours goes to whoever was there before us.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(index) = SIGNALS.iter().position(|&known| known == signal) else { return };
    // SAFETY: the earlier action was stored before our handler came into force. Calling it with the arguments that the
    // kernel gave us is what the kernel would have done.
    unsafe {
        let earlier = (*EARLIER.0[index].get()).assume_init();
        match earlier.sa_sigaction {
            libc::SIG_IGN => {}
            libc::SIG_DFL => {
                // Put the default back: the instruction faults again and ends the process as it would have.
                libc::sigaction(signal, &raw const earlier, core::ptr::null_mut());
            }
            function if earlier.sa_flags & libc::SA_SIGINFO != 0 => {
                let function: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    core::mem::transmute(function);
                function(signal, info, context);
            }
            function => {
                let function: extern "C" fn(libc::c_int) = core::mem::transmute(function);
                function(signal);
            }
        }
    }
}
