// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be run: its files in memory, and how they are loaded.

use std::io::IsTerminal;
use std::path::PathBuf;

use loader::debian::{self, Mode, Terminal};
use loader::initramfs::Builder;
use loader::{Image, MemoryMap, linux, multiboot, read_file};

use crate::options::{Preset, RunOptions};
use crate::refusal::Refusal;

/// Parameters that every Linux guest gets before the user's own: the console, and no self-tests of ciphers, which are more than half of a boot.
const LINUX_PARAMETERS: &str = "console=ttyS0 cryptomgr.notests";

/// Ctrl-D: a guest's prompt or shell takes it for the end.
const END_OF_INPUT: &[u8] = b"\x04";

/// A guest, with its files read.
pub(crate) struct Guest {
    kind: Kind,
    /// What to send to the guest's console when standard input ends.
    pub(crate) at_end_of_input: &'static [u8],
}

enum Kind {
    /// One of our own: its name and its file.
    BuiltIn {
        name: &'static str,
        program: &'static [u8],
        arguments: String,
    },
    Multiboot {
        path: PathBuf,
        program: Vec<u8>,
        module: Option<(String, Vec<u8>)>,
        arguments: String,
    },
    Linux {
        path: PathBuf,
        kernel: Vec<u8>,
        initrd: Option<Vec<u8>>,
        command_line: String,
    },
}

impl Guest {
    /// Reads, or fetches, what the options name.
    pub(crate) fn from_options(options: &RunOptions) -> Result<Self, Refusal> {
        let mut at_end_of_input: &[u8] = &[];
        let kind = if options.preset == Some(Preset::Debian) {
            match fetch_debian(options) {
                Ok((kind, end)) => {
                    at_end_of_input = end;
                    kind
                }
                Err(Refusal::Fetch(error)) if error.is_unsupported_host() => {
                    tell!("viridian: {error}; running the built-in tour instead");
                    tour(options)
                }
                Err(refusal) => return Err(refusal),
            }
        } else if let Some(path) = &options.kernel {
            Kind::Linux {
                path: path.clone(),
                kernel: read_file("kernel", path)?,
                initrd: initrd(options)?,
                command_line: command_line(&options.append),
            }
        } else if let Some(path) = &options.multiboot {
            let module = options.module.as_deref().map(|path| {
                Ok::<_, Refusal>((path.display().to_string(), read_file("multiboot module", path)?))
            });
            Kind::Multiboot {
                path: path.clone(),
                program: read_file("multiboot program", path)?,
                module: module.transpose()?,
                arguments: options.append.clone(),
            }
        } else if options.interactive {
            at_end_of_input = END_OF_INPUT;
            let (name, program) = ("interactive", guest_programs::INTERACTIVE);
            Kind::BuiltIn { name, program, arguments: options.append.clone() }
        } else {
            tour(options)
        };
        Ok(Self { kind, at_end_of_input })
    }

    /// Makes the image for a memory map and ACPI tables of the machine, and has it put where it belongs.
    pub(crate) fn load(
        &self,
        memory: &MemoryMap,
        rsdp: u64,
        put: impl FnOnce(&Image<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match &self.kind {
            Kind::BuiltIn { name, program, arguments } => {
                let program = multiboot::Multiboot { program, name, arguments, modules: &[], memory };
                put(&multiboot::load(&program).map_err(|source| Refusal::BuiltIn { name, source })?)
            }
            Kind::Multiboot { path, program, module, arguments } => {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("program");
                let modules: Vec<_> =
                    module.iter().map(|(text, bytes)| multiboot::Module { bytes, text }).collect();
                let program = multiboot::Multiboot { program, name, arguments, modules: &modules, memory };
                put(&multiboot::load(&program)
                    .map_err(|source| Refusal::Load { path: path.clone(), source })?)
            }
            Kind::Linux { path, kernel, initrd, command_line } => {
                let initrd = initrd.as_deref();
                let linux = linux::Linux { kernel, initrd, command_line, memory, rsdp: Some(rsdp) };
                put(&linux::load(&linux).map_err(|source| Refusal::Load { path: path.clone(), source })?)
            }
        }
    }
}

fn tour(options: &RunOptions) -> Kind {
    Kind::BuiltIn { name: "tour", program: guest_programs::TOUR, arguments: options.append.clone() }
}

/// The initial RAM disk: a file, or a folder to be packed.
fn initrd(options: &RunOptions) -> Result<Option<Vec<u8>>, Refusal> {
    if let Some(folder) = &options.root {
        return Ok(Some(Builder::new().tree(folder)?.finish()));
    }
    Ok(options.initrd.as_deref().map(|path| read_file("initrd", path)).transpose()?)
}

fn command_line(append: &str) -> String {
    if append.is_empty() { LINUX_PARAMETERS.to_owned() } else { format!("{LINUX_PARAMETERS} {append}") }
}

/// Fetches Debian, and decides what its user space does: with nobody at standard input it prints a summary, else it gives a shell.
fn fetch_debian(options: &RunOptions) -> Result<(Kind, &'static [u8]), Refusal> {
    let mut fetch = debian::Options::from_environment()?;
    if let Some(mirror) = &options.mirror {
        fetch.mirror.clone_from(mirror);
    }
    let kernel = debian::fetch(&fetch, &Terminal::new())?;
    // Ctrl-D ends the shell, and the shell's end switches the power off.
    let (mode, end): (_, &[u8]) =
        if input_is_closed() { (Mode::Summary, &[]) } else { (Mode::Shell, END_OF_INPUT) };
    let kind = Kind::Linux {
        path: kernel.kernel.clone(),
        kernel: read_file("kernel", &kernel.kernel)?,
        initrd: Some(debian::initramfs(&kernel, &mode)?),
        command_line: command_line(&options.append),
    };
    Ok((kind, end))
}

/// Whether nothing can ever come from standard input: it is closed (then the runtime has put /dev/null there) or is /dev/null.
fn input_is_closed() -> bool {
    let stdin = std::io::stdin();
    !stdin.is_terminal()
        && rustix::fs::fstat(&stdin).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode).is_char_device()
                && stat.st_rdev == rustix::fs::makedev(1, 3)
        })
}
