// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual interrupts that a parent asserts at VPs of a partition (TLFS 10.3, 10.5.1), as HvAssertVirtualInterrupt and
//! HvClearVirtualInterrupt do. The parent of a partition is its host program.

use tlfs::HvStatus;
use tlfs::interrupt::{InterruptControl, InterruptType, InterruptVector};
use tlfs::vsm::Vtl;
use x86::apic::DeliveryMode;

use crate::local_apic::{Destination, InterruptMessage, LocalApic};
use crate::partition::Partition;
use crate::vp::VpShared;
use crate::vp::state::VTL_COUNT;

/// Types of interrupts that stand while they are asserted and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LevelKind {
    Fixed,
    LowestPriority,
}

/// What a parent has asserted at a VTL of a VP and can still withdraw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Assertions {
    /// The level-triggered vector of each [`LevelKind`] that is not acknowledged yet.
    level: [Option<u8>; 2],
    external: External,
}

/// The external interrupt, which comes from an interrupt controller that the parent emulates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum External {
    #[default]
    Deasserted,
    Asserted(u8),
    /// The VP has taken it, and the parent has not cleared that yet.
    Acknowledged,
}

state::state!(Assertions { level, external });

impl state::State for External {
    fn save(&self, writer: &mut state::Writer) {
        match *self {
            Self::Deasserted => 0u8.save(writer),
            Self::Asserted(vector) => (1u8, vector).save(writer),
            Self::Acknowledged => 2u8.save(writer),
        }
    }

    fn restore(&mut self, reader: &mut state::Reader<'_>) -> Result<(), state::Damaged> {
        *self = match reader.value::<u8>()? {
            0 => Self::Deasserted,
            1 => Self::Asserted(reader.value()?),
            2 => Self::Acknowledged,
            other => return Err(state::Damaged::Value { kind: "external interrupt", value: other.into() }),
        };
        Ok(())
    }
}

impl Assertions {
    /// Asserts a vector, or none, in place of the one that was asserted before and is not acknowledged.
    fn set_level(&mut self, kind: LevelKind, vector: Option<u8>, apic: &mut LocalApic) {
        let slot = &mut self.level[kind as usize];
        if let Some(superseded) = slot.take() {
            apic.withdraw(superseded);
        }
        if let Some(vector) = vector
            && apic.request(vector, true, false)
        {
            *slot = Some(vector);
        }
    }

    /// The VP has taken a vector from its local APIC.
    pub(crate) fn acknowledged(&mut self, vector: u8) {
        for slot in self.level.iter_mut().filter(|slot| **slot == Some(vector)) {
            *slot = None;
        }
    }

    /// The vector of the external interrupt, while it is asserted.
    pub(crate) fn external(&self) -> Option<u8> {
        match self.external {
            External::Asserted(vector) => Some(vector),
            External::Deasserted | External::Acknowledged => None,
        }
    }

    /// The VP has taken the external interrupt.
    pub(crate) fn external_acknowledged(&mut self) {
        self.external = External::Acknowledged;
    }

    fn set_external(&mut self, vector: Option<u8>) -> HvStatus {
        if self.external == External::Acknowledged {
            return HvStatus::ACKNOWLEDGED;
        }
        self.external = vector.map_or(External::Deasserted, External::Asserted);
        HvStatus::SUCCESS
    }

    fn clear_external(&mut self) -> HvStatus {
        if self.external != External::Acknowledged {
            return HvStatus::NOT_ACKNOWLEDGED;
        }
        self.external = External::Deasserted;
        HvStatus::SUCCESS
    }
}

/// What a call asks for, checked.
enum Request {
    /// Withdraw what is asserted, or put a vector in its place.
    Level(LevelKind, Option<u8>),
    /// Send this kind of message with this vector.
    Message(DeliveryMode, u8),
    /// An edge that was latched cannot be taken back.
    Nothing,
}

impl Partition {
    /// Requests a virtual interrupt, as HvAssertVirtualInterrupt does for a parent (TLFS 10.5.1).
    ///
    /// `destination` is an APIC id, or a logical id in the form that the APICs' mode has (8 or 32 bits); 0 for an external interrupt, which goes to VP 0.
    /// [`InterruptVector::NONE`] withdraws a level-triggered interrupt that is not acknowledged yet; with edges it does nothing.
    ///
    /// INVALID_PARAMETER answers a type that does not exist, reserved bits, and a vector above 255 or of a type that has none; INVALID_VP_INDEX a destination
    /// that is nobody; INVALID_VTL_STATE a VTL that does not exist; ACKNOWLEDGED an external interrupt while the last one was taken and
    /// not [cleared](Partition::clear_virtual_interrupt); OPERATION_DENIED an SMI, for there is no system management mode.
    pub fn assert_virtual_interrupt(
        &self,
        control: InterruptControl,
        destination: u64,
        vector: InterruptVector,
        vtl: Vtl,
    ) -> HvStatus {
        self.try_assert(control, destination, vector, vtl).err().unwrap_or(HvStatus::SUCCESS)
    }

