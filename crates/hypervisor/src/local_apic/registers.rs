// SPDX-License-Identifier: MIT OR Apache-2.0
//! The register faces of the APIC: the xAPIC page, the x2APIC MSRs, IA32_APIC_BASE and IA32_TSC_DEADLINE.

use x86::apic::{ApicBase, DeliveryMode, ErrorStatus, Icr, Lvt, SpuriousVector, TimerMode, register};
use x86::msr;

use super::{Effect, InterruptMessage, LocalApic, LvtIndex};

/// The access is #GP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterError;

/// Version 0x15 (integrated) with six LVT entries.
const VERSION: u32 = 0x0005_0015;

const LVT_ENTRIES: [(u16, LvtIndex, u32); 6] = [
    // Offset, entry, bits that can be written.
    (register::LVT_TIMER, LvtIndex::Timer, 0x0007_00FF),
    (register::LVT_THERMAL, LvtIndex::Thermal, 0x0001_07FF),
    (register::LVT_PERFORMANCE, LvtIndex::Performance, 0x0001_07FF),
    (register::LVT_LINT0, LvtIndex::Lint0, 0x0001_A7FF),
    (register::LVT_LINT1, LvtIndex::Lint1, 0x0001_A7FF),
    (register::LVT_ERROR, LvtIndex::Error, 0x0001_00FF),
];

fn lvt_entry(offset: u16) -> Option<(LvtIndex, u32)> {
    LVT_ENTRIES.iter().find(|entry| entry.0 == offset).map(|entry| (entry.1, entry.2))
}

