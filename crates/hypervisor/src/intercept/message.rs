// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a parent is told of an intercept (TLFS 13.2): the messages as the specification lays them out.

use engine::{Exit, Gpr, MemoryAccess, PortAccess, SegmentName};
use tlfs::intercept::{
    CpuidInterceptMessage, ExceptionInfo, ExceptionInterceptMessage, HypercallInterceptMessage,
    InterceptMessageHeader, IoPortAccessInfo, IoPortInterceptMessage, MemoryAccessInfo,
    MemoryInterceptMessage, MsrInterceptMessage, VpExecutionState, VpMessage,
};
use tlfs::partition::PartitionId;
use tlfs::register::SegmentRegister;
use tlfs::synic::{MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MessageType};
use tlfs::vp::VpIndex;
use x86::control::{Cr0, Efer};
use zerocopy::{Immutable, IntoBytes};

use crate::register::from_segment;
use crate::translate::cache_type;
use crate::vp::Vp;

/// Kinds of access, as the header has them.
pub(super) const READ: u8 = 0;
pub(super) const WRITE: u8 = 1;
pub(super) const EXECUTE: u8 = 2;

/// A message to the parent of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterceptMessage {
    /// What it tells of.
    pub message_type: MessageType,
    /// The partition that was intercepted, as the message's origination id has it.
    pub partition: PartitionId,
    /// The VP that was intercepted.
    pub vp: VpIndex,
    size: usize,
    payload: [u8; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
}

impl InterceptMessage {
    /// What the type's structure in [`tlfs::intercept`] lays out.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload[..self.size]
    }
}

