// SPDX-License-Identifier: MIT OR Apache-2.0
//! FXSAVE, FXRSTOR and the XSAVE family against native ones.

use std::convert::Infallible;

use super::super::{AVX, PointerWidth, RestoreForm, SSE, SaveForm, VectorState, X87, XrstorError};
use super::native::{code_page, without_pointers};
use super::random::Random;

/// An XSAVE area, with more room than the three components take.
#[repr(C, align(64))]
#[derive(Clone)]
struct Area([u8; 1024]);

impl Area {
    fn random(random: &mut Random) -> Self {
        let mut area = Self([0; 1024]);
        for word in area.0.chunks_exact_mut(8) {
            word.copy_from_slice(&random.bits().to_le_bytes());
        }
        area
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) -> Result<(), Infallible> {
        self.0[offset..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn get(&self, offset: usize, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0[offset..][..bytes.len()]);
        Ok(())
    }

    /// Without x87 pointers, which some processors leave out, and MXCSR_MASK, which differs between processors.
    fn comparable(&self) -> Self {
        let mut area = self.clone();
        area.0[6..24].fill(0);
        area.0[28..32].fill(0);
        area
    }
}

#[test]
fn fxsave_and_fxrstor_agree_with_the_host() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mut frame = random.frame();
        let mut ours = Area::random(&mut random);
        let mut area = Box::new(ours.clone());
        frame.gprs[3] = area.0.as_mut_ptr() as u64;
        // fxsave64 [rbx]
        let mut native = frame.clone();
        assert_eq!(code_page().run(&[0x48, 0x0F, 0xAE, 0x03], &mut native), None);
        let (image, length) = frame.vector.fxsave(PointerWidth::Offset64, true);
        ours.put(0, &image[..length]).expect("infallible");
        assert!(ours.comparable().0 == area.comparable().0, "{:02x?}\n{:02x?}", ours.0, area.0);

        // fxrstor64 [rbx] from random bytes, some with reserved bits of MXCSR.
        let mut source = Area::random(&mut random);
        let reserved = if random.one_in(4) { 1 << (18 + random.below(14)) } else { 0 };
        let mxcsr = random.bits() as u32 & 0xFFFF | reserved;
        source.put(24, &mxcsr.to_le_bytes()).expect("infallible");
        *area = source.clone();
        let mut native = frame.clone();
        let signal = code_page().run(&[0x48, 0x0F, 0xAE, 0x0B], &mut native);
        let image = source.0.first_chunk().expect("an area is longer");
        let loaded = frame.vector.fxrstor(image, PointerWidth::Offset64, true);
        assert_eq!(loaded.is_err(), signal == Some(libc::SIGSEGV));
        assert!(without_pointers(&native.vector) == without_pointers(&frame.vector));
    }
}

#[test]
fn fxsave_outside_64_bit_mode_has_eight_registers_and_short_pointers() {
    let mut random = Random::new(7);
    let state = random.frame().vector;
    let (image, length) = state.fxsave(PointerWidth::Offset32, false);
    assert_eq!(length, 288);
    assert_eq!(image[8..12], state.fip().to_le_bytes()[..4]);
    assert_eq!(image[12..16], [0; 4], "FCS is deprecated");
    let mut full = [0; 512];
    full[..length].copy_from_slice(&image[..length]);
    let mut loaded = VectorState::initial();
    loaded.set_xmm(9, 42);
    loaded.fxrstor(&full, PointerWidth::Offset32, false).expect("MXCSR is valid");
    assert_eq!(loaded.xmm(7), state.xmm(7));
    assert_eq!(loaded.xmm(9), 42, "XMM8 to XMM15 stay");
    assert_eq!(loaded.fip(), state.fip() & 0xFFFF_FFFF);
    assert_eq!(loaded.fop(), state.fop());
}

