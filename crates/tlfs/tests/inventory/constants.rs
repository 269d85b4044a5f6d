// SPDX-License-Identifier: MIT OR Apache-2.0
//! The specification's definitions.

use crate::table::{Table, number, plain};
use std::collections::BTreeMap;
use tlfs::nested::CleanFields;
use tlfs::{address, interrupt, msr, nested, partition, register, synic, tlb, vp, vsm};

/// What the crate has for a definition: its value and its width in bits.
fn declared() -> BTreeMap<String, (u64, u32)> {
    let mut declared = BTreeMap::new();
    let mut add = |name: &str, value: u64, width: u32| {
        assert!(declared.insert(name.to_owned(), (value, width)).is_none(), "{name} twice");
    };
    add("X64_PAGE_SIZE", address::PAGE_SIZE as u64, 64);
    add("HV_X64_MAX_PAGE_NUMBER", address::MAX_PAGE_NUMBER, 64);
    add("HV_PAGE_SIZE", address::PAGE_SIZE as u64, 64);
    add("HV_LARGE_PAGE_SIZE", address::LARGE_PAGE_SIZE as u64, 64);
    add("HV_PAGE_MASK", address::PAGE_MASK, 64);
    for id in partition::PartitionId::ALL {
        add(id.name, id.value.0, 64);
    }
    for index in vp::VpIndex::ALL {
        add(index.name, index.value.0.into(), 32);
    }
    for vtl in vsm::Vtl::ALL.iter().filter(|vtl| vtl.name.starts_with("HV_")) {
        add(vtl.name, vtl.value.0.into(), 8);
    }
    add("HV_NUM_VTLS", vsm::NUM_VTLS as u64, 64);
    for msr in msr::MSRS {
        add(msr.name, msr.number.into(), 32);
    }
    add("HV_SYNMC_MCA_ERROR_CODE", register::SYNMC_MCA_ERROR_CODE.into(), 16);
    let flags = tlb::FlushFlags::new;
    add("HV_FLUSH_ALL_PROCESSORS", flags().with_all_processors(true).into_bits(), 64);
    add("HV_FLUSH_ALL_VIRTUAL_ADDRESS_SPACES", flags().with_all_virtual_address_spaces(true).into_bits(), 64);
    add("HV_FLUSH_NON_GLOBAL_MAPPINGS_ONLY", flags().with_non_global_mappings_only(true).into_bits(), 64);
    add("HV_FLUSH_USE_EXTENDED_RANGE_FORMAT", flags().with_use_extended_range_format(true).into_bits(), 64);
    let flags = tlb::TranslateGvaControlFlags::new;
    add("HV_TRANSLATE_GVA_VALIDATE_READ", flags().with_validate_read(true).into_bits(), 64);
    add("HV_TRANSLATE_GVA_VALIDATE_WRITE", flags().with_validate_write(true).into_bits(), 64);
    add("HV_TRANSLATE_GVA_VALIDATE_EXECUTE", flags().with_validate_execute(true).into_bits(), 64);
    add("HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT", flags().with_privilege_exempt(true).into_bits(), 64);
    add("HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS", flags().with_set_page_table_bits(true).into_bits(), 64);
    add("HV_TRANSLATE_GVA_TLB_FLUSH_INHIBIT", flags().with_tlb_flush_inhibit(true).into_bits(), 64);
    let reserved = tlb::TranslateGvaControlFlags::new().with_reserved_z((1 << 50) - 1);
    let vtl = flags().with_input_vtl(u8::MAX).into_bits();
    add("HV_TRANSLATE_GVA_CONTROL_MASK", !(reserved.into_bits() | vtl), 64);
    add("HV_TRANSLATE_GVA_INPUT_VTL_MASK", vtl, 64);
    add("HV_INTERRUPT_VECTOR_NONE", interrupt::InterruptVector::NONE.0.into(), 32);
    let flags = interrupt::DeviceInterruptTargetFlags::new;
    add("HV_DEVICE_INTERRUPT_TARGET_MULTICAST", flags().with_multicast(true).into_bits().into(), 32);
    add("HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET", flags().with_processor_set(true).into_bits().into(), 32);
    add("HV_SYNIC_SINT_COUNT", synic::SINT_COUNT as u64, 64);
    add("HV_MESSAGE_TYPE_HYPERVISOR_MASK", synic::MessageType::HYPERVISOR_MASK.into(), 32);
    add("HV_MESSAGE_SIZE", synic::MESSAGE_SIZE as u64, 64);
    add("HV_MESSAGE_MAX_PAYLOAD_BYTE_COUNT", synic::MESSAGE_MAX_PAYLOAD_BYTE_COUNT as u64, 64);
    add("HV_MESSAGE_MAX_PAYLOAD_QWORD_COUNT", synic::MESSAGE_MAX_PAYLOAD_QWORD_COUNT as u64, 64);
    add("HV_EVENT_FLAGS_COUNT", synic::EVENT_FLAGS_COUNT as u64, 64);
    add("HV_EVENT_FLAGS_BYTE_COUNT", synic::EVENT_FLAGS_BYTE_COUNT as u64, 64);
    let reason = nested::SYNTHETIC_EXIT_REASON_TRAP_AFTER_FLUSH;
    add("HV_VMX_SYNTHETIC_EXIT_REASON_TRAP_AFTER_FLUSH", reason.into(), 32);
    add("HV_VMX_ENLIGHTENED_CLEAN_FIELD_NONE", CleanFields::new().into_bits().into(), 32);
    for field in CleanFields::FIELDS.iter().filter(|field| !field.name.is_empty()) {
        let name = format!("HV_VMX_ENLIGHTENED_CLEAN_FIELD_{}", field.name.to_uppercase());
        add(&name, field.mask(), 32);
    }
    declared
}

/// Value of a definition: a number, another definition, or two of them with an operator; type names are casts.
fn evaluate(expression: &str, known: &BTreeMap<String, (u64, u32)>) -> u64 {
    let words = expression.replace(['(', ')'], " ");
    for (operator, apply) in [
        ("<<", u64::wrapping_shl as fn(u64, u32) -> u64),
        ("/", |left, right| left / u64::from(right)),
        ("*", |left, right| left * u64::from(right)),
    ] {
        if let Some((left, right)) = words.split_once(operator) {
            return apply(evaluate(left, known), evaluate(right, known) as u32);
        }
    }
    let mut value = 0u64;
    let mut sign = 1u64;
    for word in words.replace('-', " - ").split_whitespace() {
        let term = match word {
            "-" => {
                sign = u64::MAX;
                continue;
            }
            "MAXUINT64" => u64::MAX,
            // Not printed in the specification.
            "X64_LARGE_PAGE_SIZE" => 0x20_0000,
            "HV_PARTITION_ID" | "HV_VP_INDEX" | "HV_VTL" => continue,
            word => match number(word) {
                Some(number) => number,
                None => known.get(word).unwrap_or_else(|| panic!("unknown {word} in {expression}")).0,
            },
        };
        value = value.wrapping_add(term.wrapping_mul(sign));
        sign = 1;
    }
    value
}

#[test]
fn constants() {
    let declared = declared();
    for row in Table::read("constants.tsv").rows() {
        let name = row.get("name");
        let entry = declared.iter().find(|(known, _)| plain(known) == plain(name));
        let (_, &(value, width)) = entry.unwrap_or_else(|| panic!("no {name}"));
        let expected = evaluate(row.get("value"), &declared) & (u64::MAX >> (64 - width));
        assert_eq!(value, expected, "{name} = {}", row.get("value"));
    }
}
