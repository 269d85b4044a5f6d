// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sets of virtual processors (TLFS 7.8.7.3, HV_VP_SET): all, or up to 64 banks of 64.

use crate::call::VariableHeader;
use tlfs::HvStatus;
use tlfs::vp::{MAX_BANKS, SetFormat, VPS_PER_BANK, VpSet};

/// A set of virtual processors, by VP index (0 to 4095 in a sparse set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorSet<'a> {
    members: Members<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Members<'a> {
    All,
    /// One bank for each bit of the mask, lowest first.
    Sparse {
        valid_banks: u64,
        banks: &'a [u64],
    },
}

impl<'a> ProcessorSet<'a> {
    /// Every virtual processor of the partition.
    pub const ALL: Self = Self { members: Members::All };

    /// The set that a call's header and the banks behind it describe.
    ///
    /// INVALID_PARAMETER for an unknown format; INVALID_HYPERCALL_INPUT if there are not as many banks as announced.
    /// Banks behind the set of all are not looked at.
    pub const fn new(header: VpSet, banks: &'a [u64]) -> Result<Self, HvStatus> {
        match header.format {
            SetFormat::SPARSE_4K => Self::sparse(header.valid_banks_mask, banks),
            SetFormat::ALL_VPS => Ok(Self::ALL),
            _ => Err(HvStatus::INVALID_PARAMETER),
        }
    }

    /// The processors 0 to 63 whose bits are set: the form that calls without a set use.
    pub const fn from_mask(mask: &'a u64) -> Self {
        Self { members: Members::Sparse { valid_banks: 1, banks: core::slice::from_ref(mask) } }
    }

    /// A sparse set: bank `n` of `banks` belongs to the `n`-th bit that is set in `valid_banks`.
    ///
    /// INVALID_HYPERCALL_INPUT if there are not as many banks as bits.
    pub const fn sparse(valid_banks: u64, banks: &'a [u64]) -> Result<Self, HvStatus> {
        if valid_banks.count_ones() as usize != banks.len() {
            return Err(HvStatus::INVALID_HYPERCALL_INPUT);
        }
        Ok(Self { members: Members::Sparse { valid_banks, banks } })
    }

    /// Whether it is the set of all, rather than a list that may happen to name all.
    pub const fn is_all(&self) -> bool {
        matches!(self.members, Members::All)
    }

    /// Whether it names no processor at all. The set of all is not empty.
    pub fn is_empty(&self) -> bool {
        match self.members {
            Members::All => false,
            Members::Sparse { banks, .. } => banks.iter().all(|bank| *bank == 0),
        }
    }

    /// Whether `vp_index` is a member.
    pub fn contains(&self, vp_index: u32) -> bool {
        let (bank, bit) = (vp_index / VPS_PER_BANK, vp_index % VPS_PER_BANK);
        match self.members {
            Members::All => true,
            Members::Sparse { .. } if bank >= MAX_BANKS as u32 => false,
            Members::Sparse { valid_banks, banks } => {
                let position = (valid_banks & ((1 << bank) - 1)).count_ones() as usize;
                valid_banks >> bank & 1 != 0 && banks[position] >> bit & 1 != 0
            }
        }
    }

    /// The members below `vp_count`, in rising order. Takes time in proportion to members and banks, whatever the guest
    /// wrote.
    pub fn iter(&self, vp_count: u32) -> impl Iterator<Item = u32> + use<'a> {
        let (all, valid_banks, banks): (u32, u64, &[u64]) = match self.members {
            Members::All => (vp_count, 0, &[]),
            Members::Sparse { valid_banks, banks } => (0, valid_banks, banks),
        };
        let sparse = Bits(valid_banks)
            .zip(banks)
            .flat_map(|(bank, members)| Bits(*members).map(move |bit| bank * VPS_PER_BANK + bit));
        (0..all).chain(sparse.take_while(move |vp_index| *vp_index < vp_count))
    }
}

/// The numbers of the bits that are set, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros())?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// A fixed input header that ends in the fixed part of a set.
pub trait HasProcessorSet {
    /// Its format, and which banks follow as the variable header.
    fn processor_set(&self) -> VpSet;
}

/// The variable header is the banks of a [`ProcessorSet`]. The handler gets `(&Input, ProcessorSet)`.
pub struct ProcessorSetBanks;

impl<Input: HasProcessorSet> VariableHeader<Input> for ProcessorSetBanks {
    type Storage = [u64; MAX_BANKS];
    type Arguments<'a>
        = (&'a Input, ProcessorSet<'a>)
    where
        Input: 'a;
    const EXISTS: bool = true;

    fn arguments<'a>(input: &'a Input, words: &'a [u64]) -> Result<Self::Arguments<'a>, HvStatus> {
        let set = ProcessorSet::new(input.processor_set(), words)?;
        Ok((input, set))
    }
}
