// SPDX-License-Identifier: MIT OR Apache-2.0
//! Discovery, the hypercall page, partition-wide registers, and who may access what (TLFS 2, 3.13, 4, 12.4, 12.7).

use engine::{ExitReason, Gpr, MemoryAccess, MemoryAccessKind, MemoryExitCause, Resume};
use memory::{PAGE_SIZE, Rights, ViewId};
use tlfs::msr;

use super::*;
use crate::{CrashReport, Enlightenment, MsrHandler};

const PAGE: u64 = 5 * PAGE_SIZE;

/// B03.067, B02.022, B02.023, B03.071: the page appears only after the guest has said who it is, goes when it takes that back, and
/// uncovers what it hid. B02.020, B03.064: both registers are the partition's. B03.072: the page is VMCALL, RET.
#[test]
fn the_hypercall_page_needs_a_guest_os_id() {
    let mut lab = Lab::new(2);
    lab.write_u32(PAGE, 0x1234_5678);
    lab.write_msr(0, msr::HYPERCALL, PAGE | 1).unwrap();
    assert_eq!(lab.read_msr(0, msr::HYPERCALL), Ok(PAGE));
    lab.write_msr(0, msr::GUEST_OS_ID, 7).unwrap();
    lab.write_msr(0, msr::HYPERCALL, PAGE | 1).unwrap();
    // Both are the partition's.
    assert_eq!((lab.read_msr(1, msr::GUEST_OS_ID), lab.read_msr(1, msr::HYPERCALL)), (Ok(7), Ok(PAGE | 1)));
    // VMCALL, RET.
    assert_eq!(lab.read_u32(PAGE), 0xC3C1_010F);
    lab.write_msr(1, msr::GUEST_OS_ID, 0).unwrap();
    assert_eq!(lab.read_msr(0, msr::HYPERCALL), Ok(PAGE));
    assert_eq!(lab.read_u32(PAGE), 0x1234_5678);
}

/// B03.065, B03.066, B03.068: an address that does not exist faults and changes nothing; a locked register does not change; preserved bits
/// are preserved.
#[test]
fn the_hypercall_register_checks_and_locks() {
    let mut lab = Lab::new(1);
    lab.enable_hypercalls(PAGE);
    assert_eq!(lab.write_msr(0, msr::HYPERCALL, 1 << 36 | 1), Err(Gp));
    assert_eq!(lab.read_msr(0, msr::HYPERCALL), Ok(PAGE | 1));
    lab.write_msr(0, msr::HYPERCALL, PAGE | 0xFF3).unwrap();
    lab.write_msr(0, msr::HYPERCALL, 0).unwrap();
    lab.write_msr(0, msr::GUEST_OS_ID, 0).unwrap();
    assert_eq!(lab.read_msr(0, msr::HYPERCALL), Ok(PAGE | 0xFF3));
    assert_eq!(lab.read_u32(PAGE), 0xC3C1_010F);
    lab.partition.reset();
    assert_eq!(lab.read_msr(0, msr::HYPERCALL), Ok(0));
    assert_eq!(lab.read_u32(PAGE), 0);
}

/// B03.070, B08.010: writing the hypercall page is #GP; what another overlay page does not allow is #MC.
#[test]
fn overlays_refuse_what_they_do_not_allow() {
    let mut lab = Lab::new(1);
    lab.enable_hypercalls(PAGE);
    lab.enable_synic(0);
    let access = |gpa, kind| {
        let cause = MemoryExitCause::Rights(Rights::READ);
        let access = MemoryAccess { gpa, gva: None, size: 1, kind, cause, page_walk: false, user: false };
        ExitReason::Memory(access)
    };
    assert_eq!(lab.answer(0, access(PAGE + 3, MemoryAccessKind::Write(0))), Err(Gp));
    let deeds = lab.play(0, access(Lab::message_page(0), MemoryAccessKind::Execute));
    assert_eq!(deeds, [Deed::Resumed(Resume::Inject(Event::MACHINE_CHECK))]);
    // Its bank has the address, and an error of software that is uncorrected; the code can go on.
    assert_eq!((lab.read_msr(0, 0x402), lab.read_msr(0, 0x17A)), (Ok(Lab::message_page(0)), Ok(0b111)));
    assert_eq!(lab.read_msr(0, 0x401), Ok(0b10_1101 << 58 | 1 << 31 | 1));
    lab.write_msr(0, 0x17A, 0).unwrap();
    lab.write_msr(0, msr::REFERENCE_TSC, 0x7001).unwrap();
    let deeds = lab.play(0, access(0x7008, MemoryAccessKind::Write(0)));
    assert_eq!(deeds, [Deed::Resumed(Resume::Inject(Event::MACHINE_CHECK))]);
    // The guest is still busy with the last one.
    lab.engine.push(0, access(0x7008, MemoryAccessKind::Write(0)));
    assert_eq!(lab.vps[0].run(None), VpExit::TripleFault);
    // Guest memory that is protected is the host's affair.
    lab.engine.push(0, access(0x9000, MemoryAccessKind::Write(5)));
    assert!(matches!(lab.vps[0].run(None), VpExit::Memory(access) if access.gpa == 0x9000));
}

