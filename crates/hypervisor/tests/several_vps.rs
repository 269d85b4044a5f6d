// SPDX-License-Identifier: MIT OR Apache-2.0
//! VPs that wake, flush and wait for each other, from outside and on threads of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use engine::scripted::{Deed, ScriptedEngine};
use engine::{Engine, Event, ExitReason, Gpr, HypercallInstruction, SegmentName};
use hypervisor::{Partition, PartitionConfig, SintIndex, Vp, VpExit};
use memory::{MemoryObject, Rights, Space, ViewId};
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr;

const VECTOR: u8 = 0x60;

struct Lab {
    engine: ScriptedEngine,
    partition: Arc<Partition>,
    vps: Vec<Vp>,
}

/// A partition whose VPs are started, in 64-bit mode with interrupts on.
fn lab(vp_count: u32) -> Lab {
    let engine = ScriptedEngine::new(10_000_000);
    let space = Space::new(36);
    let ram = MemoryObject::allocate(1 << 20).unwrap();
    space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL)).unwrap();
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let config = PartitionConfig { vp_count, ..Default::default() };
    let (partition, mut vps) = Partition::create(&shared, &space, config).unwrap();
    for index in 1..vp_count {
        partition.deliver(hypervisor::local_apic::InterruptMessage::from_device(
            x86::apic::DeliveryMode::StartUp,
            1,
            index as u8,
            false,
            false,
        ));
    }
    for vp in &mut vps {
        let index = vp.index();
        vp.set_up_local_apic_as_firmware_does();
        let (hypercall, os) = (0x5001, 0x8100_0000_0000_0000);
        for (number, value) in [
            (msr::GUEST_OS_ID, os),
            (msr::HYPERCALL, hypercall),
            (msr::SCONTROL, 1),
            (msr::SINT2, u64::from(VECTOR) | 1 << 17),
            (msr::SINT3, u64::from(VECTOR) + 1),
        ] {
            engine.push(index, ExitReason::WriteMsr { number, value });
        }
        assert_eq!(vp.run(None), VpExit::Idle { until: None });
        let mut registers = vp.registers().save();
        registers.control.cr0 = 0x8000_0011;
        registers.control.efer = 0x500;
        registers.segments[SegmentName::Cs as usize].attributes = 0xA09B.into();
        registers.rflags = 0x202;
        vp.registers().restore(&registers);
        let _ = engine.take_deeds(index);
    }
    Lab { engine, partition, vps }
}

impl Lab {
    /// VP 0 makes a fast call, and runs on until it has nothing to do.
    fn call(&mut self, code: CallCode, rdx: u64, r8: u64) -> VpExit {
        // Out of the halt that it is in.
        self.partition.set_sint(0, SintIndex::new(2).unwrap());
        let control = InputValue::new().with_call_code(code).with_fast(true);
        self.engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
            state.gprs[Gpr::Rcx as usize] = control.into_bits();
            state.gprs[Gpr::Rdx as usize] = rdx;
            state.gprs[Gpr::R8 as usize] = r8;
        });
        self.vps[0].run(None)
    }
}

/// A loop of PAUSE, and HvNotifyLongSpinWait (TLFS 14.5.1), let the host run another thread.
#[test]
fn who_spins_lets_others_run() {
    let mut lab = lab(2);
    assert_eq!(lab.call(CallCode::NOTIFY_LONG_SPIN_WAIT, 1000, 0), VpExit::SpinWait);
    assert_eq!(lab.vps[0].registers().gpr(Gpr::Rax), 0);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None }, "the call is over");
    lab.partition.set_sint(0, SintIndex::new(2).unwrap());
    lab.engine.push(0, ExitReason::SpinWait);
    assert_eq!(lab.vps[0].run(None), VpExit::SpinWait);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None }, "and so is the loop");
}

