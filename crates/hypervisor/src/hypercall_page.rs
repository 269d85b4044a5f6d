// SPDX-License-Identifier: MIT OR Apache-2.0
//! GUEST_OS_ID and the hypercall page (TLFS 2.6, 3.13).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use memory::{PAGE_SIZE, Rights, Space, ViewId};
use tlfs::msr::Hypercall;

use crate::overlay::{Overlay, Page};
use crate::processor::Vendor;
use crate::sync::lock;

/// The page does not exist in the guest-physical space (#GP).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BeyondSpace;

/// The hypercall page of one VTL of a partition.
pub(crate) struct HypercallPage {
    state: Mutex<State>,
    enabled: AtomicBool,
}

struct State {
    guest_os_id: u64,
    msr: Hypercall,
    overlay: Overlay,
}

/// The instruction that calls, and the return that follows it.
const fn code(vendor: Vendor) -> [u8; 4] {
    const RET: u8 = 0xC3;
    match vendor {
        Vendor::Intel => [0x0F, 0x01, 0xC1, RET],
        Vendor::Amd => [0x0F, 0x01, 0xD9, RET],
    }
}

/// INT3: what the rest of the page is filled with.
const FILL: u8 = 0xCC;

impl HypercallPage {
    /// Guest OS id and MSR.
    pub(crate) fn registers(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.guest_os_id, state.msr.into_bits())
    }

    /// As it was when [`HypercallPage::registers`] gave this.
    pub(crate) fn restore(&self, registers: (u64, u64), space: &Space, view: ViewId) {
        let mut state = lock(&self.state);
        state.guest_os_id = registers.0;
        self.apply(&mut state, registers.1.into(), space, view);
    }

    pub(crate) fn new(page: Page, vendor: Vendor) -> Self {
        page.write(0, &[FILL; PAGE_SIZE as usize]);
        page.write(0, &code(vendor));
        let overlay = Overlay::new(page, Rights::READ_EXECUTE);
        let state = State { guest_os_id: 0, msr: Hypercall::new(), overlay };
        Self { state: Mutex::new(state), enabled: AtomicBool::new(false) }
    }

    /// Whether the page is there, so that the guest can make hypercalls.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// HV_X64_MSR_GUEST_OS_ID.
    pub(crate) fn guest_os_id(&self) -> u64 {
        lock(&self.state).guest_os_id
    }

    /// Writes HV_X64_MSR_GUEST_OS_ID. Zero takes the hypercall page away, unless it is locked.
    pub(crate) fn set_guest_os_id(&self, value: u64, space: &Space, view: ViewId) {
        let mut state = lock(&self.state);
        state.guest_os_id = value;
        if value == 0 && !state.msr.locked() {
            let disabled = state.msr.with_enable(false);
            self.apply(&mut state, disabled, space, view);
        }
    }

    /// HV_X64_MSR_HYPERCALL.
    pub(crate) fn msr(&self) -> Hypercall {
        lock(&self.state).msr
    }

    /// Writes HV_X64_MSR_HYPERCALL. A locked register does not change; without a guest OS id it cannot be enabled, and where it cannot be locked
    /// the bit for that means nothing.
    pub(crate) fn set_msr(
        &self,
        value: Hypercall,
        lockable: bool,
        space: &Space,
        view: ViewId,
    ) -> Result<(), BeyondSpace> {
        let value = value.with_locked(value.locked() && lockable);
        let mut state = lock(&self.state);
        if state.msr.locked() {
            return Ok(());
        }
        if value.gpa_page_number() >= space.end() {
            return Err(BeyondSpace);
        }
        let value = value.with_enable(value.enable() && state.guest_os_id != 0);
        self.apply(&mut state, value, space, view);
        Ok(())
    }

    fn apply(&self, state: &mut State, value: Hypercall, space: &Space, view: ViewId) {
        state.msr = value;
        self.enabled.store(value.enable(), Ordering::Release);
        state.overlay.place(space, view, value.enable().then(|| value.gpa_page_number()));
    }

    /// As at creation.
    pub(crate) fn reset(&self, space: &Space, view: ViewId) {
        let mut state = lock(&self.state);
        state.guest_os_id = 0;
        self.apply(&mut state, Hypercall::new(), space, view);
    }
}
