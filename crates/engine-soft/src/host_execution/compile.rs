// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiles one instruction into a stub, and keeps stubs for instructions that are alike.
//!
//! A stub gets the frame's address in RDI, where it stays. Its body is the guest's instruction with its memory operand
//! made `[rdi + bounce]` and its general registers renamed to ones that a System V callee may clobber, so nothing
//! is pushed. RAX, RCX and RDX stay themselves: they are the ones that instructions use without naming them.

use std::collections::HashMap;
use std::sync::Arc;

use iced_x86::{
    Code, CodeSize, CpuidFeature, EncodingKind, IcedError, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register, RflagsBits,
};
use thiserror::Error;

use super::code_memory::{CodeMemory, CodeMemoryError};
use super::emitter::{Emitter, at};
use super::extensions::Extensions;
use super::frame;
use super::placement::{Border, Placement, extensions_of, place};
use super::quick_x87::{Quick, QuickShape};
use super::requirement::Requirement;
use super::simd_exception::{Entry, TrapSite};
use super::stub::{MemoryOperand, RegisterSet, Stub};
use super::vector_state::{MXCSR, XMM, YMM_HIGH};

/// Bytes of each code memory: some three thousand stubs.
const CODE_CAPACITY: usize = 256 * 1024;

/// A stub cache could not be made.
#[derive(Debug, Error)]
pub enum StubCacheError {
    /// The processor model offers extensions that the host processor lacks.
    #[error("the host processor lacks {0} of the processor model; choose a lesser model")]
    HostLacks(Extensions),
    /// No executable memory.
    #[error(transparent)]
    Memory(#[from] CodeMemoryError),
}

/// An instruction has no stub.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The processor model does not offer the instruction: raise `#UD`.
    #[error("the processor model does not offer {0:?}")]
    NotOffered(Code),
    /// [`place`] names another executor.
    #[error("{0:?} is not executed by a stub: {1:?}")]
    PlacedElsewhere(Code, Placement),
    /// The instruction has a shape that no stub can have. This is a mistake in [`place`]; the text says which.
    #[error("{0:?} does not fit a stub: {1}")]
    Shape(Code, String),
    /// No executable memory.
    #[error(transparent)]
    Memory(#[from] CodeMemoryError),
}

/// Compiles instructions, giving the same stub to all that differ only in their address or memory operand.
pub struct StubCache {
    offered: Extensions,
    code: Arc<CodeMemory>,
    stubs: HashMap<Instruction, Arc<Stub>>,
    information: InstructionInfoFactory,
}

impl StubCache {
    /// A cache for a processor model with the extensions `offered`.
    ///
    /// # Errors
    ///
    /// See [`StubCacheError`].
    pub fn new(offered: Extensions) -> Result<Self, StubCacheError> {
        let host = Extensions::of_host();
        if !host.contains(offered) {
            return Err(StubCacheError::HostLacks(offered.without(host)));
        }
        Ok(Self {
            offered,
            code: Arc::new(CodeMemory::new(CODE_CAPACITY)?),
            stubs: HashMap::new(),
            information: InstructionInfoFactory::new(),
        })
    }

    /// The stub for `instruction`, decoded in any mode.
    ///
    /// Stubs live as long as someone holds them. When the code memory is full, the cache starts a new one and
    /// forgets its stubs; the old one is unmapped with its last stub.
    ///
    /// # Errors
    ///
    /// See [`CompileError`].
    pub fn compile(&mut self, instruction: &Instruction) -> Result<Arc<Stub>, CompileError> {
        let code = instruction.code();
        let border = match place(instruction) {
            Placement::Stub(border) => border,
            elsewhere => return Err(CompileError::PlacedElsewhere(code, elsewhere)),
        };
        if !self.offers(code) {
            return Err(CompileError::NotOffered(code));
        }
        let key = with_memory_operand(instruction, frame::BOUNCE);
        if let Some(stub) = self.stubs.get(&key) {
            return Ok(Arc::clone(stub));
        }
        let plan = Plan::new(instruction, border, &mut self.information)?;
        let emitted = plan.emit(&key).map_err(|error| CompileError::Shape(code, error.to_string()))?;
        let stub = Arc::new(self.place_code(plan, &emitted)?);
        self.stubs.insert(key, Arc::clone(&stub));
        Ok(stub)
    }

