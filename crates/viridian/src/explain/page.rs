// SPDX-License-Identifier: MIT OR Apache-2.0
//! A topic's page.

use std::fmt::Write;

use hypervisor::{Enlightenments, Offer};
use tlfs::hypercall::{self, CALLS, CallClass, CallInfo, Caller, LayoutBasis, Parameters};
use tlfs::msr::{self, Access, MSRS, MsrInfo};
use tlfs::privilege::{Privilege, PrivilegeMask};
use tlfs::register::RegisterInfo;
use tlfs::{Field, HvStatus, Layout, cpuid};

use super::topic::Topic;
use crate::features;

/// Where the second column begins, and how wide a line may be.
const INDENT: usize = 14;
const WIDTH: usize = 110;

/// The lines of a page.
struct Page(String);

impl Page {
    /// A line with a word at its margin, broken where it is long.
    fn line(&mut self, label: &str, text: &str) {
        let mut label = label;
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && INDENT + line.len() + word.len() >= WIDTH {
                let _ = writeln!(self.0, "  {label:<12}{}", line.trim_end());
                (label, line) = ("", String::new());
            }
            line.push_str(word);
            line.push(' ');
        }
        let _ = writeln!(self.0, "  {label:<12}{}", line.trim_end());
    }

    fn title(&mut self, kind: &str, number: &str, name: &str) {
        let _ = writeln!(self.0, "{}", format!("{kind} {number}  {name}").trim_end());
    }

    /// The sentence, and the section that it names in parentheses at its end.
    fn about(&mut self, about: &str) {
        let sectioned = about.strip_suffix(").").and_then(|about| about.rsplit_once(" ("));
        let (what, section) =
            sectioned.map_or((about.trim_end_matches('.'), None), |(what, section)| (what, Some(section)));
        self.line("what", &format!("{what}."));
        if let Some(section) = section {
            self.line("section", section);
        }
    }

    fn fields(&mut self, label: &str, fields: &[Field]) {
        let mut label = label;
        for field in fields {
            let (high, low) = (field.low + field.width - 1, field.low);
            let bits = if high == low { low.to_string() } else { format!("{high}:{low}") };
            let name = if field.name.is_empty() { "(reserved)" } else { field.name };
            let text = format!("{bits:<6} {name:<42} {}", field.about);
            // The sentence would be broken where the columns are: it stays on its line, and a long one is cut at its first clause.
            let _ = writeln!(self.0, "  {label:<12}{}", shortened(text.trim_end()));
            label = "";
        }
    }

    fn served(&mut self, refusal: Option<&str>) {
        self.line("served", &refusal.map_or("yes".to_owned(), |why| format!("no: {why}")));
    }
}

/// A line of columns, no longer than it can be read.
fn shortened(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    let cut: String = text.chars().take(WIDTH - 4).collect();
    format!("{} ...", cut.rsplit_once(' ').map_or(&*cut, |(cut, _)| cut))
}

/// The page of a topic.
pub(super) fn page(topic: &Topic) -> String {
    let mut page = Page(String::new());
    match *topic {
        Topic::Call(call) => self::call(&mut page, call),
        Topic::Msr(msr) => self::msr(&mut page, msr),
        Topic::Leaf(leaf, _) => self::leaf(&mut page, leaf, topic.about()),
        Topic::LeafField(info, field) => {
            let (leaf, register) = (info.leaf, format!("{:?}", info.register).to_uppercase());
            page.title("CPUID field", &format!("{leaf:#010x} {register}"), field.name);
            page.about(topic.about());
            page.fields("bits", &[field]);
        }
        Topic::Status(status) => {
            page.title("Status", &format!("{:#06x}", status.value.0), status.name);
            page.about(topic.about());
            page.line("answered by", &answering(status.value));
        }
        Topic::Message(message) => {
            page.title("Message type", &format!("{:#010x}", message.value.0), message.name);
            page.about(topic.about());
        }
        Topic::Register(info) => register(&mut page, info),
        Topic::Privilege(privilege) => self::privilege(&mut page, privilege),
    }
    page.0
}

fn call(page: &mut Page, call: &CallInfo) {
    page.title("Hypercall", &format!("{:#06x}", call.code.0), call.name);
    page.about(call.about);
    let shape = match call.class {
        CallClass::Simple => "simple",
        CallClass::SimpleVariable => "simple, with a variable header",
        CallClass::Rep => "rep",
        CallClass::RepVariable => "rep, with a variable header",
        CallClass::CodePage => "entered through its own place in the hypercall page",
        CallClass::Unpublished => "not published",
    };
    page.line("shape", shape);
    let caller = match call.caller {
        Caller::Any => "whoever holds the privileges",
        Caller::SelfOrParent => "the partition itself with the privileges, or its parent without them",
        Caller::Parent => "the parent of the partition that the call names",
        Caller::ParentOrRoot => "the parent of the partition that the call names, or the root",
        Caller::ParentOrHigherVtl => {
            "the parent of the partition that the call names, or a higher VTL of its own"
        }
        Caller::Root => "the root partition",
    };
    page.line("caller", caller);
    page.line("privileges", &privileges(call.privileges));
    if let Some(parameters) = hypercall::parameters(call.code) {
        self::parameters(page, parameters);
    }
    let basis = match call.layout {
        LayoutBasis::Specification => None,
        LayoutBasis::Public => Some("from public documents and sources, not from TLFS 6.0"),
        LayoutBasis::Inferred => Some("inferred from that of a sister call"),
        LayoutBasis::Unknown => Some("not public"),
    };
    if let Some(basis) = basis {
        page.line("layout", basis);
    }
    let common = hypercall::COMMON_STATUSES.iter().copied();
    let own = hypercall::statuses(call.code).unwrap_or_default().iter().copied();
    page.line("statuses", &common.chain(own).map(status_name).collect::<Vec<_>>().join(", "));
    page.served(features::call_refusal(call));
}

