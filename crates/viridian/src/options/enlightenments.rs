// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of enlightenments that `--hv` takes, and the vendor that `--hv-vendor` takes.

use hypervisor::{Enlightenment, Enlightenments, Missing};

/// The services of a list, taken from left to right: `all`, `none`, names, and names with a minus before them, which take away what needs
/// the service as well.
pub(crate) fn enlightenments(text: &str) -> Result<Enlightenments, String> {
    let mut set = Enlightenments::NONE;
    for word in text.split(',') {
        set = match word {
            "all" => Enlightenments::ALL,
            "none" => Enlightenments::NONE,
            _ => match word.strip_prefix('-') {
                Some(name) => set.without_dependents(find(name)?),
                None => set.with(find(word)?),
            },
        };
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
        ] {
            let sentence = enlightenments(list).unwrap_err();
            assert!(sentence.contains(part), "{list}: {sentence}");
        }
    }
}
