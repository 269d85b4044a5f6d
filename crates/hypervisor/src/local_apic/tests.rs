// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;
use x86::apic::register;

use super::*;

const CLOCK: u64 = 2_000_000_000;
const BUS: u64 = 200_000_000;
const TIMER_VECTOR: u32 = 0xEC;

fn apic() -> LocalApic {
    let config =
        LocalApicConfig { id: 2, bootstrap: true, x2apic: true, clock_frequency: CLOCK, bus_frequency: BUS };
    let mut apic = LocalApic::new(config);
    assert_eq!(apic.write_page(register::SVR, 0x1FF, 0), Effect::None);
    apic
}

fn x2apic() -> LocalApic {
    let mut apic = apic();
    apic.set_base(apic.base() | 1 << 10, 40).unwrap();
    apic
}

#[test]
fn vectors_are_delivered_by_priority_and_nest() {
    let mut apic = apic();
    assert!(apic.request(0x31, false, false));
    assert!(apic.request(0x52, true, false));
    assert_eq!(apic.pending(), Some(PendingInterrupt::Vector(0x52)));
    let first = apic.acknowledge().unwrap();
    assert_eq!((first.vector, first.auto_eoi, first.eoi_may_be_skipped), (0x52, false, false));
    assert_eq!(apic.read_page(register::PPR, 0), 0x50);
    // Same class waits, higher class nests.
    apic.request(0x5F, false, false);
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.acknowledge(), None);
    apic.request(0x60, false, false);
    assert_eq!(apic.acknowledge().unwrap().vector, 0x60);
    assert_eq!(apic.read_page(0x120, 0), 1 << (0x52 - 0x40));
    assert_eq!(apic.read_page(0x130, 0), 1);
    assert_eq!(apic.write_page(register::EOI, 0, 0), Effect::EndOfInterrupt(None));
    assert_eq!(apic.write_page(register::EOI, 0, 0), Effect::EndOfInterrupt(Some(0x52)));
    assert_eq!(apic.acknowledge().unwrap().vector, 0x5F);
    apic.end_of_interrupt();
    assert_eq!(apic.acknowledge().unwrap().vector, 0x31);
    assert_eq!(apic.serving(), Some(0x31));
    apic.end_of_interrupt();
    assert_eq!(apic.end_of_interrupt(), None);
}

#[test]
fn task_priority_holds_vectors_back() {
    let mut apic = apic();
    apic.set_cr8(5);
    assert_eq!(apic.read_page(register::TPR, 0), 0x50);
    apic.request(0x5F, false, false);
    assert_eq!(apic.pending(), None);
    let _ = apic.write_page(register::TPR, 0x4F, 0);
    assert_eq!((apic.cr8(), apic.pending()), (4, Some(PendingInterrupt::Vector(0x5F))));
}

/// TLFS 11.8.5: auto-EOI leaves no in-service bit, by the rule in force when the interrupt was requested.
#[test]
fn auto_eoi_leaves_no_service_bit() {
    let mut apic = apic();
    apic.request(0x40, false, true);
    let acknowledged = apic.acknowledge().unwrap();
    assert!(acknowledged.auto_eoi && !acknowledged.eoi_may_be_skipped);
    assert_eq!(apic.serving(), None);
    // The next request of the same vector without auto-EOI is an ordinary one.
    apic.request(0x40, false, false);
    apic.acknowledge().unwrap();
    assert_eq!(apic.serving(), Some(0x40));
}

/// TLFS 10.3.5: an EOI may be skipped only for an edge interrupt with nothing else requested.
#[test]
fn an_eoi_may_be_skipped_only_when_it_changes_nothing() {
    let mut apic = apic();
    apic.request(0x80, false, false);
    assert!(apic.acknowledge().unwrap().eoi_may_be_skipped);
    apic.request(0x70, false, false);
    apic.request(0x90, false, false);
    assert!(!apic.acknowledge().unwrap().eoi_may_be_skipped);
}

#[test]
fn an_acknowledged_vector_can_be_put_back() {
    let mut apic = apic();
    apic.request(0x80, true, false);
    let before = apic.clone();
    let acknowledged = apic.acknowledge().unwrap();
    apic.unacknowledge(acknowledged);
    assert_eq!(apic, before);
}

