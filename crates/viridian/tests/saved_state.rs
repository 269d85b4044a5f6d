// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian saved-state` from outside: genuine files give the documented answers, and files of our own come out as other tools read them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cargo_metadata::MetadataCommand;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process};
use saved_state::Register;
use saved_state::memory::Encoding;
use saved_state::write::{Machine, NewValue, Options, bin_and_vsv, vmrs};

/// Says why a test did not test. Not by `println`: that is not shown for tests that pass.
fn skipped(why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

fn viridian(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.arg("saved-state").args(words).output().expect("viridian starts")
}

fn text(words: &[&str]) -> String {
    let output = viridian(words);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&text(words)).expect("JSON")
}

fn refused(words: &[&str]) -> String {
    let output = viridian(words);
    assert_eq!(output.status.code(), Some(70), "{words:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// The folder of the genuine files, which the public crate vmsavedstatedump_rs has among its tests.
fn genuine() -> Option<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../saved-state/Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).exec().ok();
    let folder = metadata.and_then(|metadata| {
        let package =
            metadata.packages.iter().find(|package| package.name.as_str() == "vmsavedstatedump_rs")?;
        Some(package.manifest_path.parent()?.join("tests").into_std_path_buf())
    });
    let folder = folder.filter(|folder| folder.join("test_file.VMRS").is_file());
    if folder.is_none() {
        skipped("the crate vmsavedstatedump_rs with the genuine files was not fetched");
    }
    folder
}

#[test]
fn genuine_files() {
    let Some(folder) = genuine() else { return };
    let scratch = tempfile::tempdir().unwrap();
    for name in ["test_file.VMRS", "test_file.bin", "test_file.vsv"] {
        let path = folder.join(name);
        let file = path.to_str().unwrap();
        let info = json(&["info", file, "--json"]);
        assert_eq!(info["vp_count"], 4);
        assert_eq!(info["memory"]["size"], 264_241_152);
        assert_eq!(info["memory"]["chunks"], serde_json::json!([{ "first_page": 0, "page_count": 64512 }]));
        assert_eq!(info["processors"][3]["paging"], "32-bit");
        assert_eq!(info["processors"][3]["architecture"], "x86");
        assert!(text(&["info", file, "--keys"]).contains("implemented_physical_address_bits = "));

        let registers = json(&["registers", file, "--json"]);
        for (vp, rcx) in ["0x4", "0x0", "0x0", "0x0"].into_iter().enumerate() {
            assert_eq!(registers[vp]["registers"]["rcx"], rcx);
        }
        assert!(text(&["registers", file, "--vp", "0"]).contains("rcx 0000000000000004"));
        assert!(refused(&["registers", file, "--vp", "4"]).contains("no virtual processor 4"));

        assert!(refused(&["translate", file, "0xC0FFE"]).contains("1 of 1"));
        assert!(text(&["translate", file, "0xC0FFE", "--paging", "none"]).contains("0x00000000000c0ffe"));
        assert_eq!(json(&["images", file, "--json"])["images"], serde_json::json!([]));

        let raw = scratch.path().join("raw");
        text(&["memory", file, "--output", raw.to_str().unwrap()]);
        let bytes = fs::read(&raw).unwrap();
        assert_eq!(bytes.len(), 264_241_152);
        let words = bytes[0xC0FFE..].as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        assert!(words.take(3).eq([75_826_887, 1_235_222_542, 3_439_375_364]));
    }
}

/// Two pages on both sides of a gap, and a word in each.
fn with_gap(scratch: &Path) -> PathBuf {
    let mut machine = Machine::default();
    for (gpa, word) in [(0, b"lowmemry"), (1 << 32, b"highmemo")] {
        let mut memory = vec![0; 2 << 20];
        memory[0x1000..0x1008].copy_from_slice(word);
        machine.memory(gpa, memory);
    }
    machine.vp().set(Register::RIP, 0x1000).set(Register::CR3, 0x5000);
    machine.vp().set(Register::RIP, 0x1_0000_1000);
    let path = scratch.join("gap.vmrs");
    fs::write(&path, vmrs(&machine, &Options::default())).unwrap();
    path
}

