// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian features`: what this build serves, and what it does not, and why. It asks the rooms themselves: nothing here is a list of its own.

use std::fmt::Write;

use hypervisor::{Bit, Enlightenment, Enlightenments, Offer, parents_calls, register_refusal, served_calls};
use tlfs::Field;
use tlfs::cpuid::{self, OutputRegister, RegisterInfo};
use tlfs::hypercall::{CALLS, CallClass, CallCode, CallInfo, LayoutBasis};
use tlfs::msr::{self, MSRS, MsrInfo, NESTED_BASE};
use tlfs::register::REGISTERS;

/// A row: what it is called, by number and by name, and why it is not served, if it is not.
struct Row {
    number: String,
    name: String,
    refusal: Option<String>,
}

struct Section {
    title: &'static str,
    rows: Vec<Row>,
}

/// The page, as text or as Markdown.
pub(crate) fn page(markdown: bool) -> String {
    let offer = Offer::new(Enlightenments::ALL);
    let sections = [hypercalls(), msrs(&offer), registers(), leaves(&offer)];
    if markdown { as_markdown(&sections) } else { as_text(&sections) }
}

fn hypercalls() -> Section {
    let rows = CALLS.iter().map(|call| Row {
        number: format!("{:#06x}", call.code.0),
        name: call.name.to_owned(),
        refusal: call_refusal(call).map(str::to_owned),
    });
    Section { title: "Hypercalls", rows: rows.collect() }
}

/// Why a call is not served, if it is not.
pub(crate) fn call_refusal(call: &CallInfo) -> Option<&'static str> {
    if parents_calls().contains(&call.code) {
        return Some("a parent's: the host program has it as a method, a guest is denied");
    }
    if served_calls().iter().any(|served| served.code == call.code) {
        return None;
    }
    if call.code == CallCode::INJECT_SYNTHETIC_MACHINE_CHECK {
        return Some("a parent's, and its layout is not public: the host program has it as a method");
    }
    if call.code == CallCode::EXT_MEMORY_HEAT_HINT {
        return Some("the host takes no hints about memory: pages stay as they are");
    }
    if call.class == CallClass::Unpublished || call.layout == LayoutBasis::Unknown {
        return Some("its layout is not public");
    }
    Some(match call.code {
        CallCode::MODIFY_VTL_PROTECTION_MASK
        | CallCode::ENABLE_PARTITION_VTL
        | CallCode::DISABLE_PARTITION_VTL
        | CallCode::ENABLE_VP_VTL
        | CallCode::DISABLE_VP_VTL
        | CallCode::VTL_CALL
        | CallCode::VTL_RETURN
        | CallCode::CHECK_SPARSE_GPA_PAGE_VTL_ACCESS => "virtual trust levels are not served yet",
        CallCode::INSTALL_INTERCEPT => {
            "a parent's or a higher trust level's: the host program has it as a method, trust levels are not served yet"
        }
        CallCode::NOTIFY_RING_EMPTY => "the layout of the rings that it is about is not public",
        CallCode::FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE | CallCode::FLUSH_GUEST_PHYSICAL_ADDRESS_LIST => {
            "nested virtualization is not served yet"
        }
        // What is left is for who has partitions of its own.
        _ => "root partitions are not served yet",
    })
}

fn msrs(offer: &Offer) -> Section {
    let rows = MSRS.iter().map(|msr| Row {
        number: format!("{:#010x}", msr.number),
        name: msr.name.to_owned(),
        refusal: msr_refusal(offer, msr).map(str::to_owned),
    });
    Section { title: "Synthetic MSRs", rows: rows.collect() }
}

/// Why an MSR is not served with this offer, if it is not.
pub(crate) fn msr_refusal(offer: &Offer, msr: &MsrInfo) -> Option<&'static str> {
    if offer.may_read(msr.number) || offer.may_write(msr.number) {
        return None;
    }
    Some(match (msr.number, msr.privilege, msr.feature) {
        (NESTED_BASE.., ..) => "nested root partitions are not served yet",
        (msr::SIRBP, ..) => "the layout of the rings that it is about is not public",
        (msr::STATS_PARTITION_RETAIL_PAGE | msr::STATS_VP_RETAIL_PAGE, ..) => {
            "the layout of the page is not public"
        }
        (msr::REENLIGHTENMENT_CONTROL | msr::TSC_EMULATION_CONTROL | msr::TSC_EMULATION_STATUS, ..) => {
            "partitions do not migrate yet"
        }
        (msr::TSC_INVARIANT_CONTROL, ..) => {
            "the TSC is invariant without it, since partitions do not migrate yet"
        }
        (_, None, None) => "its behaviour is not public",
        _ => "its privilege is not offered",
    })
}