#[test]
fn a_disabled_apic_accepts_nothing() {
    let config =
        LocalApicConfig { id: 0, bootstrap: true, x2apic: false, clock_frequency: CLOCK, bus_frequency: BUS };
    let mut apic = LocalApic::new(config);
    assert!(!apic.request(0x40, false, false));
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    assert_eq!(apic.read_page(register::LVT_TIMER, 0), TIMER_VECTOR | 0x1_0000, "entries stay masked");
    let _ = apic.write_page(register::SVR, 0x1FF, 0);
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    assert_eq!(apic.read_page(register::LVT_TIMER, 0), TIMER_VECTOR);
    let _ = apic.write_page(register::SVR, 0xFF, 0);
    assert_eq!(apic.read_page(register::LVT_TIMER, 0), TIMER_VECTOR | 0x1_0000);
}

#[test]
fn modes_change_only_as_the_architecture_allows() {
    const ENABLE: u64 = 1 << 11;
    const EXTENDED: u64 = 1 << 10;
    const BSP: u64 = 1 << 8;
    let page = 0xFEE0_0000;
    let mut apic = apic();
    assert_eq!(apic.base(), page | ENABLE | BSP);
    assert_eq!(apic.page(), Some(page));
    assert_eq!(apic.read_msr(0x802, 0), Err(RegisterError));
    assert_eq!(apic.set_base(page | EXTENDED, 40), Err(RegisterError));
    assert_eq!(apic.set_base(page | ENABLE | 1, 40), Err(RegisterError));
    assert_eq!(apic.set_base(1 << 40 | ENABLE, 40), Err(RegisterError));
    apic.set_base(0x1000_0000 | ENABLE | BSP, 40).unwrap();
    assert_eq!(apic.page(), Some(0x1000_0000));
    apic.set_base(page | ENABLE | EXTENDED | BSP, 40).unwrap();
    assert_eq!(apic.page(), None);
    assert_eq!(apic.read_msr(0x802, 0), Ok(2));
    assert_eq!(apic.set_base(page | ENABLE, 40), Err(RegisterError));
    apic.set_base(page, 40).unwrap();
    assert_eq!(apic.set_base(page | ENABLE | EXTENDED, 40), Err(RegisterError));
    apic.set_base(page | ENABLE, 40).unwrap();
    assert_eq!(apic.read_page(register::SVR, 0), 0xFF, "disabling resets");
}

#[test]
fn x2apic_registers_fault_where_they_must() {
    let mut apic = x2apic();
    assert_eq!(apic.read_msr(0x80D, 0), Ok(1 << 2), "logical id of APIC 2 is cluster 0, bit 2");
    for unreadable in [0x80B, 0x80E, 0x831, 0x809, 0x8FF, 0x801] {
        assert_eq!(apic.read_msr(unreadable, 0), Err(RegisterError), "{unreadable:#x}");
    }
    for (number, value) in
        [(0x802, 2), (0x80D, 4), (0x808, 0x100), (0x80B, 1), (0x828, 1), (0x832, 1 << 20), (0x83F, 0x100)]
    {
        assert_eq!(apic.write_msr(number, value, 0), Err(RegisterError), "{number:#x}");
    }
    assert_eq!(apic.write_msr(0x80B, 0, 0), Ok(Effect::EndOfInterrupt(None)));
    assert_eq!(apic.write_msr(0x808, 1 << 32, 0), Err(RegisterError));
    let send = |destination, vector| {
        Ok(Effect::Send(InterruptMessage {
            destination,
            delivery_mode: DeliveryMode::Fixed,
            vector,
            level_triggered: false,
        }))
    };
    assert_eq!(apic.write_msr(0x83F, 0x44, 0), send(Destination::SelfOnly, 0x44));
    assert_eq!(apic.write_msr(0x830, 5 << 32 | 0x4045, 0), send(Destination::Physical(5), 0x45));
    assert_eq!(apic.write_msr(0x830, 0xFFFF_FFFF_0000_0045, 0), send(Destination::All, 0x45));
    let logical = Destination::Logical { address: 0x1_0001, extended: true };
    assert_eq!(apic.write_msr(0x830, 0x0001_0001_0000_0845, 0), send(logical, 0x45));
}

