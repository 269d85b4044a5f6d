// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control, flag and debug registers (SDM 3A 2.3, 2.5, 2.6, 17.2; SDM 1 3.4.3).

use bitfield_struct::bitfield;

/// CR0 (SDM 3A 2.5).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cr0 {
    /// Protection enable.
    pub pe: bool,
    /// Monitor coprocessor: WAIT obeys TS.
    pub mp: bool,
    /// Emulation: x87 instructions are #NM.
    pub em: bool,
    /// Task switched: FPU and vector instructions are #NM.
    pub ts: bool,
    /// Extension type, always one.
    pub et: bool,
    /// Numeric error: x87 errors are #MF instead of FERR#.
    pub ne: bool,
    #[bits(10)]
    __: u16,
    /// Write protect: supervisors obey R/W of pages.
    pub wp: bool,
    __: bool,
    /// Alignment mask: RFLAGS.AC enables alignment checks at CPL 3.
    pub am: bool,
    #[bits(10)]
    __: u16,
    /// Not write-through.
    pub nw: bool,
    /// Cache disable.
    pub cd: bool,
    /// Paging.
    pub pg: bool,
    __: u32,
}

impl Cr0 {
    /// The value after power-up, RESET and INIT but for CD and NW, which INIT keeps (SDM 3A table 10-1).
    pub const RESET: Self = Self::new().with_et(true).with_nw(true).with_cd(true);

    /// The bits that have a meaning. Others: 63:32 set are #GP, the rest ignored on a write.
    pub const DEFINED: u64 = 0xE005_003F;
}

/// CR3 (SDM 3A 4.3, 4.4.1, 4.5.2).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cr3 {
    /// With CR4.PCIDE the process-context identifier. Without: bit 3 is PWT and bit 4 PCD of the top table.
    #[bits(12)]
    pub pcid: u16,
    /// Physical page number of the top table; PAE uses address bits 31:5 of the whole register.
    #[bits(40)]
    pub page_number: u64,
    #[bits(11)]
    __: u16,
    /// In a MOV to CR3 with CR4.PCIDE: keep the TLB's entries of this PCID. Never stored.
    pub no_flush: bool,
}

/// CR4 (SDM 3A 2.5).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cr4 {
    /// Virtual-8086 mode extensions.
    pub vme: bool,
    /// Protected-mode virtual interrupts.
    pub pvi: bool,
    /// Time-stamp disable: RDTSC(P) is #GP above CPL 0.
    pub tsd: bool,
    /// Debugging extensions: DR4 and DR5 are #UD.
    pub de: bool,
    /// Page size extensions: 4 MiB pages in 32-bit paging.
    pub pse: bool,
    /// Physical address extension: 8-byte entries.
    pub pae: bool,
    /// Machine-check enable.
    pub mce: bool,
    /// Page global enable.
    pub pge: bool,
    /// RDPMC above CPL 0.
    pub pce: bool,
    /// FXSAVE, FXRSTOR and SSE.
    pub osfxsr: bool,
    /// Unmasked SIMD exceptions are #XM.
    pub osxmmexcpt: bool,
    /// User-mode instruction prevention: SGDT, SIDT, SLDT, SMSW, STR are #GP above CPL 0.
    pub umip: bool,
    /// 5-level paging.
    pub la57: bool,
    /// VMX enable.
    pub vmxe: bool,
    /// SMX enable.
    pub smxe: bool,
    __: bool,
    /// RDFSBASE, WRFSBASE, RDGSBASE, WRGSBASE.
    pub fsgsbase: bool,
    /// Process-context identifiers.
    pub pcide: bool,
    /// XSAVE, XGETBV and XSETBV.
    pub osxsave: bool,
    /// Key locker.
    pub kl: bool,
    /// Supervisor-mode execution prevention.
    pub smep: bool,
    /// Supervisor-mode access prevention.
    pub smap: bool,
    /// Protection keys for user pages.
    pub pke: bool,
    /// Control-flow enforcement.
    pub cet: bool,
    /// Protection keys for supervisor pages.
    pub pks: bool,
    /// User interrupts.
    pub uintr: bool,
    #[bits(38)]
    __: u64,
}

/// IA32_EFER (SDM 3A 2.2.1; SVME: APM 2 3.1.7).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Efer {
    /// SYSCALL and SYSRET.
    pub sce: bool,
    #[bits(7)]
    __: u8,
    /// Long mode enable.
    pub lme: bool,
    __: bool,
    /// Long mode active: LME and CR0.PG.
    pub lma: bool,
    /// No-execute enable.
    pub nxe: bool,
    /// Secure virtual machine enable (AMD).
    pub svme: bool,
    /// Long mode segment limit enable (AMD).
    pub lmsle: bool,
    /// Fast FXSAVE/FXRSTOR (AMD).
    pub ffxsr: bool,
    /// Translation cache extension (AMD).
    pub tce: bool,
    #[bits(48)]
    __: u64,
}

