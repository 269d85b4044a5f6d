// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where each register lives: a name of the interface, and the MSR, the control register or the part of the vector state that it is (TLFS 7.8.2, 7.9).

use engine::{ModelSpecificRegisters, SegmentName};
use tlfs::register::{
    PendingEvent, PendingExceptionEvent, PendingInterruptionRegister, PendingInterruptionType, REGISTERS,
    RegisterName as R, RegisterValue,
};

use tlfs::synic::MessageType;
use tlfs::vp::VpIndex;

use super::*;
use crate::{PortKind, register_refusal};

fn low(lab: &mut Lab, name: R) -> u64 {
    let value = lab.vps[0].register(name).unwrap_or_else(|status| panic!("{name:?}: {status:?}"));
    assert_eq!(value.high, 0, "{name:?}");
    value.low
}

/// Registers from the first to the last of a run, by their numbers.
fn run(first: R, last: R) -> impl Iterator<Item = R> {
    (first.0..=last.0).map(R)
}

/// What RDMSR gives, the register of that name gives, and what WRMSR wrote.
#[test]
fn registers_of_msrs_are_those_msrs() {
    let mut lab = Lab::new(1);
    let writable = [
        (R::GUEST_OS_ID, msr::GUEST_OS_ID, 0x8100_1234),
        (R::HYPERCALL, msr::HYPERCALL, 0x5001),
        (R::REFERENCE_TSC, msr::REFERENCE_TSC, 0x6001),
        (R::VP_ASSIST_PAGE, msr::VP_ASSIST_PAGE, 0x7001),
        (R::TPR, msr::TPR, 0x35),
        (R::ICR, msr::ICR, 0x1_8045),
        (R::SCONTROL, msr::SCONTROL, 1),
        (R::SIFP, msr::SIEFP, 0x8001),
        (R::SIPP, msr::SIMP, 0x9001),
        (R::APIC_BASE, 0x1B, 0xFED0_0900),
        (R::MTRR_DEF_TYPE, 0x2FF, 0xC04),
        (R::MTRR_FIX64K00000, 0x250, 0x0404_0404_0404_0404),
        (R::MSR_IA32_MISC_ENABLE, 0x1A0, 0x1800),
        (R::STIME_UNHALTED_TIMER_CONFIG, msr::STIME_UNHALTED_TIMER_CONFIG, 0x41),
        (R::STIME_UNHALTED_TIMER_COUNT, msr::STIME_UNHALTED_TIMER_COUNT, 0x1234_5678),
    ];
    let runs = [
        (run(R::SINT0, R::SINT15), msr::SINT0, 1, 0x40),
        (run(R::MTRR_PHYS_BASE0, R::MTRR_PHYS_BASE7), 0x200, 2, 0x10_0006),
        (run(R::MTRR_PHYS_MASK0, R::MTRR_PHYS_MASK7), 0x201, 2, 0x20_0800),
        (run(R::MTRR_FIX16K80000, R::MTRR_FIX16K_A0000), 0x258, 1, 0),
        (run(R::MTRR_FIX4K_C0000, R::MTRR_FIX4K_F8000), 0x268, 1, 0),
        (run(R::GUEST_CRASH_P0, R::GUEST_CRASH_P4), msr::CRASH_P0, 1, 0x77),
    ];
    // Each of a run holds something of its own; fixed ranges know five types.
    let in_runs = runs.into_iter().flat_map(|(names, first, step, value)| {
        names.zip(0..).map(move |(name, index)| {
            let value: u64 = match first {
                0x258 | 0x268 => [0, 1, 4, 5, 6][index as usize % 5] << 8,
                0x200 | 0x201 => value + (u64::from(index) << 28),
                _ => value + u64::from(index),
            };
            (name, first + step * index, value)
        })
    });
    for (name, number, value) in writable.into_iter().chain(in_runs) {
        lab.write_msr(0, number, value).unwrap_or_else(|_| panic!("{number:#x}"));
        assert_eq!(lab.read_msr(0, number), Ok(value), "{number:#x}");
        assert_eq!(low(&mut lab, name), value, "{name:?}");
    }
    for (timer, number) in run(R::STIMER0_CONFIG, R::STIMER3_COUNT).zip(msr::STIMER0_CONFIG..) {
        let value = if number % 2 == 0 { u64::from(number & 7) << 16 } else { 1_000_000 + u64::from(number) };
        lab.write_msr(0, number, value).unwrap();
        assert_eq!(low(&mut lab, timer), value, "{timer:?}");
    }
    lab.advance(1234);
    for (name, number) in [
        (R::VP_INDEX, msr::VP_INDEX),
        (R::SVERSION, msr::SVERSION),
        (R::PROCESSOR_CLOCK_FREQUENCY, msr::TSC_FREQUENCY),
        (R::INTERRUPT_CLOCK_FREQUENCY, msr::APIC_FREQUENCY),
        (R::GUEST_CRASH_CTL, msr::CRASH_CTL),
        (R::VP_RUNTIME, msr::VP_RUNTIME),
        (R::MTRR_CAP, 0xFE),
        (R::DEBUG_CTL, 0x1D9),
        (R::IA32_FEATURE_CONTROL, 0x3A),
    ] {
        let value = lab.read_msr(0, number).unwrap();
        assert_eq!(low(&mut lab, name), value, "{name:?}");
    }
    assert_eq!(low(&mut lab, R::TIME_REF_COUNT), 1234);
    assert_eq!(low(&mut lab, R::GUEST_IDLE), 0, "and the VP does not sleep");
    assert!(lab.pass(0).is_empty());
}

