// SPDX-License-Identifier: MIT OR Apache-2.0
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;

const V: ViewId = ViewId(0);

fn ram(pages: u64) -> (Arc<Space>, Arc<MemoryObject>) {
    let space = Space::new(40);
    let object = MemoryObject::allocate(pages * PAGE_SIZE).unwrap();
    space.batch(|batch| batch.map(V, 0, pages, &object, 0, Rights::ALL)).unwrap();
    (space, object)
}

#[test]
fn values_and_bytes_round_trip_across_pages() {
    let (space, _) = ram(2);
    space.write(V, 0xFFE, &[1, 2, 3, 4], Rights::WRITE).unwrap();
    assert_eq!(space.read_value::<2>(V, 0xFFE, Rights::READ).unwrap(), 0x0201);
    assert_eq!(space.read_value::<2>(V, 0x1000, Rights::READ).unwrap(), 0x0403);
    space.write_value::<8>(V, 0x1008, u64::MAX, Rights::WRITE).unwrap();
    assert_eq!(space.compare_exchange::<8>(V, 0x1008, 5, 6, Rights::WRITE).unwrap(), u64::MAX);
    assert_eq!(space.compare_exchange::<8>(V, 0x1008, u64::MAX, 6, Rights::WRITE).unwrap(), u64::MAX);
    assert_eq!(space.compare_exchange::<4>(V, 0x1008, 6, 7, Rights::WRITE).unwrap(), 6);
    assert_eq!(space.read_value::<1>(V, 0x1008, Rights::READ).unwrap(), 7);
}

#[test]
fn a_split_write_is_checked_whole_before_any_byte_moves() {
    // B05: TLFS 5.2.
    let (space, _) = ram(2);
    space.batch(|batch| batch.protect(V, 1, 1, Rights::READ)).unwrap();
    let error = space.write(V, 0xFFE, &[9; 4], Rights::WRITE).unwrap_err();
    assert_eq!(error.gpa, 0x1000);
    assert!(matches!(error.cause, AccessErrorCause::Denied { have: Rights::READ, .. }));
    assert_eq!(space.read_value::<2>(V, 0xFFE, Rights::READ).unwrap(), 0);
    let error = space.write(V, 0x1FFF, &[9; 2], Rights::NONE).unwrap_err();
    assert_eq!(error, AccessError { gpa: 0x2000, cause: AccessErrorCause::Unmapped });
    assert!(space.read(V, u64::MAX, &mut [0; 2], Rights::READ).is_err());
}

#[test]
fn overlays_hide_and_give_back() {
    let (space, _) = ram(2);
    space.write_value::<4>(V, 0x1000, 0x1111, Rights::WRITE).unwrap();
    space.batch(|batch| batch.protect(V, 1, 1, Rights::NONE)).unwrap();
    let page = MemoryObject::allocate(PAGE_SIZE).unwrap();
    let first = space.batch(|batch| batch.lay_overlay(V, 1, &page, 0, Rights::ALL)).unwrap();
    // Rights of the page below do not bind the overlay.
    space.write_value::<4>(V, 0x1000, 0x2222, Rights::WRITE).unwrap();
    let other = MemoryObject::allocate(PAGE_SIZE).unwrap();
    let second = space.batch(|batch| batch.lay_overlay(V, 1, &other, 0, Rights::READ)).unwrap();
    assert_eq!(space.read_value::<4>(V, 0x1000, Rights::READ).unwrap(), 0);
    space.batch(|batch| batch.lift_overlay(V, second));
    assert_eq!(space.read_value::<4>(V, 0x1000, Rights::READ).unwrap(), 0x2222);
    space.batch(|batch| batch.lift_overlay(V, first));
    assert_eq!(space.read_value::<4>(V, 0x1000, Rights::NONE).unwrap(), 0x1111);
    assert!(space.read_value::<4>(V, 0x1000, Rights::READ).is_err());
    // An overlay may lie where nothing is mapped.
    space.batch(|batch| batch.lay_overlay(V, 0x5000, &page, 0, Rights::ALL)).unwrap();
    assert_eq!(space.read_value::<4>(V, 0x500_0000, Rights::READ).unwrap(), 0x2222);
}

