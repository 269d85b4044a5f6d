// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the trace point costs a hypercall: off, and counting with the host's time read before and after. The aim is 20 ns at most.
//! `cargo bench -p openviridian-hypervisor --bench tracing`.

use std::sync::Arc;
use std::time::Instant;

use engine::scripted::ScriptedEngine;
use engine::{Engine, ExitReason, Gpr, HypercallInstruction, PortAccess, PortDirection, SegmentName};
use hypervisor::{Partition, PartitionConfig, Tracing, Vp, VpExit};
use memory::{MemoryObject, Rights, Space, ViewId};
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr;

const CALLS: usize = 5_000;
const ROUNDS: usize = 60;
const END: PortAccess =
    PortAccess { port: 0xE0, size: 1, direction: PortDirection::In, string: false, rep: false };

/// A VP that can make hypercalls.
fn vp(tracing: Tracing) -> (ScriptedEngine, Vp) {
    let engine = ScriptedEngine::new(10_000_000);
    let space = Space::new(36);
    let ram = MemoryObject::allocate(1 << 20).expect("memory");
    space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL)).expect("a map");
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let config = PartitionConfig { tracing, ..Default::default() };
    let (_, mut vps) = Partition::create(&shared, &space, config).expect("a partition");
    let mut vp = vps.remove(0);
    engine.push(0, ExitReason::WriteMsr { number: msr::GUEST_OS_ID, value: 0x8100_0000_0000_0000 });
    engine.push(0, ExitReason::WriteMsr { number: msr::HYPERCALL, value: 0x5001 });
    engine.push_with(0, ExitReason::Port(END), |state| {
        state.control.cr0 = 0x8000_0011;
        state.control.efer = 0x500;
        state.segments[SegmentName::Cs as usize].attributes = 0xA09B.into();
    });
    assert_eq!(vp.run(None), VpExit::Port(END));
    vp.complete(0);
    (engine, vp)
}

/// Nanoseconds of a call: an event to a connection that does not exist.
fn round(engine: &ScriptedEngine, vp: &mut Vp) -> f64 {
    let control = InputValue::new().with_call_code(CallCode::SIGNAL_EVENT).with_fast(true).into_bits();
    for _ in 0..CALLS {
        engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
            state.gprs[Gpr::Rcx as usize] = control;
            state.gprs[Gpr::Rdx as usize] = 0x77;
        });
    }
    engine.push(0, ExitReason::Port(END));
    let begun = Instant::now();
    assert_eq!(vp.run(None), VpExit::Port(END));
    let time = begun.elapsed().as_nanos() as f64 / CALLS as f64;
    vp.complete(0);
    let _ = engine.take_deeds(0);
    time
}

fn main() {
    let counting = Tracing { host_time: Some(engine::host_tsc), ..Tracing::counting() };
    let mut off = vp(Tracing::default());
    let mut on = vp(counting);
    // The least of many rounds, taken in turn: what else the host does only adds.
    let (mut least_off, mut least_on) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        least_off = least_off.min(round(&off.0, &mut off.1));
        least_on = least_on.min(round(&on.0, &mut on.1));
    }
    println!("a call with tracing off: {least_off:.1} ns, scripted engine included");
    println!("counting adds {:.1} ns", least_on - least_off);
}
