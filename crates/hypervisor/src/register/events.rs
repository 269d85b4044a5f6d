// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registers that hold what a VP has still to deliver (TLFS 7.9.2, 7.9.3).

use engine::{Event, EventState};
use tlfs::register::{
    InterruptStateRegister, PendingEvent, PendingExceptionEvent, PendingInterruptionRegister,
    PendingInterruptionType, RegisterValue,
};

use super::place::Place;
use crate::vp::Vp;

const BREAKPOINT: u8 = 3;
const OVERFLOW: u8 = 4;
const DEBUG: u8 = 1;
const NMI: u16 = 2;

/// What is pending, as PendingInterruption has it.
pub(super) fn pending_interruption(events: EventState) -> PendingInterruptionRegister {
    let Some(event) = events.pending else { return PendingInterruptionRegister::new() };
    let pending = PendingInterruptionRegister::new().with_interruption_pending(true);
    match event {
        Event::Interrupt(vector) => pending
            .with_interruption_type(PendingInterruptionType::INTERRUPT)
            .with_interruption_vector(vector.into()),
        Event::Nmi => {
            pending.with_interruption_type(PendingInterruptionType::NMI).with_interruption_vector(NMI)
        }
        Event::Exception { vector, error_code, .. } => pending
            .with_interruption_type(PendingInterruptionType::EXCEPTION)
            .with_interruption_vector(vector.into())
            .with_deliver_error_code(error_code.is_some())
            .with_error_code(error_code.unwrap_or(0)),
        Event::Software { vector, instruction_length } => pending
            .with_interruption_type(match (vector, instruction_length) {
                (DEBUG, 1) => PendingInterruptionType::PRIVILEGED_SOFTWARE_EXCEPTION,
                (BREAKPOINT | OVERFLOW, 1) => PendingInterruptionType::SOFTWARE_EXCEPTION,
                _ => PendingInterruptionType::SOFTWARE_INTERRUPT,
            })
            .with_interruption_vector(vector.into())
            .with_instruction_length(instruction_length),
    }
}

fn to_event(register: PendingInterruptionRegister) -> Option<Event> {
    let vector = register.interruption_vector() as u8;
    register.interruption_pending().then(|| match register.interruption_type() {
        PendingInterruptionType::INTERRUPT => Event::Interrupt(vector),
        PendingInterruptionType::NMI => Event::Nmi,
        PendingInterruptionType::EXCEPTION => Event::Exception {
            vector,
            error_code: register.deliver_error_code().then_some(register.error_code()),
            parameter: 0,
        },
        _ => Event::Software { vector, instruction_length: register.instruction_length() },
    })
}

/// What is pending, as PendingEvent0 has it: exceptions only, with their parameter.
pub(super) fn pending_event(events: EventState) -> PendingExceptionEvent {
    match events.pending {
        Some(Event::Exception { vector, error_code, parameter }) => PendingExceptionEvent {
            event: PendingEvent::new()
                .with_event_pending(true)
                .with_vector(vector.into())
                .with_deliver_error_code(error_code.is_some())
                .with_error_code(error_code.unwrap_or(0)),
            exception_parameter: parameter,
        },
        _ => PendingExceptionEvent { event: PendingEvent::new(), exception_parameter: 0 },
    }
}

impl Vp {
    /// Sets one of these registers.
    pub(super) fn set_events(&mut self, place: Place, value: RegisterValue) {
        let mut events = self.engine.events();
        match place {
            Place::PendingInterruption => {
                let event = to_event(PendingInterruptionRegister::from_bits(value.low));
                events.pending = match (event, events.pending) {
                    // The parameter is not in this register: what was pending keeps its own.
                    (
                        Some(Event::Exception { vector, error_code, .. }),
                        Some(Event::Exception { vector: before, parameter, .. }),
                    ) if vector == before => Some(Event::Exception { vector, error_code, parameter }),
                    (event, _) => event,
                };
            }
            Place::InterruptState => {
                let register = InterruptStateRegister::from_bits(value.low);
                events.interrupt_shadow = register.interrupt_shadow();
                events.nmi_blocked = register.nmi_masked();
            }
            Place::PendingEvent(0) => {
                let PendingExceptionEvent { event, exception_parameter } = value.into();
                events.pending = event.event_pending().then(|| Event::Exception {
                    vector: event.vector() as u8,
                    error_code: event.deliver_error_code().then_some(event.error_code()),
                    parameter: exception_parameter,
                });
            }
            _ => {}
        }
        self.engine.set_events(events);
    }
}
