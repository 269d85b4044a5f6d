// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a partition, for another partition of the same configuration to go on from.
//!
//! A partition is saved while no VP runs and none is in the middle of an instruction ([`crate::Vp::is_in_instruction`]); guest memory is saved by whoever made it. The
//! other partition gets memory first, then the ports of the host and the connections to them and into other partitions, with the ids that they had, then
//! this: partition, and each VP. Ports that lead to the guest, its connections to those, and monitor pages are part of this; whoever wants them again finds them by
//! their ids. The clock goes on from where the first one's stood.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use state::{Damaged, Reader, State, Writer};

use tlfs::extended::ZeroedRange;

use super::{Partition, view_of, vtls};
use crate::sync::lock;
use crate::vp::state::VpState;

impl Partition {
    /// Saves what its VPs share, and what everyone may reach of each.
    pub fn save(&self, writer: &mut Writer) {
        // All fields are named: who adds one has to say what becomes of it.
        let Self {
            id,
            offer: _,
            space: _,
            reference_time,
            processor: _,
            vps,
            vtls: _,
            crash,
            ports,
            monitors,
            // Counted again from the VPs.
            suspension: _,
            flush_inhibits: _,
            // The host's: devices, the debugger, the parent and what it intercepts.
            debug_link: _,
            device_interrupts: _,
            intercepts: _,
            boot_zeroed,
            // Nobody sleeps in the other partition: each VP looks at its state before it does.
            sleepers: _,
            overlay_pages: _,
            apic_frequency: _,
            msr_handler: _,
            interrupt_controller: _,
            phases: _,
        } = self;
        id.load(Ordering::Relaxed).save(writer);
        let zeroed = lock(boot_zeroed);
        zeroed.iter().map(|run| (run.start_gpa_page, run.page_count)).collect::<Vec<_>>().save(writer);
        drop(zeroed);
        reference_time.clock().now().save(writer);
        reference_time.last_read().save(writer);
        lock(&crash.0).save(writer);
        ports.save(writer);
        monitors.save(writer);
        for vtl in vtls() {
            self.vtl(vtl).hypercall_page.registers().save(writer);
            self.vtl(vtl).reference_tsc_page.msr().into_bits().save(writer);
        }
        for vp in vps {
            let mut state = vp.state();
            // What the guest did to the assist page is as good as told: when somebody looks must make no difference.
            vtls().into_iter().for_each(|vtl| state.vtl(vtl).settle_eoi_assist());
            state.save(writer);
        }
    }

    /// Takes up what was saved of a partition of the same configuration. Each VP is then restored as well.
    ///
    /// # Errors
    /// If the bytes are no such state; the partition is then of no use.
    pub fn restore(self: &Arc<Self>, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.id.store(reader.value()?, Ordering::Relaxed);
        let zeroed: Vec<(u64, u64)> = reader.value()?;
        let zeroed =
            zeroed.iter().map(|&(start_gpa_page, page_count)| ZeroedRange { start_gpa_page, page_count });
        self.set_boot_zeroed_memory(&zeroed.collect::<Vec<_>>());
        // It stands until all is there, and then too if every VP is suspended.
        self.clock().freeze();
        self.clock().go_on_from(reader.value()?);
        self.reference_time().set_last_read(reader.value()?);
        lock(&self.crash.0).restore(reader)?;
        self.ports().restore(self, reader)?;
        self.monitors().restore(reader)?;
        for vtl in vtls() {
            let mut registers = (0, 0);
            registers.restore(reader)?;
            self.vtl(vtl).hypercall_page.restore(registers, self.space(), view_of(vtl));
            let page = reader.value::<u64>()?;
            self.vtl(vtl).reference_tsc_page.set(page.into(), self.space(), view_of(vtl));
        }
        for vp in self.vps() {
            let mut state = vp.state();
            VpState::restore(&mut state, reader)?;
            for vtl in vtls() {
                state.vtl(vtl).synic.take_buffers(|port| self.ports().buffers(port));
            }
            drop(state);
            vp.notify();
        }
        self.count_suspended();
        Ok(())
    }
}