/// XCR0 (SDM 1 13.3): state components that XSAVE manages and instructions may use.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Xcr0 {
    /// x87, always one.
    pub x87: bool,
    /// SSE: XMM and MXCSR.
    pub sse: bool,
    /// AVX: upper halves of YMM; needs SSE.
    pub avx: bool,
    /// MPX bound registers.
    pub bndregs: bool,
    /// MPX configuration; equals `bndregs`.
    pub bndcsr: bool,
    /// AVX-512 mask registers; the three AVX-512 bits go together and need AVX.
    pub opmask: bool,
    /// AVX-512 upper halves of ZMM0-15.
    pub zmm_hi256: bool,
    /// AVX-512 ZMM16-31.
    pub hi16_zmm: bool,
    __: bool,
    /// PKRU.
    pub pkru: bool,
    #[bits(7)]
    __: u8,
    /// AMX tile configuration.
    pub tilecfg: bool,
    /// AMX tile data.
    pub tiledata: bool,
    #[bits(45)]
    __: u64,
}

impl Xcr0 {
    /// Whether XSETBV takes the value where `supported` bits exist (SDM 2 XSETBV; else #GP).
    pub const fn is_valid(self, supported: Self) -> bool {
        let avx512 = self.opmask() || self.zmm_hi256() || self.hi16_zmm();
        self.into_bits() & !supported.into_bits() == 0
            && self.x87()
            && (!self.avx() || self.sse())
            && self.bndregs() == self.bndcsr()
            && self.tilecfg() == self.tiledata()
            && (!avx512 || (self.avx() && self.opmask() && self.zmm_hi256() && self.hi16_zmm()))
    }
}

/// RFLAGS (SDM 1 3.4.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Rflags {
    /// Carry.
    pub cf: bool,
    /// Bit 1, always one.
    #[bits(1, default = true)]
    pub always_one: bool,
    /// Parity of the low byte.
    pub pf: bool,
    __: bool,
    /// Auxiliary carry, out of bit 3.
    pub af: bool,
    __: bool,
    /// Zero.
    pub zf: bool,
    /// Sign.
    pub sf: bool,
    /// Trap: single step.
    pub tf: bool,
    /// IF: interrupt enable (the mnemonic is a keyword of the language).
    pub interrupt_flag: bool,
    /// Direction of string instructions.
    pub df: bool,
    /// Overflow.
    pub of: bool,
    /// I/O privilege level, 0 to 3.
    #[bits(2)]
    pub iopl: u8,
    /// Nested task.
    pub nt: bool,
    __: bool,
    /// Resume: no instruction breakpoint on the next instruction.
    pub rf: bool,
    /// Virtual-8086 mode.
    pub vm: bool,
    /// Alignment check; with CR4.SMAP, lifts it for explicit accesses.
    pub ac: bool,
    /// Virtual interrupt flag.
    pub vif: bool,
    /// Virtual interrupt pending.
    pub vip: bool,
    /// CPUID can be executed.
    pub id: bool,
    #[bits(42)]
    __: u64,
}

impl Rflags {
    /// The value after reset.
    pub const RESET: Self = Self::new();
    /// CF, PF, AF, ZF, SF and OF.
    pub const STATUS: u64 = 0x8D5;
    /// The bits that have a meaning, bit 1 not among them.
    pub const DEFINED: u64 = 0x3F_7FD5;
}

/// DR6 (SDM 3B 17.2.3).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Dr6 {
    /// Breakpoints 0 to 3 met.
    #[bits(4)]
    pub breakpoints: u8,
    /// Always one.
    #[bits(7, default = 0x7F)]
    pub ones: u8,
    /// Zero when a bus lock was met (ones otherwise).
    #[bits(default = true)]
    pub no_bus_lock: bool,
    __: bool,
    /// Access to a debug register while DR7.GD.
    pub bd: bool,
    /// Single step.
    pub bs: bool,
    /// Task switch to a TSS with the T flag.
    pub bt: bool,
    /// Zero when inside a transactional region (ones otherwise); with `upper_ones` always one.
    #[bits(default = true)]
    pub no_rtm: bool,
    /// Always one.
    #[bits(15, default = 0x7FFF)]
    pub upper_ones: u16,
    __: u32,
}

