// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state registers`.

use std::fmt::Write;

use saved_state::{Error, Register, RegisterValue, SavedState, Vendor};
use serde_json::{Map, Value, json};

use super::options::FileOptions;
use super::{hex, open, print, print_json, refused};
use crate::refusal::Refusal;
use crate::status::Status;

pub(super) fn run(file: &FileOptions, vp: Option<u32>, vtl: Option<u8>) -> Result<Status, Refusal> {
    let failed = |error| refused(&file.file, error);
    let mut vps: Vec<u32> = Vec::new();
    let saved = open(file, &mut |saved| {
        vps = match vp {
            Some(vp) => vec![vp],
            None => saved.partition().vp_indices().collect(),
        };
        vps.iter().try_for_each(|&vp| saved.force_active_vtl(vp, vtl)).map_err(failed)
    })?;
    let mut text = String::new();
    let mut answers = Vec::new();
    for vp in vps {
        let registers = registers(&saved, vp).map_err(failed)?;
        let msrs = saved.active_vtl(vp).and_then(|vtl| saved.partition().msrs(vp, vtl)).map_err(failed)?;
        let vtl = saved.active_vtl(vp).map_err(failed)?;
        if file.json {
            let mut all: Map<String, Value> =
                registers.iter().map(|(register, value)| (register.name().into(), as_json(*value))).collect();
            all.extend(msrs.iter().map(|&(name, value)| (name.into(), hex(value))));
            answers.push(json!({ "vp": vp, "vtl": vtl, "registers": all }));
        } else {
            if !text.is_empty() {
                text += "\n";
            }
            // Writing to a string cannot fail.
            let _ = writeln!(text, "VP {vp}, VTL {vtl}");
            as_text(&mut text, &registers, &msrs);
        }
    }
    if file.json {
        print_json(&answers.into())?
    } else {
        print(&text)?
    }
    Ok(Status::Done)
}

/// The registers that were saved.
fn registers(saved: &SavedState, vp: u32) -> saved_state::Result<Vec<(Register, RegisterValue)>> {
    let is_arm = saved.partition().vendor() == Vendor::Arm;
    let all: Vec<Register> = if is_arm { Register::arm64().collect() } else { Register::x64().collect() };
    let mut found = Vec::new();
    for register in all {
        match saved.register(vp, register) {
            Ok(value) => found.push((register, value)),
            Err(Error::NoRegister { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn as_json(value: RegisterValue) -> Value {
    match value {
        RegisterValue::U64(value) => hex(value),
        RegisterValue::U128(value) => format!("{value:#x}").into(),
        RegisterValue::Segment { base, limit, selector, attributes } => json!({
            "base": hex(base), "limit": hex(limit.into()), "selector": hex(selector.into()), "attributes": hex(attributes.into()),
        }),
        RegisterValue::Table { base, limit } => json!({ "base": hex(base), "limit": hex(limit.into()) }),
        RegisterValue::FpControlStatus { control, status, tag, last_opcode, last_rip } => json!({
            "control": hex(control.into()), "status": hex(status.into()), "tag": hex(tag.into()),
            "last_opcode": hex(last_opcode.into()), "last_rip": hex(last_rip),
        }),
        RegisterValue::XmmControlStatus { last_rdp, mxcsr, mxcsr_mask } => json!({
            "last_rdp": hex(last_rdp), "mxcsr": hex(mxcsr.into()), "mxcsr_mask": hex(mxcsr_mask.into()),
        }),
    }
}

/// 64-bit registers three a line, the others one a line.
fn as_text(text: &mut String, registers: &[(Register, RegisterValue)], msrs: &[(&str, u64)]) {
    let mut cells = Vec::new();
    let mut lines = String::new();
    for &(register, value) in registers {
        let name = register.name();
        let line = match value {
            RegisterValue::U64(value) => {
                cells.push((name, value));
                continue;
            }
            RegisterValue::U128(value) => format!("{value:032x}"),
            RegisterValue::Segment { base, limit, selector, attributes } => {
                format!("{selector:04x} base {base:016x} limit {limit:08x} attributes {attributes:04x}")
            }
            RegisterValue::Table { base, limit } => format!("     base {base:016x} limit {limit:04x}"),
            RegisterValue::FpControlStatus { control, status, tag, last_opcode, last_rip } => {
                format!(
                    "{control:04x} status {status:04x} tag {tag:02x} opcode {last_opcode:03x} rip {last_rip:016x}"
                )
            }
            RegisterValue::XmmControlStatus { last_rdp, mxcsr, mxcsr_mask } => {
                format!("mxcsr {mxcsr:08x} mask {mxcsr_mask:08x} rdp {last_rdp:016x}")
            }
        };
        let _ = writeln!(lines, "{name:>14} {line}");
    }
    cells.extend_from_slice(msrs);
    for row in cells.chunks(3) {
        let row: Vec<String> = row.iter().map(|(name, value)| format!("{name:>14} {value:016x}")).collect();
        let _ = writeln!(text, "{}", row.join(" "));
    }
    *text += &lines;
}
