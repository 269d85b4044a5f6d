// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small machine: 16 MiB of memory, mapped one to one in 64-bit mode.

use std::sync::Arc;

use engine::{
    Engine, EngineVp, Exit, ExitReason, Gpr, MemoryAccess, MemoryAccessKind, MemoryExitCause, RunLimits,
    Segment, SegmentName, VpGroup, VpState,
};
use iced_x86::code_asm::CodeAssembler;
use memory::{MemoryObject, Rights, Space, ViewId};

use crate::SoftEngine;
use crate::model::Model;

pub(super) const CODE: u64 = 0x10_0000;
pub(super) const STACK: u64 = 0x9_0000;
/// A page of a device: mapped by the page tables, but not in the space.
pub(super) const DEVICE: u64 = 0xF0_0000;
const BYTES: u64 = 0xF0_0000;
const VIEW: ViewId = ViewId(0);

pub(super) struct Machine {
    pub(super) space: Arc<Space>,
    pub(super) group: Box<dyn VpGroup>,
    pub(super) vp: Box<dyn EngineVp>,
}

/// 64-bit mode at CPL 0 or 3, with page tables from 0x1000 on.
pub(super) fn long_mode_state(cpl: u16) -> VpState {
    let mut state = VpState::reset(0);
    let segment = |attributes: u16| Segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector: (8 | cpl).into(),
        attributes: (attributes | cpl << 5).into(),
    };
    state.segments = [segment(0xC093); 8];
    state.segments[SegmentName::Cs as usize] = segment(0xA09B);
    state.segments[SegmentName::Tr as usize] =
        Segment { base: 0x8000, limit: 0x67, selector: 0x28.into(), attributes: 0x8B.into() };
    state.control.cr0 = 0x8001_0033;
    state.control.cr3 = 0x1000;
    state.control.cr4 = 0x620 | 1 << 18;
    state.control.efer = 0xD01;
    state.control.xcr0 = 3;
    state.rip = CODE;
    state.gprs[Gpr::Rsp as usize] = STACK;
    state
}

/// The exit of an access to a device.
pub(super) fn access(at: u64, size: u8, kind: MemoryAccessKind) -> ExitReason {
    ExitReason::Memory(MemoryAccess {
        gpa: at,
        gva: Some(at),
        size,
        kind,
        cause: MemoryExitCause::Unmapped,
        page_walk: false,
        user: false,
    })
}

impl Machine {
    /// A machine whose VP has not run yet.
    pub(super) fn new() -> Self {
        Self::with_engine(&SoftEngine::new(Model::x86_64_v2().unwrap()))
    }

    /// The same with another engine.
    pub(super) fn with_engine(engine: &SoftEngine) -> Self {
        let space = Space::new(40);
        let object = MemoryObject::allocate(BYTES).unwrap();
        space.batch(|batch| batch.map(VIEW, 0, BYTES >> 12, &object, 0, Rights::ALL)).unwrap();
        let write = |gpa, value| space.write_value::<8>(VIEW, gpa, value, Rights::NONE).unwrap();
        write(0x1000, 0x2007);
        write(0x2000, 0x3007);
        // 8 MiB in large pages, then 4 KiB pages.
        for index in 0..4 {
            write(0x3000 + 8 * index, index << 21 | 0x87);
        }
        for table in 0..4 {
            write(0x3000 + 8 * (4 + table), (0x4000 + 0x1000 * table) | 7);
            for index in 0..512 {
                write(0x4000 + 0x1000 * table + 8 * index, (4 + table) << 21 | index << 12 | 7);
            }
        }
        let group = engine.create_group(&space).unwrap();
        let mut vp = group.create_vp(0).unwrap();
        vp.restore(&long_mode_state(0));
        Self { space, group, vp }
    }

    pub(super) fn write(&self, gpa: u64, bytes: &[u8]) {
        self.space.write(VIEW, gpa, bytes, Rights::NONE).unwrap();
    }

    pub(super) fn read(&self, gpa: u64) -> u64 {
        let mut bytes = [0; 8];
        self.space.read(VIEW, gpa, &mut bytes, Rights::NONE).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Puts a program at [`CODE`].
    pub(super) fn load(&self, assemble: impl FnOnce(&mut CodeAssembler)) {
        let mut assembler = CodeAssembler::new(64).unwrap();
        assemble(&mut assembler);
        self.write(CODE, &assembler.assemble(CODE).unwrap());
    }

    pub(super) fn run(&mut self) -> Exit {
        self.vp.run(RunLimits::default())
    }

    /// Runs a program to its HLT.
    pub(super) fn run_program(&mut self, assemble: impl FnOnce(&mut CodeAssembler)) {
        self.load(assemble);
        assert_eq!(self.run().reason, ExitReason::Halt, "at {:#x}", self.vp.rip());
    }
}
