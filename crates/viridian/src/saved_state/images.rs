// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state images`.

use std::fmt::Write;

use saved_state::images::{Image, Symbols, kernel_range, scan};
use serde_json::json;

use super::options::{FileOptions, ViewOptions};
use super::{hex, open_view, print, print_json, refused};
use crate::harmless::harmless;
use crate::refusal::Refusal;
use crate::status::Status;

pub(super) fn run(
    file: &FileOptions,
    view: &ViewOptions,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<Status, Refusal> {
    let failed = |error| refused(&file.file, error);
    let mut range = (0, 0);
    let saved = open_view(file, view, &mut |saved| {
        let (first, last) = kernel_range(saved, view.vp).map_err(failed)?;
        range = (from.unwrap_or(first), to.unwrap_or(last));
        if range.0 <= range.1 { Ok(()) } else { Err(Refusal::NoAddresses(range.0, range.1)) }
    })?;
    let found = scan(&saved, view.vp, range.0, range.1).map_err(failed)?;
    if file.json {
        let images: Vec<_> = found.images.iter().map(as_json).collect();
        print_json(&json!({ "images": images, "stopped_at": found.stopped_at.map(hex) }))?;
    } else {
        print(&found.images.iter().map(as_text).collect::<String>())?;
        if found.images.is_empty() {
            tell!(
                "viridian: found no images from {:#x} to {:#x}",
                range.0,
                found.stopped_at.unwrap_or(range.1)
            );
        }
        if let Some(at) = found.stopped_at {
            tell!(
                "viridian: looked at far more pages than the guest has, and stopped at {at:#x}; go on with --from {at:#x}"
            );
        }
    }
    Ok(Status::Done)
}

fn as_text(image: &Image) -> String {
    let Image { base, size, timestamp, symbols } = image;
    let mut line = format!("{base:#018x} {size:#010x} {timestamp:08x}");
    if let Some(symbols) = symbols {
        // Writing to a string cannot fail.
        let _ = write!(line, " {} {}", harmless(&symbols.pdb), identity(symbols));
    }
    line + "\n"
}

fn as_json(image: &Image) -> serde_json::Value {
    let symbols =
        image.symbols.as_ref().map(|symbols| json!({ "pdb": symbols.pdb, "id": identity(symbols) }));
    json!({
        "base": hex(image.base), "size": image.size, "timestamp": hex(image.timestamp.into()), "symbols": symbols,
    })
}

/// GUID and age as symbol servers name folders.
fn identity(symbols: &Symbols) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = symbols.guid;
    let rest: String = rest.iter().map(|byte| format!("{byte:02X}")).collect();
    let (first, second, third) =
        (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
    format!("{first:08X}{second:04X}{third:04X}{rest}{:X}", symbols.age)
}
