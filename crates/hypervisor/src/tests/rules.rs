// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules about every call, every page and every VP, a few lines each (TLFS 2, 3, 5, 7, 8).

use engine::CpuidResult;
use tlfs::address::MapGpaFlags;
use tlfs::hypercall::{CallClass, CallCode, parameters};
use tlfs::register::RegisterName as R;
use x86::apic::DeliveryMode;

use super::*;
use crate::local_apic::{Destination, InterruptMessage};
use crate::{parents_calls, served_calls};

const INPUT: u64 = 0x8000;
const OUTPUT: u64 = 0x9000;

fn lab(vp_count: u32) -> Lab {
    let mut lab = Lab::new(vp_count);
    lab.enable_hypercalls(0x5000);
    lab
}

fn put(lab: &Lab, gpa: u64, words: &[u64]) {
    for (index, &word) in words.iter().enumerate() {
        lab.space.write_value::<8>(ViewId(0), gpa + 8 * index as u64, word, Rights::WRITE).unwrap();
    }
}

fn simple(code: CallCode) -> InputValue {
    InputValue::new().with_call_code(code)
}

fn cpuid(lab: &mut Lab, leaf: u32) -> CpuidResult {
    lab.play(0, ExitReason::Cpuid { leaf, subleaf: 0 });
    let registers = lab.vps[0].registers();
    let [eax, ebx, ecx, edx] = [Gpr::Rax, Gpr::Rbx, Gpr::Rcx, Gpr::Rdx].map(|gpr| registers.gpr(gpr) as u32);
    CpuidResult { eax, ebx, ecx, edx }
}

/// B02.010: interrupts reach another VP as recommended, by hypercall and by MSR, and as they always did.
#[test]
fn recommendations_may_be_ignored() {
    let mut lab = lab(2);
    let advice = cpuid(&mut lab, 0x4000_0004).eax;
    assert_eq!(advice >> 3 & 1, 1, "MSRs are recommended");
    assert_eq!(advice >> 10 & 1, 1, "so is the hypercall");
    let call = Lab::fast(CallCode::SEND_SYNTHETIC_CLUSTER_IPI);
    assert_eq!(lab.call(0, call, 0x51, 0b10), HvStatus::SUCCESS);
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x52).unwrap();
    lab.play(0, page_write(0x310, 1 << 24));
    lab.play(0, page_write(0x300, 0x53));
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.extend(lab.interrupts(1));
        lab.write_msr(1, msr::EOI, 0).unwrap();
    }
    taken.sort();
    assert_eq!(taken, [0x51, 0x52, 0x53]);
}

/// B02.011: who is told never to report a long spin may report one all the same.
#[test]
fn the_spin_count_says_never() {
    let mut lab = lab(1);
    assert_eq!(cpuid(&mut lab, 0x4000_0004).ebx, u32::MAX);
    let spin = Lab::fast(CallCode::NOTIFY_LONG_SPIN_WAIT);
    assert_eq!(lab.call(0, spin, 1, 0), HvStatus::SUCCESS);
}

/// B02.014, B02.016: no hardware is in use and no device shares memory. Timers are not volatile: they keep their state over a sleep.
#[test]
fn hardware_that_is_not_used_is_not_told_of() {
    let mut lab = lab(1);
    assert_eq!(cpuid(&mut lab, 0x4000_0006), CpuidResult::default());
    assert_eq!(cpuid(&mut lab, 0x4000_0008), CpuidResult::default());
    lab.write_msr(0, msr::STIMER0_CONFIG, 0x1_1600 | 1 << 12 | 3).unwrap();
    lab.write_msr(0, msr::STIMER0_COUNT, 5000).unwrap();
    let state = |lab: &mut Lab| {
        (lab.read_msr(0, msr::STIMER0_CONFIG).unwrap(), lab.read_msr(0, msr::STIMER0_COUNT).unwrap())
    };
    let before = state(&mut lab);
    lab.engine.push(0, ExitReason::Halt);
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }));
    lab.partition.pulse_nmi();
    lab.partition.deliver(InterruptMessage::from_device(DeliveryMode::Nmi, 0, 0, false, false));
    assert_eq!(state(&mut lab), before);
}

