// SPDX-License-Identifier: MIT OR Apache-2.0
//! The EOI assist and the APIC's synthetic MSRs (TLFS 10.2.3, 10.3.5).

use tlfs::msr;

use super::*;

const PAGE: u64 = 0x2_0000;

/// A lab whose VP 0 has its assist page placed.
fn lab() -> Lab {
    let mut lab = Lab::new(1);
    lab.write_msr(0, msr::VP_ASSIST_PAGE, PAGE | 1).unwrap();
    lab
}

fn request(lab: &Lab, vector: u8, level: bool) {
    let vp = lab.partition.vp(0);
    assert!(vp.state().vtl(Vtl::VTL0).request(vector, level, false));
    vp.notify();
}

/// What the guest does to end an interrupt: clears the bit, and writes the register if it was clear.
fn end(lab: &mut Lab) -> bool {
    let skipped = lab.read_u32(PAGE) & 1 != 0;
    if skipped {
        lab.write_u32(PAGE, 0);
    } else {
        lab.write_msr(0, msr::EOI, 0).unwrap();
    }
    skipped
}

/// A write of the EOI register in the local APIC's page.
fn eoi_by_page() -> engine::ExitReason {
    engine::ExitReason::Memory(engine::MemoryAccess {
        gpa: 0xFEE0_00B0,
        gva: None,
        size: 4,
        kind: engine::MemoryAccessKind::Write(0),
        cause: engine::MemoryExitCause::Unmapped,
        page_walk: false,
        user: false,
    })
}

fn in_service(lab: &Lab) -> Option<u8> {
    let mut state = lab.partition.vp(0).state();
    let vtl = state.vtl(Vtl::VTL0);
    vtl.settle_eoi_assist();
    vtl.apic.serving()
}

/// B10.025, B10.026, B10.028: an edge interrupt with nothing behind it is ended by the bit alone.
#[test]
fn a_lone_edge_interrupt_needs_no_eoi() {
    let mut lab = lab();
    for count in 1..=3 {
        request(&lab, 0x50, false);
        assert_eq!(lab.interrupts(0), [0x50]);
        assert_eq!(lab.read_u32(PAGE), 1);
        assert_eq!(in_service(&lab), Some(0x50));
        assert!(end(&mut lab));
        assert_eq!(in_service(&lab), None);
        assert_eq!(lab.vps[0].statistics().unwrap().eoi_assists(), count);
    }
    assert_eq!(lab.vps[0].statistics().unwrap().msr_accesses(msr::EOI), (0, 0));
}

/// B10.026: not for level-triggered interrupts, and not while another is requested. B10.024: the other comes with the EOI.
#[test]
fn others_need_an_eoi() {
    let mut lab = lab();
    request(&lab, 0x50, true);
    assert_eq!(lab.interrupts(0), [0x50]);
    assert!(!end(&mut lab));
    request(&lab, 0x60, false);
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x60]);
    assert!(!end(&mut lab));
    assert_eq!(lab.interrupts(0), [0x50]);
    assert!(end(&mut lab));
}

/// B10.027: a lower interrupt that is requested later takes the assist back, and its turn comes with the EOI.
#[test]
fn a_later_lower_interrupt_takes_the_assist_back() {
    let mut lab = lab();
    request(&lab, 0x60, false);
    assert_eq!(lab.interrupts(0), [0x60]);
    assert_eq!(lab.read_u32(PAGE), 1);
    request(&lab, 0x50, false);
    assert_eq!(lab.read_u32(PAGE), 0);
    assert!(lab.interrupts(0).is_empty());
    assert!(!end(&mut lab));
    assert_eq!(lab.interrupts(0), [0x50]);
}

/// B10.028: if the guest was faster, the lower interrupt is delivered at once.
#[test]
fn an_interrupt_that_was_ended_lazily_does_not_hold_others_back() {
    let mut lab = lab();
    request(&lab, 0x60, false);
    assert_eq!(lab.interrupts(0), [0x60]);
    assert!(end(&mut lab));
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
}