/// A flush of a VP that sleeps costs no thread its sleep, and is done before the VP runs guest code again.
#[test]
fn a_flush_lets_sleepers_sleep() {
    let mut lab = lab(3);
    let woken = Arc::new(AtomicU32::new(0));
    for vp in lab.partition.vps() {
        let woken = Arc::clone(&woken);
        vp.set_waker(Box::new(move || {
            woken.fetch_add(1, Ordering::Relaxed);
        }));
    }
    lab.partition.set_sint(0, SintIndex::new(2).unwrap());
    woken.store(0, Ordering::Relaxed);
    // Flags: all processors, all address spaces.
    let control = InputValue::new().with_call_code(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE).with_fast(true);
    lab.engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = 0;
        state.gprs[Gpr::R8 as usize] = 3;
    });
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    assert_eq!(lab.vps[0].registers().gpr(Gpr::Rax), 0);
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    for index in 1..3 {
        assert_eq!(lab.engine.take_deeds(index), []);
        lab.partition.set_sint(index, SintIndex::new(2).unwrap());
        assert_eq!(lab.vps[index as usize].run(None), VpExit::Idle { until: None });
        let deeds = lab.engine.take_deeds(index);
        assert!(
            matches!(&deeds[..2], [Deed::Flushed(_), Deed::Injected(Event::Interrupt(VECTOR))]),
            "{deeds:?}"
        );
    }
    assert_eq!(woken.load(Ordering::Relaxed), 2);
}

/// A VP that said it is idle wakes for any interrupt, also for one that cannot be delivered because one of the same priority is in service:
/// a kernel waits so for a spin lock, in a handler, with interrupts off, until the holder sends it an interrupt (TLFS 7.5).
#[test]
fn an_idle_vp_wakes_for_an_interrupt_that_has_to_wait() {
    let mut lab = lab(2);
    let (woken, idle) = (Arc::new(AtomicU32::new(0)), ExitReason::ReadMsr { number: msr::GUEST_IDLE });
    let count = Arc::clone(&woken);
    lab.partition.vp(1).set_waker(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    // SINT 3 has no auto-EOI: its interrupt is in service from here on.
    assert!(lab.partition.set_sint(1, SintIndex::new(3).unwrap()));
    lab.engine.push_with(1, idle, |state| state.rflags = 2);
    assert_eq!(lab.vps[1].run(None), VpExit::Idle { until: None });
    woken.store(0, Ordering::Relaxed);
    assert!(lab.partition.set_sint(1, SintIndex::new(2).unwrap()));
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    let _ = lab.engine.take_deeds(1);
    lab.engine.push(1, ExitReason::TripleFault);
    assert_eq!(lab.vps[1].run(None), VpExit::TripleFault, "it runs on");
    assert_eq!(lab.engine.take_deeds(1), [], "and takes no interrupt");
    // One that came before it got idle counts too.
    lab.engine.push(1, idle);
    lab.engine.push(1, ExitReason::TripleFault);
    assert_eq!(lab.vps[1].run(None), VpExit::TripleFault);
}

/// Whatever moment an interrupt comes at (while the VP runs, is about to sleep, sleeps, or is being woken), it is taken at once, with
/// threads that sleep as `std::thread::park` does and have no deadline to save them.
#[test]
fn no_wake_up_is_lost() {
    const LONG_ENOUGH: Duration = Duration::from_secs(2);
    let mut lab = lab(2);
    let mut vp = lab.vps.remove(1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let partition = Arc::clone(&lab.partition);
        let sleeper = scope.spawn(move || {
            let thread = std::thread::current();
            partition.vp(1).set_waker(Box::new(move || thread.unpark()));
            while !over.load(Ordering::Relaxed) {
                if vp.run(None) == (VpExit::Idle { until: None }) {
                    std::thread::park();
                }
            }
        });
        let source = SintIndex::new(2).unwrap();
        let mut lost = None;
        let start = Instant::now();
        for round in 0u32.. {
            if start.elapsed() > LONG_ENOUGH {
                break;
            }
            if !lab.partition.set_sint(1, source) {
                lost = Some(round);
                break;
            }
            let began = Instant::now();
            let taken = || lab.engine.take_deeds(1).contains(&Deed::Injected(Event::Interrupt(VECTOR)));
            while !taken() {
                if began.elapsed() > Duration::from_secs(20) {
                    lost = Some(round);
                    break;
                }
                std::hint::spin_loop();
            }
            // Meet it at other moments of its way to sleep.
            (0..round % 257).for_each(|_| std::hint::spin_loop());
        }
        over.store(true, Ordering::Relaxed);
        lab.partition.vp(1).stop();
        sleeper.thread().unpark();
        assert_eq!(lost, None, "an interrupt did not wake its VP");
    });
}