fn registers() -> Section {
    let rows = REGISTERS.iter().map(|info| Row {
        number: format!("{:#010x}", info.register.0),
        name: info.name.to_owned(),
        refusal: register_refusal(info.register).map(str::to_owned),
    });
    Section { title: "VP registers", rows: rows.collect() }
}

/// Named bits of the leaves that tell what is offered.
fn leaves(offer: &Offer) -> Section {
    let told = |info: &RegisterInfo| {
        Some(match (info.leaf, info.register) {
            (cpuid::FEATURES, OutputRegister::Eax) => offer.privileges.low(),
            (cpuid::FEATURES, OutputRegister::Ebx) => offer.privileges.high(),
            (cpuid::FEATURES, OutputRegister::Edx) => offer.features.into_bits(),
            (cpuid::RECOMMENDATIONS, OutputRegister::Eax) => offer.recommendations.into_bits(),
            _ => return None,
        })
    };
    let mut rows = Vec::new();
    for info in cpuid::REGISTERS {
        let Some(bits) = told(info) else { continue };
        for field in info.fields.iter().filter(|field| !field.name.is_empty()) {
            rows.push(Row {
                number: place(info, field),
                name: field.name.to_owned(),
                refusal: (u64::from(bits) & field.mask() == 0).then(|| bit_refusal(info, field)),
            });
        }
    }
    Section { title: "CPUID bits", rows }
}

/// A bit that is clear promises nothing; a clear recommendation is an answer as well.
fn bit_refusal(info: &RegisterInfo, field: &Field) -> String {
    match Enlightenment::ALL.iter().find(|service| is_bit(service.bit(), info, field)) {
        Some(service) => format!("on request: --hv all,{}", service.name()),
        None if info.leaf == cpuid::RECOMMENDATIONS => "not recommended here".to_owned(),
        None => "not offered".to_owned(),
    }
}

/// Whether a service is told of by this field of a leaf.
fn is_bit(bit: Bit, info: &RegisterInfo, field: &Field) -> bool {
    let mask = field.mask();
    match (bit, info.leaf, info.register) {
        (Bit::Privilege(privilege), cpuid::FEATURES, OutputRegister::Eax) => 1 << privilege.bit() == mask,
        (Bit::Privilege(privilege), cpuid::FEATURES, OutputRegister::Ebx) => {
            privilege.bit() >= 32 && 1 << (privilege.bit() - 32) == mask
        }
        (Bit::Feature(feature), cpuid::FEATURES, OutputRegister::Edx) => {
            u64::from(feature.into_bits()) == mask
        }
        (Bit::Recommendation(advice), cpuid::RECOMMENDATIONS, OutputRegister::Eax) => {
            u64::from(advice.into_bits()) == mask
        }
        _ => false,
    }
}

fn place(info: &RegisterInfo, field: &Field) -> String {
    format!("{:#010x} {}[{}]", info.leaf, format!("{:?}", info.register).to_uppercase(), field.low)
}

fn as_text(sections: &[Section]) -> String {
    let mut text = String::new();
    for section in sections {
        let served = section.rows.iter().filter(|row| row.refusal.is_none()).count();
        let _ = writeln!(text, "{}: {served} of {} served", section.title, section.rows.len());
        for row in &section.rows {
            let state = row.refusal.as_ref().map_or("served".to_owned(), |why| format!("no: {why}"));
            let _ = writeln!(text, "  {:<20} {:<52} {state}", row.number, row.name);
        }
        text.push('\n');
    }
    text
}

fn as_markdown(sections: &[Section]) -> String {
    let mut text = String::from(
        "# What is served\n\nMade by `viridian features --markdown`; a test fails when it is stale. What is not served answers as the \
         specification wants it to: INVALID_HYPERCALL_CODE, #GP, or a clear bit.\n",
    );
    for section in sections {
        let served = section.rows.iter().filter(|row| row.refusal.is_none()).count();
        let _ = write!(
            text,
            "\n## {}: {served} of {} served\n\n| | | |\n|---|---|---|\n",
            section.title,
            section.rows.len()
        );
        for row in &section.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                row.number,
                row.name,
                row.refusal.as_deref().unwrap_or("**served**")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_docs_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/status.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page(true),
            "docs/status.md is stale: cargo run -- features --markdown > docs/status.md"
        );
    }

    #[test]
    fn text_counts_what_it_lists() {
        let text = page(false);
        let served = text.lines().filter(|line| line.ends_with(" served") && line.starts_with("  ")).count();
        let counted: usize = text
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split(": ").nth(1)?.split(' ').next()?.parse::<usize>().ok())
            .sum();
        assert_eq!(served, counted);
    }
}