#[test]
fn every_form_of_memory() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let file = file.to_str().unwrap();
    let out = scratch.path().join("out");
    let write = |format: &str| {
        text(&["memory", file, "--format", format, "--output", out.to_str().unwrap(), "--threads", "3"]);
    };
    write("raw");
    use std::os::unix::fs::FileExt;
    let raw = fs::File::open(&out).unwrap();
    let metadata = raw.metadata().unwrap();
    assert_eq!(metadata.len(), (1 << 32) + (2 << 20));
    assert!(metadata.blocks() * 512 < 1 << 20, "gaps and zeros take no room");
    let mut word = [0; 8];
    raw.read_exact_at(&mut word, (1 << 32) + 0x1000).unwrap();
    assert_eq!(&word, b"highmemo");

    write("lime");
    let lime = fs::read(&out).unwrap();
    let header = |at: usize| {
        let number = |at: usize| u64::from_le_bytes(*lime[at..].first_chunk().unwrap());
        (&lime[at..at + 4], number(at + 8), number(at + 16))
    };
    let second = 32 + (2 << 20);
    assert_eq!(header(0), (&b"EMiL"[..], 0, (2 << 20) - 1));
    assert_eq!(header(second), (&b"EMiL"[..], 1 << 32, (1 << 32) + (2 << 20) - 1));
    assert_eq!(lime.len(), 2 * second);
    assert_eq!(&lime[second + 32 + 0x1000..][..8], b"highmemo");
    let stream = viridian(&["memory", file, "--format", "lime", "--output", "-"]);
    assert!(stream.stdout == lime, "standard output gets the same bytes");

    // Nothing unfinished is left, and the saved state cannot be overwritten.
    let names: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let before = fs::read(file).unwrap();
    assert!(refused(&["memory", file, "--output", file]).contains("itself"));
    assert!(fs::read(file).unwrap() == before);
    assert!(refused(&["memory", file, "--output", "/no/such/folder/out"]).contains("/no/such/folder/out"));
}

/// A save of so many zeros that writing them takes a while, though they take no room.
fn long(scratch: &Path) -> PathBuf {
    let mut machine = Machine::default();
    machine.vp().set(Register::RIP, 0);
    machine.fill(0, 64 << 30, [0; 8]);
    let path = scratch.join("long.vmrs");
    fs::write(&path, vmrs(&machine, &Options { encoding: Encoding::Runs, ..Options::default() })).unwrap();
    path
}

/// Whatever ends the command early, nothing unfinished stays, what was there before stays, and the status tells the signal.
#[test]
fn signals_leave_nothing_unfinished() {
    let scratch = tempfile::tempdir().unwrap();
    let (file, out) = (long(scratch.path()), scratch.path().join("out"));
    fs::write(&out, "before").unwrap();
    let unfinished = || {
        let names = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".part")).count()
    };
    let wait_for = |what: &str, condition: &mut dyn FnMut() -> bool| {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {what}");
            thread::sleep(Duration::from_millis(5));
        }
    };
    let start = |shell: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell} \"$@\""), "sh", env!("CARGO_BIN_EXE_viridian")]);
        command.args(["saved-state", "memory", "--threads", "1", "--output"]).arg(&out).arg(&file);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        wait_for("unfinished file", &mut || unfinished() == 1);
        child
    };
    for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1] {
        let mut child = start("ulimit -c 0; exec env --default-signal");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(unfinished(), 0, "{signal:?}");
    }
    // As nohup starts it.
    let mut child = start("trap '' HUP; exec");
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "ignored signals stay ignored");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(unfinished(), 0);
    assert_eq!(fs::read_to_string(&out).unwrap(), "before");
}

