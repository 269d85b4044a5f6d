// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hypervisor's CPUID leaves, 0x40000000 to 0x4000000A (TLFS 2.3, 2.4).
//!
//! [`REGISTERS`] lists every output register of every leaf with its fields. Leaf 3 shows the partition's
//! [`PrivilegeMask`] in EAX and EBX.

mod leaves;

pub use leaves::*;

use crate::Field;
use crate::privilege::PrivilegeMask;

/// Highest leaf, and the vendor of the hypervisor (TLFS 2.4.1).
pub const VENDOR_AND_MAX_LEAF: u32 = 0x4000_0000;
/// Which interface the leaves above follow (TLFS 2.4.2).
pub const INTERFACE: u32 = 0x4000_0001;
/// Version of the hypervisor; zero until GUEST_OS_ID is set (TLFS 2.4.3).
pub const VERSION: u32 = 0x4000_0002;
/// Privileges of the partition and features of the interface (TLFS 2.4.4).
pub const FEATURES: u32 = 0x4000_0003;
/// What the guest is advised to use (TLFS 2.4.5).
pub const RECOMMENDATIONS: u32 = 0x4000_0004;
/// Limits of the implementation (TLFS 2.4.6).
pub const LIMITS: u32 = 0x4000_0005;
/// Hardware that the hypervisor uses (TLFS 2.4.7).
pub const HARDWARE_FEATURES: u32 = 0x4000_0006;
/// Processor management, for the root (TLFS 2.4.8).
pub const CPU_MANAGEMENT_FEATURES: u32 = 0x4000_0007;
/// Shared virtual memory (TLFS 2.4.9).
pub const SVM_FEATURES: u32 = 0x4000_0008;
/// What a nested hypervisor may use of the one below (TLFS 2.4.10).
pub const NESTED_PRIVILEGES: u32 = 0x4000_0009;
/// Enlightenments for a nested hypervisor (TLFS 2.4.11).
pub const NESTED_FEATURES: u32 = 0x4000_000A;

/// Lowest value a conforming hypervisor may report as its highest leaf (TLFS 2.4.1).
pub const MINIMUM_MAX_LEAF: u32 = 0x4000_0005;
/// "Hv#1" in EAX of leaf 0x40000001: the interface is the one described here (TLFS 2.4.2).
pub const INTERFACE_SIGNATURE: u32 = u32::from_le_bytes(*b"Hv#1");
/// The letters in EBX, ECX, EDX of leaf 0x40000000, which guests compare although they need not (TLFS 2.4.1).
pub const VENDOR_ID: [u8; 12] = *b"Microsoft Hv";

/// EBX, ECX and EDX of leaf 0x40000000 for a vendor's letters (TLFS 2.4.1).
#[must_use]
pub const fn vendor_signature(id: [u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = id;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([i, j, k, l])]
}

/// Bit of ECX of leaf 1 that says a hypervisor is present (TLFS 2.2).
pub const HYPERVISOR_PRESENT_ECX_BIT: u8 = 31;
/// EBX of leaf 0x40000004: spinning is never to be reported (TLFS 2.4.5).
pub const SPINLOCK_RETRIES_NEVER: u32 = u32::MAX;

/// An output register of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputRegister {
    /// EAX.
    Eax,
    /// EBX.
    Ebx,
    /// ECX.
    Ecx,
    /// EDX.
    Edx,
}

/// One output register of one leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterInfo {
    /// Number of the leaf, as in EAX before CPUID.
    pub leaf: u32,
    /// The output register.
    pub register: OutputRegister,
    /// Its fields from bit 0 upwards; 32 bits in all.
    pub fields: &'static [Field],
}

const fn whole(name: &'static str, about: &'static str) -> [Field; 1] {
    [Field { name, low: 0, width: 32, about }]
}

/// Number of fields that lie in bits 31:0.
const fn fields_below_32(fields: &[Field]) -> usize {
    let mut count = 0;
    while fields[count].low < 32 {
        count += 1;
    }
    count
}

const PRIVILEGES_LOW: usize = fields_below_32(PrivilegeMask::FIELDS);

/// The fields of bits 63:32, moved down by 32.
const PRIVILEGES_HIGH: [Field; PrivilegeMask::FIELDS.len() - PRIVILEGES_LOW] = {
    let mut fields =
        [Field { name: "", low: 0, width: 0, about: "" }; PrivilegeMask::FIELDS.len() - PRIVILEGES_LOW];
    let mut index = 0;
    while index < fields.len() {
        let field = PrivilegeMask::FIELDS[PRIVILEGES_LOW + index];
        fields[index] = Field { low: field.low - 32, ..field };
        index += 1;
    }
    fields
};

