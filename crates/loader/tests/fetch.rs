// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fetching against a small signed archive on disk (`archive/`, made by `archive/make`), whole and spoilt, with the
//! real apt; and against the real archive where a network reaches it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use loader::debian::{self, DebianKernel, FetchError, Mode, Options, Progress, Silent};
use loader::{MemoryMap, MemoryRange, RangeKind, linux};

/// Says that a test did not run, past the test harness, which keeps what passing tests print.
fn skipped(test: &str, why: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// The cache folder's name: apt must take whatever a user calls a folder.
const CACHE: &str = "cache of \"mine\"; #1 $(PWD) 100%";

/// A copy of the archive that a test may spoil, and a cache folder.
struct Archive {
    folder: tempfile::TempDir,
}

impl Archive {
    /// Makes the copy, or says why the test cannot run.
    fn new(test: &str) -> Option<Self> {
        if Command::new("apt-get").arg("--version").output().is_err() {
            skipped(test, "there is no apt on this machine");
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive"), folder.path());
        Some(Self { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            mirror: format!("file:{}", self.path("debian").display()),
            keyring: self.path("keyring.gpg"),
            ..Options::new(self.path(CACHE))
        }
    }

    fn fetch(&self) -> Result<DebianKernel, FetchError> {
        debian::fetch(&self.options(), &Silent)
    }

    /// Replaces a text in a file by another of the same length.
    fn spoil(&self, name: &str, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        let mut bytes = fs::read(self.path(name)).expect(name);
        let at = bytes.windows(from.len()).position(|window| window == from).expect("the text to be spoilt");
        bytes[at..at + to.len()].copy_from_slice(to);
        fs::write(self.path(name), bytes).expect(name);
    }

    /// The sentence with which the archive is refused for not being verified; nothing of it must be kept.
    fn refusal(&self) -> String {
        let error = self.fetch().expect_err("a spoilt archive must be refused");
        assert!(matches!(error, FetchError::Unverified { .. }), "{error:?}");
        let sentence = error.to_string();
        assert!(sentence.contains("could not be verified and was refused"), "{sentence}");
        assert!(!sentence.contains('\n'), "{sentence}");
        let kept: Vec<_> =
            fs::read_dir(self.path(CACHE).join("debian/bookworm-cloud-amd64")).expect("the cache").collect();
        assert_eq!(kept.len(), 1, "only the lock stays: {kept:?}");
        sentence
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the archive").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).expect("a folder of the copy");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a file of the copy");
        }
    }
}

/// Runs tests of this program again, as a process of their own whose environment `change` has changed.
fn rerun(tests: &[&str], change: impl FnOnce(&mut Command) -> &mut Command) {
    let mut command = Command::new(std::env::current_exe().expect("the test program's path"));
    let output = change(&mut command).arg("--exact").args(tests).output().expect("this very program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let names = tests.iter().filter(|name| !name.starts_with('-')).count();
    assert!(text.contains(&format!("{names} passed")), "{text}");
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).expect("a fetched file")
}

/// Keeps the sentences it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn say(&self, sentence: &str) {
        self.0.lock().expect("no panic").push(sentence.to_owned());
    }
    fn begin(&self, _step: &str, _bytes: Option<u64>) {}
    fn advance(&self, done: u32) {
        assert!(done <= 1000);
    }
    fn end(&self) {}
}