/// XRSTOR from an area with any header, then a save of any form with any mask.
#[test]
fn the_xsave_family_agrees_with_the_host() {
    if !std::arch::is_x86_feature_detected!("xsavec") || !std::arch::is_x86_feature_detected!("xsaveopt") {
        println!("SKIPPED: this host has no XSAVEC or no XSAVEOPT");
        return;
    }
    let mut counts = [0; 2];
    for seed in 0..6000 {
        let mut random = Random::new(seed);
        let (source, compacted) = random_source(&mut random);
        let target = Area::random(&mut random);
        let (requested, rfbm) = (random.below(8), random.below(8));
        let (form, opcode) = [
            (SaveForm::Xsave, [0x48, 0x0F, 0xAE, 0x21]),
            (SaveForm::Xsaveopt, [0x48, 0x0F, 0xAE, 0x31]),
            (SaveForm::Xsavec, [0x48, 0x0F, 0xC7, 0x21]),
        ][random.below(3) as usize];
        let what = format!("seed {seed}: restore {requested:#b} compacted {compacted}, {form:?} {rfbm:#b}");

        // xrstor64 [rbx]; mov eax, rfbm; xsave64 [rcx] or its kin
        let mut code = vec![0x48, 0x0F, 0xAE, 0x2B, 0xB8, rfbm as u8, 0, 0, 0];
        code.extend(opcode);
        // mov ecx, 1; xgetbv
        code.extend([0xB9, 1, 0, 0, 0, 0x0F, 0x01, 0xD0]);
        let mut frame = random.frame();
        let (native_source, mut native_target) = (Box::new(source.clone()), Box::new(target.clone()));
        frame.gprs[0] = requested;
        frame.gprs[1] = native_target.0.as_mut_ptr() as u64;
        frame.gprs[2] = 0;
        frame.gprs[3] = native_source.0.as_ptr() as u64;
        let enabled = X87 | SSE | AVX;
        let width = PointerWidth::Offset64;
        let mut state = frame.vector.clone();
        let restored =
            state.xrstor(RestoreForm::Xrstor, requested, enabled, width, true, |o, b| source.get(o, b));
        let mut ours = target.clone();
        if restored.is_ok() {
            let Ok(()) = state.xsave(form, rfbm, width, true, xstate_bv(&target), |o, b| ours.put(o, b));
        }

        // A processor may count an initial component as in use, and does if the thread is interrupted between
        // the instructions.
        let mut native;
        let mut signal;
        let mut tries = 0;
        loop {
            *native_target = target.clone();
            native = frame.clone();
            signal = code_page().run(&code, &mut native);
            tries += 1;
            let in_use_agrees =
                native.gprs[0] & 7 == state.xinuse() && xstate_bv(&native_target) == xstate_bv(&ours);
            if in_use_agrees || signal.is_some() || tries == 8 {
                break;
            }
        }

        match restored {
            Ok(()) => {
                assert_eq!(signal, None, "{what}");
                assert!(
                    without_pointers(&state) == without_pointers(&native.vector),
                    "{what}\n{state:?}\n{:?}",
                    native.vector
                );
                assert_eq!(native.gprs[0] & 7, state.xinuse(), "{what}: XINUSE, mxcsr {:#x}", state.mxcsr());
                assert_areas_agree(&ours, &native_target, rfbm, &what);
                counts[0] += 1;
            }
            Err(XrstorError::GeneralProtection) => {
                assert_eq!(signal, Some(libc::SIGSEGV), "{what}");
                assert!(native_target.0 == target.0, "{what}");
                counts[1] += 1;
            }
            Err(XrstorError::Memory(never)) => match never {},
        }
    }
    println!("{} restored, {} refused", counts[0], counts[1]);
    assert!(counts.iter().all(|&count| count > 500), "{counts:?}");
}

