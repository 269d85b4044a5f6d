// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian explain`: a number or a name of the interface, in words. What is said comes from the tables of `tlfs` and from what this build
//! serves: nothing here is a list of its own.

mod near;
mod page;
mod topic;

use topic::Topic;

use crate::refusal::Refusal;

/// What is known about `text`: every topic that has this number or name.
pub(crate) fn explain(text: &str) -> Result<String, Refusal> {
    let all = topic::all();
    let found = find(&all, text);
    if found.is_empty() {
        let near = near::names(&all, text);
        return Err(Refusal::Unexplained { text: text.to_owned(), near });
    }
    let pages: Vec<String> = found.into_iter().map(page::page).collect();
    Ok(pages.join("\n"))
}

fn find<'a>(all: &'a [Topic], text: &str) -> Vec<&'a Topic> {
    let (kind, what) = text.split_once(':').map_or((None, text), |(kind, what)| (Some(kind), what));
    let of_kind = |topic: &&Topic| {
        kind.is_none_or(|kind| topic.kinds().iter().any(|known| known.eq_ignore_ascii_case(kind)))
    };
    let numbered = |number: u64| {
        let same = move |topic: &&Topic| topic.number() == Some(number);
        all.iter().filter(of_kind).filter(same).collect::<Vec<_>>()
    };
    if let Some(number) = number(what) {
        let found = numbered(number);
        // leaf:3 is short for leaf 0x40000003; other kinds have small numbers of their own.
        let is_leaf = kind.is_some_and(|kind| ["leaf", "cpuid"].contains(&&*kind.to_lowercase()));
        return if found.is_empty() && is_leaf && number < 0x100 {
            numbered(u64::from(tlfs::cpuid::VENDOR_AND_MAX_LEAF) + number)
        } else {
            found
        };
    }
    let wanted = near::plain(what);
    let named = |topic: &&Topic| topic.names().iter().any(|name| near::plain(name) == wanted);
    all.iter().filter(of_kind).filter(named).collect()
}

/// A number as people write it: decimal, or hexadecimal after 0x.
fn number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn says(text: &str, parts: &[&str]) -> String {
        let page = explain(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
        for part in parts {
            assert!(page.contains(part), "{text}: no {part:?} in\n{page}");
        }
        page
    }

    #[test]
    fn numbers_in_both_notations_and_names_in_all_forms() {
        let page = says(
            "0x5C",
            &["HvCallPostMessage", "TLFS 11.11.1", "PostMessages", "connection_id", "INVALID_SYNIC_STATE"],
        );
        for same in
            ["92", "0x005c", "HvCallPostMessage", "hvpostmessage", "POST_MESSAGE", "PostMessage", "call:0x5c"]
        {
            assert!(explain(same).unwrap().contains(&page), "{same}");
        }
        says(
            "0x40000021",
            &["HV_X64_MSR_REFERENCE_TSC", "gpa_page_number", "63:12", "AccessPartitionReferenceTsc"],
        );
        says("leaf:3", &["0x40000003", "EAX", "AccessVpRunTimeReg", "EDX", "TLFS 2.4.4"]);
        says("status:5", &["HV_STATUS_INVALID_PARAMETER", "HvCallPostMessage"]);
        says("AccessVpIndex", &["bit 6", "HV_X64_MSR_VP_INDEX"]);
        says("HvRegisterVpIndex", &["0x00090003", "64 bits"]);
        says("guest_crash_msrs", &["0x40000003", "EDX"]);
    }

    #[test]
    fn a_number_of_several_things_explains_them_all_unless_a_kind_is_named() {
        let page = says("0x40000003", &["MSR 0x40000003", "CPUID leaf 0x40000003"]);
        assert!(!explain("msr:0x40000003").unwrap().contains("CPUID leaf"), "{page}");
    }

    #[test]
    fn the_unknown_is_one_sentence_with_what_is_near() {
        for (text, part) in [
            ("HvCallPostMesage", "HvCallPostMessage"),
            ("sint", "HV_X64_MSR_SINT0"),
            ("0x7FFE", "0x7FFE"),
            ("leaf:77", "leaf:77"),
            ("call:HV_X64_MSR_EOI", "call:HV_X64_MSR_EOI"),
            ("", "''"),
        ] {
            let sentence = explain(text).expect_err(text).to_string();
            assert!(sentence.contains(part) && sentence.lines().count() == 1, "{text}: {sentence}");
        }
    }

    #[test]
    fn everything_in_the_tables_has_a_page_with_a_sentence() {
        for topic in topic::all() {
            let page = page::page(&topic);
            assert!(page.lines().count() >= 2 && page.lines().all(|line| line.len() < 140), "{page}");
            assert!(!topic.about().is_empty(), "{page}");
        }
    }
}