    fn try_assert(
        &self,
        control: InterruptControl,
        destination: u64,
        vector: InterruptVector,
        vtl: Vtl,
    ) -> Result<(), HvStatus> {
        let kind = control.interrupt_type();
        let number = match vector {
            InterruptVector::NONE => None,
            InterruptVector(number) => Some(u8::try_from(number).map_err(|_| HvStatus::INVALID_PARAMETER)?),
        };
        if control.reserved_z() != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let level = control.level_triggered();
        let vectored = |mode| number.map_or(Request::Nothing, |vector| Request::Message(mode, vector));
        let request = match kind {
            InterruptType::FIXED if level => Request::Level(LevelKind::Fixed, number),
            InterruptType::LOWEST_PRIORITY if level => Request::Level(LevelKind::LowestPriority, number),
            InterruptType::FIXED => vectored(DeliveryMode::Fixed),
            InterruptType::LOWEST_PRIORITY => vectored(DeliveryMode::LowestPriority),
            InterruptType::SIPI => vectored(DeliveryMode::StartUp),
            InterruptType::NMI | InterruptType::INIT | InterruptType::SMI if number != Some(0) => {
                return Err(HvStatus::INVALID_PARAMETER);
            }
            InterruptType::NMI => Request::Message(DeliveryMode::Nmi, 0),
            InterruptType::INIT => Request::Message(DeliveryMode::Init, 0),
            InterruptType::SMI => return Err(HvStatus::OPERATION_DENIED),
            InterruptType::EXT_INT if destination != 0 => return Err(HvStatus::INVALID_PARAMETER),
            InterruptType::EXT_INT => return self.assert_external(number, vtl),
            _ => return Err(HvStatus::INVALID_PARAMETER),
        };
        if usize::from(vtl.0) >= VTL_COUNT {
            return Err(HvStatus::INVALID_VTL_STATE);
        }
        let destination = self.resolve(destination, control.logical_dest_mode(), vtl)?;
        match request {
            Request::Nothing => {}
            Request::Message(delivery_mode, vector) => {
                self.route(
                    None,
                    vtl,
                    InterruptMessage { destination, delivery_mode, vector, level_triggered: false },
                );
            }
            Request::Level(kind, vector) => self.set_level(kind, vector, destination, vtl),
        }
        Ok(())
    }

    /// Who is meant; at least one VP.
    fn resolve(&self, destination: u64, logical: bool, vtl: Vtl) -> Result<Destination, HvStatus> {
        let address = u32::try_from(destination).map_err(|_| HvStatus::INVALID_PARAMETER)?;
        if !logical {
            let exists = self.vps().any(|vp| vp.apic_id() == address);
            return if exists { Ok(Destination::Physical(address)) } else { Err(HvStatus::INVALID_VP_INDEX) };
        }
        let forms = [false, true].map(|extended| Destination::Logical { address, extended });
        let meant = forms.into_iter().find(|&form| self.vps().any(|vp| is_addressed(vp, vtl, form)));
        meant.ok_or(HvStatus::INVALID_VP_INDEX)
    }

    fn set_level(&self, kind: LevelKind, vector: Option<u8>, destination: Destination, vtl: Vtl) {
        let chosen = match kind {
            LevelKind::Fixed => None,
            // What is asserted stays where it is; who gets the new vector is arbitrated anew.
            LevelKind::LowestPriority => self.lowest_priority(None, vtl, destination).map(VpShared::index),
        };
        for vp in self.vps().filter(|vp| is_addressed(vp, vtl, destination)) {
            let vector = vector.filter(|_| chosen.is_none_or(|index| index == vp.index()));
            let mut state = vp.state();
            let vtl = state.vtl(vtl);
            vtl.assertions.set_level(kind, vector, &mut vtl.apic);
            vtl.settle_eoi_assist();
            drop(state);
            vp.notify();
        }
    }

    /// The external interrupt is the first VP's, whatever its local APIC is set to.
    fn assert_external(&self, vector: Option<u8>, vtl: Vtl) -> Result<(), HvStatus> {
        if usize::from(vtl.0) >= VTL_COUNT {
            return Err(HvStatus::INVALID_VTL_STATE);
        }
        let status = self.vp(0).state().vtl(vtl).assertions.set_external(vector);
        self.vp(0).notify();
        if status == HvStatus::SUCCESS { Ok(()) } else { Err(status) }
    }

    /// Lets the next external interrupt be asserted after the last one was acknowledged, as HvClearVirtualInterrupt does for a parent
    /// (TLFS 10.3.2). NOT_ACKNOWLEDGED answers if none was, INVALID_VTL_STATE if the VTL does not exist.
    pub fn clear_virtual_interrupt(&self, vtl: Vtl) -> HvStatus {
        if usize::from(vtl.0) >= VTL_COUNT {
            return HvStatus::INVALID_VTL_STATE;
        }
        self.vp(0).state().vtl(vtl).assertions.clear_external()
    }
}

fn is_addressed(vp: &VpShared, vtl: Vtl, destination: Destination) -> bool {
    vp.state().vtl(vtl).apic.is_addressed(destination, false)
}
