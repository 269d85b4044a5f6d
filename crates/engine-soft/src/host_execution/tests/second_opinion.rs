// SPDX-License-Identifier: MIT OR Apache-2.0
//! Results by a second implementation. The host executes data instructions for the guest, so agreement with the host proves only the way there and back; here
//! QEMU's user-mode emulator, which works them out in software, executes the same instructions from the same registers.
//!
//! The test runs this very program under QEMU, where the other test of this file writes what came out, one line a case.

use std::collections::BTreeMap;
use std::process::Command;

use super::super::Border;
use super::super::{Extensions, HostFrame, Outcome, STATUS_FLAGS, StubCache, X87Site};
use super::forms::{Form, Instance, stub_forms};
use super::native::code_page;
use super::random::Random;

const QEMU: &str = "qemu-x86_64";
/// Set where the results are to be written.
const ASKED: &str = "VIRIDIAN_SECOND_OPINION";
const ROUNDS: usize = 8;
/// Where operands in memory lie, in both processes.
const OPERAND: usize = 0x2000_0000;
const OPERAND_BYTES: usize = 64;
/// Bits of MXCSR.
const DENORMAL: u32 = 1 << 1;
const DENORMALS_ARE_ZERO: u32 = 1 << 6;
const FLUSH_TO_ZERO: u32 = 1 << 15;
/// Lines begin with this; the test harness writes others.
const MARK: &str = "case ";

/// What QEMU 7.2 works out in another way: forms (by the beginning of their names, without VEX_), part of the result, and why that is not held against us.
const KNOWN: &[(&[&str], &str, &str)] = &[
    (
        &["Rcp", "Rsqrt", "Vrcp", "Vrsqrt"],
        "vectors",
        "the precision of the approximation is each processor's own",
    ),
    (
        &["Vaesenc_ymm", "Vaesdec_ymm"],
        "vectors",
        "these are two of the 128-bit forms, which agree; QEMU 8 mended them",
    ),
    (&["Blsi"], "flags", "CF tells that the source is not zero; QEMU has it the other way round"),
    (&["Adcx", "Adox"], "flags", "QEMU takes one carry for the other"),
    (
        &["Pcmpestri64", "Pcmpestrm64", "Vpcmpestri64", "Vpcmpestrm64"],
        "",
        "QEMU looks at 32 bits of the lengths",
    ),
];

/// Arithmetic that has two operands which may both be NaN: the result is the first of them (Intel SDM 1 4.8.3.5). QEMU takes the one with the larger
/// significand, as x87 does, so here one NaN is as good as another.
const ARITHMETIC: &[&str] = &["addsub", "add", "sub", "mul", "div", "hadd", "hsub", "dp"];

/// Bytes of the lanes of [`ARITHMETIC`].
fn arithmetic_lanes(name: &str) -> Option<usize> {
    let name = name.trim_start_matches("VEX_V").to_lowercase();
    let rest = ARITHMETIC.iter().find_map(|stem| name.strip_prefix(stem))?;
    match rest.split('_').next() {
        Some("ps" | "ss") => Some(4),
        Some("pd" | "sd") => Some(8),
        _ => None,
    }
}

/// Makes NaNs of a lane size one and the same.
fn merge_nans(vector: &mut [u8; 32], lane: usize) {
    for bytes in vector.chunks_exact_mut(lane) {
        let is_nan = match *bytes {
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).is_nan(),
            [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]).is_nan(),
            _ => false,
        };
        if is_nan {
            bytes.fill(0xFF);
        }
    }
}

/// An instruction and what it runs from.
struct Case {
    name: String,
    instance: Instance,
    frame: HostFrame,
    operand: [u8; OPERAND_BYTES],
}

fn cases(form: &Form) -> impl Iterator<Item = Case> {
    let mut random = Random::new(form.code as u64 * 2 + u64::from(form.has_memory));
    (0..ROUNDS).map(move |round| {
        let instance = form.instance(&mut random);
        let mut frame = random.frame();
        // Without flushing of denormals, which QEMU does at other places.
        let mxcsr = frame.vector.mxcsr() & !(DENORMALS_ARE_ZERO | FLUSH_TO_ZERO);
        frame.vector.set_mxcsr(mxcsr).expect("no reserved bit");
        let words: [u128; OPERAND_BYTES / 16] = std::array::from_fn(|_| random.vector());
        let mut operand = [0; OPERAND_BYTES];
        operand.copy_from_slice(words.map(u128::to_le_bytes).as_flattened());
        if let Some((base, displacement)) = instance.address {
            frame.gprs[base] = (OPERAND as u64).wrapping_sub(displacement as i64 as u64);
        }
        let name = format!("{:?} {} {round}", form.code, u8::from(form.has_memory));
        Case { name, instance, frame, operand }
    })
}

