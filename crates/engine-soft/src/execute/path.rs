// SPDX-License-Identifier: MIT OR Apache-2.0
//! An instruction is written once, as a [`Body`], and compiled twice: for the [`Fast`] path, where every access hits the TLB, nothing is called and
//! nothing can fail but by a miss; and for the [`Slow`] path, which makes all checks, walks page tables and asks the hypervisor. A miss on the fast path
//! has committed nothing, so the slow path executes the instruction from its start.

use engine::SegmentName;
use x86::paging::AccessKind;

use super::register::whole;
use crate::block::{Leave, Op};
use crate::cpu::{Cpu, rflags};
use crate::mmu::host;
use crate::stop::Stop;

/// An instruction. Implementations commit nothing before their last step that can fail.
pub(crate) trait Body {
    /// Executes it.
    ///
    /// # Errors
    /// What the path's accesses give.
    fn run<P: Path>(cpu: &mut Cpu, op: &Op) -> Result<(), P::Stop>;
}

/// A way to memory.
pub(crate) trait Path {
    /// Why an access did not happen.
    type Stop;

    /// Linear address of the operation's memory operand of `bytes` bytes.
    fn address(cpu: &Cpu, op: &Op, bytes: usize, write: bool) -> Result<u64, Self::Stop>;

    /// The memory operand's offset plus `displacement`, for bit strings.
    fn address_displaced(
        cpu: &Cpu,
        op: &Op,
        displacement: i64,
        bytes: usize,
        write: bool,
    ) -> Result<u64, Self::Stop>;

    /// Linear address in the stack segment.
    fn stack_address(cpu: &Cpu, pointer: u64, bytes: usize, write: bool) -> Result<u64, Self::Stop>;

    /// Reads `BYTES` bytes, zero-extended.
    fn read<const BYTES: usize>(cpu: &mut Cpu, linear: u64) -> Result<u64, Self::Stop>;

    /// Writes the low `BYTES` bytes.
    fn write<const BYTES: usize>(cpu: &mut Cpu, linear: u64, value: u64) -> Result<(), Self::Stop>;

    /// Reads `BYTES` bytes and writes what `change` makes of them.
    fn update<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<(), Self::Stop>;

    /// As `update`, in one locked access; `change` may be called several times.
    fn update_locked<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        change: impl FnMut(u64) -> u64,
    ) -> Result<(), Self::Stop>;

    /// A stop that has no fast form: an exception.
    fn stop(stop: Stop) -> Self::Stop;
}

/// Reads and writes that hit the TLB, in 64-bit mode.
pub(crate) enum Fast {}

/// The fast path cannot serve an access.
pub(crate) struct Miss;

impl Path for Fast {
    type Stop = Miss;

    #[inline(always)]
    fn address(cpu: &Cpu, op: &Op, _bytes: usize, _write: bool) -> Result<u64, Miss> {
        // The address size, above the scale, is zero on this path.
        let index = whole(cpu, op.index).wrapping_shl(op.scale.into());
        Ok(whole(cpu, op.base).wrapping_add(index).wrapping_add(op.displacement as u64))
    }

    #[inline(always)]
    fn address_displaced(
        cpu: &Cpu,
        op: &Op,
        displacement: i64,
        bytes: usize,
        write: bool,
    ) -> Result<u64, Miss> {
        Ok(Self::address(cpu, op, bytes, write)?.wrapping_add(displacement as u64))
    }

    #[inline(always)]
    fn stack_address(_cpu: &Cpu, pointer: u64, _bytes: usize, _write: bool) -> Result<u64, Miss> {
        Ok(pointer)
    }

    #[inline(always)]
    fn read<const BYTES: usize>(cpu: &mut Cpu, linear: u64) -> Result<u64, Miss> {
        let address = cpu.mmu.hit(linear, BYTES, false).ok_or(Miss)?;
        // SAFETY: the TLB gives host addresses of guest memory that is mapped for the whole access.
        Ok(unsafe { host::load(address, BYTES) })
    }

    #[inline(always)]
    fn write<const BYTES: usize>(cpu: &mut Cpu, linear: u64, value: u64) -> Result<(), Miss> {
        let address = cpu.mmu.hit(linear, BYTES, true).ok_or(Miss)?;
        // SAFETY: as above.
        unsafe { host::store(address, BYTES, value) };
        Ok(())
    }