impl Vp {
    fn message<T: IntoBytes + Immutable>(&self, message_type: MessageType, payload: &T) -> InterceptMessage {
        let bytes = payload.as_bytes();
        let mut message = InterceptMessage {
            message_type,
            partition: self.partition.id(),
            vp: VpIndex(self.index),
            size: bytes.len(),
            payload: [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
        };
        message.payload[..bytes.len()].copy_from_slice(bytes);
        message
    }

    fn segment_register(&self, name: SegmentName) -> SegmentRegister {
        from_segment(self.engine.segment(name)).into()
    }

    /// Where the VP stands (TLFS 13.2.2).
    fn header(&self, instruction_length: u8, access_type: u8, delivering: bool) -> InterceptMessageHeader {
        let control = self.engine.control();
        let cr0 = Cr0::from_bits(control.cr0);
        let execution_state = VpExecutionState::new()
            .with_cpl(self.engine.cpl())
            .with_cr0_pe(cr0.pe())
            .with_cr0_am(cr0.am())
            .with_efer_lma(Efer::from_bits(control.efer).lma())
            // DR7: local or global enables of the four breakpoints.
            .with_debug_active(self.engine.debug().dr7 & 0xFF != 0)
            .with_interruption_pending(delivering);
        InterceptMessageHeader {
            vp_index: VpIndex(self.index),
            instruction_length,
            intercept_access_type: access_type,
            execution_state,
            cs_segment: self.segment_register(SegmentName::Cs),
            rip: self.engine.rip(),
            rflags: self.engine.rflags(),
        }
    }

    fn header_of(&self, exit: &Exit, access_type: u8) -> InterceptMessageHeader {
        self.header(exit.instruction_length, access_type, exit.delivering.is_some())
    }

    fn instruction(&mut self) -> ([u8; 16], u8) {
        let (bytes, count) = self.engine.instruction_bytes();
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(&bytes);
        (padded, count)
    }

    pub(super) fn port_message(
        &mut self,
        exit: &Exit,
        access_type: u8,
        access: PortAccess,
    ) -> InterceptMessage {
        let (instruction_bytes, instruction_byte_count) = self.instruction();
        let gpr = |register| self.engine.gpr(register);
        let access_info = IoPortAccessInfo::new()
            .with_access_size(access.size)
            .with_string_op(access.string)
            .with_rep_prefix(access.rep);
        let payload = IoPortInterceptMessage {
            header: self.header_of(exit, access_type),
            port_number: access.port,
            access_info,
            instruction_byte_count,
            reserved: 0,
            rax: gpr(Gpr::Rax),
            instruction_bytes,
            ds_segment: self.segment_register(SegmentName::Ds),
            es_segment: self.segment_register(SegmentName::Es),
            rcx: gpr(Gpr::Rcx),
            rsi: gpr(Gpr::Rsi),
            rdi: gpr(Gpr::Rdi),
        };
        self.message(MessageType::X64_IO_PORT_INTERCEPT, &payload)
    }

    pub(super) fn msr_message(&self, exit: &Exit, access_type: u8, number: u32) -> InterceptMessage {
        let payload = MsrInterceptMessage {
            header: self.header_of(exit, access_type),
            msr_number: number,
            reserved: 0,
            rdx: self.engine.gpr(Gpr::Rdx),
            rax: self.engine.gpr(Gpr::Rax),
        };
        self.message(MessageType::MSR_INTERCEPT, &payload)
    }

    pub(super) fn cpuid_message(&self, exit: &Exit, leaf: u32, subleaf: u32) -> InterceptMessage {
        let result = self.cpuid_result(leaf, subleaf);
        let gpr = |register| self.engine.gpr(register);
        let payload = CpuidInterceptMessage {
            header: self.header_of(exit, EXECUTE),
            rax: gpr(Gpr::Rax),
            rcx: gpr(Gpr::Rcx),
            rdx: gpr(Gpr::Rdx),
            rbx: gpr(Gpr::Rbx),
            default_result_rax: result.eax.into(),
            default_result_rcx: result.ecx.into(),
            default_result_rdx: result.edx.into(),
            default_result_rbx: result.ebx.into(),
        };
        self.message(MessageType::X64_CPUID_INTERCEPT, &payload)
    }

    pub(super) fn exception_message(
        &mut self,
        exit: &Exit,
        vector: u8,
        error_code: Option<u32>,
        parameter: u64,
    ) -> InterceptMessage {
        let (instruction_bytes, instruction_byte_count) = self.instruction();
        let payload = ExceptionInterceptMessage {
            header: self.header_of(exit, EXECUTE),
            exception_vector: vector.into(),
            exception_info: ExceptionInfo::new().with_error_code_valid(error_code.is_some()),
            instruction_byte_count,
            error_code: error_code.unwrap_or(0),
            exception_parameter: parameter,
            reserved: 0,
            instruction_bytes,
            ds_segment: self.segment_register(SegmentName::Ds),
            ss_segment: self.segment_register(SegmentName::Ss),
            general_registers: self.engine.save().gprs,
        };
        self.message(MessageType::EXCEPTION_INTERCEPT, &payload)
    }

    pub(super) fn hypercall_message(&self, exit: &Exit) -> InterceptMessage {
        let gpr = |register| self.engine.gpr(register);
        let xmm = |index: u8| {
            let value = self.engine.xmm(index);
            [value as u64, (value >> 64) as u64]
        };
        let payload = HypercallInterceptMessage {
            header: self.header_of(exit, EXECUTE),
            rax: gpr(Gpr::Rax),
            rbx: gpr(Gpr::Rbx),
            rcx: gpr(Gpr::Rcx),
            rdx: gpr(Gpr::Rdx),
            r8: gpr(Gpr::R8),
            rsi: gpr(Gpr::Rsi),
            rdi: gpr(Gpr::Rdi),
            xmm_registers: std::array::from_fn(|index| xmm(index as u8)),
            flags: 0,
            reserved: [0; 3],
        };
        self.message(MessageType::HYPERCALL_INTERCEPT, &payload)
    }

    pub(super) fn memory_message(
        &mut self,
        message_type: MessageType,
        access_type: u8,
        access: MemoryAccess,
    ) -> InterceptMessage {
        let (instruction_bytes, instruction_byte_count) = self.instruction();
        let delivering = self.engine.events().pending.is_some();
        let bits = self.partition.space().address_bits();
        let payload = MemoryInterceptMessage {
            header: self.header(0, access_type, delivering),
            cache_type: cache_type(self.processor_msrs.memory_type(access.gpa, bits)),
            instruction_byte_count,
            access_info: MemoryAccessInfo::new().with_gva_valid(access.gva.is_some()),
            tpr_priority: self.shared().state().vtl(self.active_vtl).apic.cr8(),
            reserved: 0,
            gva: access.gva.unwrap_or(0),
            gpa: access.gpa,
            instruction_bytes,
        };
        self.message(message_type, &payload)
    }

    pub(super) fn unrecoverable_message(&self) -> InterceptMessage {
        self.message(MessageType::UNRECOVERABLE_EXCEPTION, &self.header(0, EXECUTE, false))
    }

    /// The VP was about to run with register values that no processor can have together (TLFS 7.3).
    pub(crate) fn invalid_register_message(&self) -> InterceptMessage {
        let payload = VpMessage { vp_index: VpIndex(self.index), reserved: 0 };
        self.message(MessageType::INVALID_VP_REGISTER_VALUE, &payload)
    }
}