/// A file that is there keeps its permissions, links stay and what they lead to is written, and what is no file is written to as it is.
#[test]
fn outputs_that_are_there() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let place = |name: &str| scratch.path().join(name);
    let command = |out: &Path| {
        viridian(&[
            "memory",
            "--format",
            "lime",
            "--output",
            out.to_str().unwrap(),
            "--json",
            file.to_str().unwrap(),
        ])
    };
    let write = |out: &Path| {
        let output = command(out);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    write(&place("new"));
    let image = fs::read(place("new")).unwrap();

    fs::write(place("secret"), "before").unwrap();
    for mode in [0o600, 0o640, 0o666] {
        fs::set_permissions(place("secret"), fs::Permissions::from_mode(mode)).unwrap();
        write(&place("secret"));
        assert_eq!(fs::metadata(place("secret")).unwrap().mode() & 0o7777, mode);
    }
    assert!(fs::read(place("secret")).unwrap() == image);

    // To a file, to a link to it, and to what is not there yet.
    fs::create_dir(place("folder")).unwrap();
    fs::write(place("folder/file"), "before").unwrap();
    for (link, target) in [("first", "folder/file"), ("second", "first"), ("dangling", "folder/new")] {
        symlink(target, place(link)).unwrap();
    }
    for (link, target) in [("second", "folder/file"), ("dangling", "folder/new")] {
        write(&place(link));
        assert!(fs::symlink_metadata(place(link)).unwrap().is_symlink(), "{link} is a link still");
        assert!(fs::read(place(target)).unwrap() == image);
    }
    symlink("loop", place("loop")).unwrap();
    let refused = command(&place("loop"));
    assert_eq!(refused.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Too many levels"), "{refused:?}");

    // A pipe, a device, a folder.
    mkfifoat(CWD, place("pipe"), Mode::RWXU).unwrap();
    let reader = thread::spawn({
        let pipe = place("pipe");
        move || fs::read(pipe).unwrap()
    });
    write(&place("pipe"));
    assert!(reader.join().unwrap() == image);
    write(Path::new("/dev/null"));
    let refused = command(&place("folder"));
    assert_eq!(refused.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Is a directory"), "{refused:?}");
    // The saved state itself is not written to through a link either.
    symlink(&file, place("itself")).unwrap();
    assert!(String::from_utf8_lossy(&command(&place("itself")).stderr).contains("itself"));
}

/// The command with standard output as the shell opens it for `redirection`, such as `>> file`.
fn redirected(words: &[&str], redirection: &str) -> Output {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("exec \"$@\" {redirection}"),
        "sh",
        env!("CARGO_BIN_EXE_viridian"),
        "saved-state",
    ]);
    command.args(words).output().unwrap()
}

/// Standard output can lead to the saved state as well as a name can.
#[test]
fn standard_output_is_not_the_saved_state() {
    let scratch = tempfile::tempdir().unwrap();
    let mut machine = Machine::default();
    machine.vp().set(Register::EFER, 0);
    machine.fill(0, 1 << 20, [1; 8]);
    let (bin, vsv) = bin_and_vsv(&machine, &Options::default());
    let place = |name: &str| scratch.path().join(name);
    fs::write(place("pair.bin"), bin).unwrap();
    fs::write(place("pair.vsv"), vsv).unwrap();
    let vmrs = with_gap(scratch.path());
    for (input, output) in [
        (&vmrs, &vmrs),
        (&place("pair.bin"), &place("pair.bin")),
        (&place("pair.bin"), &place("pair.vsv")),
        (&place("pair.vsv"), &place("pair.bin")),
    ] {
        let before = fs::read(output).unwrap();
        for how in [">>", "1<>"] {
            let words = ["memory", input.to_str().unwrap(), "--format", "lime", "--output", "-"];
            let done = redirected(&words, &format!("{how} '{}'", output.display()));
            let complaint = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(70), "{complaint}");
            assert!(complaint.contains("standard output is the saved state itself"), "{complaint}");
            assert!(fs::read(output).unwrap() == before, "{how} {}", output.display());
        }
    }
    // Another file may be added to.
    let words = ["memory", vmrs.to_str().unwrap(), "--format", "lime", "--output", "-"];
    let done = redirected(&words, &format!(">> '{}'", place("other").display()));
    assert!(done.status.success(), "{done:?}");
    assert!(fs::read(place("other")).unwrap() == viridian(&words).stdout);
}

/// An image of which only a part was taken is no image.
#[test]
fn an_image_that_was_cut_off_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let words = ["memory", file.to_str().unwrap(), "--format", "lime", "--output", "-"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_viridian"));
    command.arg("saved-state").args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{complaint}");
    assert!(complaint.contains("cannot write standard output: Broken pipe"), "{complaint}");
    // Of an answer, a reader may take what it needs.
    assert!(redirected(&["info", file.to_str().unwrap()], "| true").status.success());
}

