// SPDX-License-Identifier: MIT OR Apache-2.0
//! Offsets in the task-state segments (SDM 3A 7.2.1, 7.6, 7.7).

/// The 64-bit TSS.
pub mod tss64 {
    /// Size without the I/O permission bitmap.
    pub const SIZE: u32 = 0x68;
    /// 16-bit offset of the I/O permission bitmap from the base of the TSS.
    pub const IO_MAP_BASE: u32 = 0x66;

    /// Offset of the 8-byte RSP for privilege level `level` (0 to 2).
    pub const fn rsp(level: u8) -> u32 {
        4 + 8 * level as u32
    }

    /// Offset of the 8-byte stack pointer of interrupt stack `ist` (1 to 7).
    pub const fn ist(ist: u8) -> u32 {
        0x1C + 8 * ist as u32
    }
}

/// The 32-bit TSS.
pub mod tss32 {
    /// Size without the I/O permission bitmap.
    pub const SIZE: u32 = 0x68;
    /// Selector of the task before.
    pub const LINK: u32 = 0;
    /// CR3 (PDBR).
    pub const CR3: u32 = 0x1C;
    /// EIP.
    pub const EIP: u32 = 0x20;
    /// EFLAGS.
    pub const EFLAGS: u32 = 0x24;
    /// EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI, 4 bytes each.
    pub const GENERAL: u32 = 0x28;
    /// ES, CS, SS, DS, FS, GS, 4 bytes each, of which 2 are used.
    pub const SEGMENTS: u32 = 0x48;
    /// Selector of the LDT.
    pub const LDT: u32 = 0x60;
    /// Bit 0 is T: #DB on a switch to this task.
    pub const TRAP: u32 = 0x64;
    /// 16-bit offset of the I/O permission bitmap from the base of the TSS.
    pub const IO_MAP_BASE: u32 = 0x66;

    /// Offset of the 4-byte ESP for privilege level `level` (0 to 2).
    pub const fn esp(level: u8) -> u32 {
        4 + 8 * level as u32
    }

    /// Offset of the 2-byte SS for privilege level `level` (0 to 2).
    pub const fn ss(level: u8) -> u32 {
        8 + 8 * level as u32
    }
}

/// The 16-bit TSS.
pub mod tss16 {
    /// Its size; it has no I/O permission bitmap.
    pub const SIZE: u32 = 0x2C;
    /// Selector of the task before.
    pub const LINK: u32 = 0;
    /// IP.
    pub const IP: u32 = 0x0E;
    /// FLAGS.
    pub const FLAGS: u32 = 0x10;
    /// AX, CX, DX, BX, SP, BP, SI, DI, 2 bytes each.
    pub const GENERAL: u32 = 0x12;
    /// ES, CS, SS, DS, 2 bytes each.
    pub const SEGMENTS: u32 = 0x22;
    /// Selector of the LDT.
    pub const LDT: u32 = 0x2A;

    /// Offset of the 2-byte SP for privilege level `level` (0 to 2).
    pub const fn sp(level: u8) -> u32 {
        2 + 4 * level as u32
    }

    /// Offset of the 2-byte SS for privilege level `level` (0 to 2).
    pub const fn ss(level: u8) -> u32 {
        4 + 4 * level as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_meet_at_the_fields_that_follow() {
        assert_eq!(tss64::rsp(2) + 8, 0x1C);
        assert_eq!(tss64::ist(1), 0x24);
        assert_eq!(tss64::ist(7) + 8, 0x5C);
        assert_eq!(tss32::ss(2) + 4, tss32::CR3);
        assert_eq!(tss32::GENERAL + 32, tss32::SEGMENTS);
        assert_eq!(tss32::SEGMENTS + 24, tss32::LDT);
        assert_eq!(tss16::ss(2) + 2, tss16::IP);
        assert_eq!(tss16::SEGMENTS + 8, tss16::LDT);
    }
}
