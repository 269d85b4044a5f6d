// SPDX-License-Identifier: MIT OR Apache-2.0
//! Code and stores: what this processor does when bytes that it decoded are stored to, by itself or by others.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cpu;
use crate::block::{CodePlace, touched_lines};
use crate::mmu::PhysicalPage;
use crate::shared::Notice;

impl Cpu {
    /// Whether others want something of this processor, or code is being changed.
    pub(crate) fn has_news(&self) -> bool {
        // In this order: a change that is over has posted its notices.
        self.registry.is_code_changing() || self.shared.pending.load(Ordering::Relaxed) != 0
    }

    /// Stores `size` bytes at `offset` of a watched page.
    pub(crate) fn storing_to_watched<R>(
        &mut self,
        page: PhysicalPage,
        offset: u32,
        size: u32,
        store: impl FnOnce() -> R,
    ) -> R {
        let place = CodePlace { object: page.object, page: page.page };
        let registry = Arc::clone(&self.registry);
        let _change = registry.change_code();
        let result = store();
        self.drop_code(place, offset, size);
        registry.tell_store(place, offset, size, Some(&self.shared));
        result
    }

    /// Drops the blocks that were decoded from these bytes.
    fn drop_code(&mut self, place: CodePlace, offset: u32, size: u32) {
        let had = self.blocks.has_page(&place);
        if had && self.blocks.stored(place, offset, size) {
            self.release_code_page(place);
        }
    }

    fn release_code_page(&mut self, place: CodePlace) {
        let object = self.object_if_known(place.object);
        self.registry.release(place, object.map(|object| &**object));
    }

    /// Notes that a block is about to be decoded from bytes of a claimed page: before they are read, so that no store falls between.
    pub(crate) fn note_code_bytes(&self, place: CodePlace, offset: u16, size: usize) {
        self.registry.note_lines(place, touched_lines(offset.into(), size as u32));
    }

    /// Prepares to decode from a page: from now on stores to it are noticed.
    pub(crate) fn claim_code_page(&mut self, page: PhysicalPage) {
        let place = CodePlace { object: page.object, page: page.page };
        if self.blocks.has_page(&place) {
            return;
        }
        self.blocks.add_page(place);
        self.revoke_writes(page.host);
        let object = Arc::clone(self.object(page.object));
        let (registry, shared) = (Arc::clone(&self.registry), Arc::clone(&self.shared));
        registry.claim(&object, place, page.host, &shared, || self.serve_notices());
    }

    /// Drops all blocks. Only between two chains.
    pub(crate) fn clear_blocks(&mut self) {
        for place in self.blocks.clear() {
            self.release_code_page(place);
        }
    }

    /// Does what others have asked for.
    pub(crate) fn serve_notices(&mut self) {
        let (notices, ticket) = self.shared.take_notices();
        for notice in notices {
            match notice {
                Notice::Stored { place, offset, size } => self.drop_code(place, offset, size),
                Notice::Revoke { host } => self.revoke_writes(host),
                Notice::SpaceChanged => self.flush_physical(),
            }
        }
        self.shared.serve_done(ticket);
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.clear_blocks();
    }
}
