// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.

mod enlightenments;
mod profile;
mod size;
mod time;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::debug_link::debugger_address;
use crate::saved_state::SavedStateCommand;
use enlightenments::{enlightenments, vendor_id};
use hypervisor::Enlightenments;
pub(crate) use profile::{Phase, ProfileOptions};
use size::memory_size;
pub(crate) use time::TimeKind;
use time::TimeOptions;
use verdict::VerdictOptions;

/// Hyper-V that runs anywhere: serves Microsoft's hypervisor interface to guests, on any x86-64 Linux.
#[derive(Parser, Debug)]
#[command(name = "viridian", version, about, disable_help_subcommand = true, subcommand_required = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a guest: the built-in tour of the interface, a stock Debian, your kernel, or a multiboot program.
    Run(Box<RunOptions>),
    /// List what this build serves, call by call, MSR by MSR, bit by bit; what it does not, and why.
    Features {
        /// As a Markdown page.
        #[arg(long)]
        markdown: bool,
    },
    /// Say what a number or name of the interface is: layout, privileges, statuses, section, and whether it is served.
    Explain {
        /// Such as 0x5C, 0x40000021, HvCallPostMessage or AccessVpIndex; with a kind before it if need be: leaf:3, call:2, msr:SINT0, status:5, register:0x90003.
        what: String,
    },
    /// Read a saved Hyper-V virtual machine: .vmrs, or .bin with .vsv.
    #[command(subcommand)]
    SavedState(SavedStateCommand),
    /// Write the built-in tour as a multiboot file, to run it elsewhere.
    Tour {
        /// Where to write it.
        #[arg(long, value_name = "FILE")]
        write: PathBuf,
    },
}

/// A guest that needs no file.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preset {
    /// A stock Debian 12 cloud kernel and busybox, fetched from the Debian archive and verified.
    Debian,
}

#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// A guest that needs no file; without one, and without --kernel or --multiboot, the built-in tour.
    #[arg(conflicts_with_all = ["kernel", "multiboot"])]
    pub(crate) preset: Option<Preset>,

    /// The built-in guest with a prompt: cpuid, rdmsr, wrmsr, call, post, timer and more, each answer decoded.
    #[arg(long, conflicts_with_all = ["preset", "kernel", "multiboot"])]
    pub(crate) interactive: bool,

    /// A Linux kernel: bzImage or ELF vmlinux.
    #[arg(long, value_name = "FILE", conflicts_with = "multiboot")]
    pub(crate) kernel: Option<PathBuf>,

    /// Its initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,

    /// A folder to pack as its initial RAM disk.
    #[arg(long, value_name = "DIR", requires = "kernel", conflicts_with = "initrd")]
    pub(crate) root: Option<PathBuf>,

    /// A multiboot program.
    #[arg(long, value_name = "FILE")]
    pub(crate) multiboot: Option<PathBuf>,

    /// A module for the multiboot program.
    #[arg(long, value_name = "FILE", requires = "multiboot")]
    pub(crate) module: Option<PathBuf>,

    /// Text to add to the guest's command line.
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub(crate) append: String,

    /// What runs the guest's instructions.
    #[arg(long, value_enum, default_value_t = EngineName::Auto)]
    pub(crate) engine: EngineName,

    /// Processor model that the guest sees: all of the host's extensions that are served, or a level of the x86-64 psABI.
    #[arg(long, value_enum, value_name = "MODEL", default_value_t = CpuModel::X86_64V2)]
    pub(crate) cpu: CpuModel,

    /// Whose processor the model claims to be, to try guests of the other vendor; by default the host's.
    #[arg(long, value_enum, value_name = "VENDOR", hide = true)]
    pub(crate) cpu_vendor: Option<CpuVendor>,

    /// Number of virtual processors, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) cpus: u32,

    /// The guest's memory, like 512M or 2G.
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory_size)]
    pub(crate) memory: u64,

    /// Enlightenments to offer: all, none, or a list such as all,-access-synic-regs.
    #[arg(long, value_name = "LIST", default_value = "all", value_parser = enlightenments, allow_hyphen_values = true)]
    pub(crate) hv: Enlightenments,

    /// Who CPUID says made the hypervisor, in 1 to 12 letters. Guests ought not to care, but Windows and Linux take others for no Hyper-V.
    #[arg(long, value_name = "ID", default_value = "Microsoft Hv", value_parser = vendor_id)]
    pub(crate) hv_vendor: [u8; 12],

    /// Give the guest a debug transport (HvCallPostDebugData and its sisters): UDP packets to and from this port of the host, such as 127.0.0.1:5005.
    #[arg(long, value_name = "ADDR", value_parser = debugger_address)]
    pub(crate) debug_link: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) profile: ProfileOptions,

    #[command(flatten)]
    pub(crate) time: TimeOptions,

    #[command(flatten)]
    pub(crate) verdict: VerdictOptions,

    /// Debian mirror to fetch from.
    #[arg(long, value_name = "URL", requires = "preset")]
    pub(crate) mirror: Option<String>,
}

/// What runs the guest's instructions.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EngineName {
    /// The best that this host has.
    Auto,
    /// The software processor; runs everywhere.
    Soft,
}

