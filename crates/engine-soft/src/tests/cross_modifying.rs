// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code and maps that change under processors that run: nobody uses what was there before, once it was told or the change has returned.
//!
//! Each test runs for [`seconds`]: one by default, longer in `cargo xtask long`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine::{EngineVp, ExitReason, Gpr, HostClock, Kick, RunLimits};
use iced_x86::code_asm::*;
use memory::{MemoryObject, Rights, ViewId};

use super::concurrency::vp_at;
use super::machine::{CODE, Machine, long_mode_state};
use crate::block::ChunkBudget;
use crate::cpu::{Cpu, Parts, TimeSource};
use crate::model::Model;
use crate::shared::{KICKED, Notice, Registry, VpShared};
use crate::stop::Stop;

/// Names the variable that makes these tests longer, and those of [`super::locked`].
const SECONDS: &str = "OPENVIRIDIAN_STRESS_SECONDS";
const VIEW: ViewId = ViewId(0);
/// Where the second program stands.
const OTHER: u64 = CODE + 0x1000;
/// A function of its own page: MOV EAX, imm32; RET.
const FUNCTION: u64 = CODE + 0x2000;
/// Words that processors share.
const FLAG: u64 = 0x20_0000;
const ANSWER: u64 = 0x20_1000;
const STOP: u64 = 0x20_2000;

/// How long a test is to take.
pub(super) fn seconds() -> Duration {
    Duration::from_secs_f64(std::env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(1.0))
}

fn place(machine: &Machine, at: u64, assemble: impl FnOnce(&mut CodeAssembler)) -> Vec<u8> {
    let mut assembler = CodeAssembler::new(64).unwrap();
    assemble(&mut assembler);
    let bytes = assembler.assemble(at).unwrap();
    machine.write(at, &bytes);
    bytes
}

/// MOV EAX, `value`; RET.
fn function(value: u32) -> Vec<u8> {
    let mut bytes = vec![0xB8];
    bytes.extend(value.to_le_bytes());
    bytes.push(0xC3);
    bytes
}

/// A serialising instruction that the engine executes itself and behind which it goes on in the same block, unless something is new: WBINVD. (Behind INVLPG
/// and others that may change what code runs it looks that up in any case.)
fn serialise(a: &mut CodeAssembler) {
    a.wbinvd().unwrap();
}

/// Runs processors until the time is over, then has them stop by the word at [`STOP`], and gives RBX of each: what it found wrong, or 0. `meanwhile` is done
/// again and again by this thread, until the time is over and it says that it was enough.
fn run(machine: &Machine, vps: Vec<Box<dyn EngineVp>>, mut meanwhile: impl FnMut() -> bool) -> Vec<u64> {
    let kickers: Vec<_> = vps.iter().map(|vp| vp.kicker()).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = &over;
        let running: Vec<_> = vps
            .into_iter()
            .map(|mut vp| {
                scope.spawn(move || {
                    loop {
                        match vp.run(RunLimits::default()).reason {
                            ExitReason::Halt => return vp.gpr(Gpr::Rbx),
                            ExitReason::Kicked if over.load(Ordering::Relaxed) => {
                                panic!("hangs at {:#x}", vp.rip())
                            }
                            ExitReason::SpinWait => std::thread::yield_now(),
                            ExitReason::Kicked => {}
                            reason => panic!("{reason:?} at {:#x}", vp.rip()),
                        }
                    }
                })
            })
            .collect();
        let end = Instant::now() + seconds();
        while !running.iter().any(|vp| vp.is_finished()) {
            if meanwhile() && Instant::now() >= end {
                break;
            }
        }
        machine.write(STOP, &[1]);
        let patience = Instant::now() + Duration::from_secs(60);
        while running.iter().any(|vp| !vp.is_finished()) {
            if Instant::now() > patience {
                over.store(true, Ordering::Relaxed);
                kickers.iter().for_each(|kicker| kicker.kick());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        running.into_iter().map(|vp| vp.join().unwrap()).collect()
    })
}