/// A save with an entry in its replay log that is pending.
fn with_log(scratch: &Path) -> PathBuf {
    let path = with_gap(scratch);
    let mut file = fs::read(&path).unwrap();
    // The object table, which the entry restores. The writer's log follows it.
    let (table, log, size) = (0x2000, 0x3000, 0x1000);
    let contents = file[table..table + size].to_vec();
    file[log + 0x1000..log + 0x2000].copy_from_slice(&contents);
    let mut entry = Vec::new();
    entry.extend((table as u64).to_le_bytes());
    entry.extend((size as u32).to_le_bytes());
    entry.extend(0x1000_u64.to_le_bytes());
    entry.extend([0; 4]);
    entry.extend(crc32fast::hash(&contents).to_le_bytes());
    let crc = crc32fast::hash(&entry);
    entry[20..24].copy_from_slice(&crc.to_le_bytes());
    file[log + 34..log + 34 + entry.len()].copy_from_slice(&entry);
    file[log + 8] = 1;
    file[log + 4..log + 8].fill(0);
    let crc = crc32fast::hash(&file[log..log + 34]);
    file[log + 4..log + 8].copy_from_slice(&crc.to_le_bytes());
    file[table..table + size].fill(0xAA);
    fs::write(&path, file).unwrap();
    path
}

/// A command that is refused changes nothing, though it was to apply the log first.
#[test]
fn a_refused_command_applies_no_log() {
    let scratch = tempfile::tempdir().unwrap();
    let path = with_log(scratch.path());
    let file = path.to_str().unwrap();
    let before = fs::read(file).unwrap();
    let folder = scratch.path().to_str().unwrap();
    let refusals: [(&[&str], &str); 9] = [
        (&["memory", "--output", file], "itself"),
        (&["memory", "--output", "/no/such/folder/out"], "No such file"),
        (&["memory", "--output", folder], "Is a directory"),
        (&["registers", "--vp", "99"], "no virtual processor 99"),
        (&["registers", "--vtl", "1"], "virtual trust level 1"),
        (&["translate", "0", "--vp", "99"], "no virtual processor 99"),
        (&["images", "--vp", "99", "--paging", "none"], "no virtual processor 99"),
        (&["images", "--paging", "none", "--from", "1", "--to", "0"], "no addresses from 0x1 to 0x0"),
        (&["memory", "--output", "-"], "itself"),
    ];
    for (words, why) in refusals {
        let words = [&[words[0], file, "--apply-log"], &words[1..]].concat();
        let output = redirected(&words, &format!("1<> '{file}'"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{words:?}: {complaint}");
        assert!(complaint.contains(why), "{words:?}: {complaint}");
        assert!(fs::read(file).unwrap() == before, "{words:?} changed the file");
    }
    assert_eq!(json(&["info", file, "--json"])["pending_log_entries"], 1);
    assert_eq!(json(&["info", file, "--json", "--apply-log"])["pending_log_entries"], 0);
    assert!(fs::read(file).unwrap() != before);
}

/// A limit on the size of files is told, and the log stays pending.
#[test]
fn a_log_that_cannot_be_written_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_log(scratch.path());
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -c 0; ulimit -f 1; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_viridian"),
        "saved-state",
    ]);
    let output = command.args(["info", "--apply-log"]).arg(&file).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(complaint.contains("File too large"), "{complaint}");
    assert_eq!(json(&["info", file.to_str().unwrap(), "--json"])["pending_log_entries"], 1);
}

/// Only .vmrs files have a log.
#[test]
fn logs_of_what_has_none() {
    let scratch = tempfile::tempdir().unwrap();
    let mut machine = Machine::default();
    machine.vp().set(Register::EFER, 0);
    machine.fill(0, 1 << 20, [1; 8]);
    let (bin, vsv) = bin_and_vsv(&machine, &Options::default());
    for (name, bytes) in [("pair.bin", bin), ("pair.vsv", vsv)] {
        fs::write(scratch.path().join(name), bytes).unwrap();
    }
    for name in ["pair.bin", "pair.vsv"] {
        let complaint = refused(&["info", scratch.path().join(name).to_str().unwrap(), "--apply-log"]);
        assert!(complaint.contains("no replay log"), "{complaint}");
    }
    let pipe = scratch.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    for path in [pipe.as_path(), scratch.path(), Path::new("/dev/zero")] {
        let complaint = refused(&["info", path.to_str().unwrap(), "--apply-log"]);
        assert!(complaint.contains("not a regular file"), "{complaint}");
    }
}