#[test]
fn commands_in_xapic_mode() {
    let mut apic = apic();
    let _ = apic.write_page(register::ICR_HIGH, 3 << 24, 0);
    let message = |destination, delivery_mode, vector| {
        Effect::Send(InterruptMessage { destination, delivery_mode, vector, level_triggered: false })
    };
    assert_eq!(
        apic.write_page(register::ICR, 0xC500, 0),
        message(Destination::Physical(3), DeliveryMode::Init, 0)
    );
    assert_eq!(apic.write_page(register::ICR, 0x8500, 0), Effect::None, "INIT level de-assert");
    assert_eq!(
        apic.write_page(register::ICR, 0x69A, 0),
        message(Destination::Physical(3), DeliveryMode::StartUp, 0x9A)
    );
    assert_eq!(
        apic.write_page(register::ICR, 0xC_00FD, 0),
        message(Destination::AllButSelf, DeliveryMode::Fixed, 0xFD)
    );
    assert_eq!(apic.read_page(register::ICR, 0), 0xC_00FD);
    // A vector below 16 is an error, which the error entry reports.
    let _ = apic.write_page(register::LVT_ERROR, 0xFE, 0);
    assert_eq!(apic.write_page(register::ICR, 0x4_000F, 0), Effect::None);
    assert_eq!(apic.read_page(register::ESR, 0), 0);
    let _ = apic.write_page(register::ESR, 0, 0);
    assert_eq!(apic.read_page(register::ESR, 0), 0x20);
    assert_eq!(apic.pending(), Some(PendingInterrupt::Vector(0xFE)));
}

#[test]
fn destinations() {
    let mut apic = apic();
    assert!(apic.is_addressed(Destination::Physical(2), false));
    assert!(!apic.is_addressed(Destination::Physical(3), true));
    assert!(apic.is_addressed(Destination::All, true) && !apic.is_addressed(Destination::AllButSelf, true));
    let logical = |address| Destination::Logical { address, extended: false };
    let _ = apic.write_page(register::LDR, 0x0400_0000, 0);
    assert!(apic.is_addressed(logical(0x0C), false) && apic.is_addressed(logical(0xFF), false));
    assert!(!apic.is_addressed(logical(0x03), false));
    let _ = apic.write_page(register::DFR, 0x0FFF_FFFF, 0);
    let _ = apic.write_page(register::LDR, 0x2400_0000, 0);
    assert!(apic.is_addressed(logical(0x2C), false) && apic.is_addressed(logical(0xF4), false));
    assert!(!apic.is_addressed(logical(0x14), false) && !apic.is_addressed(logical(0x23), false));
    let apic = x2apic();
    let logical = |address| Destination::Logical { address, extended: true };
    assert!(apic.is_addressed(logical(0b110), false) && apic.is_addressed(logical(u32::MAX), false));
    assert!(!apic.is_addressed(logical(0x1_0004), false) && !apic.is_addressed(logical(0b1011), false));
}

/// An id has eight bits in xAPIC mode and 32 in x2APIC mode.
#[test]
fn ids_are_as_wide_as_the_mode_has_them() {
    let config = LocalApicConfig {
        id: 0x102,
        bootstrap: false,
        x2apic: true,
        clock_frequency: CLOCK,
        bus_frequency: BUS,
    };
    let mut apic = LocalApic::new(config);
    assert!(apic.is_addressed(Destination::Physical(2), false));
    assert!(!apic.is_addressed(Destination::Physical(0x102), false));
    assert_eq!(apic.read_page(register::ID, 0), 2 << 24);
    apic.set_base(apic.base() | 1 << 10, 40).unwrap();
    assert!(!apic.is_addressed(Destination::Physical(2), false));
    assert!(apic.is_addressed(Destination::Physical(0x102), false));
    assert_eq!((apic.read_msr(0x802, 0), apic.read_msr(0x80D, 0)), (Ok(0x102), Ok(0x10_0004)));
    let off = LocalApic { base: apic.base.with_enable(false), ..apic };
    assert!(!off.is_addressed(Destination::All, false), "one that is off is nobody");
}

