// SPDX-License-Identifier: MIT OR Apache-2.0
//! Emitted code: never writable where it is executable, and alive as long as someone can run it.

use std::sync::Arc;

use super::super::{Extensions, HostFrame, Outcome, Stub, StubCache, X87Site};
use super::forms::decode;

/// pshufd xmm(a), xmm(b), immediate.
fn pshufd(to: u8, from: u8, immediate: u8) -> [u8; 6] {
    let rex = 0x40 | (to >> 3) << 2 | from >> 3;
    [0x66, rex, 0x0F, 0x70, 0xC0 | (to & 7) << 3 | from & 7, immediate]
}

fn shuffle(value: u128, immediate: u8) -> u128 {
    (0..4_u32).fold(0, |all, lane| {
        let from = u32::from(immediate >> (2 * lane) & 3);
        all | (value >> (32 * from) & 0xFFFF_FFFF) << (32 * lane)
    })
}

#[test]
fn stubs_outlive_the_cache_and_its_code_memory() {
    let mut cache = StubCache::new(Extensions::new()).expect("the baseline is on every host");
    let mut stubs = Vec::new();
    // More than one code memory holds.
    for index in 0..20_000_u32 {
        let (to, from, immediate) = ((index >> 8 & 15) as u8, (index >> 12 & 15) as u8, index as u8);
        let stub = cache.compile(&decode(&pshufd(to, from, immediate), 64)).expect("compiles");
        stubs.push((stub, to, from, immediate));
    }
    drop(cache);
    let value = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
    for (stub, to, from, immediate) in &stubs {
        let mut frame = HostFrame::new();
        frame.vector.set_xmm((*from).into(), value);
        assert_eq!(stub.run(&mut frame, X87Site::default), Outcome::Done);
        assert_eq!(frame.vector.xmm((*to).into()), shuffle(value, *immediate));
    }
}

#[test]
fn no_mapping_of_emitted_code_is_writable_and_executable() {
    let mut cache = StubCache::new(Extensions::new()).expect("the baseline is on every host");
    let _stub = cache.compile(&decode(&pshufd(0, 1, 2), 64)).expect("compiles");
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has /proc/self/maps");
    let mut rights: Vec<_> = maps
        .lines()
        .filter(|line| line.contains("viridian-code"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    rights.sort_unstable();
    rights.dedup();
    assert_eq!(rights, ["r-xs", "rw-s"]);
}

#[test]
fn instructions_that_are_alike_share_a_stub() {
    let mut cache = StubCache::new(Extensions::new()).expect("the baseline is on every host");
    let mut compile = |bytes: &[u8]| cache.compile(&decode(bytes, 64)).expect("compiles");
    // movups xmm1, [rbx]; [r9 + rax * 4 + 0x12345678]; gs:[rip + 0x10]
    let first = compile(&[0x0F, 0x10, 0x0B]);
    assert!(Arc::ptr_eq(&first, &compile(&[0x41, 0x0F, 0x10, 0x8C, 0x81, 0x78, 0x56, 0x34, 0x12])));
    assert!(Arc::ptr_eq(&first, &compile(&[0x65, 0x0F, 0x10, 0x0D, 0x10, 0, 0, 0])));
    assert!(!Arc::ptr_eq(&first, &compile(&[0x0F, 0x10, 0x13])), "another register");
}

#[test]
fn stubs_go_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    shared::<Stub>();
    moved::<StubCache>();
    let mut cache = StubCache::new(Extensions::new()).expect("the baseline is on every host");
    let stub = cache.compile(&decode(&pshufd(0, 1, 0x1B), 64)).expect("compiles");
    let result = std::thread::spawn(move || {
        let mut frame = HostFrame::new();
        frame.vector.set_xmm(1, 1);
        assert_eq!(stub.run(&mut frame, X87Site::default), Outcome::Done);
        frame.vector.xmm(0)
    });
    assert_eq!(result.join().expect("the thread ends"), 1 << 96);
}
