// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the command refuses: one sentence that names what is wrong, status 70, and no backtrace.

use std::path::PathBuf;
use std::process::Stdio;

use crate::guest::Guest;
use crate::viridian::{command, file_with, run};

/// Runs the command, which must refuse with a sentence that has these parts.
#[track_caller]
fn refused(arguments: &[&str], parts: &[&str]) {
    let ended = run(arguments);
    assert_eq!(ended.status, Some(70), "{arguments:?}: {ended:?}");
    assert_eq!(ended.output, "", "{arguments:?}");
    let sentence = ended.sentence();
    for part in parts {
        assert!(sentence.contains(part), "{arguments:?}: {part:?} is not in: {sentence}");
    }
    assert!(!sentence.contains("panicked") && !sentence.contains("Usage"), "{sentence}");
}

#[test]
fn options() {
    refused(&["walk"], &["walk"]);
    refused(&["run", "--frobnicate"], &["--frobnicate"]);
    refused(
        &["run", "--hv", "all,hyperdrive"],
        &["'hyperdrive' is no enlightenment", "use-direct-synthetic-timers"],
    );
    refused(&["run", "--hv", "access-synic-regs"], &["'access-synic-regs' needs 'access-hypercall-msrs'"]);
    refused(&["run", "--engine", "quantum"], &["quantum"]);
    refused(&["run", "--cpus", "0"], &["'0'", "1..=64"]);
    refused(&["run", "--cpus", "100000"], &["100000", "1..=64"]);
    refused(&["run", "--memory", "lots"], &["lots"]);
    refused(&["run", "debian", "--kernel", "vmlinuz"], &["--kernel"]);
}

/// Who types the bare command gets its help.
#[test]
fn no_command() {
    let ended = run::<&str>(&[]);
    assert_eq!((ended.status, ended.output.as_str()), (Some(70), ""), "{ended:?}");
    assert!(ended.errors.contains("Usage: viridian") && ended.errors.contains("features"), "{ended:?}");
}

#[test]
fn memory() {
    refused(&["run", "--memory", "1M"], &["'1M'", "from 2M to 512G"]);
    refused(&["run", "--memory", "2M"], &["2 MiB", "needs at least", "--memory"]);
    refused(&["run", "--memory", "1T"], &["'1T'", "from 2M to 512G"]);
}

#[test]
fn files_that_are_not_there() {
    refused(&["run", "--kernel", "/nowhere/vmlinuz"], &["the kernel /nowhere/vmlinuz", "No such file"]);
    refused(
        &["run", "--multiboot", "/nowhere/tour"],
        &["the multiboot program /nowhere/tour", "No such file"],
    );
    refused(&["run", "--kernel", "/tmp"], &["/tmp", "not a regular file"]);
    refused(&["tour", "--write", "/nowhere/tour"], &["/nowhere/tour", "No such file"]);
}

#[test]
fn files_that_are_no_guests() {
    let file = |bytes: &[u8]| {
        let file = file_with(bytes);
        let path = PathBuf::from(file.path());
        (file, path.to_str().expect("a plain path").to_owned())
    };
    let (_empty, empty) = file(b"");
    refused(&["run", "--kernel", &empty], &[&empty, "empty"]);
    refused(&["run", "--multiboot", &empty], &[&empty, "empty"]);
    let (_text, text) = file("How do you do? ".repeat(5000).as_bytes());
    refused(&["run", "--kernel", &text], &[&text, "not a Linux kernel"]);
    refused(&["run", "--multiboot", &text], &[&text, "not a multiboot program"]);
    let (_guest, guest) = file(&Guest::new().exit(0));
    refused(&["run", "--kernel", &guest], &[&guest, "not a Linux kernel"]);
}

