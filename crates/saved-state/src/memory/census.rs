// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which blocks of saved memory a container has, next to those that a layout describes.

use super::layout::Layout;
use super::tokens::BLOCK_PAGES;

/// How blocks that are there and blocks that are described fit together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Blocks that are described and not there.
    pub missing: u64,
    /// The lowest number of one.
    pub first_missing: Option<u64>,
    /// The lowest number of a block that is there and not described.
    pub first_extra: Option<u64>,
}

/// Compares; `present` are the numbers of the blocks that are there.
pub(super) fn take(layout: &Layout, mut present: Vec<u64>) -> Census {
    present.sort_unstable();
    present.dedup();
    let pages = BLOCK_PAGES as u64;
    let ranges = layout.blocks().filter(|block| block.page_count > 0);
    let mut ranges: Vec<_> = ranges
        .map(|block| {
            let end = block.first_saved_page + block.page_count;
            block.first_saved_page / pages..end.div_ceil(pages)
        })
        .collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut census = Census::default();
    let mut rest = &present[..];
    // All blocks below this one are counted.
    let mut counted = 0;
    for range in ranges {
        let start = range.start.max(counted);
        let (extra, after) = rest.split_at(rest.partition_point(|&block| block < start));
        let (here, after) = after.split_at(after.partition_point(|&block| block < range.end));
        let wanted = range.end.saturating_sub(start);
        rest = after;
        census.first_extra = census.first_extra.or(extra.first().copied());
        census.missing += wanted - here.len() as u64;
        if census.first_missing.is_none() && (here.len() as u64) < wanted {
            census.first_missing =
                (start..).zip(here).find(|(number, block)| number != *block).map(|(number, _)| number);
            census.first_missing = census.first_missing.or(Some(start + here.len() as u64));
        }
        counted = counted.max(range.end);
    }
    census.first_extra = census.first_extra.or(rest.first().copied());
    census
}

#[cfg(test)]
mod tests {
    use super::super::layout::MemoryBlock;
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let block = |first_gpa_page, page_count, first_saved_page| MemoryBlock {
            flags: 0,
            page_count,
            first_saved_page,
            first_gpa_page,
            virtual_node: 0,
        };
        // Blocks 0 to 3, of which two share block 1, and blocks 10 and 11.
        let blocks =
            vec![block(0, 300, 0), block(300, 700, 300), block(0x1000, 257, 2560), block(0x9000, 0, 99_999)];
        let layout = Layout::new(blocks).unwrap();
        for (present, missing, first_missing, first_extra) in [
            (vec![0, 1, 2, 3, 10, 11], 0, None, None),
            (vec![11, 10, 3, 2, 1, 0, 0], 0, None, None),
            (vec![], 6, Some(0), None),
            (vec![0, 1, 3, 10, 11], 1, Some(2), None),
            (vec![0, 1, 2, 3, 11], 1, Some(10), None),
            (vec![0, 1, 2, 3, 10], 1, Some(11), None),
            (vec![0, 1, 2, 3, 4, 10, 11, 12], 0, None, Some(4)),
            (vec![0, 1, 2, 3, 10, 11, 12], 0, None, Some(12)),
            (vec![1, 9], 5, Some(0), Some(9)),
        ] {
            let wanted = Census { missing, first_missing, first_extra };
            assert_eq!(take(&layout, present.clone()), wanted, "{present:?}");
        }
    }
}