impl LocalApic {
    /// IA32_APIC_BASE.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base.into_bits()
    }

    /// Writes IA32_APIC_BASE (SDM 3A 10.4.4, 10.12.5). `address_bits` is the width of guest-physical addresses.
    ///
    /// # Errors
    /// For reserved bits, for a mode that does not exist, and for the changes of mode that SDM 3A 10.12.5 forbids.
    pub fn set_base(&mut self, value: u64, address_bits: u32) -> Result<(), RegisterError> {
        let new = ApicBase::from_bits(value);
        let defined = ApicBase::new()
            .with_bootstrap(true)
            .with_enable(true)
            .with_x2apic(self.x2apic_exists)
            .into_bits();
        let page_bits = (1u64 << address_bits) - 0x1000;
        if value & !(defined | page_bits) != 0 {
            return Err(RegisterError);
        }
        match ((self.base.enable(), self.base.x2apic()), (new.enable(), new.x2apic())) {
            // x2APIC without the global enable is no mode; x2APIC is left only by way of disabled, and entered only from xAPIC.
            (_, (false, true)) | ((true, true), (true, false)) | ((false, _), (true, true)) => {
                return Err(RegisterError);
            }
            ((true, _), (false, false)) => {
                self.base = new;
                self.init();
            }
            ((true, false), (true, true)) => {
                self.base = new;
                // The two forms of ICR do not share their upper half (SDM 3A 10.12.5.1).
                self.icr = Icr::from_bits(self.icr.into_bits() & u64::from(u32::MAX));
            }
            _ => self.base = new,
        }
        Ok(())
    }

    /// IA32_TSC_DEADLINE: zero unless the timer is in that mode.
    #[must_use]
    pub fn tsc_deadline(&self) -> u64 {
        self.timer.tsc_deadline()
    }

    /// Writes IA32_TSC_DEADLINE.
    pub fn set_tsc_deadline(&mut self, value: u64) {
        self.timer.set_tsc_deadline(value);
    }

    /// Reads the register page in xAPIC mode. Bytes between registers read as zero.
    #[must_use]
    pub fn read_page(&mut self, offset: u16, now: u64) -> u32 {
        let value = match offset & 0xFF0 {
            register::ID => Some(self.id << 24),
            register::LDR => Some(self.ldr),
            register::DFR => Some(self.dfr),
            register::ICR_HIGH => Some((self.icr.into_bits() >> 32) as u32),
            register::APR | register::RRD => Some(0),
            common => self.read_common(common, now),
        };
        let value = value.unwrap_or_else(|| {
            self.record(ErrorStatus::new().with_illegal_register(true));
            0
        });
        // Registers are 32 bits wide on 16-byte boundaries; a narrower read inside one gives its part.
        if offset & 0xC == 0 { value >> (8 * (offset & 3)) } else { 0 }
    }

    /// Writes the register page in xAPIC mode.
    pub fn write_page(&mut self, offset: u16, value: u32, now: u64) -> Effect {
        match offset {
            register::LDR => self.ldr = value & 0xFF00_0000,
            register::DFR => self.dfr = value | 0x0FFF_FFFF,
            register::ICR_HIGH => {
                let low = self.icr.into_bits() & u64::from(u32::MAX);
                self.icr = Icr::from_bits(low | u64::from(value & 0xFF00_0000) << 32);
            }
            register::ICR => {
                let high = self.icr.into_bits() & !u64::from(u32::MAX);
                return self.write_icr(high | u64::from(value));
            }
            // The id can be written on some processors; here it cannot, and APR and RRD never can.
            register::ID | register::APR | register::RRD => {}
            common => {
                return self.write_common(common, value, now).unwrap_or_else(|RegisterError| {
                    self.record(ErrorStatus::new().with_illegal_register(true));
                    Effect::None
                });
            }
        }
        Effect::None
    }

    /// Reads an x2APIC MSR (0x800 to 0x8FF).
    ///
    /// # Errors
    /// Outside x2APIC mode, and for registers that do not exist or cannot be read.
    pub fn read_msr(&self, number: u32, now: u64) -> Result<u64, RegisterError> {
        if !self.is_x2apic() {
            return Err(RegisterError);
        }
        match offset_of(number) {
            register::ID => Ok(self.id.into()),
            register::LDR => Ok(self.logical_id().into()),
            register::ICR => Ok(self.icr.into_bits()),
            register::EOI => Err(RegisterError),
            common => self.read_common(common, now).map(u64::from).ok_or(RegisterError),
        }
    }

    /// Writes an x2APIC MSR (0x800 to 0x8FF).
    ///
    /// # Errors
    /// Outside x2APIC mode, for registers that do not exist or cannot be written, and for reserved bits.
    pub fn write_msr(&mut self, number: u32, value: u64, now: u64) -> Result<Effect, RegisterError> {
        if !self.is_x2apic() {
            return Err(RegisterError);
        }
        let offset = offset_of(number);
        if offset == register::ICR {
            return Ok(self.write_icr(value));
        }
        let value = u32::try_from(value).map_err(|_| RegisterError)?;
        let reserved = match offset {
            register::EOI | register::ESR => u32::MAX,
            register::TPR | register::SELF_IPI => !0xFF,
            register::SVR => !0x3FF,
            register::TIMER_DIVIDE => !0b1011,
            register::TIMER_INITIAL_COUNT => 0,
            // Read-only bits of an entry (delivery status, remote IRR) may be written back.
            entry => !lvt_entry(entry).ok_or(RegisterError)?.1 & !0x5000,
        };
        if value & reserved != 0 {
            return Err(RegisterError);
        }
        if offset == register::SELF_IPI {
            return Ok(self.write_icr(0x4_0000 | u64::from(value)));
        }
        self.write_common(offset, value, now)
    }

    /// Registers that both modes read alike.
    fn read_common(&self, offset: u16, now: u64) -> Option<u32> {
        let word = |first: u16| usize::from((offset - first) >> 4);
        Some(match offset {
            register::VERSION => VERSION,
            register::TPR => self.tpr.into(),
            register::PPR => self.priority().into(),
            register::EOI => 0,
            register::SVR => self.svr.into_bits(),
            0x100..=0x170 => self.in_service.word(word(register::ISR)),
            0x180..=0x1F0 => self.level.word(word(register::TMR)),
            0x200..=0x270 => self.requested.word(word(register::IRR)),
            register::ESR => self.esr.into_bits(),
            register::ICR => self.icr.into_bits() as u32,
            register::TIMER_INITIAL_COUNT => self.timer.initial_count(),
            register::TIMER_CURRENT_COUNT => self.timer.current_count(now),
            register::TIMER_DIVIDE => self.timer.divide_configuration(),
            entry => self.lvt(lvt_entry(entry)?.0).into_bits(),
        })
    }

    /// Registers that both modes write alike.
    fn write_common(&mut self, offset: u16, value: u32, now: u64) -> Result<Effect, RegisterError> {
        match offset {
            register::TPR => self.tpr = value as u8,
            register::EOI => return Ok(Effect::EndOfInterrupt(self.end_of_interrupt())),
            register::SVR => {
                self.svr = SpuriousVector::from_bits(value & 0x3FF);
                if !self.svr.enable() {
                    // SDM 3A 10.4.7.2: software disable masks all entries.
                    self.lvt = self.lvt.map(|entry| entry.with_masked(true));
                }
            }
            register::ESR => self.esr = std::mem::replace(&mut self.errors, ErrorStatus::new()),
            register::TIMER_INITIAL_COUNT => self.timer.set_initial_count(value, now),
            register::TIMER_DIVIDE => self.timer.set_divide_configuration(value, now),
            entry => {
                let (index, writable) = lvt_entry(entry).ok_or(RegisterError)?;
                self.write_lvt(index, value & writable);
            }
        }
        Ok(Effect::None)
    }

    fn write_lvt(&mut self, index: LvtIndex, value: u32) {
        let mut entry = Lvt::from_bits(value);
        if !self.svr.enable() {
            entry.set_masked(true);
        }
        if index == LvtIndex::Timer {
            // The reserved mode counts as one-shot, as on processors without TSC-deadline mode.
            let mode = if entry.timer_mode() == TimerMode::Reserved {
                TimerMode::OneShot
            } else {
                entry.timer_mode()
            };
            self.set_timer_mode(mode);
        }
        self.lvt[index as usize] = entry;
    }

    fn write_icr(&mut self, value: u64) -> Effect {
        let icr = Icr::from_bits(value).with_send_pending(false);
        self.icr = icr;
        let fixed = matches!(icr.delivery_mode(), DeliveryMode::Fixed | DeliveryMode::LowestPriority);
        if fixed && icr.vector() < 16 {
            self.record(ErrorStatus::new().with_send_illegal_vector(true));
            return Effect::None;
        }
        InterruptMessage::from_icr(icr, self.is_x2apic()).map_or(Effect::None, Effect::Send)
    }

    /// The interrupt command register, as HV_X64_MSR_ICR shows it.
    #[must_use]
    pub fn icr(&self) -> u64 {
        self.icr.into_bits()
    }

    /// Writes the interrupt command register as HV_X64_MSR_ICR does (TLFS 10.2.3): both halves at once, in the form of the current mode.
    pub fn set_icr(&mut self, value: u64) -> Effect {
        self.write_icr(value)
    }
}

/// Offset in the page of the register behind an x2APIC MSR; numbers that are none give an offset that is no register.
fn offset_of(number: u32) -> u16 {
    let offset = ((number - msr::IA32_X2APIC_FIRST) << 4) as u16;
    // What exists only in the page.
    if matches!(offset, register::APR | register::RRD | register::DFR | register::ICR_HIGH) {
        u16::MAX
    } else {
        offset
    }
}