/// To set the register is to write the MSR, also for what can only be written.
#[test]
fn to_set_a_register_is_to_write_its_msr() {
    let mut lab = Lab::new(1);
    for (name, number, value) in [
        (R::GUEST_OS_ID, msr::GUEST_OS_ID, 0x8100_4321),
        (R::APIC_BASE, 0x1B, 0xFED0_0900),
        (R::MTRR_DEF_TYPE, 0x2FF, 0xC04),
        (R::SINT15, msr::SINT15, 0x55),
    ] {
        lab.vps[0].set_register(name, value.into()).unwrap();
        assert_eq!(lab.read_msr(0, number), Ok(value), "{name:?}");
    }
    lab.vps[0].set_register(R::APIC_BASE, 0xFEE0_0900u64.into()).unwrap();
    let refused = lab.vps[0].set_register(R::MTRR_DEF_TYPE, 2u64.into());
    assert_eq!(refused, Err(HvStatus::INVALID_REGISTER_VALUE));
    lab.partition.vp(0).state().vtl(Vtl::VTL0).request(0x40, false, false);
    assert_eq!(lab.interrupts(0), [0x40]);
    lab.vps[0].set_register(R::EOI, 0u64.into()).unwrap();
    assert_eq!(lab.partition.vp(0).state().vtl(Vtl::VTL0).apic.serving(), None);
    // EOM looks at the queues: the second message follows the first.
    lab.enable_synic(0);
    let port = lab.partition.create_guest_port(PortKind::Message, VpIndex(0), sint(2)).unwrap();
    for word in [1u8, 2] {
        assert!(port.post_message(MessageType(1), &[word]).is_success());
    }
    lab.free_slot(0, 2);
    lab.vps[0].set_register(R::EOM, 0u64.into()).unwrap();
    assert_eq!(lab.slot(0, 2).3, 2);
}

