// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic MSRs (TLFS Appendix C). Each access is checked against what the partition was offered before it gets here.

use engine::DescriptorTableGuard;
use tlfs::msr::{
    self, CrashCtl, NpiepConfig, OverlayPage, Scontrol, Sint, StimeUnhaltedTimerConfig, StimerConfig,
};

use super::{GeneralProtection, Written};
use crate::crash::CrashRegisters;
use crate::enlightenment::Enlightenment;
use crate::local_apic::Effect;
use crate::partition::view_of;
use crate::synic::SintIndex;
use crate::synthetic_timer::ReservedBits;
use crate::vp::{Vp, VpExit, VpOverlays};

/// Lowest vector of a SINT that is not masked (TLFS 11.8.5).
const FIRST_VECTOR: u8 = tlfs::interrupt::MIN_FIXED_VECTOR;

/// A register of a synthetic timer.
enum TimerRegister {
    Config(usize),
    Count(usize),
    UnhaltedConfig,
    UnhaltedCount,
}

/// The timer register with this number, which is one.
fn timer_register(number: u32) -> TimerRegister {
    match number {
        msr::STIME_UNHALTED_TIMER_CONFIG => TimerRegister::UnhaltedConfig,
        msr::STIME_UNHALTED_TIMER_COUNT => TimerRegister::UnhaltedCount,
        _ => {
            let index = (number - msr::STIMER0_CONFIG) as usize;
            if index.is_multiple_of(2) {
                TimerRegister::Config(index / 2)
            } else {
                TimerRegister::Count(index / 2)
            }
        }
    }
}

fn sint_index(number: u32) -> Result<SintIndex, GeneralProtection> {
    SintIndex::new((number - msr::SINT0) as u8).ok_or(GeneralProtection)
}

impl From<ReservedBits> for GeneralProtection {
    fn from(_: ReservedBits) -> Self {
        Self
    }
}

/// A value whose reserved bits must be zero.
fn within(value: u64, defined: u64) -> Result<u64, GeneralProtection> {
    if value & !defined == 0 { Ok(value) } else { Err(GeneralProtection) }
}

impl Vp {
    pub(super) fn read_synthetic(&mut self, number: u32) -> Result<u64, GeneralProtection> {
        if !self.partition.offer().may_read(number) {
            return Err(GeneralProtection);
        }
        self.synthetic(number)
    }

    /// What a synthetic MSR holds, whoever may know it.
    pub(crate) fn synthetic(&mut self, number: u32) -> Result<u64, GeneralProtection> {
        let partition = &*self.partition;
        let per_partition = partition.vtl(self.active_vtl);
        // The time is asked for often, and needs no lock.
        let state = || partition.vp(self.index).state();
        let vtl = self.active_vtl;
        Ok(match number {
            msr::GUEST_OS_ID => per_partition.hypercall_page.guest_os_id(),
            msr::HYPERCALL => per_partition.hypercall_page.msr().into_bits(),
            msr::VP_INDEX => self.index.into(),
            msr::RESET | msr::EOM | msr::GUEST_IDLE => 0,
            msr::VP_RUNTIME => partition.reference_time().at(self.consumed()),
            msr::TIME_REF_COUNT => partition.reference_time().read(),
            msr::REFERENCE_TSC => per_partition.reference_tsc_page.msr().into_bits(),
            msr::TSC_FREQUENCY => partition.clock().frequency(),
            msr::APIC_FREQUENCY => partition.apic_frequency(),
            msr::NPIEP_CONFIG => self.npiep.into_bits(),
            msr::ICR => state().vtl(vtl).apic.icr(),
            msr::TPR => state().vtl(vtl).apic.tpr().into(),
            msr::VP_ASSIST_PAGE => state().vtl(vtl).eoi_assist.msr().into_bits(),
            msr::SCONTROL => state().vtl(vtl).synic.scontrol().into_bits(),
            msr::SVERSION => msr::SVERSION_VALUE,
            msr::SIEFP => state().vtl(vtl).synic.siefp().into_bits(),
            msr::SIMP => state().vtl(vtl).synic.simp().into_bits(),
            msr::SINT0..=msr::SINT15 => state().vtl(vtl).synic.sint(sint_index(number)?).into_bits(),
            msr::STIMER0_CONFIG..=msr::STIMER3_COUNT
            | msr::STIME_UNHALTED_TIMER_CONFIG
            | msr::STIME_UNHALTED_TIMER_COUNT => {
                let mut state = state();
                let vtl = state.vtl(vtl);
                match timer_register(number) {
                    TimerRegister::Config(index) => vtl.timers[index].config().into_bits(),
                    TimerRegister::Count(index) => vtl.timers[index].count(),
                    TimerRegister::UnhaltedConfig => vtl.unhalted_timer.config().into_bits(),
                    TimerRegister::UnhaltedCount => vtl.unhalted_timer.count(),
                }
            }
            msr::CRASH_P0..=msr::CRASH_P4 => partition.crash.parameter(number - msr::CRASH_P0),
            msr::CRASH_CTL => CrashRegisters::actions().into_bits(),
            _ => return Err(GeneralProtection),
        })
    }

