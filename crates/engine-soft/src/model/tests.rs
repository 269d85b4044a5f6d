// SPDX-License-Identifier: MIT OR Apache-2.0
//! Models on hosts of every kind, by both vendors.

use x86::cpuid::{Leaf1Ecx, Leaf7Ebx, Leaf7Ecx, Leaf7Edx, Leaf80000001Ecx, LeafDSub1Eax, leaf};

use super::*;

const VENDORS: [Vendor; 2] = [Vendor::Intel, Vendor::Amd];

/// Every model by every vendor on a host that has everything.
fn all() -> Vec<(ModelName, Model)> {
    ModelName::ALL
        .into_iter()
        .flat_map(|name| {
            let model = Model::on_host(name, Extensions::ALL).unwrap();
            VENDORS.map(|vendor| (name, model.clone().by_vendor(vendor)))
        })
        .collect()
}

#[test]
fn both_vendors_name_themselves_in_both_ranges() {
    for (_, model) in all() {
        let name = if model.vendor() == Vendor::Amd { b"AuthenticAMD" } else { b"GenuineIntel" };
        let first = model.cpuid(0, 0);
        let told: Vec<u8> =
            [first.ebx, first.edx, first.ecx].into_iter().flat_map(u32::to_le_bytes).collect();
        assert_eq!(told, name);
        let highest = model.cpuid(0x8000_0000, 0);
        assert_eq!(highest.ebx, if model.vendor() == Vendor::Amd { first.ebx } else { 0 });
        // Beyond the highest leaf there is nothing.
        assert_eq!(model.cpuid(highest.eax + 1, 0), CpuidResult::default());
        assert_eq!(model.cpuid(first.eax + 1, 0), CpuidResult::default());
        assert_eq!(model.cpuid(1, 0).eax, model.signature());
    }
}

#[test]
fn the_hosts_own_models_have_what_the_host_can_execute() {
    for name in ModelName::ALL {
        match Model::named(name) {
            Ok(model) => assert!(Extensions::of_host().contains(model.extensions()), "{name}"),
            Err(error) => println!("SKIPPED: {error}"),
        }
    }
}

/// A guest that is built for a level of the psABI finds each of its features where the psABI says to look.
#[test]
fn each_level_is_whole() {
    for (name, model) in all() {
        let one = Leaf1Ecx::from_bits(model.cpuid(leaf::FEATURES, 0).ecx);
        let seven = Leaf7Ebx::from_bits(model.cpuid(leaf::EXTENDED_FEATURES, 0).ebx);
        let extended = Leaf80000001Ecx::from_bits(model.cpuid(leaf::EXTENDED_FEATURES_AMD, 0).ecx);
        let v2 = one.cmpxchg16b()
            && extended.lahf_lm()
            && one.popcnt()
            && one.sse3()
            && one.sse4_1()
            && one.sse4_2()
            && one.ssse3();
        let v3 = one.avx()
            && seven.avx2()
            && seven.bmi1()
            && seven.bmi2()
            && one.f16c()
            && one.fma()
            && extended.lzcnt()
            && one.movbe()
            && one.xsave();
        assert!(v2, "{name}");
        assert_eq!(v3, name != ModelName::X86_64V2, "{name}");
    }
}

#[test]
fn a_host_that_lacks_something_is_told_what() {
    let host = V3.with_fma(false).with_lzcnt(false).with_avx(false);
    let sentence = Model::on_host(ModelName::X86_64V3, host).unwrap_err().to_string();
    // AVX2 and F16C are nothing without AVX.
    let expected = "the host's processor lacks LZCNT, AVX, AVX2, FMA and F16C, which the processor model x86-64-v3 has; choose another model, such as host";
    assert_eq!(sentence, expected);
    let model = Model::on_host(ModelName::Host, host).unwrap();
    assert_eq!(model.extensions(), V2.with_bmi1(true).with_bmi2(true).with_movbe(true));
    assert_eq!((model.state_components().into_bits(), model.xsave_bytes()), (3, 576));
    assert!(Model::on_host(ModelName::X86_64V2, V2.with_popcnt(false)).is_err());
}

