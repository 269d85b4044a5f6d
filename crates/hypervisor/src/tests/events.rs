// SPDX-License-Identifier: MIT OR Apache-2.0
//! Halting and waking, INIT and start-up, NMIs, the PIC, and how threads reach one another.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, Weak};
use std::time::Duration;

use engine::{ExitReason, SegmentName};
use tlfs::msr;
use x86::apic::DeliveryMode;

use super::*;
use crate::InterruptController;
use crate::local_apic::InterruptMessage;

pub(super) fn fixed(vector: u8, destination: u8) -> InterruptMessage {
    InterruptMessage::from_device(DeliveryMode::Fixed, vector, destination, false, false)
}

/// B07.004: a halted VP wakes for an interrupt that it can take, and for no other.
#[test]
fn a_halted_vp_wakes_for_what_it_can_take() {
    let mut lab = Lab::new(1);
    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    lab.partition.deliver(fixed(0x40, 0));
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None }, "interrupts are off");
    lab.set_interrupts(0, true);
    assert_eq!(lab.interrupts(0), [0x40]);

    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    lab.partition.pulse_nmi();
    assert!(lab.pass(0).contains(&Deed::Injected(Event::Nmi)), "an NMI wakes whatever IF is");
    assert!(lab.pass(0).is_empty(), "once");
}

/// B07.006: GUEST_IDLE ends when an interrupt arrives even with interrupts off; the interrupt stays pending.
#[test]
fn guest_idle_ends_with_interrupts_off() {
    let mut lab = Lab::new(1);
    lab.engine.push(0, ExitReason::ReadMsr { number: msr::GUEST_IDLE });
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    lab.partition.deliver(fixed(0x40, 0));
    let deeds = lab.pass(0);
    assert!(!deeds.iter().any(|deed| matches!(deed, Deed::Injected(_))), "{deeds:?}");
    assert_eq!(lab.interrupts(0), [0x40]);
}

/// B07.006: what arrives ends it also where priorities hold it back, and where it comes from the PIC.
#[test]
fn guest_idle_ends_for_interrupts_of_every_kind() {
    let idle = |lab: &mut Lab| {
        lab.engine.push(0, ExitReason::ReadMsr { number: msr::GUEST_IDLE });
        assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    };
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::TPR, 0xFF).unwrap();
    idle(&mut lab);
    lab.partition.deliver(fixed(0x40, 0));
    assert!(!lab.pass(0).iter().any(|deed| matches!(deed, Deed::Injected(_))), "it is held back");
    let mut lab = Lab::new(1);
    idle(&mut lab);
    lab.partition.set_external_interrupt(true);
    assert!(!lab.pass(0).iter().any(|deed| matches!(deed, Deed::Injected(_))), "interrupts are off");
    let mut lab = Lab::new(1);
    idle(&mut lab);
    lab.partition.deliver(fixed(15, 0));
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None }, "that is no interrupt");
}

/// The engine is asked for a window while an interrupt waits, and the interrupt goes in when the window opens.
#[test]
fn an_interrupt_waits_for_its_window() {
    let mut lab = Lab::new(1);
    lab.partition.deliver(fixed(0x40, 0));
    lab.engine.push_with(0, ExitReason::Cpuid { leaf: 0, subleaf: 0 }, |state| state.rflags |= 0x200);
    let deeds = lab.pass(0);
    assert_eq!(deeds, [Deed::Resumed(Resume::Advance), Deed::Injected(Event::Interrupt(0x40))]);
}

/// B07.008, B10.019: the others wait for a start-up IPI, which starts them in real mode at its page; one that runs ignores it.
#[test]
fn processors_start_by_init_and_start_up() {
    let mut lab = Lab::new(2);
    // VP 1 goes to sleep.
    lab.engine.push(1, ExitReason::Halt);
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None });
    let mut registers = lab.vps[1].registers().save();
    (registers.msrs.star, registers.control.xcr0, registers.xsave.0[160]) = (5, 7, 9);
    lab.vps[1].registers().restore(&registers);
    // INIT, then start-up at 0x9A000, as Linux sends them.
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x4500).unwrap();
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None }, "waits for start-up");
    let after = lab.vps[1].registers().save();
    assert_eq!((after.rip, after.control.efer, after.control.cr0), (0xFFF0, 0, 0x10));
    assert_eq!(
        (after.msrs.star, after.control.xcr0, after.xsave.0[160]),
        (5, 7, 9),
        "INIT leaves these alone"
    );
    lab.partition.deliver(fixed(0x40, 1));
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None }, "interrupts do not start it");
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x469A).unwrap();
    lab.pass(1);
    let code = lab.vps[1].registers().segment(SegmentName::Cs);
    assert_eq!((code.base, code.selector.into_bits()), (0x9_A000, 0x9A00));
    assert_eq!(lab.vps[1].registers().control().cr0 & 1, 0);
    // Running now: another one changes nothing.
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x4610).unwrap();
    lab.pass(1);
    assert_eq!(lab.vps[1].registers().segment(SegmentName::Cs).base, 0x9_A000);
    assert_eq!(lab.read_msr(0, 0x1B), Ok(0xFEE0_0900));
    assert_eq!(lab.read_msr(1, 0x1B), Ok(0xFEE0_0800));
}

