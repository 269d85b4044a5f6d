// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask enlightenments`: boots Debian's stock kernel as often as there are services to do without, each time without one of them (and what needs it),
//! and once more with each that it is only offered on request. The kernel must not complain.

use std::path::Path;
use std::process::Output;
use std::time::Instant;

use clap::Args;
use hypervisor::{Enlightenment, Enlightenments};
use loader::debian::{Flavour, Mode, Suite};

use crate::machine::{self, Trouble};

/// Which services.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the lists (such as all,-access-synic-regs) that contain this
    #[arg(long, default_value = "")]
    only: String,
    /// Number of VPs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: String::new(), cpus: 2 }
    }
}

/// Services with which Linux takes itself for a root partition (the first) or asks for its id before it has a page for the answer (the second). Neither is for guests
/// of its kind, and neither is offered unless it is asked for.
const NOT_FOR_LINUX: &[Enlightenment] = &[Enlightenment::CpuManagement, Enlightenment::AccessPartitionId];

/// Every list for `--hv` that is tried, and what the guest is then offered.
fn lists() -> Vec<(String, Enlightenments)> {
    let list = |&service: &Enlightenment| {
        if service.is_default() {
            (format!("all,-{}", service.name()), Enlightenments::ALL.without_dependents(service))
        } else {
            let closure = with_needs(service);
            let names: Vec<_> = closure.iter().map(|service| service.name()).collect();
            let set = closure.iter().fold(Enlightenments::ALL, |set, &service| set.with(service));
            (format!("all,{}", names.join(",")), set)
        }
    };
    Enlightenment::ALL.iter().filter(|service| !NOT_FOR_LINUX.contains(service)).map(list).collect()
}

/// A service and what it needs that is not offered either.
fn with_needs(service: Enlightenment) -> Vec<Enlightenment> {
    let mut closure = vec![service];
    let mut next = 0;
    while next < closure.len() {
        for &needed in closure[next].needs() {
            if !needed.is_default() && !closure.contains(&needed) {
                closure.push(needed);
            }
        }
        next += 1;
    }
    closure
}

/// The one complaint that is the kernel's own affair: it enables the assist page without asking whether it may.
fn is_expected(complaint: &str, offered: Enlightenments) -> bool {
    !offered.contains(Enlightenment::AccessIntrCtrlRegs)
        && complaint.contains("unchecked MSR access error: WRMSR to 0x40000073")
}

/// What a boot printed, judged.
fn judge(output: &str, offered: Enlightenments) -> Result<(), String> {
    let mut complaints = machine::complaints(output);
    complaints.retain(|line| !is_expected(line, offered));
    // What follows the expected line belongs to it: where it happened.
    if !offered.contains(Enlightenment::AccessIntrCtrlRegs) && output.contains("WRMSR to 0x40000073") {
        complaints.retain(|line| !line.contains("Call Trace"));
    }
    if !complaints.is_empty() {
        return Err(complaints.join(" | "));
    }
    if !output.contains("reboot: Power down") {
        return Err("it did not get to power-off".to_owned());
    }
    let found = output.contains("Hypervisor detected: Microsoft Hyper-V");
    if found != offered.contains(Enlightenment::AccessHypercallMsrs) {
        return Err(format!("the hypervisor was {}", if found { "found" } else { "not found" }));
    }
    Ok(())
}

/// Boots with each list.
///
/// # Errors
/// What went wrong, if it did; or why it cannot be tried here.
pub(crate) fn run(repository: &Path, options: &Options) -> Result<(), Trouble> {
    let viridian = machine::build(repository)?;
    let kernel = machine::fetch(Suite::Bookworm, Flavour::Cloud)?;
    let initrd = machine::initrd(repository, "enlightenments", &kernel, &Mode::Summary)?;
    let mut failed = Vec::new();
    for (list, offered) in lists().iter().filter(|(list, _)| list.contains(&options.only)) {
        let begun = Instant::now();
        let mut command = machine::command(&viridian, &kernel.kernel, &initrd, options.cpus);
        command.args(["--hv", list, "--timeout", "120"]);
        if offered.contains(Enlightenment::Debugging) {
            // Nobody listens there.
            command.args(["--debug-link", "127.0.0.1:9"]);
        }
        let ended: Output = command.output().map_err(|error| Trouble::Failed(error.to_string()))?;
        let output = String::from_utf8_lossy(&ended.stdout).replace('\r', "");
        let judged = judge(&output, *offered);
        let seconds = begun.elapsed().as_secs_f64();
        match judged {
            Ok(()) => println!("{list:<80} {seconds:>6.1} s passed"),
            Err(why) => {
                println!("{list:<80} {seconds:>6.1} s FAILED: {why}");
                let log = repository.join("target/kernels/failed-enlightenments.log");
                let _ = std::fs::write(
                    log,
                    format!("{list}\n{output}\n{}", String::from_utf8_lossy(&ended.stderr)),
                );
                failed.push(list.clone());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Trouble::Failed(failed.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_in_a_list_that_is_whole() {
        let lists = lists();
        assert_eq!(lists.len() + NOT_FOR_LINUX.len(), Enlightenment::ALL.len());
        for (list, set) in lists {
            assert_eq!(set.missing(), None, "{list}");
        }
    }

    #[test]
    fn a_boot_is_judged_by_what_it_printed() {
        let good = "Hypervisor detected: Microsoft Hyper-V\nreboot: Power down\n";
        let all = Enlightenments::ALL;
        assert_eq!(judge(good, all), Ok(()));
        assert!(judge(good, Enlightenments::NONE).is_err(), "found where it is not");
        assert!(judge("Hypervisor detected: Microsoft Hyper-V\n", all).is_err());
        let complaint = format!("{good}unchecked MSR access error: WRMSR to 0x40000073\nCall Trace:\n");
        assert!(judge(&complaint, all).is_err());
        assert_eq!(judge(&complaint, all.without_dependents(Enlightenment::AccessIntrCtrlRegs)), Ok(()));
    }
}
