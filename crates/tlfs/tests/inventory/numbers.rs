// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hypercalls, MSRs, statuses, message types, registers and eVMCS fields.

use crate::table::{Table, number, plain};
use tlfs::address::{AccessTypeMask, CacheType, MapGpaFlags};
use tlfs::hypercall::{self, CALLS, CallClass, CallCode};
use tlfs::interrupt::{InterruptSource, InterruptType};
use tlfs::msr::{self, Access, MSRS};
use tlfs::nested::{CleanFields, EVMCS_FIELDS, EvmcsField};
use tlfs::register::{self, PendingInterruptionType, REGISTERS, RegisterName};
use tlfs::synic::{MessageType, PortType};
use tlfs::tlb::TranslateGvaResultCode;
use tlfs::vp::{SetFormat, VtlEntryReason};
use tlfs::{Field, HvStatus, Named};

#[test]
fn hypercalls() {
    let table = Table::read("hypercalls.tsv");
    let mut found = 0;
    for row in table.rows() {
        let (first, last) = row.range("code").expect("every row has a code");
        let name = row.get("name");
        let class = match row.get("class") {
            "reserved" | "absent" | "deprecated" => {
                for code in first..=last {
                    assert_eq!(
                        hypercall::info(CallCode(code as u16)),
                        None,
                        "{code:#x} is {}",
                        row.get("class")
                    );
                }
                continue;
            }
            "simple" => CallClass::Simple,
            "simple+variable header" => CallClass::SimpleVariable,
            "rep" => CallClass::Rep,
            "rep+variable header" => CallClass::RepVariable,
            "special" => CallClass::CodePage,
            "not published" | "reserved in App A" => CallClass::Unpublished,
            other => panic!("{name}: unknown class {other}"),
        };
        assert_eq!(first, last);
        let call = hypercall::info(CallCode(first as u16)).unwrap_or_else(|| panic!("no {name}, {first:#x}"));
        // One call has no name in the table, and is declared under the one by which the public knows it; another has a
        // name that two calls share.
        if name != "?" {
            assert_eq!(call.name.strip_suffix(" (old)").unwrap_or(call.name), name, "{first:#x}");
        }
        // Guests in use issue this one as a rep call, although the specification does not say so.
        if call.code != CallCode::EXT_MEMORY_HEAT_HINT {
            assert_eq!(call.class, class, "{name}");
        }
        found += 1;
    }
    assert_eq!(found, CALLS.len(), "a call is declared that no row knows");
}

#[test]
fn msrs() {
    let table = Table::read("msrs.tsv");
    let mut found = 0;
    for row in table.rows() {
        // Rows of other names are architectural MSRs, which are not this crate's.
        let name = row.get("name");
        let Some(constant) = name.strip_prefix("HV_X64_MSR_") else { continue };
        let msr = match row.number("number") {
            Some(number) => msr::info(number as u32).unwrap_or_else(|| panic!("no {name}, {number:#x}")),
            // Named in text only: declared if an older or a later source gives the number.
            None => match MSRS.iter().find(|msr| msr.constant == constant) {
                Some(msr) => msr,
                None => continue,
            },
        };
        assert_eq!(msr.name, name);
        let access = match row.get("access") {
            "R/W" => Access::ReadWrite,
            "R" => Access::ReadOnly,
            // The text has it read as zero.
            "W" if msr.number == msr::EOM => Access::ReadWrite,
            "W" => Access::WriteOnly,
            other => panic!("{name}: unknown access {other}"),
        };
        assert_eq!(msr.access, access, "{name}");
        found += 1;
    }
    assert_eq!(found, MSRS.len(), "an MSR is declared that no row knows");
}

/// Compares an open enumeration with rows of `value` and `name`; rows without a single value are ranges or remarks.
fn compare<T: Copy>(file: &'static str, all: &[Named<T>], into_bits: fn(T) -> u64) {
    let table = Table::read(file);
    let mut found = 0;
    for row in table.rows() {
        let (Some(value), name) = (row.number("value"), row.get("name")) else { continue };
        let named = all.iter().find(|named| into_bits(named.value) == value);
        if name.starts_with("(reserved") {
            assert!(named.is_none(), "{file}: {value:#x} is reserved");
            continue;
        }
        let named = named.unwrap_or_else(|| panic!("{file}: no {name}, {value:#x}"));
        assert_eq!(named.name, name);
        assert!(plain(name).ends_with(&plain(named.constant)), "{} is no name for {name}", named.constant);
        found += 1;
    }
    assert_eq!(found, all.len(), "{file}: a value is declared that no row knows");
}

