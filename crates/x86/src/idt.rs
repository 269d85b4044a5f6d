// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gates of the interrupt descriptor table and call gates (SDM 3A 6.11, 6.14.1, 5.8.3).

use crate::segment::{Selector, SystemType};

/// A gate in its decoded form. In long mode it takes 16 bytes, elsewhere 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Entry point. 16-bit gates use 16 bits, 32-bit ones 32.
    pub offset: u64,
    /// Code segment, or the TSS of a task gate.
    pub selector: Selector,
    /// Interrupt stack table entry, 1 to 7; 0 for none. Long mode only.
    pub ist: u8,
    /// Words or doublewords that a call gate copies. Outside long mode only.
    pub parameter_count: u8,
    /// The four type bits; [`Gate::kind`] gives them a meaning.
    pub type_bits: u8,
    /// S, which must be clear in a gate.
    pub non_system: bool,
    /// Descriptor privilege level: the highest CPL (or RPL) that may use it by an instruction.
    pub dpl: u8,
    /// P.
    pub present: bool,
}

impl Gate {
    /// Decodes 8 bytes, the form outside long mode.
    pub const fn decode_legacy(bytes: u64) -> Self {
        let type_bits = (bytes >> 40 & 0xF) as u8;
        let wide = type_bits & 8 != 0;
        Self {
            offset: bytes & 0xFFFF | if wide { bytes >> 32 & 0xFFFF_0000 } else { 0 },
            selector: Selector::from_bits((bytes >> 16) as u16),
            ist: 0,
            parameter_count: (bytes >> 32 & 0x1F) as u8,
            type_bits,
            non_system: bytes >> 44 & 1 != 0,
            dpl: (bytes >> 45 & 3) as u8,
            present: bytes >> 47 & 1 != 0,
        }
    }

    /// Decodes 16 bytes, the form in long mode.
    pub const fn decode_long(low: u64, high: u64) -> Self {
        Self {
            offset: low & 0xFFFF | low >> 32 & 0xFFFF_0000 | high << 32,
            selector: Selector::from_bits((low >> 16) as u16),
            ist: (low >> 32 & 7) as u8,
            parameter_count: 0,
            type_bits: (low >> 40 & 0xF) as u8,
            non_system: low >> 44 & 1 != 0,
            dpl: (low >> 45 & 3) as u8,
            present: low >> 47 & 1 != 0,
        }
    }

    /// Encodes the long-mode form: (first, last) 8 bytes.
    pub const fn encode_long(&self) -> (u64, u64) {
        let low = self.offset & 0xFFFF
            | (self.selector.into_bits() as u64) << 16
            | (self.ist as u64 & 7) << 32
            | (self.type_bits as u64 & 0xF) << 40
            | (self.non_system as u64) << 44
            | (self.dpl as u64 & 3) << 45
            | (self.present as u64) << 47
            | (self.offset & 0xFFFF_0000) << 32;
        (low, self.offset >> 32)
    }

    /// What it is; `None` if the type bits name nothing or S is set. Task and 16-bit gates do not exist in long mode.
    pub const fn kind(&self) -> Option<SystemType> {
        if self.non_system { None } else { SystemType::from_bits(self.type_bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gate() {
        let gate = Gate::decode_long(0x8260_8E02_0010_0ABC, 0xFFFF_FFFF);
        assert_eq!(gate.offset, 0xFFFF_FFFF_8260_0ABC);
        assert_eq!((gate.selector.into_bits(), gate.ist, gate.dpl, gate.present), (0x10, 2, 0, true));
        assert_eq!(gate.kind(), Some(SystemType::InterruptGate));
        assert_eq!(gate.encode_long(), (0x8260_8E02_0010_0ABC, 0xFFFF_FFFF));
    }

    #[test]
    fn legacy_gates() {
        let trap = Gate::decode_legacy(0xC010_EF00_0060_1234);
        assert_eq!((trap.offset, trap.dpl), (0xC010_1234, 3));
        assert_eq!(trap.kind(), Some(SystemType::TrapGate));
        let narrow = Gate::decode_legacy(0xFFFF_8603_0008_1234);
        assert_eq!((narrow.offset, narrow.parameter_count), (0x1234, 3));
        assert_eq!(narrow.kind(), Some(SystemType::InterruptGate16));
        assert_eq!(Gate::decode_legacy(0x0000_9E00_0000_0000).kind(), None);
    }
}
