// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Hyper-V interface as a guest uses it: discovery, hypercalls, SynIC, timers, reference time. The numbers are those of the
//! crate `tlfs`; every MSR access that the hypervisor may refuse gives the fault instead of ending the program.

pub mod arrivals;
pub mod assist;
pub mod hypercall;
pub mod synic;
pub mod test_device;
pub mod time;
pub mod timer;

use crate::cpu::{self, CpuidResult};
use tlfs::cpuid::{self, Features, Recommendations};
use tlfs::privilege::PrivilegeMask;

/// What a guest finds where the Microsoft hypervisor interface could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// CPUID says that there is no hypervisor at all.
    NoHypervisor,
    /// A hypervisor with another interface.
    Other {
        /// Its vendor, 12 bytes.
        vendor: Vendor,
        /// Its interface signature, 4 bytes; zeros if it has none.
        interface: u32,
    },
    /// The interface that the TLFS describes.
    Microsoft(Interface),
}

/// The vendor signature of CPUID leaf 0x40000000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vendor(pub [u8; 12]);

impl Vendor {
    fn new(leaf: &CpuidResult) -> Vendor {
        let mut bytes = [0; 12];
        for (part, register) in bytes.chunks_exact_mut(4).zip([leaf.ebx, leaf.ecx, leaf.edx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        Vendor(bytes)
    }

    /// The signature as text, up to the first byte that is not printable.
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| !matches!(byte, b' '..=b'~')).unwrap_or(12);
        core::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

/// The Microsoft hypervisor interface, as CPUID offers it (TLFS 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// The vendor; a guest should not care.
    pub vendor: Vendor,
    /// The highest leaf.
    pub max_leaf: u32,
    /// What this partition may do.
    pub privileges: PrivilegeMask,
    /// What this hypervisor has.
    pub features: Features,
    /// What it advises to use.
    pub recommendations: Recommendations,
    /// How often to try a spin lock before telling the hypervisor; all ones for never.
    pub spin_retries: u32,
    /// Physical address bits, 0 if not told.
    pub physical_address_bits: u8,
    /// The most virtual processors of a partition, 0 if not told.
    pub max_virtual_processors: u32,
    /// The most logical processors of the machine, 0 if not told.
    pub max_logical_processors: u32,
}

/// Looks for a hypervisor. The interface signature decides, not the vendor (TLFS 2.3).
pub fn discover() -> Found {
    if cpu::cpuid(1, 0).ecx & 1 << cpuid::HYPERVISOR_PRESENT_ECX_BIT == 0 {
        return Found::NoHypervisor;
    }
    let top = cpu::cpuid(cpuid::VENDOR_AND_MAX_LEAF, 0);
    let vendor = Vendor::new(&top);
    let interface = if top.eax >= cpuid::INTERFACE { cpu::cpuid(cpuid::INTERFACE, 0).eax } else { 0 };
    if interface != cpuid::INTERFACE_SIGNATURE || top.eax < cpuid::MINIMUM_MAX_LEAF {
        return Found::Other { vendor, interface };
    }
    let offered = cpu::cpuid(cpuid::FEATURES, 0);
    let advised = cpu::cpuid(cpuid::RECOMMENDATIONS, 0);
    let limits = cpu::cpuid(cpuid::LIMITS, 0);
    Found::Microsoft(Interface {
        vendor,
        max_leaf: top.eax,
        privileges: PrivilegeMask::from_bits(u64::from(offered.ebx) << 32 | u64::from(offered.eax)),
        features: Features::from_bits(offered.edx),
        recommendations: Recommendations::from_bits(advised.eax),
        spin_retries: advised.ebx,
        physical_address_bits: advised.ecx as u8 & 0x7F,
        max_virtual_processors: limits.eax,
        max_logical_processors: limits.ebx,
    })
}
