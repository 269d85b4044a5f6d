// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers by name: as hypercalls of a guest, and as methods of its host (TLFS 7.3, 7.8.2, 7.9, 7.10).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine::SegmentName;

use tlfs::msr::Access;
use tlfs::register::{
    self as values, InterruptStateRegister, PendingEvent, PendingExceptionEvent, PendingInterruptionRegister,
    PendingInterruptionType, REGISTERS, RegisterName as R, RegisterValue, SegmentAttributes, SegmentRegister,
};

use super::*;
use crate::{Enlightenment, register_refusal};

const INPUT: u64 = 0x8000;
const OUTPUT: u64 = 0x9000;
const SELF: u64 = u64::MAX;
const SELF_VP: u32 = 0xFFFF_FFFE;

fn lab(vp_count: u32) -> Lab {
    let mut lab = Lab::new(vp_count);
    lab.enable_hypercalls(0x5000);
    lab
}

fn put(lab: &Lab, offset: u64, bytes: &[u8]) {
    lab.space.write(ViewId(0), INPUT + offset, bytes, Rights::WRITE).unwrap();
}

fn header(lab: &Lab, partition: u64, vp: u32, vtl: u8) {
    put(lab, 0, &partition.to_le_bytes());
    put(lab, 8, &vp.to_le_bytes());
    put(lab, 12, &u32::from(vtl).to_le_bytes());
}

fn rep(code: CallCode, count: usize) -> InputValue {
    InputValue::new().with_call_code(code).with_rep_count(count as u16)
}

/// Makes a call of VP 0 and gives status and reps complete. What other VPs are asked for, they do meanwhile.
fn call(lab: &mut Lab, control: InputValue) -> (HvStatus, u16) {
    let (result, _) = lab.call_with(0, move |state| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = INPUT;
        state.gprs[Gpr::R8 as usize] = OUTPUT;
    });
    (result.status(), result.reps_complete())
}

fn get(lab: &mut Lab, vp: u32, names: &[R]) -> (HvStatus, u16) {
    header(lab, SELF, vp, 0);
    for (index, name) in names.iter().enumerate() {
        put(lab, 16 + 4 * index as u64, &name.0.to_le_bytes());
    }
    call(lab, rep(CallCode::GET_VP_REGISTERS, names.len()))
}

fn set(lab: &mut Lab, vp: u32, registers: &[(R, u64)]) -> (HvStatus, u16) {
    header(lab, SELF, vp, 0);
    for (index, (name, value)) in registers.iter().enumerate() {
        let at = 16 + 32 * index as u64;
        put(lab, at, &u128::from(name.0).to_le_bytes());
        put(lab, at + 16, &u128::from(*value).to_le_bytes());
    }
    call(lab, rep(CallCode::SET_VP_REGISTERS, registers.len()))
}

fn output(lab: &Lab, index: u64) -> u128 {
    let mut bytes = [0; 16];
    lab.space.read(ViewId(0), OUTPUT + 16 * index, &mut bytes, Rights::READ).unwrap();
    u128::from_le_bytes(bytes)
}

/// B07.047, B07.014, B03.007: values in order, 128 bits each, and what came before a name that does not exist.
#[test]
fn a_guest_gets_its_registers() {
    let mut lab = lab(1);
    lab.vps[0].registers().set_gpr(Gpr::Rbx, 0x1234);
    lab.space.write(ViewId(0), OUTPUT, &[0xEE; 64], Rights::WRITE).unwrap();
    assert_eq!(
        get(&mut lab, SELF_VP, &[R::RBX, R::VP_INDEX, R(7), R::RAX]),
        (HvStatus::INVALID_PARAMETER, 2)
    );
    assert_eq!((output(&lab, 0), output(&lab, 1)), (0x1234, 0));
    assert_eq!(get(&mut lab, 0, &[R::CR3, R::RBX]), (HvStatus::SUCCESS, 2));
    assert_eq!(output(&lab, 1), 0x1234);
}

