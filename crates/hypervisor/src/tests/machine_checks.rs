// SPDX-License-Identifier: MIT OR Apache-2.0
//! Synthetic machine checks (TLFS 7.7, 7.8.4 to 7.8.6).

use engine::ExitReason;
use tlfs::register::{SynmcStatus, SynmcX64Event};

use super::events::fixed;
use super::*;
use crate::Enlightenment;
use crate::local_apic::InterruptMessage;

const MCG_CAP: u32 = 0x179;
const MCG_STATUS: u32 = 0x17A;
const CTL: u32 = 0x400;
const STATUS: u32 = 0x401;
const ADDR: u32 = 0x402;
const MISC: u32 = 0x403;

const VALID: u64 = 1 << 63;
const OVERFLOW: u64 = 1 << 62;
const UNCORRECTED: u64 = 1 << 61;

const DELIVERED: Deed = Deed::Injected(Event::MACHINE_CHECK);

fn event(status: u64) -> SynmcX64Event {
    let status = SynmcStatus::from_bits(status);
    SynmcX64Event { status, addr: 0x1234_5000, misc: 0x8C, rip_valid: 1, eip_valid: 0, reserved: [0; 6] }
}

fn inject(lab: &Lab, status: u64) -> HvStatus {
    lab.partition.inject_synthetic_machine_check(0, &event(status))
}

fn bank(lab: &mut Lab) -> [u64; 4] {
    [MCG_STATUS, STATUS, ADDR, MISC].map(|number| lab.read_msr(0, number).unwrap())
}

/// B07.010, B07.015, B07.017: an event that is injected is an exception without an error code, also where interrupts are off, and its fields are in the guest's
/// bank as they were given, until the guest takes them back.
#[test]
fn the_guest_finds_in_its_bank_what_was_injected() {
    let mut lab = Lab::new(2);
    assert_eq!(lab.read_msr(0, MCG_CAP).map(|cap| cap & 0xFF), Ok(1));
    // All flags from ActionRequired up but for Overflow, and detail 0x2AAA of an error of the hypervisor.
    let flags = VALID | UNCORRECTED | 0x1F << 56 | 1 << 55;
    let status = flags | 0x6AAA << 16 | 1;
    let fields = SynmcStatus::from_bits(status);
    assert!(fields.action_required() && fields.signaling() && fields.context_corrupt());
    assert!(fields.address_valid() && fields.misc_valid() && fields.error_enabled());
    assert!(fields.hypervisor_error() && !fields.software_error() && !fields.overflow());
    assert_eq!((fields.error_detail(), fields.mca_error_code()), (0x2AAA, 1));
    assert_eq!(inject(&lab, status), HvStatus::SUCCESS);
    assert_eq!(lab.pass(1), [], "it is VP 0's");
    assert_eq!(lab.pass(0), [DELIVERED]);
    assert_eq!(lab.pass(0), [], "once");
    assert_eq!(bank(&mut lab), [0b101, status, 0x1234_5000, 0x8C]);
    for number in [STATUS, ADDR, MISC] {
        assert_eq!(lab.write_msr(0, number, 1), Err(Gp), "{number:#x}");
        assert_eq!(lab.write_msr(0, number, 0), Ok(()), "{number:#x}");
    }
    assert_eq!((lab.write_msr(0, MCG_STATUS, 8), lab.write_msr(0, MCG_STATUS, 0)), (Err(Gp), Ok(())));
    assert_eq!(bank(&mut lab), [0; 4]);
    // The other two words on where execution stands.
    let mut second = event(VALID | 1);
    (second.rip_valid, second.eip_valid) = (0, 1);
    assert_eq!(lab.partition.inject_synthetic_machine_check(0, &second), HvStatus::SUCCESS);
    assert_eq!(lab.pass(0), [DELIVERED]);
    assert_eq!(bank(&mut lab)[0], 0b110);
    assert_eq!(lab.write_msr(0, CTL, u64::MAX), Ok(()));
    assert_eq!(lab.read_msr(0, CTL), Ok(u64::MAX));
    assert_eq!(lab.read_msr(0, 0x404), Err(Gp), "there is one bank");
    lab.vps[0].reset();
    lab.start(0);
    assert_eq!((bank(&mut lab), lab.read_msr(0, CTL)), ([0; 4], Ok(0)));
}

/// B07.016: there is one error code; events with another, without the valid bit or with reserved bits are refused, and change nothing.
#[test]
fn malformed_events_are_refused() {
    let mut lab = Lab::new(2);
    for status in [VALID, VALID | 2, VALID | 0x101, 1, VALID | 1 << 32 | 1, VALID | 1 << 54 | 1] {
        assert_eq!(inject(&lab, status), HvStatus::INVALID_PARAMETER, "{status:#x}");
    }
    let mut reserved = event(VALID | 1);
    reserved.reserved[5] = 1;
    let of = |lab: &Lab, vp, event: SynmcX64Event| lab.partition.inject_synthetic_machine_check(vp, &event);
    assert_eq!(of(&lab, 0, reserved), HvStatus::INVALID_PARAMETER);
    assert_eq!(of(&lab, 2, event(VALID | 1)), HvStatus::INVALID_VP_INDEX);
    assert_eq!(lab.pass(0), []);
    assert_eq!(bank(&mut lab), [0; 4]);
    let fresh = Lab::new(2);
    fresh
        .partition
        .vp(1)
        .state()
        .set_run_state(crate::vp::state::RunState::WaitForStartUp, fresh.partition.reference_time());
    assert_eq!(of(&fresh, 1, event(VALID | 1)), HvStatus::INVALID_VP_STATE);
}