#[test]
fn the_timer_fires_once_or_periodically() {
    let mut apic = apic();
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    let _ = apic.write_page(register::TIMER_DIVIDE, 0b1011, 0);
    // 1000 counts of 5 ns are 5 us: 10 000 clock ticks.
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 1000, 500);
    assert_eq!(apic.deadline(0), Some(10_500));
    assert_eq!(apic.read_page(register::TIMER_CURRENT_COUNT, 5_500), 500);
    apic.advance(10_499, 0);
    assert_eq!(apic.pending(), None);
    apic.advance(10_500, 0);
    assert_eq!(apic.acknowledge().map(|done| done.vector), Some(0xEC));
    assert_eq!((apic.deadline(0), apic.read_page(register::TIMER_CURRENT_COUNT, 10_600)), (None, 0));
    apic.end_of_interrupt();
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR | 1 << 17, 0);
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 1000, 20_000);
    for period in 1..=3 {
        assert_eq!(apic.deadline(0), Some(20_000 + period * 10_000));
        apic.advance(20_000 + period * 10_000, 0);
        assert!(apic.acknowledge().is_some());
        apic.end_of_interrupt();
    }
    // Missed periods are one interrupt, and the phase is kept.
    apic.advance(95_000, 0);
    assert!(apic.acknowledge().is_some());
    assert_eq!(apic.deadline(0), Some(100_000));
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR | 3 << 16, 0);
    assert_eq!(apic.deadline(0), None, "masked");
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 0, 95_000);
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    assert_eq!(apic.deadline(0), None, "stopped");
}

#[test]
fn the_timer_fires_at_a_tsc_deadline() {
    let mut apic = x2apic();
    apic.set_tsc_deadline(500);
    assert_eq!(apic.tsc_deadline(), 0, "ignored in another mode");
    assert_eq!(apic.write_msr(0x832, 0x4_00EC, 0), Ok(Effect::None));
    apic.set_tsc_deadline(5000);
    // This VP's TSC is 1000 ahead of the clock, then 1000 behind it.
    assert_eq!(apic.deadline(1000), Some(4000));
    assert_eq!(apic.deadline(1000u64.wrapping_neg()), Some(6000));
    apic.advance(3999, 1000);
    assert_eq!(apic.pending(), None);
    apic.advance(4000, 1000);
    assert_eq!(apic.pending(), Some(PendingInterrupt::Vector(0xEC)));
    assert_eq!((apic.tsc_deadline(), apic.deadline(1000)), (0, None));
}

#[test]
fn lint_inputs_as_firmware_leaves_them() {
    let mut apic = apic();
    apic.set_lint0(true);
    assert_eq!(apic.pending(), None, "masked after reset");
    apic.set_up_as_firmware_does();
    assert_eq!(apic.pending(), Some(PendingInterrupt::External));
    assert!(apic.pulse_lint1());
    apic.set_lint0(false);
    assert_eq!(apic.pending(), None);
    apic.set_lint0(true);
    apic.set_base(0xFEE0_0000, 40).unwrap();
    assert_eq!(apic.pending(), Some(PendingInterrupt::External), "a disabled APIC is transparent");
    assert!(!apic.pulse_lint1());
}

#[test]
fn lint_pins_are_what_their_entries_say() {
    let mut apic = apic();
    apic.set_lint0(true);
    apic.set_up_as_firmware_does();
    let pending = |apic: &LocalApic| apic.pending();
    for (entry, external) in [(0x700, true), (0x1_0700, false), (0x0_0030, false), (0x400, false)] {
        let _ = apic.write_page(register::LVT_LINT0, entry, 0);
        assert_eq!(pending(&apic), external.then_some(PendingInterrupt::External), "{entry:#x}");
    }
    for (entry, nmi) in [(0x400, true), (0x1_0400, false), (0x700, false), (0x1_0041, false)] {
        let _ = apic.write_page(register::LVT_LINT1, entry, 0);
        assert_eq!((apic.pulse_lint1(), pending(&apic)), (nmi, None), "{entry:#x}");
    }
    let _ = apic.write_page(register::LVT_LINT1, 0x8041, 0);
    assert!(!apic.pulse_lint1());
    assert_eq!(pending(&apic), Some(PendingInterrupt::Vector(0x41)), "a vector is requested");
    let acknowledged = apic.acknowledge().unwrap();
    assert_eq!(
        (acknowledged.vector, acknowledged.eoi_may_be_skipped),
        (0x41, false),
        "and is level triggered"
    );
    // Its entries still say so, but an APIC that is off has no pins.
    let _ = apic.write_page(register::LVT_LINT1, 0x400, 0);
    let without_apic = LocalApic { base: apic.base.with_enable(false), ..apic };
    assert!(!without_apic.clone().pulse_lint1());
}