/// B07.049, B07.039: names that do not exist, registers that cannot be set, and ones that cannot be got.
#[test]
fn what_cannot_be_got_or_set() {
    let mut lab = lab(1);
    for name in [R(7), R(0x0002_0012), R::LBR_TOS, R::VSM_CAPABILITIES, R::EOM] {
        assert_eq!(get(&mut lab, 0, &[name]).0, HvStatus::INVALID_PARAMETER, "{name:?}");
        assert_eq!(lab.vps[0].register(name), Err(HvStatus::INVALID_PARAMETER), "{name:?}");
    }
    for name in [R::VP_INDEX, R::HYPERVISOR_VERSION, R::VSM_CAPABILITIES, R::TIME_REF_COUNT, R::SVERSION] {
        assert_eq!(set(&mut lab, 0, &[(name, 0)]).0, HvStatus::INVALID_PARAMETER, "{name:?}");
        assert_eq!(lab.vps[0].set_register(name, 0u64.into()), Err(HvStatus::INVALID_PARAMETER), "{name:?}");
    }
}

/// B07.037, B03.005, B03.006: a list is gone through in order from the start index on, and the later value wins.
#[test]
fn lists_are_in_order() {
    let mut lab = lab(1);
    assert_eq!(set(&mut lab, 0, &[(R::STAR, 1), (R::LSTAR, 5), (R::STAR, 2)]), (HvStatus::SUCCESS, 3));
    assert_eq!(lab.vps[0].register(R::STAR), Ok(2u64.into()));
    header(&lab, SELF, 0, 0);
    put(&lab, 16, &u128::from(7u32).to_le_bytes());
    let control = rep(CallCode::SET_VP_REGISTERS, 2).with_rep_start_index(1);
    assert_eq!(call(&mut lab, control), (HvStatus::SUCCESS, 2), "the bad name is before the start index");
    assert_eq!(set(&mut lab, 0, &[(R::STAR, 9), (R::VP_INDEX, 1), (R::LSTAR, 9)]).1, 1);
    assert_eq!(lab.vps[0].register(R::STAR), Ok(9u64.into()));
    assert_eq!(lab.vps[0].register(R::LSTAR), Ok(5u64.into()), "after the failure nothing is set");
    let refused = set(&mut lab, SELF_VP, &[(R::STAR, 3), (R::RFLAGS, 0), (R::LSTAR, 9)]);
    assert_eq!(refused, (HvStatus::INVALID_REGISTER_VALUE, 1), "a value that the register cannot have");
}

/// B07.043: a guest sets the listed registers of its own VPs, and no other.
#[test]
fn a_guest_sets_only_what_is_listed() {
    let mut lab = lab(1);
    let listed: BTreeSet<u32> = REGISTERS
        .iter()
        .filter(|info| info.guest_settable && register_refusal(info.register).is_none())
        .map(|info| info.register.0)
        .collect();
    assert_eq!(listed.len(), 26);
    for info in REGISTERS {
        let name = info.register;
        let value = lab.vps[0].register(name).unwrap_or_default();
        // What keeps the call itself going stays as it is.
        let new = if name == R::EFER { value.low } else { 0 };
        let (status, _) = set(&mut lab, 0, &[(name, new)]);
        if !listed.contains(&name.0) {
            assert_eq!(status, HvStatus::INVALID_PARAMETER, "{name:?}");
        } else {
            assert!(
                [HvStatus::SUCCESS, HvStatus::INVALID_REGISTER_VALUE].contains(&status),
                "{name:?}: {status:?}"
            );
            lab.vps[0].set_register(name, value).unwrap();
        }
    }
}