/// A start-up IPI that was sent before INIT does not count after it.
#[test]
fn init_forgets_an_earlier_start_up() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x469A).unwrap();
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x4500).unwrap();
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None });
    assert_eq!(lab.vps[1].registers().rip(), 0xFFF0, "where INIT left it");
}

/// B10.002: the register page is where IA32_APIC_BASE says, through INIT too, and nowhere in x2APIC mode.
#[test]
fn the_local_apic_page_moves() {
    let mut lab = Lab::new(1);
    let read = |gpa| {
        ExitReason::Memory(engine::MemoryAccess {
            gpa,
            gva: None,
            size: 4,
            kind: engine::MemoryAccessKind::Read,
            cause: engine::MemoryExitCause::Unmapped,
            page_walk: false,
            user: false,
        })
    };
    lab.write_msr(0, 0x1B, 0xFD00_0900).unwrap();
    assert_eq!(lab.answer(0, read(0xFD00_0030)), Ok(0x0005_0015));
    lab.write_msr(0, msr::ICR, 0x4500).unwrap();
    assert_eq!(lab.answer(0, read(0xFD00_0030)), Ok(0x0005_0015));
    lab.write_msr(0, 0x1B, 0xFD00_0D00).unwrap();
    assert_eq!(lab.read_msr(0, 0x803), Ok(0x0005_0015));
    lab.engine.push(0, read(0xFD00_0030));
    assert!(matches!(lab.vps[0].run(None), VpExit::Memory(_)));
}

/// VPs other than the first wait for start-up from the beginning.
#[test]
fn other_processors_wait_from_the_beginning() {
    let shared: Arc<dyn Engine> = Arc::new(ScriptedEngine::new(1_000_000_000));
    let config = PartitionConfig { vp_count: 2, ..Default::default() };
    let (_, mut vps) = Partition::create(&shared, &Space::new(36), config).unwrap();
    assert_eq!(vps[1].run(None), VpExit::Idle { until: None });
    for (count, x2apic) in [(1025, true), (256, false)] {
        let config = PartitionConfig { vp_count: count, x2apic, ..Default::default() };
        assert!(Partition::create(&shared, &Space::new(36), config).is_err());
    }
}

/// B10.020: of those addressed the one of lowest priority gets it, and one whose local APIC accepts nothing is no candidate.
#[test]
fn lowest_priority_goes_to_who_accepts_it() {
    let mut lab = Lab::new(3);
    let lowest = InterruptMessage::from_device(DeliveryMode::LowestPriority, 0x41, 0xFF, false, false);
    lab.write_msr(0, msr::TPR, 0x30).unwrap();
    lab.write_msr(1, msr::TPR, 0x20).unwrap();
    // Software-disabled: priority 0, and no use.
    lab.write_msr(2, 0x1B, 0xFEE0_0C00).unwrap();
    lab.write_msr(2, 0x80F, 0xFF).unwrap();
    lab.partition.deliver(lowest);
    assert_eq!((lab.interrupts(0), lab.interrupts(1), lab.interrupts(2)), (vec![], vec![0x41], vec![]));
    // In service at 0x41, VP 1 is now the busier one.
    lab.partition.deliver(lowest);
    assert_eq!((lab.interrupts(0), lab.interrupts(1)), (vec![0x41], vec![]));
}

/// Lowest priority, logical and broadcast destinations reach whom they should.
#[test]
fn interrupts_are_routed_by_destination() {
    let mut lab = Lab::new(3);
    lab.write_msr(0, msr::TPR, 0x20).unwrap();
    lab.write_msr(2, msr::TPR, 0x20).unwrap();
    lab.partition.deliver(InterruptMessage::from_device(
        DeliveryMode::LowestPriority,
        0x41,
        0xFF,
        false,
        false,
    ));
    assert_eq!((lab.interrupts(0), lab.interrupts(1), lab.interrupts(2)), (vec![], vec![0x41], vec![]));
    // All but the sender.
    lab.write_msr(1, msr::EOI, 0).unwrap();
    lab.write_msr(1, msr::ICR, 0xC_4042).unwrap();
    assert_eq!((lab.interrupts(0), lab.interrupts(1), lab.interrupts(2)), (vec![0x42], vec![], vec![0x42]));
    lab.write_msr(1, msr::ICR, 0x4_4043).unwrap();
    assert_eq!((lab.interrupts(0), lab.interrupts(1)), (vec![], vec![0x43]));
}

