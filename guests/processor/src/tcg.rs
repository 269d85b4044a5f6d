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
    (
        "an address beyond the processor's is a reserved bit",
        "its error code says that the page is not present",
    ),
    ("for writes as well", "its error code says that the page is not present"),
    ("bit 13 of a 2 MiB entry is reserved", "its error code says that the page is not present"),
    ("bit 20 of a 1 GiB entry is reserved", "its error code says that the page is not present"),
    ("without EFER.NXE bit 63 is reserved", "its error code says that the page is not present"),
    ("SS: null with privilege 3 at CPL 0", "it looks at CPL alone"),
    ("limit: one byte too far", "it does not look at limits and rights of segments"),
    ("limit: writes too", "it does not look at limits and rights of segments"),
    ("rights: write to data that is not writable", "it does not look at limits and rights of segments"),
    ("expand-down: at the limit", "it does not look at limits and rights of segments"),
    ("expand-down, 16 bits: beyond 64 KiB", "it does not look at limits and rights of segments"),
    ("access through a null segment", "it does not look at limits and rights of segments"),
    ("stack limit: one byte too far", "it does not look at limits and rights of segments"),
    ("stack limit: PUSH", "it does not look at limits and rights of segments"),
    ("write through CS", "it does not look at limits and rights of segments"),
    ("read through an execute-only CS", "it does not look at limits and rights of segments"),
    ("limit of the code segment", "it does not look at limits and rights of segments"),
    (
        "INT through a gate of more privilege",
        "its error code is the offset in the IDT, not 8 times the vector",
    ),
    (
        "INT through a gate that is not present",
        "its error code is the offset in the IDT, not 8 times the vector",
    ),
    (
        "#UD without a gate is #NP from outside",
        "its error code is the offset in the IDT, not 8 times the vector",
    ),
    ("SYSCALL: SFMASK", "it loses the status flags"),
    ("LSTAR takes canonical addresses only", "it takes any"),
    ("INT pushes RFLAGS, RF clear after an instruction", "it keeps RF to the end of a block"),
    ("SYSCALL in compatibility mode (Intel)", "it goes to CSTAR whoever the vendor is"),
    ("alignment check at CPL 3", "it has no alignment checks"),
    ("alignment check of a word", "it has no alignment checks"),
    ("the frame has RF set", "it saves RF as it is"),
    ("a fault saves RF set", "it saves RF as it is"),
    ("MOV SS keeps the breakpoint behind it off", "it does not keep it off"),
    ("DR7.GD guards the debug registers", "it has no GD"),
    ("the trap clears DR7.GD", "it has no GD"),
    ("CR8: more than 4 bits", "it ignores them"),
    ("EFER: a reserved bit", "it ignores it"),
    ("PAT: a type that does not exist", "it takes any"),
    ("RDMSR of what does not exist", "it reads 0"),
    ("WRMSR of what does not exist", "it ignores it"),
    ("FS base that is not canonical", "it takes any"),
    ("GS base that is not canonical", "it takes any"),
    ("kernel GS base that is not canonical", "it takes any"),
    ("CR0: NW without CD", "it takes any value"),
    ("CR0: upper half", "it ignores it"),
    ("WRFSBASE of what is not canonical", "it takes any"),
];
