// SPDX-License-Identifier: MIT OR Apache-2.0
//! x87 control instructions against native ones, stack faults, and whose addresses FNSTENV shows.

use super::super::{Environment, Extensions, HostFrame, Outcome, StubCache, VectorState, X87Site};
use super::forms::decode;
use super::native::{code_page, without_pointers};
use super::random::Random;

/// Memory for a native operand, at `[rbx]`.
#[repr(C, align(64))]
struct Operand([u8; 128]);

fn with_operand(random: &mut Random) -> (HostFrame, Box<Operand>) {
    let mut operand = Box::new(Operand([0; 128]));
    for word in operand.0.chunks_exact_mut(8) {
        word.copy_from_slice(&random.bits().to_le_bytes());
    }
    let mut frame = random.frame();
    frame.gprs[3] = operand.0.as_mut_ptr() as u64;
    (frame, operand)
}

/// Runs `bytes` natively and `ours` on the vector state, and compares all but the x87 pointers. `ours` gets the
/// operand as it was and changes it as the instruction should.
fn agree(name: &str, bytes: &[u8], ours: impl Fn(&mut VectorState, &mut [u8; 128])) {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let (mut native, operand) = with_operand(&mut random);
        let mut state = native.vector.clone();
        let mut memory = operand.0;
        assert_eq!(code_page().run(bytes, &mut native), None, "{name}");
        ours(&mut state, &mut memory);
        let (expected, found) = (without_pointers(&native.vector), without_pointers(&state));
        assert!(expected == found, "{name}\nnative {expected:?}\nours   {found:?}");
        assert_eq!(operand.0, memory, "{name}: memory");
    }
}

/// Copies the parts of an environment that are not x87 pointers, which differ between programs.
fn copy_but_pointers(to: &mut [u8; 128], from: &[u8], form: Environment) {
    let kept = if form.size() == 28 { 12 } else { 6 };
    to[..kept].copy_from_slice(&from[..kept]);
}

#[test]
fn control_instructions_agree_with_the_host() {
    agree("fninit", &[0xDB, 0xE3], |state, _| state.fninit());
    agree("fnclex", &[0xDB, 0xE2], |state, _| state.fnclex());
    agree("fldcw", &[0xD9, 0x2B], |state, memory| state.fldcw(u16::from_le_bytes([memory[0], memory[1]])));
    agree("fnstcw", &[0xD9, 0x3B], |state, memory| memory[..2].copy_from_slice(&state.fcw().to_le_bytes()));
    agree("fnstsw", &[0xDD, 0x3B], |state, memory| memory[..2].copy_from_slice(&state.fsw().to_le_bytes()));
    agree("fwait", &[0x9B], |_, _| {});
    for nothing in [0xE0, 0xE1, 0xE4] {
        agree("fneni, fndisi, fnsetpm", &[0xDB, nothing], |_, _| {});
    }
}

#[test]
fn environments_agree_with_the_host() {
    for (prefix, form) in [(&[][..], Environment::Protected32), (&[0x66], Environment::Protected16)] {
        let with_prefix = |bytes: &[u8]| [prefix, bytes].concat();
        agree("fldenv", &with_prefix(&[0xD9, 0x23]), |state, memory| state.fldenv(form, memory));
        agree("frstor", &with_prefix(&[0xDD, 0x23]), |state, memory| state.frstor(form, memory));
        // What FNSTENV and FNSAVE store besides pointers, then what they leave behind.
        for (name, opcode) in [("fnstenv", [0xD9, 0x33]), ("fnsave", [0xDD, 0x33])] {
            for seed in 0..400 {
                let (mut native, operand) = with_operand(&mut Random::new(seed));
                let mut state = native.vector.clone();
                let mut expected = operand.0;
                assert_eq!(code_page().run(&with_prefix(&opcode), &mut native), None, "{name}");
                if name == "fnstenv" {
                    let stored = state.fnstenv(form);
                    copy_but_pointers(&mut expected, &stored, form);
                } else {
                    let stored = state.fnsave(form);
                    copy_but_pointers(&mut expected, &stored, form);
                    let end = form.size() + 80;
                    expected[form.size()..end].copy_from_slice(&stored[form.size()..end]);
                }
                let mut found = operand.0;
                let pointers = if form.size() == 28 { 12..28 } else { 6..14 };
                found[pointers.clone()].fill(0);
                expected[pointers].fill(0);
                assert_eq!(found, expected, "{name} {form:?}");
                assert!(without_pointers(&native.vector) == without_pointers(&state), "{name} {form:?}");
            }
        }
    }
}

