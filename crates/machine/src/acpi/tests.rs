// SPDX-License-Identifier: MIT OR Apache-2.0
use std::io::Write;
use std::process::Command;

use super::*;

fn tables(processors: u32, vmbus: bool) -> AcpiTables {
    AcpiTables::new(&AcpiConfig { apic_ids: (0..processors).collect(), vmbus }).unwrap()
}

/// Reads tables the way a guest does, by addresses only.
impl AcpiTables {
    fn at(&self, address: u64) -> &[u8] {
        let from = (address - ACPI_TABLES) as usize;
        let length = u32::from_le_bytes(self.bytes[from + 4..from + 8].try_into().unwrap()) as usize;
        &self.bytes[from..from + length]
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// The tables that XSDT lists, and XSDT itself first.
    fn walk(&self) -> Vec<&[u8]> {
        let rsdp = &self.bytes[(self.rsdp() - self.address()) as usize..][..36];
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        assert_eq!(sum(&rsdp[..20]), 0);
        assert_eq!(sum(rsdp), 0);
        let xsdt = self.at(Self::u64_at(rsdp, 24));
        let mut tables = vec![xsdt];
        tables.extend(xsdt[36..].chunks(8).map(|entry| self.at(Self::u64_at(entry, 0))));
        tables
    }

    fn find(&self, signature: &[u8; 4]) -> &[u8] {
        self.walk().into_iter().find(|table| &table[..4] == signature).unwrap()
    }

    fn dsdt(&self) -> &[u8] {
        self.at(Self::u64_at(self.find(b"FACP"), 140))
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The entries of a MADT, by type.
fn entries(madt: &[u8], kind: u8) -> Vec<&[u8]> {
    let mut rest = &madt[44..];
    let mut found = Vec::new();
    while let [entry, length, ..] = *rest {
        if entry == kind {
            found.push(&rest[..usize::from(length)]);
        }
        rest = &rest[usize::from(length)..];
    }
    assert!(rest.is_empty());
    found
}

#[test]
fn every_table_is_reached_from_the_rsdp_and_sums_to_zero() {
    let tables = tables(4, true);
    assert_eq!(tables.rsdp() % 16, 0);
    let signatures: Vec<_> = tables.walk().iter().map(|table| &table[..4]).collect();
    assert_eq!(signatures, [b"XSDT", b"FACP", b"APIC"]);
    for table in tables.walk().into_iter().chain([tables.dsdt()]) {
        assert_eq!(sum(table), 0, "{:?}", &table[..4]);
    }
    let facs = u32::from_le_bytes(tables.find(b"FACP")[36..40].try_into().unwrap());
    assert_eq!(facs % 64, 0);
    assert_eq!(&tables.at(facs.into())[..4], b"FACS");
}

#[test]
fn the_fadt_says_what_is_not_there_and_where_to_switch_off() {
    let tables = tables(1, false);
    let fadt = tables.find(b"FACP");
    assert_eq!((fadt.len(), fadt[8]), (276, 6));
    let word = |at: usize| u16::from_le_bytes([fadt[at], fadt[at + 1]]);
    let dword = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
    assert_eq!(word(46), 9, "SCI_INT");
    assert_eq!(dword(48), 0, "SMI_CMD");
    assert_eq!((dword(56), dword(64), dword(76)), (0x600, 0x604, 0x608), "PM1a event, control, timer");
    assert_eq!((dword(80), dword(84)), (0, 0), "no general-purpose events");
    assert_eq!((fadt[88], fadt[89], fadt[91]), (4, 2, 4));
    assert_eq!(fadt[108], 0x32, "century");
    assert_eq!(word(109), 0b101, "ISA devices; no 8042; no VGA");
    assert_eq!(
        dword(112) & (1 << 10 | 1 << 8 | 1 << 4),
        1 << 10 | 1 << 8,
        "reset, 32-bit timer, fixed button"
    );
    assert_eq!(&fadt[116..129], [1, 8, 0, 1, 0xF9, 0x0C, 0, 0, 0, 0, 0, 0, 6], "reset register and value");
    assert_eq!(u64::from(dword(40)), AcpiTables::u64_at(fadt, 140), "DSDT and X_DSDT agree");
    assert_eq!(AcpiTables::u64_at(fadt, 132), 0, "X_FIRMWARE_CTRL gives way to the 32-bit one");
    assert_eq!(AcpiTables::u64_at(fadt, 148 + 4), 0x600);
    assert_eq!(AcpiTables::u64_at(fadt, 172 + 4), 0x604);
    assert_eq!(AcpiTables::u64_at(fadt, 208 + 4), 0x608);
}

#[test]
fn the_madt_lists_processors_overrides_and_nmi() {
    let tables = tables(3, false);
    let madt = tables.find(b"APIC");
    assert_eq!(madt[36..44], [0, 0, 0xE0, 0xFE, 1, 0, 0, 0]);
    let processors = entries(madt, 0);
    assert_eq!(processors.len(), 3);
    assert_eq!(processors[2], [0, 8, 2, 2, 1, 0, 0, 0]);
    assert_eq!(entries(madt, 1), [[1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0]]);
    assert_eq!(entries(madt, 2), [[2, 10, 0, 0, 2, 0, 0, 0, 0, 0], [2, 10, 0, 9, 9, 0, 0, 0, 0x0D, 0]]);
    assert_eq!(entries(madt, 4), [[4, 6, 0xFF, 0, 0, 1]]);
    assert!(entries(madt, 9).is_empty() && entries(madt, 10).is_empty());
}

#[test]
fn high_apic_ids_get_x2apic_entries() {
    let tables =
        AcpiTables::new(&AcpiConfig { apic_ids: vec![0, 254, 255, 0x1_0000], vmbus: false }).unwrap();
    let madt = tables.find(b"APIC");
    assert_eq!(entries(madt, 0).iter().map(|entry| entry[3]).collect::<Vec<_>>(), [0, 254]);
    assert_eq!(
        entries(madt, 9),
        [
            [9, 16, 0, 0, 0xFF, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0],
            [9, 16, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 3, 0, 0, 0],
        ]
    );
    assert_eq!(entries(madt, 10), [[10, 12, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0]]);
}

#[test]
fn tables_fit_their_place_or_are_refused() {
    assert!(tables(2500, true).bytes().len() as u64 <= ACPI_TABLES_END - ACPI_TABLES);
    let config = AcpiConfig { apic_ids: (0..100_000).collect(), vmbus: true };
    let error = AcpiTables::new(&config).unwrap_err();
    assert!(error.to_string().contains("100000 processors"), "{error}");
}

/// What ACPICA's disassembler makes of a table; `None` if it is not installed.
fn disassemble(table: &[u8]) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.aml");
    std::fs::write(&path, table).unwrap();
    let output = match Command::new("iasl").arg("-d").arg(&path).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("iasl: {error}"),
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    for word in ["Invalid", "rror", "arning", "ncorrect"] {
        let bad = said.lines().find(|line| line.contains(word));
        assert!(bad.is_none(), "iasl says: {bad:?}");
    }
    Some(std::fs::read_to_string(path.with_extension("dsl")).unwrap())
}

#[test]
fn acpica_reads_every_table() {
    let tables = tables(2, true);
    let Some(dsdt) = disassemble(tables.dsdt()) else {
        // Past the test harness, which keeps what passing tests print.
        let why = "SKIPPED acpica_reads_every_table: iasl is not installed (Debian package acpica-tools)";
        let _ = writeln!(std::io::stderr(), "{why}");
        return;
    };
    for expected in [
        "Device (C000)",
        "Device (C001)",
        "\"ACPI0007\"",
        "Device (COM1)",
        "EisaId (\"PNP0501\")",
        "EisaId (\"PNP0B00\")",
        "EisaId (\"PNP0C02\")",
        "Name (_HID, \"VMBUS\")",
        "Name (_CID, \"VMBus\")",
        "0x03F8,             // Range Minimum",
        "{4}",
        "Name (\\_S5, Package (0x04)",
    ] {
        assert!(dsdt.contains(expected), "{expected} is not in\n{dsdt}");
    }
    for table in tables.walk() {
        let text = disassemble(table).expect("it was there just now");
        assert!(!text.contains("Invalid"), "{text}");
    }
}

#[test]
fn vmbus_is_there_only_if_wanted() {
    let has_vmbus = |tables: AcpiTables| tables.bytes().windows(5).any(|bytes| bytes == b"VMBUS");
    assert!(has_vmbus(tables(1, true)));
    assert!(!has_vmbus(tables(1, false)));
}
