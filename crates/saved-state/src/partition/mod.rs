// SPDX-License-Identifier: MIT OR Apache-2.0
//! The saved virtual processors: a stream of chunks, made into registers per processor and virtual trust level (VTL).
//!
//! After a processor's chunk come its registers. A VTL chunk says that what follows, up to the next one, belongs to one VTL. What comes before the first is
//! common: the registers that all VTLs share, and on a processor without VTLs everything.

pub(crate) mod chunk;
mod register;

pub use register::{Register, RegisterValue};

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Problem, Result};
use chunk::{Chunk, Chunks, id};

/// Largest state of a partition. Real ones have some 14 KiB a processor.
pub(crate) const MOST_STATE: u64 = 128 << 20;
/// Most virtual processors. Hyper-V's own limit is below.
const MOST_VPS: usize = 1 << 16;

/// Who made the guest's processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// AMD.
    Amd,
    /// Intel.
    Intel,
    /// Hygon.
    Hygon,
    /// An ARM64 processor.
    Arm,
    /// A number nobody has described.
    Unknown(u32),
}

impl Vendor {
    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Amd,
            1 => Self::Intel,
            2 => Self::Hygon,
            0x10 => Self::Arm,
            number => Self::Unknown(number),
        }
    }

    /// Its number in the prolog.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Amd => 0,
            Self::Intel => 1,
            Self::Hygon => 2,
            Self::Arm => 0x10,
            Self::Unknown(number) => number,
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amd => f.write_str("AMD"),
            Self::Intel => f.write_str("Intel"),
            Self::Hygon => f.write_str("Hygon"),
            Self::Arm => f.write_str("ARM"),
            Self::Unknown(number) => write!(f, "vendor {number}"),
        }
    }
}

/// The state of all virtual processors.
#[derive(Debug)]
pub struct PartitionState {
    value: Vec<u8>,
    vendor: Vendor,
    /// Guest OS identity registers, by VTL.
    os_ids: Vec<(u8, u64)>,
    vtls: u32,
    /// Sorted by index.
    vps: Vec<Vp>,
}

/// Data of chunks, by number, as ranges of the whole value.
type ChunkList = Vec<(u32, Range<usize>)>;

#[derive(Debug)]
struct Vp {
    index: u32,
    common: ChunkList,
    /// In the order in which they were saved.
    vtls: Vec<(u8, ChunkList)>,
}

impl PartitionState {
    /// Reads the value of the partition-state key.
    ///
    /// # Errors
    /// [`Error::BadPartitionState`].
    pub fn parse(value: Vec<u8>) -> Result<Self> {
        let parsed =
            parse(&value).map_err(|(offset, problem)| Error::BadPartitionState { offset, problem })?;
        let Parsed { vendor, os_ids, vtls, vps } = parsed;
        Ok(Self { value, vendor, os_ids, vtls, vps })
    }

    /// Number of virtual processors.
    pub fn vp_count(&self) -> u32 {
        // Each takes bytes of a value below 4 GiB.
        self.vps.len() as u32
    }