#[test]
fn a_signed_archive_gives_its_files_and_later_runs_need_no_archive() {
    let Some(archive) = Archive::new("a_signed_archive") else { return };
    let heard = Heard::default();
    let kernel = debian::fetch(&archive.options(), &heard).expect("a good archive");
    assert_eq!(kernel.version, "6.1.1-1");
    assert_eq!(content(&kernel.kernel), "the kernel of the test archive\n");
    assert_eq!(kernel.modules.iter().map(|path| content(path)).collect::<Vec<_>>(), ["its module\n"]);
    assert_eq!(content(&kernel.busybox), "its busybox\n");
    let heard = heard.0.into_inner().expect("no panic");
    assert_eq!(heard.len(), 1);
    assert!(
        heard[0]
            .starts_with("Downloading linux-image-6.1.0-1-cloud-amd64 6.1.1-1 and busybox-static 1:1.35.0-4")
    );

    fs::remove_dir_all(archive.path("debian")).expect("the archive goes away");
    assert_eq!(archive.fetch().expect("from the cache"), kernel);
    // Asking for news needs the archive, and its absence leaves the cache as it was.
    let refreshed = debian::fetch(&Options { refresh: true, ..archive.options() }, &Silent);
    assert!(matches!(refreshed, Err(FetchError::Apt { .. })), "{refreshed:?}");
    assert_eq!(archive.fetch().expect("from the cache"), kernel);
    // What a killed process left is cleared away.
    let left = archive.path(CACHE).join("debian/bookworm-cloud-amd64/work/lists/partial");
    fs::create_dir_all(&left).expect("the cache can be written");
    // A file that was cut short is noticed; without an archive it cannot be mended.
    fs::write(&kernel.kernel, "the").expect("the cache can be written");
    assert!(matches!(archive.fetch(), Err(FetchError::Apt { .. })));
    fs::create_dir(archive.path("debian")).expect("the archive comes back");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/debian"), &archive.path("debian"));
    assert_eq!(archive.fetch().expect("fetched again"), kernel);
    assert_eq!(content(&kernel.kernel), "the kernel of the test archive\n");
    assert!(!left.exists());
}

#[test]
fn an_unsigned_archive_is_refused() {
    let Some(archive) = Archive::new("an_unsigned_archive") else { return };
    let signed = content(&archive.path("debian/dists/bookworm/InRelease"));
    let release =
        signed.split("\n\n").nth(1).and_then(|text| text.split("-----BEGIN").next()).expect("a signed text");
    fs::write(archive.path("debian/dists/bookworm/Release"), release).expect("a release file");
    fs::remove_file(archive.path("debian/dists/bookworm/InRelease")).expect("no signature");
    archive.refusal();
    // Nor may one of several archives be unsigned.
    let Some(archive) = Archive::new("an_unsigned_archive") else { return };
    fs::write(archive.path("debian-security/dists/bookworm-security/InRelease"), release)
        .expect("a release file");
    archive.refusal();
}

/// What the system's apt is told to tolerate does not count here.
#[test]
fn a_lax_system_makes_no_difference() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lax = folder.path().join("apt.conf");
    let settings = "APT::Get::AllowUnauthenticated \"true\";\n\
        Acquire::AllowInsecureRepositories \"true\";\n\
        Acquire::AllowWeakRepositories \"true\";\n\
        Acquire::AllowDowngradeToInsecureRepositories \"true\";\n";
    fs::write(&lax, settings).expect("a configuration");
    rerun(&["an_unsigned_archive_is_refused", "a_changed_release_index_or_package_is_refused"], |command| {
        command.env("APT_CONFIG", &lax)
    });
}

#[test]
fn an_archive_signed_by_others_is_refused() {
    let Some(archive) = Archive::new("an_archive_signed_by_others") else { return };
    if !Path::new(debian::ARCHIVE_KEYRING).is_file() {
        skipped("an_archive_signed_by_others", "there is no keyring of Debian on this machine");
        return;
    }
    fs::copy(debian::ARCHIVE_KEYRING, archive.path("keyring.gpg")).expect("another keyring");
    let sentence = archive.refusal();
    assert!(
        sentence.contains("NO_PUBKEY") || sentence.contains("signature") || sentence.contains("key"),
        "{sentence}"
    );
}

#[test]
fn a_changed_release_index_or_package_is_refused() {
    type Spoil<'a> = (&'a str, &'a [u8], &'a [u8]);
    let cases: [Spoil<'_>; 3] = [
        ("debian/dists/bookworm/InRelease", b"Label: Test", b"Label: Tezt"),
        ("debian/dists/bookworm/main/binary-amd64/Packages", b"Version: 6.1.1-1", b"Version: 6.1.1-2"),
        ("debian/pool/busybox-static.deb", b"data.tar.xz ", b"data.tar    "),
    ];
    for (file, from, to) in cases {
        let Some(archive) = Archive::new("a_changed_file") else { return };
        archive.spoil(file, from, to);
        archive.refusal();
    }
}

