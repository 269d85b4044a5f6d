// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every instruction form that bytes can encode in the opcode maps that matter here, found by decoding them all.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use iced_x86::{Code, Decoder, DecoderOptions, EncodingKind, Instruction, OpKind};

use super::super::placement::extensions_of;
use super::super::{Border, Extensions, Placement, StateInstruction, place};
use super::random::Random;

/// One form: an instruction code with or without a memory operand, and bytes that encode it.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) code: Code,
    pub(super) has_memory: bool,
    prefix: Prefix,
    opcode: u8,
    modrm: u8,
}

#[derive(Clone, Copy, Debug)]
enum Prefix {
    /// Mandatory prefixes, REX.W, escape bytes.
    Legacy { mandatory: &'static [u8], wide: bool, escape: &'static [u8] },
    /// Map, W, L, pp of a three-byte VEX prefix.
    Vex { map: u8, wide: bool, long: bool, pp: u8 },
}

/// An encoded form.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) bytes: Vec<u8>,
    pub(super) instruction: Instruction,
    /// Base register and displacement of the memory operand.
    pub(super) address: Option<(usize, i8)>,
}

pub(super) fn decode(bytes: &[u8], bitness: u32) -> Instruction {
    Decoder::with_ip(bitness, bytes, 0x1000, DecoderOptions::NONE).decode()
}

fn has_memory(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory)
}

impl Form {
    /// The border of the form's stub, if a stub executes it.
    pub(super) fn border(&self) -> Option<Border> {
        match place(&self.instance(&mut Random::new(1)).instruction) {
            Placement::Stub(border) => Some(border),
            _ => None,
        }
    }

    /// Bytes of this form, with `register_bits` giving what REX or VEX and ModRM leave open.
    fn bytes(&self, modrm: u8, displacement: i8, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.prefix {
            Prefix::Legacy { mandatory, wide, escape } => {
                bytes.extend_from_slice(mandatory);
                let extension = random.bits() as u8 & 7;
                if wide {
                    bytes.push(0x48 | extension);
                } else if random.one_in(2) {
                    bytes.push(0x40 | extension);
                }
                bytes.extend_from_slice(escape);
            }
            Prefix::Vex { map, wide, long, pp } => {
                let inverted = random.bits() as u8 & 0xE0;
                let third = if random.one_in(2) { 0x78 } else { random.bits() as u8 & 0x78 };
                let (wide, long) = (if wide { 0x80 } else { 0 }, if long { 4 } else { 0 });
                bytes.extend([0xC4, inverted | map, wide | third | long | pp]);
            }
        }
        bytes.extend([self.opcode, modrm]);
        if modrm >> 6 == 1 {
            bytes.push(displacement as u8);
        }
        // Immediates, as many as the form takes.
        bytes.extend([random.bits() as u8, random.bits() as u8]);
        bytes
    }

    /// An encoding of the form with registers, displacement and immediates chosen at random.
    pub(super) fn instance(&self, random: &mut Random) -> Instance {
        for attempt in 0..2000 {
            let choice = random.bits() as u8;
            // Opcode groups and x87 select by ModRM bits: try with fewer and fewer of them changed.
            let changed = match attempt % 4 {
                0 | 1 => 0x3F,
                2 => 0x07,
                _ => 0,
            };
            let modrm = self.modrm & !changed | choice & changed;
            if modrm >> 6 == 1 && modrm & 7 == 4 {
                continue;
            }
            let displacement = random.bits() as i8;
            let bytes = self.bytes(modrm, displacement, random);
            let instruction = decode(&bytes, 64);
            if instruction.code() != self.code || has_memory(&instruction) != self.has_memory {
                continue;
            }
            let address = self.has_memory.then(|| (instruction.memory_base().number(), displacement));
            let bytes = bytes[..instruction.len()].to_vec();
            return Instance { bytes, instruction, address };
        }
        panic!("no encoding of {self:?} found again");
    }
}

/// All forms, by code.
pub(super) fn all() -> &'static [Form] {
    static FORMS: OnceLock<Vec<Form>> = OnceLock::new();
    FORMS.get_or_init(find)
}

/// Forms which a stub executes on this host. Extensions that it lacks are named on stderr.
pub(super) fn stub_forms() -> impl Iterator<Item = &'static Form> {
    let host = Extensions::of_host();
    all().iter().filter(move |form| {
        let is_stub = form.border().is_some();
        let on_host = extensions_of(form.code).is_some_and(|needed| host.contains(needed));
        if is_stub && !on_host {
            eprintln!("SKIPPED {:?}: this host does not have it", form.code);
        }
        is_stub && on_host
    })
}