/// What is not served, in any model, whatever the host has.
#[test]
fn what_is_not_served_is_not_offered() {
    for (name, model) in all() {
        let ask = |leaf, subleaf| model.cpuid(leaf, subleaf);
        let one = Leaf1Ecx::from_bits(ask(leaf::FEATURES, 0).ecx);
        let mut forbidden = vec![one.vmx(), one.smx(), one.monitor(), one.pdcm(), one.dtes64()];
        // The hypervisor bit and OSXSAVE are somebody else's.
        forbidden.extend([one.hypervisor(), one.osxsave()]);
        let (ebx, ecx, edx) = {
            let seven = ask(leaf::EXTENDED_FEATURES, 0);
            (Leaf7Ebx::from_bits(seven.ebx), Leaf7Ecx::from_bits(seven.ecx), Leaf7Edx::from_bits(seven.edx))
        };
        forbidden.extend([
            ebx.hle(),
            ebx.rtm(),
            ebx.mpx(),
            ebx.sgx(),
            ebx.pt(),
            ebx.avx512f(),
            ebx.avx512vl(),
        ]);
        forbidden.extend([ebx.avx512dq(), ebx.avx512bw(), ebx.avx512cd(), ebx.avx512_ifma()]);
        forbidden.extend([
            ecx.pku(),
            ecx.ospke(),
            ecx.cet_ss(),
            ecx.la57(),
            ecx.kl(),
            ecx.pks(),
            ecx.waitpkg(),
        ]);
        forbidden.extend([ecx.avx512_vbmi(), ecx.avx512_vnni(), ecx.avx512_vpopcntdq(), ecx.avx512_bitalg()]);
        forbidden.extend([edx.cet_ibt(), edx.amx_tile(), edx.amx_int8(), edx.amx_bf16(), edx.uintr()]);
        forbidden.extend([edx.tsxldtrk(), edx.avx512_fp16(), edx.avx512_vp2intersect(), edx.serialize()]);
        let extended = Leaf80000001Ecx::from_bits(ask(leaf::EXTENDED_FEATURES_AMD, 0).ecx);
        forbidden.extend([extended.svm(), extended.sse4a(), extended.xop(), extended.fma4(), extended.tbm()]);
        forbidden.extend([extended.ibs(), extended.lwp(), extended.perfctr_core(), extended.mwaitx()]);
        assert!(forbidden.iter().all(|offered| !offered), "{name} {:?}: {forbidden:?}", model.vendor());
        // LAM, and whatever else there is in leaf 7's second part, but AVX-VNNI.
        let second = ask(leaf::EXTENDED_FEATURES, 1);
        assert_eq!((second.eax & !(1 << 4), second.ebx, second.ecx, second.edx), (0, 0, 0, 0), "{name}");
        assert_eq!(ask(leaf::PERFORMANCE, 0), CpuidResult::default(), "{name}");
    }
}

#[test]
fn the_xsave_leaf_describes_the_components() {
    for (name, model) in all() {
        let ask = |subleaf| model.cpuid(leaf::XSAVE, subleaf);
        let avx = name != ModelName::X86_64V2;
        let whole = if avx { 832 } else { 576 };
        assert_eq!((ask(0).eax, ask(0).ecx, ask(0).edx), (if avx { 7 } else { 3 }, whole, 0));
        assert_eq!(model.state_components().into_bits(), ask(0).eax.into());
        assert_eq!(model.xsave_bytes(), whole as usize);
        let forms = LeafDSub1Eax::from_bits(ask(1).eax);
        assert!(forms.xsaveopt() && forms.xsavec() && forms.xgetbv_ecx1() && forms.xsaves() && !forms.xfd());
        // There are no supervisor components.
        assert_eq!((ask(1).ecx, ask(1).edx), (0, 0));
        let component = CpuidResult { eax: 256, ebx: 576, ecx: 0, edx: 0 };
        assert_eq!(ask(2), if avx { component } else { CpuidResult::default() });
        for subleaf in 3..64 {
            assert_eq!(ask(subleaf), CpuidResult::default(), "{name} {subleaf}");
        }
    }
}

/// Kernels neither warn nor build retpolines: enhanced or automatic IBRS is there, and of what else they work around the processor says that it has it not.
#[test]
fn no_weakness_needs_a_workaround() {
    for (_, model) in all() {
        let edx = Leaf7Edx::from_bits(model.cpuid(leaf::EXTENDED_FEATURES, 0).edx);
        let intel = model.vendor() == Vendor::Intel;
        // IA32_ARCH_CAPABILITIES and IA32_SPEC_CTRL, whose values are the hypervisor's.
        assert_eq!((edx.arch_capabilities(), edx.ibrs_ibpb()), (intel, intel));
        assert!(!edx.stibp() && !edx.ssbd() && !edx.l1d_flush() && !edx.md_clear() && !edx.srbds_ctrl());
        let freedoms = model.cpuid(0x8000_0021, 0);
        assert_eq!(freedoms.eax >> 8 & 1 != 0, !intel, "Automatic IBRS");
    }
}

#[test]
fn cache_and_topology_leaves_end() {
    for (_, model) in all() {
        let leaf = if model.vendor() == Vendor::Amd { 0x8000_001D } else { 4 };
        assert_ne!(model.cpuid(leaf, 3).eax & 31, 0);
        assert_eq!(model.cpuid(leaf, 4).eax & 31, 0);
        assert_eq!(model.cpuid(0xB, 2).ecx >> 8, 0);
    }
}