#[test]
fn lent_pages_that_fault_are_errors() {
    // SAFETY: a fresh mapping without access rights, lent for the length of the test.
    let object = unsafe {
        let pointer = libc::mmap(
            core::ptr::null_mut(),
            3 * 4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        libc::mprotect(pointer.byte_add(4096), 4096, libc::PROT_NONE);
        MemoryObject::lend(NonNull::new(pointer.cast()).unwrap(), 3 * 4096).unwrap()
    };
    let space = Space::new(40);
    space.batch(|batch| batch.map(V, 0, 3, &object, 0, Rights::ALL)).unwrap();
    let fault = |gpa| AccessError { gpa, cause: AccessErrorCause::HostFault };
    assert_eq!(space.read_value::<1>(V, 0x1000, Rights::READ), Err(fault(0x1000)));
    assert_eq!(space.read_value::<2>(V, 0x1000, Rights::READ), Err(fault(0x1000)));
    assert_eq!(space.read_value::<4>(V, 0x1000, Rights::READ), Err(fault(0x1000)));
    assert_eq!(space.read_value::<8>(V, 0x1000, Rights::READ), Err(fault(0x1000)));
    assert_eq!(space.write_value::<1>(V, 0x1FFF, 1, Rights::WRITE), Err(fault(0x1FFF)));
    assert_eq!(space.write_value::<8>(V, 0x1000, 1, Rights::WRITE), Err(fault(0x1000)));
    assert_eq!(space.compare_exchange::<4>(V, 0x1000, 0, 1, Rights::WRITE), Err(fault(0x1000)));
    assert_eq!(space.compare_exchange::<8>(V, 0x1000, 0, 1, Rights::WRITE), Err(fault(0x1000)));
    assert_eq!(space.read(V, 0xFFF, &mut [0; 2], Rights::READ), Err(fault(0x1000)));
    assert_eq!(space.write(V, 0xFFF, &[0; 0x1002], Rights::WRITE), Err(fault(0x1000)));
    space.write(V, 0x2000, &[1], Rights::WRITE).unwrap();
}

#[test]
fn bad_ranges_are_refused_with_nothing_changed() {
    let (space, object) = ram(2);
    let past = space.batch(|batch| batch.map(V, 8, 2, &object, 1, Rights::ALL));
    assert!(matches!(past, Err(MemoryError::OutOfRange { what: "a memory object", .. })));
    let past = space.batch(|batch| batch.map(V, space.end(), 1, &object, 0, Rights::ALL));
    assert!(matches!(past, Err(MemoryError::OutOfRange { what: "the guest-physical address space", .. })));
    assert!(space.batch(|batch| batch.unmap(V, u64::MAX, 2)).is_err());
    assert!(matches!(
        space.batch(|batch| batch.unmap(ViewId(1), 0, 1)),
        Err(MemoryError::NoSuchView(ViewId(1)))
    ));
    assert_eq!(space.mapped(V), vec![(0, 2, Rights::ALL)]);
    assert!(MemoryObject::allocate(0).is_err());
    assert!(MemoryObject::allocate(4097).is_err());
    assert!(MemoryObject::allocate(1 << 60).is_err());
}

#[derive(Default)]
struct Recorder {
    changes: Mutex<Vec<(ViewId, u64, u64)>>,
    stores: Mutex<Vec<(ObjectId, u64, u32, u32)>>,
}

impl SpaceObserver for Recorder {
    fn changed(&self, view: ViewId, first: u64, pages: u64) {
        self.changes.lock().unwrap().push((view, first, pages));
    }
}

impl StoreWatcher for Recorder {
    fn stored(&self, object: ObjectId, page: u64, offset: u32, bytes: u32) {
        self.stores.lock().unwrap().push((object, page, offset, bytes));
    }
}

#[test]
fn observers_hear_of_changes_and_watchers_of_stores_to_watched_pages() {
    let (space, object) = ram(4);
    let recorder = Arc::new(Recorder::default());
    let as_observer: Arc<dyn SpaceObserver> = recorder.clone();
    space.add_observer(Arc::downgrade(&as_observer));
    let as_watcher: Arc<dyn StoreWatcher> = recorder.clone();
    object.add_watcher(Arc::downgrade(&as_watcher));

    space.batch(|batch| batch.protect(V, 1, 2, Rights::READ_EXECUTE)).unwrap();
    assert_eq!(*recorder.changes.lock().unwrap(), [(V, 1, 2)]);

    space.write(V, 0, &[0; 8], Rights::NONE).unwrap();
    assert!(recorder.stores.lock().unwrap().is_empty());
    assert!(!object.watch(1));
    assert!(object.watch(1));
    space.write(V, 0xFFC, &[0; 8], Rights::NONE).unwrap();
    space.compare_exchange::<4>(V, 0x1010, 1, 2, Rights::NONE).unwrap();
    space.compare_exchange::<4>(V, 0x1010, 0, 2, Rights::NONE).unwrap();
    object.unwatch(1);
    space.write(V, 0x1000, &[0; 8], Rights::NONE).unwrap();
    assert_eq!(*recorder.stores.lock().unwrap(), [(object.id(), 1, 0, 4), (object.id(), 1, 0x10, 4)]);
}

#[test]
fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/memory");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is part of the repository") {
        let path = entry.expect("a readable folder").path();
        fuzz::batches(&std::fs::read(&path).expect("a readable file"));
        files += 1;
    }
    assert!(files > 0, "{folder} is empty");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Views agree with plain tables of pages and bytes after any sequence of batches.
    #[test]
    fn views_agree_with_a_table(data in prop::collection::vec(any::<u8>(), 0..600)) {
        fuzz::batches(&data);
    }
}
