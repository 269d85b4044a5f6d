// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state info`.

use std::fmt::Write;

use saved_state::memory::PAGE_SIZE;
use saved_state::{Architecture, Container, Format, Key, SavedState, Value};
use serde_json::{Map, json};

use super::options::FileOptions;
use super::{hex, open, print, print_json, refused, size_in_words};
use crate::harmless::{harmless, harmless_path};
use crate::refusal::Refusal;
use crate::status::Status;

/// Largest array whose checksum is told.
const MOST_ARRAY: u64 = u32::MAX as u64;

pub(super) fn run(file: &FileOptions, keys: bool) -> Result<Status, Refusal> {
    let saved = open(file, &mut |_| Ok(()))?;
    let failed = |error| refused(&file.file, error);
    if file.json {
        let mut answer = as_json(&saved).map_err(failed)?;
        if keys {
            answer["keys"] = keys_as_json(saved.container()).map_err(failed)?.into();
        }
        print_json(&answer)?;
    } else {
        let mut text = as_text(&saved).map_err(failed)?;
        if keys {
            text += "\n";
            text += &keys_as_text(saved.container()).map_err(failed)?;
        }
        print(&text)?;
    }
    Ok(Status::Done)
}

fn container_name(container: &Container) -> String {
    let version = container.version();
    let name = match container.format() {
        Format::HyperVStorage => "HyperVStorage",
        Format::Flat => "flat table",
    };
    format!("{name} {}.{}", version >> 8, version & 0xFF)
}

fn dotted(version: u32) -> String {
    format!("{}.{}", version >> 8, version & 0xFF)
}

/// What kind of save it is; older files do not say.
fn kind(saved: &SavedState) -> saved_state::Result<Option<String>> {
    Ok(match saved.property("type")? {
        Some(Value::String(kind)) => Some(kind),
        _ => None,
    })
}

fn vtls(mask: u32) -> Vec<u32> {
    (0..u32::BITS).filter(|vtl| mask >> vtl & 1 != 0).collect()
}

fn as_text(saved: &SavedState) -> saved_state::Result<String> {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<12} {value}");
    };
    for path in saved.files() {
        line("file", harmless_path(path));
    }
    let log = match saved.container().pending_log_entries() {
        0 => String::new(),
        pending => format!(", {pending} entries of its replay log pending"),
    };
    line("container", container_name(saved.container()) + &log);
    line("version", dotted(saved.version()));
    if let Some(kind) = kind(saved)? {
        line("type", harmless(&kind));
    }
    line("processors", format!("{} ({})", saved.vp_count(), saved.partition().vendor()));
    for vp in saved.partition().vp_indices() {
        let privilege =
            saved.in_kernel_space(vp).map_or("unknown", |kernel| if kernel { "kernel" } else { "user" });
        let (vtl, architecture) = (saved.active_vtl(vp)?, saved.architecture(vp).ok());
        // Some writers leave out the registers that would tell.
        let architecture = architecture.map_or("unknown architecture", Architecture::name);
        let paging = saved.paging_mode(vp).map_or("unknown".into(), |mode| mode.to_string());
        line("", format!("VP {vp}: {architecture}, {paging} paging, {privilege} mode, VTL {vtl}"));
    }
    let levels: Vec<String> = vtls(saved.partition().enabled_vtls()).iter().map(u32::to_string).collect();
    line("VTLs", levels.join(", "));
    line("nested", if saved.partition().is_nested() { "yes" } else { "no" }.into());
    line("guest OS", saved.guest_os(0).to_string());
    line(
        "crash",
        match saved.crash()? {
            Some(crash) => crash.parameters.map(|word| format!("{word:#x}")).join(" "),
            None => "none".into(),
        },
    );
    line("memory", size_in_words(saved.memory().raw_size()));
    for chunk in saved.memory().layout().chunks() {
        let page = PAGE_SIZE as u64;
        let (first, size) = (chunk.first_page * page, chunk.page_count * page);
        line("", format!("{first:#018x} to {:#018x}, {}", first + (size - 1), size_in_words(size)));
    }
    Ok(text)
}

