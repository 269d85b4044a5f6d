// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask reference`: the conformance guest here and under QEMU with KVM's own Hyper-V interface, and every difference between the
//! two. Each has to be explained in docs/reference.md (which also tells how the other side is run where there is no hardware for it).

mod compare;
mod rig;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::machine::{self, Trouble};
use compare::{Explanation, Verdict, differences, explanations, verdicts};

/// The chapters of the guest, by the words that choose them. Each runs by itself, so that a chapter that ends one machine does not end
/// the others.
const CHAPTERS: [&str; 12] = [
    "discovery",
    "hypercalls",
    "partition",
    "memory",
    "processors",
    "execution",
    "mmu",
    "interrupts",
    "communication",
    "timers",
    "messages",
    "scheduler",
];

/// Processors of the guest on either side.
const PROCESSORS: &str = "2";

/// Where differences are explained.
const EXPLANATIONS: &str = "docs/reference.md";

/// Runs both sides and prints every difference.
///
/// # Errors
/// [`Trouble::Failed`] if a difference is not explained, or what is explained is no difference.
pub(crate) fn run(repository: &Path) -> Result<(), Trouble> {
    let page = std::fs::read_to_string(repository.join(EXPLANATIONS))
        .map_err(|error| Trouble::Failed(format!("{EXPLANATIONS}: {error}")))?;
    let explained = explanations(&page);
    let theirs = rig::run(repository, guest_programs::CONFORMANCE, &CHAPTERS)?;
    let ours = here(repository)?;
    let found = differences(&ours, &theirs);
    let mut wrong = Vec::new();
    for difference in &found {
        let explanation = explained.iter().find(|explanation| explanation.explains(difference));
        match explanation {
            Some(Explanation { kind, why, .. }) => println!("{difference}\n    {kind}: {why}"),
            None => {
                println!("{difference}\n    NOT EXPLAINED");
                wrong.push(format!("{} is not explained in {EXPLANATIONS}", difference.id));
            }
        }
    }
    let is_seen = |explanation: &Explanation| found.iter().any(|difference| explanation.explains(difference));
    for stale in explained.iter().filter(|explanation| explanation.is_lasting() && !is_seen(explanation)) {
        wrong.push(format!("{EXPLANATIONS} explains {}, which is no difference (any more)", stale.id));
    }
    let same = ours.iter().filter(|(id, verdict)| theirs.get(*id) == Some(verdict)).count();
    println!("{same} behaviours the same on both sides, {} different", found.len());
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::Failed(wrong.join("\n"))) }
}

/// Our side.
fn here(repository: &Path) -> Result<BTreeMap<String, Verdict>, Trouble> {
    let viridian = machine::build(repository)?;
    let failed = |error: std::io::Error| Trouble::Failed(error.to_string());
    let file = tempfile::NamedTempFile::new().map_err(failed)?;
    std::fs::write(file.path(), guest_programs::CONFORMANCE).map_err(failed)?;
    let mut all = BTreeMap::new();
    for chapter in CHAPTERS {
        let mut command = Command::new(&viridian);
        command.args(["run", "--cpus", PROCESSORS, "--timeout", "120", "--append", chapter, "--multiboot"]);
        let output = command.arg(file.path()).stdin(Stdio::null()).output().map_err(failed)?;
        all.extend(verdicts(&String::from_utf8_lossy(&output.stdout)));
    }
    Ok(all)
}
