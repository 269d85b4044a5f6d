// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian run debian`: a stock kernel boots as a Hyper-V guest, uses what it is offered, and switches its power off.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use loader::debian::{DebianKernel, FetchError, Mode, Options, Silent, Suite, fetch, initramfs};

use crate::terminal::Terminal;
use crate::viridian::{Ended, command, finish, finish_with_text, skipped, wait_for_status};

/// Vectors that Linux uses: synthetic timers in direct mode, and messages and events of the SynIC.
const TIMER_VECTOR: &str = "interrupts: vector 0xed";
const SYNIC_VECTOR: &str = "interrupts: vector 0xf3";

fn caches() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned()
}

/// A kernel in a cache of the build's own, or why Debian's archive cannot be had.
fn fetched(suite: Suite) -> Result<DebianKernel, String> {
    match fetch(&Options { suite, ..Options::new(caches().join("openviridian")) }, &Silent) {
        Ok(kernel) => Ok(kernel),
        Err(error @ (FetchError::NoApt { .. } | FetchError::NoKeyring { .. } | FetchError::Apt { .. })) => {
            Err(error.to_string())
        }
        Err(error) => panic!("{error}"),
    }
}

/// `viridian run debian` with a cache of the build's own, or `None` where Debian's archive cannot be had.
pub(crate) fn run_debian(test: &str, more: &[&str]) -> Option<Command> {
    static FETCHED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let fetched = FETCHED.get_or_init(|| fetched(Suite::Bookworm).map(|_| caches()));
    match fetched {
        Ok(caches) => {
            let mut command = command(&[&["run", "debian"], more].concat());
            command.env("XDG_CACHE_HOME", caches);
            Some(command)
        }
        Err(why) => {
            skipped(test, why);
            None
        }
    }
}

/// The number in front of the only line of the statistics that ends with `what`, or 0.
fn count(ended: &Ended, what: &str) -> u64 {
    let mut lines = ended.errors.lines().filter(|line| line.ends_with(what));
    let count = lines.next().map_or(0, |line| {
        line.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{line}"))
    });
    assert!(lines.next().is_none(), "{what} is there twice:\n{}", ended.errors);
    count
}