/// B03.057, B07.040: what a guest sets of the VP that calls takes effect when the call returns, and raises nothing.
#[test]
fn registers_of_the_caller_change_when_the_call_returns() {
    let mut lab = lab(1);
    let rip = lab.vps[0].registers().rip();
    assert_eq!(
        set(&mut lab, SELF_VP, &[(R::RIP, 0x7000), (R::RSP, 0x6000), (R::RFLAGS, 0x202)]).0,
        HvStatus::SUCCESS
    );
    // The instruction after that one is IN, of three bytes.
    let registers = lab.vps[0].registers();
    assert_ne!(registers.rip(), rip + 6);
    assert_eq!((registers.rip(), registers.gpr(Gpr::Rsp), registers.rflags()), (0x7003, 0x6000, 0x202));
    lab.set_interrupts(0, false);
    let code = SegmentRegister {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector: 0x18,
        attributes: SegmentAttributes::from_bits(0xC09B),
    };
    header(&lab, SELF, SELF_VP, 0);
    put(&lab, 16, &u128::from(R::CS.0).to_le_bytes());
    put(&lab, 32, &u128::from(RegisterValue::from(code)).to_le_bytes());
    assert_eq!(call(&mut lab, rep(CallCode::SET_VP_REGISTERS, 1)), (HvStatus::SUCCESS, 1));
    assert_eq!(lab.vps[0].registers().segment(SegmentName::Cs).selector.into_bits(), 0x18);
}

/// B07.042, B07.048, B04.002, B07.011, B07.044: who may name which partition, VP and VTL.
#[test]
fn targets_are_checked() {
    let mut unprivileged = Lab::with(1, Enlightenments::ALL.without(Enlightenment::AccessVpRegisters));
    unprivileged.enable_hypercalls(0x5000);
    assert_eq!(get(&mut unprivileged, 0, &[R::RAX]).0, HvStatus::ACCESS_DENIED);
    assert_eq!(set(&mut unprivileged, 0, &[(R::STAR, 1)]).0, HvStatus::ACCESS_DENIED);

    let mut lab = lab(2);
    let own = lab.partition.id().0;
    let cases = [
        (SELF, 0, 0, HvStatus::SUCCESS),
        (own, 0, 0, HvStatus::SUCCESS),
        (0, 0, 0, HvStatus::INVALID_PARTITION_ID),
        (own + 1, 0, 0, HvStatus::ACCESS_DENIED),
        (own + 1, 77, 0xFF, HvStatus::ACCESS_DENIED),
        (SELF, 2, 0, HvStatus::INVALID_VP_INDEX),
        (SELF, u32::MAX, 0, HvStatus::INVALID_VP_INDEX),
        (SELF, 0, 0x10, HvStatus::SUCCESS),
        (SELF, 0, 0x11, HvStatus::ACCESS_DENIED),
        (SELF, 0, 0x20, HvStatus::INVALID_PARAMETER),
    ];
    put(&lab, 16, &R::RAX.0.to_le_bytes());
    for (partition, vp, vtl, expected) in cases {
        header(&lab, partition, vp, vtl);
        let case = format!("{partition:#x} {vp:#x} {vtl:#x}");
        assert_eq!(call(&mut lab, rep(CallCode::GET_VP_REGISTERS, 1)).0, expected, "{case}");
    }
    header(&lab, SELF, 0, 0);
    put(&lab, 13, &[1]);
    assert_eq!(call(&mut lab, rep(CallCode::GET_VP_REGISTERS, 1)).0, HvStatus::INVALID_PARAMETER);
}

/// A guest does not get at MSRs by their registers that it may not use.
#[test]
fn registers_are_no_way_around_privileges() {
    let mut lab = Lab::with(1, Enlightenments::ALL.without(Enlightenment::AccessSynicRegs));
    lab.enable_hypercalls(0x5000);
    assert_eq!(get(&mut lab, 0, &[R::VP_INDEX, R::SCONTROL]), (HvStatus::ACCESS_DENIED, 1));
    assert!(lab.vps[0].register(R::SCONTROL).is_ok(), "its host may");
}

/// B07.013: the registers that say what CPUID says.
#[test]
fn identity_registers_are_cpuid() {
    let mut lab = lab(1);
    for (name, leaf) in [
        (R::HYPERVISOR_VERSION, 0x4000_0002),
        (R::PRIVILEGES_AND_FEATURES_INFO, 0x4000_0003),
        (R::FEATURES_INFO, 0x4000_0004),
        (R::IMPLEMENTATION_LIMITS_INFO, 0x4000_0005),
        (R::HARDWARE_FEATURES_INFO, 0x4000_0006),
    ] {
        lab.play(0, ExitReason::Cpuid { leaf, subleaf: 0 });
        let registers = lab.vps[0].registers();
        let [a, b, c, d] = [Gpr::Rax, Gpr::Rbx, Gpr::Rcx, Gpr::Rdx].map(|gpr| u128::from(registers.gpr(gpr)));
        assert_eq!(get(&mut lab, 0, &[name]).0, HvStatus::SUCCESS);
        assert_eq!(output(&lab, 0), d << 96 | c << 64 | b << 32 | a, "{leaf:#x}");
    }
}

