// SPDX-License-Identifier: MIT OR Apache-2.0
//! The values of registers.

use super::PendingExceptionEvent;
use crate::declare::{bit_fields, layout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `HV_REGISTER_VALUE`: 16 bytes that hold any register; a shorter value lies at their start (TLFS 7.8.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RegisterValue {
    /// Bits 63:0.
    pub low: u64,
    /// Bits 127:64; zero in the value of a 64-bit register.
    pub high: u64,
}
layout!(RegisterValue: 16, low @ 0, high @ 8);

impl From<u64> for RegisterValue {
    fn from(value: u64) -> Self {
        Self { low: value, high: 0 }
    }
}

impl From<u128> for RegisterValue {
    fn from(value: u128) -> Self {
        Self { low: value as u64, high: (value >> 64) as u64 }
    }
}

impl From<RegisterValue> for u128 {
    fn from(value: RegisterValue) -> Self {
        u128::from(value.high) << 64 | u128::from(value.low)
    }
}

macro_rules! register_formats {
    ($($Type:ident),+) => {$(
        impl From<$Type> for RegisterValue {
            fn from(value: $Type) -> Self {
                zerocopy::transmute!(value)
            }
        }

        impl From<RegisterValue> for $Type {
            fn from(value: RegisterValue) -> Self {
                zerocopy::transmute!(value)
            }
        }
    )+};
}

register_formats!(
    SegmentRegister,
    TableRegister,
    FpRegister,
    FpControlStatusRegister,
    XmmControlStatusRegister,
    PendingExceptionEvent
);

bit_fields! {
    /// Attributes of a segment, in the order of bits 55:52 and 47:40 of a descriptor (TLFS 7.9.5).
    pub struct SegmentAttributes(u16);
    /// Type.
    segment_type: u8 = 4;
    /// Code or data, not a system segment.
    non_system_segment: bool = 1;
    /// Privilege level, 0 to 3.
    descriptor_privilege_level: u8 = 2;
    /// Present.
    present: bool = 1;
    __: u8 = 4;
    /// Left to software.
    available: bool = 1;
    /// 64-bit code.
    long: bool = 1;
    /// 32-bit code or stack.
    default: bool = 1;
    /// The limit was in units of 4 KiB. The register's limit is in bytes all the same.
    granularity: bool = 1;
}

/// `HV_X64_SEGMENT_REGISTER` (TLFS 7.9.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SegmentRegister {
    /// Linear address of its first byte.
    pub base: u64,
    /// Offset of its last byte.
    pub limit: u32,
    /// Selector it was loaded from.
    pub selector: u16,
    /// Attributes.
    pub attributes: SegmentAttributes,
}
layout!(SegmentRegister: 16, base @ 0, limit @ 8, selector @ 12, attributes @ 14);

/// `HV_X64_TABLE_REGISTER`: IDTR or GDTR (TLFS 7.9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct TableRegister {
    /// Zero.
    pub pad: [u16; 3],
    /// Offset of the table's last byte.
    pub limit: u16,
    /// Linear address of the table.
    pub base: u64,
}
layout!(TableRegister: 16, limit @ 6, base @ 8);

bit_fields! {
    /// Sign and exponent of an x87 register (TLFS 7.9.4).
    pub struct FpSignAndExponent(u64);
    /// Exponent, biased by 16383.
    biased_exponent: u16 = 15;
    /// Set for negative numbers.
    sign: bool = 1;
    __: u64 = 48;
}

/// `HV_X64_FP_REGISTER` (TLFS 7.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FpRegister {
    /// Significand, or the MMX value.
    pub mantissa: u64,
    /// Sign and exponent.
    pub sign_and_exponent: FpSignAndExponent,
}
layout!(FpRegister: 16, mantissa @ 0, sign_and_exponent @ 8);

/// `HV_X64_FP_CONTROL_STATUS_REGISTER` (TLFS 7.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FpControlStatusRegister {
    /// x87 control word.
    pub fp_control: u16,
    /// x87 status word.
    pub fp_status: u16,
    /// Abridged tag word: bit n set if physical register n holds a value.
    pub fp_tag: u8,
    /// Zero.
    pub reserved: u8,
    /// Opcode of the last x87 instruction.
    pub last_fp_op: u16,
    /// Its RIP; outside long mode EIP in the low half, then CS.
    pub last_fp_rip: u64,
}
layout!(FpControlStatusRegister: 16, fp_control @ 0, fp_status @ 2, fp_tag @ 4, last_fp_op @ 6, last_fp_rip @ 8);

/// `HV_X64_XMM_CONTROL_STATUS_REGISTER` (TLFS 7.9.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct XmmControlStatusRegister {
    /// Address of the last x87 operand; outside long mode an offset in the low half, then DS.
    pub last_fp_rdp: u64,
    /// MXCSR.
    pub xmm_status_control: u32,
    /// Bits of MXCSR that exist.
    pub xmm_status_control_mask: u32,
}
layout!(XmmControlStatusRegister: 16, last_fp_rdp @ 0, xmm_status_control @ 8, xmm_status_control_mask @ 12);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_at_the_start() {
        assert_eq!(RegisterValue::from(5u64), RegisterValue { low: 5, high: 0 });
        assert_eq!(u128::from(RegisterValue::from(7u128 << 64 | 5)), 7 << 64 | 5);
        let attributes = SegmentAttributes::from_bits(0xA09B);
        let cs = SegmentRegister { base: 0x10, limit: 0xFFFF_FFFF, selector: 8, attributes };
        let value = RegisterValue::from(cs);
        assert_eq!(value, RegisterValue { low: 0x10, high: 0xA09B_0008_FFFF_FFFF });
        assert_eq!(SegmentRegister::from(value), cs);
        assert!(
            attributes.long() && attributes.present() && attributes.granularity() && !attributes.default()
        );
    }
}
