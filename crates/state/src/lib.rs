// SPDX-License-Identifier: MIT OR Apache-2.0
//! State that is declared once.
//!
//! Whatever a partition can be rebuilt from implements [`State`]: it is saved to a [`Writer`] and restored from a [`Reader`]. [`state!`] makes both from one
//! list of a structure's fields, and does not compile if a field is missing from it. To compare two states, or to hash one, is to do so with what is saved.
//!
//! The form is for one process, or two of the same build: values in order, little-endian, nothing between them.
//!
//! This room knows nothing of what is saved.

#![forbid(unsafe_code)]

mod declare;
mod primitive;

use twox_hash::XxHash3_128;

/// Something that can be saved and put back.
pub trait State {
    /// Writes what it is.
    fn save(&self, writer: &mut Writer);

    /// Becomes what was written. What is left after an error is of no use.
    ///
    /// # Errors
    /// If the bytes are no such state.
    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged>;
}

/// The bytes are not what was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// There are not enough of them.
    #[error("the state ends too early")]
    Short,
    /// There are too many.
    #[error("{0} bytes follow after the end of the state")]
    Long(usize),
    /// A value that its kind does not have.
    #[error("the state has a {kind} of {value}")]
    Value {
        /// What it is to be.
        kind: &'static str,
        /// What it is.
        value: u64,
    },
}

/// Takes what is saved.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Appends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends a number of things that follow.
    pub fn length(&mut self, length: usize) {
        (length as u64).save(self);
    }
}

/// Gives what was saved.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all that was saved.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next so many bytes.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(Damaged::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// A number of things that follow, each of at least one byte: never more than there are bytes.
    ///
    /// # Errors
    /// If there are fewer bytes.
    pub fn length(&mut self) -> Result<usize, Damaged> {
        let length = self.value::<u64>()?;
        usize::try_from(length).ok().filter(|&length| length <= self.bytes.len()).ok_or(Damaged::Short)
    }

    /// A value.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn value<T: State + Default>(&mut self) -> Result<T, Damaged> {
        let mut value = T::default();
        value.restore(self)?;
        Ok(value)
    }

    /// Says that nothing is to follow.
    ///
    /// # Errors
    /// If something does.
    pub fn end(self) -> Result<(), Damaged> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Damaged::Long(self.bytes.len())) }
    }
}

/// What a state is, as bytes.
#[must_use]
pub fn save(state: &impl State) -> Vec<u8> {
    let mut writer = Writer::default();
    state.save(&mut writer);
    writer.bytes
}

/// Makes a state what was saved of another.
///
/// # Errors
/// If the bytes are no such state, or more than that.
pub fn restore(state: &mut impl State, bytes: &[u8]) -> Result<(), Damaged> {
    let mut reader = Reader::new(bytes);
    state.restore(&mut reader)?;
    reader.end()
}

/// A hash of what was saved (XXH3, 128 bits): equal for equal states; unequal ones differ but for a chance of nothing that happens. It is no protection
/// against who wants two to agree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub u128);

impl Hash {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(XxHash3_128::oneshot(bytes))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}")
    }
}

#[cfg(test)]
mod tests;
