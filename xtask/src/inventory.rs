// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cargo xtask inventory PATH`: makes the committed extract of the inventory that tests compare this implementation
//! with. Only facts are taken: names, numbers, bits, sizes, sections and behaviour ids. Columns of prose stay behind, and a
//! cell that mixes a fact with prose is cut down to the fact.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// What is taken from a cell.
#[derive(Clone, Copy)]
enum Take {
    /// All of it: the column holds nothing but names or section numbers.
    All,
    /// The first word.
    FirstWord,
    /// What stands before a remark in parentheses.
    BeforeRemark,
    /// All of it if it is a number, in decimal or hexadecimal; otherwise nothing.
    Number,
    /// The number it begins with, if what follows is not one of several sizes: the fixed part of a variable size.
    LeadingNumber,
    /// The members of a structure that have an offset, as `Name@8`; of several revisions those of the one in use.
    Members,
    /// The fields of a word, as `Name@low:width`, if the cell gives all of them; or the values of an enumeration, as
    /// `Name=value`.
    Bits,
    /// The last number in it: of two revisions of a size, the one in use.
    LastNumber,
}

/// One table: its file, and the columns that are taken from it, in their order there.
struct Table {
    file: &'static str,
    columns: &'static [(&'static str, Take)],
}

const TABLES: &[Table] = &[
    Table { file: "behaviours.tsv", columns: &[("id", Take::All), ("section", Take::All)] },
    Table {
        file: "constants.tsv",
        columns: &[("name", Take::All), ("value", Take::All), ("section", Take::All)],
    },
    Table {
        file: "cpuid.tsv",
        columns: &[
            ("leaf", Take::Number),
            ("register", Take::All),
            ("bits", Take::All),
            ("name", Take::All),
            ("section", Take::All),
        ],
    },
    Table {
        file: "evmcs_fields.tsv",
        columns: &[
            ("offset_dec", Take::Number),
            ("name", Take::All),
            ("bytes", Take::Number),
            ("vmcs_encoding", Take::Number),
            ("clean_field", Take::All),
            ("section", Take::All),
        ],
    },
    Table {
        file: "hypercalls.tsv",
        columns: &[
            ("code", Take::All),
            ("name", Take::BeforeRemark),
            ("class", Take::BeforeRemark),
            ("tlfs_section", Take::BeforeRemark),
            ("appA_rep", Take::All),
            ("appA_fast", Take::All),
            ("input", Take::Members),
            ("output", Take::Members),
        ],
    },
    Table {
        file: "messages.tsv",
        columns: &[
            ("value", Take::All),
            ("name", Take::All),
            ("payload_size", Take::LastNumber),
            ("section", Take::BeforeRemark),
        ],
    },
    Table {
        file: "msrs.tsv",
        columns: &[
            ("number", Take::Number),
            ("name", Take::All),
            ("section", Take::All),
            ("access", Take::FirstWord),
            ("scope", Take::All),
            ("layout", Take::Bits),
        ],
    },
    Table {
        file: "privileges.tsv",
        columns: &[("mask_bit", Take::All), ("name", Take::FirstWord), ("section", Take::All)],
    },
    Table {
        file: "registers.tsv",
        columns: &[
            ("value", Take::Number),
            ("name", Take::All),
            ("width_bits", Take::Number),
            ("access", Take::All),
            ("section", Take::All),
            ("guest_settable_7_10_1", Take::All),
            ("msr_equivalent", Take::FirstWord),
        ],
    },
    Table { file: "status_codes.tsv", columns: &[("value", Take::Number), ("name", Take::BeforeRemark)] },
    Table {
        file: "structures.tsv",
        columns: &[
            ("name", Take::All),
            ("kind", Take::All),
            ("section", Take::All),
            ("size_bytes", Take::LeadingNumber),
            ("layout", Take::Bits),
        ],
    },
    Table {
        file: "whp.tsv",
        columns: &[
            ("kind", Take::BeforeRemark),
            ("dll", Take::All),
            ("name", Take::All),
            ("value_or_signature", Take::Number),
        ],
    },
];

/// Why an extract could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}: {source}; PATH must be the folder of the inventory tables", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{file} has no column {column}; the table has changed, so correct TABLES in xtask/src/inventory.rs"
    )]
    MissingColumn { file: &'static str, column: &'static str },
    #[error("{file}:{line}: {found} cells in a table of {expected} columns")]
    Ragged { file: &'static str, line: usize, found: usize, expected: usize },
}