/// Every register that is called served can be got or set, and every other one says why not.
#[test]
fn the_table_is_whole() {
    let mut lab = lab(1);
    for info in REGISTERS {
        let name = info.register;
        let reaches = match info.access {
            Access::WriteOnly => lab.vps[0].set_register(name, 0u64.into()).is_ok(),
            _ => lab.vps[0].register(name).is_ok(),
        };
        // Some exist on processors of one vendor, or of another model than this engine's.
        let by_model = [R::MSR_IA32_MISC_ENABLE, R::IA32_FEATURE_CONTROL].contains(&name)
            || (R::YMM0_HIGH..=R::YMM15_HIGH).contains(&name);
        if !by_model {
            assert_eq!(reaches, register_refusal(name).is_none(), "{name:?}");
        }
    }
}

/// What is got is what was set, whatever room the register lives in.
#[test]
fn registers_hold_what_they_are_set_to() {
    let mut lab = lab(1);
    let vp = &mut lab.vps[0];
    let table = values::TableRegister { pad: [0; 3], limit: 0x7F, base: 0x1234_5000 };
    let segment = SegmentRegister {
        base: 0x1000,
        limit: 0xFFFF,
        selector: 0x10,
        attributes: SegmentAttributes::from_bits(0x93),
    };
    let cases: [(R, RegisterValue); 22] = [
        (R::RAX, u64::MAX.into()),
        (R::R15, 15u64.into()),
        (R::XMM3, (7u128 << 100 | 3).into()),
        (R::FP_MMX2, RegisterValue { low: 0x8000_0000_0000_0000, high: 0x3FFF }),
        (R::CR2, 0x1234u64.into()),
        (R::CR3, 0x5000u64.into()),
        (R::CR8, 9u64.into()),
        (R::DR1, 0x4000u64.into()),
        (R::DR7, 0x400u64.into()),
        (R::ES, segment.into()),
        (R::TR, segment.into()),
        (R::IDTR, table.into()),
        (R::GDTR, table.into()),
        (R::TSC, 0x1234_5678u64.into()),
        (R::SYSENTER_RIP, 0x77u64.into()),
        (R::MTRR_PHYS_BASE1, 0x6u64.into()),
        (R::MTRR_FIX4K_C8000, 0x0606_0606_0606_0606u64.into()),
        (R::SINT5, 0x45u64.into()),
        (R::STIMER1_COUNT, 77u64.into()),
        (R::GUEST_CRASH_P3, 3u64.into()),
        (R::ICR, 0u64.into()),
        (R::TPR, 0x20u64.into()),
    ];
    for (name, value) in cases {
        assert_eq!(vp.set_register(name, value), Ok(()), "{name:?}");
        assert_eq!(vp.register(name), Ok(value), "{name:?}");
    }
    assert_eq!(vp.register(R::YMM3_LOW), vp.register(R::XMM3));
    assert_eq!(vp.register(R::INITIAL_APIC_ID), Ok(0u64.into()));
}

/// What is set by name is in use from then on, for XRSTOR as well: the x87 pointer and MXCSR are of two components (SDM 1 13.4.2).
#[test]
fn components_that_are_set_are_in_use() {
    for (name, components) in [(R::FP_CONTROL_STATUS, 1), (R::XMM_CONTROL_STATUS, 3), (R::FP_MMX0, 1)] {
        let mut lab = Lab::new(1);
        let vp = &mut lab.vps[0];
        let value = vp.register(name).unwrap();
        let in_use = |vp: &mut crate::Vp| vp.registers().save().xsave.0[512];
        assert_eq!(in_use(vp), 0, "nothing has been used");
        vp.set_register(name, value).unwrap();
        assert_eq!(in_use(vp), components, "{name:?}");
    }
}