#[test]
fn many_may_fetch_at_once() {
    let Some(archive) = Archive::new("many_may_fetch_at_once") else { return };
    let heard = Heard::default();
    std::thread::scope(|scope| {
        let fetch = || debian::fetch(&archive.options(), &heard).expect("a good archive");
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(fetch)).collect();
        let kernels: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(kernels.windows(2).all(|pair| pair[0] == pair[1]));
    });
    assert_eq!(heard.0.into_inner().expect("no panic").len(), 1, "one fetched, the others found the result");
}

#[test]
fn a_machine_without_the_keys_is_told_of_the_kernel_option() {
    let Some(archive) = Archive::new("a_machine_without_the_keys") else { return };
    fs::remove_file(archive.path("keyring.gpg")).expect("no keys");
    let error = archive.fetch().expect_err("no keys");
    assert!(error.is_unsupported_host());
    assert!(error.to_string().contains("--kernel"), "{error}");
}

#[test]
fn a_machine_without_apt_is_told_of_the_kernel_option() {
    rerun(&["without_apt", "--ignored"], |command| command.env("PATH", "/nonexistent"));
}

/// The inner half of the test before: the search path is the process's, so that it has one of its own.
#[test]
#[ignore = "run by a_machine_without_apt_is_told_of_the_kernel_option"]
fn without_apt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keyring = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/keyring.gpg");
    let options = Options { keyring, ..Options::new(folder.path()) };
    let error = debian::fetch(&options, &Silent).expect_err("no apt");
    assert!(matches!(error, FetchError::NoApt { .. }), "{error:?}");
    assert!(error.is_unsupported_host());
    assert!(error.to_string().contains("--kernel"), "{error}");
}

#[test]
fn a_mirror_that_cannot_stand_in_a_source_list_is_refused() {
    let Some(archive) = Archive::new("a_mirror_that_cannot_stand") else { return };
    for mirror in ["", "file:/a b", "file:/a\ndeb [trusted=yes] file:/b", "[trusted=yes]"] {
        let options = Options { mirror: mirror.to_owned(), ..archive.options() };
        let error = debian::fetch(&options, &Silent).expect_err(mirror);
        assert!(matches!(error, FetchError::BadOption { what: "mirror", .. }), "{error:?}");
    }
}

/// The archive of Debian itself. What it gives stays in the build folder, so that it is downloaded once.
#[test]
fn debian_12_gives_a_kernel_that_loads() {
    let options = Options::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    let kernel = match debian::fetch(&options, &Silent) {
        Ok(kernel) => kernel,
        Err(error @ (FetchError::NoApt { .. } | FetchError::NoKeyring { .. } | FetchError::Apt { .. })) => {
            skipped("debian_12_gives_a_kernel_that_loads", error);
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(kernel.version.starts_with("6.1."), "{kernel:?}");
    assert_eq!(kernel.modules.len(), 1, "{kernel:?}");
    let memory = MemoryMap::new([MemoryRange { start: 0, length: 128 << 20, kind: RangeKind::Usable }]);
    let memory = memory.expect("a map in order");
    let initrd = debian::initramfs(&kernel, &Mode::Summary).expect("an initramfs");
    let file = fs::read(&kernel.kernel).expect("the kernel");
    let guest = linux::Linux {
        kernel: &file,
        initrd: Some(&initrd),
        command_line: "console=ttyS0",
        memory: &memory,
        rsdp: None,
    };
    let image = linux::load(&guest).expect("a stock kernel loads");
    assert_eq!(image.entry.rip, (16 << 20) + 0x200, "at the address that stock kernels prefer");
    let sizes: usize = image.segments.iter().map(|segment| segment.bytes.len()).sum();
    assert!(sizes > 10 << 20, "kernel and initramfs are in the image");
}
