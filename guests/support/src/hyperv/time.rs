// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reference time, in units of 100 ns: by MSR, and by the page from which a guest computes it without the hypervisor (TLFS 12).

use crate::cpu;
use crate::page::Page;
use crate::trap::{self, Fault};
use core::mem::offset_of;
use core::sync::atomic::{Ordering, fence};
use tlfs::msr::{self, OverlayPage};
use tlfs::timer::{ReferenceTscPage, TSC_SEQUENCE_INVALID};

static PAGE: Page = Page::new();

/// The reference counter, by its MSR.
pub fn counter() -> Result<u64, Fault> {
    trap::rdmsr(msr::TIME_REF_COUNT)
}

/// Enables the reference TSC page.
pub fn enable_page() -> Result<(), Fault> {
    let kept = OverlayPage::from_bits(trap::rdmsr(msr::REFERENCE_TSC)?);
    trap::wrmsr(msr::REFERENCE_TSC, kept.with_enable(true).with_gpa_page_number(PAGE.number()).into_bits())
}

/// Disables the reference TSC page.
pub fn disable_page() -> Result<(), Fault> {
    trap::wrmsr(msr::REFERENCE_TSC, 0)
}

/// What the page says (TLFS 12.7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Changes with the others; 0 means that they are of no use now.
    pub sequence: u32,
    /// What the TSC is multiplied with, as a fraction of 2^64.
    pub scale: u64,
    /// What is added then, 100 ns.
    pub offset: i64,
}

/// Reads the page and the TSC as one: again, if the hypervisor changed the page meanwhile.
fn read() -> (Parameters, u64) {
    loop {
        let sequence: u32 = PAGE.read(offset_of!(ReferenceTscPage, tsc_sequence));
        fence(Ordering::SeqCst);
        let parameters = Parameters {
            sequence,
            scale: PAGE.read(offset_of!(ReferenceTscPage, tsc_scale)),
            offset: PAGE.read(offset_of!(ReferenceTscPage, tsc_offset)),
        };
        let tsc = cpu::rdtsc();
        fence(Ordering::SeqCst);
        if PAGE.read::<u32>(offset_of!(ReferenceTscPage, tsc_sequence)) == sequence {
            return (parameters, tsc);
        }
    }
}

/// What the page says now.
pub fn parameters() -> Parameters {
    read().0
}

/// The reference time by the page; `None` while the page is of no use.
pub fn by_page() -> Option<u64> {
    let (parameters, tsc) = read();
    if parameters.sequence == TSC_SEQUENCE_INVALID {
        return None;
    }
    let product = u128::from(tsc) * u128::from(parameters.scale);
    Some(((product >> 64) as u64).wrapping_add_signed(parameters.offset))
}
