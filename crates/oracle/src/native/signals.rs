// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions of test code arrive as signals. The handlers take the registers from the signal frame and return to the runner.
//!
//! They run with the test's FS base, so they use nothing that is thread-local.

use std::io;
use std::sync::Once;
use std::sync::atomic::Ordering;

use super::border::{CONTEXT, RUNNING, WATCHED, WITH_AVX, WITHOUT_VECTOR, leave};
use crate::state::VectorArea;

const FAULTS: [libc::c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];
/// The watch over runs that do not end.
const WATCH: libc::c_int = libc::SIGALRM;
/// Nanoseconds of the thread's own time between two looks of the watch. A run that it sees twice is ended.
const WATCH_PERIOD: libc::c_long = 100_000_000;
const ALTERNATE_STACK: usize = 64 << 10;

/// Earlier actions for [`FAULTS`], written once before ours come into force.
struct Earlier(core::cell::UnsafeCell<[core::mem::MaybeUninit<libc::sigaction>; FAULTS.len()]>);
// SAFETY: written inside a `Once` before any handler of ours can run, then only read.
unsafe impl Sync for Earlier {}
static EARLIER: Earlier =
    Earlier(core::cell::UnsafeCell::new([const { core::mem::MaybeUninit::uninit() }; FAULTS.len()]));

/// Signal state of the runner's thread: handlers, an alternate stack, and the watch.
pub(super) struct Signals {
    earlier_stack: libc::stack_t,
    stack: Box<[u8]>,
    timer: libc::timer_t,
}

impl Signals {
    /// For the calling thread.
    pub(super) fn new() -> io::Result<Self> {
        install();
        let mut stack = vec![0; ALTERNATE_STACK].into_boxed_slice();
        let ours = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
        // SAFETY: plain old data, for which zeros are valid.
        let mut earlier_stack: libc::stack_t = unsafe { core::mem::zeroed() };
        // SAFETY: the stack lives as long as this value, whose drop puts the earlier one back.
        if unsafe { libc::sigaltstack(&raw const ours, &raw mut earlier_stack) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { earlier_stack, stack, timer: watch()? })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: both were made by `new`, on this thread: the type is not Send.
        unsafe {
            libc::timer_delete(self.timer);
            libc::sigaltstack(&raw const self.earlier_stack, core::ptr::null_mut());
        }
        debug_assert_eq!(self.stack.len(), ALTERNATE_STACK);
    }
}

/// Starts a timer that signals this thread.
fn watch() -> io::Result<libc::timer_t> {
    // SAFETY: plain old data.
    let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    event.sigev_signo = WATCH;
    // SAFETY: no arguments.
    event.sigev_notify_thread_id = unsafe { libc::gettid() };
    let mut timer: libc::timer_t = core::ptr::null_mut();
    let period = libc::timespec { tv_sec: 0, tv_nsec: WATCH_PERIOD };
    let schedule = libc::itimerspec { it_interval: period, it_value: period };
    // SAFETY: all pointers are to locals of the right types.
    unsafe {
        if libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut event, &raw mut timer) != 0
            || libc::timer_settime(timer, 0, &raw const schedule, core::ptr::null_mut()) != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(timer)
}

/// Installs the handlers, once in a process.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `arrive` has the signature that SA_SIGINFO asks for and is async-signal-safe; earlier actions are read before ours come into force.
        unsafe {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = arrive as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
            libc::sigfillset(&raw mut action.sa_mask);
            for (index, &signal) in FAULTS.iter().enumerate() {
                let earlier = (*EARLIER.0.get())[index].as_mut_ptr();
                libc::sigaction(signal, core::ptr::null(), earlier);
                libc::sigaction(signal, &raw const action, core::ptr::null_mut());
            }
            libc::sigaction(WATCH, &raw const action, core::ptr::null_mut());
        }
    });
}