/// B02.007: CPUID shows the version once the guest has identified itself.
#[test]
fn cpuid_follows_the_guest_os_id() {
    let mut lab = Lab::new(1);
    let version = |lab: &mut Lab| {
        lab.play(0, ExitReason::Cpuid { leaf: 0x4000_0002, subleaf: 0 });
        lab.vps[0].registers().gpr(Gpr::Rax)
    };
    assert_eq!(version(&mut lab), 0);
    lab.write_msr(0, msr::GUEST_OS_ID, 1 << 63).unwrap();
    assert_ne!(version(&mut lab), 0);
    lab.write_msr(0, msr::GUEST_OS_ID, 0).unwrap();
    assert_eq!(version(&mut lab), 0);
}

/// B04.003, B07.007, B07.012, B11.038, B12.014, B12.030: without the privilege, against the direction, or of a feature that is not
/// offered: #GP.
#[test]
fn registers_are_guarded() {
    let mut lab = Lab::new(2);
    assert_eq!(lab.read_msr(1, msr::VP_INDEX), Ok(1));
    for read_only in [
        msr::VP_INDEX,
        msr::TIME_REF_COUNT,
        msr::SVERSION,
        msr::VP_RUNTIME,
        msr::TSC_FREQUENCY,
        msr::APIC_FREQUENCY,
        msr::GUEST_IDLE,
    ] {
        assert_eq!(lab.write_msr(0, read_only, 0), Err(Gp), "{read_only:#x}");
    }
    for missing in [
        msr::EOI,
        0x4000_00A0,
        msr::REENLIGHTENMENT_CONTROL,
        msr::TSC_INVARIANT_CONTROL,
        msr::NESTED_SCONTROL,
        0x1234_5678,
        0x17,
    ] {
        assert_eq!(lab.read_msr(0, missing), Err(Gp), "{missing:#x}");
    }
    let guards = [
        (Enlightenment::AccessGuestIdleReg, msr::GUEST_IDLE),
        (Enlightenment::AccessPartitionReferenceCounter, msr::TIME_REF_COUNT),
        (Enlightenment::AccessPartitionReferenceTsc, msr::REFERENCE_TSC),
        (Enlightenment::AccessSynicRegs, msr::SINT3),
        (Enlightenment::AccessSyntheticTimerRegs, msr::STIMER2_COUNT),
        (Enlightenment::AccessIntrCtrlRegs, msr::VP_ASSIST_PAGE),
        (Enlightenment::AccessFrequencyRegs, msr::APIC_FREQUENCY),
        (Enlightenment::AccessResetReg, msr::RESET),
        (Enlightenment::GuestCrashMsrs, msr::CRASH_CTL),
        (Enlightenment::AccessVpRunTimeReg, msr::VP_RUNTIME),
    ];
    for (service, number) in guards {
        let mut lab = Lab::with(1, Enlightenments::ALL.without(service));
        assert_eq!(lab.read_msr(0, number), Err(Gp), "{}", service.name());
    }
    let mut bare = Lab::with(1, Enlightenments::NONE);
    assert_eq!(bare.read_msr(0, msr::GUEST_OS_ID), Err(Gp));
}