    /// Indices of the virtual processors, rising.
    pub fn vp_indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.vps.iter().map(|vp| vp.index)
    }

    /// Who made the processors.
    pub fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// The guest OS identity register of a VTL, or, if it has none of its own, of the partition. Zero if no operating system wrote one.
    pub fn guest_os_id(&self, vtl: u8) -> u64 {
        let of = |wanted| self.os_ids.iter().find(|(vtl, _)| *vtl == wanted).map(|&(_, id)| id);
        of(vtl).or_else(|| of(0)).unwrap_or(0)
    }

    /// The VTLs enabled for the partition, bit n for VTL n.
    pub fn enabled_vtls(&self) -> u32 {
        self.vps.iter().fold(self.vtls | 1, |mask, vp| mask | vp.enabled_vtls())
    }

    /// Whether the guest ran a hypervisor of its own.
    pub fn is_nested(&self) -> bool {
        let has =
            |list: &ChunkList| list.iter().any(|(id, _)| matches!(*id, id::NESTED_BASE | id::NESTED_VMCS));
        self.vps.iter().any(|vp| has(&vp.common) || vp.vtls.iter().any(|(_, list)| has(list)))
    }

    /// The VTLs enabled on a processor, bit n for VTL n.
    ///
    /// # Errors
    /// [`Error::NoVp`].
    pub fn enabled_vtls_of(&self, vp: u32) -> Result<u32> {
        Ok(self.vp(vp)?.enabled_vtls())
    }

    /// The VTL a processor was in when it was saved.
    ///
    /// # Errors
    /// [`Error::NoVp`].
    pub fn active_vtl(&self, vp: u32) -> Result<u8> {
        Ok(self.vp(vp)?.active_vtl(&self.value))
    }

    /// A register of a processor as a VTL sees it.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoVtl`], [`Error::NoRegister`].
    pub fn register(&self, vp: u32, vtl: u8, register: Register) -> Result<RegisterValue> {
        let missing = Error::NoRegister { vp, vtl, register: register.name() };
        let data = self.chunk(vp, vtl, register.chunk())?.ok_or(missing)?;
        register.read(data).ok_or(Error::NoRegister { vp, vtl, register: register.name() })
    }

    /// Model-specific registers that were saved besides, with their names.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoVtl`].
    pub fn msrs(&self, vp: u32, vtl: u8) -> Result<Vec<(&'static str, u64)>> {
        let data = self.chunk(vp, vtl, id::MSRS)?.unwrap_or_default();
        let (words, _) = data.as_chunks::<8>();
        let value = |place: usize| words.get(place).map(|word| u64::from_le_bytes(*word));
        Ok(register::MSRS.iter().filter_map(|&(name, place)| Some((name, value(place)?))).collect())
    }

    /// The current privilege level of an x64 processor, 0 to 3.
    ///
    /// # Errors
    /// [`Error::NoVp`], [`Error::NoVtl`], [`Error::NoRegister`].
    pub fn privilege_level(&self, vp: u32, vtl: u8) -> Result<u8> {
        /// Behind eight segments.
        const PLACE: usize = 128;
        let data = self.chunk(vp, vtl, id::SEGMENTS)?;
        let level = data.and_then(|data| data.get(PLACE));
        level.map(|level| level & 3).ok_or(Error::NoRegister { vp, vtl, register: "cpl" })
    }

    /// The data of a processor's chunk as a VTL sees it.
    fn chunk(&self, index: u32, vtl: u8, id: u32) -> Result<Option<&[u8]>> {
        let vp = self.vp(index)?;
        if vp.enabled_vtls() & 1_u32.checked_shl(vtl.into()).unwrap_or(0) == 0 {
            return Err(Error::NoVtl { vp: index, vtl });
        }
        let own = vp.vtls.iter().find(|(number, _)| *number == vtl).and_then(|(_, list)| find(list, id));
        // Private registers before the first VTL chunk are those of the VTL that ran.
        let shared = matches!(id, id::GENERAL | id::FLOATING_POINT | id::DEBUG);
        let sees_common = shared || vtl == vp.active_vtl(&self.value);
        let found = own.or_else(|| find(&vp.common, id).filter(|_| sees_common));
        Ok(found.and_then(|range| self.value.get(range)))
    }

    fn vp(&self, index: u32) -> Result<&Vp> {
        let found = self.vps.binary_search_by_key(&index, |vp| vp.index);
        found.map(|found| &self.vps[found]).map_err(|_| Error::NoVp { index, count: self.vp_count() })
    }
}

fn find(list: &ChunkList, wanted: u32) -> Option<Range<usize>> {
    list.iter().find(|(id, _)| *id == wanted).map(|(_, range)| range.clone())
}

impl Vp {
    fn enabled_vtls(&self) -> u32 {
        if self.vtls.is_empty() {
            return 1;
        }
        self.vtls.iter().fold(0, |mask, (vtl, _)| mask | 1 << vtl)
    }

    /// A VTL that says it can run runs in place of the ones below it; if none says so, the one that was saved first.
    fn active_vtl(&self, value: &[u8]) -> u8 {
        let runs = |list: &ChunkList| {
            let page = find(list, id::VTL_CONTROL_PAGE).and_then(|range| value.get(range));
            page.and_then(|page| page.get(chunk::VTL_RUNNABLE)).is_some_and(|&runnable| runnable != 0)
        };
        let highest = self.vtls.iter().filter(|(_, list)| runs(list)).map(|&(vtl, _)| vtl).max();
        highest.or_else(|| self.vtls.first().map(|&(vtl, _)| vtl)).unwrap_or(0)
    }
}

