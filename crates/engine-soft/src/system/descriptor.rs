// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors: found by selector, checked for what every load checks, and turned into segment registers.

use engine::{Segment, SegmentName};
use x86::exception::Exception;
use x86::paging::Privilege;
use x86::segment::{SegmentAttributes, SegmentDescriptor, Selector};

use crate::cpu::Cpu;
use crate::stop::Stop;

/// A descriptor and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Selector that names it.
    pub(super) selector: Selector,
    /// Its first 8 bytes.
    pub(super) descriptor: SegmentDescriptor,
    /// Linear address.
    linear: u64,
}

/// Error code of an exception that names a selector. What delivers events adds the EXT bit.
pub(super) const fn error_code(selector: Selector) -> u32 {
    (selector.into_bits() & !3) as u32
}

/// #GP that names a selector.
pub(super) const fn general_protection(selector: Selector) -> Stop {
    Stop::with_code(Exception::GeneralProtection, error_code(selector))
}

/// #NP that names a selector.
pub(super) const fn not_present(selector: Selector) -> Stop {
    Stop::with_code(Exception::SegmentNotPresent, error_code(selector))
}

impl Found {
    pub(super) fn attributes(&self) -> SegmentAttributes {
        self.descriptor.attributes()
    }

    /// The segment register that a load makes, with the accessed bit set.
    pub(super) fn segment(&self) -> Segment {
        let attributes = self.attributes();
        let accessed = if attributes.non_system() { 1 } else { 0 };
        Segment {
            base: self.descriptor.base().into(),
            limit: self.descriptor.limit(),
            selector: self.selector,
            attributes: attributes.with_segment_type(attributes.segment_type() | accessed),
        }
    }

    /// Sets the accessed bit in the table, if it is clear.
    pub(super) fn mark_accessed(&self, cpu: &mut Cpu) -> Result<(), Stop> {
        if self.attributes().segment_type() & SegmentAttributes::ACCESSED == 0 {
            let mut access = self.descriptor.access();
            // Locked, as on a processor (SDM 3A 8.1.2.1): what another one has changed meanwhile stays.
            while let Some(found) = self.replace_access(cpu, access, access | 1)? {
                access = found;
            }
        }
        Ok(())
    }

    /// Sets type bits of a system descriptor in the table; false if it is no longer what was read, because another processor was first.
    pub(super) fn set_type(&self, cpu: &mut Cpu, type_bits: u8) -> Result<bool, Stop> {
        let access = self.descriptor.access();
        Ok(self.replace_access(cpu, access, access & 0xF0 | type_bits)?.is_none())
    }

    /// Replaces the access byte in the table in one locked access; gives what is there instead of `expected`, if it is something else.
    fn replace_access(&self, cpu: &mut Cpu, expected: u8, new: u8) -> Result<Option<u8>, Stop> {
        let linear = self.linear + 5;
        let found =
            cpu.compare_exchange(linear, 1, expected.into(), new.into(), Privilege::ImplicitSupervisor)?
                as u8;
        Ok((found != expected).then_some(found))
    }

    /// The second 8 bytes, which LDT and TSS descriptors and call gates have in long mode.
    pub(super) fn upper_half(&self, cpu: &mut Cpu) -> Result<u64, Stop> {
        match cpu.descriptor_address(self.selector, 16) {
            Some(linear) => cpu.read(linear + 8, 8, Privilege::ImplicitSupervisor),
            None => Err(general_protection(self.selector)),
        }
    }
}

impl Cpu {
    /// Linear address of a descriptor of `bytes` bytes, if its table holds it.
    fn descriptor_address(&self, selector: Selector, bytes: u64) -> Option<u64> {
        let (base, limit) = if selector.ldt() {
            let ldt = self.segment(SegmentName::Ldtr);
            if !ldt.attributes.present() {
                return None;
            }
            (ldt.base, u64::from(ldt.limit))
        } else {
            (self.gdtr.base, u64::from(self.gdtr.limit))
        };
        let offset = u64::from(selector.table_offset());
        let linear = base.wrapping_add(offset);
        (offset + bytes - 1 <= limit).then_some(if self.is_long_mode() {
            linear
        } else {
            linear & 0xFFFF_FFFF
        })
    }

    /// The descriptor that a selector, which is not null, names. `None` if its table ends before it.
    pub(super) fn find_descriptor(&mut self, selector: Selector) -> Result<Option<Found>, Stop> {
        let Some(linear) = self.descriptor_address(selector, 8) else { return Ok(None) };
        let bits = self.read(linear, 8, Privilege::ImplicitSupervisor)?;
        Ok(Some(Found { selector, descriptor: SegmentDescriptor::from_bits(bits), linear }))
    }

    /// The descriptor that a selector names; #GP of the selector if there is none.
    pub(super) fn descriptor(&mut self, selector: Selector) -> Result<Found, Stop> {
        self.find_descriptor(selector)?.ok_or(general_protection(selector))
    }

    /// The descriptor of a code segment that control is to be transferred to; #GP(0) for a null selector, #GP of the selector if it is none, or
    /// claims to be 64-bit and 32-bit at once in long mode.
    pub(super) fn code_descriptor(&mut self, selector: Selector) -> Result<Found, Stop> {
        if selector.is_null() {
            return Err(Stop::GENERAL_PROTECTION);
        }
        let found = self.descriptor(selector)?;
        self.check_code(&found)?;
        Ok(found)
    }

    pub(super) fn check_code(&self, found: &Found) -> Result<(), Stop> {
        let attributes = found.attributes();
        let contradiction = self.is_long_mode() && attributes.long() && attributes.default_32();
        if attributes.is_code() && !contradiction { Ok(()) } else { Err(general_protection(found.selector)) }
    }
}

/// CS as a transfer with `cpl` loads it: the selector's RPL becomes the CPL.
pub(super) fn code_segment(found: &Found, cpl: u8) -> Segment {
    Segment { selector: found.selector.with_rpl(cpl), ..found.segment() }
}

/// Checks that control may enter a code segment at `offset`.
pub(super) fn check_entry(cpu: &Cpu, code: &Segment, offset: u64) -> Result<(), Stop> {
    let long = cpu.is_long_mode() && code.attributes.long();
    let inside = if long { cpu.is_canonical(offset) } else { offset <= u64::from(code.limit) };
    if inside { Ok(()) } else { Err(Stop::GENERAL_PROTECTION) }
}

/// SS with a null selector, as inner levels of 64-bit mode have it: unusable, but its DPL is the CPL.
pub(super) const fn null_stack(cpl: u8) -> Segment {
    Segment {
        base: 0,
        limit: 0,
        selector: Selector::new().with_rpl(cpl),
        attributes: SegmentAttributes::new().with_dpl(cpl),
    }
}

/// A segment register as real mode and virtual-8086 mode load it: only base and selector change in real mode.
pub(super) fn paragraph(cpu: &Cpu, name: SegmentName, selector: Selector) -> Segment {
    let base = u64::from(selector.into_bits()) << 4;
    if cpu.is_v86() {
        Segment { base, limit: 0xFFFF, selector, attributes: SegmentAttributes::from_bits(0xF3) }
    } else {
        Segment { base, selector, ..cpu.segment(name) }
    }
}
