// SPDX-License-Identifier: MIT OR Apache-2.0
//! CPUID bits and privileges.

use crate::table::{Table, plain};
use tlfs::cpuid::{HYPERVISOR_PRESENT_ECX_BIT, REGISTERS};
use tlfs::privilege::Privilege;

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
