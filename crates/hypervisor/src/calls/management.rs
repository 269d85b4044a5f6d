// SPDX-License-Identifier: MIT OR Apache-2.0
//! The partition's identity, and what a guest that manages processors may ask (TLFS 4.2.2, Appendix A).

use hypercall::calls::{
    GetLogicalProcessorRunTime, GetPartitionId, GetSystemProperty, ParkedVirtualProcessors,
};
use hypercall::{HandleSimple, Stop};
use tlfs::HvStatus;
use tlfs::root::{
    GetLogicalProcessorRunTimeInput, GetLogicalProcessorRunTimeOutput, GetPropertyOutput,
    GetSystemPropertyInput, ParkedVirtualProcessorsInput, PartitionInput,
};

use super::{Calls, Condition, Done};

/// The system property that tells how VPs are scheduled, and its value for threads that share processors as they come. Both numbers are public,
/// from the Linux kernel's interface to the hypervisor.
const SCHEDULER_TYPE: u32 = 15;
const CLASSIC_SCHEDULER: u64 = 1;

impl HandleSimple<GetPartitionId> for Calls<'_> {
    fn handle(&mut self, (): &()) -> Result<PartitionInput, Stop<Condition>> {
        Ok(PartitionInput { partition_id: self.partition.id() })
    }
}

impl HandleSimple<GetLogicalProcessorRunTime> for Calls<'_> {
    /// A logical processor here is what runs the VP with its index. Guest code and the hypervisor's work for it are one thread's time, and counted as
    /// one.
    fn handle(
        &mut self,
        input: &GetLogicalProcessorRunTimeInput,
    ) -> Result<GetLogicalProcessorRunTimeOutput, Stop<Condition>> {
        if input.reserved_z != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        if input.lp_index >= self.partition.vp_count() {
            return Err(HvStatus::INVALID_LP_INDEX.into());
        }
        let reference = self.partition.reference_time();
        let now = self.partition.clock().now();
        let consumed = self.partition.vp(input.lp_index).consumed(now);
        Ok(GetLogicalProcessorRunTimeOutput {
            global_time: reference.at(now),
            local_run_time: reference.at(consumed),
            reserved_z: 0,
            hypervisor_time: 0,
        })
    }
}

impl HandleSimple<ParkedVirtualProcessors> for Calls<'_> {
    /// A hint, of which host threads make no use.
    fn handle(&mut self, _: &ParkedVirtualProcessorsInput) -> Done {
        Ok(())
    }
}

impl HandleSimple<GetSystemProperty> for Calls<'_> {
    fn handle(&mut self, input: &GetSystemPropertyInput) -> Result<GetPropertyOutput, Stop<Condition>> {
        if input.reserved_z != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        match input.property_id {
            SCHEDULER_TYPE => Ok(GetPropertyOutput { property_value: CLASSIC_SCHEDULER }),
            _ => Err(HvStatus::UNKNOWN_PROPERTY.into()),
        }
    }
}
