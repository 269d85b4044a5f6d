// SPDX-License-Identifier: MIT OR Apache-2.0
//! The decoded blocks that were used last.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::Problem;

/// Blocks that are kept if nobody says another number.
const DEFAULT_LIMIT: usize = 32;

/// A decoded block, or what is wrong with it: that takes as long to find out.
pub(super) type Decoded = Result<Arc<Vec<u8>>, Problem>;

#[derive(Debug)]
pub(super) struct BlockCache {
    limit: usize,
    /// Each with the time of its last use.
    blocks: HashMap<u64, (Decoded, u64)>,
    now: u64,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, blocks: HashMap::new(), now: 0 }
    }
}

impl BlockCache {
    pub(super) fn get(&mut self, number: u64) -> Option<Decoded> {
        self.now += 1;
        let (block, used) = self.blocks.get_mut(&number)?;
        *used = self.now;
        Some(block.clone())
    }

    pub(super) fn insert(&mut self, number: u64, block: Decoded) {
        self.now += 1;
        self.blocks.insert(number, (block, self.now));
        self.shrink();
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.blocks.len() > self.limit {
            let oldest = self.blocks.iter().min_by_key(|(_, (_, used))| *used).map(|(&number, _)| number);
            oldest.map(|number| self.blocks.remove(&number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_first() {
        let mut cache = BlockCache::default();
        cache.set_limit(2);
        for number in 0..2 {
            cache.insert(number, Ok(Arc::new(vec![number as u8])));
        }
        assert!(cache.get(0).is_some());
        cache.insert(2, Err(Problem::Compression));
        assert!(cache.get(1).is_none() && cache.get(0).is_some() && cache.get(2).is_some());
        cache.set_limit(0);
        assert_eq!((cache.limit(), cache.blocks.len()), (1, 1));
        assert!(cache.get(2).is_some());
    }
}
