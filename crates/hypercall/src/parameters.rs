// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a call's parameters are, memory or registers, and access to them (TLFS 3.6 to 3.8).

use crate::caller::{CallerMode, GuestMemory, Offered, Register, Registers};
use tlfs::HvStatus;
use tlfs::hypercall::{
    InputValue, PARAMETER_ALIGNMENT, REGISTER_FAST_INPUT_BYTES, ResultValue, XMM_FAST_TOTAL_BYTES,
};

const PAGE: u64 = 4096;

/// Why a call is not made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    InvalidOpcode,
    Status(HvStatus),
}

/// The caller's registers under the mapping of its mode.
pub(crate) struct Frame<'a, R> {
    registers: &'a mut R,
    /// 64-bit caller.
    wide: bool,
}

/// The control word of the call that a processor is about to make: RCX, or EDX:EAX. `None` where calls are #UD.
///
/// For tracing; [`dispatch`](crate::dispatch) reads it itself.
pub fn control_word<R: Registers>(registers: &R) -> Option<InputValue> {
    Some(read_control(registers, is_wide(registers)?))
}

/// Whether the caller is a 64-bit one; `None` where calls are #UD.
fn is_wide<R: Registers>(registers: &R) -> Option<bool> {
    match registers.mode() {
        CallerMode::Bits64 => Some(true),
        CallerMode::Bits32 => Some(false),
        CallerMode::Illegal => None,
    }
}

fn read_control<R: Registers>(registers: &R, wide: bool) -> InputValue {
    InputValue::from_bits(if wide {
        registers.general(Register::Rcx)
    } else {
        pair(registers, Register::Rdx, Register::Rax)
    })
}

/// A 64-bit value in two 32-bit registers.
fn pair<R: Registers>(registers: &R, high: Register, low: Register) -> u64 {
    registers.general(high) << 32 | registers.general(low) & 0xFFFF_FFFF
}

impl<'a, R: Registers> Frame<'a, R> {
    /// The frame and its control word; `None` where hypercalls are #UD.
    pub(crate) fn new(registers: &'a mut R) -> Option<(Self, InputValue)> {
        let wide = is_wide(registers)?;
        let control = read_control(registers, wide);
        Some((Self { registers, wide }, control))
    }

    /// Leaves the call to be executed again from element `index` on (TLFS 3.9). Only the bits of the index change.
    pub(crate) fn set_rep_start_index(&mut self, control: InputValue, index: u16) {
        let control = control.with_rep_start_index(index).into_bits();
        if self.wide {
            self.registers.set_general(Register::Rcx, control);
        } else {
            self.registers.set_general(Register::Rdx, control >> 32);
        }
    }

    /// RAX, or EDX:EAX.
    pub(crate) fn set_result(&mut self, result: ResultValue) {
        let result = result.into_bits();
        if self.wide {
            self.registers.set_general(Register::Rax, result);
        } else {
            self.registers.set_general(Register::Rax, result & 0xFFFF_FFFF);
            self.registers.set_general(Register::Rdx, result >> 32);
        }
    }

    /// RDX, or EBX:ECX.
    fn first(&self) -> u64 {
        if self.wide {
            self.registers.general(Register::Rdx)
        } else {
            pair(self.registers, Register::Rbx, Register::Rcx)
        }
    }

    /// R8, or EDI:ESI.
    fn second(&self) -> u64 {
        if self.wide {
            self.registers.general(Register::R8)
        } else {
            pair(self.registers, Register::Rdi, Register::Rsi)
        }
    }
}

/// The input and output areas of one call, checked.
pub(crate) struct Parameters {
    place: Place,
    output_length: usize,
}

enum Place {
    Memory { input: u64, output: u64 },
    Registers { block: [u8; XMM_FAST_TOTAL_BYTES], output_start: usize },
}

impl Parameters {
    /// Finds areas of these lengths in bytes (whole lists counted), reading registers but not memory.
    ///
    /// The pointer of an area without length is not looked at: guests leave anything there.
    pub(crate) fn find<R: Registers>(
        frame: &Frame<'_, R>,
        offered: &Offered,
        control: InputValue,
        input_length: usize,
        output_length: usize,
    ) -> Result<Self, Refusal> {
        let place = if control.fast() {
            let (output_start, used) = fast_areas(frame.wide, offered, input_length, output_length)?;
            let mut block = [0; XMM_FAST_TOTAL_BYTES];
            block[..8].copy_from_slice(&frame.first().to_le_bytes());
            block[8..16].copy_from_slice(&frame.second().to_le_bytes());
            let xmm_bytes = &mut block[REGISTER_FAST_INPUT_BYTES..used.max(REGISTER_FAST_INPUT_BYTES)];
            for (index, chunk) in xmm_bytes.chunks_exact_mut(16).enumerate() {
                chunk.copy_from_slice(&frame.registers.xmm(index).to_le_bytes());
            }
            Place::Registers { block, output_start }
        } else {
            let (input, output) = (frame.first(), frame.second());
            check_area(input, input_length, offered)?;
            check_area(output, output_length, offered)?;
            Place::Memory { input, output }
        };
        Ok(Self { place, output_length })
    }