/// B07.010: where they are not offered there is no bank, and nothing is injected.
#[test]
fn without_the_feature_there_is_no_bank() {
    let service = Enlightenment::SyntheticMachineCheck;
    let mut lab = Lab::with(1, Enlightenments::ALL.without(service));
    assert_eq!((lab.read_msr(0, MCG_CAP), lab.read_msr(0, MCG_STATUS)), (Ok(0), Ok(0)));
    for number in CTL..=MISC {
        assert_eq!((lab.read_msr(0, number), lab.write_msr(0, number, 0)), (Err(Gp), Err(Gp)));
    }
    assert_eq!(inject(&lab, VALID | 1), HvStatus::FEATURE_UNAVAILABLE);
    let feature = |lab: &mut Lab| {
        lab.play(0, ExitReason::Cpuid { leaf: 0x4000_0003, subleaf: 0 });
        lab.vps[0].registers().gpr(Gpr::Rdx) >> 9 & 1
    };
    assert_eq!((feature(&mut lab), feature(&mut Lab::new(1))), (0, 1));
}

/// A VP that has not switched machine checks on, or is busy with one, shuts down (SDM 3A 6.15, 3B 16.3.1.2).
#[test]
fn who_is_not_ready_shuts_down() {
    let mut lab = Lab::new(1);
    let mut control = lab.vps[0].registers().control();
    control.cr4 &= !0x40;
    lab.vps[0].registers().set_control(control);
    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    // Whatever else could be delivered.
    lab.set_interrupts(0, true);
    assert!(lab.partition.deliver(fixed(0x40, 0)));
    lab.partition.pulse_nmi();
    assert_eq!(lab.vps[0].run(None), VpExit::TripleFault);
    assert_eq!(lab.engine.take_deeds(0), []);

    let mut lab = Lab::new(1);
    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    assert_eq!(lab.pass(0), [DELIVERED]);
    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    assert_eq!(lab.vps[0].run(None), VpExit::TripleFault);
    assert_eq!(lab.engine.take_deeds(0), []);
}

/// It ends a halt, waits while the VP is suspended, comes before an interrupt and after what is being delivered, and goes with INIT.
#[test]
fn it_comes_before_the_next_instruction() {
    let mut lab = Lab::new(2);
    lab.engine.push(0, ExitReason::Halt);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    let _ = lab.engine.take_deeds(0);
    lab.partition.set_explicit_suspend(0, true);
    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    assert_eq!(lab.vps[0].run(None), VpExit::Idle { until: None });
    lab.partition.set_explicit_suspend(0, false);
    lab.set_interrupts(0, true);
    assert!(lab.partition.deliver(fixed(0x40, 0)));
    assert_eq!(lab.pass(0), [DELIVERED, Deed::Injected(Event::Interrupt(0x40))]);
    lab.write_msr(0, MCG_STATUS, 0).unwrap();

    lab.vps[0].registers().inject(Event::Exception { vector: 14, error_code: Some(0), parameter: 7 });
    let _ = lab.engine.take_deeds(0);
    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    assert_eq!(lab.pass(0), [DELIVERED], "behind the page fault, which the engine delivers first");
    lab.write_msr(0, MCG_STATUS, 0).unwrap();

    assert_eq!(inject(&lab, VALID | 1), HvStatus::SUCCESS);
    let init = InterruptMessage::from_device(x86::apic::DeliveryMode::Init, 0, 0, false, false);
    lab.partition.deliver(init);
    assert!(!lab.pass(0).contains(&DELIVERED));
}

/// Of two before the guest has looked, the one that was not corrected stays, else the first, and the guest hears that it lost one (SDM 3B 16.3.2.2.1).
#[test]
fn a_second_event_is_an_overflow() {
    const FIRST: u64 = VALID | 0x111 << 16 | 1;
    const SECOND: u64 = VALID | 0x222 << 16 | 1;
    for (first, second, kept) in [
        (FIRST, SECOND, FIRST),
        (FIRST, SECOND | UNCORRECTED, SECOND | UNCORRECTED),
        (FIRST | UNCORRECTED, SECOND, FIRST | UNCORRECTED),
        (FIRST | UNCORRECTED, SECOND | UNCORRECTED, FIRST | UNCORRECTED),
    ] {
        // Before it is delivered, and after.
        for between in [false, true] {
            let mut lab = Lab::new(1);
            assert_eq!(inject(&lab, first), HvStatus::SUCCESS);
            if between {
                assert_eq!(lab.pass(0), [DELIVERED]);
                lab.write_msr(0, MCG_STATUS, 0).unwrap();
            }
            let mut lost = event(second);
            (lost.rip_valid, lost.addr, lost.misc) = (0, 0x6789_A000, 0x8D);
            assert_eq!(lab.partition.inject_synthetic_machine_check(0, &lost), HvStatus::SUCCESS);
            assert_eq!(lab.pass(0), [DELIVERED]);
            let of_kept = if kept == first { [0x1234_5000, 0x8C] } else { [lost.addr, lost.misc] };
            let expected = [0b100, kept | OVERFLOW, of_kept[0], of_kept[1]];
            assert_eq!(bank(&mut lab), expected, "{first:#x} {second:#x} {between}");
        }
    }
}

/// What was injected and not taken, and what was taken and not read, is part of the state.
#[test]
fn machine_checks_are_saved() {
    let mut first = Lab::new(1);
    assert_eq!(inject(&first, VALID | 1), HvStatus::SUCCESS);
    let mut second = Lab::new(1);
    saved::restore(&mut second, &saved::save(&first)).unwrap();
    assert_eq!(second.pass(0).last(), Some(&DELIVERED));
    first = Lab::new(1);
    saved::restore(&mut first, &saved::save(&second)).unwrap();
    assert_eq!(bank(&mut first), [0b101, VALID | 1, 0x1234_5000, 0x8C]);
}