/// The processor's own registers, and the MSRs that its engine keeps.
#[test]
fn registers_of_the_processor_are_its_own() {
    let mut lab = Lab::new(1);
    let mut state = lab.vps[0].registers().save();
    for (index, gpr) in state.gprs.iter_mut().enumerate() {
        *gpr = 0x100 + index as u64;
    }
    (state.rip, state.rflags) = (0x1234, 0x246);
    let control = &mut state.control;
    (control.cr2, control.cr3, control.xcr0) = (0xC2, 0xC3000, 7);
    (state.debug.dr, state.debug.dr6, state.debug.dr7) = ([0xD0, 0xD1, 0xD2, 0xD3], 0xD6, 0x4D7);
    state.msrs = ModelSpecificRegisters {
        star: 1,
        lstar: 2,
        cstar: 3,
        sfmask: 4,
        kernel_gs_base: 5,
        sysenter_cs: 6,
        sysenter_esp: 7,
        sysenter_eip: 8,
        pat: 0x0007_0406_0007_0106,
        ..state.msrs
    };
    for (index, name) in SegmentName::ALL.into_iter().enumerate() {
        state.segments[name as usize].base = 0x5E60_0000 + index as u64;
    }
    lab.vps[0].registers().restore(&state);
    for (name, value) in run(R::RAX, R::R15).zip(0x100..) {
        assert_eq!(low(&mut lab, name), value, "{name:?}");
    }
    for (name, value) in [
        (R::RIP, 0x1234),
        (R::RFLAGS, 0x246),
        (R::CR0, state.control.cr0),
        (R::CR2, 0xC2),
        (R::CR3, 0xC3000),
        (R::CR4, state.control.cr4),
        (R::EFER, state.control.efer),
        (R::XFEM, 7),
        (R::DR0, 0xD0),
        (R::DR1, 0xD1),
        (R::DR2, 0xD2),
        (R::DR3, 0xD3),
        (R::DR6, 0xD6),
        (R::DR7, 0x4D7),
        (R::STAR, 1),
        (R::LSTAR, 2),
        (R::CSTAR, 3),
        (R::SFMASK, 4),
        (R::KERNEL_GS_BASE, 5),
        (R::SYSENTER_CS, 6),
        (R::SYSENTER_RSP, 7),
        (R::SYSENTER_RIP, 8),
        (R::PAT, 0x0007_0406_0007_0106),
    ] {
        assert_eq!(low(&mut lab, name), value, "{name:?}");
        if ![R::CR0, R::CR4, R::EFER, R::XFEM, R::PAT].contains(&name) {
            lab.vps[0].set_register(name, (value ^ 0x1000).into()).unwrap();
            assert_eq!(low(&mut lab, name), value ^ 0x1000, "{name:?}");
        }
    }
    for (name, segment) in
        [R::ES, R::CS, R::SS, R::DS, R::FS, R::GS, R::LDTR, R::TR].into_iter().zip(SegmentName::ALL)
    {
        let base = state.segments[segment as usize].base;
        assert_eq!(lab.vps[0].register(name).unwrap().low, base, "{name:?}");
    }
    lab.partition.vp(0).state().vtl(Vtl::VTL0).apic.set_tpr(0x9F);
    assert_eq!(low(&mut lab, R::CR8), 9);
    assert_eq!(low(&mut lab, R::TSC), lab.partition.clock().now().wrapping_add(state.msrs.tsc_offset));
}

