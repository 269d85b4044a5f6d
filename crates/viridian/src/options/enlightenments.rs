// SPDX-License-Identifier: MIT OR Apache-2.0
//! The list of enlightenments that `--hv` takes.

use hypervisor::{Enlightenment, Enlightenments};

/// A service that is of no use without another one.
const NEEDS: &[(Enlightenment, Enlightenment)] = &[
    (Enlightenment::DirectTimers, Enlightenment::SyntheticTimers),
    (Enlightenment::SyntheticTimers, Enlightenment::ReferenceCounter),
    (Enlightenment::XmmInput, Enlightenment::Hypercalls),
];

/// The services of a list: `all`, `none`, names, and names with a minus before them, taken from left to right.
pub(crate) fn enlightenments(text: &str) -> Result<Enlightenments, String> {
    let mut set = Enlightenments::NONE;
    for word in text.split(',') {
        let (takes_away, name) = word.strip_prefix('-').map_or((false, word), |name| (true, name));
        set = match (name, takes_away) {
            ("all", false) => Enlightenments::ALL,
            ("none", false) => Enlightenments::NONE,
            (name, takes_away) => {
                let service = find(name)?;
                if takes_away { set.without(service) } else { set.with(service) }
            }
        };
    }
    if set != Enlightenments::NONE && !set.contains(Enlightenment::Hypercalls) {
        let name = Enlightenment::Hypercalls.name();
        return Err(format!("every enlightenment needs '{name}'; add it, or write none"));
    }
    for &(service, needed) in NEEDS {
        if set.contains(service) && !set.contains(needed) {
            let (service, needed) = (service.name(), needed.name());
            return Err(format!(
                "'{service}' needs '{needed}'; add that, or take both away with -{needed},-{service}"
            ));
        }
    }
    Ok(set)
}

fn find(name: &str) -> Result<Enlightenment, String> {
    Enlightenment::ALL.iter().copied().find(|service| service.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Enlightenment::ALL.iter().map(|service| service.name()).collect();
        format!("'{name}' is no enlightenment; there are all, none, {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(enlightenments("all"), Ok(Enlightenments::ALL));
        assert_eq!(enlightenments("none"), Ok(Enlightenments::NONE));
        let without = enlightenments("all,-stimer,-stimer-direct").unwrap();
        assert!(!without.contains(Enlightenment::SyntheticTimers) && without.contains(Enlightenment::Synic));
        let few = enlightenments("hypercalls,time-ref-count").unwrap();
        assert_eq!(
            few,
            Enlightenments::NONE.with(Enlightenment::Hypercalls).with(Enlightenment::ReferenceCounter)
        );
    }

    #[test]
    fn the_page_in_docs_names_them_all() {
        let page = include_str!("../../../../docs/enlightenments.md");
        let named: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        let all: Vec<&str> = Enlightenment::ALL.iter().map(|service| service.name()).collect();
        assert_eq!(named, all);
    }

    #[test]
    fn refusals_say_what_to_do() {
        for (list, part) in [
            ("all,-stimer", "-stimer,-stimer-direct"),
            ("synic", "needs 'hypercalls'"),
            ("all,hyperdrive", "'hyperdrive' is no enlightenment"),
            ("", "'' is no enlightenment"),
            ("-all", "'all' is no enlightenment"),
        ] {
            let sentence = enlightenments(list).unwrap_err();
            assert!(sentence.contains(part), "{list}: {sentence}");
        }
    }
}