fn as_json(saved: &SavedState) -> saved_state::Result<serde_json::Value> {
    let files: Vec<String> = saved.files().iter().map(|path| path.display().to_string()).collect();
    let mut processors = Vec::new();
    for vp in saved.partition().vp_indices() {
        processors.push(json!({
            "index": vp,
            "architecture": saved.architecture(vp).ok().map(Architecture::name),
            "paging": saved.paging_mode(vp).ok().map(|mode| mode.to_string()),
            "kernel": saved.in_kernel_space(vp).ok(),
            "vtl": saved.active_vtl(vp)?,
            "vtls": vtls(saved.partition().enabled_vtls_of(vp)?),
        }));
    }
    let chunks = saved.memory().layout().chunks();
    let chunks: Vec<_> = chunks
        .iter()
        .map(|chunk| json!({ "first_page": chunk.first_page, "page_count": chunk.page_count }))
        .collect();
    let guest = saved.guest_os(0);
    Ok(json!({
        "files": files,
        "container": container_name(saved.container()),
        "pending_log_entries": saved.container().pending_log_entries(),
        "missing_bytes": saved.container().missing_bytes().max(saved.memory().missing_bytes()),
        "missing_blocks": saved.memory().census().missing,
        "version": dotted(saved.version()),
        "type": kind(saved)?,
        "vendor": saved.partition().vendor().to_string(),
        "vp_count": saved.vp_count(),
        "processors": processors,
        "vtls": vtls(saved.partition().enabled_vtls()),
        "nested": saved.partition().is_nested(),
        "guest_os": { "id": hex(guest.0), "text": guest.to_string() },
        "crash": saved.crash()?.map(|crash| crash.parameters.map(hex)),
        "memory": { "size": saved.memory().raw_size(), "page_size": PAGE_SIZE, "chunks": chunks },
    }))
}

/// Every key with its path.
fn all_keys(container: &Container) -> Vec<(String, Key)> {
    let mut keys = Vec::new();
    container.walk(&mut |path, key| keys.push((path.to_owned(), key)));
    keys
}

/// Size and checksum of an array.
fn array(container: &Container, key: Key) -> saved_state::Result<(u64, u32)> {
    let bytes = container.read_array(key, MOST_ARRAY)?;
    Ok((bytes.len() as u64, crc32fast::hash(&bytes)))
}

fn keys_as_text(container: &Container) -> saved_state::Result<String> {
    let mut text = String::new();
    for (path, key) in all_keys(container) {
        let value = match container.value(key)? {
            Value::Node => "/".into(),
            Value::Int(value) => format!(" = {value}"),
            Value::UInt(value) => format!(" = {value}"),
            Value::Double(value) => format!(" = {value}"),
            Value::String(value) => format!(" = {value:?}"),
            Value::Bool(value) => format!(" = {value}"),
            Value::Array(_) => {
                let (size, crc) = array(container, key)?;
                format!(" = {size} bytes, CRC-32 {crc:08x}")
            }
            Value::Unknown => format!(" ({}, {} bytes)", container.kind(key), container.size(key)),
        };
        let _ = writeln!(text, "{}{value}", harmless(&path));
    }
    Ok(text)
}

fn keys_as_json(container: &Container) -> saved_state::Result<Map<String, serde_json::Value>> {
    let mut keys = Map::new();
    for (path, key) in all_keys(container) {
        let value = match container.value(key)? {
            Value::Node => continue,
            Value::Int(value) => value.into(),
            Value::UInt(value) => value.into(),
            Value::Double(value) => value.into(),
            Value::String(value) => value.into(),
            Value::Bool(value) => value.into(),
            Value::Array(_) => {
                let (size, crc) = array(container, key)?;
                json!({ "size": size, "crc32": format!("{crc:08x}") })
            }
            Value::Unknown => serde_json::Value::Null,
        };
        keys.insert(path, json!({ "type": container.kind(key).to_string(), "value": value }));
    }
    Ok(keys)
}
