// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUID of processors with more to them than the scripted engine's: what a VP shows follows from what its engine has and from its place in the partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::scripted::ScriptedEngine;
use engine::{Capabilities, CpuidResult, Engine, EngineError, VpGroup};
use memory::Space;
use x86::control::Cr4;
use x86::cpuid::{Leaf1Ecx, Leaf1Edx};

use crate::enlightenment::Offer;
use crate::processor::{CpuidContext, ProcessorModel, Vendor};
use crate::{Enlightenments, PartitionConfig};

/// A processor that is nothing but its CPUID.
#[derive(Clone, Default)]
struct Leaves(BTreeMap<(u32, u32), CpuidResult>);

impl Engine for Leaves {
    fn name(&self) -> &'static str {
        "leaves"
    }
    fn capabilities(&self) -> Capabilities {
        ScriptedEngine::new(1_000_000_000).capabilities()
    }
    fn cpuid(&self, leaf: u32, subleaf: u32) -> CpuidResult {
        self.0.get(&(leaf, subleaf)).copied().unwrap_or_default()
    }
    fn create_group(&self, _: &Arc<Space>) -> Result<Box<dyn VpGroup>, EngineError> {
        unreachable!("nothing runs on it")
    }
}

impl Leaves {
    /// The leaf and subleaf with these registers.
    fn with(mut self, leaf: u32, subleaf: u32, registers: [u32; 4]) -> Self {
        let [eax, ebx, ecx, edx] = registers;
        self.0.insert((leaf, subleaf), CpuidResult { eax, ebx, ecx, edx });
        self
    }

    /// Leaf 0 of a vendor.
    fn of(vendor: &[u8; 12], max_leaf: u32) -> Self {
        let [b, d, c] = [0, 4, 8].map(|at| u32::from_le_bytes(vendor[at..at + 4].try_into().unwrap()));
        Self::default().with(0, 0, [max_leaf, b, c, d])
    }

    fn intel() -> Self {
        Self::of(b"GenuineIntel", 0x1F)
    }

    fn amd() -> Self {
        Self::of(b"AuthenticAMD", 0x10)
    }

    fn model(&self, vp_count: u32, x2apic: bool) -> ProcessorModel {
        let config = PartitionConfig { vp_count, x2apic, ..Default::default() };
        ProcessorModel::new(Arc::new(self.clone()), &config, 40)
    }

    /// CPUID of a VP of so many.
    fn ask(&self, count: u32, context: CpuidContext, leaf: u32, subleaf: u32) -> CpuidResult {
        self.model(count, true).cpuid(&Offer::new(Enlightenments::ALL), context, leaf, subleaf)
    }
}

fn vp(index: u32) -> CpuidContext {
    CpuidContext { index, apic_enabled: true, ..Default::default() }
}

#[test]
fn the_vendor_decides_which_instruction_calls() {
    for (name, vendor) in [
        (b"GenuineIntel", Vendor::Intel),
        (b"AuthenticAMD", Vendor::Amd),
        (b"HygonGenuine", Vendor::Amd),
        (b"CentaurHauls", Vendor::Intel),
    ] {
        assert_eq!(Leaves::of(name, 1).model(1, true).vendor(), vendor, "{name:?}");
    }
}

/// A bit of CR4 exists where CPUID says that what it switches does (SDM 3A 2.5).
#[test]
fn a_bit_of_cr4_exists_with_its_feature() {
    let always = Cr4::new().with_pce(true);
    let bits = |leaves: &Leaves| Cr4::from_bits(leaves.model(1, true).cr4_bits());
    assert_eq!(bits(&Leaves::intel()), always);
    let edx = |features: Leaf1Edx| Leaves::intel().with(1, 0, [0, 0, 0, features.into_bits()]);
    let ecx = |features: Leaf1Ecx| Leaves::intel().with(1, 0, [0, 0, features.into_bits(), 0]);
    let extended_ebx = |bit: u32| Leaves::intel().with(7, 0, [0, 1 << bit, 0, 0]);
    let extended_ecx = |bit: u32| Leaves::intel().with(7, 0, [0, 0, 1 << bit, 0]);
    let (cr4, in_edx, in_ecx) = (always, Leaf1Edx::new(), Leaf1Ecx::new());
    for (processor, expected) in [
        (edx(in_edx.with_vme(true)), cr4.with_vme(true).with_pvi(true)),
        (edx(in_edx.with_tsc(true)), cr4.with_tsd(true)),
        (edx(in_edx.with_de(true)), cr4.with_de(true)),
        (edx(in_edx.with_pse(true)), cr4.with_pse(true)),
        (edx(in_edx.with_pae(true)), cr4.with_pae(true)),
        (edx(in_edx.with_mce(true)), cr4.with_mce(true)),
        (edx(in_edx.with_pge(true)), cr4.with_pge(true)),
        (edx(in_edx.with_fxsr(true)), cr4.with_osfxsr(true)),
        (edx(in_edx.with_sse(true)), cr4.with_osxmmexcpt(true)),
        (ecx(in_ecx.with_pcid(true)), cr4.with_pcide(true)),
        (ecx(in_ecx.with_xsave(true)), cr4.with_osxsave(true)),
        (extended_ebx(0), cr4.with_fsgsbase(true)),
        (extended_ebx(7), cr4.with_smep(true)),
        (extended_ebx(20), cr4.with_smap(true)),
        (extended_ecx(2), cr4.with_umip(true)),
        (extended_ecx(3), cr4.with_pke(true)),
        (extended_ecx(16), cr4.with_la57(true)),
    ] {
        assert_eq!(bits(&processor), expected);
    }
}