#[test]
fn images_that_are_not_there() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let words = ["images", file.to_str().unwrap(), "--paging", "none", "--to", "0xfff"];
    let output = viridian(&words);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "viridian: found no images from 0x0 to 0xfff\n");
    assert!(
        refused(&[&words[..], &["--from", "0x1000"]].concat()).contains("no addresses from 0x1000 to 0xfff")
    );
}

#[test]
fn gdb_opens_elf_cores() {
    if Command::new("gdb").arg("--version").output().is_err() {
        skipped("gdb is not installed");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let core = scratch.path().join("core");
    text(&["memory", file.to_str().unwrap(), "--format", "elf-core", "--output", core.to_str().unwrap()]);
    let open = format!("core-file {}", core.display());
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-ex", &open]);
    for command in ["p $pc", "x/s $pc", "thread 2", "p $pc", "x/s $pc"] {
        gdb.args(["-ex", command]);
    }
    let answer = String::from_utf8_lossy(&gdb.output().unwrap().stdout).into_owned();
    for part in ["0x1000", "\"lowmemry\"", "0x100001000", "\"highmemo\""] {
        assert!(answer.contains(part), "{part} is missing from:\n{answer}");
    }
}

#[test]
fn damage_is_told_with_the_file() {
    let scratch = tempfile::tempdir().unwrap();
    let file = with_gap(scratch.path());
    let mut bytes = fs::read(&file).unwrap();
    bytes[0x2010] ^= 1;
    fs::write(&file, bytes).unwrap();
    let complaint = refused(&["info", file.to_str().unwrap()]);
    assert!(complaint.contains("gap.vmrs: damaged file: object entry at offset 0x2008"), "{complaint}");
    assert!(refused(&["info", "/no/such.vmrs"]).contains("/no/such.vmrs"));
}

/// Halves that cannot belong together are refused or complained about by every subcommand, and so are files that were cut short.
#[test]
fn halves_of_different_saves_and_cut_files() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |name: &str, mebibytes: u64| {
        let mut machine = Machine::default();
        machine.vp().set(Register::EFER, 0);
        machine.fill(0, mebibytes << 20, [1; 8]);
        let (bin, vsv) = bin_and_vsv(&machine, &Options::default());
        let path = scratch.path().join(name);
        let place = move |extension: &str| path.with_extension(extension);
        fs::write(place("bin"), bin).unwrap();
        fs::write(place("vsv"), vsv).unwrap();
        place
    };
    let (small, large) = (write("small", 3), write("large", 5));
    let out = scratch.path().join("out");
    let (out, mixed) = (out.to_str().unwrap(), scratch.path().join("mixed.vsv"));
    let subcommands: [&[&str]; 4] =
        [&["info"], &["registers"], &["memory", "--output", out], &["translate", "0", "--paging", "none"]];
    let ask = |words: &[&str], file: &Path| {
        let mut all = vec![words[0], file.to_str().unwrap()];
        all.extend(&words[1..]);
        let output = viridian(&all);
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    fs::copy(small("vsv"), &mixed).unwrap();
    fs::copy(large("bin"), mixed.with_extension("bin")).unwrap();
    for words in subcommands {
        let (status, complaint) = ask(words, &mixed);
        assert_eq!(status, Some(70), "{words:?}");
        assert!(complaint.contains("different saves: memory block 3 is saved"), "{complaint}");
    }
    fs::copy(large("vsv"), &mixed).unwrap();
    fs::copy(small("bin"), mixed.with_extension("bin")).unwrap();
    for words in subcommands {
        let (status, complaint) = ask(words, &mixed);
        assert!(complaint.contains("mixed.bin lacks 2 blocks"), "{complaint}");
        let is_image = words[0] == "memory";
        assert_eq!(status, Some(if is_image { 70 } else { 0 }), "{words:?}");
    }
    assert!(!Path::new(out).exists());
    for half in ["bin", "vsv"] {
        let bytes = fs::read(small(half)).unwrap();
        fs::write(small(half), &bytes[..bytes.len() - 1]).unwrap();
        let (status, complaint) = ask(&["info"], &small("bin"));
        assert_eq!(status, Some(0));
        assert!(complaint.contains(&format!("small.{half} is 1 byte shorter")), "{complaint}");
        fs::write(small(half), bytes).unwrap();
    }
    assert_eq!(ask(&["info"], &small("bin")), (Some(0), String::new()));
}

/// What a file says is shown, and does not steer the terminal.
#[test]
fn files_do_not_steer_the_terminal() {
    let scratch = tempfile::tempdir().unwrap();
    let mut machine = Machine::default();
    machine.vp().set(Register::EFER, 0);
    machine.fill(0, 1 << 20, [0; 8]);
    let evil = "\x1b[2J\u{202e}\r\nfile good";
    machine.keys = vec![
        (evil.into(), NewValue::String(evil.into())),
        ("savedstate/type".into(), NewValue::String(evil.into())),
    ];
    let path = scratch.path().join("evil.vmrs");
    fs::write(&path, vmrs(&machine, &Options::default())).unwrap();
    for json in [&[][..], &["--json"]] {
        let shown = text(&[&["info", "--keys", path.to_str().unwrap()], json].concat());
        assert!(!shown.contains(['\x1b', '\r']), "{shown:?}");
        // JSON is for programs.
        assert!(!json.is_empty() || !shown.contains('\u{202e}'), "{shown:?}");
        assert!(shown.contains("[2J"), "{shown:?}");
    }
}

/// A file is named once, by the name that was given, and its name does not steer the terminal either.
#[test]
fn names_of_files_in_messages() {
    let scratch = tempfile::tempdir().unwrap();
    let good = with_gap(scratch.path());
    let evil = scratch.path().join("\x1b[2J.vmrs");
    let (good, evil) = (good.to_str().unwrap(), evil.to_str().unwrap());
    assert_eq!(refused(&["info", evil]).matches(r"\u{1b}[2J.vmrs").count(), 1);
    let unwritable = format!("{evil}/out");
    let complaint = refused(&["memory", good, "--output", &unwritable]);
    assert!(!complaint.contains(".part") && complaint.matches("[2J").count() == 1, "{complaint}");
    fs::copy(good, evil).unwrap();
    assert!(refused(&["memory", evil, "--output", evil]).contains("itself"));
    fs::write(scratch.path().join("\x1b[2J.bin"), "no saved state").unwrap();
    for name in ["\x1b[2J.vmrs", "\x1b[2J.bin"] {
        let output = viridian(&["info", scratch.path().join(name).to_str().unwrap()]);
        for bytes in [&output.stdout, &output.stderr] {
            assert!(!bytes.contains(&0x1B), "{output:?}");
        }
    }
    let complaint = refused(&["memory", evil, "--output", evil]);
    assert!(!complaint.contains('\x1b'), "{complaint}");
    let nothing = refused(&["info", "/no/such.vmrs"]);
    assert_eq!(nothing, "viridian: cannot open /no/such.vmrs: No such file or directory (os error 2)\n");
}

/// A file that is whole by itself has no other half.
#[test]
fn a_block_that_is_missing() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("lacking.vmrs");
    let file = path.to_str().unwrap();
    for (missing, wanted) in [
        (
            1,
            "lacks 1 block of 1 MiB of the memory that the machine had; it is block 0: the file is incomplete\n",
        ),
        (
            2,
            "lacks 2 blocks of 1 MiB of the memory that the machine had; the first of them is block 0: the file is incomplete\n",
        ),
    ] {
        let mut machine = Machine::default();
        machine.vp().set(Register::EFER, 0);
        // One range of memory, described (version and flags, pages, first saved and first guest page, the rest) and never saved.
        let words: [u64; 6] = [3, missing * 256, 0, 0, 0, 0];
        let block = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        machine.keys = vec![("savedstate/RamMemoryBlock0".into(), NewValue::Array(block))];
        fs::write(&path, vmrs(&machine, &Options::default())).unwrap();
        let output = viridian(&["info", file]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaint.ends_with(wanted), "{complaint}");
    }
}

/// Only files are read: what is no file could keep the command waiting for ever.
#[test]
fn what_is_no_file_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let pipe = scratch.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    for path in [pipe.as_path(), scratch.path(), Path::new("/dev/zero")] {
        let complaint = refused(&["info", path.to_str().unwrap()]);
        assert!(complaint.contains("not a regular file"), "{complaint}");
    }
}