/// One processor stores to code, then to a flag; the other sees the flag, serialises, and executes: it has to find the new code (SDM 3A 8.1.3). It does so
/// in one straight line, which is decoded as one block.
#[test]
fn after_a_flag_and_a_serialising_instruction_code_is_new() {
    let machine = Machine::new();
    // The code that changes stands behind the flag's test, in the same page and block.
    const BEFORE_FIRST: u32 = 0x7F7E_7D7C;
    let program = place(&machine, OTHER, |a| {
        let mut wait = a.create_label();
        let (mut end, mut wrong) = (a.create_label(), a.create_label());
        a.xor(ebx, ebx).unwrap();
        a.mov(esi, 0).unwrap();
        a.set_label(&mut wait).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.jne(end).unwrap();
        // Most of a round passes between the end of a block, where a processor looks for notices, and the look at the flag.
        (0..24).for_each(|_| a.inc(edi).unwrap());
        a.mov(ecx, dword_ptr(FLAG)).unwrap();
        a.cmp(ecx, esi).unwrap();
        a.je(wait).unwrap();
        a.mov(esi, ecx).unwrap();
        serialise(a);
        a.mov(eax, BEFORE_FIRST).unwrap();
        a.cmp(eax, esi).unwrap();
        a.jne(wrong).unwrap();
        a.mov(dword_ptr(ANSWER), esi).unwrap();
        a.jmp(wait).unwrap();
        a.set_label(&mut wrong).unwrap();
        a.mov(ebx, eax).unwrap();
        a.inc(ebx).unwrap();
        a.set_label(&mut end).unwrap();
        a.hlt().unwrap();
    });
    let operand = program.windows(4).position(|bytes| bytes == BEFORE_FIRST.to_le_bytes()).unwrap();
    let patched = OTHER + operand as u64;
    place(&machine, CODE, |a| {
        let (mut next, mut wait, mut end) = (a.create_label(), a.create_label(), a.create_label());
        a.xor(ebx, ebx).unwrap();
        a.xor(esi, esi).unwrap();
        a.set_label(&mut next).unwrap();
        a.inc(esi).unwrap();
        a.mov(dword_ptr(patched), esi).unwrap();
        a.mov(dword_ptr(FLAG), esi).unwrap();
        a.set_label(&mut wait).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.jne(end).unwrap();
        a.cmp(dword_ptr(ANSWER), esi).unwrap();
        a.jne(wait).unwrap();
        a.jmp(next).unwrap();
        a.set_label(&mut end).unwrap();
        a.hlt().unwrap();
    });
    let vps = vec![vp_at(&machine, 1, CODE), vp_at(&machine, 2, OTHER)];
    let wrong = run(&machine, vps, || wait_for(&machine, 100));
    let rounds = machine.read(ANSWER) & 0xFFFF_FFFF;
    assert_eq!(
        wrong,
        [0, 0],
        "in round {} an old instruction was executed: RBX is one more than it gave",
        rounds + 1
    );
}

/// A processor of its own, and what others may touch of it.
fn cpu(machine: &Machine) -> (Cpu, Arc<VpShared>, Arc<Registry>) {
    let model = Model::x86_64_v2().unwrap();
    let (shared, registry) = (Arc::<VpShared>::default(), Arc::<Registry>::default());
    registry.add(&shared);
    let parts = Parts {
        chunks: Arc::new(ChunkBudget::new(1 << 20)),
        offered: model.extensions(),
        vendor: model.vendor(),
        efer_optional: model.efer_optional(),
        components: model.state_components(),
        shared: Arc::clone(&shared),
        registry: Arc::clone(&registry),
    };
    let time = TimeSource::Host(Arc::<HostClock>::default());
    (Cpu::new(Arc::clone(&machine.space), time, parts, &long_mode_state(0)).unwrap(), shared, registry)
}

/// Behind a serialising instruction a chain of blocks goes on exactly when nobody wants anything of the processor and no code is being changed.
#[test]
fn a_serialising_instruction_ends_the_chain_for_news_alone() {
    let machine = Machine::new();
    machine.load(|a| {
        serialise(a);
        a.inc(ebx).unwrap();
        a.hlt().unwrap();
    });
    let (mut cpu, shared, registry) = cpu(&machine);
    // Whether the chain ended behind the first instruction; else it got to the last.
    let mut ends = |meanwhile: &dyn Fn(&mut Cpu)| {
        meanwhile(&mut cpu);
        cpu.rip = CODE;
        cpu.grant(1000);
        cpu.set_gpr(Gpr::Rbx, 0);
        match (cpu.run_chain(), cpu.gpr(Gpr::Rbx)) {
            (Ok(()), 0) => true,
            (Err(Stop::Exit(noted)), 1) if cpu.noted_exit(noted) == ExitReason::Halt => false,
            other => panic!("{other:?}"),
        }
    };
    assert!(!ends(&|_| {}), "nothing is new");
    shared.kick();
    assert!(ends(&|_| {}), "a kick");
    shared.pending.fetch_and(!KICKED, Ordering::SeqCst);
    assert!(!ends(&|_| {}), "that was answered");
    shared.post(Notice::SpaceChanged);
    assert!(ends(&|_| {}), "a notice");
    assert!(!ends(&Cpu::serve_notices), "that was served");
    let change = registry.change_code();
    assert!(ends(&|_| {}), "a change of code");
    let second = registry.change_code();
    drop(change);
    assert!(ends(&|_| {}), "two, of which one is over");
    drop(second);
    assert!(!ends(&|_| {}), "that are over");
}

