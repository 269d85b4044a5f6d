// SPDX-License-Identifier: MIT OR Apache-2.0
//! An apt of our own: same programs, other folders, other sources, one keyring.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::at;
use super::{FetchError, Options, Progress, Suite};

/// A package that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) version: String,
}

/// The packages that make up a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelPackages {
    /// The package that the kernel is named by, and up to Linux 6.12 the only one.
    pub(super) image: Candidate,
    /// What it has handed on to other packages: the kernel's file, modules, lists.
    parts: Vec<Candidate>,
}

impl KernelPackages {
    pub(super) fn all(&self) -> impl Iterator<Item = &Candidate> {
        [&self.image].into_iter().chain(&self.parts)
    }
}

/// The settings that the system's apt configuration may contribute: how to reach an archive, and how old its
/// index may be. Nothing else of it counts, least of all what it may say about unsigned archives.
const SYSTEM_SETTINGS: [&str; 7] = [
    "Acquire::http",
    "Acquire::https",
    "Acquire::Retries",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
];

/// What the configuration file begins with. A user waits for the answer, so that apt gives up sooner than it would
/// by itself.
const OWN_SETTINGS: &str = r#"Dir::Etc::Main "/dev/null";
Dir::Etc::Parts "/dev/null";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"#;

/// What apt says of an archive or a package that is not what it was signed as.
const NOT_VERIFIED: [&str; 9] = [
    "not signed",
    "GPG error",
    "OpenPGP",
    "signature",
    "NO_PUBKEY",
    "Hash Sum mismatch",
    "unexpected size",
    "unauthenticated",
    "Clearsigned",
];

/// apt over one work folder.
#[derive(Debug)]
pub(super) struct Apt<'a> {
    options: &'a Options,
    work: &'a Path,
}