/// B12.035 to B12.040, B12.002: the page and the MSR give the same time, by the formula of the page.
#[test]
fn the_reference_tsc_page_agrees_with_the_counter() {
    let mut lab = Lab::new(1);
    assert_eq!(lab.read_msr(0, msr::REFERENCE_TSC), Ok(0));
    lab.write_msr(0, msr::REFERENCE_TSC, PAGE | 1).unwrap();
    assert_eq!(lab.read_msr(0, msr::REFERENCE_TSC), Ok(PAGE | 1));
    let sequence = lab.read_u32(PAGE);
    assert!(sequence != 0 && sequence != u32::MAX);
    let read = |offset| lab.space.read_value::<8>(ViewId(0), PAGE + offset, Rights::READ).unwrap();
    let (scale, offset) = (read(8), read(16));
    assert_eq!(scale, ((10_000_000u128 << 64) / u128::from(FREQUENCY)) as u64);
    for ticks in [1, 99, 12_345_678_901] {
        lab.engine.manual_clock().advance(ticks);
        let tsc = lab.partition.clock().now();
        let time = ((u128::from(tsc) * u128::from(scale)) >> 64) as u64 + offset;
        assert_eq!(lab.read_msr(0, msr::TIME_REF_COUNT), Ok(time));
    }
    // B12.036: beyond the space is no fault.
    lab.write_msr(0, msr::REFERENCE_TSC, 1 << 40 | 1).unwrap();
    assert_eq!(lab.read_u32(PAGE), 0);
    assert_eq!(lab.read_msr(0, msr::TSC_FREQUENCY), Ok(FREQUENCY));
}

/// B04.010, B04.011, B04.012, B04.013, B04.014: the parameters are kept, the message is read, of one that is too long no more than 4096 bytes, and the guest goes on; each write is one report, and a
/// message alone is none.
#[test]
fn a_crash_is_reported_with_its_message() {
    let mut lab = Lab::new(1);
    assert_eq!(lab.read_msr(0, msr::CRASH_CTL), Ok(3 << 62));
    for parameter in 0..5u32 {
        lab.write_msr(0, msr::CRASH_P0 + parameter, 100 + u64::from(parameter)).unwrap();
    }
    assert_eq!(lab.read_msr(0, msr::CRASH_P2), Ok(102));
    let crash = |lab: &mut Lab, value| {
        lab.engine.push(0, ExitReason::WriteMsr { number: msr::CRASH_CTL, value });
        lab.engine.push(0, ExitReason::Port(END));
        let exit = lab.vps[0].run(None);
        if matches!(exit, VpExit::Crash(_)) {
            assert_eq!(lab.vps[0].run(None), VpExit::Port(END));
        }
        lab.vps[0].complete(0);
        exit
    };
    let report = |message| VpExit::Crash(CrashReport { parameters: [100, 101, 102, 0x6000, 5], message });
    lab.write_u32(0x6000, u32::from_le_bytes(*b"Oops"));
    lab.write_msr(0, msr::CRASH_P3, 0x6000).unwrap();
    lab.write_msr(0, msr::CRASH_P4, 5).unwrap();
    assert_eq!(crash(&mut lab, 1 << 63), report(None));
    assert_eq!(crash(&mut lab, 3 << 62), report(Some(b"Oops\0".to_vec())));
    assert_eq!(crash(&mut lab, 1 << 62), VpExit::Port(END), "a message alone is nothing");
    // A whole message, over two pages; and longer ones.
    lab.write_msr(0, msr::CRASH_P3, 0x6800).unwrap();
    lab.write_u32(0x7800 - 4, 0x1111_1111);
    lab.write_u32(0x7800, 0x2222_2222);
    for length in [4096, 4097, 8192, u64::MAX] {
        lab.write_msr(0, msr::CRASH_P4, length).unwrap();
        let VpExit::Crash(clipped) = crash(&mut lab, 3 << 62) else { panic!("a report") };
        assert_eq!(clipped.parameters, [100, 101, 102, 0x6800, length]);
        let message = clipped.message.unwrap();
        assert_eq!((message.len(), &message[4092..]), (4096, &[0x11; 4][..]));
    }
    lab.write_msr(0, msr::CRASH_P3, 1 << 40).unwrap();
    let VpExit::Crash(unreadable) = crash(&mut lab, 3 << 62) else { panic!("a report") };
    assert_eq!(unreadable.message, None);
}