#[test]
fn statuses() {
    compare("status_codes.tsv", HvStatus::ALL, |status| status.0.into());
}

#[test]
fn message_types() {
    compare("messages.tsv", MessageType::ALL, |message| message.0.into());
}

#[test]
fn registers() {
    compare("registers.tsv", RegisterName::ALL, |register| register.0.into());
    for row in Table::read("registers.tsv").rows() {
        let name = RegisterName(row.number("value").unwrap() as u32);
        let info = register::info(name).unwrap();
        assert_eq!(Some(u64::from(info.width)), row.number("width_bits"), "{}", info.name);
        let access = match info.access {
            Access::ReadOnly => "R",
            Access::WriteOnly => "W",
            Access::ReadWrite => "R/W",
        };
        assert_eq!(access, row.get("access"), "{}", info.name);
        assert_eq!(info.guest_settable, row.get("guest_settable_7_10_1") == "yes", "{}", info.name);
    }
    assert_eq!(REGISTERS.len(), RegisterName::ALL.len());
}

#[test]
fn evmcs_fields() {
    let table = Table::read("evmcs_fields.tsv");
    let mut found = 0;
    for row in table.rows() {
        let name = row.get("name");
        let offset = row.number("offset_dec").unwrap() as usize;
        let field = EVMCS_FIELDS.iter().find(|field| field.name == name);
        let &EvmcsField { size, encoding, clean_group, .. } = field.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(field.unwrap().offset, offset, "{name}");
        assert_eq!(Some(size as u64), row.number("bytes"), "{name}");
        assert_eq!(encoding.map(u64::from), row.number("vmcs_encoding"), "{name}");
        let group = clean_group.map(|group| plain(&format!("{group:?}")));
        let expected = match row.get("clean_field") {
            "-" | "NONE" | "read-only" => None,
            group => Some(plain(group)),
        };
        assert_eq!(group, expected, "{name}");
        found += 1;
    }
    let named = EVMCS_FIELDS.iter().filter(|field| !field.name.is_empty());
    assert_eq!(found, named.count(), "a field is declared that no row knows");
}

/// The named values of an open enumeration as plain numbers.
macro_rules! values {
    ($Type:ty) => {
        <$Type>::ALL.iter().map(|named| (named.name, u64::from(named.value.0))).collect()
    };
}

/// The fields of a set of flags: by bit, or by mask.
fn flags(fields: &'static [Field], value: fn(&Field) -> u64) -> Vec<(&'static str, u64)> {
    fields.iter().filter(|field| !field.name.is_empty()).map(|field| (field.name, value(field))).collect()
}

#[test]
fn enumerations() {
    let mut found = 0;
    for row in Table::read("structures.tsv").rows() {
        let (name, layout) = (row.get("name"), row.get("layout"));
        if !layout.contains('=') {
            continue;
        }
        let declared: Vec<(&str, u64)> = match name {
            "HV_GENERIC_SET_FORMAT" => values!(SetFormat),
            "HV_X64_PENDING_INTERRUPTION_TYPE" => values!(PendingInterruptionType),
            "HV_CACHE_TYPE" => values!(CacheType),
            "HV_TRANSLATE_GVA_RESULT_CODE" => values!(TranslateGvaResultCode),
            "HV_INTERRUPT_TYPE" => values!(InterruptType),
            "HV_INTERRUPT_SOURCE" => values!(InterruptSource),
            "HV_PORT_TYPE" => values!(PortType),
            "HV_VTL_ENTRY_REASON" => values!(VtlEntryReason),
            "HV_INTERCEPT_ACCESS_TYPE_MASK" => flags(AccessTypeMask::FIELDS, Field::mask),
            "HV_MAP_GPA_FLAGS" => flags(MapGpaFlags::FIELDS, Field::mask),
            "HV_VMX_ENLIGHTENED_CLEAN_FIELD_*" => flags(CleanFields::FIELDS, |field| field.low.into()),
            _ => panic!("no enumeration for {name}"),
        };
        for token in layout.split_whitespace() {
            let (value_name, value) = token.split_once('=').expect("Name=value");
            let value = number(value).expect("a value");
            let same = |&(declared, number): &(&str, u64)| {
                number == value && plain(declared).ends_with(&plain(value_name))
            };
            assert!(declared.iter().any(same), "{name}: no {token} in {declared:?}");
        }
        found += 1;
    }
    assert!(found > 0, "no enumeration in the extract");
}