impl<'a> Apt<'a> {
    /// Writes configuration and source list into the empty folder `work`.
    pub(super) fn new(options: &'a Options, work: &'a Path) -> Result<Self, FetchError> {
        if !options.keyring.is_file() {
            return Err(FetchError::NoKeyring { path: options.keyring.clone() });
        }
        let sources = sources(options)?;
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = work.join(folder);
            fs::create_dir_all(&folder).map_err(at("create", &folder))?;
        }
        let apt = Self { options, work };
        apt.write("sources.list", &sources)?;
        apt.write("status", "")?;
        apt.write("apt.conf", &configuration(&system_configuration()?))?;
        Ok(apt)
    }

    pub(super) fn options(&self) -> &Options {
        self.options
    }

    /// Fetches the package lists; fails unless every one of them was verified.
    pub(super) fn update(&self, progress: &dyn Progress) -> Result<(), FetchError> {
        const STEP: &str = "read the package lists";
        self.run(STEP, self.command("apt-get").args(["-q", "update"]), progress)?;
        // apt refuses what it cannot verify, and fails if any archive could not be read. This asks it once more, list
        // by list, what it made of them; an archive without packages has no list.
        let mut targets = self.command("apt-get");
        targets.args(["indextargets", "--format", "$(TRUSTED)", "Created-By: Packages"]);
        let trust = self.run(STEP, &mut targets, &super::Silent)?;
        if trust.is_empty() || trust.lines().any(|line| line != "yes") {
            let reason = "apt does not trust all of its package lists".to_owned();
            return Err(FetchError::Unverified { mirror: self.options.mirror.clone(), reason });
        }
        Ok(())
    }

    /// The kernel that the flavour's meta-package stands for now.
    pub(super) fn kernel(&self) -> Result<KernelPackages, FetchError> {
        const IMAGE: &str = "linux-image-";
        let meta = format!("{IMAGE}{}", self.options.flavour.name());
        let record = self.show(&meta)?;
        let image = dependencies(&record).find(|name| name.starts_with(IMAGE));
        let image = image.ok_or_else(|| self.failed("find the kernel", format!("{meta} names no kernel")))?;
        let release = image.trim_start_matches(IMAGE);
        let record = self.show(image)?;
        let parts =
            dependencies(&record).filter(|name| name.starts_with("linux-") && name.ends_with(release));
        Ok(KernelPackages {
            image: self.candidate(image)?,
            parts: parts.map(|name| self.candidate(name)).collect::<Result<_, _>>()?,
        })
    }

    /// The version of package `name` that apt would install.
    pub(super) fn candidate(&self, name: &str) -> Result<Candidate, FetchError> {
        let record = self.show(name)?;
        match field(&record, "Version") {
            Some(version) => Ok(Candidate { name: name.to_owned(), version: version.to_owned() }),
            None => Err(self.failed("find a package", format!("the archive has no package {name}"))),
        }
    }

    /// How many bytes a download of `packages` will be.
    pub(super) fn download_size(&self, packages: &[&Candidate], folder: &Path) -> Result<u64, FetchError> {
        let mut command = self.download_command(packages, folder);
        command.arg("--print-uris");
        let uris = self.run("find the packages", &mut command, &super::Silent)?;
        // Each line: 'URI' FILE SIZE HASH
        Ok(uris.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()).sum())
    }

    /// Downloads `packages` into `folder`; fails unless each has the hash that the verified lists give.
    pub(super) fn download(
        &self,
        packages: &[&Candidate],
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<(), FetchError> {
        self.run("download the packages", &mut self.download_command(packages, folder), progress)?;
        Ok(())
    }

    /// Where [`Self::download`] has put `package`.
    pub(super) fn package_file(&self, package: &Candidate, folder: &Path) -> Result<PathBuf, FetchError> {
        // apt escapes an epoch's colon in the name; the version before the architecture is enough to find it.
        let prefix = format!("{}_", package.name);
        let entries = fs::read_dir(folder).map_err(at("read", folder))?;
        let mut names =
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        match names.next() {
            Some(entry) => Ok(entry.path()),
            None => {
                Err(self.failed("download the packages", format!("apt left no file for {}", package.name)))
            }
        }
    }

    fn download_command(&self, packages: &[&Candidate], folder: &Path) -> Command {
        let mut command = self.command("apt-get");
        command.args(["-q", "download"]).current_dir(folder);
        command.args(packages.iter().map(|package| format!("{}={}", package.name, package.version)));
        command
    }

    fn show(&self, package: &str) -> Result<String, FetchError> {
        let mut command = self.command("apt-cache");
        command.args(["show", "--no-all-versions", package]);
        self.run("find a package", &mut command, &super::Silent)
    }

    /// `program` with our configuration. What the configuration file sets comes before the system's settings,
    /// what stands here after all others, so that nothing can loosen it.
    fn command(&self, program: &'static str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.work.join("apt.conf")).env("LC_ALL", "C").env_remove("LANGUAGE");
        command.stdin(Stdio::null());
        let path = |name: &str, file: &str| format!("{name}={}", self.work.join(file).display());
        for setting in [
            path("Dir::State", ""),
            path("Dir::State::Lists", "lists"),
            path("Dir::State::status", "status"),
            path("Dir::Cache", "cache"),
            path("Dir::Etc::SourceList", "sources.list"),
        ] {
            command.args(["-o", &setting]);
        }
        for setting in [
            "Dir::Cache::pkgcache=",
            "Dir::Cache::srcpkgcache=",
            "Dir::Etc::SourceParts=/dev/null",
            "Dir::Etc::Trusted=/dev/null",
            "Dir::Etc::TrustedParts=/dev/null",
            "Dir::Etc::Preferences=/dev/null",
            "Dir::Etc::PreferencesParts=/dev/null",
            "Dir::Etc::netrc=/dev/null",
            "Dir::Etc::netrcparts=/dev/null",
            "APT::Architecture=amd64",
            "APT::Architectures=amd64",
            // The sandbox user could not enter a cache folder under root's home.
            "APT::Sandbox::User=root",
            "APT::Get::AllowUnauthenticated=false",
            "APT::Update::Error-Mode=any",
            "APT::Status-Fd=1",
            "Acquire::AllowInsecureRepositories=false",
            "Acquire::AllowWeakRepositories=false",
            "Acquire::AllowDowngradeToInsecureRepositories=false",
            "Acquire::Languages=none",
        ] {
            command.args(["-o", setting]);
        }
        command
    }

    /// Runs `command` to its end, telling `progress` of its advance; gives what it wrote apart from that.
    fn run(
        &self,
        step: &'static str,
        command: &mut Command,
        progress: &dyn Progress,
    ) -> Result<String, FetchError> {
        let errors = self.work.join("errors");
        command.stderr(File::create(&errors).map_err(at("create", &errors))?).stdout(Stdio::piped());
        let mut child = start(command)?;
        let mut output = String::new();
        if let Some(stdout) = child.stdout.take() {
            // A read error ends the loop as the end of the output does; the exit status then decides.
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                match permille(&line) {
                    Some(done) => progress.advance(done),
                    None => output.extend([&line, "\n"]),
                }
            }
        }
        let status = child.wait().map_err(|error| self.failed(step, error.to_string()))?;
        if status.success() {
            return Ok(output);
        }
        let complaint = fs::read_to_string(&errors).unwrap_or_default();
        let reason =
            first_complaint(&complaint).map_or_else(|| format!("apt ended with {status}"), str::to_owned);
        if NOT_VERIFIED.iter().any(|sign| complaint.contains(sign)) {
            return Err(FetchError::Unverified { mirror: self.options.mirror.clone(), reason });
        }
        Err(self.failed(step, reason))
    }

    fn failed(&self, step: &'static str, reason: String) -> FetchError {
        FetchError::Apt { step, mirror: self.options.mirror.clone(), reason }
    }

    fn write(&self, name: &str, content: &str) -> Result<(), FetchError> {
        let path = self.work.join(name);
        fs::write(&path, content).map_err(at("write", &path))
    }
}

