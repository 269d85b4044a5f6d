// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers of a VP by the names that the interface gives them (TLFS 7.3, 7.8.2, 7.10): what HvCallGetVpRegisters and HvCallSetVpRegisters do,
//! and the same for whoever holds the VP.
//!
//! [`place`](place::place) says where a register lives; this module and its children get and set what is there. To set checks what one value can be checked
//! for by itself, and has no other effect (TLFS 7.10.1): combinations that no processor allows show when the VP runs.

mod check;
mod events;
mod floating;
mod place;
pub(crate) mod request;

use engine::{ModelSpecificRegisters, SegmentName};
use tlfs::HvStatus;
use tlfs::msr;
use tlfs::register::{
    self as values, InterceptSuspendRegister, InterruptStateRegister, RegisterInfo, RegisterName,
    RegisterValue,
};
use x86::control::{Cr0, Cr4, Efer};
use x86::msr as x86_msr;
use x86::segment::{Segment, SegmentAttributes, Selector, TableRegister};

use crate::vp::Vp;
use place::{Place, place};

pub(crate) use check::is_valid_context;
pub use place::register_refusal;

/// The MSR with this number among those that engines keep.
fn engine_msr(msrs: &mut ModelSpecificRegisters, number: u32) -> &mut u64 {
    match number {
        x86_msr::IA32_KERNEL_GS_BASE => &mut msrs.kernel_gs_base,
        x86_msr::IA32_PAT => &mut msrs.pat,
        x86_msr::IA32_SYSENTER_CS => &mut msrs.sysenter_cs,
        x86_msr::IA32_SYSENTER_EIP => &mut msrs.sysenter_eip,
        x86_msr::IA32_SYSENTER_ESP => &mut msrs.sysenter_esp,
        x86_msr::IA32_STAR => &mut msrs.star,
        x86_msr::IA32_LSTAR => &mut msrs.lstar,
        x86_msr::IA32_CSTAR => &mut msrs.cstar,
        _ => &mut msrs.sfmask,
    }
}

pub(crate) fn from_segment(segment: Segment) -> RegisterValue {
    let attributes = values::SegmentAttributes::from_bits(segment.attributes.into_bits());
    let (base, limit, selector) = (segment.base, segment.limit, segment.selector.into_bits());
    values::SegmentRegister { base, limit, selector, attributes }.into()
}

pub(crate) fn to_segment(register: values::SegmentRegister) -> Segment {
    Segment {
        base: register.base,
        limit: register.limit,
        selector: Selector::from_bits(register.selector),
        attributes: SegmentAttributes::from_bits(register.attributes.into_bits()),
    }
}

fn from_table(table: TableRegister) -> RegisterValue {
    values::TableRegister { pad: [0; 3], limit: table.limit, base: table.base }.into()
}

pub(crate) fn to_table(register: values::TableRegister) -> TableRegister {
    TableRegister { base: register.base, limit: register.limit }
}

/// A register that exists, with its place.
fn find(name: RegisterName) -> Result<(&'static RegisterInfo, Place), HvStatus> {
    let found = values::info(name).zip(place(name));
    found.ok_or(HvStatus::INVALID_PARAMETER)
}

/// What a guest may do with registers of its own VPs.
pub(crate) mod guest_may {
    use super::{HvStatus, Place, RegisterName, find};
    use crate::enlightenment::Offer;

    /// Whether a guest may get a register: not one whose MSR it may not read.
    pub(crate) fn get(name: RegisterName, offer: &Offer) -> Result<(), HvStatus> {
        match find(name)? {
            (_, Place::SyntheticMsr(number)) if !offer.may_read(number) => Err(HvStatus::ACCESS_DENIED),
            _ => Ok(()),
        }
    }

    /// Whether a guest may set a register: only those that TLFS 7.10.1 lists.
    pub(crate) fn set(name: RegisterName, offer: &Offer) -> Result<(), HvStatus> {
        match find(name)? {
            (info, _) if !info.guest_settable => Err(HvStatus::INVALID_PARAMETER),
            (_, Place::SyntheticMsr(number)) if !offer.may_write(number) => Err(HvStatus::ACCESS_DENIED),
            _ => Ok(()),
        }
    }
}