fn find() -> Vec<Form> {
    let mut found = BTreeMap::new();
    let mut add = |prefix, opcode| {
        for modrm in 0..=255 {
            // Register forms, and memory forms with base and 8-bit displacement.
            let is_register = modrm >> 6 == 3;
            let is_memory = modrm >> 6 == 1 && modrm & 7 == 3;
            if !(is_register || is_memory) {
                continue;
            }
            let form = Form { code: Code::INVALID, has_memory: is_memory, prefix, opcode, modrm };
            // Bits that a form leaves open are random; some forms allow one choice of VEX.vvvv only.
            for seed in 0..4 {
                let instruction = decode(&form.bytes(modrm, 0, &mut Random::new(seed)), 64);
                let code = instruction.code();
                if code != Code::INVALID && has_memory(&instruction) == is_memory {
                    found.entry((code as usize, is_memory)).or_insert(Form { code, ..form.clone() });
                }
            }
        }
    };
    for opcode in 0..=255 {
        for wide in [false, true] {
            for mandatory in [&[][..], &[0x66], &[0xF3], &[0xF2], &[0x66, 0xF2], &[0x66, 0xF3]] {
                for escape in [&[0x0F][..], &[0x0F, 0x38], &[0x0F, 0x3A]] {
                    // 0F 38 and 0F 3A are escapes themselves.
                    if escape == [0x0F] && [0x38, 0x3A].contains(&opcode) {
                        continue;
                    }
                    add(Prefix::Legacy { mandatory, wide, escape }, opcode);
                }
            }
            for (map, long, pp) in (1..4).flat_map(|map| {
                [false, true].into_iter().flat_map(move |l| (0..4).map(move |pp| (map, l, pp)))
            }) {
                add(Prefix::Vex { map, wide, long, pp }, opcode);
            }
        }
    }
    for opcode in 0xD8..=0xDF {
        for mandatory in [&[][..], &[0x66]] {
            add(Prefix::Legacy { mandatory, wide: false, escape: &[] }, opcode);
        }
    }
    found.into_values().collect()
}

/// The data instructions that no stub executes, each with who does. A new decoder that knows more, or a change of
/// placement, shows here.
#[test]
fn every_data_instruction_is_placed() {
    let mut placements: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut stubs = BTreeMap::new();
    let mut reached = std::collections::BTreeSet::new();
    for form in all() {
        reached.insert(form.code as usize);
        let instance = form.instance(&mut Random::new(1));
        match place(&instance.instruction) {
            Placement::Stub(border) => {
                stubs
                    .entry(format!("{border:?}"))
                    .or_insert_with(std::collections::BTreeSet::new)
                    .insert(form.code as usize);
            }
            Placement::State(state) => {
                let list = placements.entry(format!("state function {state:?}")).or_default();
                list.push(format!("{:?}", form.code));
            }
            Placement::Elements(which) => {
                let list = placements.entry(format!("element function {which:?}")).or_default();
                list.push(format!("{:?}", form.code));
            }
            Placement::Interpreter(reason) if extensions_of(form.code).is_some() => {
                placements.entry(reason.to_owned()).or_default().push(format!("{:?}", form.code));
            }
            Placement::Interpreter(_) => {}
        }
    }
    let offered = Code::values().filter(|code| {
        matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX) && extensions_of(*code).is_some()
    });
    let unreached: Vec<_> = offered.filter(|code| !reached.contains(&(*code as usize))).collect();

    let mut report = String::new();
    for (border, codes) in &stubs {
        report += &format!("stub {border}: {} codes\n", codes.len());
    }
    for (who, codes) in &placements {
        let mut codes = codes.clone();
        codes.dedup();
        report += &format!("{who}: {}\n", codes.join(" "));
    }
    report +=
        "forms with a 9B prefix of the assembler's (decoded as two), and gathers (they need a SIB byte): ";
    report += &format!("{unreached:?}\n");
    println!("{report}");
    let expected = include_str!("placement.txt");
    assert!(report == expected, "tests/placement.txt should be:\n{report}");
}

#[test]
fn the_same_bytes_in_32_bit_code_share_the_stub() {
    let mut cache = super::super::StubCache::new(Extensions::of_host()).expect("a cache for this host");
    let mut shared = 0;
    for form in stub_forms().filter(|form| matches!(form.prefix, Prefix::Legacy { wide: false, .. })) {
        let mut random = Random::new(form.code as u64);
        let instance = (0..64)
            .map(|_| form.instance(&mut random))
            .find(|instance| !instance.bytes.iter().take(3).any(|byte| byte & 0xF0 == 0x40));
        let Some(instance) = instance else { continue };
        let narrow = decode(&instance.bytes, 32);
        if narrow.code() != form.code {
            continue;
        }
        let in_64 = cache.compile(&instance.instruction).expect("compiles");
        let in_32 = cache.compile(&narrow).expect("compiles");
        assert!(std::sync::Arc::ptr_eq(&in_64, &in_32), "{:?}", form.code);
        shared += 1;
    }
    assert!(shared > 500, "only {shared} forms were compared");
}

#[test]
fn what_the_model_does_not_offer_is_not_compiled() {
    use super::super::{CompileError, StubCache, StubCacheError};
    let mut cache = StubCache::new(Extensions::new()).expect("the baseline is on every host");
    let pshufb = decode(&[0x66, 0x0F, 0x38, 0x00, 0xC1], 64);
    assert!(matches!(cache.compile(&pshufb), Err(CompileError::NotOffered(Code::Pshufb_xmm_xmmm128))));
    let paddb = decode(&[0x66, 0x0F, 0xFC, 0xC1], 64);
    assert_eq!(cache.compile(&paddb).expect("SSE2 is baseline").border(), Border::Vector);
    let fxsave = decode(&[0x0F, 0xAE, 0x00], 64);
    let elsewhere = Placement::State(StateInstruction::Fxsave);
    assert!(
        matches!(cache.compile(&fxsave), Err(CompileError::PlacedElsewhere(_, found)) if found == elsewhere)
    );

    let host = Extensions::of_host();
    let lacking = Extensions::from_bits(!host.into_bits() & 0x1F_FFFF);
    if lacking == Extensions::new() {
        println!("SKIPPED: this host lacks no extension");
    } else {
        let refused = StubCache::new(lacking).err().expect("the host lacks it");
        assert!(matches!(refused, StubCacheError::HostLacks(found) if found == lacking));
    }
}