    /// Whether the processor model offers the data instruction `code`, whoever executes it.
    pub fn offers(&self, code: Code) -> bool {
        self.offered.contains(extensions_of(code).unwrap_or_default())
    }

    fn place_code(&mut self, plan: Plan, emitted: &Emitted) -> Result<Stub, CodeMemoryError> {
        let (entry, address) = self.append(&emitted.bytes)?;
        let code = Arc::clone(&self.code);
        let quick = match plan.quick.zip(emitted.quick.as_ref()) {
            Some((shape, bytes)) => {
                let (entry, _) = self.append(bytes)?;
                Some(Quick { shape, entry, _code: Arc::clone(&self.code) })
            }
            None => None,
        };
        Ok(Stub {
            entry,
            trap_site: TrapSite { instruction: address + emitted.body, exit: address + emitted.trap_exit },
            border: plan.border,
            requirement: plan.requirement,
            memory: plan.memory,
            gprs_read: plan.gprs_used,
            gprs_written: plan.gprs_written,
            flags_read: plan.flags_read,
            flags_written: plan.flags_written,
            has_x87_site: plan.requirement == Requirement::X87,
            quick,
            _code: code,
        })
    }

    /// Makes emitted code executable, in [`Self::code`]. Whoever keeps the entry must keep that, too.
    fn append(&mut self, bytes: &[u8]) -> Result<(Entry, usize), CodeMemoryError> {
        let address = match self.code.append(bytes) {
            Some(address) => address,
            None => {
                self.code = Arc::new(CodeMemory::new(CODE_CAPACITY)?);
                self.stubs.clear();
                self.code.append(bytes).expect("a fresh code memory holds one stub")
            }
        };
        // SAFETY: the address is that of executable code from this module, which follows the System V calling
        // convention and takes a frame's address; a stub keeps the memory mapped.
        let entry = unsafe { std::mem::transmute::<*mut u8, Entry>(address.as_ptr()) };
        Ok((entry, address.as_ptr() as usize))
    }
}

/// What a stub loads, renames and stores.
struct Plan {
    border: Border,
    requirement: Requirement,
    memory: Option<MemoryOperand>,
    gprs_used: RegisterSet,
    gprs_written: RegisterSet,
    vectors_used: RegisterSet,
    vectors_written: RegisterSet,
    flags_read: u64,
    flags_written: u64,
    /// The host register for each guest register that is used.
    host_gprs: [Register; 16],
    quick: Option<QuickShape>,
}

/// Host registers that a callee may clobber and that no instruction uses without naming them.
const RENAMING_POOL: [Register; 5] =
    [Register::RSI, Register::R8, Register::R9, Register::R10, Register::R11];

impl Plan {
    fn new(
        instruction: &Instruction,
        border: Border,
        information: &mut InstructionInfoFactory,
    ) -> Result<Self, CompileError> {
        let code = instruction.code();
        let shape = |text: &str| CompileError::Shape(code, text.to_owned());
        // Without base and index, the registers that remain are data.
        let mut addressless = *instruction;
        addressless.set_memory_base(Register::None);
        addressless.set_memory_index(Register::None);
        addressless.set_segment_prefix(Register::None);
        let information = information.info(&addressless);

        let mut plan = Self {
            border,
            requirement: Requirement::of_stub(instruction, border),
            memory: None,
            gprs_used: RegisterSet::default(),
            gprs_written: RegisterSet::default(),
            vectors_used: RegisterSet::default(),
            vectors_written: RegisterSet::default(),
            flags_read: status_flags(instruction.rflags_read()),
            flags_written: status_flags(instruction.rflags_modified() & !instruction.rflags_undefined()),
            host_gprs: [Register::None; 16],
            quick: None,
        };
        if plan.requirement == Requirement::X87 {
            plan.quick = QuickShape::of(instruction, information.used_registers());
        }
        for used in information.used_registers() {
            let register = used.register();
            let (all, written) = if register.is_gpr() {
                (&mut plan.gprs_used, &mut plan.gprs_written)
            } else if register.is_vector_register() {
                (&mut plan.vectors_used, &mut plan.vectors_written)
            } else {
                continue;
            };
            let index = register.full_register().number();
            // What is only written is loaded too, because narrow writes merge; but those with a VEX prefix clear the rest of a vector register.
            let is_replaced = instruction.encoding() == EncodingKind::VEX
                && register.is_vector_register()
                && used.access() == OpAccess::Write;
            if !is_replaced {
                all.insert(index);
            }
            if writes(used.access()) {
                written.insert(index);
            }
        }
        plan.memory = match information.used_memory() {
            [] => None,
            [operand] => {
                let size = operand.memory_size().size();
                let (read, write) = (reads(operand.access()), writes(operand.access()));
                if !(1..=32).contains(&size) || !(read || write) {
                    return Err(shape("its memory operand has no fixed size"));
                }
                let size = size as u8;
                Some(MemoryOperand { size, read, write, alignment: alignment(instruction, size) })
            }
            _ => return Err(shape("it has two memory operands")),
        };
        plan.choose_host_gprs(instruction).ok_or_else(|| shape("it uses too many general registers"))?;
        Ok(plan)
    }

