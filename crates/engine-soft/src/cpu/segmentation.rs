// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segment registers, and from (segment, offset) to linear addresses.

use engine::{Segment, SegmentName};
use x86::paging::AccessKind;

use super::{Cpu, slot};
use crate::stop::Stop;

/// Whether an address is canonical with 4-level paging, the only kind that there is.
#[inline(always)]
pub(crate) const fn is_canonical(address: u64) -> bool {
    x86::paging::is_canonical(address, 48)
}

impl Cpu {
    /// A segment register.
    #[inline]
    #[must_use]
    pub fn segment(&self, name: SegmentName) -> Segment {
        self.segments[name as usize]
    }

    /// Sets a segment register, hidden part included, with no checks, and works out what derives from it. The DPL of SS is the CPL.
    pub fn set_segment_raw(&mut self, name: SegmentName, segment: Segment) {
        self.segments[name as usize] = segment;
        match name {
            SegmentName::Fs => self.frame.slots[slot::FS_BASE] = segment.base,
            SegmentName::Gs => self.frame.slots[slot::GS_BASE] = segment.base,
            SegmentName::Cs | SegmentName::Ss => self.derive(),
            _ => {}
        }
    }

    /// Whether an address is canonical (always outside 64-bit mode, where linear addresses have 32 bits).
    #[must_use]
    pub fn is_canonical(&self, address: u64) -> bool {
        is_canonical(address)
    }

    /// The linear address of `size` bytes at `offset` in a segment.
    ///
    /// # Errors
    /// #GP(0), or #SS(0) for SS, if the segment forbids the access or an address is not canonical.
    pub fn linear(&self, name: SegmentName, offset: u64, size: usize, kind: AccessKind) -> Result<u64, Stop> {
        let fault =
            if matches!(name, SegmentName::Ss) { Stop::STACK_FAULT } else { Stop::GENERAL_PROTECTION };
        if self.mode().is_64() {
            let linear = match name {
                SegmentName::Fs => self.frame.slots[slot::FS_BASE].wrapping_add(offset),
                SegmentName::Gs => self.frame.slots[slot::GS_BASE].wrapping_add(offset),
                _ => offset,
            };
            let last = linear.wrapping_add(size as u64 - 1);
            return if is_canonical(linear) && is_canonical(last) { Ok(linear) } else { Err(fault) };
        }
        let segment = self.segments[name as usize];
        let attributes = segment.attributes;
        let real = self.is_real_mode() || self.is_v86();
        if !real {
            let allowed = attributes.present()
                && match kind {
                    AccessKind::Read => attributes.is_readable(),
                    AccessKind::Write => attributes.is_writable(),
                    AccessKind::Execute => attributes.is_code(),
                };
            if !allowed {
                return Err(fault);
            }
        }
        let offset = offset & 0xFFFF_FFFF;
        let last = offset + (size as u64 - 1);
        let limit = u64::from(segment.limit);
        let inside = if attributes.is_expand_down() {
            let top = if attributes.default_32() { 0xFFFF_FFFF } else { 0xFFFF };
            offset > limit && last <= top
        } else {
            last <= limit
        };
        if inside { Ok(segment.base.wrapping_add(offset) & 0xFFFF_FFFF) } else { Err(fault) }
    }

    /// The linear address of the byte at `rip` in the code segment, without checks.
    #[must_use]
    pub fn code_linear(&self, rip: u64) -> u64 {
        if self.mode().is_64() {
            rip
        } else {
            self.segments[SegmentName::Cs as usize].base.wrapping_add(rip) & 0xFFFF_FFFF
        }
    }

    /// Checks the target of a near jump, call or return in the current code segment, already cut to the operand size.
    ///
    /// # Errors
    /// #GP(0).
    pub fn check_near_target(&self, rip: u64) -> Result<(), Stop> {
        let inside = if self.mode().is_64() {
            is_canonical(rip)
        } else {
            rip <= u64::from(self.segments[SegmentName::Cs as usize].limit)
        };
        if inside { Ok(()) } else { Err(Stop::GENERAL_PROTECTION) }
    }
}
