// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a VP that belongs to whoever may run it. What everyone may reach is saved with the partition.

use std::sync::Arc;

use state::{Damaged, Reader, State, Writer};
use tlfs::msr::NpiepConfig;
use tlfs::register::{RegisterName, RegisterValue};
use tlfs::vsm::Vtl;

use super::Vp;
use crate::partition::{view_of, vtls};

impl State for Vp {
    fn save(&self, writer: &mut Writer) {
        // All fields are named: who adds one has to say what becomes of it.
        let Self {
            partition: _,
            index: _,
            engine,
            active_vtl,
            overlays,
            processor_msrs,
            apic_page: _,
            npiep,
            // What the engine has been told, which another engine has not been.
            exception_exits: _,
            registers_set,
            // A call that waits is made again, and asks again.
            waiting: _,
            // The call is made again, and the host is asked again.
            open_bus: _,
            deferred,
            // No run is under way, and the next one begins with a look.
            look: _,
            until: _,
            limits: _,
            tracer: _,
        } = self;
        engine.save().save(writer);
        active_vtl.0.save(writer);
        for overlays in overlays {
            for overlay in [&overlays.message, &overlays.event_flags, &overlays.assist] {
                overlay.place_now().save(writer);
            }
        }
        processor_msrs.save(writer);
        self.shared().consumed(0).save(writer);
        npiep.into_bits().save(writer);
        registers_set.save(writer);
        let deferred = deferred.iter().map(|&(name, value)| (name.0, (value.low, value.high)));
        deferred.collect::<Vec<_>>().save(writer);
    }

    /// The partition is restored before its VPs.
    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let mut registers = self.engine.save();
        registers.restore(reader)?;
        self.engine.restore(&registers);
        let vtl = Vtl(reader.value()?);
        if !vtls().contains(&vtl) {
            return Err(Damaged::Value { kind: "VTL", value: vtl.0.into() });
        }
        self.active_vtl = vtl;
        let space = Arc::clone(self.partition.space());
        for (vtl, overlays) in vtls().into_iter().zip(&mut self.overlays) {
            for overlay in [&mut overlays.message, &mut overlays.event_flags, &mut overlays.assist] {
                overlay.place(&space, view_of(vtl), reader.value()?);
            }
        }
        self.processor_msrs.restore(reader)?;
        self.shared().set_consumed(reader.value()?);
        let npiep = NpiepConfig::from_bits(reader.value()?);
        if self.set_npiep(npiep).is_err() {
            return Err(Damaged::Value { kind: "NPIEP_CONFIG", value: npiep.into_bits() });
        }
        self.registers_set = reader.value()?;
        let deferred: Vec<(u32, (u64, u64))> = reader.value()?;
        let named = |(name, (low, high))| (RegisterName(name), RegisterValue { low, high });
        self.deferred = deferred.into_iter().map(named).collect();
        (self.waiting, self.open_bus, self.exception_exits) = (None, false, 0);
        let apic_page = self.shared().state().vtl(self.active_vtl).apic.page();
        self.apic_page = apic_page;
        self.look = true;
        Ok(())
    }
}