/// What a register holds is what can be written of it, and in both modes the same.
#[test]
fn registers_hold_what_exists_of_them() {
    for (offset, expected) in [
        (register::TPR, 0xFF),
        (register::SVR, 0x3FF),
        (register::LVT_TIMER, 0x7_00FF),
        (register::LVT_THERMAL, 0x1_07FF),
        (register::LVT_PERFORMANCE, 0x1_07FF),
        (register::LVT_LINT0, 0x1_A7FF),
        (register::LVT_LINT1, 0x1_A7FF),
        (register::LVT_ERROR, 0x1_00FF),
        (register::TIMER_DIVIDE, 0b1011),
    ] {
        let mut apic = apic();
        let _ = apic.write_page(offset, u32::MAX, 0);
        assert_eq!(apic.read_page(offset, 0), expected, "{offset:#x}");
        for bit in 0..32 {
            let mut apic = x2apic();
            let number = 0x800 + u32::from(offset >> 4);
            let before = apic.read_msr(number, 0).unwrap();
            let written = apic.write_msr(number, 1 << bit, 0);
            let exists = expected >> bit & 1 != 0;
            // Delivery status and remote IRR can be written, and stay clear.
            let read_only =
                (register::LVT_TIMER..=register::LVT_ERROR).contains(&offset) && [12, 14].contains(&bit);
            assert_eq!(written.is_ok(), exists || read_only, "{offset:#x} bit {bit}");
            let after = if exists {
                1 << bit
            } else if read_only {
                0
            } else {
                before
            };
            assert_eq!(apic.read_msr(number, 0), Ok(after), "{offset:#x} bit {bit}");
        }
    }
}

/// Registers of the page alone: addresses in the xAPIC's form.
#[test]
fn the_page_has_registers_of_its_own() {
    let mut apic = apic();
    for (offset, expected) in [
        (register::ID, 2 << 24),
        (register::VERSION, 0x5_0015),
        (register::APR, 0),
        (register::RRD, 0),
        (register::EOI, 0),
        (register::LDR, 0),
        (register::DFR, u32::MAX),
    ] {
        assert_eq!(apic.read_page(offset, 0), expected, "{offset:#x}");
    }
    for (offset, expected) in [
        (register::ID, 2 << 24),
        (register::LDR, 0x1200_0000),
        (register::DFR, 0x1FFF_FFFF),
        (register::ICR_HIGH, 0x1200_0000),
    ] {
        let _ = apic.write_page(offset, 0x1234_5678, 0);
        assert_eq!(apic.read_page(offset, 0), expected, "{offset:#x}");
    }
    // ICR is written in halves, of which the lower one sends.
    let _ = apic.write_page(register::ICR, 0x4_0045, 0);
    assert_eq!(apic.icr(), 0x1200_0000_0004_0045);
    assert_eq!(
        [0, 1, 2, 3].map(|byte| apic.read_page(register::ICR_HIGH + byte, 0)),
        [0x1200_0000, 0x12_0000, 0x1200, 0x12]
    );
    assert_eq!(
        [4, 8, 12].map(|byte| apic.read_page(register::ICR_HIGH + byte, 0)),
        [0; 3],
        "between registers"
    );
    let _ = apic.write_page(register::ESR, 0, 0);
    assert_eq!(apic.read_page(register::ESR, 0), 0, "all of these exist");
}

/// SDM 3A 10.12.5.1: who changes to x2APIC mode keeps the lower half of ICR and loses the upper.
#[test]
fn icr_loses_its_upper_half_to_the_mode() {
    let mut apic = apic();
    let _ = apic.set_icr(5 << 56 | 0x4045);
    assert_eq!(apic.icr(), 5 << 56 | 0x4045);
    apic.set_base(apic.base() | 1 << 10, 40).unwrap();
    assert_eq!(apic.read_msr(0x830, 0), Ok(0x4045));
}