    #[inline(always)]
    fn update<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<(), Miss> {
        let address = cpu.mmu.hit(linear, BYTES, true).ok_or(Miss)?;
        // SAFETY: as above.
        unsafe { host::store(address, BYTES, change(host::load(address, BYTES))) };
        Ok(())
    }

    #[inline(always)]
    fn update_locked<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        mut change: impl FnMut(u64) -> u64,
    ) -> Result<(), Miss> {
        let address = cpu.mmu.hit(linear, BYTES, true).ok_or(Miss)?;
        // SAFETY: as above.
        let mut old = unsafe { host::load(address, BYTES) };
        loop {
            // SAFETY: as above.
            let found = unsafe { host::compare_exchange(address, BYTES, old, change(old)) };
            if found == old {
                return Ok(());
            }
            old = found;
        }
    }

    #[inline(always)]
    fn stop(_stop: Stop) -> Miss {
        Miss
    }
}

/// Everything else.
pub(crate) enum Slow {}

/// The segment of an operation's memory operand.
fn segment(op: &Op) -> SegmentName {
    const NAMES: [SegmentName; 8] = [
        SegmentName::Es,
        SegmentName::Cs,
        SegmentName::Ss,
        SegmentName::Ds,
        SegmentName::Fs,
        SegmentName::Gs,
        SegmentName::Ds,
        SegmentName::Ds,
    ];
    NAMES[usize::from(op.length_and_segment >> 4 & 7)]
}

/// Whether an access of so many bytes reaches into the next page.
const fn crosses_page(linear: u64, bytes: usize) -> bool {
    linear & 0xFFF > 0x1000 - bytes as u64
}

const fn kind(write: bool) -> AccessKind {
    if write { AccessKind::Write } else { AccessKind::Read }
}

/// Offset of the memory operand in its segment, cut to the address size.
pub(crate) fn effective_address(cpu: &Cpu, op: &Op, displacement: i64) -> u64 {
    use crate::block::field;
    // Decode puts the base of FS or GS in place of an index that is not there; it is the segment's part.
    let index = match op.index {
        field::FS_BASE | field::GS_BASE => 0,
        index => whole(cpu, index) << (op.scale & 3),
    };
    let offset = whole(cpu, op.base)
        .wrapping_add(index)
        .wrapping_add(op.displacement as u64)
        .wrapping_add(displacement as u64);
    match op.scale >> 4 {
        0 => offset,
        1 => offset & 0xFFFF_FFFF,
        _ => offset & 0xFFFF,
    }
}

impl Path for Slow {
    type Stop = Stop;

    fn address(cpu: &Cpu, op: &Op, bytes: usize, write: bool) -> Result<u64, Stop> {
        cpu.linear(segment(op), effective_address(cpu, op, 0), bytes, kind(write))
    }

    fn address_displaced(
        cpu: &Cpu,
        op: &Op,
        displacement: i64,
        bytes: usize,
        write: bool,
    ) -> Result<u64, Stop> {
        cpu.linear(segment(op), effective_address(cpu, op, displacement), bytes, kind(write))
    }

    fn stack_address(cpu: &Cpu, pointer: u64, bytes: usize, write: bool) -> Result<u64, Stop> {
        let offset = match cpu.mode().stack_width() {
            2 => pointer & 0xFFFF,
            4 => pointer & 0xFFFF_FFFF,
            _ => pointer,
        };
        cpu.linear(SegmentName::Ss, offset, bytes, kind(write))
    }

    fn read<const BYTES: usize>(cpu: &mut Cpu, linear: u64) -> Result<u64, Stop> {
        cpu.read(linear, BYTES, cpu.privilege())
    }

    fn write<const BYTES: usize>(cpu: &mut Cpu, linear: u64, value: u64) -> Result<(), Stop> {
        cpu.write(linear, BYTES, value, cpu.privilege())
    }