impl Vp {
    /// Gets a register (TLFS 7.10.2).
    ///
    /// # Errors
    /// INVALID_PARAMETER if there is no such register, or it can only be set.
    pub fn register(&mut self, name: RegisterName) -> Result<RegisterValue, HvStatus> {
        let (info, place) = find(name)?;
        if info.access == msr::Access::WriteOnly {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        self.get(place)
    }

    /// Sets a register (TLFS 7.10.1), which takes effect with the next run. To clear InterceptSuspend lets a VP that waits for its parent go on.
    ///
    /// # Errors
    /// INVALID_PARAMETER if there is no such register, or it can only be got; INVALID_REGISTER_VALUE if it cannot have this value.
    pub fn set_register(&mut self, name: RegisterName, value: RegisterValue) -> Result<(), HvStatus> {
        let place = self.check_register(name, value)?;
        self.set(place, value)
    }

    /// Whether a register can be set to a value, as far as the value alone tells; and where the register lives.
    fn check_register(&mut self, name: RegisterName, value: RegisterValue) -> Result<Place, HvStatus> {
        let (info, place) = find(name)?;
        if info.access == msr::Access::ReadOnly {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        if (info.width <= 64 && value.high != 0) || !self.accepts(place, value) {
            return Err(HvStatus::INVALID_REGISTER_VALUE);
        }
        Ok(place)
    }

    fn get(&mut self, place: Place) -> Result<RegisterValue, HvStatus> {
        let engine = &*self.engine;
        let value: u64 = match place {
            Place::ExplicitSuspend => self.partition.is_explicitly_suspended(self.index).into(),
            Place::InterceptSuspend => self.shared().state().intercept_suspend.into_bits(),
            Place::PendingInterruption => events::pending_interruption(engine.events()).into_bits(),
            Place::InterruptState => {
                let events = engine.events();
                InterruptStateRegister::new()
                    .with_interrupt_shadow(events.interrupt_shadow)
                    .with_nmi_masked(events.nmi_blocked)
                    .into_bits()
            }
            Place::PendingEvent(0) => return Ok(events::pending_event(engine.events()).into()),
            Place::PendingEvent(_) | Place::Zero => 0,
            Place::Gpr(register) => engine.gpr(register),
            Place::Rip => engine.rip(),
            Place::Rflags => engine.rflags(),
            Place::Xmm(index) => return Ok(engine.xmm(index).into()),
            Place::YmmHigh(index) => return floating::ymm_high(&engine.save().xsave, index),
            Place::FpMmx(index) => return Ok(floating::fp_mmx(&engine.save().xsave, index)),
            Place::FpControlStatus => return Ok(floating::fp_control_status(&engine.save().xsave)),
            Place::XmmControlStatus => return Ok(floating::xmm_control_status(&engine.save().xsave)),
            Place::Cr0 => engine.control().cr0,
            Place::Cr2 => engine.control().cr2,
            Place::Cr3 => engine.control().cr3,
            Place::Cr4 => engine.control().cr4,
            Place::Xfem => engine.control().xcr0,
            Place::Efer => engine.control().efer,
            Place::Cr8 => {
                let vtl = self.active_vtl;
                self.shared().state().vtl(vtl).apic.cr8().into()
            }
            Place::Dr(index) => engine.debug().dr[usize::from(index)],
            Place::Dr6 => engine.debug().dr6,
            Place::Dr7 => engine.debug().dr7,
            Place::Segment(name) => return Ok(from_segment(engine.segment(name))),
            Place::Idtr => return Ok(from_table(engine.idtr())),
            Place::Gdtr => return Ok(from_table(engine.gdtr())),
            Place::Tsc => self.partition.clock().now().wrapping_add(engine.msrs().tsc_offset),
            Place::InitialApicId => self.shared().apic_id().into(),
            Place::EngineMsr(number) => *engine_msr(&mut engine.msrs(), number),
            Place::ProcessorMsr(number) => {
                let vendor = self.partition.processor().vendor();
                self.processor_msrs.read(number, vendor).ok_or(HvStatus::INVALID_PARAMETER)?
            }
            Place::ApicBase => {
                self.read_apic_msr(x86_msr::IA32_APIC_BASE).map_err(|_| HvStatus::INVALID_PARAMETER)?
            }
            Place::SyntheticMsr(number) => self.synthetic(number).map_err(|_| HvStatus::INVALID_PARAMETER)?,
            Place::Cpuid(leaf) => {
                let result = self.cpuid_result(leaf, 0);
                let [a, b, c, d] = [result.eax, result.ebx, result.ecx, result.edx].map(u64::from);
                return Ok(RegisterValue { low: b << 32 | a, high: d << 32 | c });
            }
        };
        Ok(value.into())
    }

    /// Sets what [`Vp::accepts`] has accepted.
    fn set(&mut self, place: Place, value: RegisterValue) -> Result<(), HvStatus> {
        let RegisterValue { low, .. } = value;
        match place {
            Place::ExplicitSuspend => self.partition.set_explicit_suspend(self.index, low & 1 != 0),
            Place::InterceptSuspend => {
                self.partition.set_intercept_suspend(self.index, InterceptSuspendRegister::from_bits(low));
            }
            Place::PendingInterruption | Place::InterruptState | Place::PendingEvent(_) => {
                self.set_events(place, value)
            }
            Place::Gpr(register) => self.engine.set_gpr(register, low),
            Place::Rip => self.engine.set_rip(low),
            Place::Rflags => self.engine.set_rflags(low),
            Place::Xmm(index) => self.engine.set_xmm(index, value.into()),
            Place::YmmHigh(_) | Place::FpMmx(_) | Place::FpControlStatus | Place::XmmControlStatus => {
                let mut area = self.engine.save().xsave;
                floating::set(&mut area, place, value)?;
                self.engine.set_xsave(&area);
            }
            Place::Cr0 | Place::Cr2 | Place::Cr3 | Place::Cr4 | Place::Xfem | Place::Efer => {
                let mut control = self.engine.control();
                *(match place {
                    Place::Cr0 => &mut control.cr0,
                    Place::Cr2 => &mut control.cr2,
                    Place::Cr3 => &mut control.cr3,
                    Place::Cr4 => &mut control.cr4,
                    Place::Xfem => &mut control.xcr0,
                    _ => &mut control.efer,
                }) = low;
                self.engine.set_control(control);
            }
            Place::Cr8 => {
                let vtl = self.active_vtl;
                self.shared().state().vtl(vtl).apic.set_cr8(low as u8);
            }
            Place::Dr(_) | Place::Dr6 | Place::Dr7 => {
                let mut debug = self.engine.debug();
                *(match place {
                    Place::Dr(index) => &mut debug.dr[usize::from(index)],
                    Place::Dr6 => &mut debug.dr6,
                    _ => &mut debug.dr7,
                }) = low;
                self.engine.set_debug(debug);
            }
            Place::Segment(name) => self.engine.set_segment(name, to_segment(value.into())),
            Place::Idtr => self.engine.set_idtr(to_table(value.into())),
            Place::Gdtr => self.engine.set_gdtr(to_table(value.into())),
            Place::Tsc => {
                let tsc_offset = low.wrapping_sub(self.partition.clock().now());
                self.engine.set_msrs(ModelSpecificRegisters { tsc_offset, ..self.engine.msrs() });
            }
            Place::EngineMsr(number) => {
                let mut msrs = self.engine.msrs();
                *engine_msr(&mut msrs, number) = low;
                self.engine.set_msrs(msrs);
            }
            Place::ProcessorMsr(number) => {
                let (vendor, bits) =
                    (self.partition.processor().vendor(), self.partition.space().address_bits());
                let written = self.processor_msrs.write(number, low, vendor, bits);
                written.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
            }
            Place::ApicBase => {
                let written = self.write_apic_msr(x86_msr::IA32_APIC_BASE, low);
                written.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
            }
            Place::SyntheticMsr(number) => {
                // A crash report by a register is the parent's own, which need not be told.
                let written = self.set_synthetic(number, low);
                written.map_err(|_| HvStatus::INVALID_REGISTER_VALUE)?;
            }
            Place::InitialApicId | Place::Cpuid(_) | Place::Zero => {}
        }
        self.registers_set = true;
        self.look_again();
        Ok(())
    }

    /// Whether the modes that the registers name can be together, which setting them one by one does not make sure of (TLFS 7.3).
    pub(crate) fn registers_agree(&self) -> bool {
        let control = self.engine.control();
        let (cr0, cr4, efer) =
            (Cr0::from_bits(control.cr0), Cr4::from_bits(control.cr4), Efer::from_bits(control.efer));
        let long = efer.lme() && cr0.pg();
        (cr0.pe() || !cr0.pg()) && efer.lma() == long && (!long || cr4.pae())
    }

    /// Whether a register that this place is holds what the hypercall that sets it still needs: the mode of the caller, and where it goes on.
    fn is_of_the_call(place: Place) -> bool {
        matches!(place, Place::Rip | Place::Segment(SegmentName::Cs | SegmentName::Ss) | Place::Efer)
    }
}
