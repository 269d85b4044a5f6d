// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernels`: boots every stock kernel of Debian with 1, 2 and 4 VPs, as bzImage and as ELF file, as a Hyper-V guest and as a plain PC, and once
//! with all that the host's processor has; prints a table.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use loader::debian::{Flavour, Mode, Suite};

use crate::machine::{self, Trouble};

/// Which kernels, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the rows whose name (such as "trixie cloud-amd64 bzImage, 2 VPs, --hv none") contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Numbers of VPs
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    cpus: Vec<u32>,
    /// Boots of each row, in a row
    #[arg(long, default_value_t = 1)]
    boots: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: String::new(), cpus: vec![1, 2, 4], boots: 1 }
    }
}

/// What file the kernel comes in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As Debian ships it.
    BzImage,
    /// The ELF file inside.
    Vmlinux,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::BzImage => "bzImage",
            Self::Vmlinux => "vmlinux",
        }
    }
}

/// What the guest does: enough for its processors to have to do with each other.
const PROCESSES: &str = include_str!("../../crates/viridian/tests/end_to_end/processes.sh");

/// What a boot printed, judged.
fn judge(output: &str, errors: &str, hv: &str, cpus: u32) -> Result<(), String> {
    let complaints = machine::complaints(output);
    if !complaints.is_empty() {
        return Err(complaints.join(" | "));
    }
    let as_guest = hv == "all";
    let mut wanted = vec!["reboot: Power down", "== The commands ended with status 0"];
    if as_guest {
        wanted.extend(["Hypervisor detected: Microsoft Hyper-V", "hyperv_clocksource_tsc_page"]);
    }
    let brought_up = format!("Brought up 1 node, {cpus} CPU");
    wanted.push(&brought_up);
    if let Some(missing) = wanted.iter().find(|text| !output.contains(**text)) {
        return Err(format!("without {missing:?}: {}", errors.lines().next().unwrap_or("no error")));
    }
    if !as_guest && output.contains("Hypervisor detected") {
        return Err("a plain PC shows a hypervisor".to_owned());
    }
    if as_guest && cpus > 1 {
        let counted = |names: &[&str]| names.iter().any(|name| errors.contains(name));
        if !counted(&["HvCallSendSyntheticClusterIpi"]) || !counted(&["HvCallFlushVirtualAddress"]) {
            return Err("no interrupts or flushes by hypercall".to_owned());
        }
    }
    Ok(())
}

/// Boots the matrix; false if a row failed.
pub(crate) fn run(repository: &Path, options: &Options) -> bool {
    let mut table = Vec::new();
    let mut failed = false;
    let viridian = match machine::build(repository) {
        Ok(path) => path,
        Err(Trouble::Failed(why) | Trouble::Skipped(why)) => {
            eprintln!("{why}");
            return false;
        }
    };
    for suite in [Suite::Bookworm, Suite::Trixie, Suite::Sid] {
        for flavour in [Flavour::Cloud, Flavour::Generic] {
            let name = format!("{} {}", suite.name(), flavour.name());
            let mut rows = Vec::new();
            for form in [Form::BzImage, Form::Vmlinux] {
                for &cpus in &options.cpus {
                    for hv in ["all", "none"] {
                        let row = format!("{name} {}, {cpus} VPs, --hv {hv}", form.name());
                        rows.push((row, form, cpus, hv, false));
                    }
                }
            }
            if let Some(&cpus) = options.cpus.first() {
                let row = format!("{name} bzImage, {cpus} VPs, --hv all --cpu host");
                rows.push((row, Form::BzImage, cpus, "all", true));
            }
            rows.retain(|(row, ..)| row.contains(&options.only));
            if rows.is_empty() {
                continue;
            }
            let made = machine::fetch(suite, flavour).and_then(|kernel| {
                let file = format!("{}-{}", suite.name(), flavour.name());
                let initrd =
                    machine::initrd(repository, &file, &kernel, &Mode::Commands(PROCESSES.to_owned()))?;
                let vmlinux = machine::vmlinux(repository, &file, &kernel.kernel)?;
                Ok((kernel, vmlinux, initrd))
            });
            let (kernel, vmlinux, initrd) = match made {
                Ok(made) => made,
                Err(Trouble::Skipped(why)) => {
                    println!("{name}: SKIPPED: {why}");
                    table.push(format!("{name:<56} SKIPPED"));
                    continue;
                }
                Err(Trouble::Failed(why)) => {
                    println!("{name}: {why}");
                    table.push(format!("{name:<56} FAILED: {why}"));
                    failed = true;
                    continue;
                }
            };
            for (row, form, cpus, hv, as_host) in rows {
                let file = if form == Form::BzImage { &kernel.kernel } else { &vmlinux };
                for boot in 1..=options.boots {
                    let begun = Instant::now();
                    let mut command = machine::command(&viridian, file, &initrd, cpus);
                    command.args(["--hv", hv]);
                    if as_host {
                        command.args(["--cpu", "host"]);
                    }
                    let outcome = command.output().map_err(|error| error.to_string()).and_then(|ended| {
                        let output = String::from_utf8_lossy(&ended.stdout).replace('\r', "");
                        let errors = String::from_utf8_lossy(&ended.stderr);
                        let judged = judge(&output, &errors, hv, cpus);
                        if judged.is_err() {
                            let log = repository.join("target/kernels/failed-boot.log");
                            let _ = std::fs::write(log, format!("{row}\n{output}\n{errors}"));
                        }
                        judged
                    });
                    let seconds = begun.elapsed().as_secs_f64();
                    let outcome =
                        outcome.map_or_else(|why| format!("FAILED: {why}"), |()| "passed".to_owned());
                    failed |= outcome != "passed";
                    let line = format!("{row:<56} {seconds:>6.1} s  {} {outcome}", kernel.version);
                    println!("{line} ({boot} of {})", options.boots);
                    if boot == options.boots || outcome != "passed" {
                        table.push(line);
                    }
                }
            }
        }
    }
    println!();
    table.iter().for_each(|line| println!("{line}"));
    !failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_is_judged_by_what_it_printed() {
        let good = "Hypervisor detected: Microsoft Hyper-V\nhyperv_clocksource_tsc_page\n\
                    smp: Brought up 1 node, 2 CPUs\n== The commands ended with status 0\nreboot: Power down\n";
        let counts = "1 hypercall HvCallSendSyntheticClusterIpi\n1 hypercall HvCallFlushVirtualAddressList\n";
        assert_eq!(judge(good, counts, "all", 2), Ok(()));
        assert!(judge(good, counts, "none", 2).is_err(), "not a plain PC");
        assert!(judge(good, "", "all", 2).is_err(), "no hypercalls");
        assert!(judge(good, counts, "all", 4).is_err(), "VPs are missing");
        assert!(judge(&format!("{good}WARNING: at"), counts, "all", 2).is_err());
        assert!(judge("reboot: Power down", counts, "all", 2).is_err());
    }
}