#[test]
fn the_reset_register_asks_for_a_reset() {
    let mut lab = Lab::new(1);
    assert_eq!(lab.read_msr(0, msr::RESET), Ok(0));
    assert_eq!(lab.write_msr(0, msr::RESET, 2), Err(Gp));
    lab.write_msr(0, msr::RESET, 0).unwrap();
    lab.engine.push(0, ExitReason::WriteMsr { number: msr::RESET, value: 1 });
    assert_eq!(lab.vps[0].run(None), VpExit::Reset);
}

/// B07.026: time that is not spent running does not count.
#[test]
fn run_time_counts_only_while_running() {
    let mut lab = Lab::new(1);
    assert_eq!(lab.read_msr(0, msr::VP_RUNTIME), Ok(0));
    lab.advance(1000);
    assert_eq!(lab.read_msr(0, msr::VP_RUNTIME), Ok(0));
}

/// B02.021, B11.037, B11.048, B12.017: a reset takes everything back.
#[test]
fn a_reset_restores_the_beginning() {
    let mut lab = Lab::new(1);
    lab.write_u32(Lab::message_page(0), 77);
    lab.enable_hypercalls(PAGE);
    lab.enable_synic(0);
    lab.write_msr(0, msr::SINT4, 0x40).unwrap();
    // A timer whose message waits for its slot.
    let arm = |lab: &mut Lab, count| {
        lab.write_msr(0, msr::STIMER0_CONFIG, 4 << 16 | 8).unwrap();
        lab.write_msr(0, msr::STIMER0_COUNT, count).unwrap();
    };
    lab.write_u32(Lab::message_page(0) + 4 * 256, 1);
    arm(&mut lab, 1);
    lab.advance(5);
    lab.pass(0);
    arm(&mut lab, 1000);
    lab.write_msr(0, msr::STIMER1_CONFIG, 8).unwrap();
    lab.write_msr(0, msr::REFERENCE_TSC, 0x7001).unwrap();
    lab.write_u32(Lab::message_page(0), 99);
    lab.partition.reset();
    lab.vps[0].reset();
    lab.start(0);
    assert_eq!(lab.read_u32(Lab::message_page(0)), 77, "uncovered");
    for number in [msr::GUEST_OS_ID, msr::SCONTROL, msr::SIMP, msr::STIMER1_CONFIG, msr::REFERENCE_TSC] {
        assert_eq!(lab.read_msr(0, number), Ok(0), "{number:#x}");
    }
    assert_eq!(lab.read_msr(0, msr::SINT4), Ok(0x1_0000));
    lab.write_msr(0, msr::SIMP, Lab::message_page(0) | 1).unwrap();
    assert_eq!(lab.read_u32(Lab::message_page(0)), 0, "cleared");
    lab.write_msr(0, msr::SCONTROL, 1).unwrap();
    lab.advance(2000);
    lab.pass(0);
    assert_eq!(lab.slot(0, 4).0, 0, "the timer is disabled and its message is gone");
    arm(&mut lab, 1);
    lab.pass(0);
    assert_eq!(lab.slot(0, 4).0, 0x8000_0010);
}

/// A host program's own registers come where nothing here serves the number, and only there.
#[test]
fn a_host_program_can_serve_registers() {
    struct Handler;
    impl MsrHandler for Handler {
        fn read(&self, vp: u32, number: u32) -> Option<u64> {
            (number == 0x1234).then_some(u64::from(vp) + 40)
        }
        fn write(&self, _: u32, number: u32, value: u64) -> bool {
            number == 0x1234 && value < 10
        }
    }
    let mut lab =
        Lab::configured(PartitionConfig { msr_handler: Some(Arc::new(Handler)), ..Default::default() });
    assert_eq!(lab.read_msr(0, 0x1234), Ok(40));
    assert_eq!(lab.write_msr(0, 0x1234, 9), Ok(()));
    assert_eq!(lab.write_msr(0, 0x1234, 10), Err(Gp));
    assert_eq!(lab.read_msr(0, 0x1235), Err(Gp));
}
