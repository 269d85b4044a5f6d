// SPDX-License-Identifier: MIT OR Apache-2.0
//! Interrupts to VPs (TLFS 10.5).

use hypercall::calls::{SendSyntheticClusterIpi, SendSyntheticClusterIpiEx};
use hypercall::{HandleSimple, ProcessorSet};
use tlfs::HvStatus;
use tlfs::interrupt::{MIN_FIXED_VECTOR, SendSyntheticClusterIpiExInput, SendSyntheticClusterIpiInput};
use tlfs::vsm::{InputVtl, Vtl};

use super::{Calls, Done};
use crate::enlightenment::Enlightenment;

impl Calls<'_> {
    /// HvSendSyntheticClusterIpi (TLFS 10.5.2).
    fn send_ipi(
        &mut self,
        vector: u32,
        vtl: InputVtl,
        reserved_z: [u8; 3],
        targets: ProcessorSet<'_>,
    ) -> Result<(), HvStatus> {
        let vector = u8::try_from(vector).ok().filter(|&vector| vector >= MIN_FIXED_VECTOR);
        let vector = vector.ok_or(HvStatus::INVALID_PARAMETER)?;
        if reserved_z != [0; 3] || vtl.reserved_z() != 0 {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        let target_vtl = if vtl.use_target_vtl() { Vtl(vtl.target_vtl()) } else { self.vtl };
        if target_vtl > self.vtl {
            return Err(HvStatus::ACCESS_DENIED);
        }
        for index in targets.iter(self.partition.vp_count()) {
            let vp = self.partition.vp(index);
            if vp.state().vtl(target_vtl).request(vector, false, false) {
                self.partition.notify_among_several(vp);
            }
        }
        self.partition.wake_some();
        Ok(())
    }
}

impl HandleSimple<SendSyntheticClusterIpi> for Calls<'_> {
    fn handle(&mut self, input: &SendSyntheticClusterIpiInput) -> Done {
        self.require(&[Enlightenment::UseSyntheticClusterIpi])?;
        let targets = ProcessorSet::from_mask(&input.processor_mask);
        Ok(self.send_ipi(input.vector, input.target_vtl, input.reserved_z, targets)?)
    }
}

impl HandleSimple<SendSyntheticClusterIpiEx> for Calls<'_> {
    fn handle(&mut self, (input, set): (&SendSyntheticClusterIpiExInput, ProcessorSet<'_>)) -> Done {
        self.require(&[Enlightenment::UseSyntheticClusterIpi, Enlightenment::UseExProcessorMasks])?;
        Ok(self.send_ipi(input.vector, input.target_vtl, input.reserved_z, set)?)
    }
}
