// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

#[test]
fn of_the_systems_settings_only_transport_and_age_count() {
    let system = "Acquire \"\";\n\
        Acquire::http \"\";\n\
        Acquire::http::Proxy \"http://proxy:3128\";\n\
        Acquire::https::CaInfo \"/etc/ssl/own.pem\";\n\
        Acquire::httpx \"1\";\n\
        Acquire::Retries \"7\";\n\
        Acquire::Check-Valid-Until \"false\";\n\
        Acquire::AllowInsecureRepositories \"1\";\n\
        APT::Get::AllowUnauthenticated \"1\";\n\
        Dir::Etc::Parts \"apt.conf.d\";\n\
        APT::Update::Post-Invoke:: \"rm -rf /\";\n";
    let kept = configuration(system);
    let kept: Vec<_> = kept.strip_prefix(OWN_SETTINGS).expect("ours come first").lines().collect();
    let expected = [
        "Acquire::http \"\";",
        "Acquire::http::Proxy \"http://proxy:3128\";",
        "Acquire::https::CaInfo \"/etc/ssl/own.pem\";",
        "Acquire::Retries \"7\";",
        "Acquire::Check-Valid-Until \"false\";",
    ];
    assert_eq!(kept, expected);
}

#[test]
fn a_release_has_its_updates_and_its_security_archive() -> Result<(), FetchError> {
    let mut options = Options { keyring: "/keys.gpg".into(), ..Options::new("/cache") };
    options.mirror = "http://mirror/debian/".to_owned();
    let expected = "deb [arch=amd64 signed-by=/keys.gpg] http://mirror/debian bookworm main\n\
        deb [arch=amd64 signed-by=/keys.gpg] http://mirror/debian bookworm-updates main\n\
        deb [arch=amd64 signed-by=/keys.gpg] http://mirror/debian-security bookworm-security main\n";
    assert_eq!(sources(&options)?, expected);
    Ok(())
}

#[test]
fn status_lines_tell_the_advance() {
    assert_eq!(permille("dlstatus:2:12.6863:Retrieving file 2 of 2 (3s remaining)"), Some(126));
    assert_eq!(permille("dlstatus:9:100.0000:Retrieving file 9 of 9"), Some(1000));
    assert_eq!(permille("dlstatus:1:-5:"), Some(0));
    assert_eq!(permille("dlstatus:1:1e99:"), Some(1000));
    assert_eq!(permille("dlstatus:1:NaN:"), Some(0));
    for line in ["dlstatus:1", "dlstatus:1:", "dlstatus:1:x:y", "Get:1 http://mirror/debian", ""] {
        assert_eq!(permille(line), None, "{line}");
    }
}

#[test]
fn records_are_read_field_by_field() {
    let record =
        "Package: a\nVersion: 1:2-3\nDepends: b (= 1), c\nDescription: x\n Version: no\n\nPackage: d\n";
    assert_eq!(field(record, "Version"), Some("1:2-3"));
    assert_eq!(field(record, "Depends"), Some("b (= 1), c"));
    assert_eq!(field(record, "Vers"), None);
    assert_eq!(field("", "Version"), None);
    let record = "Depends: dracut | initramfs-tools (>= 0.120), linux-base-7 (= 7.2), linux-binary-7\n";
    let names: Vec<_> = dependencies(record).collect();
    assert_eq!(names, ["dracut", "initramfs-tools", "linux-base-7", "linux-binary-7"]);
    assert_eq!(dependencies("Depends:\n").count(), 0);
}

#[test]
fn the_cause_is_told_rather_than_its_consequence() {
    let complaint = "W: GPG error: NO_PUBKEY 0123\nE: The repository is not signed.\n";
    assert_eq!(first_complaint(complaint), Some("GPG error: NO_PUBKEY 0123"));
    assert_eq!(first_complaint("N: note\nE: Unable to fetch\n"), Some("Unable to fetch"));
    assert_eq!(first_complaint("Segmentation fault\n"), None);
}
