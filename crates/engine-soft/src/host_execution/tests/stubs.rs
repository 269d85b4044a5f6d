// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stubs against native execution, for every form.

use super::super::{Extensions, HostFrame, Outcome, STATUS_FLAGS, Stub, StubCache, X87Site};
use super::forms::{Form, Instance, stub_forms};
use super::native::{CodePage, Signal, code_page, without_pointers};
use super::random::Random;

/// Memory for a native operand, with room for misaligned ones.
#[repr(C, align(64))]
struct Operand([u8; 128]);

const SITE: X87Site = X87Site { rip: 0x1122_3344_5566, opcode: 0x123, data: None };

/// What an instance did natively and as a stub.
pub(super) struct Comparison {
    pub(super) native: Option<Signal>,
    pub(super) outcome: Outcome,
    pub(super) frame: HostFrame,
}

/// Runs `instance` both ways on `frame` and asserts that registers, flags and memory agree.
pub(super) fn compare(
    page: &mut CodePage,
    instance: &Instance,
    stub: &Stub,
    frame: &HostFrame,
    random: &mut Random,
) -> Comparison {
    let what = format!("{} {:02x?}", debug(instance), instance.bytes);
    let mut operand = Operand([0; 128]);
    let words: [u128; 8] = std::array::from_fn(|_| random.vector());
    operand.0.copy_from_slice(words.map(u128::to_le_bytes).as_flattened());
    let before = operand.0;
    let mut start = frame.clone();
    if let Some((base, displacement)) = instance.address {
        let address = operand.0.as_ptr() as u64;
        start.gprs[base] = address.wrapping_sub(displacement as i64 as u64);
    }

    let mut native = start.clone();
    native.rflags |= 0x202;
    let signal = page.run(&instance.bytes, &mut native);

    let mut ours = start.clone();
    if let Some(memory) = stub.memory()
        && memory.read
    {
        let size = usize::from(memory.size);
        ours.bounce.0[..size].copy_from_slice(&before[..size]);
    }
    let outcome = stub.run(&mut ours, || SITE);

    let done = matches!(outcome, Outcome::Done | Outcome::DoneWithoutStore);
    assert_eq!(done, signal.is_none(), "{what}: {outcome:?}, natively {signal:?}");
    assert_eq!(ours.gprs, native.gprs, "{what}: general registers; before {:x?}", start.gprs);
    let (expected, found) = (without_pointers(&native.vector), without_pointers(&ours.vector));
    assert!(expected == found, "{what}\nbefore  {:?}\nnative  {expected:?}\nstub    {found:?}", start.vector);
    if done {
        let undefined = flags_undefined(instance);
        let written = stub.flags_written();
        assert_eq!(ours.rflags & !written, start.rflags & !written, "{what}: flags that must stay");
        let defined = STATUS_FLAGS & !undefined;
        assert_eq!(ours.rflags & defined, native.rflags & defined, "{what}: flags");
        if instance.address.is_some() {
            let memory = stub.memory().unwrap_or_else(|| panic!("{what}: no memory operand"));
            let size = usize::from(memory.size);
            if memory.write && outcome == Outcome::Done {
                assert_eq!(ours.bounce.0[..size], operand.0[..size], "{what}: memory");
                assert_eq!(before[size..], operand.0[size..], "{what}: memory behind the operand");
            } else {
                assert_eq!(before, operand.0, "{what}: writes memory");
            }
        }
    } else {
        assert_eq!(before, operand.0, "{what}: memory after a fault");
    }
    for index in 0..16 {
        let changed = ours.gprs[index] != start.gprs[index];
        assert!(!changed || stub.gprs_written().contains(index), "{what}: register {index} changed");
    }
    Comparison { native: signal, outcome, frame: ours }
}

pub(super) fn debug(instance: &Instance) -> String {
    format!("{:?}", instance.instruction.code())
}

fn flags_undefined(instance: &Instance) -> u64 {
    super::super::compile::status_flags(instance.instruction.rflags_undefined())
}

/// Runs each form `rounds` times on frames made by `prepare`, and returns how many runs there were.
pub(super) fn run_all(
    rounds: usize,
    wanted: impl Fn(&Form) -> bool,
    prepare: impl Fn(&mut Random) -> HostFrame,
    mut seen: impl FnMut(&Form, &Comparison),
) -> usize {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let mut page = code_page();
    let mut runs = 0;
    for form in stub_forms().filter(|form| wanted(form)) {
        let mut random = Random::new(form.code as u64 * 2 + u64::from(form.has_memory));
        for _ in 0..rounds {
            let instance = form.instance(&mut random);
            let stub = cache
                .compile(&instance.instruction)
                .unwrap_or_else(|error| panic!("{:?} {:02x?}: {error}", form.code, instance.bytes));
            let frame = prepare(&mut random);
            seen(form, &compare(&mut page, &instance, &stub, &frame, &mut random));
            runs += 1;
        }
    }
    runs
}

#[test]
fn every_form_agrees_with_the_host() {
    let mut codes = std::collections::BTreeSet::new();
    let runs = run_all(
        60,
        |_| true,
        Random::frame,
        |form, _| {
            codes.insert(form.code as usize);
        },
    );
    println!("{runs} runs of {} codes", codes.len());
    assert!(codes.len() > 700, "only {} codes", codes.len());
}