#[test]
fn files_that_are_something_else_already() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (guest, link, new) = (name("guest"), name("link"), name("new"));
    std::fs::write(&guest, Guest::new().exit(0)).expect("room for it");
    std::os::unix::fs::symlink(&guest, &link).expect("a link");
    for option in ["--trace", "--profile", "--core"] {
        refused(&["run", "--multiboot", &guest, option, &guest], &[option, "--multiboot names", &guest]);
        refused(&["run", "--kernel", &guest, option, &guest], &[option, "--kernel names"]);
    }
    refused(&["run", "--multiboot", &guest, "--trace", &link], &["--trace", "--multiboot names", &link]);
    refused(
        &["run", "--kernel", &new, "--initrd", &guest, "--profile", &link],
        &["--profile", "--initrd names"],
    );
    refused(
        &["run", "--multiboot", &new, "--module", &guest, "--core", &guest],
        &["--core", "--module names"],
    );
    refused(&["run", "--trace", &new, "--core", &new], &["--core", "--trace names", &new]);
    refused(&["run", "--trace", &new, "--profile", &name("./new")], &["--profile", "--trace names"]);
    assert_eq!(std::fs::read(&guest).expect("it is there"), Guest::new().exit(0), "it is untouched");
    assert!(!std::path::Path::new(&new).exists(), "nothing was begun");
    // A device takes what everyone writes.
    let ended = run(&["run", "--multiboot", &guest, "--trace", "/dev/null", "--profile", "/dev/null"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

/// Standard input is read, a link may lead to what is not there yet, and a folder that is packed is no place to write to.
#[test]
fn files_that_are_something_else_in_a_roundabout_way() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (guest, keys, link, real, root) =
        (name("guest"), name("keys"), name("link"), name("real"), name("root"));
    std::fs::write(&guest, Guest::new().exit(0)).expect("room for it");
    std::fs::write(&keys, "keys").expect("room for it");
    for option in ["--trace", "--profile", "--core"] {
        let mut command = command(&["run", "--multiboot", &guest, option, &keys]);
        let output = command.stdin(std::fs::File::open(&keys).expect("it is there")).output();
        let output = output.expect("the command runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{said}");
        assert!(said.contains(option) && said.contains("which standard input names already"), "{said}");
    }
    assert_eq!(std::fs::read(&keys).expect("it is there"), b"keys", "it is untouched");
    std::os::unix::fs::symlink("real", &link).expect("a link");
    refused(&["run", "--trace", &link, "--profile", &real], &["--profile", "--trace names", &real]);
    refused(&["run", "--core", &real, "--profile", &link], &["--core", "--profile names", &real]);
    assert!(!std::path::Path::new(&real).exists(), "nothing was begun");
    std::fs::create_dir_all(name("root/etc")).expect("a folder");
    for option in ["--trace", "--profile", "--core"] {
        for within in ["root", "root/new", "root/etc/new", "root/../root/new"] {
            refused(
                &["run", "--kernel", &guest, "--root", &root, option, &name(within)],
                &[option, "which is in the folder that --root names"],
            );
        }
        let beside = ["run", "--kernel", &guest, "--root", &root, option, &name("rooted")];
        refused(&beside, &["not a Linux kernel"]);
    }
}

/// What is refused leaves an older trace as it was, and a pipe that nobody reads is waited for by nobody.
#[test]
fn a_trace_that_is_not_begun() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (guest, old, pipe) = (name("guest"), name("old"), name("pipe"));
    std::fs::write(&guest, Guest::new().exit(0)).expect("room for it");
    std::fs::write(&old, "events").expect("room for it");
    for refusal in [&["--kernel", &guest][..], &["--memory", "2M"]] {
        let ended = run(&[&["run"], refusal, &["--trace", &old]].concat());
        assert_eq!(ended.status, Some(70), "{ended:?}");
        assert_eq!(std::fs::read(&old).expect("it is there"), b"events", "{refusal:?}");
    }
    refused(&["run", "--trace", "/nowhere/trace"], &["/nowhere/trace", "No such file"]);
    refused(&["run", "--trace", folder.path().to_str().expect("a plain path")], &["Is a directory"]);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
    for option in ["--trace", "--profile"] {
        refused(
            &["run", "--multiboot", &guest, option, &pipe],
            &["cannot write", &pipe, "nobody reads this pipe"],
        );
    }
}

