// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIMD and x87 exceptions, masked and unmasked, and misaligned operands.

use iced_x86::{Code, CpuidFeature};

use super::super::{Border, Extensions, Outcome, StubCache};
use super::forms::{decode, stub_forms};
use super::native::code_page;
use super::random::Random;
use super::stubs::{debug, run_all};

/// IE, DE, ZE, OE, UE, PE as flags of MXCSR; their masks are seven bits higher.
const ALL: u32 = 0x3F;

#[test]
fn unmasked_simd_exceptions_are_hardwares_own() {
    let mut raised = [0; 6];
    let mut cause_seen = std::collections::BTreeSet::new();
    let runs = run_all(
        150,
        |form| !matches!(form.border(), Some(Border::General | Border::Vector | Border::Avx) | None),
        |random| {
            let mut frame = random.frame();
            // Mostly one exception unmasked, with its flag clear before, so that each is met alone.
            let unmasked = if random.one_in(4) { random.bits() as u32 & ALL } else { 1 << random.below(6) };
            let modes = random.bits() as u32 & 0xE040;
            frame.vector.set_mxcsr(modes | (ALL & !unmasked) << 7).expect("no reserved bit");
            // x87 stays out of the way.
            frame.vector.set_x87_words(0x37F, 0, 0xFF);
            frame
        },
        |form, comparison| {
            if comparison.outcome == Outcome::SimdException {
                assert_eq!(comparison.native, Some(libc::SIGFPE));
                let mxcsr = comparison.frame.vector.mxcsr();
                let causes = mxcsr & ALL & !(mxcsr >> 7);
                assert_ne!(causes, 0, "{:?} trapped without a cause", form.code);
                for (bit, count) in raised.iter_mut().enumerate() {
                    *count += causes >> bit & 1;
                }
                cause_seen.insert(form.code as usize);
            }
        },
    );
    println!(
        "{runs} runs; traps by cause (IE DE ZE OE UE PE): {raised:?}; {} codes trapped",
        cause_seen.len()
    );
    assert!(raised.iter().all(|&count| count > 50), "some exception was hardly met: {raised:?}");
}

#[test]
fn a_pending_x87_exception_stops_every_waiting_instruction() {
    let runs = run_all(
        5,
        // With a memory operand these two wait on Intel processors, as here, but not on AMD's.
        |form| {
            let vendors_differ =
                form.has_memory && matches!(form.code, Code::Cvtpi2ps_xmm_mmm64 | Code::Cvtpi2pd_xmm_mmm64);
            form.border() == Some(Border::Legacy) && !vendors_differ
        },
        |random| {
            let mut frame = random.frame();
            let unmasked = 1 << random.below(6);
            frame.vector.set_x87_words(0x37F & !unmasked, unmasked | frame.vector.fsw(), 0xFF);
            frame
        },
        |form, comparison| {
            assert_eq!(comparison.outcome, Outcome::X87Pending, "{:?}", form.code);
            assert_eq!(comparison.native, Some(libc::SIGFPE), "{:?}", form.code);
        },
    );
    assert!(runs > 1000);
}

#[test]
fn unmasked_x87_stores_say_whether_they_stored() {
    let mut counts = [0; 2];
    run_all(
        400,
        |form| form.border() == Some(Border::Legacy) && form.has_memory,
        |random| {
            let mut frame = random.frame();
            let masks = random.bits() as u16 & 0x3F;
            let tags = if random.one_in(8) { 0 } else { 0xFF };
            frame.vector.set_x87_words(
                masks | random.bits() as u16 & 0xF00,
                random.bits() as u16 & 0x7F00,
                tags,
            );
            frame
        },
        |_, comparison| match comparison.outcome {
            Outcome::DoneWithoutStore => counts[0] += 1,
            Outcome::Done if comparison.frame.vector.x87_exception_pending() => counts[1] += 1,
            _ => {}
        },
    );
    println!("unmasked without store {}, with store or without memory output {}", counts[0], counts[1]);
    assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
}