    pub(super) fn write_synthetic(&mut self, number: u32, value: u64) -> Written {
        if !self.partition.offer().may_write(number) {
            return Err(GeneralProtection);
        }
        self.set_synthetic(number, value)
    }

    /// Writes a synthetic MSR, whoever may.
    pub(crate) fn set_synthetic(&mut self, number: u32, value: u64) -> Written {
        match number {
            msr::GUEST_OS_ID | msr::HYPERCALL | msr::REFERENCE_TSC => {
                self.write_partition_page(number, value)?
            }
            msr::VP_ASSIST_PAGE | msr::SIEFP | msr::SIMP => self.write_vp_page(number, value.into()),
            msr::RESET => return Ok((within(value, 1)? == 1).then_some(VpExit::Reset)),
            msr::CRASH_P0..=msr::CRASH_P4 => {
                self.partition.crash.set_parameter(number - msr::CRASH_P0, value)
            }
            msr::CRASH_CTL => {
                let (space, view) = (self.partition.space(), view_of(self.active_vtl));
                let report = self.partition.crash.control(CrashCtl::from_bits(value), space, view);
                return Ok(report.map(VpExit::Crash));
            }
            msr::NPIEP_CONFIG => self.set_npiep(NpiepConfig::from_bits(value))?,
            msr::EOI | msr::ICR | msr::TPR => self.write_apic_register(number, value)?,
            msr::SCONTROL | msr::EOM | msr::SINT0..=msr::SINT15 => {
                self.write_synic_register(number, value)?
            }
            msr::STIMER0_CONFIG..=msr::STIMER3_COUNT
            | msr::STIME_UNHALTED_TIMER_CONFIG
            | msr::STIME_UNHALTED_TIMER_COUNT => self.write_timer(timer_register(number), value)?,
            _ => return Err(GeneralProtection),
        }
        Ok(None)
    }

    /// NPIEP_CONFIG (TLFS 8.12).
    pub(crate) fn set_npiep(&mut self, value: NpiepConfig) -> Result<(), GeneralProtection> {
        within(value.into_bits(), 0xF)?;
        self.npiep = value;
        self.engine.set_descriptor_table_guard(DescriptorTableGuard {
            sgdt: value.prevent_sgdt(),
            sidt: value.prevent_sidt(),
            sldt: value.prevent_sldt(),
            str: value.prevent_str(),
        });
        Ok(())
    }

    fn write_partition_page(&mut self, number: u32, value: u64) -> Result<(), GeneralProtection> {
        let (space, view) = (self.partition.space(), view_of(self.active_vtl));
        let vtl = self.partition.vtl(self.active_vtl);
        let lockable = self.partition.offer().features.hypercall_msr_lock_available();
        match number {
            msr::GUEST_OS_ID => vtl.hypercall_page.set_guest_os_id(value, space, view),
            msr::HYPERCALL => {
                vtl.hypercall_page
                    .set_msr(value.into(), lockable, space, view)
                    .map_err(|_| GeneralProtection)?;
            }
            _ => vtl.reference_tsc_page.set(value.into(), space, view),
        }
        Ok(())
    }

