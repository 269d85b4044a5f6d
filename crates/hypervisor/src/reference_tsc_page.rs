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

/// The reference TSC page of one VTL of a partition.
pub(crate) struct ReferenceTscPage(Mutex<State>);

struct State {
    msr: OverlayPage,
    page: Page,
    overlay: Overlay,
    /// The last sequence number that said that the page is of use.
    last_sequence: u32,
}

impl ReferenceTscPage {
    /// The page for a clock whose TSC starts at zero when reference time does, so that the offset is zero.
    pub(crate) fn new(page: Page, reference_time: &ReferenceTime) -> Self {
        let overlay = Overlay::new(page.clone(), Rights::READ);
        let last_sequence = TSC_SEQUENCE_INVALID;
        let this = Self(Mutex::new(State { msr: OverlayPage::new(), page, overlay, last_sequence }));
        this.set_parameters(reference_time.scale().map(|scale| (scale, 0)));
        this
    }

    /// Changes scale and offset, or makes the page say that it is of no use. Whoever reads the page meanwhile sees the number change, or zero, and no mixture
    /// of parameters passes for the truth (TLFS 12.7.3.2).
    pub(crate) fn set_parameters(&self, parameters: Option<(u64, i64)>) {
        let mut state = lock(&self.0);
        let page = &state.page;
        let write_sequence = |sequence| page.write_u32(offset_of!(Layout, tsc_sequence) as u64, sequence);
        write_sequence(TSC_SEQUENCE_INVALID);
        let Some((scale, offset)) = parameters else { return };
        page.write_u64(offset_of!(Layout, tsc_scale) as u64, scale);
        page.write_u64(offset_of!(Layout, tsc_offset) as u64, offset as u64);
        let next = match state.last_sequence.wrapping_add(1) {
            TSC_SEQUENCE_INVALID => TSC_SEQUENCE_INVALID + 1,
            next => next,
        };
        write_sequence(next);
        state.last_sequence = next;
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Engine;
    use engine::scripted::ScriptedEngine;
    use memory::MemoryObject;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn page_at(frequency: u64) -> (Page, ReferenceTscPage) {
        let group = ScriptedEngine::new(frequency).create_group(&Space::new(40)).unwrap();
        let page = Page::new(&MemoryObject::allocate(4096).unwrap(), 0);
        (page.clone(), ReferenceTscPage::new(page, &ReferenceTime::new(group.clock())))
    }

    /// B12.040: the number changes with the parameters, never to zero, which is what it is while the page is of no use.
    #[test]
    fn the_sequence_counts_changes_and_skips_zero() {
        let (page, tsc) = page_at(1 << 31);
        assert_eq!((page.read_u32(0), page.read_u64(16)), (1, 0));
        tsc.set_parameters(Some((5, -7)));
        assert_eq!((page.read_u32(0), page.read_u64(8), page.read_u64(16) as i64), (2, 5, -7));
        tsc.set_parameters(None);
        assert_eq!(page.read_u32(0), 0);
        tsc.set_parameters(Some((5, -7)));
        assert_eq!(page.read_u32(0), 3, "no number comes back");
        lock(&tsc.0).last_sequence = u32::MAX;
        tsc.set_parameters(Some((5, -7)));
        assert_eq!(page.read_u32(0), 1);
    }

    /// B12.042: a clock that is too slow for a scale has a page of no use from the beginning.
    #[test]
    fn a_slow_clock_has_no_page() {
        let (page, _) = page_at(1_000_000);
        assert_eq!((page.read_u32(0), page.read_u64(8)), (0, 0));
    }

    /// B12.041: a reader that does as TLFS 12.7.3.3 says never uses the scale of one change with the offset of another.
    #[test]
    fn a_reader_never_mixes_parameters() {
        let (page, tsc) = page_at(1 << 31);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for value in 1..20_000 {
                    tsc.set_parameters(Some((value, -(value as i64))));
                }
                done.store(true, Ordering::SeqCst);
            });
            let mut read = 0u32;
            while !done.load(Ordering::SeqCst) || read == 0 {
                let sequence = page.read_u32(0);
                let (scale, offset) = (page.read_u64(8), page.read_u64(16) as i64);
                if sequence > 1 && page.read_u32(0) == sequence {
                    assert_eq!(scale as i64, -offset);
                    read += 1;
                }
            }
        });
    }
}