/// B07.032, B07.033: control and status words of x87 and SSE, and the bits of MXCSR that exist.
#[test]
fn floating_point_registers() {
    let mut lab = lab(1);
    let vp = &mut lab.vps[0];
    let control = values::FpControlStatusRegister {
        fp_control: 0x37F,
        fp_status: 0x3800,
        fp_tag: 0x80,
        reserved: 0,
        last_fp_op: 0x7E1,
        last_fp_rip: 0xFFFF_8000_0000_1234,
    };
    vp.set_register(R::FP_CONTROL_STATUS, control.into()).unwrap();
    assert_eq!(vp.register(R::FP_CONTROL_STATUS).map(values::FpControlStatusRegister::from), Ok(control));
    let area = vp.registers().save().xsave.0;
    assert_eq!((area[0], area[4], area[512] & 1), (0x7F, 0x80, 1), "as FXSAVE has it, and in use");
    let status: values::XmmControlStatusRegister = vp.register(R::XMM_CONTROL_STATUS).unwrap().into();
    assert_eq!(status.xmm_status_control_mask, 0xFFBF);
    let set = values::XmmControlStatusRegister { xmm_status_control: 0x1FA0, last_fp_rdp: 0x99, ..status };
    vp.set_register(R::XMM_CONTROL_STATUS, set.into()).unwrap();
    assert_eq!(vp.register(R::XMM_CONTROL_STATUS), Ok(set.into()));
    let beyond = values::XmmControlStatusRegister { xmm_status_control: 1 << 16, ..status };
    assert_eq!(vp.set_register(R::XMM_CONTROL_STATUS, beyond.into()), Err(HvStatus::INVALID_REGISTER_VALUE));
}

/// B07.038, B07.034: bits that do not exist, that are fixed, or that are beyond a register's width; a limit that granularity does not allow.
#[test]
fn single_values_are_checked() {
    let mut lab = lab(1);
    let vp = &mut lab.vps[0];
    let uneven = SegmentRegister {
        base: 0,
        limit: 0x1000,
        selector: 8,
        attributes: SegmentAttributes::from_bits(0x8093),
    };
    let cases: [(R, RegisterValue); 16] = [
        (R::CR0, (1u64 << 40).into()),
        (R::CR0, 0x8000_0001u64.into()),
        (R::CR3, (1u64 << 40).into()),
        (R::CR4, (1u64 << 63).into()),
        (R::CR8, 16u64.into()),
        (R::EFER, 2u64.into()),
        (R::RFLAGS, 0u64.into()),
        (R::RFLAGS, (1u64 << 40 | 2).into()),
        (R::DR7, 0u64.into()),
        (R::DR6, (1u64 << 32).into()),
        (R::XFEM, 0u64.into()),
        (R::PAT, 2u64.into()),
        (R::RAX, RegisterValue { low: 1, high: 1 }),
        (R::DS, uneven.into()),
        (R::GDTR, RegisterValue { low: 1, high: 0 }),
        (R::APIC_BASE, (1u64 << 60).into()),
    ];
    for (name, value) in cases {
        assert_eq!(
            vp.set_register(name, value),
            Err(HvStatus::INVALID_REGISTER_VALUE),
            "{name:?} {value:x?}"
        );
    }
    let flat = SegmentRegister { limit: 0x1FFF, ..uneven };
    assert_eq!(vp.set_register(R::DS, flat.into()), Ok(()));
    // PE off with PG on is nonsense that only shows when the VP runs.
    assert_eq!(vp.set_register(R::CR0, 0x8000_0010u64.into()), Ok(()));
}

