// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUID bits, privileges, and the fields of words.

use crate::table::{Table, plain};
use std::collections::BTreeMap;
use tlfs::cpuid::{HYPERVISOR_PRESENT_ECX_BIT, REGISTERS};
use tlfs::privilege::Privilege;
use tlfs::{Field, hypercall, intercept, msr, register, synic, vp, vsm};

/// Bits that TLFS 6.0 reserves and later documentation names: leaf, register, bit.
const LATER: &[(u32, &str, u8)] = &[
    (0x4000_0003, "EAX", 15),
    (0x4000_0003, "ECX", 5),
    (0x4000_0003, "ECX", 6),
    (0x4000_0003, "ECX", 7),
    (0x4000_0003, "ECX", 8),
    (0x4000_0004, "EAX", 8),
];

#[test]
fn cpuid() {
    let table = Table::read("cpuid.tsv");
    let mut found = LATER.len();
    for row in table.rows() {
        let (leaf, register, name) =
            (row.number("leaf").unwrap() as u32, row.get("register"), row.get("name"));
        let (low, width) = row.bits("bits");
        if name == "HypervisorPresent" {
            assert_eq!((leaf, register, low), (1, "ECX", HYPERVISOR_PRESENT_ECX_BIT));
        }
        // The other rows below 0x40000000 and above 0x4FFFFFFF are architectural leaves, which are not this crate's.
        if leaf >> 28 != 4 {
            continue;
        }
        let matches = |info: &&tlfs::cpuid::RegisterInfo| {
            info.leaf == leaf && format!("{:?}", info.register).eq_ignore_ascii_case(register)
        };
        let fields =
            REGISTERS.iter().find(matches).unwrap_or_else(|| panic!("no {leaf:#x} {register}")).fields;
        if name.starts_with("Reserved") && name != "ReservedIdentityBit" {
            for bit in (low..low + width).filter(|&bit| !LATER.contains(&(leaf, register, bit))) {
                let field = fields.iter().find(|field| field.mask() >> bit & 1 != 0).unwrap();
                assert_eq!(field.name, "", "{leaf:#x} {register}[{bit}] is reserved");
            }
            continue;
        }
        let field = fields.iter().find(|field| field.low == low && field.width == width);
        let field =
            field.unwrap_or_else(|| panic!("{leaf:#x} {register}: no {name} at bit {low}, {width} wide"));
        assert_eq!(plain(field.name), plain(name), "{leaf:#x} {register}[{low}]");
        found += 1;
    }
    let named = REGISTERS.iter().flat_map(|info| info.fields).filter(|field| !field.name.is_empty());
    assert_eq!(found, named.count(), "a field is declared that no row knows");
}

#[test]
fn privileges() {
    let table = Table::read("privileges.tsv");
    // Later than TLFS 6.0.
    let mut found = vec![Privilege::AccessTscInvariantControls];
    for row in table.rows() {
        let (low, width) = row.bits("mask_bit");
        let mut declared =
            Privilege::ALL.iter().filter(|privilege| (low..low + width).contains(&privilege.bit()));
        if row.get("name").starts_with("Reserved") {
            assert!(declared.all(|privilege| found[0] == *privilege), "bits from {low} are reserved");
            continue;
        }
        let &privilege = declared.next().unwrap_or_else(|| panic!("no privilege {}", row.get("name")));
        assert_eq!(privilege.name(), row.get("name"));
        found.push(privilege);
    }
    assert_eq!(found.len(), Privilege::ALL.len(), "a privilege is declared that no row knows");
}

/// Fields that this crate names otherwise.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("Result", "status"),
    ("GPFN", "gpa_page_number"),
    ("PFN", "gpa_page_number"),
    ("GPA", "gpa_page_number"),
    ("base", "gpa_page_number"),
    ("Vendor", "vendor_id"),
    ("OS", "os_id"),
    ("Mask", "masked"),
    ("EOI", "eoi_value"),
    ("Enable", "enabled"),
];

/// Fields in bits that TLFS 6.0 reserves and later documentation names.
const LATER_FIELDS: &[&str] = &["pre_os_id", "no_crash_dump"];

/// Compares the fields in the `layout` cell with those of a type.
fn compare_fields(name: &str, layout: &str, fields: &[Field]) {
    assert!(!layout.is_empty(), "{name} has no fields in the table");
    for token in layout.split_whitespace() {
        let parse = || {
            let (field, place) = token.split_once('@')?;
            let (low, width) = place.split_once(':')?;
            Some((field, low.parse::<u8>().ok()?, width.parse::<u8>().ok()?))
        };
        let (field, low, width) = parse().unwrap_or_else(|| panic!("{name}: {token} is no field"));
        let wanted = Field { name: "", low, width, about: "" }.mask();
        for declared in fields.iter().filter(|declared| declared.mask() & wanted != 0) {
            if ["Rsvd", "Reserved", "zero"].iter().any(|reserved| field.starts_with(reserved)) {
                let reserved = declared.name.is_empty() || declared.name.starts_with("reserved");
                assert!(reserved || LATER_FIELDS.contains(&declared.name), "{name}: {token} is {declared:?}");
            } else {
                assert_eq!(declared.mask(), wanted, "{name}: {token} is {declared:?}");
                let same =
                    plain(declared.name) == plain(field) || OTHER_NAMES.contains(&(field, declared.name));
                assert!(same, "{name}: {token} is {declared:?}");
            }
        }
    }
    let bits: u32 = fields.iter().map(|field| u32::from(field.width)).sum();
    assert!(bits.is_power_of_two(), "{name}");
}

