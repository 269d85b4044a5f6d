// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--trace`: every event to a file, a line each (docs/profile.md). VPs fill buffers of their own, and a thread writes them; a VP never
//! waits for the file. What the thread cannot keep up with is dropped, and its number is told.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use hypervisor::{TraceEvent, TraceSink};
use tlfs::vsm::Vtl;

use crate::refusal::Refusal;

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
    sender: Mutex<Option<SyncSender<String>>>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
    lost: AtomicU64,
}

impl TraceFile {
    /// Creates the file and starts the thread that writes it.
    pub(crate) fn create(path: &Path, vps: u32) -> Result<Arc<Self>, Refusal> {
        let refused = |source| Refusal::Write { path: path.to_owned(), source };
        let file = File::create(path).map_err(refused)?;
        let (sender, receiver) = sync_channel(WAITING);
        let writer = std::thread::Builder::new().name("trace".to_owned());
        let writer = writer.spawn(move || write(file, &receiver)).map_err(refused)?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            buffers: (0..vps).map(|_| Mutex::default()).collect(),
            sender: Mutex::new(Some(sender)),
            writer: Mutex::new(Some(writer)),
            lost: AtomicU64::new(0),
        }))
    }

    /// Hands a buffer over. Without room it is dropped, unless `wait` says to wait for room.
    fn pass(&self, buffer: String, wait: bool) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else { return };
        let lines = buffer.lines().count() as u64;
        let passed = if wait { sender.send(buffer).is_ok() } else { sender.try_send(buffer).is_ok() };
        if !passed {
            self.lost.fetch_add(lines, Ordering::Relaxed);
        }
    }

    /// Writes what is left. No VP may be running. Gives the number of events that were lost.
    ///
    /// # Errors
    /// If the file could not be written.
    pub(crate) fn finish(&self) -> Result<u64, Refusal> {
        for buffer in &self.buffers {
            let buffer = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
            self.pass(buffer, true);
        }
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let written = writer.map_or(Ok(Ok(())), JoinHandle::join).unwrap_or(Ok(()));
        written.map_err(|source| Refusal::Trace { path: self.path.clone(), source })?;
        Ok(self.lost.load(Ordering::Relaxed))
    }
}

/// Writes what comes. A file that takes no more has whole lines.
fn write(mut file: File, receiver: &Receiver<String>) -> io::Result<()> {
    let mut whole = 0;
    for buffer in std::iter::once(HEADING.to_owned()).chain(receiver) {
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

    #[test]
    fn every_event_reaches_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("trace");
        let trace = TraceFile::create(&path, 2).expect("a file");
        let call = TraceEvent::Hypercall { code: CallCode(0x5C), status: HvStatus::SUCCESS, cost: 7 };
        for at in 0..10_000 {
            trace.record(at, 1, Vtl::VTL0, call);
        }
        trace.record(3, 0, Vtl::VTL0, TraceEvent::Exit(ExitKind::Window));
        trace.record(4, 0, Vtl::VTL0, TraceEvent::ReadMsr(0x1B, false));
        assert_eq!(trace.finish().expect("it is written"), 0);
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
        let trace = TraceFile::create(Path::new("/dev/full"), 1).expect("a file");
        for at in 0..200_000 {
            trace.record(at, 0, Vtl::VTL0, TraceEvent::Nmi);
        }
        assert!(matches!(trace.finish(), Err(Refusal::Trace { .. })));
    }
}