    /// Fills `host_gprs`. `None` if the pool does not suffice, or an unnamed register is not where it must be.
    fn choose_host_gprs(&mut self, instruction: &Instruction) -> Option<()> {
        let mut named = RegisterSet::default();
        let mut high_byte = None;
        for operand in 0..instruction.op_count() {
            let register = instruction.op_register(operand);
            if instruction.op_kind(operand) == OpKind::Register && register.is_gpr() {
                named.insert(register.full_register().number());
                if is_high_byte(register) {
                    high_byte = Some(register.full_register().number());
                }
            }
        }
        let low = [Register::RAX, Register::RCX, Register::RDX];
        let mut pool = RENAMING_POOL.into_iter();
        for guest in self.gprs_used.iter() {
            self.host_gprs[guest] = if let Some(&same) = low.get(guest) {
                same
            } else if !named.contains(guest) {
                return None;
            } else if high_byte == Some(guest) {
                // BH has no counterpart in the pool, but such an instruction names one other register at most.
                *low.iter().find(|host| !self.gprs_used.contains(host.number()))?
            } else {
                pool.next()?
            };
        }
        Some(())
    }

    /// The instruction as the host runs it.
    fn body(&self, with_bounce: &Instruction) -> Instruction {
        let mut body = *with_bounce;
        for operand in 0..body.op_count() {
            let register = body.op_register(operand);
            if body.op_kind(operand) == OpKind::Register && register.is_gpr() {
                let host = self.host_gprs[register.full_register().number()];
                body.set_op_register(operand, same_width(register, host));
            }
        }
        body
    }