fn parameters(page: &mut Page, parameters: &Parameters) {
    let Parameters { input, input_element, output, output_element, .. } = *parameters;
    for (label, layout, element) in [("input", input, input_element), ("output", output, output_element)] {
        match (layout, element) {
            (None, 0) => page.line(label, "none"),
            (layout, element) => {
                if let Some(layout) = layout {
                    self::layout(page, label, layout);
                }
                if element > 0 {
                    let label = if layout.is_some() { "" } else { label };
                    page.line(label, &format!("a list of elements of {element} bytes"));
                }
            }
        }
    }
}

fn layout(page: &mut Page, label: &str, layout: &Layout) {
    page.line(label, &format!("{}, {} bytes", layout.name, layout.size));
    for member in layout.members {
        let _ = writeln!(page.0, "  {:<12}{:>5}  {}", "", member.offset, member.name);
    }
}

fn msr(page: &mut Page, msr: &MsrInfo) {
    page.title("MSR", &format!("{:#010x}", msr.number), msr.name);
    page.about(msr.about);
    let access = match msr.access {
        Access::ReadOnly => "read only",
        Access::WriteOnly => "write only",
        Access::ReadWrite => "read and write",
    };
    page.line("access", access);
    page.line("privilege", msr.privilege.map_or("none", Privilege::name));
    if let Some(feature) = msr.feature {
        page.line("feature", &format!("{feature} (CPUID 0x40000003 EDX)"));
    }
    page.fields("bits", msr::fields(msr.number));
    page.served(features::msr_refusal(&Offer::new(Enlightenments::ALL), msr));
}

fn leaf(page: &mut Page, leaf: u32, about: &str) {
    page.title("CPUID leaf", &format!("{leaf:#010x}"), "");
    page.about(about);
    for info in cpuid::REGISTERS.iter().filter(|info| info.leaf == leaf) {
        let register = format!("{:?}", info.register).to_uppercase();
        let named: Vec<Field> = info.fields.iter().map(privilege_named(info)).collect();
        page.fields(&register, &named);
    }
}

/// Shows the privileges of leaf 3 by the specification's names.
fn privilege_named(info: &cpuid::RegisterInfo) -> impl Fn(&Field) -> Field {
    let base = match (info.leaf, info.register) {
        (cpuid::FEATURES, cpuid::OutputRegister::Eax) => Some(0),
        (cpuid::FEATURES, cpuid::OutputRegister::Ebx) => Some(32),
        _ => None,
    };
    move |field| {
        let known = |privilege: &&Privilege| Some(privilege.bit()) == base.map(|base| base + field.low);
        match Privilege::ALL.iter().find(known) {
            Some(privilege) => Field { name: privilege.name(), about: privilege.about(), ..*field },
            None => *field,
        }
    }
}

fn register(page: &mut Page, info: &RegisterInfo) {
    page.title("VP register", &format!("{:#010x}", info.register.0), info.name);
    page.about(info.about);
    page.line("width", &format!("{} bits", info.width));
    let access = match (info.access, info.guest_settable) {
        (Access::ReadOnly, _) => "read only",
        (Access::WriteOnly, _) => "write only",
        (Access::ReadWrite, true) => "read and write, by the guest too",
        (Access::ReadWrite, false) => "read and write, by the partition's parent",
    };
    page.line("access", access);
    page.served(hypervisor::register_refusal(info.register));
}

fn privilege(page: &mut Page, privilege: Privilege) {
    let (register, low) = if privilege.bit() < 32 { ("EAX", 0) } else { ("EBX", 32) };
    page.title("Privilege", &format!("bit {}", privilege.bit()), privilege.name());
    page.about(privilege.about());
    page.line("shown in", &format!("CPUID leaf 0x40000003 {register}, bit {}", privilege.bit() - low));
    let calls = CALLS.iter().filter(|call| call.privileges.holds(PrivilegeMask::of(&[privilege])));
    let msrs = MSRS.iter().filter(|msr| msr.privilege == Some(privilege));
    let needed: Vec<&str> = calls.map(|call| call.name).chain(msrs.map(|msr| msr.name)).collect();
    page.line("needed by", &if needed.is_empty() { "nothing else".to_owned() } else { needed.join(", ") });
}

fn privileges(mask: PrivilegeMask) -> String {
    let names: Vec<&str> = Privilege::ALL
        .iter()
        .filter(|privilege| mask.into_bits() >> privilege.bit() & 1 != 0)
        .map(|privilege| privilege.name())
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn status_name(status: HvStatus) -> &'static str {
    status.name().and_then(|name| name.strip_prefix("HV_STATUS_")).unwrap_or("?")
}

fn answering(status: HvStatus) -> String {
    if hypercall::COMMON_STATUSES.contains(&status) {
        return "every call".to_owned();
    }
    let calls = hypercall::STATUSES.iter().filter(|(_, statuses)| statuses.contains(&status));
    let names: Vec<&str> = calls.filter_map(|(code, _)| code.name()).collect();
    if names.is_empty() { "no call whose statuses are published".to_owned() } else { names.join(", ") }
}
