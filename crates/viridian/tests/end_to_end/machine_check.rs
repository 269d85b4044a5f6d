// SPDX-License-Identifier: MIT OR Apache-2.0
//! Synthetic machine checks, from the host program that injects them to the handler of a guest on the software processor.

use std::error::Error;
use std::sync::Arc;

use engine::{Engine, PortDirection, Segment, SegmentName};
use engine_soft::SoftEngine;
use engine_soft::model::Model;
use hypervisor::{Partition, PartitionConfig, Vp, VpExit};
use iced_x86::IcedError;
use iced_x86::code_asm::{CodeAssembler, ax, cr4, dx, eax, ecx, edx};
use memory::{MemoryObject, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::register::{SYNMC_MCA_ERROR_CODE, SynmcStatus, SynmcX64Event};

/// Where the guest's code and its handler lie, and the vectors of real mode.
const CODE: u64 = 0x1000;
const HANDLER: u64 = 0x2000;
const MACHINE_CHECK: u64 = 4 * 18;
/// What the handler says, 32 bits at a time, and what the code says behind a HLT that has ended.
const WORDS: u16 = 0x10;
const AWAKE: u16 = 0x12;

const MCG_STATUS: u32 = 0x17A;
const BANK: [u32; 3] = [0x401, 0x402, 0x403];

fn assemble(
    at: u64,
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Result<Vec<u8>, IcedError> {
    let mut assembler = CodeAssembler::new(16)?;
    code(&mut assembler)?;
    assembler.assemble(at)
}

/// Halts again and again, and says when a halt has ended. Interrupts are off.
fn code(asm: &mut CodeAssembler, enable: bool) -> Result<(), IcedError> {
    asm.mov(eax, cr4)?;
    if enable {
        asm.or(eax, 0x40)?;
    }
    asm.mov(cr4, eax)?;
    let mut again = asm.create_label();
    asm.set_label(&mut again)?;
    asm.hlt()?;
    asm.mov(dx, u32::from(AWAKE))?;
    asm.out(dx, ax)?;
    asm.jmp(again)
}

/// Says what the registers hold, low half first, and gives them back.
fn handler(asm: &mut CodeAssembler) -> Result<(), IcedError> {
    for number in [MCG_STATUS].into_iter().chain(BANK) {
        asm.mov(ecx, number)?;
        asm.rdmsr()?;
        asm.push(edx)?;
        asm.mov(dx, u32::from(WORDS))?;
        asm.out(dx, eax)?;
        asm.pop(eax)?;
        asm.out(dx, eax)?;
    }
    asm.xor(eax, eax)?;
    asm.xor(edx, edx)?;
    for number in BANK.into_iter().chain([MCG_STATUS]) {
        asm.mov(ecx, number)?;
        asm.wrmsr()?;
    }
    asm.iret()
}

/// A guest that halts, with a handler, and machine checks switched on or not.
fn guest(enable: bool) -> Result<(Arc<Partition>, Vec<Vp>), Box<dyn Error>> {
    let engine: Arc<dyn Engine> = Arc::new(SoftEngine::new(Model::x86_64_v2()?));
    let space = Space::new(40);
    let ram = MemoryObject::allocate(0x1_0000)?;
    space.batch(|batch| batch.map(ViewId(0), 0, ram.pages(), &ram, 0, Rights::ALL))?;
    space.write(ViewId(0), CODE, &assemble(CODE, |asm| code(asm, enable))?, Rights::NONE)?;
    space.write(ViewId(0), HANDLER, &assemble(HANDLER, handler)?, Rights::NONE)?;
    space.write(ViewId(0), MACHINE_CHECK, &(HANDLER as u32).to_le_bytes(), Rights::NONE)?;
    let (partition, mut vps) = Partition::create(&engine, &space, PartitionConfig::default())?;
    let cs = vps[0].registers().segment(SegmentName::Cs);
    vps[0].registers().set_segment(SegmentName::Cs, Segment { base: 0, selector: 0.into(), ..cs });
    vps[0].registers().set_rip(CODE);
    Ok((partition, vps))
}

/// Runs the guest until it sleeps or leaves otherwise; gives what it said: 32 bits of the handler, nothing for a halt that has ended.
fn run(vp: &mut Vp) -> (Vec<Option<u32>>, VpExit) {
    let mut said = Vec::new();
    loop {
        match vp.run(None) {
            VpExit::Port(access) => {
                if let PortDirection::Out(value) = access.direction {
                    said.push((access.port == WORDS).then_some(value));
                }
                vp.complete(0);
            }
            exit => return (said, exit),
        }
    }
}

fn event(addr: u64) -> SynmcX64Event {
    let status = SynmcStatus::new()
        .with_mca_error_code(SYNMC_MCA_ERROR_CODE)
        .with_error_detail(0x123)
        .with_hypervisor_error(true)
        .with_action_required(true)
        .with_address_valid(true)
        .with_error_enabled(true)
        .with_uncorrected(true)
        .with_valid(true);
    SynmcX64Event { status, addr, misc: 0x8C, rip_valid: 1, eip_valid: 1, reserved: [0; 6] }
}

/// B07.010, B07.015, B07.016, B07.017: the handler of a guest that sleeps with interrupts off finds status, address, miscellaneous word and where execution
/// stands as they were injected, and the guest goes on; the second time, too.
#[test]
fn a_guest_decodes_what_was_injected() {
    let (partition, mut vps) = guest(true).expect("a guest");
    assert_eq!(run(&mut vps[0]), (vec![], VpExit::Idle { until: None }));
    for addr in [0x1_2345_6000, 0x7000] {
        let event = event(addr);
        assert_eq!(partition.inject_synthetic_machine_check(0, &event), HvStatus::SUCCESS);
        let (said, exit) = run(&mut vps[0]);
        assert_eq!(exit, VpExit::Idle { until: None });
        let (words, rest) = said.split_at(8);
        let words: Vec<u32> = words.iter().map(|word| word.expect("the handler speaks first")).collect();
        let values: Vec<u64> =
            words.chunks_exact(2).map(|pair| u64::from(pair[1]) << 32 | u64::from(pair[0])).collect();
        assert_eq!(values, [0b111, event.status.into_bits(), addr, 0x8C]);
        assert_eq!(values[1], 0xB480_0000_4123_0001, "the bits as they are numbered");
        assert_eq!(values[1] as u16, 1, "the error code");
        assert_eq!(rest, [None], "the halt is over");
    }
}

/// B07.010: a guest that has not switched machine checks on is shut down by one.
#[test]
fn a_guest_without_machine_checks_shuts_down() {
    let (partition, mut vps) = guest(false).expect("a guest");
    assert_eq!(run(&mut vps[0]), (vec![], VpExit::Idle { until: None }));
    assert_eq!(partition.inject_synthetic_machine_check(0, &event(0)), HvStatus::SUCCESS);
    assert_eq!(run(&mut vps[0]), (vec![], VpExit::TripleFault));
}