#[test]
fn state_components_exist_as_the_engine_says() {
    assert_eq!(Leaves::intel().model(1, true).xcr0_bits(), 1, "x87 is always there");
    let leaves = Leaves::intel().with(0xD, 0, [0xE7, 0, 0, 1 << 30]);
    assert_eq!(leaves.model(1, true).xcr0_bits(), 1 << 62 | 0xE7);
}

#[test]
fn large_pages_exist_as_the_engine_says() {
    assert!(Leaves::intel().with(0x8000_0001, 0, [0, 0, 0, 1 << 26]).model(1, true).has_1g_pages());
    assert!(!Leaves::intel().with(0x8000_0001, 0, [0, 0, 0, !(1 << 26)]).model(1, true).has_1g_pages());
}

/// A processor with AVX, AVX-512 and PKRU, as real ones lay them out: size, offset, and (ECX bit 1) aligned in the compacted form.
fn with_xsave() -> Leaves {
    Leaves::intel()
        .with(0xD, 0, [0x2E7, 0, 2696, 0])
        .with(0xD, 1, [0xF, 0, 0x100, 0])
        .with(0xD, 2, [256, 576, 0, 0])
        .with(0xD, 5, [64, 1088, 0, 0])
        .with(0xD, 6, [512, 1152, 0, 0])
        .with(0xD, 7, [1024, 1664, 0, 0])
        .with(0xD, 8, [128, 0, 1, 0])
        .with(0xD, 9, [8, 2688, 0, 0])
        .with(0xD, 17, [64, 2752, 2, 0])
        .with(0xD, 18, [16, 2816, 0, 0])
}

/// SDM 1 13.2: the size of the area is that of the components which are enabled now.
#[test]
fn the_xsave_area_is_as_long_as_what_is_enabled() {
    let size = |subleaf, xcr0, xss| {
        let context = CpuidContext { xcr0, xss, ..vp(0) };
        with_xsave().ask(1, context, 0xD, subleaf).ebx
    };
    assert_eq!([1, 3, 7, 0xE7, 0x2E7].map(|xcr0| size(0, xcr0, 0)), [576, 576, 832, 2688, 2696]);
    assert_eq!(size(0, 0x203, 0), 2696, "a component has its place whatever lies before it");
    // Compacted, each follows the one before it, and those of IA32_XSS are there too.
    assert_eq!([3, 7, 0x203].map(|xcr0| size(1, xcr0, 0)), [576, 832, 584]);
    assert_eq!(size(1, 0x203, 1 << 8), 576 + 128 + 8);
    assert_eq!(size(1, 0x203 | 1 << 17, 0), 640 + 64, "on the next boundary of 64 bytes");
    assert_eq!(size(1, 0x203 | 1 << 18, 0), 584 + 16, "right behind the one before it");
    assert_eq!(with_xsave().ask(1, vp(0), 0xD, 0).ecx, 2696, "the largest is what the engine says");
    assert_eq!(with_xsave().ask(1, vp(0), 0xD, 5), CpuidResult { eax: 64, ebx: 1088, ecx: 0, edx: 0 });
    let without_compaction = with_xsave().with(0xD, 1, [0; 4]);
    assert_eq!(without_compaction.ask(1, CpuidContext { xcr0: 7, ..vp(0) }, 0xD, 1), CpuidResult::default());
}