/// x87 and vector registers lie in the XSAVE area (SDM 1 10.5.1, 13.4): ST0 from byte 32, XMM0 from 160, the upper half of YMM0 from 576.
#[test]
fn vector_registers_lie_in_the_xsave_area() {
    let mut lab = Lab::new(1);
    let mut state = lab.vps[0].registers().save();
    state.xsave.0.resize(576 + 256, 0);
    for (index, byte) in state.xsave.0[576..].iter_mut().enumerate() {
        *byte = index as u8;
    }
    lab.vps[0].registers().restore(&state);
    for (name, index) in run(R::YMM0_HIGH, R::YMM15_HIGH).zip(0u8..) {
        let bytes: [u8; 16] = std::array::from_fn(|byte| 16 * index + byte as u8);
        assert_eq!(lab.vps[0].register(name).map(u128::from), Ok(u128::from_le_bytes(bytes)), "{name:?}");
        let value = RegisterValue { low: index.into(), high: 1 << 63 };
        lab.vps[0].set_register(name, value).unwrap();
        assert_eq!(lab.vps[0].register(name), Ok(value), "{name:?}");
    }
    let in_use = |lab: &mut Lab| lab.vps[0].registers().save().xsave.0[512];
    assert_eq!(in_use(&mut lab), 4, "AVX is in use");
    for (name, index) in run(R::FP_MMX0, R::FP_MMX7).zip(0u64..) {
        let value = RegisterValue { low: 0x8000_0000_0000_0000 | index, high: 0x3FFF + index };
        lab.vps[0].set_register(name, value).unwrap();
        let area = lab.vps[0].registers().save().xsave.0;
        let at = 32 + 16 * index as usize;
        assert_eq!(area[at..at + 8], value.low.to_le_bytes(), "{name:?}");
        assert_eq!(area[at + 8..at + 10], (value.high as u16).to_le_bytes(), "{name:?}");
        assert_eq!(lab.vps[0].register(name), Ok(value), "{name:?}");
    }
    assert_eq!(in_use(&mut lab), 4 | 1, "and x87");
    for (name, alias) in run(R::XMM0, R::XMM15).zip(run(R::YMM0_LOW, R::YMM15_LOW)) {
        let value = RegisterValue { low: name.0.into(), high: 7 };
        lab.vps[0].set_register(name, value).unwrap();
        assert_eq!(lab.vps[0].register(alias), Ok(value), "{name:?}");
    }
    // A byte less, and the last one is not there.
    let mut state = lab.vps[0].registers().save();
    state.xsave.0.pop();
    lab.vps[0].registers().restore(&state);
    let gone = Err(HvStatus::INVALID_PARAMETER);
    assert!(lab.vps[0].register(R(R::YMM15_HIGH.0 - 1)).is_ok());
    assert_eq!(lab.vps[0].register(R::YMM15_HIGH), gone);
    assert_eq!(lab.vps[0].set_register(R::YMM15_HIGH, 0u64.into()).map(|()| 0u64.into()), gone);
}

/// B07.038: of each register the bits that exist can be set, one by one, and no other.
#[test]
fn bits_that_do_not_exist_are_refused_one_by_one() {
    let bits = |numbers: &[u32]| numbers.iter().fold(0u64, |all, bit| all | 1 << bit);
    let ones = |count: u32| u64::MAX >> (64 - count);
    let registers: [(R, u64, u64); 14] = [
        (R::EXPLICIT_SUSPEND, 0, 1),
        (R::INTERCEPT_SUSPEND, 0, 0b11),
        (R::INTERRUPT_STATE, 0, 0b11),
        // PE, MP, EM, TS, NE, WP, AM, NW, CD, PG; ET stays.
        (R::CR0, 0x10, bits(&[0, 1, 2, 3, 5, 16, 18, 29, 30, 31])),
        (R::CR3, 0, ones(36)),
        // What this engine's processor has: PAE, PGE and PCE.
        (R::CR4, 0, bits(&[5, 7, 8])),
        (R::CR8, 0, 0xF),
        (R::XFEM, 1, 0),
        // SCE, LME, LMA, NXE.
        (R::EFER, 0, bits(&[0, 8, 10, 11])),
        // All but bits 1, 3, 5, 15 and those from 22 on; bit 1 stays set.
        (R::RFLAGS, 2, ones(22) & !bits(&[1, 3, 5, 15])),
        (R::DR6, 0, ones(32)),
        (R::DR7, 0x400, ones(32) & !0x400),
        (R::DR3, 0, u64::MAX),
        (R::PAT, 0x0606_0606_0606_0606, bits(&[0, 1, 8, 9, 16, 17, 24, 25, 32, 33, 40, 41, 48, 49, 56, 57])),
    ];
    for (name, base, free) in registers {
        let mut lab = Lab::new(1);
        lab.vps[0].set_register(name, base.into()).unwrap();
        for bit in 0..64 {
            let done = lab.vps[0].set_register(name, (base ^ 1 << bit).into());
            // Of the types of memory one bit from WB there are WT (4) and UC- (7).
            let expected = if free >> bit & 1 != 0 { Ok(()) } else { Err(HvStatus::INVALID_REGISTER_VALUE) };
            assert_eq!(done, expected, "{name:?} bit {bit}");
        }
    }
}