/// Starts apt, or says that there is none.
fn start(command: &mut Command) -> Result<std::process::Child, FetchError> {
    let program = match command.get_program().to_str() {
        Some("apt-cache") => "apt-cache",
        Some("apt-config") => "apt-config",
        _ => "apt-get",
    };
    command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FetchError::NoApt { program },
        _ => at("start", Path::new(program))(error),
    })
}

/// What the system's apt is configured to, one setting a line.
fn system_configuration() -> Result<String, FetchError> {
    let mut command = Command::new("apt-config");
    command.arg("dump").env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = start(&mut command)?.wait_with_output().map_err(at("read from", Path::new("apt-config")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The configuration file: the system's files are shut out, the settings among them that may count are kept.
fn configuration(system: &str) -> String {
    let mut text = String::from(OWN_SETTINGS);
    for line in system.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let counts = |setting: &str| {
            name.strip_prefix(setting).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if SYSTEM_SETTINGS.into_iter().any(counts) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// URL and suite of each archive that makes up a release.
fn archives(options: &Options) -> Vec<(String, String)> {
    let main = options.mirror.trim_end_matches('/');
    let name = options.suite.name();
    match options.suite {
        Suite::Bookworm | Suite::Trixie => vec![
            (main.to_owned(), name.to_owned()),
            (main.to_owned(), format!("{name}-updates")),
            (format!("{main}-security"), format!("{name}-security")),
        ],
        Suite::Sid => vec![(main.to_owned(), name.to_owned())],
    }
}

/// The source list.
fn sources(options: &Options) -> Result<String, FetchError> {
    let keyring = option("keyring", options.keyring.display().to_string())?;
    option("mirror", options.mirror.clone())?;
    let line = |(url, suite)| format!("deb [arch=amd64 signed-by={keyring}] {url} {suite} main\n");
    Ok(archives(options).into_iter().map(line).collect())
}

/// `value`, if it can stand in a source list.
fn option(what: &'static str, value: String) -> Result<String, FetchError> {
    let foreign = |c: char| c.is_whitespace() || c.is_control() || "[]#\"'\\,".contains(c);
    if value.is_empty() || value.contains(foreign) {
        return Err(FetchError::BadOption { what, value });
    }
    Ok(value)
}

/// The advance in 1/1000, if `line` is one of apt's status lines (`dlstatus:NUMBER:PERCENT:TEXT`).
fn permille(line: &str) -> Option<u32> {
    let mut parts = line.strip_prefix("dlstatus:")?.split(':');
    let percent: f64 = parts.nth(1)?.parse().ok()?;
    Some((percent.clamp(0.0, 100.0) * 10.0) as u32)
}

/// The value of a field in a package's record.
fn field<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// The names of the packages that a package's record says it depends on, alternatives among them.
fn dependencies(record: &str) -> impl Iterator<Item = &str> {
    let depends = field(record, "Depends").unwrap_or_default();
    depends.split([',', '|']).filter_map(|dependency| dependency.split_whitespace().next())
}

/// The line that says best what was wrong: what apt warned of before its first error, since that is the cause,
/// else the error.
fn first_complaint(complaint: &str) -> Option<&str> {
    let line = |mark: &'static str| complaint.lines().find_map(move |line| line.strip_prefix(mark));
    line("W: ").or_else(|| line("E: ")).map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