#[test]
fn alignment_is_asked_for_where_hardware_does() {
    #[repr(C, align(64))]
    struct Operand([u8; 128]);

    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let mut page = code_page();
    let mut counts = [0; 2];
    for form in stub_forms().filter(|form| form.has_memory) {
        let mut random = Random::new(form.code as u64);
        let vendors_differ = form.code.cpuid_features() == [CpuidFeature::SHA];
        for misalignment in [1_u64, 8, 16] {
            let instance = form.instance(&mut random);
            let stub = cache.compile(&instance.instruction).expect("compiles");
            let memory = stub.memory().expect("the form has a memory operand");
            let operand = Operand([0; 128]);
            let (base, displacement) = instance.address.expect("the form has a memory operand");
            let mut frame = random.frame();
            frame.vector.set_x87_words(0x37F, 0, 0xFF);
            let address = operand.0.as_ptr() as u64 + misalignment;
            frame.gprs[base] = address.wrapping_sub(displacement as i64 as u64);
            let signal = page.run(&instance.bytes, &mut frame);
            let faults = !address.is_multiple_of(u64::from(memory.alignment));
            let expected = faults.then_some(libc::SIGSEGV);
            if !vendors_differ {
                assert_eq!(signal, expected, "{} at {misalignment}: {memory:?}", debug(&instance));
            }
            counts[usize::from(faults)] += 1;
        }
    }
    println!("{} misaligned operands allowed, {} not", counts[0], counts[1]);
    assert!(counts.iter().all(|&count| count > 300));
}

/// The handler must pass on what is not a stub's. The native oracle's own SIGFPE handler is the foreign one here,
/// whichever of the two was installed first.
#[test]
fn foreign_sigfpe_reaches_the_other_handler() {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let divsd = decode(&[0xF2, 0x0F, 0x5E, 0xC1], 64);
    let stub = cache.compile(&divsd).expect("compiles");
    let mut frame = super::super::HostFrame::new();
    frame.vector.set_mxcsr(0x1D80).expect("no reserved bit");
    frame.vector.set_xmm(0, u128::from(1_f64.to_bits()));
    for _ in 0..3 {
        frame.vector.set_mxcsr(0x1D80).expect("no reserved bit");
        assert_eq!(stub.run(&mut frame, Default::default), Outcome::SimdException);
        assert_eq!(frame.vector.mxcsr(), 0x1D84, "ZE is set, nothing else");
        assert_eq!(frame.vector.xmm(0), u128::from(1_f64.to_bits()), "no result is committed");
        let mut native = frame.clone();
        assert_eq!(code_page().run(&[0xF2, 0x0F, 0x5E, 0xC1], &mut native), Some(libc::SIGFPE));
    }
}

/// Worker threads of other people's programs often block all signals; a guest must not end such a process.
#[test]
fn a_thread_that_blocks_signals_survives_unmasked_exceptions() {
    let _page = code_page();
    let run = || {
        // SAFETY: fills and sets this thread's own signal mask.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut()), 0);
        }
        let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
        let stub = cache.compile(&decode(&[0xF2, 0x0F, 0x5E, 0xC1], 64)).expect("divsd compiles");
        let mut frame = super::super::HostFrame::new();
        frame.vector.set_mxcsr(0x1D80).expect("no reserved bit");
        frame.vector.set_xmm(0, u128::from(1_f64.to_bits()));
        let outcomes = [(); 2].map(|()| stub.run(&mut frame, Default::default));
        // SAFETY: reads this thread's signal mask.
        let still_blocked = unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut mask);
            libc::sigismember(&raw const mask, libc::SIGFPE) == 1
        };
        (outcomes, still_blocked)
    };
    let result = std::thread::spawn(run).join().expect("the thread ends");
    assert_eq!(result, ([Outcome::SimdException; 2], true));
}