/// An area whose header is valid more often than not.
fn random_source(random: &mut Random) -> (Area, bool) {
    let mut source = Area::random(random);
    let reserved = if random.one_in(8) { 1 << (18 + random.below(14)) } else { 0 };
    let mxcsr = if random.one_in(4) { 0x1F80 } else { random.bits() as u32 & 0xFFFF | reserved };
    let compacted = random.one_in(2);
    let components = random.below(8);
    let mut xcomp_bv = if compacted { 1 << 63 | components } else { 0 };
    let mut xstate_bv = random.below(8);
    if compacted && !random.one_in(8) {
        xstate_bv &= components;
    }
    // Component 8 is never the user's.
    match random.below(16) {
        0 => xcomp_bv |= 1 << 8,
        1 => xstate_bv |= 1 << 8,
        _ => {}
    }
    let mut header = [0; 64];
    header[..8].copy_from_slice(&xstate_bv.to_le_bytes());
    header[8..16].copy_from_slice(&xcomp_bv.to_le_bytes());
    match random.below(12) {
        0 => header[16 + random.below(8) as usize] = 1,
        1 => header[24 + random.below(40) as usize] = 1,
        _ => {}
    }
    source.put(24, &mxcsr.to_le_bytes()).expect("infallible");
    source.put(512, &header).expect("infallible");
    (source, compacted)
}

fn xstate_bv(area: &Area) -> u64 {
    u64::from_le_bytes(*area.0[512..].first_chunk().expect("an area is longer"))
}

fn assert_areas_agree(ours: &Area, native: &Area, rfbm: u64, what: &str) {
    let (ours, native) = (ours.comparable(), native.comparable());
    assert_eq!(xstate_bv(&ours), xstate_bv(&native), "{what}: XSTATE_BV");
    for (offset, (left, right)) in ours.0.iter().zip(native.0).enumerate() {
        assert_eq!(*left, right, "{what}, rfbm {rfbm}: byte {offset}");
    }
}

#[test]
fn xsave_pieces_rise_and_stay_in_the_area() {
    let state = Random::new(3).frame().vector;
    for form in [SaveForm::Xsave, SaveForm::Xsaveopt, SaveForm::Xsavec, SaveForm::Xsaves] {
        for rfbm in 0..8 {
            let mut end = 0;
            let mut header = Vec::new();
            let Ok(()) = state.xsave(form, rfbm, PointerWidth::Offset64, true, 0, |offset, bytes| {
                if (512..576).contains(&offset) {
                    header.push(offset);
                } else {
                    assert!(offset >= end && offset + bytes.len() <= 832, "{form:?} {rfbm}");
                    end = offset + bytes.len();
                }
                Ok::<_, Infallible>(())
            });
            let compacted = matches!(form, SaveForm::Xsavec | SaveForm::Xsaves);
            assert_eq!(header, if compacted { vec![512, 520] } else { vec![512] });
        }
    }
}

#[test]
fn xrstors_takes_only_the_compacted_form() {
    let mut area = Area([0; 1024]);
    let mut state = VectorState::initial();
    let mut restore = |area: &Area| {
        state.xrstor(RestoreForm::Xrstors, 7, 7, PointerWidth::Offset64, true, |o, b| area.get(o, b))
    };
    assert_eq!(restore(&area), Err(XrstorError::GeneralProtection));
    area.put(520, &(1_u64 << 63 | 7).to_le_bytes()).expect("infallible");
    assert_eq!(restore(&area), Ok(()));
}

#[test]
fn a_faulting_read_changes_nothing() {
    let mut random = Random::new(11);
    let mut state = random.frame().vector;
    let before = state.clone();
    let mut source = Area::random(&mut random);
    source.put(24, &0x1F80_u32.to_le_bytes()).expect("infallible");
    source.put(512, &7_u64.to_le_bytes()).expect("infallible");
    source.put(520, &[0; 56]).expect("infallible");
    let read = |offset: usize, bytes: &mut [u8]| {
        if offset + bytes.len() > 576 && offset >= 576 {
            return Err("not mapped");
        }
        bytes.copy_from_slice(&source.0[offset..][..bytes.len()]);
        Ok(())
    };
    let result = state.xrstor(RestoreForm::Xrstor, 7, 7, PointerWidth::Offset64, true, read);
    assert_eq!(result, Err(XrstorError::Memory("not mapped")));
    assert!(state == before);
}