/// What CPUID shows of CR4: OSXSAVE and OSPKE, where the features exist.
#[test]
fn what_the_guest_switched_on_shows() {
    let processor = Leaves::intel()
        .with(1, 0, [0, 0, Leaf1Ecx::new().with_xsave(true).into_bits(), 0])
        .with(7, 0, [2, 0, 1 << 3 | 1 << 4 | 1 << 22, 5])
        .with(7, 1, [0, 0, 1 << 4, 0]);
    let osxsave = |cr4: Cr4| {
        let context = CpuidContext { cr4: cr4.into_bits(), ..vp(0) };
        Leaf1Ecx::from_bits(processor.ask(1, context, 1, 0).ecx).osxsave()
    };
    assert!(osxsave(Cr4::new().with_osxsave(true)));
    assert!(!osxsave(Cr4::from_bits(!0).with_osxsave(false)));
    let seven = |cr4: Cr4, subleaf| {
        let context = CpuidContext { cr4: cr4.into_bits(), ..vp(0) };
        processor.ask(1, context, 7, subleaf)
    };
    let with = CpuidResult { eax: 2, ebx: 0, ecx: 1 << 3 | 1 << 4 | 1 << 22, edx: 5 };
    assert_eq!(seven(Cr4::new().with_pke(true), 0), with);
    let without = CpuidResult { ecx: 1 << 3 | 1 << 22, ..with };
    assert_eq!(seven(Cr4::from_bits(!0).with_pke(false), 0), without);
    assert_eq!(seven(Cr4::new(), 1).ecx, 1 << 4, "in another subleaf the bit is another");
    let no_keys = Leaves::intel().with(7, 0, [0, 0, 1 << 22, 0]);
    let context = CpuidContext { cr4: Cr4::new().with_pke(true).into_bits(), ..vp(0) };
    assert_eq!(no_keys.ask(1, context, 7, 0).ecx, 1 << 22);
}

#[test]
fn the_first_features_show_place_and_identity() {
    let ecx = Leaf1Ecx::new().with_x2apic(true).with_sse3(true);
    let edx = Leaf1Edx::new().with_fpu(true).with_apic(true).with_htt(true);
    let processor = Leaves::intel().with(1, 0, [0x806C1, 0x00FF_0805, ecx.into_bits(), edx.into_bits()]);
    let of = |count, context| processor.ask(count, context, 1, 0);
    let one = of(1, vp(0));
    assert_eq!((one.eax, one.ebx), (0x806C1, 0x0001_0805), "CLFLUSH and brand are the engine's");
    assert_eq!(Leaf1Edx::from_bits(one.edx), edx.with_htt(false));
    assert_eq!(Leaf1Ecx::from_bits(one.ecx), ecx.with_hypervisor(true));
    let third_of_six = of(6, vp(2));
    assert_eq!(third_of_six.ebx, 0x0208_0805);
    assert!(Leaf1Edx::from_bits(third_of_six.edx).htt());
    assert_eq!(of(4096, vp(0)).ebx >> 16, 128, "more than eight bits do not show");
    let off = of(1, CpuidContext { apic_enabled: false, ..vp(0) });
    assert!(!Leaf1Edx::from_bits(off.edx).apic());
    let without_x2apic = processor.model(1, false);
    let shown = without_x2apic.cpuid(&Offer::new(Enlightenments::ALL), vp(0), 1, 0);
    assert!(!Leaf1Ecx::from_bits(shown.ecx).x2apic());
    let has_none = Leaves::intel().with(1, 0, [0; 4]);
    assert!(!Leaf1Ecx::from_bits(has_none.ask(1, vp(0), 1, 0).ecx).x2apic());
}

/// SDM 2A CPUID leaves 4 and 0x8000001D: all processors share the last-level cache, and are as many cores of one package.
#[test]
fn caches_are_shared_by_level() {
    // Type and level, self-initialising; what the engine says of sharing and of cores does not count.
    let cache = |kind: u32, level: u32| [0xFFFF_C000 | 1 << 8 | level << 5 | kind, 0x01C0_003F, 63, 0];
    let processor = Leaves::intel()
        .with(4, 0, cache(1, 1))
        .with(4, 2, cache(3, 2))
        .with(4, 3, cache(3, 3))
        .with(4, 4, [0x1E0, 1, 2, 3])
        .with(0x8000_001D, 3, cache(3, 3));
    let eax = |count, leaf, subleaf| processor.ask(count, vp(0), leaf, subleaf).eax;
    assert_eq!(eax(4, 4, 0), 3 << 26 | 1 << 8 | 1 << 5 | 1);
    assert_eq!(eax(4, 4, 2), 3 << 26 | 1 << 8 | 2 << 5 | 3);
    assert_eq!(eax(3, 4, 3), 3 << 26 | 3 << 14 | 1 << 8 | 3 << 5 | 3);
    assert_eq!(eax(1, 4, 3), 1 << 8 | 3 << 5 | 3);
    assert_eq!(eax(4096, 4, 3), 63 << 26 | 0xFFF << 14 | 1 << 8 | 3 << 5 | 3, "as many as the fields hold");
    assert_eq!(eax(4, 0x8000_001D, 3), 3 << 14 | 1 << 8 | 3 << 5 | 3, "cores are told elsewhere");
    let rest = processor.ask(4, vp(0), 4, 3);
    assert_eq!((rest.ebx, rest.ecx, rest.edx), (0x01C0_003F, 63, 0));
    let none = CpuidResult { eax: 0x1E0, ebx: 1, ecx: 2, edx: 3 };
    assert_eq!(processor.ask(4, vp(0), 4, 4), none, "there is no further cache");
}