/// The name and the arguments of each simple call that succeeds with them.
fn simple_calls() -> Vec<(CallCode, Vec<u64>)> {
    vec![
        (CallCode::SWITCH_VIRTUAL_ADDRESS_SPACE, vec![0x1000]),
        (CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE, vec![0, 3, 0]),
        (CallCode::NOTIFY_LONG_SPIN_WAIT, vec![1]),
        (CallCode::SEND_SYNTHETIC_CLUSTER_IPI, vec![0x51, 1]),
    ]
}

/// B03.013: a simple call is done when it returns, and never stands half done.
#[test]
fn simple_calls_are_done_at_once() {
    for (code, words) in simple_calls() {
        let mut lab = lab(1);
        put(&lab, INPUT, &words);
        let (result, deeds) = lab.call_with(0, move |state| {
            state.gprs[Gpr::Rcx as usize] = simple(code).into_bits();
            state.gprs[Gpr::Rdx as usize] = INPUT;
        });
        assert_eq!(result.status(), HvStatus::SUCCESS, "{code:?}");
        let answers = deeds.iter().filter(|deed| matches!(deed, Deed::Resumed(_)));
        assert_eq!(answers.collect::<Vec<_>>(), [&Deed::Resumed(Resume::Advance)], "{code:?}");
    }
}

/// B03.056, B03.020: nothing but RAX changes, wherever the instruction stands.
#[test]
fn other_registers_stay() {
    for (code, words) in simple_calls() {
        let mut lab = lab(1);
        put(&lab, INPUT, &words);
        let registers = lab.vps[0].registers();
        for gpr in [Gpr::Rbx, Gpr::Rbp, Gpr::Rsi, Gpr::Rdi, Gpr::R9, Gpr::R10, Gpr::R11, Gpr::R12, Gpr::R15] {
            registers.set_gpr(gpr, 0x1111 * gpr as u64);
        }
        (0..16).for_each(|index| registers.set_xmm(index, u128::from(index) << 64 | 7));
        registers.set_gpr(Gpr::Rcx, simple(code).into_bits());
        registers.set_gpr(Gpr::Rdx, INPUT);
        registers.set_gpr(Gpr::R8, 0xBAD);
        assert_ne!(registers.rip() >> 12, 5, "not the hypercall page");
        let before = registers.save();
        lab.play(0, ExitReason::Hypercall(HypercallInstruction::Vmcall));
        let after = lab.vps[0].registers().save();
        assert_eq!(after.gprs[1..], before.gprs[1..], "{code:?}");
        assert_eq!((after.xsave, after.rflags), (before.xsave, before.rflags), "{code:?}");
        assert_eq!(after.gprs[0], 0, "{code:?}");
    }
}

