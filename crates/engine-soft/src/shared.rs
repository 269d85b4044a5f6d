// SPDX-License-Identifier: MIT OR Apache-2.0
//! What processors share: the word that ends a chain, notices to each other, and the pages that hold code of any of them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use engine::Kick;
use memory::{MemoryObject, ObjectId, SpaceObserver, StoreWatcher, ViewId};

use crate::block::{CodePlace, touched_lines};

/// Bit of the pending word: somebody kicked.
pub(crate) const KICKED: u32 = 1;
/// Bit of the pending word: notices wait.
pub(crate) const NOTICES: u32 = 2;

/// Bit of the pending word: another processor wants to be alone.
pub(crate) const STAND_STILL: u32 = 4;

/// Something that a processor has to know before it runs another block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// Bytes of a page with code were stored to by somebody else.
    Stored { place: CodePlace, offset: u32, size: u32 },
    /// The page at this host address must not be written to fast any more.
    Revoke { host: u64 },
    /// The maps, rights or overlays of the space changed.
    SpaceChanged,
}

/// What other threads may touch of a processor.
#[derive(Default)]
pub(crate) struct VpShared {
    /// Tested at block ends; not zero ends the chain.
    pub(crate) pending: AtomicU32,
    in_guest: AtomicBool,
    notices: Mutex<Vec<Notice>>,
    posted: AtomicU64,
    served: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VpShared {
    /// Posts a notice and gives the ticket to wait for.
    pub(crate) fn post(&self, notice: Notice) -> u64 {
        let mut notices = lock(&self.notices);
        notices.push(notice);
        let ticket = self.posted.fetch_add(1, Ordering::SeqCst) + 1;
        self.pending.fetch_or(NOTICES, Ordering::SeqCst);
        ticket
    }

    /// Whether the processor has served the notice of `ticket`, or will before it runs guest code.
    pub(crate) fn is_served(&self, ticket: u64) -> bool {
        self.served.load(Ordering::SeqCst) >= ticket || !self.is_in_guest()
    }

    /// Takes all notices. [`VpShared::serve_done`] says that they were served.
    pub(crate) fn take_notices(&self) -> (Vec<Notice>, u64) {
        let mut notices = lock(&self.notices);
        self.pending.fetch_and(!NOTICES, Ordering::SeqCst);
        (std::mem::take(&mut *notices), self.posted.load(Ordering::SeqCst))
    }

    pub(crate) fn serve_done(&self, ticket: u64) {
        self.served.store(ticket, Ordering::SeqCst);
    }

    /// Guest code is about to run. The pending word is looked at after this, and whoever sets a bit of it looks at this after that: one of them sees the
    /// other.
    pub(crate) fn enter_guest(&self) {
        self.in_guest.store(true, Ordering::SeqCst);
    }

    /// No guest code runs, and what it has done can be seen. Nobody minds hearing of it late.
    pub(crate) fn leave_guest(&self) {
        self.in_guest.store(false, Ordering::Release);
    }

    /// Takes a kick that has not ended a run.
    pub(crate) fn take_kick(&self) -> bool {
        self.pending.load(Ordering::SeqCst) & KICKED != 0
            && self.pending.fetch_and(!KICKED, Ordering::SeqCst) & KICKED != 0
    }
}

impl Kick for VpShared {
    fn kick(&self) {
        self.pending.fetch_or(KICKED, Ordering::SeqCst);
    }

    /// If not, it looks at its pending word before it does.
    fn is_in_guest(&self) -> bool {
        self.in_guest.load(Ordering::SeqCst)
    }
}

/// Who uses a page with code.
#[derive(Default)]
struct CodeUse {
    /// How many processors hold blocks of it.
    users: u32,
    /// The lines of 64 bytes that any of their blocks may have been decoded from.
    lines: u64,
    /// No processor can store to it unnoticed any more.
    is_closed: bool,
}

/// All processors of an engine, and the pages that hold code of any of them.
#[derive(Default)]
pub(crate) struct Registry {
    vps: RwLock<Vec<Weak<VpShared>>>,
    code_pages: Mutex<HashMap<CodePlace, CodeUse>>,
    /// Objects of which stores are told to us.
    known_objects: Mutex<HashSet<ObjectId>>,
    /// Stores to watched pages that were made, or are about to be, and that not everyone was told of yet.
    code_changes: AtomicU32,
    /// Held by the processor that is alone.
    pub(crate) alone: Mutex<()>,
}

/// A store to a watched page, until all were told of it.
pub(crate) struct CodeChange<'a>(&'a Registry);