/// Reads every table under `source` and writes its extract under `target`.
pub(crate) fn run(source: &Path, target: &Path) -> Result<(), Error> {
    fs::create_dir_all(target).map_err(|source| Error::Write { path: target.into(), source })?;
    for table in TABLES {
        let path = source.join(table.file);
        let text = fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
        let extract = extract(table, &text)?;
        let path = target.join(table.file);
        fs::write(&path, extract).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

fn extract(table: &Table, text: &str) -> Result<String, Error> {
    let file = table.file;
    let mut lines = text.lines().enumerate();
    let header: Vec<&str> = lines.next().map_or(vec![], |(_, line)| line.split('\t').collect());
    let mut columns = Vec::new();
    for &(column, take) in table.columns {
        let index = header.iter().position(|name| *name == column);
        columns.push((index.ok_or(Error::MissingColumn { file, column })?, take));
    }
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let mut extract = names.join("\t") + "\n";
    for (index, line) in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != header.len() {
            let (found, expected) = (cells.len(), header.len());
            return Err(Error::Ragged { file, line: index + 1, found, expected });
        }
        let taken: Vec<String> = columns.iter().map(|&(index, take)| take.from(cells[index])).collect();
        extract += &taken.join("\t");
        extract.push('\n');
    }
    Ok(extract)
}

impl Take {
    fn from(self, cell: &str) -> String {
        let cell = cell.trim();
        let taken = match self {
            Take::All => cell,
            Take::FirstWord => cell.split_whitespace().next().unwrap_or(""),
            Take::BeforeRemark => cell.split(" (").next().unwrap_or("").trim_end(),
            Take::Number => Some(cell).filter(|cell| is_number(cell)).unwrap_or(""),
            Take::LeadingNumber => {
                let digits = cell.bytes().take_while(u8::is_ascii_digit).count();
                let (number, rest) = cell.split_at(digits);
                if rest.is_empty() || rest.starts_with(' ') { number } else { "" }
            }
            Take::Members => return members(cell).join(" "),
            Take::Bits => return bits(cell).or_else(|| values(cell)).unwrap_or_default().join(" "),
            Take::LastNumber => cell
                .split(|character: char| !character.is_ascii_digit())
                .rfind(|digits| !digits.is_empty())
                .unwrap_or(""),
        };
        taken.to_owned()
    }
}

/// `Name@8` for each member of the newest revision; what comes after `element` belongs to a list, not the structure.
fn members(cell: &str) -> Vec<&str> {
    let newest = |cell: &str, mark| cell.find(mark).and_then(|at| Some(at + cell[at..].find(':')?));
    let start = ["modern", "live doc:"].into_iter().find_map(|mark| newest(cell, mark)).unwrap_or(0);
    let structure = cell[start..].split("element").next().unwrap_or("");
    let words =
        structure.split(|character: char| !character.is_ascii_alphanumeric() && !"@_".contains(character));
    words.filter(|word| word.split_once('@').is_some_and(|(_, offset)| is_number(offset))).collect()
}

/// `Name@low:width` for each field of a word, which is written either as `Name:width` from bit 0 upwards or as
/// `high:low Name`. Nothing if the fields do not fill a word: then the cell says something else, too.
fn bits(cell: &str) -> Option<Vec<String>> {
    let text = without_remarks(cell);
    let (mut fields, mut next, mut total) = (Vec::new(), 0u32, 0u32);
    for part in text.split([',', ';']).map(str::trim) {
        let (name, low, width) = match part.split_once(' ') {
            Some((range, name)) => {
                let (high, low) = range.split_once(':').unwrap_or((range, range));
                let (high, low): (u32, u32) = (high.parse().ok()?, low.parse().ok()?);
                (name.split(' ').next()?, low, (high + 1).checked_sub(low)?)
            }
            None => {
                let (name, width) = part.split_once(':')?;
                (name, next, width.parse().ok()?)
            }
        };
        next = next.max(low + width);
        total += width;
        fields.push(format!("{name}@{low}:{width}"));
    }
    ([8, 16, 32, 64].contains(&total) && next == total).then_some(fields)
}

/// `Name=value` for each value of an enumeration. Nothing if the cell says something else, too.
fn values(cell: &str) -> Option<Vec<String>> {
    let value = |part: &str| {
        let (name, value) = part.trim().split_once([' ', '='])?;
        let named = name.starts_with(|first: char| first.is_ascii_alphabetic());
        (named && is_number(value)).then(|| format!("{name}={value}"))
    };
    without_remarks(cell).split(',').map(value).collect()
}

/// The text without what stands in parentheses.
fn without_remarks(text: &str) -> String {
    let (before, remarks) = text.split_once('(').unwrap_or((text, ""));
    let after = remarks.split('(').filter_map(|remark| Some(remark.split_once(')')?.1));
    before.to_owned() + &after.collect::<String>()
}

fn is_number(text: &str) -> bool {
    match text.strip_prefix("0x") {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit()),
        None => !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_cut_out_of_prose() {
        assert_eq!(Take::FirstWord.from("R/W (one table says R)"), "R/W");
        assert_eq!(Take::BeforeRemark.from("special (code-page sequence)"), "special");
        assert_eq!(Take::Number.from("(no number)"), "");
        assert_eq!(Take::Number.from("0x40000000"), "0x40000000");
        assert_eq!(Take::LeadingNumber.from("16 + 8*banks"), "16");
        assert_eq!(Take::LeadingNumber.from("1,2,4,8,16"), "");
        assert_eq!(Take::LastNumber.from("240 (old) / 80 (new)"), "80");
        assert_eq!(Take::LastNumber.from("-"), "");
        assert_eq!(Take::Members.from("old: A@0 u64; modern form: A@0, B@8 (16); element C@0"), "A@0 B@8");
        assert_eq!(Take::Members.from("none"), "");
        assert_eq!(Take::Bits.from("A:1, B:7 (8 before)"), "A@0:1 B@1:7");
        assert_eq!(Take::Bits.from("7:1 Rest; 0 First"), "Rest@1:7 First@0:1");
        assert_eq!(Take::Bits.from("A:1, and others"), "");
        assert_eq!(Take::Bits.from("First 1, Second 4 (later Third 5)"), "First=1 Second=4");
        assert_eq!(Take::Bits.from("First=0, All=1"), "First=0 All=1");
    }

    #[test]
    fn a_changed_table_is_refused() {
        let table = Table { file: "t.tsv", columns: &[("number", Take::Number)] };
        assert_eq!(extract(&table, "number\tprose\n5\tfive\n").unwrap(), "number\n5\n");
        assert!(matches!(extract(&table, "value\n5\n"), Err(Error::MissingColumn { .. })));
        assert!(matches!(extract(&table, "number\tprose\n5\n"), Err(Error::Ragged { line: 2, .. })));
    }
}
