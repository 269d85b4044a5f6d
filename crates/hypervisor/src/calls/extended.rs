// SPDX-License-Identifier: MIT OR Apache-2.0
//! Extended hypercalls (TLFS 3.14, 9.4.7).

use hypercall::calls::{ExtGetBootZeroedMemory, ExtQueryCapabilities};
use hypercall::{HandleSimple, Stop};
use tlfs::HvStatus;
use tlfs::extended::{BootZeroedMemoryOutput, ExtendedCapabilities, QueryCapabilitiesOutput, ZeroedRange};

use super::{Calls, Condition};

impl HandleSimple<ExtQueryCapabilities> for Calls<'_> {
    fn handle(&mut self, (): &()) -> Result<QueryCapabilitiesOutput, Stop<Condition>> {
        let knows_zeroed = !self.partition.boot_zeroed_memory().is_empty();
        let capabilities = ExtendedCapabilities::new().with_get_boot_zeroed_memory(knows_zeroed);
        Ok(QueryCapabilitiesOutput { capabilities })
    }
}

impl HandleSimple<ExtGetBootZeroedMemory> for Calls<'_> {
    fn handle(&mut self, (): &()) -> Result<BootZeroedMemoryOutput, Stop<Condition>> {
        let zeroed = self.partition.boot_zeroed_memory();
        if zeroed.is_empty() {
            return Err(HvStatus::INVALID_HYPERCALL_CODE.into());
        }
        let none = ZeroedRange { start_gpa_page: 0, page_count: 0 };
        let mut output = BootZeroedMemoryOutput { range_count: 0, ranges: [none; 255] };
        for (place, &range) in output.ranges.iter_mut().zip(&*zeroed) {
            *place = range;
            output.range_count += 1;
        }
        Ok(output)
    }
}
