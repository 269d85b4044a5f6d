// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unmasked SIMD floating-point exceptions, with the host as the judge.
//!
//! A guest rarely unmasks one in MXCSR. When it has, its instruction runs with its own MXCSR on the host, which
//! traps exactly when and how the guest's processor would: packed elements, flags, tiny but exact results. The
//! trap is a SIGFPE at the one instruction in the stub that can raise it; the handler sends the thread to the
//! stub's exit for that case, which keeps the MXCSR that hardware left and commits no register.
//!
//! A process that never meets such a guest never gets the handler. It acts only on a thread which is inside
//! [`call`], at the very address announced there; every other SIGFPE goes to the handler that was there before.
//! It runs on the alternate stack if the thread has one.
//!
//! The kernel ends a process whose thread traps with SIGFPE blocked, and worker threads often block all signals. So a
//! thread that has it blocked when it first comes here gets it unblocked around each of these calls.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use super::frame::HostFrame;

/// What a stub tells the handler.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrapSite {
    /// Address of the instruction that can trap.
    pub(super) instruction: usize,
    /// Where the thread goes on after a trap there.
    pub(super) exit: usize,
}

/// A stub's entry point.
pub(super) type Entry = unsafe extern "sysv64" fn(*mut HostFrame);

struct Announcement {
    instruction: Cell<usize>,
    exit: Cell<usize>,
    trapped: Cell<bool>,
    /// Whether this thread blocks SIGFPE, once that is known.
    blocked: Cell<Option<bool>>,
}

/// No code is at this address.
const NOWHERE: usize = 0;

thread_local! {
    static ANNOUNCEMENT: Announcement = const {
        Announcement {
            instruction: Cell::new(NOWHERE),
            exit: Cell::new(NOWHERE),
            trapped: Cell::new(false),
            blocked: Cell::new(None),
        }
    };
}

/// Calls `entry` with `frame`, ready for a trap at `site`. Returns whether it trapped.
///
/// # Panics
///
/// If the kernel refuses a handler for SIGFPE, which it has no reason to do.
///
/// # Safety
///
/// `entry` must be a stub for frames, and `site` must name places in it: after a trap at `site.instruction` control
/// may go to `site.exit` with all registers as they are.
pub(super) unsafe fn call(entry: Entry, frame: &mut HostFrame, site: TrapSite) -> bool {
    install();
    ANNOUNCEMENT.with(|announcement| {
        let blocked = announcement.blocked.get().unwrap_or_else(sigfpe_is_blocked);
        announcement.blocked.set(Some(blocked));
        if blocked {
            change_sigfpe_mask(libc::SIG_UNBLOCK);
        }
        announcement.trapped.set(false);
        announcement.exit.set(site.exit);
        announcement.instruction.set(site.instruction);
        // SAFETY: the caller's promise. The call is opaque to the compiler and the cells are shared, so they are
        // written before it and read after it.
        unsafe { entry(frame) };
        announcement.instruction.set(NOWHERE);
        if blocked {
            change_sigfpe_mask(libc::SIG_BLOCK);
        }
        announcement.trapped.get()
    })
}

fn sigfpe_is_blocked() -> bool {
    // SAFETY: an all-zero signal set is a valid value; the calls read the thread's mask into it and look at it.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask) == 0
            && libc::sigismember(&raw const mask, libc::SIGFPE) == 1
    }
}

fn change_sigfpe_mask(how: libc::c_int) {
    // SAFETY: as above; changes only SIGFPE in this thread's mask.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGFPE);
        libc::pthread_sigmask(how, &raw const mask, std::ptr::null_mut());
    }
}

static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static INSTALLED: OnceLock<()> = OnceLock::new();

fn install() {
    INSTALLED.get_or_init(|| {
        // SAFETY: an all-zero sigaction is a valid value: default action, no flags, empty mask.
        let mut previous: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: reads the present action into a value of ours.
        let read = unsafe { libc::sigaction(libc::SIGFPE, std::ptr::null(), &raw mut previous) };
        assert_eq!(read, 0, "cannot read the SIGFPE action: {}", io::Error::last_os_error());
        // The handler may run as soon as it is installed, so what it chains to must be known before.
        let _ = PREVIOUS.set(previous);
        // SAFETY: as above.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: `handler` has the signature that SA_SIGINFO asks for and keeps to async-signal-safe work.
        let installed = unsafe { libc::sigaction(libc::SIGFPE, &raw const action, std::ptr::null_mut()) };
        assert_eq!(installed, 0, "cannot handle SIGFPE: {}", io::Error::last_os_error());
    });
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes a pointer to the interrupted thread's ucontext, which it reads back
    // when the handler returns.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let instruction = &mut registers[libc::REG_RIP as usize];
    let ours = ANNOUNCEMENT.try_with(|announcement| {
        let announced = announcement.instruction.get();
        let ours = announced != NOWHERE && *instruction as usize == announced;
        if ours {
            announcement.trapped.set(true);
            *instruction = announcement.exit.get() as libc::greg_t;
        }
        ours
    });
    if !ours.unwrap_or(false) {
        chain(signal, info, context);
    }
}

/// Does what would have happened without our handler.
fn chain(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(previous) = PREVIOUS.get() else { return };
    match previous.sa_sigaction {
        // A trap cannot be ignored: the kernel treats SIG_IGN like the default for it. The instruction traps
        // again once we return.
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: an all-zero sigaction is the default action.
            let default: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: restores the default action from a valid value.
            unsafe { libc::sigaction(signal, &raw const default, std::ptr::null_mut()) };
        }
        address if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever registered this address with SA_SIGINFO promised the kernel this signature.
            let next: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(address) };
            next(signal, info, context);
        }
        address => {
            // SAFETY: without SA_SIGINFO the registered function takes the signal number.
            let next: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(address) };
            next(signal);
        }
    }
}