/// How often Linux says that it had this kind of interrupt on its one processor.
fn interrupts(ended: &Ended, name: &str) -> u64 {
    let line = ended.output.lines().find_map(|line| line.trim().strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in /proc/interrupts:\n{}", ended.output));
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn boots_to_power_off_and_its_counts_are_ours() {
    let Some(mut command) = run_debian("boots_to_power_off_and_its_counts_are_ours", &["--stats"]) else {
        return;
    };
    let ended = finish(&mut command);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for part in [
        "Hypervisor detected: Microsoft Hyper-V",
        "== Clock source\nhyperv_clocksource_tsc_page\n",
        "hv_vmbus: Vmbus version:",
        "(BUG, WARNING, Oops, unchecked MSR, lockup, stall)\nnone\n",
        "reboot: Power down",
    ] {
        assert!(ended.output.contains(part), "{part:?} is not in:\n{}", ended.output);
    }
    let expirations = count(&ended, "direct expirations");
    assert!(count(&ended, "EOI assists") > 0, "{}", ended.errors);
    assert!(count(&ended, "hypercall HvCallPostMessage") > 0, "{}", ended.errors);
    assert!(count(&ended, "SynIC messages delivered") > 0, "{}", ended.errors);
    assert_eq!(interrupts(&ended, "HYP:"), count(&ended, SYNIC_VECTOR), "{ended:?}");
    assert!(interrupts(&ended, "HYP:") > 0, "{}", ended.output);
    // Each expiration is one interrupt, but for one that the guest did not live to see, and those that a busy host made so late that they merged with the
    // next. Linux counted them some time before its power went off.
    let delivered = count(&ended, TIMER_VECTOR);
    assert!(
        delivered <= expirations && expirations - delivered <= 1 + expirations / 50,
        "{delivered} of {expirations}:\n{}",
        ended.errors
    );
    let counted = interrupts(&ended, "HVS:");
    assert!(
        counted > 0 && counted <= expirations && expirations < counted * 2 + 200,
        "Linux had {counted} timer interrupts, and {expirations} were given:\n{}",
        ended.errors
    );
    // A boot is hundreds of millions of instructions.
    assert!(count(&ended, "guest instructions") > 100_000_000, "{}", ended.errors);
}

#[test]
fn a_pipe_feeds_the_shell_and_its_end_switches_the_power_off() {
    let Some(mut command) = run_debian("a_pipe_feeds_the_shell", &[]) else { return };
    // No line feed at the end: what is there is still a command.
    let text = "echo the sum is $((40 + 2))\ncat /sys/devices/system/clocksource/*/current_clocksource\necho and the last is $((50 - 1))";
    let ended = finish_with_text(&mut command, text);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for part in ["\nthe sum is 42\n", "\nhyperv_clocksource_tsc_page\n", "reboot: Power down"] {
        assert!(ended.output.contains(part), "{part:?} is not in:\n{}", ended.output);
    }
}

/// The end is there for a program that reads, and then for the shell too.
#[test]
fn a_program_may_read_the_pipe_to_its_end() {
    let Some(mut command) = run_debian("a_program_may_read_the_pipe_to_its_end", &[]) else { return };
    let ended = finish_with_text(&mut command, "tr a-z A-Z\nshouted by the guest\n");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.output.contains("\nSHOUTED BY THE GUEST\n"), "{}", ended.output);
    assert!(ended.output.contains("reboot: Power down"), "{}", ended.output);
}

#[test]
fn nothing_of_a_long_pipe_is_lost() {
    let Some(mut command) = run_debian("nothing_of_a_long_pipe_is_lost", &[]) else { return };
    let lines: String =
        (0..400).map(|line| format!("line {line:04}: every byte of this arrives\n")).collect();
    // A program of the guest reads them from its terminal; two others count whole lines, and all bytes.
    let whole_lines = "grep -cx 'line [0-9]*: every byte of this arrives'";
    let counts =
        format!("tee all | {whole_lines} | sed 's/^/whole lines: /'; wc -c <all | sed 's/^/bytes: /'");
    let text = format!("{counts}\n{lines}");
    assert!(text.len() > 3 * 4096, "longer than every queue on the way");
    let ended = finish_with_text(&mut command, &text);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for part in ["\nwhole lines: 400\n".to_owned(), format!("\nbytes: {}\n", lines.len())] {
        assert!(ended.output.contains(&part), "{part:?} is not in:\n{}", ended.output);
    }
}

#[test]
fn a_reboot_is_64_and_a_panic_is_65_with_its_log() {
    let Some(mut command) = run_debian("a_reboot_is_64", &[]) else { return };
    let ended = finish_with_text(&mut command, "reboot -f\n");
    assert_eq!(ended.status, Some(64), "{ended:?}");
    assert_eq!(ended.sentence(), "the guest reset");

    let Some(mut command) = run_debian("a_panic_is_65", &[]) else { return };
    let ended = finish_with_text(&mut command, "echo c >/proc/sysrq-trigger\n");
    assert_eq!(ended.status, Some(65), "{ended:?}");
    assert!(ended.errors.starts_with("viridian: the guest reported a crash: "), "{ended:?}");
    assert!(ended.errors.contains("sysrq triggered crash"), "its log is not there: {ended:?}");
}

#[test]
fn at_a_terminal_there_is_a_shell_and_the_escape_key_ends_it() {
    let Some(mut command) = run_debian("at_a_terminal_there_is_a_shell", &[]) else { return };
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut command);
    terminal.wait_for("/root # ");
    terminal.type_keys(b"echo $((6 * 7)) is the answer\r");
    terminal.wait_for("\n42 is the answer");
    terminal.type_keys(b"\x1dx");
    assert_eq!(wait_for_status(&mut child), Some(Some(0)));
}

/// Two VPs flush each other's translations and interrupt each other by hypercall, and nobody complains.
fn boots_with_two_vps(test: &str, suite: Suite) {
    let kernel = match fetched(suite) {
        Ok(kernel) => kernel,
        Err(why) => return skipped(test, &why),
    };
    let initrd = caches().join(format!("{test}.img"));
    let commands = Mode::Commands(include_str!("processes.sh").to_owned());
    std::fs::write(&initrd, initramfs(&kernel, &commands).unwrap()).unwrap();
    let mut command = command(&["run", "--stats", "--cpus", "2"]);
    command.arg("--kernel").arg(&kernel.kernel).arg("--initrd").arg(&initrd);
    let ended = finish(&mut command);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    for part in [
        "smp: Brought up 1 node, 2 CPUs",
        "hyperv_clocksource_tsc_page\n",
        "== The commands ended with status 0",
        "reboot: Power down",
    ] {
        assert!(ended.output.contains(part), "{part:?} is not in:\n{}", ended.output);
    }
    for complaint in ["BUG:", "WARNING:", "Oops", "unchecked MSR", "lockup", "stall", "Call Trace"] {
        assert!(!ended.output.contains(complaint), "{complaint:?} is in:\n{}", ended.output);
    }
    assert!(count(&ended, "hypercall HvCallSendSyntheticClusterIpi") > 0, "{}", ended.errors);
    let flushes = ["hypercall HvCallFlushVirtualAddressSpace", "hypercall HvCallFlushVirtualAddressList"];
    assert!(flushes.iter().any(|call| count(&ended, call) > 0), "{}", ended.errors);
}

#[test]
fn bookworm_boots_with_two_vps() {
    boots_with_two_vps("bookworm_boots_with_two_vps", Suite::Bookworm);
}

#[test]
fn trixie_boots_with_two_vps() {
    boots_with_two_vps("trixie_boots_with_two_vps", Suite::Trixie);
}
