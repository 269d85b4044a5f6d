// SPDX-License-Identifier: MIT OR Apache-2.0
//! The MSRs of the local APIC: its base, its deadline, and in x2APIC mode its registers.

use x86::apic::{register, x2apic_msr};
use x86::msr as x86_msr;

use super::{GeneralProtection, Written};
use crate::local_apic::RegisterError;
use crate::vp::Vp;

impl From<RegisterError> for GeneralProtection {
    fn from(_: RegisterError) -> Self {
        Self
    }
}

impl Vp {
    pub(crate) fn read_apic_msr(&mut self, number: u32) -> Result<u64, GeneralProtection> {
        let (vtl, now) = (self.active_vtl, self.partition.clock().now());
        let mut state = self.shared().state();
        let vtl = state.vtl(vtl);
        vtl.settle_eoi_assist();
        match number {
            x86_msr::IA32_APIC_BASE => Ok(vtl.apic.base()),
            x86_msr::IA32_TSC_DEADLINE => Ok(vtl.apic.tsc_deadline()),
            register => Ok(vtl.apic.read_msr(register, now)?),
        }
    }

    pub(crate) fn write_apic_msr(&mut self, number: u32, value: u64) -> Written {
        const EOI: u32 = x2apic_msr(register::EOI);
        let (vtl, now) = (self.active_vtl, self.partition.clock().now());
        let mut state = self.shared().state();
        let vtl = state.vtl(vtl);
        match number {
            x86_msr::IA32_APIC_BASE => {
                vtl.before_end_of_interrupt();
                vtl.apic.set_base(value, self.partition.space().address_bits())?;
                let page = vtl.apic.page();
                drop(state);
                self.set_apic_page(page);
                self.look_again();
            }
            x86_msr::IA32_TSC_DEADLINE => {
                vtl.apic.set_tsc_deadline(value);
                drop(state);
                self.look_again();
            }
            register => {
                if register == EOI {
                    vtl.before_end_of_interrupt();
                }
                let effect = vtl.apic.write_msr(register, value, now)?;
                vtl.after_register_write(effect, self.partition.reference_time());
                drop(state);
                self.apply_apic_effect(effect);
            }
        }
        Ok(None)
    }
}
