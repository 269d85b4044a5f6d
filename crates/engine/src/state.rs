// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of a VP that its engine keeps.
//!
//! What is not here belongs to the hypervisor: the local APIC, synthetic MSRs, MTRRs and every other MSR that an engine
//! does not need in order to run instructions.

use x86::segment::{Segment, SegmentAttributes, Selector, TableRegister};

/// A general-purpose register, by its number in instruction encodings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Gpr {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rsp,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Gpr {
    /// All of them, each at its number.
    pub const ALL: [Self; 16] = [
        Self::Rax,
        Self::Rcx,
        Self::Rdx,
        Self::Rbx,
        Self::Rsp,
        Self::Rbp,
        Self::Rsi,
        Self::Rdi,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
    ];
}

/// A segment register. The numbers of the first six are those of instruction encodings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum SegmentName {
    Es,
    Cs,
    Ss,
    Ds,
    Fs,
    Gs,
    Ldtr,
    Tr,
}

impl SegmentName {
    /// All of them, each at its number.
    pub const ALL: [Self; 8] =
        [Self::Es, Self::Cs, Self::Ss, Self::Ds, Self::Fs, Self::Gs, Self::Ldtr, Self::Tr];
}

/// Control registers. CR8 is the local APIC's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct ControlRegisters {
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub xcr0: u64,
}

/// Debug registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct DebugRegisters {
    pub dr: [u64; 4],
    pub dr6: u64,
    pub dr7: u64,
}

/// The MSRs that engines keep and serve to the guest without exits, besides EFER and the bases of FS and GS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub struct ModelSpecificRegisters {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub tsc_aux: u64,
    /// What the guest's TSC is ahead of the group's [`crate::Clock`], modulo 2^64; the guest moves it by writing IA32_TIME_STAMP_COUNTER or IA32_TSC_ADJUST.
    pub tsc_offset: u64,
    /// IA32_TSC_ADJUST.
    pub tsc_adjust: u64,
    pub pat: u64,
    pub xss: u64,
}

/// What stands between the last instruction and the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventState {
    /// An event that is to be delivered before the next instruction.
    pub pending: Option<crate::Event>,
    /// STI or a load of SS holds interrupts off for one instruction.
    pub interrupt_shadow: bool,
    /// An NMI was delivered and no IRET has followed.
    pub nmi_blocked: bool,
}

/// x87, MMX, SSE and AVX state as an XSAVE area in standard form: 512 bytes as FXSAVE64 writes them, the 64-byte header, then
/// the extended components at the offsets that CPUID leaf 0xD gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct XsaveArea(pub Vec<u8>);

impl XsaveArea {
    /// The state after INIT: everything in its initial configuration (XSTATE_BV = 0), FCW 0x40, MXCSR 0x1F80.
    #[must_use]
    pub fn initial(bytes: usize) -> Self {
        let mut area = vec![0; bytes.max(576)];
        area[..2].copy_from_slice(&0x0040u16.to_le_bytes());
        area[24..28].copy_from_slice(&0x1F80u32.to_le_bytes());
        Self(area)
    }
}

/// What an engine under virtual time keeps beside what a processor has, so that a run can be repeated from any point of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Repeatable {
    /// [`crate::EngineVp::instructions`].
    pub instructions: u64,
    /// Where the generator behind RDRAND and RDSEED stands.
    pub random: u64,
    /// PAUSE instructions that count towards the next [`crate::ExitReason::SpinWait`].
    pub pauses: u32,
}

/// Everything an engine keeps of a VP.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct VpState {
    /// Indexed by [`Gpr`].
    pub gprs: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    /// Indexed by [`SegmentName`].
    pub segments: [Segment; 8],
    pub gdtr: TableRegister,
    pub idtr: TableRegister,
    pub control: ControlRegisters,
    pub debug: DebugRegisters,
    pub msrs: ModelSpecificRegisters,
    pub events: EventState,
    pub xsave: XsaveArea,
    /// `None`, as after a reset, leaves it as it is.
    pub repeatable: Option<Repeatable>,
}

impl VpState {
    /// The state after a reset or power-on (Intel SDM 3A 9.1.1): real mode at the reset vector.
    /// `signature` is CPUID leaf 1's EAX, which RDX holds.
    #[must_use]
    pub fn reset(signature: u32) -> Self {
        let segment = |attributes| Segment {
            base: 0,
            limit: 0xFFFF,
            selector: Selector::new(),
            attributes: SegmentAttributes::from_bits(attributes),
        };
        let (data, ldtr, tr) = (segment(0x93), segment(0x82), segment(0x8B));
        let code = Segment { base: 0xFFFF_0000, selector: Selector::from_bits(0xF000), ..segment(0x9B) };
        let table = TableRegister { base: 0, limit: 0xFFFF };
        let mut gprs = [0; 16];
        gprs[Gpr::Rdx as usize] = u64::from(signature);
        Self {
            gprs,
            rip: 0xFFF0,
            rflags: 2,
            segments: [data, code, data, data, data, data, ldtr, tr],
            gdtr: table,
            idtr: table,
            control: ControlRegisters { cr0: 0x6000_0010, xcr0: 1, ..Default::default() },
            debug: DebugRegisters { dr: [0; 4], dr6: 0xFFFF_0FF0, dr7: 0x400 },
            msrs: ModelSpecificRegisters { pat: 0x0007_0406_0007_0406, ..Default::default() },
            events: EventState::default(),
            xsave: XsaveArea::initial(0),
            repeatable: None,
        }
    }
}