impl Dr6 {
    /// The value after reset.
    pub const RESET: Self = Self::new();
}

/// DR7 (SDM 3B 17.2.4).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Dr7 {
    /// L0, G0, L1, G1, L2, G2, L3, G3 from bit 0 up.
    pub enables: u8,
    /// Local exact breakpoint (ignored).
    pub le: bool,
    /// Global exact breakpoint (ignored).
    pub ge: bool,
    /// Always one.
    #[bits(1, default = true)]
    pub always_one: bool,
    /// Breakpoints inside transactional regions.
    pub rtm: bool,
    __: bool,
    /// General detect: the next access to a debug register is #DB.
    pub gd: bool,
    #[bits(2)]
    __: u8,
    /// R/W0, LEN0, R/W1, LEN1 ... of two bits each; see [`Dr7::breakpoint`].
    pub conditions: u16,
    __: u32,
}

/// What a breakpoint waits for (DR7.R/Wn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakpointCondition {
    /// An instruction at the address.
    Execute,
    /// A data write.
    Write,
    /// An I/O access; needs CR4.DE, else undefined and never met here.
    Io,
    /// A data read or write.
    ReadWrite,
}

/// One breakpoint of DR7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// L or G is set.
    pub enabled: bool,
    /// What it waits for.
    pub condition: BreakpointCondition,
    /// Length in bytes: 1, 2, 4 or 8.
    pub length: u8,
}

impl Dr7 {
    /// The value after reset.
    pub const RESET: Self = Self::new();

    /// Breakpoint `index` (0 to 3; higher bits are ignored).
    pub const fn breakpoint(self, index: usize) -> Breakpoint {
        let index = index & 3;
        let condition = self.conditions() >> (4 * index);
        Breakpoint {
            enabled: self.enables() >> (2 * index) & 3 != 0,
            condition: match condition & 3 {
                0 => BreakpointCondition::Execute,
                1 => BreakpointCondition::Write,
                2 => BreakpointCondition::Io,
                _ => BreakpointCondition::ReadWrite,
            },
            length: match condition >> 2 & 3 {
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_values_are_those_of_the_manual() {
        assert_eq!(Cr0::RESET.into_bits(), 0x6000_0010);
        assert_eq!(Rflags::RESET.into_bits(), 2);
        assert_eq!(Dr6::RESET.into_bits(), 0xFFFF_0FF0);
        assert_eq!(Dr7::RESET.into_bits(), 0x400);
    }

    #[test]
    fn bits_stand_where_the_manual_puts_them() {
        assert_eq!(Cr0::new().with_pg(true).with_wp(true).into_bits(), 0x8001_0000);
        assert_eq!(Cr4::new().with_smap(true).with_pae(true).with_osxsave(true).into_bits(), 0x24_0020);
        assert_eq!(Cr4::new().with_uintr(true).with_la57(true).with_fsgsbase(true).into_bits(), 0x201_1000);
        assert_eq!(Efer::new().with_lma(true).with_nxe(true).with_sce(true).into_bits(), 0xC01);
        assert_eq!(Efer::new().with_tce(true).into_bits(), 1 << 15);
        assert_eq!(Xcr0::new().with_pkru(true).with_tiledata(true).into_bits(), 0x4_0200);
        assert_eq!(Rflags::new().with_id(true).with_ac(true).with_iopl(3).into_bits(), 0x24_3002);
        assert_eq!(Cr3::from_bits(0x8000_0000_0012_3456).page_number(), 0x123);
        assert!(Cr3::from_bits(1 << 63).no_flush());
        assert_eq!(Dr6::new().with_bs(true).with_bd(true).into_bits(), 0xFFFF_6FF0);
    }

    #[test]
    fn xcr0_rules() {
        let all = Xcr0::from_bits(0xE7);
        let valid = |bits: u64| Xcr0::from_bits(bits).is_valid(all);
        assert!(valid(1) && valid(3) && valid(7) && valid(0xE7));
        assert!(!valid(0) && !valid(2) && !valid(5) && !valid(0x27) && !valid(0xE3) && !valid(0x207));
    }

    #[test]
    fn breakpoints_decode() {
        let dr7 = Dr7::from_bits(0x400 | 0b10 << 2 | 0b1101 << 20);
        assert_eq!(
            dr7.breakpoint(1),
            Breakpoint { enabled: true, condition: BreakpointCondition::Write, length: 4 }
        );
        assert!(!dr7.breakpoint(0).enabled);
        assert_eq!(Dr7::from_bits(0b1000 << 16).breakpoint(0).length, 8);
    }
}
