// SPDX-License-Identifier: MIT OR Apache-2.0
//! The stack that an event or a call gate switches to, before it is the current one.

use engine::{Segment, SegmentName};
use x86::exception::Exception;
use x86::paging::Privilege;
use x86::segment::Selector;
use x86::tss::{tss16, tss32, tss64};

use super::descriptor::{error_code, null_stack};
use super::segment_load::stack_segment;
use crate::cpu::Cpu;
use crate::stop::Stop;

/// A stack that values are pushed onto while SS and RSP still are the old ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct InnerStack {
    pub(super) segment: Segment,
    pub(super) pointer: u64,
    long: bool,
    privilege: Privilege,
    /// Error code of the #SS that a full stack raises.
    fault_code: u32,
}

impl InnerStack {
    /// The current stack, for a transfer that stays on its level. `long` says that the handler is 64-bit code.
    pub(super) fn same_level(cpu: &Cpu, long: bool) -> Self {
        let segment = cpu.segment(SegmentName::Ss);
        Self { segment, pointer: cpu.gpr(engine::Gpr::Rsp), long, privilege: cpu.privilege(), fault_code: 0 }
    }

    /// The stack that a 64-bit TSS names: of a level, or of the interrupt stack table if `ist` is not 0.
    pub(super) fn from_tss64(cpu: &mut Cpu, cpl: u8, ist: u8) -> Result<Self, Stop> {
        let offset = if ist == 0 { tss64::rsp(cpl) } else { tss64::ist(ist) };
        let pointer = read_tss(cpu, offset, 8)?;
        if !cpu.is_canonical(pointer) {
            return Err(Stop::STACK_FAULT);
        }
        // An IST entry of the level that already runs keeps its SS selector null all the same (SDM 3A 6.14.4, 6.14.5).
        Ok(Self {
            segment: null_stack(cpl),
            pointer,
            long: true,
            privilege: Self::privilege(cpl),
            fault_code: 0,
        })
    }

    /// The current level's stack pointer from the interrupt stack table, with SS as it is.
    pub(super) fn from_ist_same_level(cpu: &mut Cpu, ist: u8) -> Result<Self, Stop> {
        let mut stack = Self::from_tss64(cpu, cpu.cpl(), ist)?;
        stack.segment = cpu.segment(SegmentName::Ss);
        stack.privilege = cpu.privilege();
        Ok(stack)
    }

    /// The stack that a 16- or 32-bit TSS names for a level.
    pub(super) fn from_tss(cpu: &mut Cpu, cpl: u8) -> Result<Self, Stop> {
        let task = cpu.segment(SegmentName::Tr).attributes;
        let wide = task.segment_type() & 8 != 0;
        let (pointer, selector) = if wide {
            (read_tss(cpu, tss32::esp(cpl), 4)?, read_tss(cpu, tss32::ss(cpl), 2)?)
        } else {
            (read_tss(cpu, tss16::sp(cpl), 2)?, read_tss(cpu, tss16::ss(cpl), 2)?)
        };
        let selector = Selector::from_bits(selector as u16);
        let segment = stack_segment(cpu, selector, cpl, Exception::InvalidTss)?;
        Ok(Self {
            segment,
            pointer,
            long: false,
            privilege: Self::privilege(cpl),
            fault_code: error_code(selector),
        })
    }

    const fn privilege(cpl: u8) -> Privilege {
        if cpl == 3 { Privilege::User } else { Privilege::Supervisor { ac: false } }
    }

    /// 64-bit mode aligns the stack to 16 bytes before it pushes an event's frame.
    pub(super) fn align(&mut self) {
        self.pointer &= !0xF;
    }

    fn width(&self) -> u32 {
        match (self.long, self.segment.attributes.default_32()) {
            (true, _) => 8,
            (false, true) => 4,
            (false, false) => 2,
        }
    }

    /// Pushes the low `size` bytes of a value. Memory is written; no register is.
    pub(super) fn push(&mut self, cpu: &mut Cpu, size: usize, value: u64) -> Result<(), Stop> {
        let mask = u64::MAX >> (64 - 8 * self.width());
        let offset = self.pointer.wrapping_sub(size as u64) & mask;
        let linear = self.linear(cpu, offset, size as u64)?;
        cpu.write(linear, size, value, self.privilege)?;
        self.pointer = self.pointer & !mask | offset;
        Ok(())
    }

    fn linear(&self, cpu: &Cpu, offset: u64, size: u64) -> Result<u64, Stop> {
        let full = Stop::with_code(Exception::StackFault, self.fault_code);
        let last = offset.wrapping_add(size - 1);
        if self.long {
            return if cpu.is_canonical(offset) && cpu.is_canonical(last) { Ok(offset) } else { Err(full) };
        }
        let attributes = self.segment.attributes;
        let limit = u64::from(self.segment.limit);
        let inside = if attributes.is_expand_down() {
            offset > limit && last <= if attributes.default_32() { 0xFFFF_FFFF } else { 0xFFFF }
        } else {
            last <= limit
        };
        if inside { Ok(self.segment.base.wrapping_add(offset) & 0xFFFF_FFFF) } else { Err(full) }
    }

    /// Makes it the current stack.
    pub(super) fn commit(self, cpu: &mut Cpu) {
        let width = self.width() as usize;
        cpu.set_segment_raw(SegmentName::Ss, self.segment);
        // A 16-bit stack leaves the upper half of ESP alone.
        cpu.set_gpr_part(engine::Gpr::Rsp, width, self.pointer);
    }
}

/// Reads a field of the current TSS; #TS of its selector if the TSS is too short for it.
fn read_tss(cpu: &mut Cpu, offset: u32, size: usize) -> Result<u64, Stop> {
    let task = cpu.segment(SegmentName::Tr);
    let usable = task.attributes.present();
    if !usable || offset + size as u32 - 1 > task.limit {
        let code = error_code(task.selector);
        return Err(Stop::with_code(Exception::InvalidTss, code));
    }
    cpu.read(task.base.wrapping_add(offset.into()), size, Privilege::ImplicitSupervisor)
}
