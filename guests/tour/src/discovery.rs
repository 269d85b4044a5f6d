// SPDX-License-Identifier: MIT OR Apache-2.0
//! What CPUID says.

use crate::report::Report;
use support::hyperv::Interface;
use support::{boot, cpu, processors};
use tlfs::Field;
use tlfs::cpuid::{self, Features, HardwareFeatures, Recommendations};
use tlfs::privilege::Privilege;

pub(crate) fn visit(report: &mut Report, interface: &Interface) {
    report.section("What CPUID tells (leaves 0x40000000 and up)");
    report.fact(
        "hypervisor",
        format_args!("\"{}\", leaves up to {:#x}", interface.vendor.as_str(), interface.max_leaf),
    );
    report.fact("interface", "\"Hv#1\": what follows means what the TLFS says");
    report.list(
        "privileges",
        Privilege::ALL
            .iter()
            .filter(|one| interface.privileges.into_bits() >> one.bit() & 1 != 0)
            .map(|one| one.name()),
    );
    report.list("features", set(Features::FIELDS, u64::from(interface.features.into_bits())));
    report.list("it advises", set(Recommendations::FIELDS, u64::from(interface.recommendations.into_bits())));
    if interface.max_leaf >= cpuid::HARDWARE_FEATURES {
        report.list(
            "it uses",
            set(HardwareFeatures::FIELDS, u64::from(cpu::cpuid(cpuid::HARDWARE_FEATURES, 0).eax)),
        );
    }
    report.fact(
        "around it",
        format_args!("{} processor(s), {} MiB", processors::count(), boot::memory_end() >> 20),
    );
    match interface.spin_retries {
        cpuid::SPINLOCK_RETRIES_NEVER => report.fact("spin locks", "never to be reported"),
        retries => report.fact("spin locks", format_args!("to be reported after {retries} tries")),
    }
    report.fact("limits", format_args!("{} virtual processors", Told(interface.max_virtual_processors)));
    report.fact(
        "physical addresses",
        format_args!("{} bits", Told(u32::from(interface.physical_address_bits))),
    );
}

/// The names of the single-bit fields that are set.
fn set(fields: &'static [Field], bits: u64) -> impl Iterator<Item = &'static str> {
    fields
        .iter()
        .filter(move |field| !field.name.is_empty() && bits & field.mask() != 0)
        .map(|field| field.name)
}

/// A number that is 0 when the hypervisor does not tell it, and all ones when there is no limit.
struct Told(u32);

impl core::fmt::Display for Told {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => f.write_str("an untold number of"),
            u32::MAX => f.write_str("any number of"),
            number => write!(f, "{number}"),
        }
    }
}

/// The version leaf, which stays zero until the guest has said who it is (TLFS 2.4.3).
pub(crate) fn version_is_zero() -> bool {
    let leaf = cpu::cpuid(cpuid::VERSION, 0);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx] == [0; 4]
}

/// The version leaf, as text.
pub(crate) fn version() -> impl core::fmt::Display {
    struct Text;
    impl core::fmt::Display for Text {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let leaf = cpu::cpuid(cpuid::VERSION, 0);
            let version = cpuid::Version::from_bits(leaf.ebx);
            write!(f, "{}.{}, build {}", version.major_version(), version.minor_version(), leaf.eax)
        }
    }
    Text
}