/// SDM 3A 10.5.3: what is no register, or has an illegal vector, is an error, once.
#[test]
fn errors_are_recorded_once() {
    let esr = |apic: &mut LocalApic| {
        let _ = apic.write_page(register::ESR, 0, 0);
        apic.read_page(register::ESR, 0)
    };
    let mut apic = apic();
    let _ = apic.write_page(register::LVT_ERROR, 0xFE, 0);
    assert_eq!(apic.read_page(0x40, 0), 0);
    assert_eq!(apic.acknowledge().unwrap().vector, 0xFE);
    apic.end_of_interrupt();
    let _ = apic.write_page(0x40, 0, 0);
    assert_eq!(apic.acknowledge(), None, "the error is there already");
    assert_eq!((esr(&mut apic), esr(&mut apic)), (0x80, 0));
    let _ = apic.write_page(0x40, 0, 0);
    assert_eq!(apic.acknowledge().unwrap().vector, 0xFE);
    apic.end_of_interrupt();
    assert!(!apic.request(15, false, false));
    assert_eq!(apic.acknowledge().unwrap().vector, 0xFE, "another error");
    apic.end_of_interrupt();
    assert_eq!(esr(&mut apic), 0xC0);
    assert!(apic.request(16, false, false));
    assert_eq!(esr(&mut apic), 0);
    let _ = apic.write_page(register::LVT_ERROR, 0x1_00FE, 0);
    assert!(!apic.request(15, false, false));
    assert_eq!(apic.requested().highest(), Some(16), "a masked entry reports nothing");
    // Nor does one whose own vector is illegal.
    assert_eq!(esr(&mut apic), 0x40);
    let _ = apic.write_page(register::LVT_ERROR, 0x0F, 0);
    assert!(!apic.request(15, false, false));
    assert_eq!(esr(&mut apic), 0x40);
    assert_eq!(apic.set_icr(0x4000F), Effect::None);
    assert_eq!(esr(&mut apic), 0x20);
    assert_ne!(apic.set_icr(0x40010), Effect::None);
    assert_eq!(esr(&mut apic), 0);
}

/// SDM 3A 10.8.3.1: the class of the task or of the interrupt in service, whichever is higher.
#[test]
fn processor_priority_is_the_higher_of_task_and_service() {
    let mut apic = apic();
    apic.set_tpr(0x27);
    assert_eq!(apic.priority(), 0x27);
    apic.request(0x35, false, false);
    apic.acknowledge().unwrap();
    assert_eq!(apic.priority(), 0x30);
    apic.set_tpr(0x32);
    assert_eq!(apic.priority(), 0x32, "of one class the task's counts");
    apic.set_tpr(0x2F);
    assert_eq!(apic.priority(), 0x30);
    apic.set_tpr(0x40);
    assert_eq!(apic.priority(), 0x40);
}

/// INIT and NMI reach an APIC that software has disabled; vectors do not.
#[test]
fn messages_are_taken_by_their_delivery_mode() {
    let config =
        LocalApicConfig { id: 2, bootstrap: true, x2apic: true, clock_frequency: CLOCK, bus_frequency: BUS };
    let off = LocalApic::new(config);
    let on = apic();
    for (delivery_mode, when_on, when_off) in [
        (DeliveryMode::Fixed, Delivery::Requested, Delivery::Ignored),
        (DeliveryMode::LowestPriority, Delivery::Requested, Delivery::Ignored),
        (DeliveryMode::Nmi, Delivery::Nmi, Delivery::Nmi),
        (DeliveryMode::Init, Delivery::Init, Delivery::Init),
        (DeliveryMode::StartUp, Delivery::StartUp(0x9A), Delivery::StartUp(0x9A)),
        (DeliveryMode::Smi, Delivery::Ignored, Delivery::Ignored),
        (DeliveryMode::ExtInt, Delivery::Ignored, Delivery::Ignored),
    ] {
        let message = InterruptMessage {
            destination: Destination::SelfOnly,
            delivery_mode,
            vector: 0x9A,
            level_triggered: true,
        };
        let mut taken = on.clone();
        assert_eq!((taken.deliver(message), off.clone().deliver(message)), (when_on, when_off));
        let requested = (when_on == Delivery::Requested).then_some(0x9A);
        assert_eq!((taken.requested().highest(), taken.level.highest()), (requested, requested));
    }
}

