// SPDX-License-Identifier: MIT OR Apache-2.0
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;

use super::*;

/// A member as a reader of the format finds it.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: String,
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

/// Reads an archive by the description of the format, on its own.
fn read(archive: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut inodes = std::collections::BTreeSet::new();
    let mut at = 0;
    loop {
        assert_eq!(at % 4, 0);
        let header = str::from_utf8(&archive[at..at + 110]).expect("headers are ASCII");
        assert_eq!(&header[..6], "070701");
        let field = |index: usize| {
            u32::from_str_radix(&header[6 + index * 8..14 + index * 8], 16).expect("hexadecimal")
        };
        let (inode, mode, name_size, size) = (field(0), field(1), field(11) as usize, field(6) as usize);
        assert_eq!([field(2), field(3), field(5), field(7), field(8), field(12)], [0; 6]);
        let name_end = at + 110 + name_size;
        assert_eq!(archive[name_end - 1], 0);
        let name = str::from_utf8(&archive[at + 110..name_end - 1]).expect("names are text").to_owned();
        let start = name_end.next_multiple_of(4);
        at = (start + size).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(at, archive.len());
            return found;
        }
        assert!(inodes.insert(inode), "two members with inode {inode} would be one file");
        let content = archive[start..start + size].to_vec();
        found.push(Found { name, mode, device: (field(9), field(10)), content });
    }
}

fn found(name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Found {
    Found { name: name.to_owned(), mode, device, content: content.to_vec() }
}

#[test]
fn members_are_written_with_their_parents_in_path_order() -> Result<(), BuildError> {
    let mut root = Builder::new();
    root.file("etc/conf.d/a", 0o640, b"12345".to_vec())?;
    root.symlink("etc-link", "etc")?;
    root.character_device("dev/console", 0o600, (5, 1))?;
    root.directory("etc", 0o700)?;
    let expected = [
        found("dev", 0o40755, (0, 0), b""),
        found("dev/console", 0o20600, (5, 1), b""),
        found("etc", 0o40700, (0, 0), b""),
        found("etc-link", 0o120777, (0, 0), b"etc"),
        found("etc/conf.d", 0o40755, (0, 0), b""),
        found("etc/conf.d/a", 0o100640, (0, 0), b"12345"),
    ];
    assert_eq!(read(&root.finish()), expected);
    Ok(())
}

#[test]
fn paths_that_lead_elsewhere_are_refused() -> Result<(), BuildError> {
    let mut root = Builder::new();
    let long = "x".repeat(4096);
    for path in ["", "/etc", "etc/", "a//b", "..", "a/../b", "./a", "a\0b", &long] {
        let refused = root.file(path, 0o644, Vec::new()).err();
        assert!(matches!(refused, Some(BuildError::BadPath { .. })), "{path:?}");
    }
    assert!(matches!(root.symlink("a", "").err(), Some(BuildError::BadPath { .. })));
    root.file("a", 0o644, Vec::new())?;
    let refused = root.directory("a/b", 0o755).err().map(|error| error.to_string());
    let sentence = r#""a/b" cannot be packed into the initramfs, since "a" is not a directory there"#;
    assert_eq!(refused.as_deref(), Some(sentence));
    assert_eq!(read(&root.finish()).len(), 1, "what was refused left nothing behind");
    Ok(())
}

#[test]
fn a_folder_is_packed_as_it_is() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = |name| folder.path().join(name);
    fs::create_dir_all(path("bin/deep"))?;
    fs::write(path("bin/tool"), "tool")?;
    fs::set_permissions(path("bin/tool"), fs::Permissions::from_mode(0o4755))?;
    fs::set_permissions(path("bin/deep"), fs::Permissions::from_mode(0o711))?;
    symlink("/outside/of/it", path("link"))?;
    let pack = || -> Result<_, BuildError> { Ok(Builder::new().tree(folder.path())?.finish()) };
    let archive = pack()?;
    let mut members = read(&archive);
    let bin = members.remove(0);
    assert_eq!((bin.name.as_str(), bin.mode & !0o777), ("bin", 0o40000), "with whatever umask the test has");
    let expected = [
        found("bin/deep", 0o40711, (0, 0), b""),
        found("bin/tool", 0o104755, (0, 0), b"tool"),
        found("link", 0o120777, (0, 0), b"/outside/of/it"),
    ];
    assert_eq!(members, expected);
    fs::write(path("bin/tool"), "tool")?;
    assert_eq!(pack()?, archive, "times do not count");
    let absent = Builder::new().tree(&path("absent")).err();
    assert!(matches!(absent, Some(BuildError::Read { .. })));
    Ok(())
}

proptest! {
    /// What goes in comes out, in path order.
    #[test]
    fn files_come_back_out(files in prop::collection::btree_map("[a-z.]{3,12}", prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
        let mut root = Builder::new();
        for (name, content) in files.iter().rev() {
            root.file(name, 0o644, content.clone())?;
        }
        let back: Vec<_> = read(&root.finish()).into_iter().map(|found| (found.name, found.content)).collect();
        let expected: Vec<_> = files.into_iter().collect();
        prop_assert_eq!(back, expected);
    }
}
