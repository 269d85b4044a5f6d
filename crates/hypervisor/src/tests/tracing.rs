// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted and handed to a sink, by VP, VTL and phase.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use engine::ExitReason;
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::msr;
use tlfs::synic::MessageType;
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use super::{Gp, Lab, sint};
use crate::{ExitKind, PartitionConfig, PortKind, TraceEvent, TraceSink, Tracing};

/// A clock that every reading moves by seven.
fn host_time() -> u64 {
    static TIME: AtomicU64 = AtomicU64::new(0);
    TIME.fetch_add(7, Ordering::Relaxed)
}

#[derive(Default)]
struct Everything(Mutex<Vec<(u64, u32, Vtl, TraceEvent)>>);

impl TraceSink for Everything {
    fn record(&self, at: u64, vp: u32, vtl: Vtl, event: TraceEvent) {
        self.0.lock().unwrap().push((at, vp, vtl, event));
    }
}

fn lab(tracing: Tracing) -> Lab {
    let mut lab = Lab::configured(PartitionConfig { vp_count: 2, tracing, ..Default::default() });
    lab.enable_hypercalls(0x5000);
    lab
}

#[test]
fn phases_are_counted_apart() {
    let mut lab = lab(Tracing { host_time: Some(host_time), ..Tracing::counting() });
    let wait = |lab: &mut Lab, vp| lab.call(vp, Lab::fast(CallCode::NOTIFY_LONG_SPIN_WAIT), 1, 0);
    wait(&mut lab, 0);
    wait(&mut lab, 1);
    lab.partition.begin_phase(2);
    wait(&mut lab, 0);
    wait(&mut lab, 0);
    assert_eq!(lab.call(0, Lab::fast(CallCode(0xFFFF)), 0, 0), HvStatus::INVALID_HYPERCALL_CODE);
    assert_eq!(lab.read_msr(0, 0x4000_1234), Err(Gp));
    lab.play(0, ExitReason::Cpuid { leaf: 0x4000_0003, subleaf: 0 });
    lab.partition.begin_phase(0);
    wait(&mut lab, 1);

    let calls = |vp: usize, phase: usize| {
        let parts = lab.vps[vp].statistics_by_phase();
        let part = parts.into_iter().find(|part| part.phase == phase);
        part.map(|part| part.statistics).unwrap_or_default()
    };
    let waits = |vp, phase| calls(vp, phase).hypercalls(CallCode::NOTIFY_LONG_SPIN_WAIT);
    assert_eq!([waits(0, 0), waits(1, 0), waits(0, 2), waits(1, 2)], [1, 2, 2, 0]);
    let second = calls(0, 2);
    let unknown = second.calls().find(|(code, _)| code.0 == 0xFFFF).unwrap().1;
    assert_eq!((unknown.calls, unknown.failed, unknown.cost, unknown.dearest), (1, 1, 7, 7));
    assert!(
        second.msrs().any(|(number, count)| number == 0x4000_1234 && count.reads == 1 && count.faults == 1)
    );
    assert_eq!(second.leaves().collect::<Vec<_>>(), [(0x4000_0003, 1)]);
    assert_eq!(second.exits(ExitKind::Hypercall), 3);
    let sum = lab.vps[0].statistics().unwrap();
    assert_eq!(sum.hypercalls(CallCode::NOTIFY_LONG_SPIN_WAIT), 3);
    assert_eq!(sum.calls().find(|(code, _)| code.0 == 8).unwrap().1.cost, 21);
}

/// Messages, flags and interrupts are counted when they are delivered, and by no phase twice.
#[test]
fn what_the_synic_delivers_is_counted() {
    let mut lab = lab(Tracing::counting());
    lab.enable_synic(0);
    lab.write_msr(0, msr::SINT2, 0x72).unwrap();
    let create = |kind| lab.partition.create_guest_port(kind, VpIndex(0), sint(2)).unwrap();
    let (messages, events) =
        (create(PortKind::Message), create(PortKind::Event { base_flag: 0, flag_count: 8 }));
    for word in 0..3 {
        assert_eq!(messages.post_message(MessageType(1), &[word]), HvStatus::SUCCESS);
    }
    let counts = |lab: &Lab| {
        let all = lab.vps[0].statistics().unwrap();
        (all.messages(), all.event_flags(), all.synic_interrupts())
    };
    assert_eq!(counts(&lab), (1, 0, 1), "two wait for the slot");
    for flag in [0, 1, 2, 3, 3] {
        assert_eq!(events.signal_event(flag), HvStatus::SUCCESS);
    }
    assert_eq!(counts(&lab), (1, 4, 5), "a flag that is set already is none");
    lab.partition.begin_phase(1);
    lab.free_slot(0, 2);
    lab.write_msr(0, msr::EOM, 0).unwrap();
    assert_eq!(counts(&lab), (2, 4, 6));
    let parts = lab.vps[0].statistics_by_phase();
    assert_eq!([0, 1].map(|phase: usize| parts[phase].statistics.messages()), [1, 1]);
}

/// Whoever asks is told, also while the VP sleeps.
#[test]
fn a_vp_tells_what_it_has_counted() {
    let mut lab = lab(Tracing::counting());
    let (reply, answers) = std::sync::mpsc::channel();
    for vp in lab.partition.vps() {
        vp.ask_for_statistics(reply.clone());
    }
    assert!(answers.try_recv().is_err(), "nobody runs");
    lab.pass(1);
    let (vp, parts) = answers.try_recv().unwrap();
    assert_eq!((vp, parts.len()), (1, 1));
    lab.pass(1);
    assert!(answers.try_recv().is_err(), "one answer is enough");
    lab.pass(0);
    let (vp, parts) = answers.try_recv().unwrap();
    assert_eq!((vp, parts[0].statistics.exits(ExitKind::Msr)), (0, 2));
}

#[test]
fn a_sink_gets_every_event() {
    let sink = Arc::new(Everything::default());
    let mut lab = lab(Tracing { sink: Some(sink.clone()), ..Tracing::default() });
    assert_eq!(lab.vps[0].statistics(), None, "nothing is counted");
    sink.0.lock().unwrap().clear();
    lab.advance(3);
    assert_eq!(lab.read_msr(1, msr::VP_INDEX), Ok(1));
    let now = lab.partition.clock().now();
    let events = sink.0.lock().unwrap().clone();
    let expected = [
        TraceEvent::Exit(ExitKind::Msr),
        TraceEvent::ReadMsr(msr::VP_INDEX, true),
        TraceEvent::Exit(ExitKind::Port),
    ];
    assert_eq!(events, expected.map(|event| (now, 1, Vtl::VTL0, event)));
}

/// A guest that names more MSRs than are counted apart is served as before, and costs no more memory.
#[test]
fn not_every_number_is_counted_apart() {
    let mut lab = lab(Tracing::counting());
    for number in 0..2000 {
        assert_eq!(lab.read_msr(0, 0x5000_0000 + number), Err(Gp));
    }
    let counts = lab.vps[0].statistics().unwrap();
    assert_eq!(counts.exits(ExitKind::Msr), 2002);
    assert_eq!(counts.msrs().count(), 1024);
}
