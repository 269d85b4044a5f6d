// SPDX-License-Identifier: MIT OR Apache-2.0
//! The processor that guests see.
//!
//! A fixed processor of our own, from one table: the host's vendor (guests choose code by it, and undefined behaviour is the host's), but family, model, stepping,
//! caches and features of the named model. Features are offered only if they are served.

mod leaves;

use std::arch::x86_64::__cpuid;

use engine::CpuidResult;

use crate::host_execution::Extensions;

/// Whose processor it claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// "GenuineIntel"
    Intel,
    /// "AuthenticAMD"
    Amd,
}

/// The host's processor cannot be the named model.
#[derive(Debug, thiserror::Error)]
#[error("the host's processor lacks {0:?}, which the processor model {1} has")]
pub struct HostLacks(Extensions, &'static str);

/// A processor model.
#[derive(Clone, Debug)]
pub struct Model {
    vendor: Vendor,
    extensions: Extensions,
}

impl Model {
    /// x86-64-v2, and of what goes beyond it the extensions that need no further state and that the host has: the default.
    ///
    /// # Errors
    /// If the host lacks one of v2's extensions.
    pub fn x86_64_v2() -> Result<Self, HostLacks> {
        let host = Extensions::of_host();
        let needed = Extensions::new()
            .with_sse3(true)
            .with_ssse3(true)
            .with_sse4_1(true)
            .with_sse4_2(true)
            .with_popcnt(true);
        if !host.contains(needed) {
            let lacking = needed.into_bits() & !host.into_bits();
            return Err(HostLacks(Extensions::from_bits(lacking), "x86-64-v2"));
        }
        let beyond = Extensions::new()
            .with_aes(true)
            .with_pclmulqdq(true)
            .with_sha(true)
            .with_lzcnt(true)
            .with_bmi1(true)
            .with_bmi2(true)
            .with_adx(true)
            .with_movbe(true);
        let extensions = Extensions::from_bits(needed.into_bits() | beyond.intersection(host).into_bits());
        Ok(Self { vendor: host_vendor(), extensions })
    }

    /// Whose processor it claims to be.
    #[must_use]
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// The instruction-set extensions that it has.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// CPUID leaf 1's EAX: family, model and stepping.
    #[must_use]
    pub fn signature(&self) -> u32 {
        match self.vendor {
            // Family 6, model 0x3D: the first core with SMAP and ADX, before any that kernels look closer at.
            Vendor::Intel => 0x0003_06D4,
            // Family 19h, model 1: the first with the leaf that says which weaknesses a processor does not have.
            Vendor::Amd => 0x00A0_0F11,
        }
    }

    /// Bits of EFER that exist besides those of every model: for AMD Automatic IBRS (APM 2 3.2.9), with which kernels need no retpolines. It changes
    /// nothing here: an interpreter does not speculate in the guest's name.
    #[must_use]
    pub(crate) fn efer_optional(&self) -> u64 {
        match self.vendor {
            Vendor::Intel => 0,
            Vendor::Amd => 1 << 21,
        }
    }

    /// Bytes of an XSAVE area in standard form with all components.
    #[must_use]
    pub fn xsave_bytes(&self) -> usize {
        576
    }

    /// What CPUID says.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        leaves::answer(self, leaf, subleaf)
    }
}

fn host_vendor() -> Vendor {
    if __cpuid(0).ebx == u32::from_le_bytes(*b"Auth") { Vendor::Amd } else { Vendor::Intel }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(vendor: Vendor) -> Model {
        Model { vendor, ..Model::x86_64_v2().unwrap() }
    }

    #[test]
    fn both_vendors_name_themselves_in_both_ranges() {
        for (vendor, name) in [(Vendor::Intel, b"GenuineIntel"), (Vendor::Amd, b"AuthenticAMD")] {
            let leaf = model(vendor).cpuid(0, 0);
            let told: Vec<u8> =
                [leaf.ebx, leaf.edx, leaf.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
            assert_eq!(told, name);
            let highest = model(vendor).cpuid(0x8000_0000, 0);
            assert_eq!(highest.ebx, if vendor == Vendor::Amd { leaf.ebx } else { 0 });
            // Beyond the highest leaf there is nothing.
            assert_eq!(model(vendor).cpuid(highest.eax + 1, 0), CpuidResult::default());
            assert_eq!(model(vendor).cpuid(leaf.eax + 1, 0), CpuidResult::default());
            assert_eq!(model(vendor).cpuid(1, 0).eax, model(vendor).signature());
        }
    }

    #[test]
    fn only_what_the_host_can_execute_is_offered() {
        for vendor in [Vendor::Intel, Vendor::Amd] {
            let model = model(vendor);
            assert!(Extensions::of_host().contains(model.extensions()));
            let [features, structured] = [1, 7].map(|leaf| model.cpuid(leaf, 0));
            // AVX, FMA, F16C; AVX2, RTM, AVX-512, PKU: without state to save, or never offered.
            assert_eq!(features.ecx & (1 << 28 | 1 << 12 | 1 << 29), 0);
            assert_eq!(structured.ebx & (1 << 5 | 1 << 11 | 1 << 16), 0);
            assert_eq!(structured.ecx & 1 << 3, 0);
            // The hypervisor bit is somebody else's.
            assert_eq!(features.ecx >> 31, 0);
        }
    }

    #[test]
    fn cache_and_topology_leaves_end() {
        for (vendor, leaf) in [(Vendor::Intel, 4), (Vendor::Amd, 0x8000_001D)] {
            assert_ne!(model(vendor).cpuid(leaf, 3).eax & 31, 0);
            assert_eq!(model(vendor).cpuid(leaf, 4).eax & 31, 0);
            assert_eq!(model(vendor).cpuid(0xB, 2).ecx >> 8, 0);
        }
    }
}