/// Who waits to be alone stands still for others meanwhile; a kick that came then is told before the access is made, as if the instruction had not been begun.
#[test]
fn a_kick_goes_before_an_access_alone() {
    const EDGE: u64 = 0x40_1000;
    let machine = Machine::new();
    machine.load(|a| a.lock().inc(dword_ptr(EDGE - 2)).unwrap());
    let (mut cpu, shared, _registry) = cpu(&machine);
    cpu.rip = CODE;
    cpu.grant(1000);
    cpu.events.interrupt_shadow = true;
    shared.kick();
    assert_eq!(cpu.step(), Err(Stop::Alone));
    assert_eq!((cpu.rip, cpu.events.interrupt_shadow, machine.read(EDGE - 2)), (CODE, true, 0));
    assert!(shared.take_kick());
    assert_eq!(cpu.step(), Ok(()));
    assert_eq!((cpu.events.interrupt_shadow, machine.read(EDGE - 2)), (false, 1));
}

/// Who has read the new bytes as data, and serialised, does not execute the old ones: nobody has told it anything.
#[test]
fn code_that_was_seen_as_data_is_not_older_when_executed() {
    let machine = Machine::new();
    machine.write(FUNCTION, &function(0));
    place(&machine, OTHER, |a| {
        let (mut again, mut wrong, mut end) = (a.create_label(), a.create_label(), a.create_label());
        a.xor(ebx, ebx).unwrap();
        a.set_label(&mut again).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.jne(end).unwrap();
        a.mov(ecx, dword_ptr(FUNCTION + 1)).unwrap();
        serialise(a);
        a.call(FUNCTION).unwrap();
        a.cmp(eax, ecx).unwrap();
        a.jb(wrong).unwrap();
        a.inc(dword_ptr(ANSWER)).unwrap();
        a.jmp(again).unwrap();
        a.set_label(&mut wrong).unwrap();
        a.mov(ebx, ecx).unwrap();
        a.set_label(&mut end).unwrap();
        a.hlt().unwrap();
    });
    place(&machine, CODE, |a| {
        let (mut next, mut end) = (a.create_label(), a.create_label());
        a.xor(ebx, ebx).unwrap();
        a.xor(esi, esi).unwrap();
        a.set_label(&mut next).unwrap();
        a.inc(esi).unwrap();
        // Aligned or not, a store inside a line is one; and its bytes are all of the instruction's operand.
        a.mov(dword_ptr(FUNCTION + 1), esi).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.je(next).unwrap();
        a.set_label(&mut end).unwrap();
        a.hlt().unwrap();
    });
    let vps = vec![vp_at(&machine, 1, CODE), vp_at(&machine, 2, OTHER)];
    let wrong = run(&machine, vps, || wait_for(&machine, 100));
    assert_eq!(wrong, [0, 0], "RBX is what was read before something older was executed");
}

/// Lets the processors run for a moment, and tells whether they have done so many rounds.
fn wait_for(machine: &Machine, rounds: u64) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    machine.read(ANSWER) & 0xFFFF_FFFF >= rounds
}

