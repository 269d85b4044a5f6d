// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which memory is zero when the guest starts (TLFS 9.4.7): the usable memory that nothing was loaded into.

use std::ops::Range;

use memory::{PAGE_SHIFT, PAGE_SIZE};
use tlfs::extended::ZeroedRange;

/// Whole pages of `usable` that no byte of `written` is in.
pub(crate) fn zeroed(usable: &[Range<u64>], written: &[Range<u64>]) -> Vec<ZeroedRange> {
    let mut written: Vec<Range<u64>> = written
        .iter()
        .filter(|range| !range.is_empty())
        .map(|range| range.start & !(PAGE_SIZE - 1)..range.end.next_multiple_of(PAGE_SIZE))
        .collect();
    written.sort_by_key(|range| range.start);
    let mut runs = Vec::new();
    for range in usable {
        let (mut start, end) = (range.start.next_multiple_of(PAGE_SIZE), range.end & !(PAGE_SIZE - 1));
        let mut run = |start: u64, end: u64| {
            if start < end {
                let (start_gpa_page, page_count) = (start >> PAGE_SHIFT, (end - start) >> PAGE_SHIFT);
                runs.push(ZeroedRange { start_gpa_page, page_count });
            }
        };
        for taken in written.iter().filter(|taken| taken.start < end && taken.end > range.start) {
            run(start, taken.start.min(end));
            start = start.max(taken.end);
        }
        run(start, end);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_was_loaded_into_is_zero() {
        let ranges = |list: &[(u64, u64)]| -> Vec<Range<u64>> {
            list.iter().map(|&(start, end)| start..end).collect()
        };
        let pages = |usable: &[(u64, u64)], written: &[(u64, u64)]| -> Vec<(u64, u64)> {
            let runs = zeroed(&ranges(usable), &ranges(written));
            runs.iter().map(|run| (run.start_gpa_page, run.page_count)).collect()
        };
        let low = (0, 0x5000);
        assert_eq!(pages(&[low, (0x10_0000, 0x20_0000)], &[]), [(0, 5), (0x100, 0x100)]);
        assert_eq!(pages(&[low], &[(0x1FFF, 0x2001)]), [(0, 1), (3, 2)]);
        assert_eq!(pages(&[(0x800, 0x5800)], &[(0x4000, 0x4001), (0x2000, 0x2001)]), [(1, 1), (3, 1)]);
        assert_eq!(pages(&[low], &[low, (0x3000, 0x3000)]), []);
        assert_eq!(pages(&[low], &[(0x4000, 0x9000)]), [(0, 4)]);
    }
}