    fn emit(&self, with_bounce: &Instruction) -> Result<Emitted, IcedError> {
        let mut code = Emitter::new();
        let uses_mxcsr =
            matches!(self.border, Border::VectorWithMxcsr | Border::AvxWithMxcsr | Border::Legacy);
        if uses_mxcsr {
            code.memory(Code::Stmxcsr_m32, frame::HOST_MXCSR)?;
        }
        match self.border {
            Border::Legacy => {
                code.memory(Code::Fnstcw_m2byte, frame::HOST_FCW)?;
                code.memory(Code::Fxrstor64_m512byte, frame::VECTOR)?;
            }
            Border::VectorWithMxcsr | Border::AvxWithMxcsr => {
                code.memory(Code::Ldmxcsr_m32, frame::VECTOR + MXCSR)?;
            }
            Border::General | Border::Vector | Border::Avx => {}
        }
        self.move_vectors(&mut code, self.vectors_used, Direction::ToHost)?;
        let body = self.emit_body(&mut code, with_bounce)?;
        self.move_vectors(&mut code, self.vectors_written, Direction::ToFrame)?;
        if self.border == Border::Legacy {
            code.memory(Code::Fxsave64_m512byte, frame::VECTOR)?;
        } else if uses_mxcsr {
            code.memory(Code::Stmxcsr_m32, frame::VECTOR + MXCSR)?;
        }
        self.restore_host(&mut code, uses_mxcsr)?;

        let trap_exit = code.position;
        if uses_mxcsr {
            code.memory(Code::Stmxcsr_m32, frame::VECTOR + MXCSR)?;
            self.restore_host(&mut code, uses_mxcsr)?;
        }
        Ok(Emitted { bytes: code.finish(), body, trap_exit, quick: self.emit_quick(with_bounce)? })
    }

    /// Emits the instruction with its general registers and flags around it; returns the instruction's offset.
    fn emit_body(&self, code: &mut Emitter, with_bounce: &Instruction) -> Result<usize, IcedError> {
        if self.flags_read != 0 {
            code.load_flags(self.flags_read)?;
        }
        for guest in self.gprs_used.iter() {
            code.load(Code::Mov_r64_rm64, self.host_gprs[guest], frame::GPRS + 8 * guest)?;
        }
        let body = code.position;
        code.emit(&self.body(with_bounce))?;
        for guest in self.gprs_written.iter() {
            code.store(Code::Mov_rm64_r64, frame::GPRS + 8 * guest, self.host_gprs[guest])?;
        }
        if self.flags_written != 0 {
            code.store_flags(self.flags_written)?;
        }
        Ok(body)
    }

    /// The quick form's code, if there is one.
    fn emit_quick(&self, with_bounce: &Instruction) -> Result<Option<Vec<u8>>, IcedError> {
        let emit = |shape: QuickShape| shape.emit(|code| self.emit_body(code, with_bounce).map(drop));
        self.quick.map(emit).transpose()
    }

    /// Leaves host state as the calling convention wants it, and returns.
    fn restore_host(&self, code: &mut Emitter, uses_mxcsr: bool) -> Result<(), IcedError> {
        if self.border == Border::Legacy {
            code.emit(&Instruction::with(Code::Fninit))?;
            code.memory(Code::Fldcw_m2byte, frame::HOST_FCW)?;
        }
        if uses_mxcsr {
            code.memory(Code::Ldmxcsr_m32, frame::HOST_MXCSR)?;
        }
        if matches!(self.border, Border::Avx | Border::AvxWithMxcsr) {
            code.emit(&Instruction::with(Code::VEX_Vzeroupper))?;
        }
        code.emit(&Instruction::with(Code::Retnq))
    }

