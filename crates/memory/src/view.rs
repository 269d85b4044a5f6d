// SPDX-License-Identifier: MIT OR Apache-2.0
//! One view of a guest-physical address space: which page of which object a guest page is, and with which rights.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Rights;
use crate::object::MemoryObject;

/// Names a view of a [`crate::Space`]: one per virtual trust level. Engines tag what they cache with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ViewId(pub u8);

/// Names an overlay page, so that it can be taken away again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct OverlayId(pub(crate) u64);

/// What a guest page is.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The object behind it.
    pub object: Arc<MemoryObject>,
    /// The page within the object.
    pub page: u64,
    /// What may be done with it.
    pub rights: Rights,
}

/// Consecutive guest pages that are consecutive pages of one object.
#[derive(Clone)]
struct Run {
    pages: u64,
    object: Arc<MemoryObject>,
    first_page: u64,
    rights: Rights,
}

/// Maps guest pages. Runs do not overlap. Overlays lie above runs; of several at one place the last laid is seen.
#[derive(Default, Clone)]
pub(crate) struct View {
    runs: BTreeMap<u64, Run>,
    overlays: BTreeMap<u64, Vec<(OverlayId, Resolved)>>,
}

impl View {
    pub(crate) fn resolve(&self, gpn: u64) -> Option<Resolved> {
        if let Some((_, overlay)) = self.overlays.get(&gpn).and_then(|stack| stack.last()) {
            return Some(overlay.clone());
        }
        let (&first, run) = self.runs.range(..=gpn).next_back()?;
        let index = gpn - first;
        (index < run.pages).then(|| Resolved {
            object: Arc::clone(&run.object),
            page: run.first_page + index,
            rights: run.rights,
        })
    }

    /// Calls `with` with the page, without touching its reference count: what the common access uses.
    pub(crate) fn with_page<R>(
        &self,
        gpn: u64,
        with: impl FnOnce(&MemoryObject, u64, Rights) -> R,
    ) -> Option<R> {
        if !self.overlays.is_empty()
            && let Some((_, overlay)) = self.overlays.get(&gpn).and_then(|stack| stack.last())
        {
            return Some(with(&overlay.object, overlay.page, overlay.rights));
        }
        let (&first, run) = self.runs.range(..=gpn).next_back()?;
        let index = gpn - first;
        (index < run.pages).then(|| with(&run.object, run.first_page + index, run.rights))
    }

    /// Splits a run so that one starts at `gpn`, if `gpn` lies inside one.
    fn split(&mut self, gpn: u64) {
        let Some((&first, run)) = self.runs.range_mut(..gpn).next_back() else { return };
        let head = gpn - first;
        if head >= run.pages {
            return;
        }
        let tail = Run {
            pages: run.pages - head,
            object: Arc::clone(&run.object),
            first_page: run.first_page + head,
            rights: run.rights,
        };
        run.pages = head;
        self.runs.insert(gpn, tail);
    }

    /// Removes whatever is mapped in `gpn..gpn + pages`.
    pub(crate) fn unmap(&mut self, gpn: u64, pages: u64) {
        self.split(gpn);
        self.split(gpn + pages);
        let inside: Vec<u64> = self.runs.range(gpn..gpn + pages).map(|(&first, _)| first).collect();
        for first in inside {
            self.runs.remove(&first);
        }
    }

    pub(crate) fn map(
        &mut self,
        gpn: u64,
        pages: u64,
        object: Arc<MemoryObject>,
        first_page: u64,
        rights: Rights,
    ) {
        self.unmap(gpn, pages);
        self.runs.insert(gpn, Run { pages, object, first_page, rights });
    }

    /// Changes the rights of what is mapped in `gpn..gpn + pages`; holes stay holes.
    pub(crate) fn protect(&mut self, gpn: u64, pages: u64, rights: Rights) {
        self.split(gpn);
        self.split(gpn + pages);
        for (_, run) in self.runs.range_mut(gpn..gpn + pages) {
            run.rights = rights;
        }
    }

    pub(crate) fn lay(&mut self, id: OverlayId, gpn: u64, page: Resolved) {
        self.overlays.entry(gpn).or_default().push((id, page));
    }

    /// Takes an overlay away and tells where it was.
    pub(crate) fn lift(&mut self, id: OverlayId) -> Option<u64> {
        let gpn = self
            .overlays
            .iter()
            .find(|(_, stack)| stack.iter().any(|(known, _)| *known == id))
            .map(|(&gpn, _)| gpn)?;
        let stack = self.overlays.get_mut(&gpn)?;
        stack.retain(|(known, _)| *known != id);
        if stack.is_empty() {
            self.overlays.remove(&gpn);
        }
        Some(gpn)
    }

    /// All runs as (first guest page, pages, object, first page in it, rights), in order of guest pages.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u64, u64, &Arc<MemoryObject>, u64, Rights)> {
        self.runs.iter().map(|(&gpn, run)| (gpn, run.pages, &run.object, run.first_page, run.rights))
    }
}
