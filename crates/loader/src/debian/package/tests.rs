// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

/// The kernel package of the archive that the fetch is tested with.
const PACKAGE: &[u8] =
    include_bytes!("../../../tests/archive/debian/pool/linux-image-6.1.0-1-cloud-amd64.deb");

/// A package whose file tree, uncompressed, holds `files`.
fn package(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tree = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_cksum();
        // `set_path` would refuse what a hostile package may hold.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tree.append(&header, *content).expect("a member");
    }
    let tree = tree.into_inner().expect("a tree");
    let member = |name: &str, content: &[u8]| {
        let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, content.len());
        let padding: &[u8] = if content.len() % 2 == 1 { b"\n" } else { b"" };
        [header.as_bytes(), content, padding].concat()
    };
    let control = member("control.tar.gz", b"odd");
    [b"!<arch>\n", &member("debian-binary", b"2.0\n")[..], &control, &member("data.tar", &tree)].concat()
}

/// A module, an ELF file with nothing but the sections that say what it needs.
fn module(depends: &str) -> Vec<u8> {
    let information = format!("license=GPL\0depends={depends}\0intree=Y\0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = vec![0; 64 + 3 * 64];
    let mut section = |index: usize, name: u32, content: &[u8]| {
        let (at, offset) = (64 + index * 64, file.len());
        file[at..at + 4].copy_from_slice(&name.to_le_bytes());
        file[at + 24..at + 32].copy_from_slice(&(offset as u64).to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&(content.len() as u64).to_le_bytes());
        file.extend_from_slice(content);
    };
    section(1, 1, information.as_bytes());
    section(2, 10, names);
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[40] = 64;
    file[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
    file
}

/// Extracts a kernel's packages; gives the modules and the folder with what was written.
fn extract_all(packages: &[&[u8]]) -> Result<(Vec<String>, tempfile::TempDir), PackageError> {
    let folder = tempfile::tempdir()?;
    let mut files = Vec::new();
    for (index, package) in packages.iter().enumerate() {
        files.push(folder.path().join(format!("{index}.deb")));
        fs::write(&files[index], package)?;
    }
    let modules = extract_kernel(&files, folder.path())?;
    Ok((modules, folder))
}

fn extract(package: &[u8]) -> Result<(Vec<String>, tempfile::TempDir), PackageError> {
    extract_all(&[package])
}

fn refusal(package: &[u8]) -> String {
    extract(package).expect_err("this package must be refused").to_string()
}

#[test]
fn a_module_comes_after_those_it_needs_wherever_they_stand() -> Result<(), PackageError> {
    let wanted = module("zz-base,aa_first");
    let package = package(&[
        ("./lib/modules/6.1/aa-first.ko", &module("")),
        ("./lib/modules/6.1/unrelated.ko", &module("")),
        ("./lib/modules/6.1/hv_vmbus.ko", &wanted),
        ("./lib/modules/6.1/zz_base.ko", &module("aa-first")),
        ("./boot/vmlinuz-6.1", b"kernel"),
    ]);
    let (modules, folder) = extract(&package)?;
    assert_eq!(modules, ["aa_first.ko", "zz_base.ko", "hv_vmbus.ko"]);
    assert_eq!(fs::read(folder.path().join("vmlinuz"))?, b"kernel");
    assert_eq!(fs::read(folder.path().join("hv_vmbus.ko"))?, wanted);
    assert!(!folder.path().join("unrelated.ko").exists());
    Ok(())
}

#[test]
fn a_kernel_may_be_spread_over_packages_and_have_its_module_built_in() -> Result<(), PackageError> {
    let binary = package(&[("./usr/lib/modules/7/vmlinuz", b"kernel")]);
    let base = package(&[("./usr/lib/modules/7/modules.builtin", b"kernel/drivers/hv/hv_vmbus.ko\n")]);
    let modules = package(&[("./usr/lib/modules/7/kernel/drivers/hv/hv_vmbus.ko", &module(""))]);
    let (built_in, folder) = extract_all(&[&package(&[]), &base, &binary])?;
    assert_eq!(built_in, Vec::<String>::new());
    assert_eq!(fs::read(folder.path().join("vmlinuz"))?, b"kernel");
    assert_eq!(extract_all(&[&modules, &binary])?.0, ["hv_vmbus.ko"]);
    Ok(())
}

#[test]
fn incomplete_packages_are_refused_in_one_sentence() {
    let kernel: (&str, &[u8]) = ("./boot/vmlinuz-6.1", b"kernel");
    assert_eq!(refusal(&package(&[])), "it holds no kernel");
    assert_eq!(refusal(&package(&[kernel])), "it holds no module hv_vmbus");
    let needs = |name| ("./lib/hv_vmbus.ko", module(name));
    let (path, bytes) = needs("absent");
    assert_eq!(refusal(&package(&[kernel, (path, &bytes)])), "it holds no module absent");
    let (path, bytes) = needs("hv-vmbus");
    assert_eq!(
        refusal(&package(&[kernel, (path, &bytes)])),
        "it holds no order in which its modules can be loaded"
    );
    assert_eq!(refusal(b"#!/bin/sh"), "it is not a Debian package, or is cut short");
    let mut zst = package(&[kernel]);
    let at = zst.windows(8).position(|window| window == b"data.tar").expect("the member");
    zst[at..at + 12].copy_from_slice(b"data.tar.zst");
    assert_eq!(
        refusal(&zst),
        "its files are stored as data.tar.zst, and only data.tar and data.tar.xz are understood"
    );
}

#[test]
fn names_in_a_package_lead_nowhere_else() -> Result<(), PackageError> {
    let package = package(&[
        ("../../boot/vmlinuz-6.1", b"elsewhere"),
        ("./boot/vmlinuz-6.1/../../../../x", b"kernel"),
        ("./lib/../../hv_vmbus.ko", &module("")),
    ]);
    let (modules, folder) = extract(&package)?;
    assert_eq!(modules, ["hv_vmbus.ko"]);
    let mut names: Vec<_> = fs::read_dir(folder.path())?.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    assert_eq!(names, ["0.deb", "hv_vmbus.ko", "vmlinuz"]);
    Ok(())
}

#[test]
fn a_package_cut_at_any_length_is_refused() -> Result<(), PackageError> {
    let (modules, _) = extract(PACKAGE)?;
    assert_eq!(modules, ["hv_vmbus.ko"]);
    for length in 0..PACKAGE.len() {
        assert!(extract(&PACKAGE[..length]).is_err(), "{length} bytes of {} were accepted", PACKAGE.len());
    }
    Ok(())
}

proptest! {
    /// Changed bytes give an error or files, and no panic.
    #[test]
    fn no_package_breaks_the_reader(changes in prop::collection::vec((0..PACKAGE.len(), any::<u8>()), 1..8)) {
        let mut package = PACKAGE.to_vec();
        for (at, value) in changes {
            package[at] = value;
        }
        let _ = extract(&package);
    }

    /// So do changed modules.
    #[test]
    fn no_module_breaks_the_reader(changes in prop::collection::vec((0_usize..256, any::<u8>()), 0..8)) {
        let mut module = module("other");
        for (at, value) in changes {
            module[at] = value;
        }
        prop_assert!(dependencies(&module).len() <= module.len());
    }
}
