// SPDX-License-Identifier: MIT OR Apache-2.0
//! Address spaces: the one that is current, and flushes of translations (TLFS 9.4).

use engine::FlushScope;
use hypercall::calls::{
    FlushVirtualAddressList, FlushVirtualAddressListEx, FlushVirtualAddressSpace, FlushVirtualAddressSpaceEx,
    SwitchVirtualAddressSpace,
};
use hypercall::{HandleRep, HandleSimple, ProcessorSet, RepStop, Stop};
use memory::PAGE_SHIFT;
use tlfs::HvStatus;
use tlfs::tlb::{
    ExtendedGvaRange, FlushFlags, FlushVirtualAddressExInput, FlushVirtualAddressInput, GvaRange,
    SwitchVirtualAddressSpaceInput,
};
use x86::paging::is_canonical;

use super::{Calls, Condition, Done, RepDone};
use crate::enlightenment::Enlightenment;
use crate::flush::RUNS;

/// Which VPs a flush means.
fn flush_targets<'a>(flags: FlushFlags, named: ProcessorSet<'a>) -> Result<ProcessorSet<'a>, HvStatus> {
    if flags.all_processors() {
        Ok(ProcessorSet::ALL)
    } else if named.is_empty() {
        Err(HvStatus::INVALID_PARAMETER)
    } else {
        Ok(named)
    }
}

impl Calls<'_> {
    fn flush(&mut self, targets: &ProcessorSet<'_>, scope: FlushScope<'_>) -> Done {
        if let Some(vp) = self.partition.flush_inhibited(targets, self.index) {
            return Err(Stop::Wait(Condition::Flush(vp)));
        }
        self.aftermath.flushes_self |= self.partition.flush(self.index, targets, scope);
        Ok(())
    }

    /// HvFlushVirtualAddressSpace (TLFS 9.4.2).
    fn flush_space(&mut self, address_space: u64, flags: FlushFlags, named: ProcessorSet<'_>) -> Done {
        if flags.reserved_z() != 0 || flags.use_extended_range_format() {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let targets = flush_targets(flags, named)?;
        let global = !flags.non_global_mappings_only();
        let scope = if flags.all_virtual_address_spaces() {
            if global { FlushScope::All } else { FlushScope::NonGlobal }
        } else {
            // The low bits of CR3 are caching and PCID.
            FlushScope::AddressSpace { root: self.check_space(address_space)? & !0xFFF, global }
        };
        self.flush(&targets, scope)
    }

    fn check_space(&self, address_space: u64) -> Result<u64, HvStatus> {
        let valid = address_space >> self.partition.space().address_bits() == 0;
        if valid { Ok(address_space) } else { Err(HvStatus::INVALID_PARAMETER) }
    }

    /// HvFlushVirtualAddressList (TLFS 9.4.4), for a part of the list.
    fn flush_list(
        &mut self,
        address_space: u64,
        flags: FlushFlags,
        named: ProcessorSet<'_>,
        ranges: &[GvaRange],
    ) -> Done {
        let extended = flags.use_extended_range_format();
        let offered = self.partition.offer().features.extended_gva_ranges_for_flush_virtual_address_list();
        if flags.reserved_z() != 0 || flags.non_global_mappings_only() || (extended && !offered) {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        let targets = flush_targets(flags, named)?;
        if !flags.all_virtual_address_spaces() {
            self.check_space(address_space)?;
        }
        let mut runs = [(0, 0); RUNS];
        for ranges in ranges.chunks(RUNS) {
            let mut count = 0;
            for &range in ranges {
                let run = if extended { extended_run(range.into_bits().into()) } else { run(range) };
                // What is no address is in no translation; it counts as done.
                // With five levels of paging that is an address, with four it may be.
                if is_canonical(run.0, 57) {
                    runs[count] = run;
                    count += 1;
                }
            }
            if count != 0 {
                self.flush(&targets, FlushScope::Pages(&runs[..count]))?;
            }
        }
        Ok(())
    }
}

/// A stop before anything of a part of a list was done.
fn first(reason: Stop<Condition>) -> RepStop<Condition> {
    RepStop { processed: 0, reason }
}

/// First address and number of 4 KiB pages.
fn run(range: GvaRange) -> (u64, u64) {
    (range.gva_page_number() << PAGE_SHIFT, u64::from(range.additional_pages()) + 1)
}

/// The same for the extended form, whose large pages are 2 MiB, or 1 GiB if the lowest bit of the page number is set.
fn extended_run(range: ExtendedGvaRange) -> (u64, u64) {
    let (number, count) = (range.gva_page_number(), u64::from(range.additional_pages()) + 1);
    let pages = match (range.large_page(), number & 1) {
        (false, _) => return (number << PAGE_SHIFT, count),
        (true, 0) => 1u64 << 9,
        (true, _) => 1 << 18,
    };
    ((number & !(pages - 1)) << PAGE_SHIFT, count * pages)
}

impl HandleSimple<SwitchVirtualAddressSpace> for Calls<'_> {
    /// No guest is advised to use it, and none is kept from it (TLFS 2.4.5).
    fn handle(&mut self, input: &SwitchVirtualAddressSpaceInput) -> Done {
        self.aftermath.new_space = Some(self.check_space(input.address_space)?);
        Ok(())
    }
}

impl HandleSimple<FlushVirtualAddressSpace> for Calls<'_> {
    fn handle(&mut self, input: &FlushVirtualAddressInput) -> Done {
        self.require(&[Enlightenment::UseHypercallForRemoteFlushAndLocalFlushEntire])?;
        self.flush_space(input.address_space, input.flags, ProcessorSet::from_mask(&input.processor_mask))
    }
}

impl HandleSimple<FlushVirtualAddressSpaceEx> for Calls<'_> {
    fn handle(&mut self, (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>)) -> Done {
        self.require(&[
            Enlightenment::UseHypercallForRemoteFlushAndLocalFlushEntire,
            Enlightenment::UseExProcessorMasks,
        ])?;
        self.flush_space(input.address_space, input.flags, set)
    }
}

impl HandleRep<FlushVirtualAddressList> for Calls<'_> {
    fn handle(&mut self, input: &FlushVirtualAddressInput, ranges: &[GvaRange], _: &mut [()]) -> RepDone {
        self.require(&[Enlightenment::UseHypercallForRemoteFlushAndLocalFlushEntire])?;
        let named = ProcessorSet::from_mask(&input.processor_mask);
        self.flush_list(input.address_space, input.flags, named, ranges).map_err(first)
    }
}

impl HandleRep<FlushVirtualAddressListEx> for Calls<'_> {
    fn handle(
        &mut self,
        (input, set): (&FlushVirtualAddressExInput, ProcessorSet<'_>),
        ranges: &[GvaRange],
        _: &mut [()],
    ) -> RepDone {
        self.require(&[
            Enlightenment::UseHypercallForRemoteFlushAndLocalFlushEntire,
            Enlightenment::UseExProcessorMasks,
        ])?;
        self.flush_list(input.address_space, input.flags, set, ranges).map_err(first)
    }
}
