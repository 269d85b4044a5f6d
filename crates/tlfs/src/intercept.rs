// SPDX-License-Identifier: MIT OR Apache-2.0
//! What intercept messages carry (TLFS 6, 13.2). Each is the payload of a [`Message`](crate::synic::Message) of the type
//! of the same name.

use crate::address::CacheType;
use crate::declare::{bit_fields, layout, open_enum};
use crate::register::{RegisterName, RegisterValue, SegmentRegister};
use crate::vp::VpIndex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

open_enum! {
    /// `HV_INTERCEPT_TYPE`: what HvCallInstallIntercept intercepts (TLFS 6.1; the numbers are those of TLFS 2.0, the one
    /// for hypercalls is later).
    pub struct InterceptType(u32);
    /// I/O ports.
    X64_IO_PORT = 0, "HvInterceptTypeX64IoPort";
    /// MSRs.
    X64_MSR = 1, "HvInterceptTypeX64Msr";
    /// CPUID leaves.
    X64_CPUID = 2, "HvInterceptTypeX64Cpuid";
    /// Exceptions.
    EXCEPTION = 3, "HvInterceptTypeException";
    /// Hypercalls.
    HYPERCALL = 8, "HvInterceptTypeHypercall";
}

bit_fields! {
    /// `HV_X64_VP_EXECUTION_STATE` (TLFS 13.2.3).
    pub struct VpExecutionState(u16);
    /// Privilege level: 0 in real mode, 3 in virtual-8086 mode.
    cpl: u8 = 2;
    /// CR0.PE.
    cr0_pe: bool = 1;
    /// CR0.AM.
    cr0_am: bool = 1;
    /// EFER.LMA.
    efer_lma: bool = 1;
    /// A debug register is armed.
    debug_active: bool = 1;
    /// An event was being delivered.
    interruption_pending: bool = 1;
    __: u16 = 9;
}

/// `HV_X64_INTERCEPT_MESSAGE_HEADER`: where the VP stands (TLFS 13.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InterceptMessageHeader {
    /// The VP.
    pub vp_index: VpIndex,
    /// Length of the instruction in bytes, in bits 3:0; 0 if unknown. Later hosts give CR8 in bits 7:4.
    pub instruction_length: u8,
    /// Kind of access: 0 read, 1 write, 2 execute.
    pub intercept_access_type: u8,
    /// Mode of the VP.
    pub execution_state: VpExecutionState,
    /// CS.
    pub cs_segment: SegmentRegister,
    /// RIP, of the instruction.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
}
layout!(
    InterceptMessageHeader: 40,
    vp_index @ 0,
    instruction_length @ 4,
    intercept_access_type @ 5,
    execution_state @ 6,
    cs_segment @ 8,
    rip @ 24,
    rflags @ 32,
);

bit_fields! {
    /// `HV_X64_MEMORY_ACCESS_INFO` (TLFS 13.2.6).
    pub struct MemoryAccessInfo(u8);
    /// The virtual address is known.
    gva_valid: bool = 1;
    __: u8 = 7;
}

/// Payload of UNMAPPED_GPA and GPA_INTERCEPT as later hosts send it; TLFS 2.0 adds all registers (TLFS 13.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MemoryInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// How the page would have been cached.
    pub cache_type: CacheType,
    /// Instruction bytes that count, 0 to 16.
    pub instruction_byte_count: u8,
    /// What is known.
    pub access_info: MemoryAccessInfo,
    /// Task priority of the VP.
    pub tpr_priority: u8,
    /// Zero.
    pub reserved: u8,
    /// Virtual address.
    pub gva: u64,
    /// Guest-physical address.
    pub gpa: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
}
layout!(
    MemoryInterceptMessage: 80,
    header @ 0,
    cache_type @ 40,
    instruction_byte_count @ 44,
    access_info @ 45,
    tpr_priority @ 46,
    gva @ 48,
    gpa @ 56,
    instruction_bytes @ 64,
);

bit_fields! {
    /// `HV_X64_IO_PORT_ACCESS_INFO` (TLFS 13.2.4).
    pub struct IoPortAccessInfo(u8);
    /// Bytes: 1, 2 or 4.
    access_size: u8 = 3;
    /// INS or OUTS.
    string_op: bool = 1;
    /// With a repeat prefix.
    rep_prefix: bool = 1;
    __: u8 = 3;
}

/// Payload of X64_IO_PORT_INTERCEPT (TLFS 13.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct IoPortInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// The port.
    pub port_number: u16,
    /// The access.
    pub access_info: IoPortAccessInfo,
    /// Instruction bytes that count, 0 to 16.
    pub instruction_byte_count: u8,
    /// Zero.
    pub reserved: u32,
    /// RAX.
    pub rax: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
    /// DS.
    pub ds_segment: SegmentRegister,
    /// ES.
    pub es_segment: SegmentRegister,
    /// RCX.
    pub rcx: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
}
layout!(
    IoPortInterceptMessage: 128,
    port_number @ 40,
    access_info @ 42,
    instruction_byte_count @ 43,
    rax @ 48,
    instruction_bytes @ 56,
    ds_segment @ 72,
    es_segment @ 88,
    rcx @ 104,
    rsi @ 112,
    rdi @ 120,
);

/// Payload of MSR_INTERCEPT (TLFS 8.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MsrInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// The MSR.
    pub msr_number: u32,
    /// Zero.
    pub reserved: u32,
    /// RDX.
    pub rdx: u64,
    /// RAX.
    pub rax: u64,
}
layout!(MsrInterceptMessage: 64, msr_number @ 40, rdx @ 48, rax @ 56);

