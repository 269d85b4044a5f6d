// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading tests/inventory.

use std::path::Path;

/// One table of the extract: a header line, then one item a line, cells separated by tabs.
pub(crate) struct Table {
    file: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One line of a table.
pub(crate) struct Row<'a> {
    table: &'a Table,
    cells: &'a [String],
}

impl Table {
    pub(crate) fn read(file: &'static str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/inventory").join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let split = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
        let mut lines = text.lines().map(split);
        let columns = lines.next().expect("a header");
        let rows: Vec<_> = lines.collect();
        assert!(!rows.is_empty(), "{file} is empty");
        Self { file, columns, rows }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { table: self, cells })
    }
}

impl Row<'_> {
    pub(crate) fn get(&self, column: &str) -> &str {
        let index = self.table.columns.iter().position(|name| name == column);
        &self.cells[index.unwrap_or_else(|| panic!("{} has no column {column}", self.table.file))]
    }

    /// The cell as a number; none if it holds none.
    pub(crate) fn number(&self, column: &str) -> Option<u64> {
        number(self.get(column))
    }

    /// The cell as a range of numbers, in the form `2` or `2-5`.
    pub(crate) fn range(&self, column: &str) -> Option<(u64, u64)> {
        let cell = self.get(column);
        let (first, last) = cell.split_once('-').unwrap_or((cell, cell));
        Some((number(first)?, number(last)?))
    }

    /// The cell as a range of bits, in the form `2` or `5:2`: lowest bit and width.
    pub(crate) fn bits(&self, column: &str) -> (u8, u8) {
        let cell = self.get(column);
        let (high, low) = cell.split_once(':').unwrap_or((cell, cell));
        let parse = |bit: &str| bit.parse::<u8>().unwrap_or_else(|_| panic!("{cell} is no range of bits"));
        (parse(low), parse(high) - parse(low) + 1)
    }
}

pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A name without its case and punctuation, so that `AccessVpIndex` is `access_vp_index`.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|character| character.to_ascii_lowercase()).collect()
}