    fn move_vectors(
        &self,
        code: &mut Emitter,
        registers: RegisterSet,
        direction: Direction,
    ) -> Result<(), IcedError> {
        for index in registers.iter() {
            let xmm = Register::XMM0 + index as u32;
            let ymm = Register::YMM0 + index as u32;
            let low = frame::VECTOR + XMM + 16 * index;
            let high = frame::VECTOR + YMM_HIGH + 16 * index;
            match (self.border, direction) {
                // FXRSTOR and FXSAVE move them all.
                (Border::Legacy, _) => {}
                (Border::Avx | Border::AvxWithMxcsr, Direction::ToHost) => {
                    code.load(Code::VEX_Vmovaps_xmm_xmmm128, xmm, low)?;
                    let insert = Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8;
                    code.emit(&Instruction::with4(insert, ymm, ymm, at(high), 1)?)?;
                }
                (Border::Avx | Border::AvxWithMxcsr, Direction::ToFrame) => {
                    code.store(Code::VEX_Vmovaps_xmmm128_xmm, low, xmm)?;
                    let extract = Code::VEX_Vextractf128_xmmm128_ymm_imm8;
                    code.emit(&Instruction::with3(extract, at(high), ymm, 1)?)?;
                }
                (_, Direction::ToHost) => code.load(Code::Movaps_xmm_xmmm128, xmm, low)?,
                (_, Direction::ToFrame) => code.store(Code::Movaps_xmmm128_xmm, low, xmm)?,
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Direction {
    ToHost,
    ToFrame,
}

/// A stub's code, with two places in it.
struct Emitted {
    bytes: Vec<u8>,
    body: usize,
    trap_exit: usize,
    quick: Option<Vec<u8>>,
}

/// `instruction` for 64-bit mode, with its memory operand (if it has one) at `offset` of the frame.
fn with_memory_operand(instruction: &Instruction, offset: usize) -> Instruction {
    let mut placed = *instruction;
    placed.set_code_size(CodeSize::Code64);
    placed.set_segment_prefix(Register::None);
    placed.set_memory_base(Register::None);
    placed.set_memory_index(Register::None);
    placed.set_memory_index_scale(1);
    placed.set_memory_displacement64(0);
    placed.set_memory_displ_size(0);
    let has_memory = (0..placed.op_count()).any(|operand| placed.op_kind(operand) == OpKind::Memory);
    if has_memory {
        placed.set_memory_base(Register::RDI);
        placed.set_memory_displacement64(offset as u64);
        placed.set_memory_displ_size(8);
    }
    placed
}

/// The register of `host` with the width of `like`.
fn same_width(like: Register, host: Register) -> Register {
    let number = host.number() as u32;
    match like.size() {
        8 => host,
        4 => Register::EAX + number,
        2 => Register::AX + number,
        _ if is_high_byte(like) => Register::AH + number,
        // The encoder's list of byte registers has AH to BH between BL and SPL.
        _ if number < 4 => Register::AL + number,
        _ => Register::SPL + (number - 4),
    }
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::CH | Register::DH | Register::BH)
}

fn reads(access: OpAccess) -> bool {
    matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// The decoder's flag bits as bits of RFLAGS; x87 condition codes are not among them.
pub(super) fn status_flags(decoder_bits: u32) -> u64 {
    [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ]
    .iter()
    .filter(|(bit, _)| decoder_bits & bit != 0)
    .fold(0, |all, (_, place)| all | 1 << place)
}

/// The alignment that a memory operand of `size` bytes must have, or 1 (Intel SDM 1 11.3, 14.9).
fn alignment(instruction: &Instruction, size: u8) -> u8 {
    use Mnemonic as M;
    let aligned = if instruction.encoding() == EncodingKind::VEX {
        matches!(
            instruction.mnemonic(),
            M::Vmovaps | M::Vmovapd | M::Vmovdqa | M::Vmovntps | M::Vmovntpd | M::Vmovntdq | M::Vmovntdqa
        )
    } else {
        // SHA instructions fault on Intel processors and not on AMD's; here they do not, which harms no one.
        size == 16
            && instruction.cpuid_features() != [CpuidFeature::SHA]
            && !matches!(
                instruction.mnemonic(),
                M::Movups
                    | M::Movupd
                    | M::Movdqu
                    | M::Lddqu
                    | M::Pcmpestri
                    | M::Pcmpestrm
                    | M::Pcmpestri64
                    | M::Pcmpestrm64
                    | M::Pcmpistri
                    | M::Pcmpistrm
            )
    };
    if aligned { size } else { 1 }
}
