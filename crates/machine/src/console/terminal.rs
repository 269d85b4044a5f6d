// SPDX-License-Identifier: MIT OR Apache-2.0
//! Raw mode of the one terminal that a process has, and giving it back in every case.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGTSTP};
use signal_hook::iterator::Signals;

use super::{ConsoleError, host};

/// The terminal that is in raw mode, for whoever must give it back: the guard, a panic, a stop, a program that ends at once.
static TERMINAL: Mutex<Option<Saved>> = Mutex::new(None);

/// The signal that stops a process, and that which lets it go on. Those that end it are the program's.
const WATCHED: [i32; 2] = [SIGTSTP, SIGCONT];

struct Saved {
    terminal: OwnedFd,
    cooked: Termios,
    raw: Termios,
}

fn lock() -> MutexGuard<'static, Option<Saved>> {
    TERMINAL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the terminal is this process's to use. One that is not its controlling terminal is.
pub(super) fn in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).map_or(true, |foreground| foreground == getpgrp())
}

/// Changes the settings, unless the process is in the background: then the terminal is somebody else's, has been given
/// back when the process was stopped, and the attempt would stop the process again.
fn set(terminal: &OwnedFd, settings: &Termios) {
    if in_foreground(terminal) {
        // There is nobody left to tell if the terminal is gone.
        let _ = tcsetattr(terminal, OptionalActions::Now, settings);
    }
}

/// Sets the terminal as it was found. It stays known, so that [`enter_again`] can follow.
fn leave() {
    if let Some(saved) = &*lock() {
        set(&saved.terminal, &saved.cooked);
    }
}

/// Back to raw mode, after the process had been stopped.
fn enter_again() {
    if let Some(saved) = &*lock() {
        set(&saved.terminal, &saved.raw);
    }
}

/// Gives the terminal back as it was before raw mode, if it is in raw mode. For programs that end by
/// [`std::process::exit`] or by a signal.
pub fn restore_terminal() {
    leave();
    *lock() = None;
}

/// A terminal in raw mode, until this is dropped.
pub(super) struct RawTerminal(());

impl RawTerminal {
    pub(super) fn enter(terminal: impl AsFd) -> Result<Self, ConsoleError> {
        let cooked = tcgetattr(&terminal).map_err(host("read the terminal's settings"))?;
        let mut raw = cooked.clone();
        raw.make_raw();
        let owned = terminal
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| ConsoleError::Host { action: "duplicate the terminal", source })?;
        give_back_in_every_case()?;
        let mut saved = lock();
        if saved.is_some() {
            return Err(ConsoleError::InUse);
        }
        tcsetattr(&terminal, OptionalActions::Now, &raw).map_err(host("set the terminal to raw mode"))?;
        *saved = Some(Saved { terminal: owned, cooked, raw });
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Prepares for panics and stops, once for the process and for good: a handler that is taken away again would leave
/// signals ignored. Without a terminal in raw mode they do what they always do.
fn give_back_in_every_case() -> Result<(), ConsoleError> {
    static PANICS: Once = Once::new();
    static SIGNALS: Mutex<bool> = Mutex::new(false);

    PANICS.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            report(panic);
        }));
    });

    let mut watched = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
    if !*watched {
        let failed = |source| ConsoleError::Host { action: "watch for signals", source };
        let signals = Signals::new(WATCHED).map_err(failed)?;
        std::thread::Builder::new()
            .name("console-signals".into())
            .spawn(move || watch(signals))
            .map_err(failed)?;
        *watched = true;
    }
    Ok(())
}

fn watch(mut signals: Signals) {
    for signal in signals.forever() {
        if signal == SIGCONT {
            enter_again();
            continue;
        }
        leave();
        // Stops the process until SIGCONT. It fails only for signals that do not exist.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}
