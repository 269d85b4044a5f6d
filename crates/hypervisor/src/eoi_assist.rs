// SPDX-License-Identifier: MIT OR Apache-2.0
//! The EOI assist field of the VP assist page (TLFS 10.3.5), by which a guest ends an interrupt without leaving guest code.
//!
//! While the assist is *armed*, the "no EOI required" bit in the page stands for the highest interrupt in service: the guest ends that interrupt by
//! clearing the bit, and the local APIC learns of it when somebody next looks ([`EoiAssist::take_ended`]).

use tlfs::msr::OverlayPage;
use tlfs::vp::VpAssistPage;

use crate::overlay::Page;

/// Offset of the field in the page, and its bit.
const FIELD: u64 = 0;
const NO_EOI_REQUIRED: u32 = 1;
/// Offset of the byte that says that the time-unhalted timer has expired (TLFS 7.8.7.2).
const UNHALTED_TIMER_EXPIRED: u64 =
    std::mem::offset_of!(VpAssistPage, synthetic_time_unhalted_timer_expired) as u64;

/// The assist of one VP.
#[derive(Debug)]
pub(crate) struct EoiAssist {
    page: Page,
    msr: OverlayPage,
    armed: bool,
    /// Interrupts that were ended by it.
    used: u64,
}

state::state!(EoiAssist { page, msr as bits, armed, used as derived });

impl EoiAssist {
    pub(crate) fn new(page: Page) -> Self {
        page.clear();
        Self { page, msr: OverlayPage::new(), armed: false, used: 0 }
    }

    /// As at creation; only the count goes on.
    pub(crate) fn reset(&mut self) {
        self.page.clear();
        (self.msr, self.armed) = (OverlayPage::new(), false);
    }

    /// HV_X64_MSR_VP_ASSIST_PAGE.
    pub(crate) fn msr(&self) -> OverlayPage {
        self.msr
    }

    /// Writes the MSR. The assist must not be armed.
    pub(crate) fn set_msr(&mut self, value: OverlayPage) {
        debug_assert!(!self.armed);
        self.msr = value;
    }

    /// How many interrupts it has ended.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Tells the guest that its time-unhalted timer has expired, if it has placed the page (TLFS 12.6). The guest takes that back.
    pub(crate) fn tell_unhalted_timer_expired(&self) {
        if self.msr.enable() {
            self.page.write(UNHALTED_TIMER_EXPIRED, &[1]);
        }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Arms the assist for an interrupt that is now the highest in service, if the guest has placed the page.
    pub(crate) fn arm(&mut self) {
        if self.msr.enable() {
            self.page.change_u32(FIELD, NO_EOI_REQUIRED, 0);
            self.armed = true;
        }
    }

    /// Whether the guest has ended the interrupt that the assist was armed for; it is then armed no more.
    pub(crate) fn take_ended(&mut self) -> bool {
        if self.armed && self.page.read_u32(FIELD) & NO_EOI_REQUIRED == 0 {
            self.armed = false;
            self.used += 1;
            return true;
        }
        false
    }

    /// Takes the assist back, so that the guest's EOI comes as an access. True if the guest was faster and has ended the interrupt.
    pub(crate) fn revoke(&mut self) -> bool {
        if !self.armed {
            return false;
        }
        self.armed = false;
        let ended = self.page.change_u32(FIELD, 0, NO_EOI_REQUIRED) & NO_EOI_REQUIRED == 0;
        self.used += u64::from(ended);
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory::{MemoryObject, PAGE_SIZE};

    /// However the hypervisor learns that the guest has ended an interrupt by the assist, it counts once.
    #[test]
    fn interrupts_that_the_guest_ended_are_counted() {
        let page = Page::new(&MemoryObject::allocate(PAGE_SIZE).unwrap(), 0);
        let mut assist = EoiAssist::new(page.clone());
        assist.arm();
        assert!(!assist.is_armed(), "there is no page");
        assist.set_msr(OverlayPage::new().with_enable(true));
        let end = || page.change_u32(FIELD, 0, NO_EOI_REQUIRED) & NO_EOI_REQUIRED != 0;
        assist.arm();
        assert!(!assist.take_ended() && assist.is_armed());
        assert!(end() && assist.take_ended() && !assist.take_ended());
        assert_eq!(assist.used(), 1);
        // Taken back before the guest came to it.
        assist.arm();
        assert!(!assist.revoke() && !assist.revoke() && !end());
        assert_eq!((assist.used(), assist.is_armed()), (1, false));
        // The guest was faster.
        assist.arm();
        assert!(end() && assist.revoke() && !assist.revoke());
        assert_eq!(assist.used(), 2);
        assist.arm();
        assist.reset();
        assert_eq!((assist.used(), assist.is_armed(), page.read_u32(FIELD)), (2, false, 0));
    }
}