/// A PIC that has these vectors to give, and remembers which ends it was told of.
#[derive(Default)]
struct Pic {
    partition: Weak<Partition>,
    vectors: Mutex<Vec<u8>>,
    ended: Mutex<Vec<(u32, u8)>>,
}

impl InterruptController for Pic {
    fn acknowledge(&self) -> u8 {
        let vector = self.vectors.lock().unwrap().remove(0);
        // As a PIC does, and it may: no lock is held here.
        self.partition.upgrade().unwrap().set_external_interrupt(false);
        vector
    }
    fn end_of_interrupt(&self, vp: u32, vector: u8) {
        self.ended.lock().unwrap().push((vp, vector));
    }
}

/// B10.015, B10.018: an interrupt of the PIC is acknowledged there when it can be delivered; it has no place in the local APIC.
#[test]
fn the_pic_is_asked_for_its_vector() {
    let mut lab = Lab::new(1);
    let pic = Pic { partition: Arc::downgrade(&lab.partition), ..Default::default() };
    pic.vectors.lock().unwrap().push(0x30);
    lab.partition.set_interrupt_controller(Arc::new(pic));
    lab.partition.set_external_interrupt(true);
    assert!(lab.pass(0).is_empty(), "interrupts are off");
    assert_eq!(lab.interrupts(0), [0x30]);
    assert!(lab.interrupts(0).is_empty());
    assert_eq!(lab.partition.vp(0).state().vtl(Vtl::VTL0).apic.serving(), None);
}

/// B10.023: the end of a level-triggered interrupt is told to the interrupt controllers, with VP and vector, whichever way the guest ends it; that of an
/// edge-triggered one is not.
#[test]
fn level_triggered_interrupts_end_outside_too() {
    let mut lab = Lab::new(2);
    let pic = Arc::new(Pic::default());
    lab.partition.set_interrupt_controller(pic.clone());
    for (vector, level) in [(0x51, true), (0x52, false)] {
        lab.partition.deliver(InterruptMessage::from_device(DeliveryMode::Fixed, vector, 1, false, level));
        assert_eq!(lab.interrupts(1), [vector]);
        lab.write_msr(1, msr::EOI, 0).unwrap();
    }
    assert_eq!(*pic.ended.lock().unwrap(), [(1, 0x51)]);
    // The assist spares nobody the end of a level-triggered interrupt.
    lab.write_msr(1, msr::VP_ASSIST_PAGE, 0x2_0001).unwrap();
    lab.partition.deliver(InterruptMessage::from_device(DeliveryMode::Fixed, 0x61, 1, false, true));
    assert_eq!(lab.interrupts(1), [0x61]);
    assert_eq!(lab.read_u32(0x2_0000), 0);
    lab.write_msr(1, 0x1B, 0xFEE0_0C00).unwrap();
    lab.write_msr(1, 0x80B, 0).unwrap();
    assert_eq!(*pic.ended.lock().unwrap(), [(1, 0x51), (1, 0x61)]);
}

/// A VP that sleeps is woken by whoever gives it something to do; one that was woken before it slept does not sleep.
#[test]
fn a_sleeping_vp_is_woken() {
    let mut lab = Lab::new(1);
    let wakes = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&wakes);
    lab.partition.vp(0).set_waker(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    lab.partition.deliver(fixed(0x40, 0));
    assert_eq!(wakes.load(Ordering::SeqCst), 0, "it does not sleep");
    lab.engine.push(0, ExitReason::Halt);
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }));
    lab.partition.deliver(fixed(0x41, 0));
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    lab.partition.vp(0).stop();
    assert_eq!(lab.vps[0].run(None), VpExit::Stopped);
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }));
}

/// Two threads that halt and interrupt each other: no wake-up is lost.
#[test]
fn no_wake_up_is_lost_between_threads() {
    const ROUNDS: u32 = 2000;
    let patience = &Patience::new();
    let mut lab = Lab::new(2);
    for vp in 0..2 {
        for _ in 0..ROUNDS {
            // Interrupt the other; STI, HLT; with interrupts off again, end the interrupt that came.
            let (vp, other) = (vp as u32, 1 - vp as u64);
            lab.engine.push(vp, ExitReason::WriteMsr { number: msr::ICR, value: other << 56 | 0x60 });
            lab.engine.push_with(vp, ExitReason::Halt, |state| state.rflags = 0x202);
            let end = ExitReason::WriteMsr { number: msr::EOI, value: 0 };
            lab.engine.push_with(vp, end, |state| state.rflags = 2);
        }
        lab.engine.push(vp as u32, ExitReason::Port(END));
    }
    // Interrupts merge, so the one that is done first keeps interrupting the other until that is done too.
    let (partition, done) = (&lab.partition, &[AtomicBool::new(false), AtomicBool::new(false)]);
    std::thread::scope(|scope| {
        for vp in &mut lab.vps {
            scope.spawn(move || {
                let thread = std::thread::current();
                let (own, other) = (vp.index() as usize, 1 - vp.index() as usize);
                partition.vp(vp.index()).set_waker(Box::new(move || thread.unpark()));
                loop {
                    patience.go_on();
                    match vp.run(None) {
                        // A lost wake-up would cost the whole second, each time.
                        VpExit::Idle { .. } => std::thread::park_timeout(Duration::from_secs(1)),
                        VpExit::Port(END) => break,
                        other => panic!("{other:?}"),
                    }
                }
                done[own].store(true, Ordering::SeqCst);
                while !done[other].load(Ordering::SeqCst) {
                    patience.go_on();
                    partition.deliver(fixed(0x60, other as u8));
                    std::thread::yield_now();
                }
            });
        }
    });
}

