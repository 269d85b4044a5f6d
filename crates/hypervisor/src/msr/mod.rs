// SPDX-License-Identifier: MIT OR Apache-2.0
//! RDMSR and WRMSR: who serves which register. What nobody serves is #GP (TLFS 8.10).

mod apic;
pub(crate) mod processor;
mod synthetic;

use engine::{Event, Resume};
use tlfs::msr as hv;
use x86::msr as x86;

use crate::trace::TraceEvent;
use crate::vp::{Vp, VpExit};

/// The access is a general-protection fault: the register does not exist, may not be accessed, or does not take the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GeneralProtection;

/// What writing a register leads to beyond the write.
pub(crate) type Written = Result<Option<VpExit>, GeneralProtection>;

/// Who serves a register.
enum Server {
    Synthetic,
    LocalApic,
    Processor,
}

const fn server(number: u32) -> Server {
    match number {
        0x4000_0000..=0x4FFF_FFFF => Server::Synthetic,
        x86::IA32_APIC_BASE | x86::IA32_TSC_DEADLINE | x86::IA32_X2APIC_FIRST..=x86::IA32_X2APIC_LAST => {
            Server::LocalApic
        }
        _ => Server::Processor,
    }
}

impl Vp {
    /// Whether an MSR is served here, whatever becomes of an access to it.
    pub(crate) fn is_virtualized_msr(&self, number: u32) -> bool {
        let offer = self.partition.offer();
        match server(number) {
            Server::Synthetic => offer.may_read(number) || offer.may_write(number),
            Server::LocalApic => true,
            Server::Processor => {
                self.processor_msrs.read(number, self.partition.processor().vendor()).is_some()
            }
        }
    }

    /// RDMSR.
    pub(crate) fn read_msr(&mut self, number: u32) -> Option<VpExit> {
        let value = match server(number) {
            Server::Synthetic => self.read_synthetic(number),
            Server::LocalApic => self.read_apic_msr(number),
            Server::Processor => {
                self.processor_msrs.read(number, self.partition.processor().vendor()).ok_or(GeneralProtection)
            }
        };
        let sleeps = number == hv::GUEST_IDLE && value.is_ok();
        let value = value.or_else(|fault| self.ask_host_to_read(number).ok_or(fault));
        self.trace(TraceEvent::ReadMsr(number, value.is_ok()));
        match value {
            Ok(value) => {
                self.engine.resume(Resume::Complete(value));
                if sleeps {
                    self.guest_idle();
                }
            }
            Err(GeneralProtection) => self.fault(Event::GENERAL_PROTECTION),
        }
        None
    }

    /// WRMSR.
    pub(crate) fn write_msr(&mut self, number: u32, value: u64) -> Option<VpExit> {
        let written = match server(number) {
            Server::Synthetic => self.write_synthetic(number, value),
            Server::LocalApic => self.write_apic_msr(number, value),
            Server::Processor => {
                let (vendor, bits) =
                    (self.partition.processor().vendor(), self.partition.space().address_bits());
                self.processor_msrs.write(number, value, vendor, bits).map(|()| None)
            }
        };
        let written = written
            .or_else(|fault| if self.ask_host_to_write(number, value) { Ok(None) } else { Err(fault) });
        self.trace(TraceEvent::WriteMsr(number, written.is_ok()));
        match written {
            Ok(exit) => {
                self.engine.resume(Resume::Complete(0));
                exit
            }
            Err(GeneralProtection) => {
                self.fault(Event::GENERAL_PROTECTION);
                None
            }
        }
    }

    fn ask_host_to_read(&self, number: u32) -> Option<u64> {
        self.partition.msr_handler.as_ref()?.read(self.index, number)
    }

    fn ask_host_to_write(&self, number: u32, value: u64) -> bool {
        let handler = self.partition.msr_handler.as_ref();
        handler.is_some_and(|handler| handler.write(self.index, number, value))
    }
}
