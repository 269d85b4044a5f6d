// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fetches Debian's cloud kernel into the cache and writes it, with its two root file systems, to a folder:
//! `fetch-debian FOLDER [SCRIPT]`. With a script there is a third, which runs it and switches the power off. The files can be booted by any virtual
//! machine.

use std::path::PathBuf;

use loader::debian::{self, Mode, Options, Terminal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: fetch-debian FOLDER [SCRIPT]")?);
    let kernel = debian::fetch(&Options::from_environment()?, &Terminal::new())?;
    std::fs::create_dir_all(&folder)?;
    std::fs::copy(&kernel.kernel, folder.join("vmlinuz"))?;
    std::fs::write(folder.join("initrd.img"), debian::initramfs(&kernel, &Mode::Summary)?)?;
    std::fs::write(folder.join("initrd-shell.img"), debian::initramfs(&kernel, &Mode::Shell)?)?;
    if let Some(script) = std::env::args_os().nth(2) {
        let commands = Mode::Commands(std::fs::read_to_string(script)?);
        std::fs::write(folder.join("initrd-commands.img"), debian::initramfs(&kernel, &commands)?)?;
    }
    println!("Debian's Linux {} is in {}", kernel.version, folder.display());
    Ok(())
}
