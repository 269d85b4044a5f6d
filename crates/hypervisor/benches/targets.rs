// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a flush and an interrupt by hypercall cost their caller, against the number of halted VPs they name, each on a thread that sleeps.
//! A flush wakes nobody. Of an interrupt there are two times: of the call (processor time of its caller), which wakes two and leaves them the rest, and until all threads have been woken, which
//! is as many context switches as there are targets, on as many processors as the host has.
//! `cargo bench -p openviridian-hypervisor`. The aim is that 64 targets cost at most eight times what one costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::scripted::ScriptedEngine;
use engine::{Engine, ExitReason, Gpr, HypercallInstruction, SegmentName};
use hypervisor::{Partition, PartitionConfig, Vp, VpExit};
use memory::{MemoryObject, Rights, Space, ViewId};
use rustix::time::{ClockId, clock_gettime};
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::msr;

const VPS: u32 = 65;
const CALLS: u32 = 200;
const VECTOR: u64 = 0x60;
/// Where XMM0 lies in an XSAVE area.
const XMM0: usize = 160;

/// Threads of targets that sleep, or are about to.
static ASLEEP: AtomicU64 = AtomicU64::new(0);
/// Times that a target's thread was woken and has run its VP.
static WOKEN: AtomicU64 = AtomicU64::new(0);

/// Processor time of this thread: the call's own cost, whoever else the host runs meanwhile.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Nanoseconds of processor time of the median call, and of time until as many targets as are woken have run.
fn measure(
    engine: &ScriptedEngine,
    vp: &mut Vp,
    code: CallCode,
    [rdx, r8, xmm0]: [u64; 3],
    woken: u64,
) -> (u64, u64) {
    let control = InputValue::new().with_call_code(code).with_fast(true).into_bits();
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as u64
    };
    let (times, whole): (Vec<_>, Vec<_>) = (0..CALLS)
        .map(|_| {
            engine.push_with(0, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
                state.gprs[Gpr::Rcx as usize] = control;
                state.gprs[Gpr::Rdx as usize] = rdx;
                state.gprs[Gpr::R8 as usize] = r8;
                state.xsave.0[XMM0..XMM0 + 8].copy_from_slice(&xmm0.to_le_bytes());
            });
            engine.push(0, ExitReason::SpinWait);
            // Whoever was woken sleeps again: a VP is told to before its thread counts itself.
            while ASLEEP.load(Ordering::SeqCst) < u64::from(VPS) - 1 {
                std::thread::sleep(Duration::from_micros(100));
            }
            let before = WOKEN.load(Ordering::SeqCst);
            let begun = Instant::now();
            let time_before = thread_time();
            let exit = vp.run(None);
            let time = thread_time() - time_before;
            while WOKEN.load(Ordering::SeqCst) < before + woken {
                std::thread::yield_now();
            }
            let whole = begun.elapsed();
            assert_eq!(exit, VpExit::SpinWait);
            assert_eq!(vp.registers().gpr(Gpr::Rax) & 0xFFFF, 0, "the call failed");
            let _ = engine.take_deeds(0);
            (time, whole)
        })
        .unzip();
    (median(times), median(whole))
}

fn main() {
    let engine = ScriptedEngine::new(10_000_000);
    let space = Space::new(36);
    let ram = MemoryObject::allocate(1 << 20).expect("memory");
    space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL)).expect("a map");
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let config = PartitionConfig { vp_count: VPS, wakes_at_once: 2, ..Default::default() };
    let (partition, mut vps) = Partition::create(&shared, &space, config).expect("a partition");
    vps.iter_mut().for_each(Vp::set_up_local_apic_as_firmware_does);
    let mut caller = vps.remove(0);
    engine.push(0, ExitReason::WriteMsr { number: msr::GUEST_OS_ID, value: 0x8100_0000_0000_0000 });
    engine.push(0, ExitReason::WriteMsr { number: msr::HYPERCALL, value: 0x5001 });
    engine.push_with(0, ExitReason::SpinWait, |state| {
        state.control.cr0 = 0x8000_0011;
        state.control.efer = 0x500;
        state.segments[SegmentName::Cs as usize].attributes = 0xA09B.into();
    });
    assert_eq!(caller.run(None), VpExit::SpinWait);

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (over, partition) = (&over, &partition);
        for mut vp in vps {
            let index = vp.index();
            let thread = scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // It waits for a start-up IPI, which is halt enough: what comes wakes it, and it sleeps again.
                    if let VpExit::Idle { .. } = vp.run(None) {
                        ASLEEP.fetch_add(1, Ordering::SeqCst);
                        std::thread::park();
                        ASLEEP.fetch_sub(1, Ordering::SeqCst);
                        // Counted before it runs, which is where it looks at what has come.
                        WOKEN.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
            let thread = thread.thread().clone();
            partition.vp(index).set_waker(Box::new(move || thread.unpark()));
        }
        std::thread::sleep(Duration::from_millis(100));
        println!("targets  flush ns  interrupt ns  until all are awake ns");
        let mut first = None;
        for targets in [1, 2, 4, 8, 16, 32, 63] {
            // VP 0 is the caller; a mask of 64 bits names the others up to VP 63.
            let mask = ((1u64 << targets) - 1) << 1;
            let flush_call = CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE;
            let (flush, _) = measure(&engine, &mut caller, flush_call, [0x7000, 2, mask], 0);
            let interrupt_call = CallCode::SEND_SYNTHETIC_CLUSTER_IPI;
            let (interrupt, awake) =
                measure(&engine, &mut caller, interrupt_call, [VECTOR, mask, 0], targets);
            println!("{targets:>7} {flush:>9} {interrupt:>13} {awake:>24}");
            let (flush_1, interrupt_1, awake_1) = *first.get_or_insert((flush, interrupt, awake));
            if targets == 63 {
                let ratio = |many: u64, one: u64| many as f64 / one.max(1) as f64;
                println!(
                    "63 against 1: flush {:.1}x, interrupt {:.1}x, until all are awake {:.1}x",
                    ratio(flush, flush_1),
                    ratio(interrupt, interrupt_1),
                    ratio(awake, awake_1)
                );
            }
        }
        over.store(true, Ordering::Relaxed);
        for vp in partition.vps() {
            vp.stop();
        }
    });
}