/// B03.063, B03.058: from every call come the statuses that any call may give: for a control word that makes no sense, and for a parameter that is not
/// aligned; and without its privilege it is denied.
#[test]
fn every_call_gives_the_common_statuses() {
    let mut all = Enlightenments::ALL;
    for &service in crate::Enlightenment::ALL {
        all = all.with(service);
    }
    let mut lab = Lab::with(1, all);
    lab.enable_hypercalls(0x5000);
    let mut least = Lab::with(
        1,
        Enlightenments::NONE
            .with(crate::Enlightenment::AccessHypercallMsrs)
            .with(crate::Enlightenment::AccessVpIndex),
    );
    least.enable_hypercalls(0x5000);
    for call in served_calls() {
        let control = simple(call.code).with_rep_count(call.rep.into());
        let reserved = InputValue::from_bits(control.into_bits() | 1 << 63);
        assert_eq!(
            lab.call(0, reserved, INPUT, OUTPUT),
            HvStatus::INVALID_HYPERCALL_INPUT,
            "{:?}",
            call.code
        );
        let class = tlfs::hypercall::info(call.code).unwrap().class;
        let takes_input = parameters(call.code).is_some_and(|row| row.input.is_some());
        if takes_input && class != CallClass::CodePage {
            let status = lab.call(0, control, INPUT + 4, OUTPUT);
            assert_eq!(status, HvStatus::INVALID_ALIGNMENT, "{:?}", call.code);
        }
        let own = tlfs::privilege::PrivilegeMask::of(&[
            tlfs::privilege::Privilege::AccessHypercallMsrs,
            tlfs::privilege::Privilege::AccessVpIndex,
        ]);
        if !own.holds(call.privileges) {
            assert_eq!(least.call(0, control, INPUT, OUTPUT), HvStatus::ACCESS_DENIED, "{:?}", call.code);
        }
    }
    for &code in parents_calls() {
        assert_eq!(lab.call(0, simple(code), INPUT + 4, OUTPUT), HvStatus::ACCESS_DENIED, "{code:?}");
    }
}

/// B03.002: what stands behind the last parameter, to a multiple of 8 bytes, means nothing.
#[test]
fn padding_of_the_input_means_nothing() {
    let mut lab = lab(1);
    let control = simple(CallCode::GET_VP_REGISTERS).with_rep_count(1);
    put(&lab, INPUT, &[u64::MAX, 0, 0xFFFF_FFFF_0000_0000 | u64::from(R::VP_INDEX.0), u64::MAX]);
    assert_eq!(lab.call(0, control, INPUT, OUTPUT), HvStatus::SUCCESS);
}

/// B03.015: registers of 128 bits that two threads set are one of both values, and never a part of each.
#[test]
fn sets_are_atomic() {
    let mut lab = lab(1);
    let mut vp = lab.vps.remove(0);
    let partition = Arc::clone(&lab.partition);
    let values = [0x1111_1111_1111_1111u128, 0x2222_2222_2222_2222].map(|half| half << 64 | half);
    vp.registers().set_xmm(0, values[0]);
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let thread = std::thread::current();
            partition.vp(0).set_waker(Box::new(move || thread.unpark()));
            while vp.run(None) != VpExit::Stopped {
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        });
        let writers = values.map(|value| {
            let partition = &partition;
            scope.spawn(move || {
                for _ in 0..100 {
                    assert_eq!(partition.set_vp_registers(0, &[(R::XMM0, value.into())]).0, 1);
                    let (seen, _) = partition.get_vp_registers(0, &[R::XMM0]);
                    assert!(values.contains(&seen[0].into()), "{seen:x?}");
                }
            })
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        partition.vp(0).stop();
        runner.join().unwrap();
    });
}

/// B04.015: only CrashNotify makes a report, alone or with CrashMessage; other bits mean nothing.
#[test]
fn crash_control_has_two_bits() {
    for (value, reports, message) in [
        (1u64 << 63, true, false),
        (1 << 63 | 1 << 62, true, true),
        (1 << 62, false, false),
        ((1 << 62) - 1, false, false),
        (1 << 63 | 0xFF, true, false),
    ] {
        let mut lab = lab(1);
        lab.write_msr(0, msr::CRASH_P0 + 3, 0x8000).unwrap();
        lab.write_msr(0, msr::CRASH_P0 + 4, 4).unwrap();
        lab.engine.push(0, ExitReason::WriteMsr { number: msr::CRASH_CTL, value });
        lab.engine.push(0, ExitReason::Port(END));
        match lab.vps[0].run(None) {
            VpExit::Crash(report) => {
                assert_eq!((reports, report.message.is_some()), (true, message), "{value:#x}")
            }
            _ => assert!(!reports, "{value:#x}"),
        }
    }
}

