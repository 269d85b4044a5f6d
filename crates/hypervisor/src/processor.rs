// SPDX-License-Identifier: MIT OR Apache-2.0
//! What CPUID says: the engine's processor model with the VP's own identity, its place in the partition, and the hypervisor's leaves.

use std::sync::Arc;

use engine::{CpuidResult, Engine};
use tlfs::cpuid as hv;
use x86::cpuid::{Leaf1Ecx, Leaf1Edx, leaf};

use crate::enlightenment::Offer;
use crate::partition::{MAX_VPS, PartitionConfig};

/// Whose instruction makes a hypercall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vendor {
    /// VMCALL.
    Intel,
    /// VMMCALL.
    Amd,
}

/// Highest leaf of the hypervisor.
const MAX_HYPERVISOR_LEAF: u32 = hv::NESTED_FEATURES;
/// Build, major and minor version that the interface is reported with: those of Windows Server 2019, whose hypervisor TLFS 6.0 describes.
/// Features are found by their bits, not by this (TLFS 2.5).
const BUILD: u32 = 17763;
const VERSION: hv::Version = hv::Version::new().with_major_version(10).with_minor_version(0);

/// Leaf 0x1F, which says what leaf 0xB says.
const TOPOLOGY_V2: u32 = 0x1F;
/// Cache topology of AMD processors.
const CACHE_TOPOLOGY_AMD: u32 = 0x8000_001D;
/// Extended APIC id of AMD processors.
const EXTENDED_APIC_ID: u32 = 0x8000_001E;

/// Control register state that CPUID reflects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuidContext {
    /// VP index, which is its local APIC id too.
    pub(crate) index: u32,
    /// CR4.
    pub(crate) cr4: u64,
    /// XCR0.
    pub(crate) xcr0: u64,
    /// IA32_XSS.
    pub(crate) xss: u64,
    /// The local APIC is enabled in IA32_APIC_BASE.
    pub(crate) apic_enabled: bool,
    /// HV_X64_MSR_GUEST_OS_ID is not zero.
    pub(crate) guest_os_id_set: bool,
}

/// The processors of a partition: one package of single-threaded cores.
pub(crate) struct ProcessorModel {
    engine: Arc<dyn Engine>,
    vendor: Vendor,
    hypervisor_vendor: [u8; 12],
    count: u32,
    x2apic: bool,
    address_bits: u32,
    max_leaf: u32,
}