/// The processor model that the guest sees.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CpuModel {
    /// All of the host's extensions that are served.
    Host,
    /// Up to SSE4.2; runs everywhere.
    #[value(name = "x86-64-v2")]
    X86_64V2,
    /// AVX2, BMI, FMA, F16C, LZCNT and MOVBE.
    #[value(name = "x86-64-v3")]
    X86_64V3,
}

/// Whose processor the model claims to be.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CpuVendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
}

/// The first sentence of clap's complaint, on one line: what was wrong, without usage and hints.
pub(crate) fn complaint(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut sentence = String::new();
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(line.trim());
    }
    sentence.strip_prefix("error: ").unwrap_or(&sentence).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once(&"viridian").chain(words))
    }

    fn refused(words: &[&str]) -> String {
        complaint(&parse(words).expect_err("a refusal"))
    }

    #[test]
    fn the_documented_forms_parse() {
        for words in [
            &["run"][..],
            &["run", "debian"],
            &["run", "debian", "--cpus", "4", "--memory", "1G", "--stats"],
            &["run", "--kernel", "vmlinuz", "--initrd", "initrd.img", "--append", "-quiet console=ttyS0"],
            &["run", "--multiboot", "tour", "--append", "nonce=word", "--module", "environ"],
            &["run", "--hv", "all,-access-synic-regs", "--engine", "soft"],
            &["run", "debian", "--cpu", "x86-64-v3"],
            &["run", "--cpu", "host", "--cpu-vendor", "intel"],
            &["run", "--kernel", "vmlinuz", "--root", "root", "--expect", "-- ok --", "--timeout", "90"],
            &["run", "debian", "--core", "core", "--timeout", "1.5m", "--reboot"],
            &["run", "debian", "--profile"],
            &["run", "--profile", "p.json", "--phase", "a=x", "--phase", "b=y", "--trace", "t"],
            &["tour", "--write", "tour.elf"],
            &["saved-state", "info", "x.vmrs", "--keys", "--json"],
            &["saved-state", "registers", "x.vmrs", "--vp", "3", "--vtl", "1"],
            &["saved-state", "memory", "x.vmrs", "--format", "elf-core", "--output", "-"],
            &["saved-state", "translate", "x.bin", "0xfffff80000000000", "--paging", "long"],
            &["saved-state", "images", "x.vsv", "--from", "0x80000000"],
            &["features", "--markdown"],
            &["explain", "leaf:3"],
            &["run", "debian", "--time", "virtual", "--state-hash", "100M", "--seed", "7"],
            &["run", "--time", "virtual", "--state-hash", "--cpu-cap", "50%", "--cpu-weight", "200"],
            &["run", "--interactive", "--hv", "all,-access-synthetic-timer-regs"],
        ] {
            parse(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
    }

    #[test]
    fn refusals_are_one_sentence_that_names_the_value() {
        for (words, part) in [
            (&["run", "--cpus", "0"][..], "'0'"),
            (&["run", "--cpus", "100000"], "100000"),
            (&["run", "--memory", "lots"], "lots"),
            (&["run", "--frobnicate"], "--frobnicate"),
            (&["run", "windows"], "windows"),
            (&["run", "--engine", "quantum"], "quantum"),
            (&["run", "--cpu", "x86-64-v4"], "x86-64-v4"),
            (&["run", "debian", "--kernel", "x"], "--kernel"),
            (&["run", "--initrd", "x"], "--kernel"),
            (&["run", "--root", "x"], "--kernel"),
            (&["run", "--kernel", "x", "--initrd", "x", "--root", "x"], "--root"),
            (&["run", "--timeout", "0"], "'0'"),
            (&["run", "--timeout", "-5"], "'-5'"),
            (&["run", "--timeout", "soon"], "'soon'"),
            (&["run", "--expect", ""], "--expect"),
            (&["run", "--interactive", "--multiboot", "x"], "--multiboot"),
            (&["run", "debian", "--interactive"], "--interactive"),
            (&["run", "--time", "imaginary"], "imaginary"),
            (&["run", "--cpu-cap", "150"], "'150'"),
            (&["run", "--profile", "debian"], "run debian --profile"),
            (&["run", "--profile="], "a file needs a name"),
            (&["run", "--timeout", "1d"], "write ms, s, m or h"),
            (&["run", "--state-hash=0"], "at least 1"),
            (&["run", "--time", "virtual", "--rebuild-every", "0"], "at least 1"),
            (&["run", "--hv", "none,all"], "'all' is the first word"),
            (&["run", "--phase", "a=x"], "--profile"),
            (&["run", "--profile", "--phase", "a"], "NAME=TEXT"),
            (&["walk"], "walk"),
            (&["saved-state", "memory", "x.vmrs"], "--output"),
            (&["saved-state", "translate", "x.vmrs", "12zz"], "12zz"),
        ] {
            let sentence = refused(words);
            assert!(sentence.contains(part), "{words:?}: {sentence}");
            assert!(!sentence.contains('\n') && !sentence.contains("Usage"), "{words:?}: {sentence}");
        }
    }
}
