// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signals that would end the process. Whenever one does, what is unfinished goes and the terminal is the user's again. A run takes the first one as a
//! wish: it ends in order, and then by the signal; only a second one ends the process at once. SIGUSR1 ends a run, and is no failure.

use std::fs;
use std::io;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use machine::console::restore_terminal;
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
    SIGXFSZ,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};

use crate::unfinished;

/// Signals that end a process, but for those that no program can handle or that tell of its own faults.
const DEADLY: [i32; 12] = [
    SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGXCPU, SIGVTALRM, SIGPROF, SIGIO,
];

/// A signal that comes so soon after the first is the same wish: `timeout` signals its child and then its group, in which the child is, and wrappers
/// pass on what a terminal sends to everyone.
const SAME_WISH: Duration = Duration::from_millis(500);

/// What a signal asks of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// SIGUSR1: the user has seen enough.
    End,
    /// The process is to end by this signal.
    Die(i32),
}

/// Signals are caught, and wait for [`Caught::serve`].
pub(crate) struct Caught(Signals);

type Listener = Arc<dyn Fn(Wish) + Send + Sync>;

/// How far a run is. Without one, a signal ends the process.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

#[derive(Default)]
struct Run {
    listener: Option<Listener>,
    /// SIGUSR1 came before somebody listened.
    end_wished: bool,
    /// The signal that is to end the process, and when it came.
    first: Option<(i32, Instant)>,
}

fn lock() -> MutexGuard<'static, Option<Run>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Catches signals from now on, but for those that whoever started the process wants to be ignored, as `nohup` does. A write beyond the largest size of
/// files (SIGXFSZ) fails, and ends nothing.
pub(crate) fn catch() -> io::Result<Caught> {
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let ignored = ignored_signals();
    Ok(Caught(Signals::new(DEADLY.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0))?))
}

impl Caught {
    /// Serves them, on a thread. If the process is to have a run, SIGUSR1 waits for that.
    pub(crate) fn serve(self, has_run: bool) -> io::Result<()> {
        *lock() = has_run.then(Run::default);
        let Self(mut signals) = self;
        let serve = move || signals.forever().for_each(arrived);
        std::thread::Builder::new().name("signals".to_owned()).spawn(serve)?;
        Ok(())
    }
}

fn arrived(signal: i32) {
    let mut run = lock();
    let wish = if signal == SIGUSR1 { Wish::End } else { Wish::Die(signal) };
    let listener = match (&mut *run, wish) {
        (Some(Run { listener: None, end_wished, .. }), Wish::End) => {
            *end_wished = true;
            return;
        }
        (Some(Run { listener: Some(listener), .. }), Wish::End) => Arc::clone(listener),
        (Some(Run { listener: Some(listener), first: first @ None, .. }), Wish::Die(_)) => {
            *first = Some((signal, Instant::now()));
            Arc::clone(listener)
        }
        (Some(Run { first: Some((_, then)), .. }), Wish::Die(_)) if then.elapsed() < SAME_WISH => return,
        _ => die(signal),
    };
    drop(run);
    listener(wish);
}

/// From now on the first signal is told, and does not end the process; so is a wish that has come already.
pub(crate) fn listen(listener: impl Fn(Wish) + Send + Sync + 'static) {
    let mut run = lock();
    let run = run.get_or_insert_default();
    if run.end_wished {
        listener(Wish::End);
    }
    run.listener = Some(Arc::new(listener));
}

/// The signal by which the process is to end once the run has ended in order.
pub(crate) fn received() -> Option<i32> {
    lock().as_ref()?.first.map(|(signal, _)| signal)
}

/// Ends the process by the signal, as if nobody had caught it.
pub(crate) fn die(signal: i32) -> ! {
    // Held to the end: nothing new begins.
    let _unfinished = unfinished::remove();
    restore_terminal();
    let _ = emulate_default_handler(signal);
    // It has no default that ends a process; a shell would say this if it had.
    process::exit(128 + signal)
}

/// What a signal is called.
pub(crate) fn name(signal: i32) -> &'static str {
    signal_name(signal).unwrap_or("a signal")
}

/// Signals that the process was started with as ignored, bit n - 1 for signal n.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
