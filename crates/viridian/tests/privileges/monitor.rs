// SPDX-License-Identifier: MIT OR Apache-2.0
//! A monitor that runs the guest program `privileges` with any set of services: a serial port, and the port by which it leaves.

use std::sync::Arc;

use engine::{Engine, Gpr, PortDirection, Segment, SegmentName, TableRegister};
use hypervisor::{Enlightenments, Partition, PartitionConfig, Vp, VpExit};
use loader::multiboot::{self, Multiboot};
use loader::{Image, MemoryMap, MemoryRange, RangeKind, SegmentRegister};
use memory::{MemoryObject, Rights, Space, ViewId};

use crate::table::Found;

const VIEW: ViewId = ViewId(0);
const MEMORY: u64 = 16 << 20;

const SERIAL: u16 = 0x3F8;
const LINE_STATUS: u16 = SERIAL + 5;
/// The transmitter is empty.
const READY: u64 = 0x60;
const DEBUG_EXIT: u16 = 0xF4;

/// Runs the guest; gives what it found.
pub(crate) fn run(engine: &Arc<dyn Engine>, enlightenments: Enlightenments) -> Found {
    let space = Space::new(40);
    let object = MemoryObject::allocate(MEMORY).expect("memory");
    space.batch(|batch| batch.map(VIEW, 0, object.pages(), &object, 0, Rights::ALL)).expect("a map");
    let config = PartitionConfig { enlightenments, ..PartitionConfig::default() };
    let (_partition, mut vps) = Partition::create(engine, &space, config).expect("a partition");
    let vp = &mut vps[0];
    load(&space, vp);
    vp.set_up_local_apic_as_firmware_does();

    let mut output = String::new();
    loop {
        match vp.run(None) {
            VpExit::Port(access) => {
                let value = match (access.port, access.direction) {
                    (DEBUG_EXIT, PortDirection::Out(code)) => {
                        assert_eq!(code, 0, "the guest left with an error:\n{output}");
                        return Found::parse(&output);
                    }
                    (SERIAL, PortDirection::Out(byte)) => {
                        // While the guest sets the port up it writes its speed there.
                        output.extend(
                            Some(char::from(byte as u8)).filter(|letter| matches!(letter, '\n' | ' '..='~')),
                        );
                        0
                    }
                    (LINE_STATUS, PortDirection::In) => READY,
                    _ => u64::MAX,
                };
                vp.complete(value);
            }
            VpExit::SpinWait | VpExit::Idle { until: Some(_) } => {}
            other => panic!("the guest left with {other:?}:\n{output}"),
        }
    }
}

/// Puts the guest where it belongs and the VP at its start.
fn load(space: &Space, vp: &mut Vp) {
    let memory = MemoryRange { start: 0, length: MEMORY, kind: RangeKind::Usable };
    let memory = MemoryMap::new([memory]).expect("a map");
    let program = Multiboot {
        program: guest_programs::PRIVILEGES,
        name: "privileges",
        arguments: "",
        modules: &[],
        memory: &memory,
    };
    let Image { segments, entry } = multiboot::load(&program).expect("an image");
    for segment in &segments {
        space.write(VIEW, segment.gpa, &segment.bytes, Rights::NONE).expect("memory");
    }
    let registers = vp.registers();
    let mut state = registers.save();
    state.gprs = [0; 16];
    state.gprs[Gpr::Rax as usize] = entry.rax;
    state.gprs[Gpr::Rbx as usize] = entry.rbx;
    (state.rip, state.rflags, state.control.cr0) = (entry.rip, entry.rflags, entry.cr0);
    state.gdtr = TableRegister { base: entry.gdtr.base, limit: entry.gdtr.limit };
    let segment = |register: SegmentRegister| Segment {
        base: register.base,
        limit: register.limit,
        selector: register.selector.into(),
        attributes: register.attributes.into(),
    };
    for name in [SegmentName::Ds, SegmentName::Es, SegmentName::Fs, SegmentName::Gs, SegmentName::Ss] {
        state.segments[name as usize] = segment(entry.data);
    }
    state.segments[SegmentName::Cs as usize] = segment(entry.code);
    state.segments[SegmentName::Tr as usize] = segment(entry.task);
    registers.restore(&state);
}
