// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting VPs, and finding them by APIC id (TLFS 7.10.3, 7.10.4).

use hypercall::calls::{GetVpIndexFromApicId, StartVirtualProcessor};
use hypercall::{HandleRep, HandleSimple, RepStop, Stop};
use tlfs::HvStatus;
use tlfs::vp::{GetVpIndexFromApicIdInput, StartVirtualProcessorInput, VpIndex};
use tlfs::vsm::Vtl;

use super::{Calls, Done, RepDone};

impl HandleSimple<StartVirtualProcessor> for Calls<'_> {
    fn handle(&mut self, input: &StartVirtualProcessorInput) -> Done {
        self.require_self(input.partition_id)?;
        if input.reserved_z != [0; 3] {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let vp = self.vp_index(input.vp_index)?;
        if Vtl(input.target_vtl) != Vtl::VTL0 {
            return Err(HvStatus::INVALID_VTL_STATE.into());
        }
        Ok(self.partition.start_virtual_processor(vp, &input.vp_context)?)
    }
}

impl HandleRep<GetVpIndexFromApicId> for Calls<'_> {
    fn handle(
        &mut self,
        input: &GetVpIndexFromApicIdInput,
        apic_ids: &[u32],
        indexes: &mut [VpIndex],
    ) -> RepDone {
        self.require_self(input.partition_id)?;
        self.target_vtl(input.target_vtl)?;
        if input.reserved_z != [0; 7] {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        for (processed, (&apic_id, index)) in apic_ids.iter().zip(indexes).enumerate() {
            // The local APIC id of a VP is its index.
            if apic_id >= self.partition.vp_count() {
                return Err(RepStop { processed, reason: Stop::Failed(HvStatus::INVALID_PARAMETER) });
            }
            *index = VpIndex(self.partition.vp(apic_id).index());
        }
        Ok(())
    }
}
