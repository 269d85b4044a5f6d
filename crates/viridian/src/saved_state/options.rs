// SPDX-License-Identifier: MIT OR Apache-2.0
//! Options of `viridian saved-state`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to do with a saved state.
#[derive(Subcommand, Debug)]
pub(crate) enum SavedStateCommand {
    /// What was saved: version, processors, guest, memory, crash.
    Info {
        #[command(flatten)]
        file: FileOptions,
        /// List every key of the file with its value, too; of arrays, size and CRC-32.
        #[arg(long)]
        keys: bool,
    },
    /// The registers of the virtual processors.
    Registers {
        #[command(flatten)]
        file: FileOptions,
        /// Only this processor.
        #[arg(long, value_name = "INDEX")]
        vp: Option<u32>,
        /// As this virtual trust level sees them; else the one that ran.
        #[arg(long, value_name = "LEVEL")]
        vtl: Option<u8>,
    },
    /// Write the guest's memory to a file that other tools read.
    Memory {
        #[command(flatten)]
        file: FileOptions,
        /// Form of the output.
        #[arg(long, value_enum, default_value_t = FormName::Raw)]
        format: FormName,
        /// Where to write it; - is standard output.
        #[arg(long, value_name = "OUT")]
        output: PathBuf,
        /// Threads that decode; 0 is one for each of the host's processors.
        #[arg(long, value_name = "N", default_value_t = 0)]
        threads: usize,
    },
    /// Where guest-virtual addresses lead.
    Translate {
        #[command(flatten)]
        file: FileOptions,
        /// Addresses, in decimal or hexadecimal like 0xfffff80000000000.
        #[arg(required = true, value_name = "ADDRESS", value_parser = address)]
        addresses: Vec<u64>,
        #[command(flatten)]
        view: ViewOptions,
    },
    /// Find Windows images in the guest's virtual memory.
    Images {
        #[command(flatten)]
        file: FileOptions,
        #[command(flatten)]
        view: ViewOptions,
        /// First address to look at; else the start of the kernel's half.
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        from: Option<u64>,
        /// Last address to look at; else the end of the address space.
        #[arg(long, value_name = "ADDRESS", value_parser = address)]
        to: Option<u64>,
    },
}

/// The saved state, and how to answer.
#[derive(Args, Debug)]
pub(crate) struct FileOptions {
    /// A .vmrs file; or a .bin or .vsv file, with the other one beside it.
    pub(super) file: PathBuf,

    /// Answer in JSON.
    #[arg(long)]
    pub(super) json: bool,

    /// First write what is pending in the file's replay log to its place in the file. Without this the file is never changed, and read as if
    /// it had been done.
    #[arg(long)]
    pub(super) apply_log: bool,
}

/// Through whose page tables to look.
#[derive(Args, Debug)]
pub(crate) struct ViewOptions {
    /// Processor whose page tables are used.
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub(super) vp: u32,

    /// Virtual trust level whose page tables are used; else the one that ran.
    #[arg(long, value_name = "LEVEL")]
    pub(super) vtl: Option<u8>,

    /// How to translate; else as the registers say.
    #[arg(long, value_enum)]
    pub(super) paging: Option<PagingName>,
}

/// A form of memory image.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FormName {
    /// Each byte at its guest-physical address, gaps as holes.
    Raw,
    /// An ELF core with the registers, for gdb, crash and others.
    ElfCore,
    /// LiME, for Volatility and others.
    Lime,
}

/// A way to translate addresses.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PagingName {
    /// Virtual addresses are physical.
    None,
    /// Two levels.
    #[value(name = "32-bit")]
    Bits32,
    /// Physical address extension.
    Pae,
    /// Four or five levels.
    Long,
}

fn address(text: &str) -> Result<u64, String> {
    let text = text.replace(['_', '`'], "");
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "write an address like 4096 or 0xfffff80000000000".to_owned())
}
