// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is loaded into a guest, and where it comes from.
//!
//! The loaders ([`linux`], [`multiboot`]) are pure functions: they take files as bytes and the guest's memory map,
//! and return an [`Image`], which is a list of bytes with their guest-physical addresses and the registers the
//! first processor starts with. [`debian`] fetches a stock kernel from the Debian archive, [`initramfs`] packs
//! a root file system.
//!
//! This room knows nothing of partitions, engines or devices, holds no guest memory, and starts nothing but
//! apt. Whoever builds the machine applies the image.

#![forbid(unsafe_code)]

pub mod debian;
mod elf;
mod error;
mod fields;
mod file;
mod image;
pub mod initramfs;
pub mod linux;
mod memory_map;
pub mod multiboot;
mod place;

pub use elf::ElfError;
pub use error::LoadError;
pub use file::{ReadError, read_file};
pub use image::{DescriptorTable, EntryState, Image, Segment, SegmentRegister};
pub use memory_map::{BadMemoryMap, MemoryMap, MemoryRange, RangeKind};