/// SDM 2A CPUID leaves 0xB and 0x1F: threads, one a core, and cores.
#[test]
fn the_topology_is_one_package_of_cores() {
    let ask = |leaf, subleaf| Leaves::intel().ask(6, vp(5), leaf, subleaf);
    for leaf in [0xB, 0x1F] {
        assert_eq!(ask(leaf, 0), CpuidResult { eax: 0, ebx: 1, ecx: 0x100, edx: 5 });
        assert_eq!(ask(leaf, 1), CpuidResult { eax: 3, ebx: 6, ecx: 0x201, edx: 5 });
        assert_eq!(ask(leaf, 2), CpuidResult { eax: 0, ebx: 0, ecx: 2, edx: 5 });
    }
    assert_eq!(ask(0xB, 0x1_0001).ecx & 0xFF, 1, "ECX shows the low eight bits of the subleaf");
    let older = Leaves::of(b"GenuineIntel", 0xB);
    assert_eq!(older.ask(6, vp(5), 0xB, 1).ebx, 6);
    assert_eq!(older.ask(6, vp(5), 0x1F, 1), CpuidResult::default(), "beyond the last leaf there is nothing");
    let oldest = Leaves::of(b"GenuineIntel", 0xA);
    assert_eq!(oldest.ask(6, vp(5), 0xB, 1), CpuidResult::default());
}

/// APM 3 appendix E: number of cores and width of their ids in leaf 0x80000008, CmpLegacy, and the extended APIC id.
#[test]
fn amd_processors_tell_of_cores_in_leaves_of_their_own() {
    let leaves = |processor: Leaves| {
        processor
            .with(0x8000_0001, 0, [0, 0, 1 << 5, 7])
            .with(0x8000_0008, 0, [0xAA_3034, 0xB, 0xC, 0xD])
            .with(0x8000_001E, 0, [1, 1, 1, 1])
    };
    let amd = leaves(Leaves::amd());
    assert_eq!(
        amd.ask(6, vp(5), 0x8000_0008, 0),
        CpuidResult { eax: 0xAA_3028, ebx: 0xB, ecx: 0x3005, edx: 0xD }
    );
    assert_eq!(amd.ask(300, vp(5), 0x8000_0008, 0).ecx, 9 << 12 | 0xFF);
    assert_eq!(amd.ask(6, vp(5), 0x8000_0001, 0).ecx, 1 << 5 | 1 << 1);
    assert_eq!(amd.ask(1, vp(0), 0x8000_0001, 0).ecx, 1 << 5, "one is not several");
    let id = amd.ask(300, vp(0x101), 0x8000_001E, 0);
    assert_eq!(id, CpuidResult { eax: 0x101, ebx: 1, ecx: 0, edx: 0 });
    assert_eq!(Leaves::amd().ask(6, vp(5), 0x8000_001E, 0), CpuidResult::default(), "if the leaf is there");
    let intel = leaves(Leaves::intel());
    assert_eq!(
        intel.ask(6, vp(5), 0x8000_0008, 0),
        CpuidResult { eax: 0xAA_3028, ebx: 0xB, ecx: 0xC, edx: 0xD }
    );
    assert_eq!(intel.ask(6, vp(5), 0x8000_0001, 0).ecx, 1 << 5);
}

/// The hypervisor's leaves hide whatever the engine says there, and only they do.
#[test]
fn the_hypervisors_leaves_are_its_own() {
    let engine = [9, 9, 9, 9];
    let processor = [0x3FFF_FFFF, 0x4000_000B, 0x4FFF_FFFF, 0x5000_0000]
        .into_iter()
        .fold(Leaves::intel(), |leaves, leaf| leaves.with(leaf, 0, engine));
    let eax = |leaf| processor.ask(1, vp(0), leaf, 0).eax;
    assert_eq!([0x3FFF_FFFF, 0x4000_000B, 0x4FFF_FFFF, 0x5000_0000].map(eax), [9, 0, 0, 9]);
    assert_eq!(eax(0x4000_0000), 0x4000_000A);
    let limits = processor.ask(1, vp(0), 0x4000_0005, 0);
    assert_eq!((limits.eax, limits.ebx), (crate::MAX_VPS, crate::MAX_VPS));
}
