// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--trace`: every event to a file, a line each (docs/profile.md). VPs fill buffers of their own, and a thread writes them; a VP never
//! waits for the file. What the thread cannot keep up with is dropped, and its number is told.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hypervisor::{TraceEvent, TraceSink};
use tlfs::vsm::Vtl;

use crate::refusal::Refusal;
use crate::unfinished;

/// A VP hands its buffer over when it has this many bytes.
const BUFFER: usize = 64 << 10;
/// The first line.
const HEADING: &str = "# tick vp vtl event ...\n";
/// So many buffers may wait for the file.
const WAITING: usize = 64;

/// The file, and what is on its way there.
pub(crate) struct TraceFile {
    path: PathBuf,
    buffers: Box<[Mutex<String>]>,
    /// How many buffers wait for the file.
    waiting: Arc<AtomicUsize>,
    sender: Mutex<Option<Sender<String>>>,
    /// What the thread is to write, until there is a thread.
    receiver: Mutex<Option<Receiver<String>>>,
    /// How writing ended, from the thread, if there is one.
    written: Mutex<Option<Receiver<io::Result<()>>>>,
    lost: AtomicU64,
}

impl TraceFile {
    /// A trace that is to go to this file, which stays what it is until [`begin`](Self::begin).
    ///
    /// # Errors
    /// If the file could not be written.
    pub(crate) fn new(path: &Path, vps: u32) -> Result<Arc<Self>, Refusal> {
        unfinished::check_in_place(path)
            .map_err(|source| Refusal::Write { path: path.to_owned(), source })?;
        let (sender, receiver) = channel();
        Ok(Arc::new(Self {
            path: path.to_owned(),
            buffers: (0..vps).map(|_| Mutex::default()).collect(),
            waiting: Arc::default(),
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(Some(receiver)),
            written: Mutex::default(),
            lost: AtomicU64::new(0),
        }))
    }

    /// Begins the file anew, and starts the thread that writes it.
    ///
    /// # Errors
    /// If the file, or a thread, is not to be had.
    pub(crate) fn begin(&self) -> Result<(), Refusal> {
        let refused = |source| Refusal::Write { path: self.path.clone(), source };
        let Some(receiver) = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let file = unfinished::open(&self.path).map_err(refused)?;
        let (done, written) = channel();
        let waiting = Arc::clone(&self.waiting);
        let writer = std::thread::Builder::new().name("trace".to_owned());
        // If nobody waits for the end any more, nobody is told.
        let work = move || drop(done.send(write(file, &receiver, &waiting)));
        writer.spawn(work).map_err(refused)?;
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
        Ok(())
    }

    /// Hands a buffer over. Without room it is dropped, unless it is one of the `last`, which nobody has to wait for.
    fn pass(&self, buffer: String, last: bool) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return };
        let lines = buffer.lines().count() as u64;
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING;
        if !(has_room || last) || sender.send(buffer).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Writes what is left. No VP may be running. If there is a `patience`, nothing waits longer for who reads a pipe. Gives the number of events
    /// that were lost.
    ///
    /// # Errors
    /// If the file could not be written.
    pub(crate) fn finish(&self, patience: Option<Duration>) -> Result<u64, Refusal> {
        for buffer in &self.buffers {
            let buffer = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
            self.pass(buffer, true);
        }
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        let path = || self.path.clone();
        let written = match (written, patience) {
            (None, _) => Ok(()),
            // A thread that panicked has said so.
            (Some(written), None) => written.recv().unwrap_or(Ok(())),
            (Some(written), Some(patience)) => match written.recv_timeout(patience) {
                Ok(written) => written,
                Err(RecvTimeoutError::Disconnected) => Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Refusal::TraceUnread { path: path(), patience });
                }
            },
        };
        written.map_err(|source| Refusal::Trace { path: path(), source })?;
        Ok(self.lost.load(Ordering::Relaxed))
    }
}

/// Writes what comes, and counts what waits. A file that takes no more has whole lines.
fn write(mut file: File, receiver: &Receiver<String>, waiting: &AtomicUsize) -> io::Result<()> {
    let mut whole = 0;
    let coming = receiver.iter().inspect(|_| {
        waiting.fetch_sub(1, Ordering::Relaxed);
    });
    for buffer in std::iter::once(HEADING.to_owned()).chain(coming) {
        let mut written = 0;
        while written < buffer.len() {
            match file.write(&buffer.as_bytes()[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let lines = buffer.as_bytes()[..written].iter().rposition(|&byte| byte == b'\n');
                    // From a pipe nothing can be taken back.
                    let _ = file.set_len(whole + lines.map_or(0, |line| line as u64 + 1));
                    return Err(error);
                }
            }
        }
        whole += buffer.len() as u64;
    }
    Ok(())
}