/// B07.030: events that exist can be pending; where none is, the rest does not count.
#[test]
fn pending_events_make_sense() {
    let mut lab = Lab::new(1);
    let mut accepted = |name, value: RegisterValue| lab.vps[0].set_register(name, value).is_ok();
    let interruption = |kind: u8, vector: u16| {
        let kind = PendingInterruptionType(kind);
        PendingInterruptionRegister::new()
            .with_interruption_pending(true)
            .with_interruption_type(kind)
            .with_interruption_vector(vector)
    };
    for kind in 0..8 {
        let (exists, most) = (![1, 7].contains(&kind), if kind == 3 { 31 } else { 255 });
        for (vector, expected) in [(0, exists), (most, exists), (most + 1, false)] {
            let value = interruption(kind, vector);
            assert_eq!(
                accepted(R::PENDING_INTERRUPTION, value.into_bits().into()),
                expected,
                "type {kind}, vector {vector}"
            );
            let none = value.with_interruption_pending(false);
            assert!(
                accepted(R::PENDING_INTERRUPTION, none.into_bits().into()),
                "type {kind}, vector {vector}"
            );
        }
    }
    let event = |kind, vector, pending| -> RegisterValue {
        let event = PendingEvent::new().with_event_pending(pending).with_event_type(kind).with_vector(vector);
        PendingExceptionEvent { event, exception_parameter: 5 }.into()
    };
    for (kind, vector, expected) in
        [(0, 0, true), (0, 31, true), (0, 32, false), (1, 14, false), (7, 14, false)]
    {
        assert_eq!(accepted(R::PENDING_EVENT0, event(kind, vector, true)), expected, "{kind} {vector}");
        assert!(accepted(R::PENDING_EVENT0, event(kind, vector, false)), "{kind} {vector}");
        assert!(!accepted(R::PENDING_EVENT1, event(kind, vector, true)), "{kind} {vector}");
    }
    assert!(accepted(R::PENDING_EVENT1, event(0, 0, false)));
}

/// Each kind of event shows as it was set, and exceptions in both registers, with one parameter.
#[test]
fn pending_events_are_shown_by_their_types() {
    let mut lab = Lab::new(1);
    let set = |lab: &mut Lab, pending| {
        let events = lab.vps[0].registers().events();
        lab.vps[0].registers().set_events(engine::EventState { pending, ..events });
    };
    let software = |vector, instruction_length| Event::Software { vector, instruction_length };
    for (event, kind, vector, length) in [
        (Event::Interrupt(0x40), 0, 0x40, 0),
        (Event::Nmi, 2, 2, 0),
        (software(0x80, 2), 4, 0x80, 2),
        (software(3, 2), 4, 3, 2),
        (software(1, 1), 5, 1, 1),
        (software(3, 1), 6, 3, 1),
        (software(4, 1), 6, 4, 1),
        (software(5, 1), 4, 5, 1),
    ] {
        set(&mut lab, Some(event));
        let shown = PendingInterruptionRegister::from_bits(low(&mut lab, R::PENDING_INTERRUPTION));
        let parts = (shown.interruption_type().0, shown.interruption_vector(), shown.instruction_length());
        assert_eq!(parts, (kind, vector, length), "{event:?}");
        assert!(shown.interruption_pending() && !shown.deliver_error_code());
        assert_eq!(lab.vps[0].register(R::PENDING_EVENT0), Ok(0u64.into()), "{event:?} is no exception");
        set(&mut lab, None);
        lab.vps[0].set_register(R::PENDING_INTERRUPTION, shown.into_bits().into()).unwrap();
        assert_eq!(lab.vps[0].registers().events().pending, Some(event));
    }
    let fault = |vector, parameter| Event::Exception { vector, error_code: Some(4), parameter };
    set(&mut lab, Some(fault(14, 0xDEAD)));
    let shown = low(&mut lab, R::PENDING_INTERRUPTION);
    lab.vps[0].set_register(R::PENDING_INTERRUPTION, shown.into()).unwrap();
    assert_eq!(lab.vps[0].registers().events().pending, Some(fault(14, 0xDEAD)), "its parameter stays");
    let other = PendingInterruptionRegister::from_bits(shown).with_interruption_vector(13);
    lab.vps[0].set_register(R::PENDING_INTERRUPTION, other.into_bits().into()).unwrap();
    assert_eq!(lab.vps[0].registers().events().pending, Some(fault(13, 0)), "another has none of it");
    assert_eq!(lab.vps[0].register(R::PENDING_EVENT1), Ok(0u64.into()));
}