    /// Places one of the VP's own overlay pages. The register changes first: what is sent to the page before it lies in its new place is in
    /// the page all the same.
    fn write_vp_page(&mut self, number: u32, value: OverlayPage) {
        {
            let mut state = self.partition.vp(self.index).state();
            let vtl = state.vtl(self.active_vtl);
            match number {
                msr::VP_ASSIST_PAGE => vtl.set_assist_page(value),
                msr::SIEFP => vtl.synic.set_siefp(value),
                _ => vtl.synic.set_simp(value),
            }
        }
        let VpOverlays { message, event_flags, assist } = &mut self.overlays[usize::from(self.active_vtl.0)];
        let overlay = match number {
            msr::VP_ASSIST_PAGE => assist,
            msr::SIEFP => event_flags,
            _ => message,
        };
        let gpn = value.enable().then(|| value.gpa_page_number());
        overlay.place(self.partition.space(), view_of(self.active_vtl), gpn);
        self.look_again();
    }

    /// EOI, ICR and TPR (TLFS 10.2.3).
    fn write_apic_register(&mut self, number: u32, value: u64) -> Result<(), GeneralProtection> {
        let effect = {
            let mut state = self.partition.vp(self.index).state();
            let vtl = state.vtl(self.active_vtl);
            let effect = match number {
                msr::EOI => {
                    within(value, u64::from(u32::MAX))?;
                    vtl.before_end_of_interrupt();
                    Effect::EndOfInterrupt(vtl.apic.end_of_interrupt())
                }
                msr::ICR => vtl.apic.set_icr(value),
                _ => {
                    vtl.apic.set_tpr(within(value, 0xFF)? as u8);
                    Effect::None
                }
            };
            vtl.after_register_write(effect, self.partition.reference_time());
            effect
        };
        self.apply_apic_effect(effect);
        Ok(())
    }

    fn write_synic_register(&mut self, number: u32, value: u64) -> Result<(), GeneralProtection> {
        let reference_time = self.partition.reference_time().at(self.partition.clock().now());
        {
            let mut state = self.partition.vp(self.index).state();
            let vtl = state.vtl(self.active_vtl);
            match number {
                msr::SCONTROL => vtl.synic.set_scontrol(Scontrol::from_bits(value)),
                msr::EOM => vtl.rescan(reference_time),
                _ => {
                    let sint = Sint::from_bits(value);
                    if !sint.masked() && sint.vector() < FIRST_VECTOR {
                        return Err(GeneralProtection);
                    }
                    vtl.synic.set_sint(sint_index(number)?, sint);
                }
            }
        }
        self.look_again();
        Ok(())
    }

    fn write_timer(&mut self, register: TimerRegister, value: u64) -> Result<(), GeneralProtection> {
        let partition = &*self.partition;
        let reference_time = partition.reference_time();
        let now = reference_time.at(partition.clock().now());
        let direct_mode = partition.offer().enlightenments.contains(Enlightenment::UseDirectSyntheticTimers);
        {
            let mut state = partition.vp(self.index).state();
            let vtl = state.vtl(self.active_vtl);
            match register {
                TimerRegister::Config(index) => {
                    vtl.timers[index].set_config(StimerConfig::from_bits(value), direct_mode, now)?;
                }
                TimerRegister::Count(index) => vtl.timers[index].set_count(value, now),
                TimerRegister::UnhaltedConfig => {
                    vtl.unhalted_timer.set_config(StimeUnhaltedTimerConfig::from_bits(value), now)?;
                }
                TimerRegister::UnhaltedCount => vtl.unhalted_timer.set_count(value, now),
            }
            vtl.timers_changed(reference_time);
        }
        self.look_again();
        Ok(())
    }
}