#[test]
fn environment_pointers_are_the_guests() {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let fld = cache.compile(&decode(&[0xDD, 0x43, 0x10], 64)).expect("fld m64 compiles");
    let fchs = cache.compile(&decode(&[0xD9, 0xE0], 64)).expect("fchs compiles");
    let paddb = cache.compile(&decode(&[0x0F, 0xFC, 0xC1], 64)).expect("paddb mm compiles");
    let mut frame = HostFrame::new();
    let site = X87Site { rip: 0x7FFF_8123_4567, opcode: 0x543, data: Some(0x1_89AB_CDEF) };
    assert_eq!(fld.run(&mut frame, || site), Outcome::Done);
    // No memory operand: FDP stays. MMX instructions: all stay.
    let second = X87Site { rip: 0x7FFF_8123_456A, opcode: 0x1E0, data: None };
    assert_eq!(fchs.run(&mut frame, || second), Outcome::Done);
    assert_eq!(paddb.run(&mut frame, || panic!("not an x87 instruction")), Outcome::Done);

    let words = |bytes: [u8; 28]| {
        let (words, _) = bytes.as_chunks::<4>();
        [3, 4, 5, 6].map(|index: usize| u32::from_le_bytes(words[index]))
    };
    let halves = |bytes: [u8; 28]| {
        let (halves, _) = bytes.as_chunks::<2>();
        [3, 4, 5, 6].map(|index: usize| u16::from_le_bytes(halves[index]))
    };
    let vector = &mut frame.vector;
    assert_eq!(
        words(vector.fnstenv(Environment::Protected32)),
        [0x8123_456A, 0x01E0_0000, 0x89AB_CDEF, 0xFFFF_0000]
    );
    assert_eq!(words(vector.fnstenv(Environment::Real32)), [0x456A, 0x0812_31E0, 0xCDEF, 0x089A_B000]);
    assert_eq!(halves(vector.fnstenv(Environment::Protected16)), [0x456A, 0, 0xCDEF, 0]);
    assert_eq!(halves(vector.fnstenv(Environment::Real16)), [0x456A, 0x31E0, 0xCDEF, 0xB000]);

    for form in [Environment::Protected32, Environment::Real32] {
        let mut state = frame.vector.clone();
        let stored = state.fnstenv(form);
        let mut loaded = VectorState::initial();
        loaded.fldenv(form, &stored);
        assert_eq!(loaded.fip(), 0x8123_456A, "{form:?}");
        assert_eq!(loaded.fop(), 0x1E0, "{form:?}");
        assert_eq!(loaded.fdp(), 0x89AB_CDEF, "{form:?}");
    }
}

#[test]
fn fnstenv_masks_and_the_pending_exception_goes() {
    let mut state = VectorState::initial();
    state.set_x87_words(0x37E, 0x0001, 0);
    assert!(state.x87_exception_pending());
    assert_eq!(state.fsw(), 0x8081, "ES and B tell of it");
    let stored = state.fnstenv(Environment::Protected32);
    assert_eq!(stored[..6], [0x7E, 0x03, 0xFF, 0xFF, 0x81, 0x80]);
    assert!(!state.x87_exception_pending());
    assert_eq!(state.fsw(), 0x0001);
}

/// Stack overflow and underflow, masked: IE and SF with C1 = 1 or 0, and the default NaN.
#[test]
fn stack_faults_are_the_hosts() {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let fld1 = cache.compile(&decode(&[0xD9, 0xE8], 64)).expect("fld1 compiles");
    let faddp = cache.compile(&decode(&[0xDE, 0xC1], 64)).expect("faddp compiles");
    let mut frame = HostFrame::new();
    for _ in 0..8 {
        assert_eq!(fld1.run(&mut frame, X87Site::default), Outcome::Done);
    }
    assert_eq!((frame.vector.fsw(), frame.vector.abridged_ftw()), (0, 0xFF));
    assert_eq!(fld1.run(&mut frame, X87Site::default), Outcome::Done);
    assert_eq!(frame.vector.fsw(), 0x3800 | 0x241, "overflow: IE, SF, C1");
    assert_eq!(frame.vector.st(0), [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF], "default NaN");

    let mut frame = HostFrame::new();
    assert_eq!(faddp.run(&mut frame, X87Site::default), Outcome::Done);
    assert_eq!(frame.vector.fsw() & 0x27F, 0x041, "underflow: IE, SF, not C1");

    // Unmasked: the stack stays, and the next instruction reports it.
    let mut frame = HostFrame::new();
    frame.vector.fldcw(0x37E);
    assert_eq!(faddp.run(&mut frame, X87Site::default), Outcome::Done);
    assert_eq!(frame.vector.abridged_ftw(), 0);
    assert_eq!(fld1.run(&mut frame, X87Site::default), Outcome::X87Pending);
    assert_eq!(frame.vector.abridged_ftw(), 0, "not executed");
}

#[test]
fn mmx_views_and_masked_stores() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        // movq mm3, [rbx] natively leaves what the state functions say.
        let (mut native, operand) = with_operand(&mut random);
        let mut state = native.vector.clone();
        assert_eq!(code_page().run(&[0x0F, 0x6F, 0x1B], &mut native), None);
        state.enter_mmx();
        assert_eq!(state.fsw(), native.vector.fsw());
        assert_eq!(state.abridged_ftw(), native.vector.abridged_ftw());
        let (words, _) = operand.0.as_chunks::<8>();
        assert_eq!(native.vector.mmx(3), u64::from_le_bytes(words[0]));
        for index in [0, 1, 2, 4, 5, 6, 7] {
            assert_eq!(state.mmx(index), native.vector.mmx(index));
        }
    }
    let mask = u128::from_le_bytes([0x80, 0x7F, 0xFF, 0, 0, 0, 0, 0x81, 0, 0, 0, 0, 0, 0, 0, 0x90]);
    assert_eq!(VectorState::masked_store(mask), 0b1000_0000_1000_0101);
}
