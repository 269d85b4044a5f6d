// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU's software processor (TCG, seen in 7.2) does wrong, by the names of the checks. There, and only there, such a check is
//! skipped with its reason when it fails. Each was compared with the manuals, and where a program at CPL 3 can see it, with real
//! processors.

/// The reason why a check may fail under TCG.
pub(crate) fn known_wrong(what: &str) -> Option<&'static str> {
    KNOWN_WRONG.iter().find(|(name, _)| *name == what).map(|(_, reason)| *reason)
}

const KNOWN_WRONG: &[(&str, &str)] = &[
    ("INT1 stands behind itself", "it has no INT1"),
    ("LOCK on MOV", "it ignores the prefix"),
    ("INT 13 through a gate of CPL 0", "its error code is the offset in the IDT, not 8 times the vector"),
    ("read-modify-write", "it reports the read"),
    ("LOCK XADD", "it reports the read"),
    ("stack access at an address that is not canonical", "it raises #GP for every segment"),
    ("jump to an address that is not canonical", "it faults at the target"),
    ("return to an address that is not canonical", "it faults at the target"),
    ("an address beyond the processor's is a reserved bit", "its error code says that the page is not present"),
    ("for writes as well", "its error code says that the page is not present"),
    ("bit 13 of a 2 MiB entry is reserved", "its error code says that the page is not present"),
    ("bit 20 of a 1 GiB entry is reserved", "its error code says that the page is not present"),
    ("without EFER.NXE bit 63 is reserved", "its error code says that the page is not present"),
];
