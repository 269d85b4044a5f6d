// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts of devices that a host program gives a guest (TLFS 10.5.4).

use hypercall::calls::RetargetDeviceInterrupt;
use hypercall::{HandleSimple, ProcessorSet};
use tlfs::HvStatus;
use tlfs::interrupt::{InterruptEntry, InterruptSource, MIN_FIXED_VECTOR, RetargetDeviceInterruptInput};
use tlfs::partition::PartitionId;
use tlfs::vp::SetFormat;

use super::{Calls, Done};

/// The devices of a partition, as far as their interrupts go. Called on VPs' threads; it must not block.
pub trait DeviceInterrupts: Send + Sync {
    /// Sends the interrupt of device `device` that `entry` stands for to other VPs from now on, which exist: to all of them if `multicast` is set, else to one of them.
    /// SUCCESS, INVALID_DEVICE_ID, or INVALID_PARAMETER for an entry that is none of the device's.
    fn retarget(
        &self,
        device: u64,
        entry: &InterruptEntry,
        vector: u8,
        multicast: bool,
        vps: &[u32],
    ) -> HvStatus;
}

impl HandleSimple<RetargetDeviceInterrupt> for Calls<'_> {
    fn handle(&mut self, (input, words): (&RetargetDeviceInterruptInput, &[u64])) -> Done {
        // Not even by its own id: the caller says SELF.
        if input.partition_id != PartitionId::SELF {
            return Err(HvStatus::INVALID_PARTITION_ID.into());
        }
        let (entry, target) = (&input.interrupt_entry, &input.interrupt_target);
        let vector = u8::try_from(target.vector).ok().filter(|&vector| vector >= MIN_FIXED_VECTOR);
        let vector = vector.ok_or(HvStatus::INVALID_PARAMETER)?;
        let is_message = entry.interrupt_source == InterruptSource::MSI;
        if !is_message || input.reserved_z != 0 || entry.reserved_z != 0 || target.flags.reserved_z() != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let set = if target.flags.processor_set() {
            // The set of all is not for this call.
            let sparse = target.processor_mask_or_set_format == SetFormat::SPARSE_4K.into_bits();
            let (&valid_banks, banks) = words.split_first().ok_or(HvStatus::INVALID_HYPERCALL_INPUT)?;
            if !sparse {
                return Err(HvStatus::INVALID_PARAMETER.into());
            }
            ProcessorSet::sparse(valid_banks, banks)?
        } else if words.is_empty() {
            ProcessorSet::from_mask(&target.processor_mask_or_set_format)
        } else {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT.into());
        };
        let vps: Vec<u32> = set.iter(u32::MAX).collect();
        if vps.is_empty() || vps.iter().any(|&vp| vp >= self.partition.vp_count()) {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let devices = self.partition.device_interrupts().ok_or(HvStatus::INVALID_DEVICE_ID)?;
        match devices.retarget(input.device_id, entry, vector, target.flags.multicast(), &vps) {
            HvStatus::SUCCESS => Ok(()),
            status => Err(status.into()),
        }
    }
}