/// B05.001: the last page of the space can be used, the one behind it has no address.
#[test]
fn the_space_ends_where_addresses_do() {
    let mut lab = lab(1);
    let end = lab.space.end();
    lab.write_msr(0, msr::SIMP, (end - 1) << 12 | 1).unwrap();
    assert!(lab.space.resolve(ViewId(0), end - 1).is_some());
    let page = MemoryObject::allocate(PAGE_SIZE).unwrap();
    let beyond = lab.space.batch(|batch| batch.map(ViewId(0), end, 1, &page, 0, Rights::ALL));
    assert!(beyond.is_err() && lab.space.resolve(ViewId(0), end).is_none());
    assert_eq!(lab.write_msr(0, msr::HYPERCALL, end << 12 | 1), Err(Gp));
}

/// B05.006: rights that a page may have together, and those that it may not.
#[test]
fn rights_go_together_or_not() {
    let lab = lab(1);
    let flags = |bits| MapGpaFlags::from_bits(bits);
    for (bits, rights) in [
        (0b0000, Rights::NONE),
        (0b0001, Rights::READ),
        (0b0011, Rights::READ | Rights::WRITE),
        (0b1101, Rights::READ_EXECUTE),
        (0b1111, Rights::ALL),
    ] {
        assert_eq!(lab.partition.set_page_rights(0x10, 1, flags(bits)), HvStatus::SUCCESS, "{bits:#b}");
        assert_eq!(lab.space.resolve(ViewId(0), 0x10).unwrap().rights, rights, "{bits:#b}");
    }
    for bits in [0b0010, 0b1100, 0b0100, 0b1000, 0b1110, 0b1_0001] {
        let status = lab.partition.set_page_rights(0x10, 1, flags(bits));
        assert_eq!(status, HvStatus::INVALID_PARAMETER, "{bits:#b}");
    }
    assert_eq!(lab.space.resolve(ViewId(0), 0x10).unwrap().rights, Rights::ALL, "as it was");
    assert_eq!(lab.partition.set_page_rights(lab.space.end(), 1, flags(1)), HvStatus::INVALID_PARAMETER);
}

/// B05.010: an overlay page has its own rights, whether memory is under it or not.
#[test]
fn overlays_have_their_own_rights() {
    let mut lab = lab(1);
    let hole = 0x300_0000;
    lab.space.batch(|batch| batch.protect(ViewId(0), 0x20, 1, Rights::READ)).unwrap();
    for gpa in [hole, 0x2_0000] {
        lab.write_msr(0, msr::SIMP, gpa | 1).unwrap();
        lab.write_u32(gpa + 0x100, 0x77);
        assert_eq!(lab.read_u32(gpa + 0x100), 0x77, "{gpa:#x}");
    }
    lab.write_msr(0, msr::SIMP, 0).unwrap();
    assert!(lab.space.resolve(ViewId(0), hole >> 12).is_none());
}

/// B05.014: parameters on an overlay page do no harm.
#[test]
fn parameters_on_an_overlay_do_no_harm() {
    let mut lab = lab(1);
    lab.enable_synic(0);
    let page = Lab::message_page(0);
    let control = simple(CallCode::GET_VP_REGISTERS).with_rep_count(1);
    put(&lab, page + 0x800, &[u64::MAX, 0, R::VP_INDEX.0.into()]);
    let status = lab.call(0, control, page + 0x800, page + 0x900);
    assert!([HvStatus::SUCCESS, HvStatus::INVALID_PARAMETER].contains(&status), "{status:?}");
    assert_eq!(lab.read_msr(0, msr::VP_INDEX), Ok(0));
}

/// B07.001: a partition may have no VP at all.
#[test]
fn a_partition_without_vps() {
    let lab = Lab::new(0);
    assert_eq!((lab.partition.vp_count(), lab.vps.len()), (0, 0));
    lab.partition.deliver(InterruptMessage::from_device(DeliveryMode::Fixed, 0x40, 0, false, false));
}