/// Only what is level triggered and not delivered can be taken back.
#[test]
fn a_level_is_withdrawn_until_it_is_delivered() {
    let mut apic = apic();
    apic.request(0x41, true, false);
    apic.request(0x42, false, false);
    apic.withdraw(0x42);
    assert_eq!(apic.requested().highest(), Some(0x42), "an edge stays");
    apic.withdraw(0x41);
    apic.acknowledge().unwrap();
    assert!(apic.requested().is_empty());
}

/// A new divisor goes on with what is left of the count (SDM 3A 10.5.4).
#[test]
fn a_count_goes_on_with_another_divisor() {
    let mut apic = apic();
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    let _ = apic.write_page(register::TIMER_DIVIDE, 0b1011, 0);
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 1000, 0);
    // 400 counts of 10 ticks are over; the other 600 take 40 each.
    let _ = apic.write_page(register::TIMER_DIVIDE, 0b0001, 4000);
    assert_eq!(apic.read_page(register::TIMER_CURRENT_COUNT, 4000), 600);
    assert_eq!(apic.deadline(0), Some(4000 + 600 * 40));
    assert_eq!(apic.read_page(register::TIMER_CURRENT_COUNT, 4000 + 40), 599);
    assert_eq!(apic.read_page(register::TIMER_INITIAL_COUNT, 4000), 1000);
    for (divide, divisor) in
        [(0b0000, 2), (0b0010, 8), (0b0011, 16), (0b1000, 32), (0b1001, 64), (0b1010, 128)]
    {
        let _ = apic.write_page(register::TIMER_DIVIDE, divide, 50_000);
        let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 3, 50_000);
        assert_eq!(apic.deadline(0), Some(50_000 + 3 * 10 * divisor), "{divide:#b}");
    }
    apic.advance(60_000, 0);
    assert!(apic.acknowledge().is_some());
    let _ = apic.write_page(register::TIMER_DIVIDE, 0b1011, 60_000);
    assert_eq!(apic.deadline(0), None, "what is over does not begin again");
}

/// A periodic count starts over, and shows where in its period it is.
#[test]
fn a_periodic_count_starts_over() {
    let mut apic = apic();
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR | 1 << 17, 0);
    let _ = apic.write_page(register::TIMER_DIVIDE, 0b1011, 0);
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 1000, 0);
    let counts = [0, 10, 9_990, 10_000, 23_000].map(|now| apic.read_page(register::TIMER_CURRENT_COUNT, now));
    assert_eq!(counts, [1000, 999, 1, 1000, 700]);
}

/// To and from TSC-deadline mode what was set is gone (SDM 3A 10.5.4.1); between the other two it stays.
#[test]
fn a_timer_that_changes_its_mode_is_disarmed() {
    const ONE_SHOT: u32 = TIMER_VECTOR;
    const PERIODIC: u32 = TIMER_VECTOR | 1 << 17;
    const DEADLINE: u32 = TIMER_VECTOR | 2 << 17;
    let mut apic = x2apic();
    let set = |apic: &mut LocalApic, entry: u32| apic.write_msr(0x832, entry.into(), 0).unwrap();
    let _ = (set(&mut apic, ONE_SHOT), apic.write_msr(0x838, 1000, 0).unwrap());
    let _ = set(&mut apic, PERIODIC);
    assert!(apic.deadline(0).is_some());
    let _ = set(&mut apic, DEADLINE);
    assert_eq!((apic.deadline(0), apic.read_msr(0x838, 0)), (None, Ok(0)));
    let _ = apic.write_msr(0x838, 1000, 0).unwrap();
    assert_eq!(apic.read_msr(0x838, 0), Ok(0), "counts are ignored");
    apic.set_tsc_deadline(77);
    let _ = set(&mut apic, DEADLINE);
    assert_eq!(apic.tsc_deadline(), 77, "the same mode again changes nothing");
    let _ = set(&mut apic, ONE_SHOT);
    assert_eq!((apic.deadline(0), apic.tsc_deadline()), (None, 0));
    let _ = set(&mut apic, DEADLINE);
    assert_eq!(apic.tsc_deadline(), 0);
    apic.set_tsc_deadline(77);
    apic.set_tsc_deadline(0);
    assert_eq!(apic.deadline(0), None);
    // The reserved mode counts as one-shot.
    let _ = (set(&mut apic, TIMER_VECTOR | 3 << 17), apic.write_msr(0x838, 1000, 0).unwrap());
    apic.advance(apic.deadline(0).unwrap(), 0);
    assert_eq!((apic.pending(), apic.deadline(0)), (Some(PendingInterrupt::Vector(0xEC)), None));
}

