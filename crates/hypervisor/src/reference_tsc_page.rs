// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reference TSC page (TLFS 12.7), from which a guest computes reference time without leaving guest code.

use std::mem::offset_of;
use std::sync::Mutex;

use memory::{Rights, Space, ViewId};
use tlfs::msr::OverlayPage;
use tlfs::timer::{ReferenceTscPage as Layout, TSC_SEQUENCE_INVALID};

use crate::overlay::{Overlay, Page};
use crate::reference_time::ReferenceTime;
use crate::sync::lock;

/// Sequence number of a page that has never changed. Zero would say that the page is of no use.
const FIRST_SEQUENCE: u32 = 1;

/// The reference TSC page of one VTL of a partition.
pub(crate) struct ReferenceTscPage(Mutex<State>);

struct State {
    msr: OverlayPage,
    overlay: Overlay,
}

impl ReferenceTscPage {
    /// The page for a clock whose TSC starts at zero when reference time does, so that the offset is zero.
    pub(crate) fn new(page: Page, reference_time: &ReferenceTime) -> Self {
        let sequence = if let Some(scale) = reference_time.scale() {
            page.write_u64(offset_of!(Layout, tsc_scale) as u64, scale);
            page.write_u64(offset_of!(Layout, tsc_offset) as u64, 0);
            FIRST_SEQUENCE
        } else {
            TSC_SEQUENCE_INVALID
        };
        page.write_u32(offset_of!(Layout, tsc_sequence) as u64, sequence);
        Self(Mutex::new(State { msr: OverlayPage::new(), overlay: Overlay::new(page, Rights::READ) }))
    }

    /// HV_X64_MSR_REFERENCE_TSC.
    pub(crate) fn msr(&self) -> OverlayPage {
        lock(&self.0).msr
    }

    /// Writes HV_X64_MSR_REFERENCE_TSC. A page beyond the space is inaccessible, without a fault.
    pub(crate) fn set(&self, value: OverlayPage, space: &Space, view: ViewId) {
        let mut state = lock(&self.0);
        state.msr = value;
        state.overlay.place(space, view, value.enable().then(|| value.gpa_page_number()));
    }
}
