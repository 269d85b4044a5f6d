// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state translate`.

use std::fmt::Write;

use saved_state::Error;
use serde_json::json;

use super::options::{FileOptions, ViewOptions};
use super::{hex, open_view, print, print_json, refused, size_in_words};
use crate::refusal::Refusal;
use crate::status::Status;

pub(super) fn run(file: &FileOptions, addresses: &[u64], view: &ViewOptions) -> Result<Status, Refusal> {
    let saved = open_view(file, view, &mut |_| Ok(()))?;
    let mut text = String::new();
    let mut answers = Vec::new();
    let mut missing = 0;
    for &gva in addresses {
        let answer = match saved.translate(view.vp, gva) {
            Ok(found) => {
                let rights = found.rights;
                let letters = [('w', rights.writable), ('x', rights.executable), ('u', rights.user)];
                let letters: String =
                    letters.map(|(letter, has)| if has { letter } else { '-' }).iter().collect();
                let saved = saved.memory().layout().raw_offset(found.gpa).is_some();
                let note = if saved { "" } else { ", not saved memory" };
                let page = size_in_words(found.page_size);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{gva:#018x} {:#018x} {letters}, {page} page{note}", found.gpa);
                json!({
                    "gva": hex(gva), "gpa": hex(found.gpa), "page_size": found.page_size, "saved": saved,
                    "writable": rights.writable, "executable": rights.executable, "user": rights.user,
                })
            }
            Err(Error::NotMapped { unmapped, problem, .. }) => {
                missing += 1;
                let _ = writeln!(text, "{gva:#018x} not mapped: {problem}");
                json!({ "gva": hex(gva), "error": problem.to_string(), "unmapped": hex(unmapped) })
            }
            Err(error) => return Err(refused(&file.file, error)),
        };
        answers.push(answer);
    }
    if file.json {
        print_json(&answers.into())?
    } else {
        print(&text)?
    }
    if missing > 0 { Err(Refusal::NotMapped(missing, addresses.len())) } else { Ok(Status::Done) }
}
