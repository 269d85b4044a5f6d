// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtual machine monitor of one's own, on the Rust API: it runs a guest of 21 bytes, serves an I/O port and an MSR to it, and prints
//! what the guest says. `cargo run --example tiny-vmm`

use std::error::Error;
use std::sync::Arc;

use engine::{Engine, PortDirection, Segment, SegmentName};
use engine_soft::SoftEngine;
use engine_soft::model::Model;
use hypervisor::{MsrHandler, Partition, PartitionConfig, VpExit};
use memory::{MemoryObject, PAGE_SIZE, Rights, Space, ViewId};

const OUR_MSR: u32 = 0x4D53_0001;
const OUR_PORT: u16 = 0x10;

/// 16-bit code: reads our MSR, sends its bytes to our port, lowest first, and halts.
const GUEST: &[u8] = &[
    0x66, 0xB9, 0x01, 0x00, 0x53, 0x4D, // mov ecx, OUR_MSR
    0x0F, 0x32, //                         rdmsr
    0xBA, 0x10, 0x00, //                   mov dx, OUR_PORT
    0xEE, //                         next: out dx, al
    0x66, 0xC1, 0xE8, 0x08, //             shr eax, 8
    0x75, 0xF9, //                         jnz next
    0x0F, 0x30, //                         wrmsr
    0xF4, //                               hlt
];

struct OurMsr;

impl MsrHandler for OurMsr {
    fn read(&self, _vp: u32, number: u32) -> Option<u64> {
        (number == OUR_MSR).then(|| u32::from_le_bytes(*b"Hi!\n").into())
    }

    fn write(&self, _vp: u32, number: u32, value: u64) -> bool {
        // The low half is what is left of the text; the high half holds the port.
        number == OUR_MSR && value as u32 == 0
    }
}

/// Runs the guest to its end; gives what it said.
pub fn run() -> Result<String, Box<dyn Error>> {
    let engine: Arc<dyn Engine> = Arc::new(SoftEngine::new(Model::x86_64_v2()?));
    let space = Space::new(40);
    let page = MemoryObject::allocate(PAGE_SIZE)?;
    space.batch(|batch| batch.map(ViewId(0), 0, 1, &page, 0, Rights::ALL))?;
    space.write(ViewId(0), 0, GUEST, Rights::NONE)?;

    let config = PartitionConfig { msr_handler: Some(Arc::new(OurMsr)), ..PartitionConfig::default() };
    let (_partition, mut vps) = Partition::create(&engine, &space, config)?;
    let vp = &mut vps[0];
    // After a reset the processor is in real mode and would start at the top of memory.
    let code = vp.registers().segment(SegmentName::Cs);
    vp.registers().set_segment(SegmentName::Cs, Segment { base: 0, selector: 0.into(), ..code });
    vp.registers().set_rip(0);

    let mut said = String::new();
    loop {
        match vp.run(None) {
            VpExit::Port(access) if access.port == OUR_PORT => {
                if let PortDirection::Out(byte) = access.direction {
                    said.push(char::from(byte as u8));
                }
                vp.complete(0);
            }
            // Halted, with nothing that could wake it.
            VpExit::Idle { until: None } => return Ok(said),
            other => return Err(format!("the guest left with {other:?}").into()),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