/// Linux leaves RFLAGS.AC as the interrupted code had it, and compiled code may access memory unaligned.
#[unsafe(naked)]
extern "C" fn arrive(_signal: libc::c_int, _info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    core::arch::naked_asm!(
        "pushfq",
        "and dword ptr [rsp], {without_ac}",
        "popfq",
        "jmp {handle}",
        without_ac = const !(1i32 << 18),
        handle = sym handle,
    )
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !RUNNING.load(Ordering::Relaxed) || !on_runner_thread() {
        if signal != WATCH {
            hand_on(signal, info, context);
        }
        return;
    }
    // SAFETY: the kernel passes a valid ucontext_t, which is ours to change until we return, and the thread is the runner's, inside `enter`.
    let (machine, test) =
        unsafe { (&mut (*context.cast::<libc::ucontext_t>()).uc_mcontext, &mut *CONTEXT.get()) };
    let registers = &mut machine.gregs;
    let register = |name: libc::c_int| registers[name as usize] as u64;
    let code = leave as *const () as u64;
    if signal == WATCH {
        // The few instructions of the way in and out are not the test's.
        let outside = register(libc::REG_RIP).wrapping_sub(code).wrapping_add(4096) < 8192;
        if outside || WATCHED.swap(test.serial, Ordering::Relaxed) != test.serial {
            return;
        }
        test.timed_out = 1;
    }
    const ORDER: [libc::c_int; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];
    for (slot, name) in test.gprs.iter_mut().zip(ORDER) {
        *slot = register(name);
    }
    test.rip = register(libc::REG_RIP);
    test.rflags = register(libc::REG_EFL);
    // CS, GS, FS, SS from the low end; the other selectors are still in their registers.
    test.selectors[1] = register(libc::REG_CSGSFS) as u16;
    test.selectors[2] = (register(libc::REG_CSGSFS) >> 48) as u16;
    test.trap = register(libc::REG_TRAPNO);
    test.error_code = register(libc::REG_ERR);
    test.address = register(libc::REG_CR2);
    if test.with_vector != WITHOUT_VECTOR && !machine.fpregs.is_null() {
        let bytes = if test.with_vector == WITH_AVX { VectorArea::BYTES } else { VectorArea::XSTATE_BV };
        let area = &mut test.vector.0;
        // SAFETY: the frame's floating-point state begins with an FXSAVE area, and is an XSAVE area in standard form where AVX is enabled.
        unsafe { core::ptr::copy_nonoverlapping(machine.fpregs.cast::<u8>(), area.as_mut_ptr(), bytes) };
        // What is not marked as in use is in its initial configuration, whatever stands there.
        let in_use = area[VectorArea::XSTATE_BV];
        if bytes == VectorArea::BYTES && in_use & 4 == 0 {
            area[VectorArea::YMM_HIGH..].fill(0);
        }
    }
    registers[libc::REG_RIP as usize] = code as i64;
    registers[libc::REG_RSP as usize] = test.host_rsp as i64;
    registers[libc::REG_EFL as usize] = 0x202;
    registers[libc::REG_CSGSFS as usize] = 0x002B_0000_0000_0033;
}

/// Whether this is the thread whose test code runs, told by the stack that the handler runs on.
fn on_runner_thread() -> bool {
    let here = 0u8;
    let here = (&raw const here).addr();
    STACK_START.load(Ordering::Relaxed) <= here
        && here < STACK_START.load(Ordering::Relaxed) + ALTERNATE_STACK
}

/// Address of the alternate stack of the thread whose test code runs.
static STACK_START: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

impl Signals {
    /// Says that this thread's test code is about to run.
    pub(super) fn claim(&self) {
        STACK_START.store(self.stack.as_ptr().addr(), Ordering::Relaxed);
    }
}

/// A fault that is not the test's goes to whoever was there before us.
fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(index) = FAULTS.iter().position(|&known| known == signal) else { return };
    // SAFETY: stored before our handler came into force; the arguments are those that the kernel gave us.
    unsafe {
        let earlier = (*EARLIER.0.get())[index].assume_init();
        match earlier.sa_sigaction {
            libc::SIG_IGN => {}
            libc::SIG_DFL => {
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