/// A timer of an APIC that would not take its interrupt is due for nobody.
#[test]
fn a_disabled_apic_has_no_deadline() {
    let mut apic = apic();
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
    let _ = apic.write_page(register::TIMER_INITIAL_COUNT, 1000, 0);
    assert!(apic.deadline(0).is_some());
    let off = LocalApic { svr: apic.svr.with_enable(false), ..apic.clone() };
    assert_eq!(off.deadline(0), None);
    let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR | 1 << 16, 0);
    apic.advance(1 << 40, 0);
    assert_eq!(apic.pending(), None, "a masked entry requests nothing");
}

#[test]
fn an_empty_set_has_no_member() {
    assert!(VectorSet::default().is_empty());
    for vector in [0, 31, 32, 255] {
        let mut set = VectorSet::default();
        set.insert(vector);
        assert!(!set.is_empty());
        assert_eq!(set.word(usize::from(vector / 32)), 1 << (vector % 32));
        set.remove(vector);
        assert!(set.is_empty());
    }
}

#[test]
fn init_keeps_id_base_and_mode() {
    let mut apic = x2apic();
    apic.request(0x55, false, false);
    let base = apic.base();
    apic.init();
    assert_eq!((apic.base(), apic.id(), apic.pending()), (base, 2, None));
    assert_eq!(apic.read_msr(0x80F, 0), Ok(0xFF));
}

proptest! {
    /// The set agrees with a table of booleans.
    #[test]
    fn vector_sets_agree_with_a_table(changes in prop::collection::vec((any::<u8>(), any::<bool>()), 0..200)) {
        let mut set = VectorSet::default();
        let mut table = [false; 256];
        for (vector, member) in changes {
            set.set(vector, member);
            table[usize::from(vector)] = member;
            prop_assert_eq!(set.highest().map(usize::from), table.iter().rposition(|&member| member));
            prop_assert_eq!(set.contains(vector), member);
        }
    }

    /// A timer is due exactly at its deadline, never before, and its count reaches zero there.
    #[test]
    fn a_count_ends_exactly_at_the_deadline(count in 1..u32::MAX, divide in 0u32..16, start in 0..u64::from(u32::MAX)) {
        let mut apic = apic();
        let _ = apic.write_page(register::LVT_TIMER, TIMER_VECTOR, 0);
        let _ = apic.write_page(register::TIMER_DIVIDE, divide, 0);
        let _ = apic.write_page(register::TIMER_INITIAL_COUNT, count, start);
        let deadline = apic.deadline(0).unwrap();
        prop_assert!(apic.read_page(register::TIMER_CURRENT_COUNT, deadline - 1) > 0);
        prop_assert_eq!(apic.read_page(register::TIMER_CURRENT_COUNT, deadline), 0);
        apic.advance(deadline - 1, 0);
        prop_assert!(apic.pending().is_none());
        apic.advance(deadline, 0);
        prop_assert!(apic.pending().is_some());
    }

    /// No sequence of register accesses panics, in either mode.
    #[test]
    fn any_register_access_is_survived(extended: bool, accesses in prop::collection::vec((any::<u16>(), any::<u32>(), any::<u64>()), 0..100)) {
        let mut apic = if extended { x2apic() } else { apic() };
        for (offset, value, now) in accesses {
            let number = 0x800 + u32::from(offset & 0xFF);
            let _ = (apic.read_page(offset & 0xFFF, now), apic.write_page(offset & 0xFF0, value, now));
            let _ = (apic.read_msr(number, now), apic.write_msr(number, value.into(), now));
            let _ = apic.set_base(value.into(), 40);
            apic.set_tsc_deadline(now);
            apic.advance(now, value.into());
            let _ = (apic.deadline(value.into()), apic.pending(), apic.acknowledge());
        }
    }
}
