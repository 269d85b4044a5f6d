// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exceptions: vectors, error codes, and how two of them combine (SDM 3A chapter 6).

use bitfield_struct::bitfield;

/// The exception vectors (SDM 3A table 6-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exception {
    /// #DE.
    DivideError = 0,
    /// #DB.
    Debug = 1,
    /// The non-maskable interrupt; not an exception, but it has a vector of the same table.
    Nmi = 2,
    /// #BP.
    Breakpoint = 3,
    /// #OF.
    Overflow = 4,
    /// #BR.
    BoundRange = 5,
    /// #UD.
    InvalidOpcode = 6,
    /// #NM.
    DeviceNotAvailable = 7,
    /// #DF.
    DoubleFault = 8,
    /// Coprocessor segment overrun, no longer raised.
    CoprocessorSegmentOverrun = 9,
    /// #TS.
    InvalidTss = 10,
    /// #NP.
    SegmentNotPresent = 11,
    /// #SS.
    StackFault = 12,
    /// #GP.
    GeneralProtection = 13,
    /// #PF.
    PageFault = 14,
    /// #MF.
    FloatingPoint = 16,
    /// #AC.
    AlignmentCheck = 17,
    /// #MC.
    MachineCheck = 18,
    /// #XM.
    SimdFloatingPoint = 19,
    /// #VE.
    Virtualization = 20,
    /// #CP.
    ControlProtection = 21,
}

/// How an exception combines with one that comes while it is delivered (SDM 3A table 6-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExceptionClass {
    /// Never part of a double fault.
    Benign,
    /// Two of these make a double fault.
    Contributory,
    /// A page fault (or #VE): makes a double fault with a contributory one or another page fault after it.
    PageFault,
}

/// What comes of an exception raised while another one was being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// The second is delivered; the first is raised again later by its instruction.
    Serial,
    /// #DF with error code 0.
    DoubleFault,
    /// Shutdown.
    TripleFault,
}

impl Exception {
    /// The exception of a vector; `None` for 15 and those from 22 up.
    pub const fn from_vector(vector: u8) -> Option<Self> {
        Some(match vector {
            0 => Self::DivideError,
            1 => Self::Debug,
            2 => Self::Nmi,
            3 => Self::Breakpoint,
            4 => Self::Overflow,
            5 => Self::BoundRange,
            6 => Self::InvalidOpcode,
            7 => Self::DeviceNotAvailable,
            8 => Self::DoubleFault,
            9 => Self::CoprocessorSegmentOverrun,
            10 => Self::InvalidTss,
            11 => Self::SegmentNotPresent,
            12 => Self::StackFault,
            13 => Self::GeneralProtection,
            14 => Self::PageFault,
            16 => Self::FloatingPoint,
            17 => Self::AlignmentCheck,
            18 => Self::MachineCheck,
            19 => Self::SimdFloatingPoint,
            20 => Self::Virtualization,
            21 => Self::ControlProtection,
            _ => return None,
        })
    }

    /// The vector, 0 to 21.
    pub const fn vector(self) -> u8 {
        self as u8
    }

    /// Whether an error code is pushed (outside real mode, where none ever is).
    pub const fn has_error_code(self) -> bool {
        matches!(
            self,
            Self::DoubleFault
                | Self::InvalidTss
                | Self::SegmentNotPresent
                | Self::StackFault
                | Self::GeneralProtection
                | Self::PageFault
                | Self::AlignmentCheck
                | Self::ControlProtection
        )
    }

    /// Class for the making of double faults. #DF itself is contributory here; see [`Exception::followed_by`].
    pub const fn class(self) -> ExceptionClass {
        match self {
            Self::DivideError
            | Self::DoubleFault
            | Self::InvalidTss
            | Self::SegmentNotPresent
            | Self::StackFault
            | Self::GeneralProtection
            | Self::ControlProtection => ExceptionClass::Contributory,
            Self::PageFault | Self::Virtualization => ExceptionClass::PageFault,
            _ => ExceptionClass::Benign,
        }
    }

    /// What comes of `second`, raised while `self` was being delivered (SDM 3A table 6-5).
    pub const fn followed_by(self, second: Self) -> Combination {
        use ExceptionClass::{Benign, Contributory, PageFault};
        match (self, self.class(), second.class()) {
            (_, _, Benign) => Combination::Serial,
            (Self::DoubleFault, ..) => Combination::TripleFault,
            (_, Contributory, Contributory) | (_, PageFault, Contributory | PageFault) => {
                Combination::DoubleFault
            }
            (_, Benign, _) | (_, Contributory, PageFault) => Combination::Serial,
        }
    }
}

/// Error code of #PF (SDM 3A 4.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PageFaultErrorCode {
    /// P: the page was there, rights or reserved bits forbade the access.
    pub present: bool,
    /// W/R: the access was a write.
    pub write: bool,
    /// U/S: the access was made at CPL 3, and not implicitly by the processor.
    pub user: bool,
    /// RSVD: a reserved bit was set in a paging structure.
    pub reserved: bool,
    /// I/D: the access was an instruction fetch.
    pub fetch: bool,
    /// PK: a protection key forbade it.
    pub protection_key: bool,
    /// SS: a shadow-stack access.
    pub shadow_stack: bool,
    #[bits(25)]
    __: u32,
}

/// Error code of #TS, #NP, #SS and #GP where it names a selector (SDM 3A 6.13).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SelectorErrorCode {
    /// EXT: raised while an event from outside the program was delivered.
    pub external: bool,
    /// IDT: the index is one of the IDT.
    pub idt: bool,
    /// TI: the index is one of the LDT; only where `idt` is clear.
    pub ldt: bool,
    /// Index of the descriptor.
    #[bits(13)]
    pub index: u16,
    __: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_round_trip() {
        for vector in 0..=255 {
            match Exception::from_vector(vector) {
                Some(exception) => assert_eq!(exception.vector(), vector),
                None => assert!(vector == 15 || vector > 21),
            }
        }
    }

    #[test]
    fn double_fault_table() {
        use Combination::{DoubleFault as Double, Serial, TripleFault as Triple};
        use Exception::*;
        let cases = [
            (Breakpoint, GeneralProtection, Serial),
            (DivideError, GeneralProtection, Double),
            (GeneralProtection, Debug, Serial),
            (GeneralProtection, PageFault, Serial),
            (SegmentNotPresent, StackFault, Double),
            (PageFault, Nmi, Serial),
            (PageFault, PageFault, Double),
            (PageFault, GeneralProtection, Double),
            (DoubleFault, PageFault, Triple),
            (DoubleFault, GeneralProtection, Triple),
            (DoubleFault, Debug, Serial),
            (Nmi, PageFault, Serial),
        ];
        for (first, second, expected) in cases {
            assert_eq!(first.followed_by(second), expected, "{first:?} then {second:?}");
        }
    }

    #[test]
    fn error_codes() {
        let with: std::vec::Vec<u8> = (0..22)
            .filter(|vector| Exception::from_vector(*vector).is_some_and(Exception::has_error_code))
            .collect();
        assert_eq!(with, [8, 10, 11, 12, 13, 14, 17, 21]);
        assert_eq!(PageFaultErrorCode::new().with_fetch(true).with_user(true).into_bits(), 0x14);
        assert_eq!(SelectorErrorCode::new().with_idt(true).with_index(0x21).into_bits(), 0x10A);
    }
}
