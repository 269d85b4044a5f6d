// SPDX-License-Identifier: MIT OR Apache-2.0
//! Synthetic machine checks (TLFS 7.7, 7.8.4 to 7.8.6): a parent tells the system in a VP of an error of the platform. The parent of a partition is its host
//! program.
//!
//! The event's status has the form of a bank of the machine-check architecture (SDM 3B 16.3.2), so it is in such a bank that the guest finds it: the only
//! one, which exists where synthetic machine checks are offered. What is reported there is what was injected.

use tlfs::HvStatus;
use tlfs::register::{SYNMC_MCA_ERROR_CODE, SynmcStatus, SynmcX64Event};
use x86::machine_check::{McgCap, McgStatus};
use x86::msr;

use crate::enlightenment::Enlightenment;
use crate::msr::GeneralProtection;
use crate::partition::Partition;
use crate::processor::Vendor;
use crate::vp::state::RunState;

/// Bits of [`SynmcStatus`] that nothing defines.
const STATUS_RESERVED: u64 = 0x7F_FFFF << 32;

/// What a machine check tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineCheck {
    status: SynmcStatus,
    address: u64,
    misc: u64,
    /// The interrupted code can go on.
    rip_valid: bool,
    /// The interrupted instruction has to do with the error.
    eip_valid: bool,
}

state::state!(MachineCheck { status as bits, address, misc, rip_valid, eip_valid });

impl MachineCheck {
    /// What an event says, if it says it as it has to.
    fn of(event: &SynmcX64Event) -> Option<Self> {
        let SynmcX64Event { status, addr: address, misc, rip_valid, eip_valid, reserved } = *event;
        let well_formed = status.valid()
            && status.mca_error_code() == SYNMC_MCA_ERROR_CODE
            && status.into_bits() & STATUS_RESERVED == 0
            && reserved == [0; 6];
        let (rip_valid, eip_valid) = (rip_valid != 0, eip_valid != 0);
        well_formed.then_some(Self { status, address, misc, rip_valid, eip_valid })
    }

    /// The guest did what no overlay page at `gpa` allows (TLFS 8.8); it may try again.
    pub(crate) fn at_overlay(gpa: u64) -> Self {
        let status = SynmcStatus::new()
            .with_mca_error_code(SYNMC_MCA_ERROR_CODE)
            .with_software_error(true)
            .with_address_valid(true)
            .with_error_enabled(true)
            .with_uncorrected(true)
            .with_valid(true);
        Self { status, address: gpa, misc: 0, rip_valid: true, eip_valid: true }
    }

    /// This one, and a second before anybody has looked at it. Of two the one that was not corrected stays, else the first; that another is lost is told
    /// (SDM 3B 16.3.2.2.1), and code goes on only if both let it.
    fn and(self, second: Self) -> Self {
        let second_counts = second.status.uncorrected() && !self.status.uncorrected();
        let kept = if second_counts { second } else { self };
        let rip_valid = self.rip_valid && second.rip_valid;
        Self { status: kept.status.with_overflow(true), rip_valid, ..kept }
    }
}

/// The registers in which a VP finds what a machine check tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineCheckRegisters {
    mcg_status: McgStatus,
    /// Where synthetic machine checks are offered.
    bank: Option<Bank>,
}

state::state!(MachineCheckRegisters { mcg_status as bits, bank });

/// A bank: what is enabled, status, address and miscellaneous word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bank {
    /// The guest's word on what it wants to hear of; what the parent injects is the parent's.
    control: u64,
    status: SynmcStatus,
    address: u64,
    misc: u64,
}

state::state!(Bank { control, status as bits, address, misc });

impl MachineCheckRegisters {
    /// As after a reset.
    pub(crate) fn new(offered: bool) -> Self {
        Self { mcg_status: McgStatus::new(), bank: offered.then(Bank::default) }
    }

    /// Takes up a machine check that is about to be delivered. False if the guest is still busy with the one before, which shuts the processor down.
    pub(crate) fn report(&mut self, check: MachineCheck) -> bool {
        let busy = self.mcg_status.in_progress();
        self.mcg_status = McgStatus::new()
            .with_rip_valid(check.rip_valid)
            .with_eip_valid(check.eip_valid)
            .with_in_progress(true);
        if let Some(bank) = &mut self.bank {
            bank.report(check);
        }
        !busy
    }

    /// RDMSR; `None` is #GP.
    pub(crate) fn read(&self, number: u32, vendor: Vendor) -> Option<u64> {
        Some(match number {
            msr::IA32_MCG_CAP => {
                // That bits 55 and 56 of a status tell how to recover is Intel's word.
                let recovery = self.bank.is_some() && vendor == Vendor::Intel;
                let cap = McgCap::new().with_bank_count(self.bank.is_some().into());
                cap.with_software_recovery(recovery).into_bits()
            }
            msr::IA32_MCG_STATUS => self.mcg_status.into_bits(),
            msr::IA32_MC0_CTL => self.bank?.control,
            msr::IA32_MC0_STATUS => self.bank?.status.into_bits(),
            msr::IA32_MC0_ADDR => self.bank?.address,
            msr::IA32_MC0_MISC => self.bank?.misc,
            _ => return None,
        })
    }