/// B07.027, B07.028, B07.030, B07.031: what is pending is shown and set, with junk ignored where nothing is.
#[test]
fn what_is_pending() {
    let mut lab = lab(1);
    let vp = &mut lab.vps[0];
    assert_eq!(vp.register(R::PENDING_INTERRUPTION), Ok(0u64.into()));
    let exception = PendingInterruptionRegister::new()
        .with_interruption_pending(true)
        .with_interruption_type(PendingInterruptionType::EXCEPTION)
        .with_interruption_vector(13)
        .with_deliver_error_code(true)
        .with_error_code(0x18);
    vp.set_register(R::PENDING_INTERRUPTION, exception.into_bits().into()).unwrap();
    assert_eq!(vp.register(R::PENDING_INTERRUPTION), Ok(exception.into_bits().into()));
    let event = Event::Exception { vector: 13, error_code: Some(0x18), parameter: 0 };
    assert_eq!(vp.registers().events().pending, Some(event));
    let junk = exception.with_interruption_pending(false).with_instruction_length(5);
    vp.set_register(R::PENDING_INTERRUPTION, junk.into_bits().into()).unwrap();
    assert_eq!(vp.registers().events().pending, None);
    let software = PendingInterruptionRegister::new()
        .with_interruption_pending(true)
        .with_interruption_type(PendingInterruptionType::SOFTWARE_INTERRUPT)
        .with_interruption_vector(0x80)
        .with_instruction_length(2);
    vp.set_register(R::PENDING_INTERRUPTION, software.into_bits().into()).unwrap();
    let expected = Event::Software { vector: 0x80, instruction_length: 2 };
    assert_eq!(vp.registers().events().pending, Some(expected));
    let page_fault = PendingExceptionEvent {
        event: PendingEvent::new()
            .with_event_pending(true)
            .with_vector(14)
            .with_deliver_error_code(true)
            .with_error_code(2),
        exception_parameter: 0xDEAD_B000,
    };
    vp.set_register(R::PENDING_EVENT0, page_fault.into()).unwrap();
    assert_eq!(vp.register(R::PENDING_EVENT0), Ok(page_fault.into()));
    let event = Event::Exception { vector: 14, error_code: Some(2), parameter: 0xDEAD_B000 };
    assert_eq!(vp.registers().events().pending, Some(event));
    let state = InterruptStateRegister::new().with_interrupt_shadow(true).with_nmi_masked(true);
    vp.set_register(R::INTERRUPT_STATE, state.into_bits().into()).unwrap();
    let events = vp.registers().events();
    assert!(events.interrupt_shadow && events.nmi_blocked);
    assert_eq!(vp.register(R::INTERRUPT_STATE), Ok(3u64.into()));
}

/// The base of FS and GS has no register of its own. B07.035: it is the segment's.
#[test]
fn segment_bases_are_in_the_segments() {
    let mut lab = lab(1);
    let gs = SegmentRegister {
        base: 0xFFFF_8000_0000_0000,
        limit: 0xFFFF_FFFF,
        selector: 0,
        attributes: SegmentAttributes::from_bits(0xC093),
    };
    lab.vps[0].set_register(R::GS, gs.into()).unwrap();
    assert_eq!(lab.vps[0].registers().segment(SegmentName::Gs).base, 0xFFFF_8000_0000_0000);
}

/// B07.036: limits have 16 bits and bases 64.
#[test]
fn table_registers() {
    let mut lab = lab(1);
    lab.vps[0].registers().set_idtr(x86::segment::TableRegister { base: u64::MAX << 47, limit: 0xFFF });
    let value = lab.vps[0].register(R::IDTR).unwrap();
    assert_eq!((value.low, value.high), (0xFFF << 48, u64::MAX << 47));
}

/// Registers of another VP come when it answers; until then the call stands where it is. B06.003, B07.004: a VP that is suspended answers too.
#[test]
fn another_vp_answers() {
    let mut lab = lab(2);
    lab.vps[1].registers().set_gpr(Gpr::Rbp, 0x4711);
    header(&lab, SELF, 1, 0);
    put(&lab, 16, &R::RBP.0.to_le_bytes());
    let rip = lab.vps[0].registers().rip();
    let control = rep(CallCode::GET_VP_REGISTERS, 1);
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    let prepare = move |state: &mut VpState| {
        state.gprs[Gpr::Rcx as usize] = control.into_bits();
        state.gprs[Gpr::Rdx as usize] = INPUT;
        state.gprs[Gpr::R8 as usize] = OUTPUT;
    };
    lab.engine.push_with(0, exit, prepare);
    assert!(matches!(lab.vps[0].run(None), VpExit::Idle { .. }));
    assert_eq!(lab.vps[0].registers().rip(), rip, "it stands at the call");
    lab.partition.set_explicit_suspend(1, true);
    assert!(matches!(lab.vps[1].run(None), VpExit::Idle { .. }));
    lab.engine.push(0, exit);
    lab.pass(0);
    assert_eq!(output(&lab, 0), 0x4711);
    lab.partition.set_explicit_suspend(1, false);
}