/// What the console prints and what is told about the run go to files of their own, too.
#[test]
fn files_that_are_standard_output_already() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (guest, log) = (folder.path().join("guest"), folder.path().join("log"));
    std::fs::write(&guest, Guest::new().print("printed").exit(0)).expect("room for it");
    let ended = |option: &str, file: &str, other: bool| {
        let mut command = command(&["run".as_ref(), "--multiboot".as_ref(), guest.as_os_str()]);
        let stream = std::fs::File::create(&log).expect("room for it");
        command.args([option, file]).current_dir(folder.path()).stdin(Stdio::null());
        if other {
            command.stderr(stream)
        } else {
            command.stdout(stream).stderr(Stdio::piped())
        };
        let output = command.output().expect("the command runs");
        let said = if other { std::fs::read(&log).expect("it is there") } else { output.stderr };
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    for (option, file) in [("--trace", "/dev/stdout"), ("--profile", "log"), ("--core", "./log")] {
        let (status, said) = ended(option, file, false);
        assert_eq!(status, Some(70), "{option} {file}: {said}");
        assert!(said.contains(option) && said.contains("which standard output names already"), "{said}");
    }
    let (status, said) = ended("--trace", "/dev/stderr", true);
    assert_eq!(status, Some(70), "{said}");
    assert!(said.contains("which standard error names already"), "{said}");
    let (status, said) = ended("--profile", "another", false);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read(&log).expect("it is there"), b"printed");
}

#[test]
fn standard_output_without_room() {
    let file = file_with(&Guest::new().print("lost").exit(0));
    let output = |path| std::fs::File::options().write(true).open(path).expect("a device");
    let ended = |path, more: &[&str]| {
        let mut command = command(&[&["run"], more, &["--multiboot"]].concat());
        let child = command.arg(file.path()).stdin(Stdio::null()).stdout(output(path)).stderr(Stdio::piped());
        let ended = child.output().expect("the command runs");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    for more in [&[][..], &["--time", "virtual"], &["--expect", "lost"]] {
        let (status, errors) = ended("/dev/full", more);
        assert_eq!(status, Some(70), "{errors}");
        assert!(errors.contains("standard output: No space left"), "{errors}");
        assert_eq!(ended("/dev/null", more), (Some(0), String::new()));
    }
}

/// The head of a 64-bit bzImage, as far as a loader reads it before it looks for the rest.
fn bzimage_head() -> Vec<u8> {
    let mut file = vec![0; 0x400];
    file[0x1F1] = 1; // sectors of set-up code after the first
    file[0x1F4..0x1F8].copy_from_slice(&0x1_0000_u32.to_le_bytes()); // paragraphs of the rest
    file[0x1FE..0x200].copy_from_slice(&0xAA55_u16.to_le_bytes());
    file[0x201] = 0x6A; // length of the header
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020F_u16.to_le_bytes());
    file[0x211] = 1; // loaded high
    file[0x236] = 1; // has a 64-bit entry
    file
}

#[test]
fn a_kernel_that_is_cut_short() {
    let file = file_with(&bzimage_head());
    let path = file.path().to_str().expect("a plain path");
    refused(&["run", "--kernel", path], &[path, "cut short"]);
    let head = file_with(&bzimage_head()[..0x210]);
    let path = head.path().to_str().expect("a plain path");
    refused(&["run", "--kernel", path], &[path]);
    let tour = file_with(&guest_programs::TOUR[..0x3000]);
    let path = tour.path().to_str().expect("a plain path");
    refused(&["run", "--multiboot", path], &[path]);
}
