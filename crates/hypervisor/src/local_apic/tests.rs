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