/// Payload of X64_CPUID_INTERCEPT (TLFS 8.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct CpuidInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// RAX.
    pub rax: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// RBX.
    pub rbx: u64,
    /// RAX without the intercept.
    pub default_result_rax: u64,
    /// RCX without the intercept.
    pub default_result_rcx: u64,
    /// RDX without the intercept.
    pub default_result_rdx: u64,
    /// RBX without the intercept.
    pub default_result_rbx: u64,
}
layout!(CpuidInterceptMessage: 104, rax @ 40, rcx @ 48, rdx @ 56, rbx @ 64, default_result_rax @ 72, default_result_rbx @ 96);

bit_fields! {
    /// `HV_X64_EXCEPTION_INFO` (TLFS 13.2.5).
    pub struct ExceptionInfo(u8);
    /// The exception has an error code.
    error_code_valid: bool = 1;
    __: u8 = 7;
}

/// Payload of EXCEPTION_INTERCEPT (TLFS 8.13, 13.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExceptionInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// Vector of the exception.
    pub exception_vector: u16,
    /// What is known.
    pub exception_info: ExceptionInfo,
    /// Instruction bytes that count, 0 to 16.
    pub instruction_byte_count: u8,
    /// Error code.
    pub error_code: u32,
    /// CR2 of a page fault, DR6 bits of a debug exception.
    pub exception_parameter: u64,
    /// Zero.
    pub reserved: u64,
    /// The instruction.
    pub instruction_bytes: [u8; 16],
    /// DS.
    pub ds_segment: SegmentRegister,
    /// SS.
    pub ss_segment: SegmentRegister,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub general_registers: [u64; 16],
}
layout!(
    ExceptionInterceptMessage: 240,
    exception_vector @ 40,
    exception_info @ 42,
    instruction_byte_count @ 43,
    error_code @ 44,
    exception_parameter @ 48,
    instruction_bytes @ 64,
    ds_segment @ 80,
    ss_segment @ 96,
    general_registers @ 112,
);

/// Payload of HYPERCALL_INTERCEPT; TLFS 6.0 does not print it, the layout is public (TLFS 6.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct HypercallInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// RAX.
    pub rax: u64,
    /// RBX.
    pub rbx: u64,
    /// RCX.
    pub rcx: u64,
    /// RDX.
    pub rdx: u64,
    /// R8.
    pub r8: u64,
    /// RSI.
    pub rsi: u64,
    /// RDI.
    pub rdi: u64,
    /// XMM0 to XMM5, as two halves each.
    pub xmm_registers: [[u64; 2]; 6],
    /// Bit 0: the VP is isolated.
    pub flags: u32,
    /// Zero.
    pub reserved: [u32; 3],
}
layout!(HypercallInterceptMessage: 208, rax @ 40, rdi @ 88, xmm_registers @ 96, flags @ 192);

bit_fields! {
    /// Flags of [`RegisterInterceptMessage`].
    pub struct RegisterInterceptFlags(u8);
    /// The value came from memory.
    is_memory_op: bool = 1;
    __: u8 = 7;
}

/// Payload of REGISTER_INTERCEPT; TLFS 6.0 does not print it, the layout is public (TLFS 15.13.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterInterceptMessage {
    /// Where the VP stands.
    pub header: InterceptMessageHeader,
    /// What the access information is.
    pub flags: RegisterInterceptFlags,
    /// Zero.
    pub reserved: [u8; 3],
    /// The register.
    pub register_name: RegisterName,
    /// The value to be written; for a table register loaded from memory, where it is.
    pub access_info: RegisterValue,
}
layout!(RegisterInterceptMessage: 64, flags @ 40, register_name @ 44, access_info @ 48);

/// Payload of INVALID_VP_REGISTER_VALUE and X64_LEGACY_FP_ERROR (TLFS 7.3, 11.10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct VpMessage {
    /// The VP.
    pub vp_index: VpIndex,
    /// Zero.
    pub reserved: u32,
}
layout!(VpMessage: 8, vp_index @ 0);

/// Payload of UNRECOVERABLE_EXCEPTION: the header alone, with an instruction length of 0 (TLFS 11.10.2).
pub type UnrecoverableExceptionMessage = InterceptMessageHeader;

/// Payload of UNSUPPORTED_FEATURE (TLFS 9.1.1, 10.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct UnsupportedFeatureMessage {
    /// The VP.
    pub vp_index: VpIndex,
    /// The feature.
    pub feature_code: u32,
    /// Its parameter.
    pub feature_parameter: u64,
}
layout!(UnsupportedFeatureMessage: 16, vp_index @ 0, feature_code @ 4, feature_parameter @ 8);

/// Payload of X64_APIC_EOI (TLFS 10.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ApicEoiMessage {
    /// The VP.
    pub vp_index: VpIndex,
    /// Vector that ended.
    pub interrupt_vector: u32,
}
layout!(ApicEoiMessage: 8, vp_index @ 0, interrupt_vector @ 4);

/// Payload of EVENT_LOG_BUFFERS_COMPLETE (TLFS 11.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventLogBuffersCompleteMessage {
    /// Kind of log.
    pub event_log_type: u32,
    /// The buffer that is full.
    pub buffer_index: u32,
}
layout!(EventLogBuffersCompleteMessage: 8, event_log_type @ 0, buffer_index @ 4);