impl ProcessorModel {
    pub(crate) fn new(engine: Arc<dyn Engine>, config: &PartitionConfig, address_bits: u32) -> Self {
        let basic = engine.cpuid(leaf::MAX_BASIC, 0);
        let mut name = [0; 12];
        for (part, register) in name.chunks_exact_mut(4).zip([basic.ebx, basic.edx, basic.ecx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        let vendor =
            if matches!(&name, b"AuthenticAMD" | b"HygonGenuine") { Vendor::Amd } else { Vendor::Intel };
        Self {
            engine,
            vendor,
            hypervisor_vendor: config.vendor_id,
            count: config.vp_count,
            x2apic: config.x2apic,
            address_bits,
            max_leaf: basic.eax,
        }
    }

    pub(crate) fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Family, model and stepping, as RDX holds them after reset.
    pub(crate) fn signature(&self) -> u32 {
        self.engine.cpuid(leaf::FEATURES, 0).eax
    }

    /// Whether exceptions can be seen before they are delivered.
    pub(crate) fn shows_exceptions(&self) -> bool {
        self.engine.capabilities().exception_exits
    }

    /// Bits of CR4 that this processor has.
    pub(crate) fn cr4_bits(&self) -> u64 {
        const PCE: u64 = 1 << 8;
        let features = self.engine.cpuid(leaf::FEATURES, 0);
        let extended = self.engine.cpuid(leaf::EXTENDED_FEATURES, 0);
        // The bits of CR4, the register of features, and the bit there that says that they exist.
        let bits = [
            (0b11, features.edx, 1),
            (1 << 2, features.edx, 4),
            (1 << 3, features.edx, 2),
            (1 << 4, features.edx, 3),
            (1 << 5, features.edx, 6),
            (1 << 6, features.edx, 7),
            (1 << 7, features.edx, 13),
            (1 << 9, features.edx, 24),
            (1 << 10, features.edx, 25),
            (1 << 11, extended.ecx, 2),
            (1 << 12, extended.ecx, 16),
            (1 << 16, extended.ebx, 0),
            (1 << 17, features.ecx, 17),
            (1 << 18, features.ecx, 26),
            (1 << 20, extended.ebx, 7),
            (1 << 21, extended.ebx, 20),
            (1 << 22, extended.ecx, 3),
        ];
        let exist = bits.into_iter().filter(|&(_, register, bit)| register >> bit & 1 != 0);
        exist.fold(PCE, |bits, (bit, ..)| bits | bit)
    }

    /// Bits of XCR0 that this processor has.
    pub(crate) fn xcr0_bits(&self) -> u64 {
        let xsave = self.engine.cpuid(leaf::XSAVE, 0);
        u64::from(xsave.edx) << 32 | u64::from(xsave.eax) | 1
    }

    /// Whether there are 1 GiB pages.
    pub(crate) fn has_1g_pages(&self) -> bool {
        self.engine.cpuid(leaf::EXTENDED_FEATURES_AMD, 0).edx >> 26 & 1 != 0
    }

    /// Low bits of an APIC id that tell the processors of the package apart.
    fn id_bits(&self) -> u32 {
        self.count.next_power_of_two().trailing_zeros()
    }

    /// What CPUID gives.
    pub(crate) fn cpuid(&self, offer: &Offer, context: CpuidContext, leaf: u32, subleaf: u32) -> CpuidResult {
        if (hv::VENDOR_AND_MAX_LEAF..hv::VENDOR_AND_MAX_LEAF + 0x1000_0000).contains(&leaf) {
            let present = offer.is_present() && leaf <= MAX_HYPERVISOR_LEAF;
            return if present { self.hypervisor_leaf(offer, context, leaf) } else { CpuidResult::default() };
        }
        let result = self.engine.cpuid(leaf, subleaf);
        match leaf {
            leaf::FEATURES => self.features(offer, context, result),
            leaf::EXTENDED_FEATURES if subleaf == 0 => {
                // OSPKE shows CR4.PKE where protection keys (bit 3) exist.
                let ospke = result.ecx >> 3 & (context.cr4 >> 22) as u32 & 1;
                CpuidResult { ecx: result.ecx & !(1 << 4) | ospke << 4, ..result }
            }
            leaf::CACHE_PARAMETERS | CACHE_TOPOLOGY_AMD => self.cache(leaf, result),
            leaf::TOPOLOGY | TOPOLOGY_V2 if leaf <= self.max_leaf => self.topology(context, subleaf),
            leaf::XSAVE => self.xsave(context, subleaf, result),
            leaf::ADDRESS_SIZES => self.address_sizes(result),
            leaf::EXTENDED_FEATURES_AMD if self.vendor == Vendor::Amd && self.count > 1 => {
                // CmpLegacy: several cores, no threads.
                CpuidResult { ecx: result.ecx | 1 << 1, ..result }
            }
            EXTENDED_APIC_ID if result != CpuidResult::default() => {
                CpuidResult { eax: context.index, ebx: context.index & 0xFF, ecx: 0, edx: 0 }
            }
            _ => result,
        }
    }

    fn features(&self, offer: &Offer, context: CpuidContext, result: CpuidResult) -> CpuidResult {
        let ecx = Leaf1Ecx::from_bits(result.ecx);
        let osxsave = ecx.xsave() && context.cr4 >> 18 & 1 != 0;
        let edx = Leaf1Edx::from_bits(result.edx);
        let shown = self.count.next_power_of_two().min(128);
        CpuidResult {
            eax: result.eax,
            ebx: result.ebx & 0xFFFF | shown << 16 | context.index << 24,
            ecx: ecx
                .with_hypervisor(offer.is_present())
                .with_x2apic(ecx.x2apic() && self.x2apic)
                .with_osxsave(osxsave)
                .into_bits(),
            edx: edx.with_apic(context.apic_enabled).with_htt(self.count > 1).into_bits(),
        }
    }

    /// All processors share the last-level cache; each has the others for itself.
    fn cache(&self, leaf: u32, result: CpuidResult) -> CpuidResult {
        let exists = result.eax & 0x1F != 0;
        if !exists {
            return result;
        }
        let level = result.eax >> 5 & 7;
        let ids = (1u32 << self.id_bits()) - 1;
        let sharing = if level >= 3 { ids.min(0xFFF) } else { 0 };
        let cores = if leaf == leaf::CACHE_PARAMETERS { ids.min(0x3F) << 26 } else { 0 };
        CpuidResult { eax: result.eax & 0x3FFF | sharing << 14 | cores, ..result }
    }

    fn topology(&self, context: CpuidContext, subleaf: u32) -> CpuidResult {
        const SMT: u32 = 1;
        const CORE: u32 = 2;
        let (shift, processors, kind) = match subleaf {
            0 => (0, 1, SMT),
            1 => (self.id_bits(), self.count, CORE),
            _ => (0, 0, 0),
        };
        CpuidResult { eax: shift, ebx: processors, ecx: subleaf & 0xFF | kind << 8, edx: context.index }
    }

    /// Sizes of the XSAVE area for the components that are enabled now (SDM 1 13.2).
    fn xsave(&self, context: CpuidContext, subleaf: u32, result: CpuidResult) -> CpuidResult {
        const LEGACY_AND_HEADER: u32 = 576;
        let components = |enabled: u64| (2..63).filter(move |bit| enabled >> bit & 1 != 0);
        let ebx = match subleaf {
            0 => components(context.xcr0).fold(LEGACY_AND_HEADER, |size, bit| {
                let part = self.engine.cpuid(leaf::XSAVE, bit);
                size.max(part.ebx + part.eax)
            }),
            1 if result.eax != 0 => {
                components(context.xcr0 | context.xss).fold(LEGACY_AND_HEADER, |size, bit| {
                    let part = self.engine.cpuid(leaf::XSAVE, bit);
                    let aligned = if part.ecx & 2 != 0 { size.next_multiple_of(64) } else { size };
                    aligned + part.eax
                })
            }
            _ => result.ebx,
        };
        CpuidResult { ebx, ..result }
    }

    fn address_sizes(&self, result: CpuidResult) -> CpuidResult {
        let ecx = if self.vendor == Vendor::Amd {
            self.id_bits() << 12 | (self.count - 1).min(0xFF)
        } else {
            result.ecx
        };
        CpuidResult { eax: result.eax & !0xFF | self.address_bits, ecx, ..result }
    }

    /// Leaves 0x40000000 to 0x4000000A (TLFS 2.4).
    fn hypervisor_leaf(&self, offer: &Offer, context: CpuidContext, leaf: u32) -> CpuidResult {
        let [ebx, ecx, edx] = hv::vendor_signature(self.hypervisor_vendor);
        match leaf {
            hv::VENDOR_AND_MAX_LEAF => CpuidResult { eax: MAX_HYPERVISOR_LEAF, ebx, ecx, edx },
            hv::INTERFACE => CpuidResult { eax: hv::INTERFACE_SIGNATURE, ..Default::default() },
            hv::VERSION if context.guest_os_id_set => {
                CpuidResult { eax: BUILD, ebx: VERSION.into_bits(), ..Default::default() }
            }
            hv::FEATURES => CpuidResult {
                eax: offer.privileges.low(),
                ebx: offer.privileges.high(),
                ecx: 0,
                edx: offer.features.into_bits(),
            },
            hv::RECOMMENDATIONS => CpuidResult {
                eax: offer.recommendations.into_bits(),
                ebx: hv::SPINLOCK_RETRIES_NEVER,
                ecx: hv::PhysicalAddress::new()
                    .with_implemented_physical_address_bits(self.address_bits as u8)
                    .into_bits(),
                edx: 0,
            },
            hv::LIMITS => CpuidResult { eax: MAX_VPS, ebx: MAX_VPS, ..Default::default() },
            // No hardware is in use, no processor is the guest's to manage, no device shares its memory, and nothing is nested.
            _ => CpuidResult::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enlightenment::{Enlightenment, Enlightenments};
    use engine::scripted::ScriptedEngine;

    fn model(count: u32) -> ProcessorModel {
        let config = PartitionConfig { vp_count: count, ..Default::default() };
        ProcessorModel::new(Arc::new(ScriptedEngine::new(1_000_000_000)), &config, 40)
    }

    fn ask(enlightenments: Enlightenments, context: CpuidContext, leaf: u32) -> CpuidResult {
        model(3).cpuid(&Offer::new(enlightenments), context, leaf, 0)
    }

    /// B02.002 to B02.006: presence, vendor, interface.
    #[test]
    fn the_interface_is_found() {
        let all = |leaf| ask(Enlightenments::ALL, CpuidContext::default(), leaf);
        assert_eq!(all(1).ecx >> 31, 1);
        assert_eq!(all(0x4000_0000).eax, 0x4000_000A);
        assert_eq!((all(0x4000_0000).ebx, all(0x4000_0000).edx), (0x7263_694D, 0x7648_2074));
        assert_eq!(all(0x4000_0001).eax, 0x3123_7648);
        assert_eq!(all(0x4000_000B), CpuidResult::default());
        let none = |leaf| ask(Enlightenments::NONE, CpuidContext::default(), leaf);
        assert_eq!((none(1).ecx >> 31, none(0x4000_0000)), (0, CpuidResult::default()));
    }

    /// B02.004: the highest leaf, and whoever the host says made the hypervisor; what is served is told of all the same.
    #[test]
    fn the_vendor_is_the_hosts_choice() {
        let engine = Arc::new(ScriptedEngine::new(1_000_000_000));
        let config = PartitionConfig { vendor_id: *b"SomebodyElse", ..Default::default() };
        let other = ProcessorModel::new(engine, &config, 40);
        let offer = Offer::new(Enlightenments::ALL);
        let ask = |model: &ProcessorModel, leaf| model.cpuid(&offer, CpuidContext::default(), leaf, 0);
        let CpuidResult { eax, ebx, ecx, edx } = ask(&other, hv::VENDOR_AND_MAX_LEAF);
        assert_eq!(eax, MAX_HYPERVISOR_LEAF);
        assert_eq!([ebx, ecx, edx].map(u32::to_le_bytes).concat(), b"SomebodyElse");
        for leaf in hv::INTERFACE..=MAX_HYPERVISOR_LEAF {
            assert_eq!(ask(&other, leaf), ask(&model(1), leaf), "{leaf:#x}");
        }
    }

    /// B02.007: the version shows when the guest has said who it is.
    #[test]
    fn the_version_is_hidden_until_the_guest_identifies_itself() {
        let context = CpuidContext::default();
        assert_eq!(ask(Enlightenments::ALL, context, hv::VERSION), CpuidResult::default());
        let known = ask(Enlightenments::ALL, CpuidContext { guest_os_id_set: true, ..context }, hv::VERSION);
        assert_eq!((known.eax, known.ebx), (17763, 10 << 16));
    }

    /// B02.008, B02.012: privileges as they are, EAX bits 5 and 6 among them; width of addresses.
    #[test]
    fn privileges_show_in_the_features_leaf() {
        let context = CpuidContext::default();
        let all = ask(Enlightenments::ALL, context, hv::FEATURES);
        assert_eq!(all.eax & 0x60, 0x60);
        let without = ask(Enlightenments::ALL.without(Enlightenment::AccessSynicRegs), context, hv::FEATURES);
        assert_eq!(all.eax ^ without.eax, 1 << 2);
        let privileges =
            Enlightenments::ALL.without(Enlightenment::PostMessages).without(Enlightenment::SignalEvents);
        assert_eq!(all.ebx ^ ask(privileges, context, hv::FEATURES).ebx, 3 << 4);
        let feature =
            ask(Enlightenments::ALL.without(Enlightenment::SintPollingModeAvailable), context, hv::FEATURES);
        assert_eq!(all.edx ^ feature.edx, 1 << 17);
        assert_eq!(ask(Enlightenments::ALL, context, hv::RECOMMENDATIONS).ecx, 40);
    }

    #[test]
    fn each_processor_has_its_own_identity() {
        let context = CpuidContext { index: 2, cr4: 1 << 18, apic_enabled: true, ..Default::default() };
        let features = ask(Enlightenments::ALL, context, 1);
        assert_eq!(features.ebx >> 24, 2);
        assert_eq!((features.ebx >> 16 & 0xFF, features.edx >> 28 & 1), (4, 1));
        // The scripted engine's processor has no XSAVE, so CR4 does not show.
        assert_eq!(features.ecx >> 27 & 1, 0);
        let topology = model(3).topology(context, 1);
        assert_eq!((topology.eax, topology.ebx, topology.ecx, topology.edx), (2, 3, 0x201, 2));
    }
}
