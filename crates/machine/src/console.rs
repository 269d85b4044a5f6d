// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of the serial port: the user's terminal, a pipe, or nothing.
//!
//! A terminal is put into raw mode, so that every key goes to the guest, Ctrl-C included. One key is ours:
//!
//! | Keys | |
//! |---|---|
//! | Ctrl-] x | end the run |
//! | Ctrl-] Ctrl-] | send one Ctrl-] |
//! | Ctrl-] and another key | send both |
//!
//! The terminal is given back as it was when the [`Console`] is dropped, when any thread panics, and when the process is
//! stopped. A program that leaves by [`std::process::exit`] or by a signal, which drop nothing, calls
//! [`restore_terminal`] first. Beyond reach are SIGKILL and a crash of the process itself.
//!
//! Input may also be a pipe, a file, or closed. Its end is an event, after which the guest just runs on; bytes chosen
//! by the program, like Ctrl-D for a shell, may be sent at the end (after a line feed that the last line lacks), and again as long as the guest takes them. A pipe is read only as fast as the guest takes it.
//! A terminal is read always, so that the escape key works when the guest does not listen; keys beyond the queue are
//! lost, as they are at any terminal. A process in the background leaves its terminal alone, and has no input.

mod input;
mod output;
mod terminal;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::io::Errno;

use crate::{SerialInput, SerialOutput};
use input::{Queue, Reader, Stop};
use output::Output;
use terminal::RawTerminal;
pub use terminal::restore_terminal;

/// What the console tells the program. Called from the console's own threads, or by whoever writes output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleEvent {
    /// There are bytes: [`crate::Pc::serial_input_ready`] lets the machine take them.
    Input,
    /// No more bytes will come. Those that did may still be waiting for the guest.
    EndOfInput,
    /// The user pressed the escape key and x.
    Quit,
    /// The user pressed the escape key and p.
    Report,
    /// Nobody reads the output any more, or it cannot be written ([`Console::output_failure`]): it is lost from now on.
    OutputClosed,
}

/// Why there is no console.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The host refused an operation on standard input or output.
    #[error("cannot {action}: {source}")]
    Host {
        /// What was tried.
        action: &'static str,
        /// What the host said.
        source: std::io::Error,
    },
    /// Another console has the terminal.
    #[error("the terminal is in use by another console of this process; close that one first")]
    InUse,
}

fn host(action: &'static str) -> impl FnOnce(Errno) -> ConsoleError {
    move |errno| ConsoleError::Host { action, source: errno.into() }
}

type Notify = Box<dyn Fn(ConsoleEvent) + Send + Sync>;

/// Who is told of events, once someone listens.
#[derive(Clone, Default)]
struct Listener(Arc<OnceLock<Notify>>);

impl Listener {
    fn notify(&self, event: ConsoleEvent) {
        if let Some(notify) = self.0.get() {
            notify(event);
        }
    }
}

/// What standard input turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputKind {
    Terminal,
    BackgroundTerminal,
    Stream,
}

/// The console. Dropping it stops its thread and gives the terminal back.
pub struct Console {
    input: OwnedFd,
    output: Output,
    kind: InputKind,
    queue: Arc<Queue>,
    listener: Listener,
    at_end: Vec<u8>,
    reader: Option<(Stop, JoinHandle<()>)>,
    /// Dropped last, after everything that could still use the terminal.
    _terminal: Option<RawTerminal>,
}

impl Console {
    /// The console on standard input and output. When input ends, `at_end` is sent after it.
    ///
    /// # Errors
    /// [`ConsoleError`] if the terminal cannot be put into raw mode.
    pub fn on_stdio(at_end: &[u8]) -> Result<Self, ConsoleError> {
        let own = |fd: std::io::Result<OwnedFd>| {
            fd.map_err(|source| ConsoleError::Host { action: "duplicate standard input or output", source })
        };
        let input = own(std::io::stdin().as_fd().try_clone_to_owned())?;
        let output = own(std::io::stdout().as_fd().try_clone_to_owned())?;
        Self::on(input, output, at_end)
    }

    /// Like [`Console::on_stdio`], on other files.
    ///
    /// # Errors
    /// [`ConsoleError`] if `input` is a terminal and cannot be put into raw mode.
    pub fn on(input: OwnedFd, output: OwnedFd, at_end: &[u8]) -> Result<Self, ConsoleError> {
        let kind = if !rustix::termios::isatty(&input) {
            InputKind::Stream
        } else if terminal::in_foreground(&input) {
            InputKind::Terminal
        } else {
            InputKind::BackgroundTerminal
        };
        let terminal = match kind {
            InputKind::Terminal => Some(RawTerminal::enter(&input)?),
            _ => None,
        };
        let listener = Listener::default();
        Ok(Self {
            input,
            output: Output::new(output, listener.clone()),
            kind,
            queue: Arc::new(Queue::default()),
            listener,
            at_end: at_end.to_vec(),
            reader: None,
            _terminal: terminal,
        })
    }

    /// Whether input is a terminal, in raw mode by now.
    pub fn is_terminal(&self) -> bool {
        self.kind == InputKind::Terminal
    }

    /// What to connect the serial port's input to.
    pub fn input(&self) -> Box<dyn SerialInput> {
        Box::new(Arc::clone(&self.queue))
    }

    /// What to connect the serial port's output to.
    pub fn output(&self) -> Box<dyn SerialOutput> {
        Box::new(self.output.clone())
    }

    /// Stops waiting for a reader of the output who takes nothing: what cannot be written at once is dropped. For the end of a run that must not
    /// depend on that reader.
    pub fn abandon_output(&self) {
        self.output.abandon();
    }

    /// Why output was lost, if it was: the first error. That its reader went away is none.
    pub fn output_failure(&self) -> Option<std::io::Error> {
        self.output.failure().map(Into::into)
    }

    /// Begins to read input, and to tell `notify` of events. Only the first call counts.
    ///
    /// The console outlives a machine that is reset, and the machine holds the console's output: what `notify` holds
    /// should be whatever wakes the run loop, not the machine.
    ///
    /// # Errors
    /// [`ConsoleError`] if the host gives no thread or pipe.
    pub fn listen(
        &mut self,
        notify: impl Fn(ConsoleEvent) + Send + Sync + 'static,
    ) -> Result<(), ConsoleError> {
        if self.listener.0.set(Box::new(notify)).is_err() || self.kind == InputKind::BackgroundTerminal {
            return Ok(());
        }
        let file = self
            .input
            .try_clone()
            .map_err(|source| ConsoleError::Host { action: "duplicate the console's input", source })?;
        let terminal = self.is_terminal();
        let (reader, stop) =
            Reader::new(file, Arc::clone(&self.queue), self.listener.clone(), terminal, self.at_end.clone())
                .map_err(host("make a pipe for the console's reader"))?;
        let thread = std::thread::Builder::new()
            .name("console".into())
            .spawn(move || reader.run())
            .map_err(|source| ConsoleError::Host { action: "start the console's reader", source })?;
        self.reader = Some((stop, thread));
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.reader.take() {
            drop(stop);
            // A panic there has been reported already, and has given the terminal back.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