macro_rules! registers {
    ($($leaf:ident: $eax:expr, $ebx:expr, $ecx:expr, $edx:expr;)+) => {
        /// Every output register of every leaf, in order.
        pub const REGISTERS: &[RegisterInfo] = &[$(
            RegisterInfo { leaf: $leaf, register: OutputRegister::Eax, fields: $eax },
            RegisterInfo { leaf: $leaf, register: OutputRegister::Ebx, fields: $ebx },
            RegisterInfo { leaf: $leaf, register: OutputRegister::Ecx, fields: $ecx },
            RegisterInfo { leaf: $leaf, register: OutputRegister::Edx, fields: $edx },
        )+];
    };
}

/// What the leaf tells, with its section.
pub const fn about(leaf: u32) -> Option<&'static str> {
    Some(match leaf {
        VENDOR_AND_MAX_LEAF => "Highest leaf, and the vendor of the hypervisor (TLFS 2.4.1).",
        INTERFACE => "Which interface the leaves above follow (TLFS 2.4.2).",
        VERSION => "Version of the hypervisor; zero until GUEST_OS_ID is set (TLFS 2.4.3).",
        FEATURES => "Privileges of the partition and features of the interface (TLFS 2.4.4).",
        RECOMMENDATIONS => "What the guest is advised to use (TLFS 2.4.5).",
        LIMITS => "Limits of the implementation (TLFS 2.4.6).",
        HARDWARE_FEATURES => "Hardware that the hypervisor uses (TLFS 2.4.7).",
        CPU_MANAGEMENT_FEATURES => "Processor management, for the root (TLFS 2.4.8).",
        SVM_FEATURES => "Shared virtual memory (TLFS 2.4.9).",
        NESTED_PRIVILEGES => "What a nested hypervisor may use of the one below (TLFS 2.4.10).",
        NESTED_FEATURES => "Enlightenments for a nested hypervisor (TLFS 2.4.11).",
        _ => return None,
    })
}

const RESERVED: &[Field] = &whole("", "");

registers! {
    VENDOR_AND_MAX_LEAF: &whole("max_leaf", "Highest leaf."), &whole("vendor_signature0", "Who made the hypervisor, letters 1 to 4."), &whole("vendor_signature1", "Letters 5 to 8."), &whole("vendor_signature2", "Letters 9 to 12.");
    INTERFACE: &whole("interface_signature", "Which interface the leaves follow: \"Hv#1\"."), RESERVED, RESERVED, RESERVED;
    VERSION: &whole("build_number", "Build number."), Version::FIELDS, &whole("service_pack", "Service pack."), Service::FIELDS;
    FEATURES: PrivilegeMask::FIELDS.split_at(PRIVILEGES_LOW).0, &PRIVILEGES_HIGH, PowerFeatures::FIELDS, Features::FIELDS;
    RECOMMENDATIONS: Recommendations::FIELDS, &whole("spinlock_retries", "Tries for a spin lock before the hypervisor is told; all ones: never."), PhysicalAddress::FIELDS, RESERVED;
    LIMITS: &whole("max_virtual_processors", "Most virtual processors of a partition."), &whole("max_logical_processors", "Most logical processors."), &whole("max_interrupt_vectors", "Most physical interrupt vectors for remapping."), RESERVED;
    HARDWARE_FEATURES: HardwareFeatures::FIELDS, RESERVED, RESERVED, RESERVED;
    CPU_MANAGEMENT_FEATURES: CpuManagementFeatures::FIELDS, CpuPowerFeatures::FIELDS, RemapFeatures::FIELDS, RESERVED;
    SVM_FEATURES: SvmFeatures::FIELDS, RESERVED, RESERVED, RESERVED;
    NESTED_PRIVILEGES: NestedPrivileges::FIELDS, RESERVED, RESERVED, NestedHypercallFeatures::FIELDS;
    NESTED_FEATURES: NestedFeatures::FIELDS, RESERVED, RESERVED, RESERVED;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_register_has_32_bits() {
        for info in REGISTERS {
            let bits: u32 = info.fields.iter().map(|field| u32::from(field.width)).sum();
            assert_eq!(bits, 32, "leaf {:#x} {:?}", info.leaf, info.register);
            assert!(about(info.leaf).is_some(), "leaf {:#x}", info.leaf);
        }
    }

    /// B02.005, B02.006: the two signatures a guest looks for.
    #[test]
    fn signatures() {
        assert_eq!(INTERFACE_SIGNATURE, 0x3123_7648);
        assert_eq!(vendor_signature(VENDOR_ID), [0x7263_694D, 0x666F_736F, 0x7648_2074]);
    }
}
