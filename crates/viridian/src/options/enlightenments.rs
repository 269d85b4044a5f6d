// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of enlightenments that `--hv` takes, and the vendor that `--hv-vendor` takes.

use hypervisor::{Enlightenment, Enlightenments, Missing};

/// The services of a list: `all` or `none`, names, and after `all` names with a minus before them, which take away what needs the service as
/// well. A list that says something twice, or takes away what it does not give, is a mistake.
pub(crate) fn enlightenments(text: &str) -> Result<Enlightenments, String> {
    let (first, words) = match text.split_once(',') {
        Some((first @ ("all" | "none"), words)) => (first, Some(words)),
        None if text == "all" || text == "none" => (text, None),
        _ => ("", Some(text)),
    };
    let mut set = if first == "all" { Enlightenments::ALL } else { Enlightenments::NONE };
    let (mut named, mut given) = (Enlightenments::NONE, Enlightenments::NONE);
    for word in words.into_iter().flat_map(|words| words.split(',')) {
        if word == "all" || word == "none" {
            return Err(format!("'{word}' is the first word of a list, or not in it"));
        }
        let (taken_away, name) = word.strip_prefix('-').map_or((false, word), |name| (true, name));
        let service = find(name)?;
        if named.contains(service) {
            return Err(format!("'{name}' is in the list twice"));
        }
        named = named.with(service);
        set = match taken_away {
            true if first == "all" => set.without_dependents(service),
            true => {
                return Err(format!("'{word}' takes away from 'all', with which the list does not begin"));
            }
            false if first == "all" && Enlightenments::ALL.contains(service) => {
                return Err(format!("'{name}' is in 'all' already; '-{name}' takes it away"));
            }
            false => {
                given = given.with(service);
                set.with(service)
            }
        };
    }
    if let Some(gone) =
        Enlightenment::ALL.iter().find(|&&service| given.contains(service) && !set.contains(service))
    {
        return Err(format!("'{}' needs something that the list takes away", gone.name()));
    }
    match set.missing() {
        None => Ok(set),
        Some(Missing { service, needed }) => {
            let (service, needed) = (service.name(), needed.name());
            Err(format!("'{service}' needs '{needed}'; add that, or take both away with -{needed}"))
        }
    }
}

fn find(name: &str) -> Result<Enlightenment, String> {
    Enlightenment::ALL.iter().copied().find(|service| service.name() == name).ok_or_else(|| {
        let names: Vec<String> = Enlightenment::ALL.iter().map(|service| service.name()).collect();
        format!("'{name}' is no enlightenment; there are all, none, {}", names.join(", "))
    })
}

/// The letters of a vendor, filled up with zeros.
pub(crate) fn vendor_id(text: &str) -> Result<[u8; 12], String> {
    let mut id = [0; 12];
    match id.get_mut(..text.len()) {
        Some(letters) if !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
            letters.copy_from_slice(text.as_bytes());
            Ok(id)
        }
        _ => Err("a vendor has 1 to 12 letters, digits, signs and spaces of ASCII".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendors() {
        assert_eq!(vendor_id("Microsoft Hv"), Ok(*b"Microsoft Hv"));
        assert_eq!(vendor_id("x"), Ok(*b"x\0\0\0\0\0\0\0\0\0\0\0"));
        for refused in ["", "thirteen more", "Tab\t", "Größe"] {
            assert!(vendor_id(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn lists() {
        assert_eq!(enlightenments("all"), Ok(Enlightenments::ALL));
        assert_eq!(enlightenments("none"), Ok(Enlightenments::NONE));
        let without = enlightenments("all,-access-synthetic-timer-regs").unwrap();
        assert!(!without.contains(Enlightenment::AccessSyntheticTimerRegs));
        assert!(!without.contains(Enlightenment::UseDirectSyntheticTimers), "goes with what it needs");
        assert!(without.contains(Enlightenment::AccessSynicRegs));
        let few = enlightenments("access-hypercall-msrs,access-vp-index,use-relaxed-timing").unwrap();
        assert_eq!(
            few,
            Enlightenments::NONE
                .with(Enlightenment::AccessHypercallMsrs)
                .with(Enlightenment::AccessVpIndex)
                .with(Enlightenment::UseRelaxedTiming)
        );
        assert_eq!(enlightenments("all,-access-vp-index"), Ok(Enlightenments::NONE));
        assert_eq!(
            enlightenments("all,-access-vp-index,-access-synic-regs"),
            Ok(Enlightenments::NONE),
            "what has gone with another may be named"
        );
        assert_eq!(enlightenments("none,access-hypercall-msrs,access-vp-index,use-relaxed-timing"), Ok(few));
        let more = enlightenments("all,access-partition-id,-access-synic-regs").unwrap();
        assert!(more.contains(Enlightenment::AccessPartitionId));
    }

    #[test]
    fn the_page_in_docs_names_them_all() {
        let page = include_str!("../../../../docs/enlightenments.md");
        let named: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let all: Vec<String> = Enlightenment::ALL.iter().map(|service| service.name()).collect();
        assert_eq!(named, all);
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (list, part) in [
            (
                "access-synic-regs",
                "'access-synic-regs' needs 'access-hypercall-msrs'; add that, or take both away",
            ),
            ("access-hypercall-msrs,access-vp-index,access-frequency-regs", "needs 'timer-frequencies'"),
            ("all,hyperdrive", "'hyperdrive' is no enlightenment"),
            ("", "'' is no enlightenment"),
            ("-all", "'all' is no enlightenment"),
            ("all,", "'' is no enlightenment"),
            ("none,all", "'all' is the first word of a list, or not in it"),
            ("all,none", "'none' is the first word of a list, or not in it"),
            ("all,all", "'all' is the first word"),
            ("none,none", "'none' is the first word"),
            ("access-hypercall-msrs,all", "'all' is the first word"),
            ("all,-access-synic-regs,-access-synic-regs", "'access-synic-regs' is in the list twice"),
            ("all,access-partition-id,-access-partition-id", "'access-partition-id' is in the list twice"),
            ("none,access-vp-index,access-vp-index", "'access-vp-index' is in the list twice"),
            ("all,access-synic-regs", "is in 'all' already; '-access-synic-regs' takes it away"),
            ("none,-access-synic-regs", "takes away from 'all'"),
            ("-access-synic-regs", "takes away from 'all'"),
            ("all,access-partition-id,-access-hypercall-msrs", "'access-partition-id' needs something that"),
        ] {
            let sentence = enlightenments(list).unwrap_err();
            assert!(sentence.contains(part), "{list}: {sentence}");
        }
    }
}