impl TraceSink for TraceFile {
    fn record(&self, at: u64, vp: u32, vtl: Vtl, event: TraceEvent) {
        let Some(buffer) = self.buffers.get(vp as usize) else { return };
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        line(&mut buffer, at, vp, vtl, event);
        if buffer.len() >= BUFFER {
            let full = std::mem::replace(&mut *buffer, String::with_capacity(BUFFER + 128));
            drop(buffer);
            self.pass(full, false);
        }
    }
}

/// An event's line.
fn line(buffer: &mut String, at: u64, vp: u32, vtl: Vtl, event: TraceEvent) {
    let done = |done| if done { "ok" } else { "fault" };
    let _ = write!(buffer, "{at} {vp} {} ", vtl.0);
    let _ = match event {
        TraceEvent::Exit(kind) => writeln!(buffer, "exit {}", kind.name().replace(' ', "-")),
        TraceEvent::Hypercall { code, status, cost } => {
            writeln!(buffer, "hypercall {:#06x} {:#06x} {cost}", code.0, status.into_bits())
        }
        TraceEvent::ReadMsr(number, ok) => writeln!(buffer, "rdmsr {number:#010x} {}", done(ok)),
        TraceEvent::WriteMsr(number, ok) => writeln!(buffer, "wrmsr {number:#010x} {}", done(ok)),
        TraceEvent::Cpuid(leaf) => writeln!(buffer, "cpuid {leaf:#010x}"),
        TraceEvent::Interrupt(vector) => writeln!(buffer, "interrupt {vector:#04x}"),
        TraceEvent::ExternalInterrupt(vector) => writeln!(buffer, "external-interrupt {vector:#04x}"),
        TraceEvent::Nmi => writeln!(buffer, "nmi"),
        TraceEvent::MachineCheck => writeln!(buffer, "machine-check"),
        TraceEvent::DirectTimers(count) => writeln!(buffer, "timers-direct {count}"),
        TraceEvent::TimerMessages(count) => writeln!(buffer, "timers-message {count}"),
    };
}

#[cfg(test)]
mod tests {
    use hypervisor::ExitKind;
    use tlfs::HvStatus;
    use tlfs::hypercall::CallCode;

    use super::*;

    /// A trace that goes to this file from now on.
    fn begun(path: &Path, vps: u32) -> Arc<TraceFile> {
        let trace = TraceFile::new(path, vps).expect("a place");
        trace.begin().expect("a file");
        trace
    }

    #[test]
    fn every_event_reaches_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace");
        let trace = begun(&path, 2);
        let call = TraceEvent::Hypercall { code: CallCode(0x5C), status: HvStatus::SUCCESS, cost: 7 };
        for at in 0..10_000 {
            trace.record(at, 1, Vtl::VTL0, call);
        }
        trace.record(3, 0, Vtl::VTL0, TraceEvent::Exit(ExitKind::Window));
        trace.record(4, 0, Vtl::VTL0, TraceEvent::ReadMsr(0x1B, false));
        assert_eq!(trace.finish(None).expect("it is written"), 0);
        let text = std::fs::read_to_string(&path).expect("the file");
        assert_eq!(text.lines().count(), 10_003);
        for line in [
            "9999 1 0 hypercall 0x005c 0x0000 7",
            "3 0 0 exit interrupt-window",
            "4 0 0 rdmsr 0x0000001b fault",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }

    /// A file that takes nothing: the run goes on, and the end says so.
    #[test]
    fn a_full_disk_ends_no_run() {
        let trace = begun(Path::new("/dev/full"), 1);
        for at in 0..200_000 {
            trace.record(at, 0, Vtl::VTL0, TraceEvent::Nmi);
        }
        assert!(matches!(trace.finish(None), Err(Refusal::Trace { .. })));
    }

    /// Who reads a pipe and stops to read is waited for no longer than is asked for; the events that a pipe has no room for are lost.
    #[test]
    fn a_reader_who_stops_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        let unread = TraceFile::new(&path, 1).expect("a place").begin();
        assert!(matches!(unread, Err(Refusal::Write { .. })), "nobody reads it");
        let mut both = File::options();
        let _reader = both.read(true).write(true).open(&path).expect("a reader");
        let trace = begun(&path, 1);
        for at in 0..1_000_000 {
            trace.record(at, 0, Vtl::VTL0, TraceEvent::Nmi);
        }
        let patience = Duration::from_millis(50);
        assert!(matches!(trace.finish(Some(patience)), Err(Refusal::TraceUnread { .. })));
        assert_ne!(trace.lost.load(Ordering::Relaxed), 0);
        assert!(trace.waiting.load(Ordering::Relaxed) <= WAITING + 1);
    }
}