    fn update<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        change: impl FnOnce(u64) -> u64,
    ) -> Result<(), Stop> {
        let privilege = cpu.privilege();
        cpu.check_alignment(linear, BYTES, privilege)?;
        cpu.probe_write(linear, BYTES, privilege)?;
        let old = cpu.read(linear, BYTES, privilege)?;
        cpu.write(linear, BYTES, change(old), privilege)
    }

    fn update_locked<const BYTES: usize>(
        cpu: &mut Cpu,
        linear: u64,
        mut change: impl FnMut(u64) -> u64,
    ) -> Result<(), Stop> {
        let privilege = cpu.privilege();
        cpu.check_alignment(linear, BYTES, privilege)?;
        cpu.probe_write(linear, BYTES, privilege)?;
        if cpu.is_device(linear, BYTES, privilege)? {
            let old = cpu.read(linear, BYTES, privilege)?;
            return cpu.write(linear, BYTES, change(old), privilege);
        }
        if crosses_page(linear, BYTES) && !cpu.alone {
            return Err(Stop::Alone);
        }
        let mut old = cpu.read(linear, BYTES, privilege)?;
        loop {
            let found = cpu.compare_exchange(linear, BYTES, old, change(old), privilege)?;
            if found == old {
                return Ok(());
            }
            old = found;
        }
    }

    fn stop(stop: Stop) -> Stop {
        stop
    }
}

impl Cpu {
    /// CR0.AM, RFLAGS.AC and CPL 3.
    #[inline]
    pub(crate) fn checks_alignment(&self) -> bool {
        self.cpl() == 3 && self.cr0().am() && self.rflags() & rflags::AC != 0
    }

    /// Sets `rip` and `next_rip` for the instruction of an operation.
    #[inline]
    pub(crate) fn enter_slow(&mut self, op: &Op) {
        self.slow_op = op;
        let base = self.frame.slots[crate::cpu::slot::IP_BASE];
        self.rip = self.cut_ip(base.wrapping_add(op.offset.into()));
        self.next_rip = self.cut_ip(base.wrapping_add(op.next_offset()));
    }

    /// Counts the instructions of the block before the slow operation, and `more`, where the chain ends in the middle of the block.
    pub(crate) fn count_to_slow_op(&mut self, more: i64) {
        // SAFETY: the operation is an instruction's and still live: blocks are freed only between chains.
        self.budget -= unsafe { Op::position(self.slow_op) } + more;
    }

    /// The group's clock at the slow operation's instruction.
    pub(crate) fn now(&self) -> u64 {
        if !self.time.is_virtual() {
            return self.time.now(0);
        }
        // SAFETY: as in `count_to_slow_op`.
        let position = unsafe { Op::position(self.slow_op) };
        self.time.now(self.instructions() + position.unsigned_abs())
    }

    /// Ends the chain before the slow operation's instruction, which has not retired.
    pub(crate) fn stop_at_slow_op(&mut self, stop: Stop) -> Leave {
        self.count_to_slow_op(0);
        if let Stop::Exit(noted) = stop {
            return Leave::Exit(noted);
        }
        self.stop = Some(stop);
        Leave::Stop
    }

    /// RIP has 64 bits only in 64-bit mode.
    #[inline(always)]
    pub(crate) fn cut_ip(&self, ip: u64) -> u64 {
        if self.mode().is_64() { ip } else { ip & 0xFFFF_FFFF }
    }
}

/// Goes on with the following operation.
///
/// # Safety
/// `op` must be live and not the last of its block.
#[inline(always)]
pub(crate) unsafe fn next(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: by contract.
    unsafe {
        let next = op.add(1);
        (*next).handler()(cpu, next)
    }
}

/// The handler of an instruction that tries the fast path first.
///
/// # Safety
/// As [`crate::block::Handler`].
pub(crate) unsafe fn fast<B: Body>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    unsafe {
        match B::run::<Fast>(cpu, &*op) {
            Ok(()) => next(cpu, op),
            Err(Miss) => slow::<B>(cpu, op),
        }
    }
}

/// The handler of an instruction that takes the slow path. It returns to the run loop, so it may use the stack as it likes.
///
/// # Safety
/// As [`crate::block::Handler`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn slow<B: Body>(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live.
    let result = unsafe {
        cpu.enter_slow(&*op);
        B::run::<Slow>(cpu, &*op)
    };
    // SAFETY: a body is never the last operation of its block.
    finish(cpu, result, unsafe { op.add(1) })
}

/// Returns to the run loop: on to `next`, or with a stop.
pub(crate) fn finish(cpu: &mut Cpu, result: Result<(), Stop>, next: *const Op) -> Leave {
    match result {
        Ok(()) => {
            cpu.resume_at = next;
            Leave::Continue
        }
        Err(stop) => cpu.stop_at_slow_op(stop),
    }
}