/// Registers are set one by one, whatever the others hold; that they make no mode together shows when the VP is to run (SDM 3A 9.8.5).
#[test]
fn modes_are_looked_at_when_the_vp_runs() {
    for (cr0, cr4, efer, is_a_mode) in [
        (0x10u64, 0u64, 0u64, true),
        (0x11, 0, 0, true),
        (0x8000_0011, 0, 0, true),
        (0x8000_0010, 0, 0, false),
        (0x8000_0011, 0x20, 0x500, true),
        (0x8000_0011, 0, 0x500, false),
        (0x8000_0011, 0x20, 0x400, false),
        (0x8000_0011, 0x20, 0x100, false),
        (0x11, 0x20, 0x100, true),
        (0x11, 0, 0x100, true),
        (0x11, 0x20, 0x500, false),
    ] {
        let mut lab = Lab::new(1);
        for (name, value) in [(R::CR0, cr0), (R::CR4, cr4), (R::EFER, efer)] {
            assert_eq!(lab.vps[0].set_register(name, value.into()), Ok(()));
        }
        lab.engine.push(0, ExitReason::Port(END));
        let exit = lab.vps[0].run(None);
        let runs = exit == VpExit::Port(END);
        assert_eq!(runs, is_a_mode, "CR0 {cr0:#x} CR4 {cr4:#x} EFER {efer:#x}");
        assert!(runs || exit == VpExit::InvalidRegisters, "{exit:?}");
        if runs {
            lab.vps[0].complete(0);
        } else {
            // Until it is put right.
            assert_eq!(lab.vps[0].run(None), VpExit::InvalidRegisters);
        }
    }
}

/// What a register that is not served is not served for.
#[test]
fn refused_registers_say_why() {
    let why = |first: R, last: R| {
        let known = REGISTERS.iter().map(|info| info.register).filter(|name| (first..=last).contains(name));
        let mut reasons: Vec<_> = known.map(register_refusal).collect();
        reasons.dedup();
        assert_eq!(reasons.len(), 1, "{first:?} to {last:?}: {reasons:?}");
        reasons[0]
    };
    for (first, last, reason) in [
        (
            R::VSM_CODE_PAGE_OFFSETS,
            R::CR_INTERCEPT_IA32_MISC_ENABLE_MASK,
            "virtual trust levels are not served yet",
        ),
        (R::POWER_STATE_CONFIG_C1, R::POWER_STATE_TRIGGER_C3, "there are no power states to manage"),
        (R::PERF_GLOBAL_CTRL, R::FIXED_CTR0, "the processor has no performance counters"),
        (R::LBR_TOS, R::LBR_INFO0, "the processor has no branch records"),
        (R::SGX_LAUNCH_CONTROL0, R::SGX_LAUNCH_CONTROL3, "the processor has no enclaves"),
        (R::MTRR_PHYS_BASE8, R::MTRR_PHYS_BASE_F, "the processor has eight variable memory ranges"),
        (R::MTRR_PHYS_MASK8, R::MTRR_PHYS_MASK_F, "the processor has eight variable memory ranges"),
        (R::BNDCFGS, R::BNDCFGS, "the processor has no bound registers"),
        (R::CPU_MANAGEMENT_VERSION, R::CPU_MANAGEMENT_VERSION, "root partitions are not served yet"),
        (
            R::EMULATED_TIMER_PERIOD,
            R::EMULATED_TIMER_PERIOD,
            "the machine around the processors is its host's",
        ),
        (
            R::EMULATED_TIMER_CONTROL,
            R::EMULATED_TIMER_CONTROL,
            "the machine around the processors is its host's",
        ),
        (R::PM_TIMER_ASSIST, R::PM_TIMER_ASSIST, "the machine around the processors is its host's"),
    ] {
        assert_eq!(why(first, last), Some(reason), "{first:?}");
    }
    assert_eq!(register_refusal(R(7)), Some("its meaning is not public"));
    assert_eq!(register_refusal(R::RAX), None);
}
