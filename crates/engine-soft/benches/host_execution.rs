// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nanoseconds that one stub takes, by kind of border: what an interpreter pays beside its own dispatch.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use engine_soft::host_execution::{Extensions, HostFrame, Outcome, Stub, StubCache, X87Site};
use iced_x86::{Decoder, DecoderOptions};

const ROUNDS: u32 = 2_000_000;

fn main() {
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let cases: [(&str, &[u8]); 17] = [
        ("popcnt rax, rcx", &[0xF3, 0x48, 0x0F, 0xB8, 0xC1]),
        ("mulx rax, rbx, rcx", &[0xC4, 0xE2, 0xE3, 0xF6, 0xC1]),
        ("adcx rax, rcx", &[0x66, 0x48, 0x0F, 0x38, 0xF6, 0xC1]),
        ("movaps xmm0, xmm1", &[0x0F, 0x28, 0xC1]),
        ("movdqu xmm0, [rbx]", &[0xF3, 0x0F, 0x6F, 0x03]),
        ("movdqu [rbx], xmm0", &[0xF3, 0x0F, 0x7F, 0x03]),
        ("pxor xmm0, xmm1", &[0x66, 0x0F, 0xEF, 0xC1]),
        ("addsd xmm0, xmm1", &[0xF2, 0x0F, 0x58, 0xC1]),
        ("mulsd xmm0, [rbx]", &[0xF2, 0x0F, 0x59, 0x03]),
        ("ucomisd xmm0, xmm1", &[0x66, 0x0F, 0x2E, 0xC1]),
        ("cvtsi2sd xmm0, rax", &[0xF2, 0x48, 0x0F, 0x2A, 0xC0]),
        ("sha256rnds2 xmm1, xmm2", &[0x0F, 0x38, 0xCB, 0xCA]),
        ("paddb mm0, mm1", &[0x0F, 0xFC, 0xC1]),
        ("fadd st, st(1)", &[0xD8, 0xC1]),
        ("fst m64", &[0xDD, 0x13]),
        ("fpatan (no quick form)", &[0xD9, 0xF3]),
        ("vaddps ymm0, ymm1, ymm2", &[0xC5, 0xF4, 0x58, 0xC2]),
    ];
    for (name, bytes) in cases {
        let instruction = Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).decode();
        match cache.compile(&instruction) {
            Ok(stub) => println!("{name:26} {:6.2} ns", time(&stub)),
            Err(error) => println!("{name:26} SKIPPED: {error}"),
        }
    }
    let start = Instant::now();
    let count = 1000;
    for index in 0..count {
        // pshufd xmm0, xmm1, imm8; pshuflw; pshufhw; shufps: stubs that were not compiled before.
        let prefix = [0x66, 0xF2, 0xF3, 0x66][index / 256];
        let opcode = if index / 256 == 3 { 0xC6 } else { 0x70 };
        let bytes = [prefix, 0x0F, opcode, 0xC1, index as u8];
        let instruction = Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE).decode();
        black_box(cache.compile(&instruction).expect("SSE2 compiles"));
    }
    let compile = start.elapsed().as_nanos() as f64 / count as f64;
    println!("{:26} {compile:6.0} ns", "compile");
}

fn time(stub: &Arc<Stub>) -> f64 {
    let mut frame = Box::new(HostFrame::new());
    frame.vector.set_x87_words(0x37F, 0, 0xFF);
    let run = |frame: &mut HostFrame| {
        for _ in 0..ROUNDS {
            let memory = black_box(stub).memory();
            if let Some(operand) = memory
                && operand.read
            {
                frame.bounce.0[..16].copy_from_slice(&black_box([1_u8; 16]));
            }
            let outcome = black_box(stub).run(frame, || X87Site { rip: 1, opcode: 2, data: None });
            assert_ne!(outcome, Outcome::X87Pending);
        }
    };
    run(&mut frame);
    let start = Instant::now();
    run(&mut frame);
    start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
}