/// Forms whose results can be compared: all but those of x87 and MMX.
fn compared_forms() -> impl Iterator<Item = &'static Form> {
    stub_forms().filter(|form| form.border() != Some(Border::Legacy))
}

/// The parts of a result, in words and numbers that can be told apart.
fn parts(instance: &Instance, frame: &HostFrame, operand: &[u8]) -> String {
    let undefined = super::super::compile::status_flags(instance.instruction.rflags_undefined());
    let lanes = arithmetic_lanes(&format!("{:?}", instance.instruction.code()));
    let vectors = (0..16).flat_map(|index| {
        let mut vector = frame.vector.ymm(index);
        if let Some(lanes) = lanes {
            merge_nans(&mut vector, lanes);
        }
        vector
    });
    format!(
        "gprs={:x} flags={:x} mxcsr={:x} vectors={:x} memory={:x}",
        digest(frame.gprs.iter().flat_map(|value| value.to_le_bytes())),
        frame.rflags & STATUS_FLAGS & !undefined,
        // QEMU does not tell of every denormal operand.
        frame.vector.mxcsr() & !DENORMAL,
        digest(vectors),
        digest(operand.iter().copied())
    )
}

/// FNV-1a.
fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |all, byte| (all ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Under QEMU: executes every case natively, which there is QEMU's own work, and writes the results.
#[test]
fn results_are_written_when_asked_for() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: nothing else is replaced by this mapping.
    let page = unsafe { libc::mmap(OPERAND as *mut _, 4096, protection, flags, -1, 0) };
    assert_eq!(page as usize, OPERAND, "the operands' page");
    let operand = page.cast::<[u8; OPERAND_BYTES]>();
    let mut native = code_page();
    for case in compared_forms().flat_map(cases) {
        let mut frame = case.frame;
        frame.rflags |= 0x202;
        // SAFETY: the page is ours, and mapped until the process ends.
        unsafe { operand.write(case.operand) };
        assert_eq!(native.run(&case.instance.bytes, &mut frame), None, "{}", case.name);
        // SAFETY: as above.
        let after = unsafe { operand.read() };
        println!("{MARK}{} {}", case.name, parts(&case.instance, &frame, &after));
    }
}

#[test]
fn a_second_implementation_gives_the_same_results() {
    if Command::new(QEMU).arg("--version").output().is_err() {
        println!("SKIPPED: {QEMU} is not installed");
        return;
    }
    let program = std::env::current_exe().expect("a test program has a file");
    let test = "host_execution::tests::second_opinion::results_are_written_when_asked_for";
    let ended = Command::new(QEMU)
        .args(["-cpu", "max"])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ASKED, "1")
        .output()
        .expect("QEMU starts");
    let output = String::from_utf8_lossy(&ended.stdout);
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}\n{errors}", &output[output.len().saturating_sub(2000)..]);
    let theirs: BTreeMap<String, &str> = output
        .lines()
        .filter_map(|line| line.split_once(MARK).map(|(_, case)| case))
        .filter_map(|line| {
            line.split_once(" gprs=").map(|(name, _)| (name.to_owned(), &line[name.len() + 1..]))
        })
        .collect();
    let mut cache = StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let (mut compared, mut lacking, mut known) = (0, 0, 0);
    let mut differences = Vec::new();
    for case in compared_forms().flat_map(cases) {
        let Some(&theirs) = theirs.get(&case.name) else {
            lacking += 1;
            continue;
        };
        let stub = cache.compile(&case.instance.instruction).expect("compiles");
        let mut frame = case.frame;
        frame.bounce.0 = case.operand;
        assert_eq!(stub.run(&mut frame, X87Site::default), Outcome::Done, "{}", case.name);
        let after = match stub.memory() {
            Some(memory) if memory.write => {
                let size = usize::from(memory.size);
                let mut after = case.operand;
                after[..size].copy_from_slice(&frame.bounce.0[..size]);
                after
            }
            _ => case.operand,
        };
        let ours = parts(&case.instance, &frame, &after);
        compared += 1;
        for (ours, theirs) in ours.split(' ').zip(theirs.split(' ')).filter(|(ours, theirs)| ours != theirs) {
            let part = ours.split('=').next().unwrap_or_default();
            let form = case.name.trim_start_matches("VEX_");
            let is_known = |(forms, of, _): &(&[&str], &str, &str)| {
                (of.is_empty() || *of == part) && forms.iter().any(|start| form.starts_with(start))
            };
            if KNOWN.iter().any(is_known) {
                known += 1;
            } else {
                differences.push(format!("{}: ours {ours}, theirs {theirs}", case.name));
            }
        }
    }
    println!(
        "{compared} cases, {known} differences that are known; {lacking} cases of extensions that QEMU lacks"
    );
    assert!(compared > 5000, "only {compared} cases");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}