    /// WRMSR. What a bank tells can only be taken back, by writing zero (SDM 3B 16.3.2.2 to 16.3.2.4), unless it may be `made_up`, which software of AMD's
    /// processors asks for (HWCR.McStatusWrEn).
    pub(crate) fn write(&mut self, number: u32, value: u64, made_up: bool) -> Result<(), GeneralProtection> {
        let bank = self.bank.as_mut().ok_or(GeneralProtection);
        match number {
            msr::IA32_MCG_STATUS if value <= 7 => self.mcg_status = McgStatus::from_bits(value),
            msr::IA32_MC0_CTL => bank?.control = value,
            msr::IA32_MC0_STATUS if made_up || value == 0 => bank?.status = SynmcStatus::from_bits(value),
            msr::IA32_MC0_ADDR if made_up || value == 0 => bank?.address = value,
            msr::IA32_MC0_MISC if made_up || value == 0 => bank?.misc = value,
            _ => return Err(GeneralProtection),
        }
        Ok(())
    }
}

impl Bank {
    fn report(&mut self, check: MachineCheck) {
        let before = MachineCheck {
            status: self.status,
            address: self.address,
            misc: self.misc,
            ..MachineCheck::default()
        };
        let kept = if self.status.valid() { before.and(check) } else { check };
        (self.status, self.address, self.misc) = (kept.status, kept.address, kept.misc);
    }
}

impl Partition {
    /// Injects a synthetic machine check into a VP, as HvInjectSyntheticMachineCheck does (TLFS 7.7): the VP takes #MC before its next instruction, whatever it
    /// masks, and finds the event in IA32_MCG_STATUS and bank 0. One that is suspended takes it when it goes on. A second event before the guest has read the
    /// first is told there as an overflow.
    ///
    /// While something else is being delivered, or an instruction is under way, it waits for that; in a handler of NMIs perhaps until IRET.
    ///
    /// A VP whose CR4.MCE is clear, or whose guest still has IA32_MCG_STATUS.MCIP set, shuts down: [`crate::VpExit::TripleFault`].
    ///
    /// INVALID_VP_INDEX answers a VP that does not exist, FEATURE_UNAVAILABLE a partition that is not offered
    /// [`Enlightenment::SyntheticMachineCheck`], INVALID_PARAMETER a status that is not valid or has another error code than
    /// [`SYNMC_MCA_ERROR_CODE`], and reserved bits, INVALID_VP_STATE a VP that waits for its start.
    pub fn inject_synthetic_machine_check(&self, vp: u32, event: &SynmcX64Event) -> HvStatus {
        if vp >= self.vp_count() {
            return HvStatus::INVALID_VP_INDEX;
        }
        if !self.offer().enlightenments.contains(Enlightenment::SyntheticMachineCheck) {
            return HvStatus::FEATURE_UNAVAILABLE;
        }
        let Some(check) = MachineCheck::of(event) else { return HvStatus::INVALID_PARAMETER };
        let vp = self.vp(vp);
        let mut state = vp.state();
        if state.run_state() == RunState::WaitForStartUp {
            return HvStatus::INVALID_VP_STATE;
        }
        state.machine_check = Some(state.machine_check.map_or(check, |first| first.and(check)));
        drop(state);
        vp.notify();
        HvStatus::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bank_is_where_machine_checks_are_offered() {
        let cap = |offered, vendor| MachineCheckRegisters::new(offered).read(msr::IA32_MCG_CAP, vendor);
        assert_eq!((cap(false, Vendor::Intel), cap(false, Vendor::Amd)), (Some(0), Some(0)));
        assert_eq!((cap(true, Vendor::Intel), cap(true, Vendor::Amd)), (Some(1 << 24 | 1), Some(1)));
        let mut none = MachineCheckRegisters::new(false);
        for number in msr::IA32_MC0_CTL..=msr::IA32_MC0_MISC {
            assert_eq!(none.read(number, Vendor::Amd), None);
            assert!(none.write(number, 0, true).is_err());
        }
        assert!(none.write(msr::IA32_MCG_STATUS, 4, false).is_ok());
        assert_eq!(none.read(msr::IA32_MCG_STATUS, Vendor::Amd), Some(4));
    }

    #[test]
    fn what_a_bank_tells_is_made_up_where_that_is_asked_for_alone() {
        let mut registers = MachineCheckRegisters::new(true);
        for number in msr::IA32_MC0_STATUS..=msr::IA32_MC0_MISC {
            assert!(registers.write(number, 5, false).is_err(), "{number:#x}");
            assert_eq!(registers.read(number, Vendor::Amd), Some(0));
            assert!(registers.write(number, 5, true).is_ok());
            assert_eq!(registers.read(number, Vendor::Amd), Some(5));
            assert!(registers.write(number, 0, false).is_ok());
            assert_eq!(registers.read(number, Vendor::Amd), Some(0));
        }
        assert!(registers.write(msr::IA32_MCG_CAP, 0, true).is_err());
    }
}
