// SPDX-License-Identifier: MIT OR Apache-2.0
//! The "newc" cpio format, the one that the Linux kernel unpacks (Linux Documentation/driver-api/early-userspace/
//! buffer-format.rst). A member is a header of ASCII hexadecimal fields, its name and its content, each padded
//! to four bytes.

/// The file type bits of a member's mode, as `stat` knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum FileType {
    Directory = 0o040_000,
    CharacterDevice = 0o020_000,
    Regular = 0o100_000,
    Symlink = 0o120_000,
}

/// A member without its content.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// Path without a leading slash.
    pub(super) name: &'a str,
    pub(super) file_type: FileType,
    /// Permission bits, 0 to 0o7777.
    pub(super) permissions: u32,
    /// Major and minor number of a device node; zero otherwise.
    pub(super) device: (u32, u32),
}

/// The name of the member that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Appends one member to `archive`. Owner, group and modification time are always zero, so that equal input
/// gives equal archives. `inode` is unique for each member: equal inode numbers would mean hard links.
///
/// The content is shorter than 4 GiB and the name shorter than a page; [`super::Builder`] sees to both.
pub(super) fn append(archive: &mut Vec<u8>, inode: u32, member: Member<'_>, content: &[u8]) {
    let mode = member.file_type as u32 | member.permissions;
    let links = if member.file_type == FileType::Directory { 2 } else { 1 };
    header(
        archive,
        [inode, mode, links, content.len() as u32, member.device.0, member.device.1],
        member.name,
    );
    archive.extend_from_slice(content);
    pad(archive);
}

/// Appends the member that ends the archive.
pub(super) fn finish(archive: &mut Vec<u8>) {
    header(archive, [0, 0, 1, 0, 0, 0], TRAILER);
}

fn header(archive: &mut Vec<u8>, [inode, mode, links, size, major, minor]: [u32; 6], name: &str) {
    const OWNER: u32 = 0;
    const GROUP: u32 = 0;
    const MODIFIED: u32 = 0;
    const HOST_DEVICE: (u32, u32) = (0, 0);
    const CHECKSUM: u32 = 0;
    let name_size = name.len() as u32 + 1;
    archive.extend_from_slice(b"070701");
    for field in [
        inode,
        mode,
        OWNER,
        GROUP,
        links,
        MODIFIED,
        size,
        HOST_DEVICE.0,
        HOST_DEVICE.1,
        major,
        minor,
        name_size,
        CHECKSUM,
    ] {
        archive.extend_from_slice(format!("{field:08X}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}