/// B07.002: a VP keeps its index, over a reset too.
#[test]
fn indexes_stay() {
    let mut lab = lab(3);
    for vp in 0..3 {
        assert_eq!(lab.read_msr(vp, msr::VP_INDEX), Ok(vp as u64));
    }
    lab.partition.reset();
    lab.vps.iter_mut().for_each(Vp::reset);
    for vp in 0..3 {
        assert_eq!(lab.vps[vp].register(R::VP_INDEX), Ok((vp as u64).into()));
    }
}

/// B07.024, B07.025: a set has as many banks as its mask names; VPs in it that do not exist get nothing.
#[test]
fn sets_are_as_long_as_they_say() {
    let mut lab = lab(2);
    let ipi = simple(CallCode::SEND_SYNTHETIC_CLUSTER_IPI_EX);
    put(&lab, INPUT, &[0x61, 0, 0b11, 0b10, 1]);
    for (banks, status) in [
        (0, HvStatus::INVALID_HYPERCALL_INPUT),
        (1, HvStatus::INVALID_HYPERCALL_INPUT),
        (2, HvStatus::SUCCESS),
    ] {
        assert_eq!(lab.call(0, ipi.with_variable_header_size(banks), INPUT, 0), status, "{banks}");
    }
    assert_eq!(lab.interrupts(1), [0x61], "VP 64 does not exist");
}

/// B07.045: a VP that runs takes what is set between two of its instructions.
#[test]
fn a_running_vp_is_set_between_instructions() {
    let mut lab = lab(2);
    put(&lab, INPUT, &[u64::MAX, 1, R::RIP.0.into(), 0, 0x7000, 0]);
    let control = simple(CallCode::SET_VP_REGISTERS).with_rep_count(1);
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    lab.engine.push_with(0, exit, move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = INPUT;
    });
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }));
    lab.pass(1);
    assert_eq!(lab.vps[1].registers().rip(), 0x7003);
    lab.engine.push(0, exit);
    lab.pass(0);
    assert_eq!(ResultValue::from_bits(lab.vps[0].registers().gpr(Gpr::Rax)).status(), HvStatus::SUCCESS);
}

/// B08.003: every VP shows the same family, model and stepping: the engine's model.
#[test]
fn processors_are_of_one_model() {
    let mut lab = lab(2);
    let model = lab.engine.cpuid(1, 0).eax;
    for vp in [0, 1] {
        lab.play(vp, ExitReason::Cpuid { leaf: 1, subleaf: 0 });
        assert_eq!(lab.vps[vp].registers().gpr(Gpr::Rax), model.into());
    }
}

/// B08.007: there is no system management mode for an interrupt to enter.
#[test]
fn system_management_interrupts_do_nothing() {
    let mut lab = lab(1);
    let message = InterruptMessage {
        destination: Destination::Physical(0),
        delivery_mode: DeliveryMode::Smi,
        vector: 0,
        level_triggered: false,
    };
    let before = lab.vps[0].registers().save();
    lab.partition.deliver(message);
    assert!(lab.pass(0).iter().all(|deed| !matches!(deed, Deed::Injected(_))));
    let after = lab.vps[0].registers().save();
    assert_eq!((after.gprs, after.segments), (before.gprs, before.segments));
}

/// B08.008, B08.009: each VP has a TSC of its own, which goes on while the VP is suspended.
#[test]
fn each_vp_has_its_own_tsc() {
    let mut lab = lab(2);
    let tsc = |lab: &mut Lab, vp: usize| lab.vps[vp].register(R::TSC).unwrap().low;
    let other = tsc(&mut lab, 1);
    lab.vps[0].set_register(R::TSC, 1_000_000u64.into()).unwrap();
    assert_eq!((tsc(&mut lab, 0), tsc(&mut lab, 1)), (1_000_000, other));
    lab.partition.set_explicit_suspend(0, true);
    lab.advance(100);
    assert_eq!(tsc(&mut lab, 0), 1_000_000 + 100 * TICKS);
    lab.partition.set_explicit_suspend(0, false);
}
