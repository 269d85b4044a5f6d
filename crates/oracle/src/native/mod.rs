// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host as a machine: runs code on the processor that this program runs on.
//!
//! This module holds the crate's only unsafe code. A run can hurt the process only by an access outside the test's pages, which the
//! generator rules out ([`crate::layout::is_harmless`]), or by a system call, which it does not generate.

mod border;
mod region;
mod signals;

use std::marker::PhantomData;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use border::{CONTEXT, RUNNING, WITH_AVX, WITH_FXSAVE, WITHOUT_VECTOR};
use region::Region;
use signals::Signals;

use crate::emulated::Emulated;
use crate::layout::{CODE, CODE_PAGES, FILLER, PAGE};
use crate::state::{End, Machine, Mode, Outcome, State, VectorArea, selector};

/// The host cannot be used as a machine.
#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    /// The kernel refused something.
    #[error("the host kernel refused to {action}: {source}")]
    Host {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The kernel does not let programs set the bases of FS and GS.
    #[error(
        "the host kernel does not let programs use FSGSBASE (Linux 5.9 or later on a processor that has it does)"
    )]
    NoFsGsBase,
}

/// Whether the host has AVX, and its kernel keeps the state of it.
#[must_use]
pub fn host_has_avx() -> bool {
    std::arch::is_x86_feature_detected!("avx")
}

static OWNER: Mutex<()> = Mutex::new(());

/// Runs code on the host. One at a time exists; a second waits.
pub struct Native {
    region: Region,
    signals: Signals,
    _owner: MutexGuard<'static, ()>,
    /// The alternate signal stack is the thread's.
    _not_send: PhantomData<*mut ()>,
}

impl Native {
    /// Prepares the calling thread. An engine may have signal handlers of its own, which expect a program's RFLAGS and FS base. That there is a
    /// guest shows that they are installed, so ours come before them.
    ///
    /// # Errors
    /// If the kernel refuses memory at the fixed addresses, signals or timers, or FSGSBASE.
    pub fn new(_guest: &Emulated) -> Result<Self, NativeError> {
        const HWCAP2_FSGSBASE: u64 = 1 << 1;
        // SAFETY: reads a value that the kernel gave at start.
        if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
            return Err(NativeError::NoFsGsBase);
        }
        let owner = OWNER.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |action| move |source| NativeError::Host { action, source };
        let region = Region::new().map_err(refused("map the test's pages below 4 GiB"))?;
        let signals = Signals::new().map_err(refused("set up signals"))?;
        let mut native = Self { region, signals, _owner: owner, _not_send: PhantomData };
        native.region.write(CODE, &[FILLER; (CODE_PAGES * PAGE) as usize]);
        Ok(native)
    }
}

impl Machine for Native {
    fn write_code(&mut self, address: u64, bytes: &[u8]) {
        self.region.write(address, bytes);
    }

    fn write_data(&mut self, address: u64, bytes: &[u8]) {
        self.region.write(address, bytes);
    }

    fn read_page(&self, index: usize, into: &mut [u8; PAGE as usize]) {
        self.region.read_page(index, into);
    }

    fn run(&mut self, mode: Mode, state: &State) -> Outcome {
        let context = CONTEXT.get();
        // SAFETY: the context is this thread's while `_owner` is held, and no handler runs before `enter`.
        unsafe {
            let context = &mut *context;
            context.gprs = state.gprs;
            context.rip = state.rip;
            context.rflags = state.rflags;
            context.ss = selector::DATA.into();
            (context.cs, context.data) = match mode {
                Mode::User64 | Mode::Kernel64 => (selector::CODE_64.into(), 0),
                Mode::User32 => (selector::CODE_32.into(), selector::DATA.into()),
            };
            context.fs_base = state.fs_base;
            context.gs_base = state.gs_base;
            context.with_vector = match &state.vector {
                None => WITHOUT_VECTOR,
                Some(_) if host_has_avx() => WITH_AVX,
                Some(_) => WITH_FXSAVE,
            };
            if let Some(vector) = &state.vector {
                context.vector = **vector;
            }
            context.timed_out = 0;
            context.serial = context.serial.wrapping_add(1);
        }
        self.signals.claim();
        RUNNING.store(true, Ordering::SeqCst);
        // SAFETY: handlers and stack are in place, and the context is complete. Whatever the code does, a signal ends it.
        unsafe { border::enter() };
        RUNNING.store(false, Ordering::SeqCst);
        // SAFETY: as above; the run is over.
        let context = unsafe { &*context };
        let end = if context.timed_out != 0 {
            End::TimedOut
        } else {
            let vector = context.trap as u8;
            let address = if vector == 14 { context.address } else { 0 };
            End::Exception { vector, error_code: context.error_code as u32, address }
        };
        let vector = state.vector.as_ref().map(|_| Box::new(VectorArea(context.vector.0)));
        let state = State {
            gprs: context.gprs,
            rip: context.rip,
            rflags: context.rflags,
            fs_base: context.fs_base,
            gs_base: context.gs_base,
            selectors: context.selectors,
            vector,
        };
        Outcome { state, end }
    }
}

#[cfg(test)]
mod tests;