impl Drop for CodeChange<'_> {
    fn drop(&mut self) {
        self.0.code_changes.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Registry {
    /// Adds a processor: see [`Registry::add`].
    pub(crate) fn insert(&self, vp: &Arc<VpShared>) {
        let mut vps = self.vps.write().unwrap_or_else(PoisonError::into_inner);
        vps.retain(|known| known.strong_count() > 0);
        vps.push(Arc::downgrade(vp));
    }

    /// All processors but one.
    pub(crate) fn others(&self, own: Option<&VpShared>) -> Vec<Arc<VpShared>> {
        let vps = self.vps.read().unwrap_or_else(PoisonError::into_inner);
        let is_own = |vp: &Arc<VpShared>| own.is_some_and(|own| std::ptr::eq(&raw const **vp, own));
        vps.iter().filter_map(Weak::upgrade).filter(|vp| !is_own(vp)).collect()
    }

    /// Notes that processor `own` is about to read code from a page: makes stores to it known to all, and returns when no other processor can store
    /// to it unnoticed. `serve` serves the own notices, so that two that wait for each other go on.
    pub(crate) fn claim(
        self: &Arc<Self>,
        object: &Arc<MemoryObject>,
        place: CodePlace,
        host: u64,
        own: &VpShared,
        mut serve: impl FnMut(),
    ) {
        {
            let mut known = lock(&self.known_objects);
            if known.insert(place.object) {
                let watcher: Arc<dyn StoreWatcher> = self.clone();
                object.add_watcher(Arc::downgrade(&watcher));
            }
        }
        {
            let mut pages = lock(&self.code_pages);
            let code = pages.entry(place).or_default();
            code.users += 1;
            if code.is_closed {
                return;
            }
            object.watch(place.page);
        }
        let tickets: Vec<_> = self
            .others(Some(own))
            .into_iter()
            .map(|vp| {
                let ticket = vp.post(Notice::Revoke { host });
                (vp, ticket)
            })
            .collect();
        for (vp, ticket) in tickets {
            while !vp.is_served(ticket) {
                serve();
                std::thread::yield_now();
            }
        }
        lock(&self.code_pages).entry(place).or_default().is_closed = true;
    }

    /// Takes back a claim. When no processor holds code of the page any more, stores to it are free again; `object` is the page's, if it is at hand.
    pub(crate) fn release(&self, place: CodePlace, object: Option<&MemoryObject>) {
        let mut pages = lock(&self.code_pages);
        match pages.get_mut(&place) {
            Some(code) if code.users > 1 => code.users -= 1,
            Some(_) => {
                pages.remove(&place);
                // Under the lock, or it might end the watch of a claim that comes between.
                if let Some(object) = object {
                    object.unwatch(place.page);
                }
            }
            None => {}
        }
    }

    /// Notes that blocks may depend on lines of a claimed page.
    pub(crate) fn note_lines(&self, place: CodePlace, lines: u64) {
        lock(&self.code_pages).entry(place).or_default().lines |= lines;
    }

    /// Begins a store to a watched page. Until it ends, no processor that serialises goes on: one that has seen the bytes as data must not execute what was
    /// there before.
    pub(crate) fn change_code(&self) -> CodeChange<'_> {
        self.code_changes.fetch_add(1, Ordering::SeqCst);
        CodeChange(self)
    }

    /// Whether a store to a watched page is under way.
    pub(crate) fn is_code_changing(&self) -> bool {
        self.code_changes.load(Ordering::Acquire) != 0
    }

    /// Tells all processors but `own` of a store to a page, if any of them may hold blocks of those bytes.
    pub(crate) fn tell_store(&self, place: CodePlace, offset: u32, size: u32, own: Option<&VpShared>) {
        let lines = lock(&self.code_pages).get(&place).map_or(0, |code| code.lines);
        if lines & touched_lines(offset, size) == 0 {
            return;
        }
        for vp in self.others(own) {
            vp.post(Notice::Stored { place, offset, size });
        }
    }
}

impl StoreWatcher for Registry {
    fn stored(&self, object: ObjectId, page: u64, offset: u32, size: u32) {
        self.tell_store(CodePlace { object, page }, offset, size, None);
    }
}

/// Processors that share a space.
#[derive(Default)]
pub(crate) struct SpaceMembers(Mutex<Vec<Weak<VpShared>>>);

impl SpaceMembers {
    pub(crate) fn add(&self, vp: &Arc<VpShared>) {
        let mut members = lock(&self.0);
        members.retain(|known| known.strong_count() > 0);
        members.push(Arc::downgrade(vp));
    }
}

impl SpaceObserver for SpaceMembers {
    fn changed(&self, _view: ViewId, _first: u64, _pages: u64) {
        let members: Vec<_> = lock(&self.0).iter().filter_map(Weak::upgrade).collect();
        let tickets: Vec<_> = members.iter().map(|vp| vp.post(Notice::SpaceChanged)).collect();
        for (vp, ticket) in members.iter().zip(tickets) {
            while !vp.is_served(ticket) {
                std::thread::yield_now();
            }
        }
    }
}
