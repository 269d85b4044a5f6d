// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one value can be checked for by itself before a register is set to it: bits that do not exist or are fixed (TLFS 7.10.1).

use engine::SegmentName;
use tlfs::register::{
    self as values, PendingEvent, PendingExceptionEvent, PendingInterruptionType, RegisterValue,
};
use tlfs::vp::InitialVpContext;
use x86::memory_type::Pat;
use x86::msr as x86_msr;

use super::place::Place;
use crate::partition::Partition;
use crate::vp::Vp;

/// CR0: PE, MP, EM, TS, ET, NE, WP, AM, NW, CD, PG; ET is always set.
const CR0: u64 = 0xE005_003F;
const CR0_ET: u64 = 1 << 4;
/// EFER: SCE, LME, LMA, NXE.
const EFER: u64 = 0xD01;
/// RFLAGS without its reserved bits, and the bit that is always set.
const RFLAGS: u64 = 0x3F_7FD5 | RFLAGS_FIXED;
const RFLAGS_FIXED: u64 = 2;
const DR7_FIXED: u64 = 1 << 10;

/// Granularity, bit 15 of the attributes.
fn limit_fits(segment: values::SegmentRegister) -> bool {
    // With 4 KiB granularity every limit ends in ones.
    !segment.attributes.granularity() || segment.limit & 0xFFF == 0xFFF
}

impl Vp {
    /// Whether a register at this place can have the value.
    pub(super) fn accepts(&self, place: Place, value: RegisterValue) -> bool {
        self.partition.accepts(place, value)
    }
}

/// Whether each register of a state to start in can have its value.
pub(crate) fn is_valid_context(partition: &Partition, context: &InitialVpContext) -> bool {
    let cr0 = context.cr0 | CR0_ET;
    let values: [(Place, RegisterValue); 13] = [
        (Place::Rflags, context.rflags.into()),
        (Place::Cr0, cr0.into()),
        (Place::Cr3, context.cr3.into()),
        (Place::Cr4, context.cr4.into()),
        (Place::Efer, context.efer.into()),
        (Place::EngineMsr(x86_msr::IA32_PAT), context.msr_cr_pat.into()),
        (Place::Idtr, context.idtr.into()),
        (Place::Gdtr, context.gdtr.into()),
        (Place::Segment(SegmentName::Cs), context.cs.into()),
        (Place::Segment(SegmentName::Ss), context.ss.into()),
        (Place::Segment(SegmentName::Ds), context.ds.into()),
        (Place::Segment(SegmentName::Tr), context.tr.into()),
        (Place::Segment(SegmentName::Ldtr), context.ldtr.into()),
    ];
    values.into_iter().all(|(place, value)| partition.accepts(place, value))
}

impl Partition {
    fn accepts(&self, place: Place, value: RegisterValue) -> bool {
        let within = |bits: u64| value.low & !bits == 0;
        match place {
            Place::ExplicitSuspend => within(1),
            Place::InterceptSuspend | Place::InterruptState => within(3),
            Place::PendingInterruption => {
                let register = values::PendingInterruptionRegister::from_bits(value.low);
                !register.interruption_pending()
                    || register.interruption_vector() < 256
                        && register.interruption_type().name().is_some()
                        && (register.interruption_type() != PendingInterruptionType::EXCEPTION
                            || register.interruption_vector() < 32)
            }
            Place::PendingEvent(0) => {
                let PendingExceptionEvent { event, .. } = value.into();
                !event.event_pending() || event.event_type() == 0 && event.vector() < 32
            }
            Place::PendingEvent(_) => !PendingEvent::from_bits(value.low).event_pending(),
            Place::Rflags => within(RFLAGS) && value.low & RFLAGS_FIXED != 0,
            Place::Cr0 => within(CR0) && value.low & CR0_ET != 0,
            Place::Cr3 => value.low >> self.space().address_bits() == 0,
            Place::Cr4 => within(self.processor().cr4_bits()),
            Place::Cr8 => within(0xF),
            Place::Xfem => value.low & 1 != 0 && within(self.processor().xcr0_bits()),
            Place::Efer => within(EFER),
            Place::Dr6 => within(u64::from(u32::MAX)),
            Place::Dr7 => within(u64::from(u32::MAX)) && value.low & DR7_FIXED != 0,
            Place::Segment(_) => limit_fits(value.into()),
            Place::Idtr | Place::Gdtr => values::TableRegister::from(value).pad == [0; 3],
            Place::EngineMsr(x86_msr::IA32_PAT) => Pat::from_bits(value.low).is_some(),
            _ => true,
        }
    }
}
