// SPDX-License-Identifier: MIT OR Apache-2.0
//! The body of the fuzz target: any bytes become batches of changes of a space with two views, and accesses between them. The space agrees with plain
//! tables of pages and bytes after each, and whoever observes it hears of every page that changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::{
    AccessErrorCause, Batch, MemoryError, MemoryObject, OverlayId, PAGE_SIZE, Rights, Space, SpaceObserver,
    ViewId,
};

const VIEWS: u8 = 2;
/// Guest pages that changes aim at; a few more lie beyond, up to the end of the space.
const PAGES: u64 = 24;
const END: u64 = 1 << 20;
const OBJECT_PAGES: u64 = 8;

/// Takes values off the input; zeros follow its end.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: u8) -> u64 {
        u64::from(self.u8() % bound)
    }

    fn rights(&mut self) -> Rights {
        let bits = self.u8();
        let all = [Rights::READ, Rights::WRITE, Rights::KERNEL_EXECUTE, Rights::USER_EXECUTE];
        let chosen = all.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 != 0);
        chosen.fold(Rights::NONE, |rights, (_, one)| rights | one)
    }

    /// A run of guest pages: mostly where others are, now and then at the end of the space or past it.
    fn run(&mut self) -> (u64, u64) {
        let selector = self.u8();
        let pages = self.below(8);
        match selector {
            0..=239 => (u64::from(selector) % PAGES, pages),
            240..=250 => (END - 4 + u64::from(selector - 240), pages),
            _ => (u64::MAX - u64::from(selector - 251), pages),
        }
    }
}

/// A page of an object, by the number of the object, with rights.
type Place = (usize, u64, Rights);

/// What a view is, told plainly.
#[derive(Clone, Default, PartialEq)]
struct Table {
    mapped: BTreeMap<u64, Place>,
    /// Overlays, the oldest first.
    overlays: Vec<(OverlayId, u64, Place)>,
}

impl Table {
    fn resolve(&self, gpn: u64) -> Option<Place> {
        let overlay = self.overlays.iter().rev().find(|(_, at, _)| *at == gpn).map(|(_, _, place)| *place);
        overlay.or_else(|| self.mapped.get(&gpn).copied())
    }
}

/// Remembers what changed.
#[derive(Default)]
struct Recorder(Mutex<Vec<(ViewId, u64, u64)>>);

impl SpaceObserver for Recorder {
    fn changed(&self, view: ViewId, first: u64, pages: u64) {
        self.0.lock().expect("a lock that nobody broke").push((view, first, pages));
    }
}

struct World {
    space: Arc<Space>,
    objects: [Arc<MemoryObject>; 2],
    bytes: [Vec<u8>; 2],
    tables: [Table; VIEWS as usize],
    recorder: Arc<Recorder>,
}

/// Does to a space what `data` says. Panics if it and the tables disagree.
pub fn batches(data: &[u8]) {
    let space = Space::new(32);
    space.batch(|batch| batch.add_view());
    let object = || MemoryObject::allocate(OBJECT_PAGES * PAGE_SIZE).expect("memory");
    let zeros = || vec![0; (OBJECT_PAGES * PAGE_SIZE) as usize];
    let recorder = Arc::new(Recorder::default());
    let observer: Arc<dyn SpaceObserver> = recorder.clone();
    space.add_observer(Arc::downgrade(&observer));
    let mut world = World {
        space,
        objects: [object(), object()],
        bytes: [zeros(), zeros()],
        tables: Default::default(),
        recorder,
    };
    let mut source = Source(data);
    for _ in 0..200 {
        if source.0.is_empty() {
            break;
        }
        if source.u8() & 1 == 0 { world.change(&mut source) } else { world.access(&mut source) }
    }
}

impl World {
    /// One batch of up to four changes.
    fn change(&mut self, source: &mut Source<'_>) {
        let before = self.tables.clone();
        let (space, objects, tables) = (&self.space, &self.objects, &mut self.tables);
        space.batch(|batch| {
            for _ in 0..=source.below(4) {
                one_change(batch, objects, tables, source);
            }
        });
        let told = std::mem::take(&mut *self.recorder.0.lock().expect("a lock that nobody broke"));
        for (index, view) in (0..VIEWS).map(ViewId).enumerate() {
            let (old, new) = (&before[index], &self.tables[index]);
            for gpn in (0..PAGES + 8).chain(END - 8..END + 2) {
                let found = self.space.resolve(view, gpn);
                let found = found.map(|page| {
                    let number = self.objects.iter().position(|object| object.id() == page.object.id());
                    (number.expect("one of the two"), page.page, page.rights)
                });
                assert_eq!(found, new.resolve(gpn), "page {gpn:#x} of {view:?}");
                let covered = told
                    .iter()
                    .any(|&(in_view, first, pages)| in_view == view && (first..first + pages).contains(&gpn));
                assert!(covered || old.resolve(gpn) == new.resolve(gpn), "nobody was told of page {gpn:#x}");
            }
            let mapped: Vec<_> = self.space.mapped(view);
            let pages: u64 = mapped.iter().map(|(_, pages, _)| pages).sum();
            assert_eq!(pages, new.mapped.len() as u64, "mapped pages of {view:?}");
        }
    }

