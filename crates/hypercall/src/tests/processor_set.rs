// SPDX-License-Identifier: MIT OR Apache-2.0
//! Processor sets against a plain list of members.

use crate::processor_set::ProcessorSet;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::vec::Vec;
use tlfs::HvStatus;
use tlfs::vp::{SetFormat, VpSet};

fn parse(format: u64, valid_banks_mask: u64, banks: &[u64]) -> Result<ProcessorSet<'_>, HvStatus> {
    ProcessorSet::new(VpSet { format: SetFormat(format), valid_banks_mask }, banks)
}

#[test]
fn formats() {
    assert_eq!(parse(1, 0, &[]), Ok(ProcessorSet::ALL));
    assert_eq!(parse(1, 3, &[1]), Ok(ProcessorSet::ALL));
    assert_eq!(parse(2, 0, &[]), Err(HvStatus::INVALID_PARAMETER));
    // Format is 64 bits wide here; garbage above a known number makes it unknown.
    assert_eq!(parse(1 << 32, 0, &[]), Err(HvStatus::INVALID_PARAMETER));
    assert_eq!(parse(0, 0b101, &[1]), Err(HvStatus::INVALID_HYPERCALL_INPUT));
    assert_eq!(parse(0, 0b101, &[1, 2, 3]), Err(HvStatus::INVALID_HYPERCALL_INPUT));
    let set = parse(0, 0b101, &[1 << 5, 1 << 63]).unwrap();
    assert_eq!(set.iter(4096).collect::<Vec<_>>(), [5, 191]);
    assert!(!set.is_all() && !set.is_empty());
    assert!(parse(0, 0b11, &[0, 0]).unwrap().is_empty() && parse(0, 0, &[]).unwrap().is_empty());
}

#[test]
fn bounds() {
    assert_eq!(ProcessorSet::ALL.iter(3).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(ProcessorSet::ALL.contains(u32::MAX) && !ProcessorSet::ALL.is_empty());
    let everything = [u64::MAX; 64];
    let set = ProcessorSet::sparse(u64::MAX, &everything).unwrap();
    assert_eq!(set.iter(u32::MAX).count(), 4096);
    assert_eq!(set.iter(0).count(), 0);
    assert_eq!(set.iter(100).last(), Some(99));
    assert!(set.contains(4095) && !set.contains(4096) && !set.contains(u32::MAX));
    let mask = 1 << 63 | 1;
    let set = ProcessorSet::from_mask(&mask);
    assert_eq!(set.iter(64).collect::<Vec<_>>(), [0, 63]);
    assert!(!set.contains(64));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sparse_sets(members in prop::collection::btree_set(0u32..4096, 0..200), empty_banks: u64, bound in 0u32..5000) {
        let mut by_bank = [0u64; 64];
        for member in &members {
            by_bank[(member / 64) as usize] |= 1 << (member % 64);
        }
        let valid = (0..64).filter(|bank| by_bank[*bank] != 0 || empty_banks >> bank & 1 != 0);
        let (mask, banks) = valid.fold((0, Vec::new()), |(mask, mut banks), bank| {
            banks.push(by_bank[bank]);
            (mask | 1 << bank, banks)
        });
        let set = ProcessorSet::sparse(mask, &banks).unwrap();
        let expected: BTreeSet<u32> = members.iter().copied().filter(|member| *member < bound).collect();
        prop_assert!(set.iter(bound).eq(expected));
        prop_assert!((0..4200).all(|vp_index| set.contains(vp_index) == members.contains(&vp_index)));
        prop_assert_eq!(set.is_empty(), members.is_empty());
    }
}