struct Parsed {
    vendor: Vendor,
    os_ids: Vec<(u8, u64)>,
    vtls: u32,
    vps: Vec<Vp>,
}

fn parse(value: &[u8]) -> std::result::Result<Parsed, (usize, Problem)> {
    let mut parsed =
        Parsed { vendor: Vendor::Unknown(u32::MAX), os_ids: Vec::new(), vtls: 0, vps: Vec::new() };
    let mut present: Option<&[u8]> = None;
    let mut partition_vtl = 0;
    for (number, chunk) in Chunks::new(value)?.enumerate() {
        let chunk = chunk?;
        if (number == 0) != (chunk.id == id::PROLOG) {
            return Err((chunk.offset, Problem::Type));
        }
        match chunk.id {
            id::PROLOG => parsed.vendor = Vendor::from_number(u32_at(&chunk, chunk::PROLOG_VENDOR)?),
            id::PARTITION_VTL => {
                partition_vtl = vtl(&chunk)?;
                parsed.vtls |= 1 << partition_vtl;
            }
            id::OS_ID => {
                let id = chunk.data.first_chunk().ok_or((chunk.offset, Problem::Size))?;
                parsed.os_ids.push((partition_vtl, u64::from_le_bytes(*id)));
            }
            id::VP_INDICES => present = Some(chunk.data.get(4..).ok_or((chunk.offset, Problem::Size))?),
            id::VP => {
                let index = u32_at(&chunk, 0)?;
                if parsed.vps.len() == MOST_VPS {
                    return Err((chunk.offset, Problem::TooMuch));
                }
                parsed.vps.push(Vp { index, common: Vec::new(), vtls: Vec::new() });
            }
            _ => {
                // Chunks of the partition that nobody asks for.
                let Some(vp) = parsed.vps.last_mut() else { continue };
                if chunk.id == id::VP_VTL {
                    vp.vtls.push((vtl(&chunk)?, Vec::new()));
                    continue;
                }
                let list = vp.vtls.last_mut().map_or(&mut vp.common, |(_, list)| list);
                list.push((chunk.id, chunk.offset..chunk.offset + chunk.data.len()));
            }
        }
    }
    parsed.vps.sort_by_key(|vp| vp.index);
    if let Some(pair) = parsed.vps.windows(2).find(|pair| pair[0].index == pair[1].index) {
        return Err((0, Problem::Vp(pair[1].index)));
    }
    if let Some(present) = present {
        check_indices(present, &parsed.vps)?;
    }
    if parsed.vps.is_empty() {
        return Err((0, Problem::Vp(0)));
    }
    Ok(parsed)
}

/// Every processor of the map must be there, and no other, as far as the map goes.
fn check_indices(present: &[u8], vps: &[Vp]) -> std::result::Result<(), (usize, Problem)> {
    let is_present = |index: u32| present.get(index as usize / 8).map(|byte| byte >> (index % 8) & 1 != 0);
    let extra = vps.iter().find(|vp| is_present(vp.index) == Some(false));
    let bits = u32::try_from(present.len()).unwrap_or(u32::MAX).saturating_mul(8);
    let is_saved = |index: &u32| vps.binary_search_by_key(index, |vp| vp.index).is_ok();
    let missing = (0..bits).filter(|&index| is_present(index) == Some(true)).find(|index| !is_saved(index));
    match extra.map(|vp| vp.index).or(missing) {
        Some(index) => Err((0, Problem::Vp(index))),
        None => Ok(()),
    }
}

fn u32_at(chunk: &Chunk<'_>, at: usize) -> std::result::Result<u32, (usize, Problem)> {
    let bytes = chunk.data.get(at..).and_then(|data| data.first_chunk());
    bytes.map(|bytes| u32::from_le_bytes(*bytes)).ok_or((chunk.offset, Problem::Size))
}

fn vtl(chunk: &Chunk<'_>) -> std::result::Result<u8, (usize, Problem)> {
    // TLFS 15.2 numbers up to 16 levels.
    chunk.data.first().copied().filter(|&vtl| vtl < 16).ok_or((chunk.offset, Problem::Size))
}