/// B10.029: of nested interrupts only the highest is assisted.
#[test]
fn only_the_highest_of_nested_interrupts_is_assisted() {
    let mut lab = lab();
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    request(&lab, 0x60, false);
    assert_eq!(lab.interrupts(0), [0x60]);
    assert_eq!(in_service(&lab), Some(0x60));
    assert!(end(&mut lab));
    assert_eq!(in_service(&lab), Some(0x50));
    assert!(!end(&mut lab));
    assert_eq!(in_service(&lab), None);
}

/// B10.029: one that cannot be assisted takes the assist from the one below.
#[test]
fn a_nested_interrupt_that_needs_an_eoi_takes_the_assist_away() {
    let mut lab = lab();
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    request(&lab, 0x60, true);
    assert_eq!(lab.interrupts(0), [0x60]);
    assert!(!end(&mut lab));
    assert_eq!(in_service(&lab), Some(0x50));
    assert!(!end(&mut lab));
    assert_eq!(in_service(&lab), None);
}

/// B10.030: an EOI the usual way still works, and the page can go at any time.
#[test]
fn the_usual_eoi_works_beside_the_assist() {
    let mut lab = lab();
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!((in_service(&lab), lab.read_u32(PAGE)), (None, 0));
    // By the register page, and by the x2APIC register.
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    lab.answer(0, eoi_by_page()).unwrap();
    assert_eq!((in_service(&lab), lab.read_u32(PAGE)), (None, 0));
    lab.write_msr(0, 0x1B, 0xFEE0_0D00).unwrap();
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    lab.write_msr(0, 0x80B, 0).unwrap();
    assert_eq!((in_service(&lab), lab.read_u32(PAGE)), (None, 0));

    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    lab.write_msr(0, msr::VP_ASSIST_PAGE, 0).unwrap();
    assert_eq!(in_service(&lab), Some(0x50));
    lab.write_msr(0, msr::EOI, 0).unwrap();
    assert_eq!(in_service(&lab), None);
    request(&lab, 0x50, false);
    assert_eq!(lab.interrupts(0), [0x50]);
    assert_eq!(in_service(&lab), Some(0x50), "no assist without the page");
}

/// B07.018, B07.020: the page is the VP's own, and moves with its contents.
#[test]
fn assist_pages_are_each_vps_own() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::VP_ASSIST_PAGE, PAGE | 1).unwrap();
    lab.write_msr(1, msr::VP_ASSIST_PAGE, PAGE + 0x1001).unwrap();
    lab.write_u32(PAGE + 8, 5);
    assert_eq!((lab.read_u32(PAGE + 8), lab.read_u32(PAGE + 0x1008)), (5, 0));
    lab.write_msr(0, msr::VP_ASSIST_PAGE, PAGE + 0x4001).unwrap();
    assert_eq!((lab.read_u32(PAGE + 8), lab.read_u32(PAGE + 0x4008)), (0, 5));
}

/// B10.008 to B10.014: the MSRs are another way to the same registers.
#[test]
fn the_apic_msrs_reach_the_apic() {
    let mut lab = Lab::new(2);
    lab.write_msr(0, msr::TPR, 0x30).unwrap();
    assert_eq!(lab.read_msr(0, msr::TPR), Ok(0x30));
    assert_eq!(lab.answer(0, engine::ExitReason::ReadTaskPriority), Ok(3));
    assert_eq!(lab.write_msr(0, msr::TPR, 0x100), Err(Gp));
    // A fixed interrupt to APIC id 1.
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x44).unwrap();
    assert_eq!(lab.read_msr(0, msr::ICR), Ok(1 << 56 | 0x44));
    assert_eq!(lab.interrupts(1), [0x44]);
    assert_eq!(lab.write_msr(1, msr::EOI, 1 << 32), Err(Gp));
    lab.write_msr(1, msr::EOI, 0).unwrap();
    // CR8 holds back what is not above it.
    assert_eq!(lab.answer(1, engine::ExitReason::WriteTaskPriority(4)), Ok(0));
    lab.write_msr(0, msr::ICR, 1 << 56 | 0x4F).unwrap();
    assert!(lab.interrupts(1).is_empty());
    assert_eq!(lab.answer(1, engine::ExitReason::WriteTaskPriority(3)), Ok(0));
    assert_eq!(lab.interrupts(1), [0x4F]);
}
