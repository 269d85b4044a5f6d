// SPDX-License-Identifier: MIT OR Apache-2.0
//! Data instructions that the host executes through a stub.

use x86::exception::Exception;

use super::path::{Path, Slow, effective_address, finish};
use crate::block::{Leave, Op};
use crate::cpu::{Cpu, Flags};
use crate::host_execution::{MemoryOperand, Outcome, Requirement, Stub, Unavailable, X87Site};
use crate::mmu::host;
use crate::stop::Stop;

/// Executes a stub, to which `immediate` points. For x87, `register` holds the ModRM byte and `extra` the low three bits of the opcode.
///
/// # Safety
/// As [`crate::block::Handler`].
#[inline(never)]
pub(crate) unsafe fn run_stub(cpu: &mut Cpu, op: *const Op) -> Leave {
    // SAFETY: the operation is live, and the block cache keeps its stub.
    let (operation, stub) = unsafe {
        let operation = &*op;
        (operation, &*std::ptr::with_exposed_provenance::<Stub>(operation.immediate as usize))
    };
    cpu.enter_slow(operation);
    let result = execute(cpu, operation, stub);
    // SAFETY: a stub's operation is never the last of its block.
    finish(cpu, result, unsafe { op.add(1) })
}

impl From<Unavailable> for Stop {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::InvalidOpcode => Self::INVALID_OPCODE,
            Unavailable::DeviceNotAvailable => Self::DEVICE_NOT_AVAILABLE,
        }
    }
}

impl Cpu {
    /// Checks that control registers allow a group of instructions.
    ///
    /// # Errors
    /// #UD or #NM.
    pub fn check_requirement(&self, requirement: Requirement) -> Result<(), Stop> {
        if requirement == Requirement::None {
            return Ok(());
        }
        Ok(self.availability.check(requirement)?)
    }

    /// What a pending x87 exception raises: #MF, or FERR#, which this processor does not have.
    #[must_use]
    pub(crate) fn x87_exception(&mut self) -> Stop {
        if self.cr0().ne() {
            Stop::exception(Exception::FloatingPoint)
        } else {
            self.unsupported("x87 exceptions by way of FERR# (CR0.NE is clear)")
        }
    }
}

fn execute(cpu: &mut Cpu, op: &Op, stub: &Stub) -> Result<(), Stop> {
    cpu.check_requirement(stub.requirement())?;
    let Some(memory) = stub.memory() else { return run(cpu, op, stub).map(drop) };
    let size = usize::from(memory.size);
    let address = Slow::address(cpu, op, size, memory.write)?;
    if memory.alignment > 1 && !address.is_multiple_of(u64::from(memory.alignment)) {
        return Err(Stop::GENERAL_PROTECTION);
    }
    // An 80-bit operand is to be aligned as a double is, one of 32 bytes as one of 16.
    let natural = if size == 10 { 8 } else { size.min(16) };
    cpu.check_alignment(address, natural, cpu.privilege())?;
    if memory.read {
        match cpu.mmu.hit(address, size, memory.write) {
            // SAFETY: a hit is a host address of guest memory that is mapped for the whole access.
            Some(from) => unsafe { copy_in(cpu, from, size) },
            None => {
                let mut bytes = [0; 64];
                let privilege = cpu.privilege();
                if memory.write {
                    cpu.probe_write(address, size, privilege)?;
                }
                cpu.read_bytes(address, &mut bytes[..size], privilege)?;
                cpu.frame.bounce.0 = bytes;
            }
        }
    }
    if !memory.write {
        return run(cpu, op, stub).map(drop);
    }
    match cpu.mmu.hit(address, size, true) {
        Some(to) => {
            if run(cpu, op, stub)? {
                // SAFETY: as above.
                unsafe { copy_out(cpu, to, size) };
            }
            Ok(())
        }
        None => write_slowly(cpu, op, stub, memory, address),
    }
}

/// What is written cannot be foreseen, so everything is put back if the write does not happen.
fn write_slowly(
    cpu: &mut Cpu,
    op: &Op,
    stub: &Stub,
    memory: MemoryOperand,
    address: u64,
) -> Result<(), Stop> {
    let size = usize::from(memory.size);
    let privilege = cpu.privilege();
    cpu.probe_write(address, size, privilege)?;
    let (frame, flags) = (cpu.frame.clone(), cpu.flags);
    if !run(cpu, op, stub)? {
        return Ok(());
    }
    let bytes = cpu.frame.bounce.0;
    let written = cpu.write_bytes(address, &bytes[..size], privilege);
    if written.is_err() {
        cpu.frame = frame;
        cpu.flags = flags;
    }
    written
}

/// Gives whether the bounce buffer is to be copied out.
fn run(cpu: &mut Cpu, op: &Op, stub: &Stub) -> Result<bool, Stop> {
    if stub.flags_read() != 0 {
        cpu.frame.rflags = cpu.flags.to_rflags();
    }
    let rip = cpu.rip;
    let data = stub.memory().map(|_| effective_address(cpu, op, 0));
    let opcode = u16::from(op.extra) << 8 | u16::from(op.register);
    let outcome = stub.run(&mut cpu.frame, || X87Site { rip, opcode, data });
    match outcome {
        Outcome::Done | Outcome::DoneWithoutStore => {
            let written = stub.flags_written();
            if written != 0 {
                let old = cpu.flags.to_rflags();
                cpu.flags = Flags::from_rflags(old & !written | cpu.frame.rflags & written);
            }
            Ok(outcome == Outcome::Done)
        }
        Outcome::X87Pending => Err(cpu.x87_exception()),
        Outcome::SimdException if cpu.cr4().osxmmexcpt() => {
            Err(Stop::exception(Exception::SimdFloatingPoint))
        }
        Outcome::SimdException => Err(Stop::INVALID_OPCODE),
    }
}

/// Copies a memory operand to the bounce buffer, by stores as wide as the stub's loads where that is possible.
///
/// # Safety
/// `from` must be a host address of guest memory that is mapped for `size` bytes. With 32 bytes the host must have AVX, as it has where a stub's operand is as wide.
unsafe fn copy_in(cpu: &mut Cpu, from: u64, size: usize) {
    let bounce = &mut cpu.frame.bounce.0;
    // SAFETY: by contract; the bounce buffer has 64 bytes.
    unsafe {
        match size {
            1 | 2 | 4 | 8 => {
                let value = host::load(from, size);
                bounce.as_mut_ptr().cast::<u64>().write(value);
            }
            16 => host::move_16(bounce.as_mut_ptr().addr() as u64, from),
            32 => host::move_32(bounce.as_mut_ptr().addr() as u64, from),
            _ => host::copy_from(from, &mut bounce[..size]),
        }
    }
}

/// Copies the bounce buffer to a memory operand.
///
/// # Safety
/// As [`copy_in`].
unsafe fn copy_out(cpu: &mut Cpu, to: u64, size: usize) {
    let bounce = &cpu.frame.bounce.0;
    // SAFETY: by contract; the bounce buffer has 64 bytes.
    unsafe {
        match size {
            1 | 2 | 4 | 8 => host::store(to, size, bounce.as_ptr().cast::<u64>().read()),
            16 => host::move_16(to, bounce.as_ptr().addr() as u64),
            32 => host::move_32(to, bounce.as_ptr().addr() as u64),
            _ => host::copy_to(to, &bounce[..size]),
        }
    }
}