#[test]
fn structures() {
    let mut declared = BTreeMap::from([
        ("Hypercall input value", hypercall::InputValue::FIELDS),
        ("Hypercall result value", hypercall::ResultValue::FIELDS),
        ("Guest OS ID (proprietary)", msr::GuestOsId::FIELDS),
        ("Hypercall MSR contents", msr::Hypercall::FIELDS),
        ("_HV_CRASH_CTL_REG_CONTENTS", msr::CrashCtl::FIELDS),
        ("HV_EXPLICIT_SUSPEND_REGISTER", register::ExplicitSuspendRegister::FIELDS),
        ("HV_INTERCEPT_SUSPEND_REGISTER", register::InterceptSuspendRegister::FIELDS),
        ("VP assist page MSR", msr::OverlayPage::FIELDS),
        ("HV_VIRTUAL_APIC_ASSIST", vp::ApicAssist::FIELDS),
        ("HV_X64_INTERRUPT_STATE_REGISTER", register::InterruptStateRegister::FIELDS),
        ("HV_X64_MSR_NPIEP_CONFIG_CONTENTS", msr::NpiepConfig::FIELDS),
        ("SCONTROL", msr::Scontrol::FIELDS),
        ("SIEFP / SIMP", msr::OverlayPage::FIELDS),
        ("SINTx", msr::Sint::FIELDS),
        ("HV_MESSAGE_FLAGS", synic::MessageFlags::FIELDS),
        ("HV_PORT_ID", synic::PortId::FIELDS),
        ("HV_CONNECTION_ID", synic::ConnectionId::FIELDS),
        ("STIMERx_CONFIG", msr::StimerConfig::FIELDS),
        ("Reference TSC MSR", msr::OverlayPage::FIELDS),
        ("HV_X64_VP_EXECUTION_STATE", intercept::VpExecutionState::FIELDS),
        ("HV_X64_IO_PORT_ACCESS_INFO", intercept::IoPortAccessInfo::FIELDS),
        ("HV_X64_EXCEPTION_INFO", intercept::ExceptionInfo::FIELDS),
        ("HV_X64_MEMORY_ACCESS_INFO", intercept::MemoryAccessInfo::FIELDS),
        ("HV_INPUT_VTL", vsm::InputVtl::FIELDS),
        ("HV_REGISTER_VSM_PARTITION_STATUS", vsm::VsmPartitionStatus::FIELDS),
        ("HV_REGISTER_VSM_VP_STATUS", vsm::VsmVpStatus::FIELDS),
        ("HV_REGISTER_VSM_PARTITION_CONFIG", vsm::VsmPartitionConfig::FIELDS),
        ("HV_REGISTER_VSM_VP_SECURE_VTL_CONFIG", vsm::VsmVpSecureVtlConfig::FIELDS),
        ("HV_REGISTER_VSM_CODE_PAGE_OFFSETS", vsm::VsmCodePageOffsets::FIELDS),
        ("HV_REGISTER_VSM_VINA", vsm::VsmVina::FIELDS),
        ("HV_ENABLE_PARTITION_VTL_FLAGS", vsm::EnablePartitionVtlFlags::FIELDS),
        ("HV_REENLIGHTENMENT_CONTROL", msr::ReenlightenmentControl::FIELDS),
        ("HV_TSC_EMULATION_CONTROL", msr::TscEmulationControl::FIELDS),
        ("HV_TSC_EMULATION_STATUS", msr::TscEmulationStatus::FIELDS),
    ]);
    for row in Table::read("structures.tsv").rows() {
        let (name, layout) = (row.get("name"), row.get("layout"));
        match declared.remove(name) {
            Some(fields) => compare_fields(name, layout, fields),
            // Values are the business of the test of enumerations.
            None => assert!(layout.is_empty() || layout.contains('='), "no fields for {name}"),
        }
    }
    assert!(declared.is_empty(), "no row for {:?}", declared.keys());
}

#[test]
fn msr_contents() {
    for row in Table::read("msrs.tsv").rows() {
        let (name, layout) = (row.get("name"), row.get("layout"));
        let Some(constant) = name.strip_prefix("HV_X64_MSR_") else { continue };
        let constant = constant.strip_prefix("NESTED_").unwrap_or(constant);
        let fields = match constant {
            "GUEST_OS_ID" => msr::GuestOsId::FIELDS,
            "HYPERCALL" => msr::Hypercall::FIELDS,
            "REFERENCE_TSC" | "VP_ASSIST_PAGE" | "SIMP" | "SIEFP" => msr::OverlayPage::FIELDS,
            "NPIEP_CONFIG" => msr::NpiepConfig::FIELDS,
            "EOI" => msr::Eoi::FIELDS,
            "TPR" => msr::Tpr::FIELDS,
            "SCONTROL" => msr::Scontrol::FIELDS,
            "CRASH_CTL" => msr::CrashCtl::FIELDS,
            "REENLIGHTENMENT_CONTROL" => msr::ReenlightenmentControl::FIELDS,
            "TSC_EMULATION_CONTROL" => msr::TscEmulationControl::FIELDS,
            "TSC_EMULATION_STATUS" => msr::TscEmulationStatus::FIELDS,
            "TSC_INVARIANT_CONTROL" => msr::TscInvariantControl::FIELDS,
            _ if constant.starts_with("SINT") => msr::Sint::FIELDS,
            _ if constant.starts_with("STIMER") && constant.ends_with("CONFIG") => msr::StimerConfig::FIELDS,
            // Two halves of one name, and a version in half a word: there is nothing to name.
            "ICR" | "SVERSION" => continue,
            _ => {
                assert!(!layout.contains(' '), "no fields for {name}: {layout}");
                continue;
            }
        };
        compare_fields(name, layout, fields);
    }
}
