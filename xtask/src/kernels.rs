// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask kernels`: boots every stock kernel of Debian with 1, 2 and 4 VPs, as a Hyper-V guest and as a plain PC, and once with all that the host's processor
//! has; prints a table.

use std::path::Path;
use std::time::Instant;

use clap::Args;
use loader::debian::{Flavour, Mode, Suite};

use crate::machine::{self, Trouble};

/// Which kernels, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the rows whose name (such as "trixie cloud-amd64, 2 VPs, --hv none") contains this
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

/// What a boot printed, judged.
fn judge(output: &str, errors: &str, hv: &str, cpus: u32) -> Result<(), String> {
    let complaints = machine::complaints(output);
    if !complaints.is_empty() {
        return Err(complaints.join(" | "));
    }
    let as_guest = hv == "all";
    let mut wanted = vec!["reboot: Power down"];
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
            let row = |cpus: u32, hv, cpu: &str| {
                (format!("{name}, {cpus} VPs, --hv {hv}{cpu}"), cpus, hv, !cpu.is_empty())
            };
            let with_host = options.cpus.first().map(|&cpus| row(cpus, "all", " --cpu host"));
            let rows: Vec<_> = options
                .cpus
                .iter()
                .flat_map(|&cpus| ["all", "none"].map(|hv| row(cpus, hv, "")))
                .chain(with_host)
                .filter(|(row, ..)| row.contains(&options.only))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let made = machine::fetch(suite, flavour).and_then(|kernel| {
                let file = format!("{}-{}", suite.name(), flavour.name());
                let initrd = machine::initrd(repository, &file, &kernel, &Mode::Summary)?;
                Ok((kernel, initrd))
            });
            let (kernel, initrd) = match made {
                Ok(made) => made,
                Err(Trouble::Skipped(why)) => {
                    println!("{name}: SKIPPED: {why}");
                    table.push(format!("{name:<48} SKIPPED"));
                    continue;
                }
                Err(Trouble::Failed(why)) => {
                    println!("{name}: {why}");
                    table.push(format!("{name:<48} FAILED: {why}"));
                    failed = true;
                    continue;
                }
            };
            for (row, cpus, hv, as_host) in rows {
                for boot in 1..=options.boots {
                    let begun = Instant::now();
                    let mut command = machine::command(&viridian, &kernel.kernel, &initrd, cpus);
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
                    let line = format!("{row:<48} {seconds:>6.1} s  {} {outcome}", kernel.version);
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
                    smp: Brought up 1 node, 2 CPUs\n== Complaints of the kernel (BUG)\nnone\nreboot: Power down\n";
        let counts = "1 hypercall HvCallSendSyntheticClusterIpi\n1 hypercall HvCallFlushVirtualAddressList\n";
        assert_eq!(judge(good, counts, "all", 2), Ok(()));
        assert!(judge(good, counts, "none", 2).is_err(), "not a plain PC");
        assert!(judge(good, "", "all", 2).is_err(), "no hypercalls");
        assert!(judge(good, counts, "all", 4).is_err(), "VPs are missing");
        assert!(judge(&format!("{good}WARNING: at"), counts, "all", 2).is_err());
        assert!(judge("reboot: Power down", counts, "all", 2).is_err());
    }
}