    /// A read, a write or a compare and exchange, across pages too.
    fn access(&mut self, source: &mut Source<'_>) {
        let view = source.below(VIEWS);
        let (gpn, _) = source.run();
        let offset = match source.u8() {
            selector @ 0..=127 => u64::from(selector) * 8,
            selector => PAGE_SIZE - 1 - u64::from(selector & 15),
        };
        let Some(gpa) = gpn.checked_mul(PAGE_SIZE).map(|gpa| gpa + offset) else { return };
        let length = 1 + source.below(16) as usize;
        let need = source.rights();
        // Where each byte lies, or the first page for which there is no access.
        let table = &self.tables[view as usize];
        let place = |gpa: u64| match table.resolve(gpa / PAGE_SIZE) {
            None => Err(AccessErrorCause::Unmapped),
            Some((_, _, have)) if !have.contains(need) => Err(AccessErrorCause::Denied { have, need }),
            Some((object, page, _)) => Ok((object, (page * PAGE_SIZE + gpa % PAGE_SIZE) as usize)),
        };
        let places: Result<Vec<_>, _> = (0..length as u64).map(|index| place(gpa + index)).collect();
        let view = ViewId(view as u8);
        let mut buffer = vec![source.u8(); length];
        let done = if source.u8() & 1 == 0 {
            self.space.write(view, gpa, &buffer, need)
        } else {
            self.space.read(view, gpa, &mut buffer, need)
        };
        match (done, &places) {
            (Ok(()), Ok(places)) => {
                // After either, the buffer is what memory holds; of aliased bytes the last one written counts.
                let mut now = vec![0; length];
                self.space.read(view, gpa, &mut now, Rights::NONE).expect("it was there a moment ago");
                for (&(object, at), byte) in places.iter().zip(&buffer) {
                    self.bytes[object][at] = *byte;
                }
                let expected: Vec<u8> = places.iter().map(|&(object, at)| self.bytes[object][at]).collect();
                assert_eq!(now, expected, "{length} bytes at {gpa:#x}");
            }
            (Err(error), Err(cause)) => assert_eq!(error.cause, *cause, "at {gpa:#x}"),
            (done, places) => panic!("{done:?} instead of {places:?} at {gpa:#x}"),
        }
    }
}

fn one_change(
    batch: &mut Batch<'_>,
    objects: &[Arc<MemoryObject>; 2],
    tables: &mut [Table; VIEWS as usize],
    source: &mut Source<'_>,
) {
    let kind = source.below(6);
    // Now and then a view that does not exist.
    let view = source.below(16);
    let view = if view == 15 { VIEWS } else { view as u8 % VIEWS };
    let ((gpn, pages), number, first, rights) =
        (source.run(), source.below(2) as usize, source.below(10), source.rights());
    let object = &objects[number];
    let id = ViewId(view);
    let in_space = pages != 0 && gpn.checked_add(pages).is_some_and(|end| end <= END) && view < VIEWS;
    let table = &mut tables[usize::from(view % VIEWS)];
    let run = gpn..gpn.saturating_add(pages);
    let (done, allowed): (Result<(), MemoryError>, bool) = match kind {
        0 | 1 => {
            let allowed = in_space && first + pages <= OBJECT_PAGES;
            if allowed {
                let places = run.zip(first..);
                table.mapped.extend(places.map(|(gpn, page)| (gpn, (number, page, rights))));
            }
            (batch.map(id, gpn, pages, object, first, rights), allowed)
        }
        2 => {
            if in_space {
                table.mapped.retain(|gpn, _| !run.contains(gpn));
            }
            (batch.unmap(id, gpn, pages), in_space)
        }
        3 => {
            if in_space {
                table.mapped.range_mut(run).for_each(|(_, place)| place.2 = rights);
            }
            (batch.protect(id, gpn, pages, rights), in_space)
        }
        4 => {
            let allowed = gpn < END && view < VIEWS && first < OBJECT_PAGES;
            let laid = batch.lay_overlay(id, gpn, object, first, rights);
            if let (Ok(overlay), true) = (&laid, allowed) {
                table.overlays.push((*overlay, gpn, (number, first, rights)));
            }
            (laid.map(drop), allowed)
        }
        _ => {
            if view < VIEWS && !table.overlays.is_empty() {
                let (overlay, ..) = table.overlays.remove(first as usize % table.overlays.len());
                batch.lift_overlay(id, overlay);
            }
            return;
        }
    };
    assert_eq!(done.is_ok(), allowed, "change {kind} at {gpn:#x}, {pages} pages: {done:?}");
}