/// Two pages are changed under three processors by batches: one with data, one with code. After each batch the page that is gone is spoilt: who reads the
/// spoilt word, executes the spoilt code or stores to the page has used the old map.
#[test]
fn after_a_batch_nobody_uses_what_was_mapped_before() {
    const DATA: u64 = 0x30_0000;
    const SPOILT: u32 = 0x0BAD_0BAD;
    let machine = Machine::new();
    place(&machine, OTHER, |a| {
        let (mut again, mut wrong, mut end) = (a.create_label(), a.create_label(), a.create_label());
        a.xor(ebx, ebx).unwrap();
        a.set_label(&mut again).unwrap();
        a.cmp(dword_ptr(DATA), SPOILT as i32).unwrap();
        a.je(wrong).unwrap();
        a.inc(dword_ptr(DATA + 8)).unwrap();
        // Across the edge into the page behind, alone.
        a.lock().inc(dword_ptr(DATA + 0xFFE)).unwrap();
        a.call(FUNCTION).unwrap();
        a.cmp(eax, SPOILT as i32).unwrap();
        a.je(wrong).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.je(again).unwrap();
        a.jmp(end).unwrap();
        a.set_label(&mut wrong).unwrap();
        a.mov(ebx, 1).unwrap();
        a.set_label(&mut end).unwrap();
        a.hlt().unwrap();
    });
    let space = Arc::clone(&machine.space);
    let page = || MemoryObject::allocate(4096).unwrap();
    let map = |data: &Arc<MemoryObject>, code: &Arc<MemoryObject>| {
        space
            .batch(|batch| {
                batch.map(VIEW, DATA >> 12, 1, data, 0, Rights::ALL)?;
                batch.map(VIEW, FUNCTION >> 12, 1, code, 0, Rights::ALL)
            })
            .unwrap();
    };
    let new = |round: u32| {
        let (data, code) = (page(), page());
        code.write(0, &function(round)).unwrap();
        (data, code)
    };
    let mut now = new(0);
    map(&now.0, &now.1);
    let vps = (1..=3).map(|index| vp_at(&machine, index, OTHER)).collect();
    let (mut rounds, mut stored) = (0, 0);
    let mut retired: Vec<Arc<MemoryObject>> = Vec::new();
    let wrong = run(&machine, vps, || {
        rounds += 1;
        let next = new(rounds);
        map(&next.0, &next.1);
        let (data, code) = std::mem::replace(&mut now, next);
        let count = data.read_value::<8>(8).unwrap();
        stored += u64::from(count != 0);
        data.write_value::<8>(0, u64::from(SPOILT)).unwrap();
        data.write_value::<8>(8, 0).unwrap();
        code.write(0, &function(SPOILT)).unwrap();
        // A while later nobody has counted in it.
        retired.push(data);
        if retired.len() > 20 {
            let old = retired.remove(0);
            assert_eq!(old.read_value::<8>(8).unwrap(), 0, "a store went to a page that was gone");
        }
        if rounds % 7 == 0 {
            // Rights: without that of writing, stores and locked accesses end in an exit, which this test does not serve; so they go and come
            // back in one batch, which has to look as if nothing had happened.
            space
                .batch(|batch| {
                    batch.protect(VIEW, DATA >> 12, 1, Rights::READ)?;
                    batch.protect(VIEW, DATA >> 12, 1, Rights::ALL)
                })
                .unwrap();
        }
        if rounds % 16 == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        rounds > 30 && stored > 10
    });
    assert_eq!(wrong, [0, 0, 0], "after {rounds} changes");
}

/// Rights go away under processors that store: what they stored is in memory when the batch returns, and nothing comes after.
#[test]
fn after_a_batch_nobody_stores_without_the_right() {
    const DATA: u64 = 0x30_0000;
    let machine = Machine::new();
    place(&machine, OTHER, |a| {
        let mut again = a.create_label();
        a.xor(ebx, ebx).unwrap();
        a.set_label(&mut again).unwrap();
        a.lock().inc(qword_ptr(DATA)).unwrap();
        a.cmp(byte_ptr(STOP), 0).unwrap();
        a.je(again).unwrap();
        a.hlt().unwrap();
    });
    let space = Arc::clone(&machine.space);
    let protect = |rights| space.batch(|batch| batch.protect(VIEW, DATA >> 12, 1, rights)).unwrap();
    let count = || space.read_value::<8>(VIEW, DATA, Rights::NONE).unwrap();
    let mut vps: Vec<_> = (1..=2).map(|index| vp_at(&machine, index, OTHER)).collect();
    let end = Instant::now() + seconds();
    let mut rounds = 0;
    while Instant::now() < end || rounds < 10 {
        rounds += 1;
        std::thread::scope(|scope| {
            let running: Vec<_> =
                vps.iter_mut().map(|vp| scope.spawn(move || vp.run(RunLimits::default()).reason)).collect();
            let before = count();
            while count() == before {
                std::thread::yield_now();
            }
            protect(Rights::READ);
            let first = count();
            std::thread::sleep(Duration::from_micros(300));
            assert_eq!(count(), first, "round {rounds}");
            for vp in running {
                let reason = vp.join().unwrap();
                assert!(matches!(reason, ExitReason::Memory(access) if access.gpa == DATA), "{reason:?}");
            }
        });
        vps.iter_mut().for_each(|vp| vp.resume(engine::Resume::Retry));
        protect(Rights::ALL);
    }
}