/// Two VPs that ask each other both get their answers.
#[test]
fn two_that_ask_each_other_do_not_wait_forever() {
    let mut lab = lab(2);
    for vp in [0, 1] {
        lab.vps[vp].registers().set_gpr(Gpr::Rbp, 0x100 + vp as u64);
    }
    let page = |vp: u64| 0x1_0000 + 0x1000 * vp;
    for vp in 0..2u64 {
        let write = |offset: u64, bytes: &[u8]| {
            lab.space.write(ViewId(0), page(vp) + offset, bytes, Rights::WRITE).unwrap();
        };
        write(0, &SELF.to_le_bytes());
        write(8, &(1 - vp).to_le_bytes());
        write(16, &R::RBP.0.to_le_bytes());
    }
    let mut vps = std::mem::take(&mut lab.vps);
    let calls = 200;
    for vp in [0u32, 1] {
        // A call that waits is made again as another exit: there are enough of them for all.
        for _ in 0..2 * calls {
            let control = rep(CallCode::GET_VP_REGISTERS, 1);
            lab.engine.push_with(vp, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
                state.gprs[Gpr::Rcx as usize] = control.into_bits();
                state.gprs[Gpr::Rdx as usize] = page(vp.into());
                state.gprs[Gpr::R8 as usize] = page(vp.into()) + 0x800;
            });
        }
    }
    let (done, patience) = (AtomicU32::new(0), Patience::new());
    std::thread::scope(|scope| {
        for vp in &mut vps {
            let (partition, done, patience) = (Arc::clone(&lab.partition), &done, &patience);
            scope.spawn(move || {
                let thread = std::thread::current();
                partition.vp(vp.index()).set_waker(Box::new(move || thread.unpark()));
                let mut counted = false;
                // Whoever is done still answers.
                while done.load(Ordering::Relaxed) < 2 {
                    patience.go_on();
                    if matches!(vp.run(None), VpExit::Idle { .. }) {
                        std::thread::park_timeout(Duration::from_millis(5));
                    }
                    let made = vp.statistics().unwrap().hypercalls(CallCode::GET_VP_REGISTERS);
                    if made == calls && !counted {
                        counted = true;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    for vp in 0..2u64 {
        let value = lab.space.read_value::<8>(ViewId(0), page(vp) + 0x800, Rights::READ);
        assert_eq!(value, Ok(0x100 + 1 - vp));
    }
}

/// The host asks for registers of a VP that another thread runs.
#[test]
fn a_host_thread_asks_too() {
    let mut lab = lab(1);
    let mut vp = lab.vps.remove(0);
    let partition = Arc::clone(&lab.partition);
    vp.registers().set_gpr(Gpr::Rbp, 0x55);
    std::thread::scope(|scope| {
        let runner = scope.spawn(|| {
            let thread = std::thread::current();
            partition.vp(0).set_waker(Box::new(move || thread.unpark()));
            loop {
                match vp.run(None) {
                    VpExit::Stopped => break,
                    _ => std::thread::park_timeout(Duration::from_millis(50)),
                }
            }
        });
        assert_eq!(
            partition.get_vp_registers(0, &[R::RBP, R(7), R::RAX]),
            (vec![0x55u64.into()], HvStatus::INVALID_PARAMETER)
        );
        let set = partition.set_vp_registers(0, &[(R::RBP, 0x66u64.into()), (R::VP_INDEX, 1u64.into())]);
        assert_eq!(set, (1, HvStatus::INVALID_PARAMETER));
        assert_eq!(partition.get_vp_registers(0, &[R::RBP]), (vec![0x66u64.into()], HvStatus::SUCCESS));
        partition.vp(0).stop();
        runner.join().unwrap();
    });
}