    /// Copies from the input area. The range is part of what [`Parameters::find`] was asked for.
    #[inline]
    pub(crate) fn read<M: GuestMemory>(
        &self,
        memory: &mut M,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<(), M::Intercept> {
        match &self.place {
            _ if bytes.is_empty() => Ok(()),
            Place::Memory { input, .. } => memory.read(input + offset as u64, bytes),
            Place::Registers { block, .. } => {
                bytes.copy_from_slice(&block[offset..offset + bytes.len()]);
                Ok(())
            }
        }
    }

    /// Holds the whole output area until the call is over.
    #[inline]
    pub(crate) fn lock_output<M: GuestMemory>(&self, memory: &mut M) -> Result<(), M::Intercept> {
        match self.place {
            Place::Memory { output, .. } if self.output_length != 0 => {
                memory.lock_output(output, self.output_length)
            }
            _ => Ok(()),
        }
    }

    /// Copies into the output area. The range is part of what [`Parameters::find`] was asked for.
    #[inline]
    pub(crate) fn write<R: Registers, M: GuestMemory>(
        &mut self,
        frame: &mut Frame<'_, R>,
        memory: &mut M,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), M::Intercept> {
        match &mut self.place {
            _ if bytes.is_empty() => Ok(()),
            Place::Memory { output, .. } => memory.write(*output + offset as u64, bytes),
            Place::Registers { block, output_start } => {
                let start = *output_start + offset;
                block[start..start + bytes.len()].copy_from_slice(bytes);
                write_registers(frame.registers, block, start, bytes.len());
                Ok(())
            }
        }
    }
}

/// Writes back those registers of the block that the range touches: first RDX and R8, then XMM0 to XMM5.
fn write_registers<R: Registers>(
    registers: &mut R,
    block: &[u8; XMM_FAST_TOTAL_BYTES],
    start: usize,
    length: usize,
) {
    let touched = |low: usize, size: usize| low < start + length && start < low + size;
    let (general, xmm) = block.split_at(REGISTER_FAST_INPUT_BYTES);
    let (first, _) = general.as_chunks::<8>();
    for (index, (bytes, register)) in first.iter().zip([Register::Rdx, Register::R8]).enumerate() {
        if touched(8 * index, 8) {
            registers.set_general(register, u64::from_le_bytes(*bytes));
        }
    }
    let (xmm, _) = xmm.as_chunks::<16>();
    for (index, bytes) in xmm.iter().enumerate() {
        if touched(REGISTER_FAST_INPUT_BYTES + 16 * index, 16) {
            registers.set_xmm(index, u128::from_le_bytes(*bytes));
        }
    }
}

/// Where the output starts in the block of fast parameters, and the block's length in whole registers.
fn fast_areas(
    wide: bool,
    offered: &Offered,
    input_length: usize,
    output_length: usize,
) -> Result<(usize, usize), Refusal> {
    let output_start = input_length.next_multiple_of(16);
    let used = output_start + output_length.next_multiple_of(16);
    // What no form can carry is an error whatever is offered.
    if used > XMM_FAST_TOTAL_BYTES {
        return Err(Refusal::Status(HvStatus::INVALID_HYPERCALL_INPUT));
    }
    let input_offered = input_length <= REGISTER_FAST_INPUT_BYTES || offered.xmm_fast_input;
    let output_offered = output_length == 0 || (wide && offered.xmm_fast_output);
    if !input_offered || !output_offered {
        return Err(Refusal::InvalidOpcode);
    }
    Ok((output_start, used))
}

/// Checks a pointer: aligned, inside the guest-physical address space, and the area inside one page (TLFS 3.6, 3.12.3).
fn check_area(gpa: u64, length: usize, offered: &Offered) -> Result<(), Refusal> {
    let is_good = gpa.is_multiple_of(PARAMETER_ALIGNMENT)
        && gpa.checked_shr(offered.physical_address_width.into()).is_none_or(|beyond| beyond == 0)
        && gpa % PAGE + length as u64 <= PAGE;
    if length == 0 || is_good { Ok(()) } else { Err(Refusal::Status(HvStatus::INVALID_ALIGNMENT)) }
}