/// B10.001: every source of interrupts there is reaches the VP: a device, a parent, a message of the hypervisor, a message and a signal of a partition, ICR,
/// and timers.
#[test]
fn every_source_interrupts() {
    use tlfs::interrupt::{InterruptControl, InterruptVector};
    use tlfs::synic::MessageType;
    use tlfs::vp::VpIndex;
    let mut lab = Lab::new(2);
    lab.enable_synic(0);
    for (number, vector) in [(msr::SINT1, 0xA1), (msr::SINT2, 0xA2), (msr::SINT3, 0xA3)] {
        lab.write_msr(0, number, 1 << 17 | vector).unwrap();
    }
    let partition = Arc::clone(&lab.partition);
    let taken = |lab: &mut Lab, vector| {
        assert_eq!(lab.interrupts(0), [vector]);
        lab.write_msr(0, msr::EOI, 0).unwrap();
    };
    partition.deliver(fixed(0x41, 0));
    taken(&mut lab, 0x41);
    let control = InterruptControl::new();
    assert!(partition.assert_virtual_interrupt(control, 0, InterruptVector(0x42), Vtl::VTL0).is_success());
    taken(&mut lab, 0x42);
    lab.write_msr(0, msr::STIMER0_COUNT, 1).unwrap();
    lab.write_msr(0, msr::STIMER0_CONFIG, 1 << 16 | 1).unwrap();
    lab.advance(1);
    taken(&mut lab, 0xA1);
    let port = partition.create_guest_port(crate::PortKind::Message, VpIndex(0), sint(2)).unwrap();
    assert!(port.post_message(MessageType(1), b"").is_success());
    taken(&mut lab, 0xA2);
    let event = crate::PortKind::Event { base_flag: 0, flag_count: 1 };
    let port = partition.create_guest_port(event, VpIndex(0), sint(3)).unwrap();
    assert!(port.signal_event(0).is_success());
    taken(&mut lab, 0xA3);
    lab.write_msr(1, msr::ICR, 0x43).unwrap();
    taken(&mut lab, 0x43);
    lab.write_msr(0, msr::STIMER1_COUNT, 1).unwrap();
    lab.write_msr(0, msr::STIMER1_CONFIG, 1 << 12 | 0x44 << 4 | 1).unwrap();
    taken(&mut lab, 0x44);
}

/// B10.003: there is no system management mode, and an SMI does nothing.
#[test]
fn an_smi_does_nothing() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x4200).unwrap();
    assert!(lab.interrupts(1).is_empty());
    assert_eq!(lab.read_msr(0, msr::ICR), Ok(1 << 56 | 0x4200));
}

/// B10.005, B10.006: the APIC id cannot be written, so none is there twice; logical ids can be, and reach everyone who has them.
#[test]
fn ids_are_fixed_and_logical_ids_are_not() {
    let mut lab = Lab::new(2);
    let access = |gpa, kind| {
        ExitReason::Memory(engine::MemoryAccess {
            gpa,
            gva: None,
            size: 4,
            kind,
            cause: engine::MemoryExitCause::Unmapped,
            page_walk: false,
            user: false,
        })
    };
    let write = |offset: u64, value| access(0xFEE0_0000 + offset, engine::MemoryAccessKind::Write(value));
    assert_eq!(lab.answer(1, write(0x20, 0)), Ok(0));
    assert_eq!(lab.answer(1, access(0xFEE0_0020, engine::MemoryAccessKind::Read)), Ok(1 << 24));
    for vp in 0..2 {
        assert_eq!(lab.answer(vp, write(0xD0, 1 << 24)), Ok(0));
    }
    let twice = InterruptMessage::from_device(DeliveryMode::Fixed, 0x44, 1, true, false);
    lab.partition.deliver(twice);
    assert_eq!((lab.interrupts(0), lab.interrupts(1)), (vec![0x44], vec![0x44]));
}
