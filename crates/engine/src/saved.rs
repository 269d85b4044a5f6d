// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a VP as bytes.

use state::{Damaged, Reader, State, Writer};

use crate::{
    ControlRegisters, DebugRegisters, Event, EventState, ModelSpecificRegisters, Repeatable, VpState,
    XsaveArea,
};

state::state!(ControlRegisters { cr0, cr2, cr3, cr4, efer, xcr0 });
state::state!(DebugRegisters { dr, dr6, dr7 });
state::state!(ModelSpecificRegisters {
    star,
    lstar,
    cstar,
    sfmask,
    kernel_gs_base,
    sysenter_cs,
    sysenter_esp,
    sysenter_eip,
    tsc_aux,
    tsc_offset,
    tsc_adjust,
    pat,
    xss,
});
state::state!(EventState { pending as via event, interrupt_shadow, nmi_blocked });
state::state!(Repeatable { instructions, random, pauses });
state::state!(VpState {
    gprs,
    rip,
    rflags,
    segments as via segments,
    gdtr as via table,
    idtr as via table,
    control,
    debug,
    msrs,
    events,
    xsave,
    repeatable,
});

state::state!(XsaveArea(_));

mod segments {
    use super::{Damaged, Reader, State, Writer};
    use crate::Segment;

    pub(super) fn save(segments: &[Segment; 8], writer: &mut Writer) {
        for Segment { base, limit, selector, attributes } in segments {
            base.save(writer);
            limit.save(writer);
            selector.into_bits().save(writer);
            attributes.into_bits().save(writer);
        }
    }

    pub(super) fn restore(segments: &mut [Segment; 8], reader: &mut Reader<'_>) -> Result<(), Damaged> {
        for segment in segments {
            *segment = Segment {
                base: reader.value()?,
                limit: reader.value()?,
                selector: reader.value::<u16>()?.into(),
                attributes: reader.value::<u16>()?.into(),
            };
        }
        Ok(())
    }
}

mod table {
    use super::{Damaged, Reader, State, Writer};
    use crate::TableRegister;

    pub(super) fn save(table: &TableRegister, writer: &mut Writer) {
        (table.base, table.limit).save(writer);
    }

    pub(super) fn restore(table: &mut TableRegister, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let mut saved = (0, 0);
        saved.restore(reader)?;
        *table = TableRegister { base: saved.0, limit: saved.1 };
        Ok(())
    }
}

mod event {
    use super::{Damaged, Event, Reader, State, Writer};

    pub(super) fn save(event: &Option<Event>, writer: &mut Writer) {
        match *event {
            None => 0u8.save(writer),
            Some(Event::Interrupt(vector)) => (1u8, vector).save(writer),
            Some(Event::Nmi) => 2u8.save(writer),
            Some(Event::Exception { vector, error_code, parameter }) => {
                (3u8, vector).save(writer);
                (error_code, parameter).save(writer);
            }
            Some(Event::Software { vector, instruction_length }) => {
                (4u8, vector).save(writer);
                instruction_length.save(writer);
            }
        }
    }

    pub(super) fn restore(event: &mut Option<Event>, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *event = match reader.value::<u8>()? {
            0 => None,
            1 => Some(Event::Interrupt(reader.value()?)),
            2 => Some(Event::Nmi),
            3 => Some(Event::Exception {
                vector: reader.value()?,
                error_code: reader.value()?,
                parameter: reader.value()?,
            }),
            4 => Some(Event::Software { vector: reader.value()?, instruction_length: reader.value()? }),
            other => return Err(Damaged::Value { kind: "pending event", value: other.into() }),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_event_and_every_register_comes_back() {
        let exception = Event::Exception { vector: 14, error_code: Some(3), parameter: 0x1234 };
        let events = [
            None,
            Some(Event::Interrupt(0x31)),
            Some(Event::Nmi),
            Some(exception),
            Some(Event::INVALID_OPCODE),
            Some(Event::Software { vector: 3, instruction_length: 1 }),
        ];
        for pending in events {
            let mut state = VpState::reset(0x12345);
            state.gprs = std::array::from_fn(|index| index as u64 * 0x0101_0101);
            state.events = EventState { pending, interrupt_shadow: true, nmi_blocked: false };
            state.repeatable = Some(Repeatable { instructions: 4, random: 5, pauses: 6 });
            state.msrs.tsc_offset = u64::MAX;
            state.xsave.0[100] = 9;
            let mut other = VpState::reset(0);
            state::restore(&mut other, &state::save(&state)).unwrap();
            assert_eq!(other, state);
        }
    }
}
