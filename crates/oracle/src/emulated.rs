// SPDX-License-Identifier: MIT OR Apache-2.0
//! The software processor as a machine, through the contract that every engine keeps.
//!
//! The guest is a minimal system: page tables that map the test's pages where the host has them, descriptor tables like those of Linux, and an IDT whose handlers
//! are one HLT each on a stack of its own. So an exception is seen as its handler would see it: vector, error code, the saved
//! RIP, RFLAGS and RSP, and CR2.

use std::sync::Arc;

use engine::{
    Clock, ControlRegisters, Engine, EngineVp, Exit, ExitReason, Gpr, RunLimits, Segment, SegmentAttributes,
    SegmentName, Selector, TableRegister, XsaveArea,
};
use memory::{MemoryObject, Rights, Space, ViewId};

use crate::layout::{CODE, CODE_PAGES, DATA, DATA_BYTES, DATA_RIGHTS, FILLER, PAGE, PageRights};
use crate::state::{End, Machine, Mode, Outcome, State, VectorArea, rflags, selector};

/// The guest could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EmulatedError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] memory::MemoryError),
}

/// Linear address of the supervisor's pages, far from anything that test code reaches.
const SYSTEM: u64 = 0xFFFF_9234_5678_0000;
/// Handlers stand this far apart.
const HANDLER_BYTES: u64 = 16;
/// Exceptions have the vectors below.
const VECTORS: u64 = 32;

/// Pages of guest-physical memory: the supervisor's, then code, then data, then page tables.
mod page {
    pub(super) const HANDLERS: u64 = 0;
    pub(super) const TABLES: u64 = 1;
    pub(super) const STACK: u64 = 2;
    pub(super) const SYSTEM_PAGES: u64 = 3;
    pub(super) const CODE: u64 = SYSTEM_PAGES;
    pub(super) const DATA: u64 = CODE + super::CODE_PAGES;
    pub(super) const PAGING: u64 = DATA + super::DATA_BYTES / super::PAGE;
    pub(super) const ALL: u64 = PAGING + 16;
}

/// Offsets in the page of descriptor tables.
mod table {
    pub(super) const GDT: u64 = 0;
    pub(super) const GDT_BYTES: u64 = 0x80;
    pub(super) const TSS: u64 = 0x100;
    pub(super) const IDT: u64 = 0x200;
}

/// Selectors of the supervisor's segments, as Linux numbers them.
const KERNEL_CODE: u16 = 0x10;
const KERNEL_DATA: u16 = 0x18;
const TSS: u16 = 0x40;
/// RSP at the entry of handlers, before the processor's pushes.
const STACK_TOP: u64 = SYSTEM + (page::STACK + 1) * PAGE;

/// A run that is still under way after this many slices of so many milliseconds does not end. They are many, so that a busy host that gives us no time in
/// some of them does not count.
const SLICES: u32 = 10;
const SLICE_MILLISECONDS: u64 = 20;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const NO_EXECUTE: u64 = 1 << 63;

/// The guest.
pub struct Emulated {
    vp: Box<dyn EngineVp>,
    clock: Arc<dyn Clock>,
    object: Arc<MemoryObject>,
    control: ControlRegisters,
}

const fn flat(selector: u16, attributes: u16) -> Segment {
    Segment {
        base: 0,
        limit: 0xFFFF_FFFF,
        selector: Selector::from_bits(selector),
        attributes: SegmentAttributes::from_bits(attributes),
    }
}

/// Segment attributes.
const CODE_64: u16 = 0xA09B;
const CODE_32: u16 = 0xC09B;
const DATA_32: u16 = 0xC093;
const PROCESSOR_NUMBER: u16 = 0x40F5;
const DPL_3: u16 = 0x60;
const NO_SEGMENT: Segment =
    Segment { base: 0, limit: 0, selector: Selector::new(), attributes: SegmentAttributes::new() };

impl Emulated {
    /// A guest on an engine.
    ///
    /// # Errors
    /// If the engine or the host refuses.
    pub fn new(engine: &dyn Engine) -> Result<Self, EmulatedError> {
        let space = Space::new(40);
        let object = MemoryObject::allocate(page::ALL * PAGE)?;
        space.batch(|batch| batch.map(ViewId(0), 0, page::ALL, &object, 0, Rights::ALL))?;
        let group = engine.create_group(&space)?;
        let vp = group.create_vp(0)?;
        let mut emulated = Self { vp, clock: group.clock(), object, control: ControlRegisters::default() };
        emulated.write(page::HANDLERS * PAGE, &[FILLER; PAGE as usize]);
        emulated.write(page::CODE * PAGE, &[FILLER; (CODE_PAGES * PAGE) as usize]);
        emulated.lay_descriptor_tables();
        emulated.lay_page_tables();
        // The state components that the processor model has.
        let xcr0 = engine.cpuid(0xD, 0).eax.into();
        emulated.set_up_registers(xcr0);
        emulated.rehearse();
        Ok(emulated)
    }

    /// Runs an SSE instruction with unmasked exceptions, so that an engine that handles signals has its handlers in place when this returns.
    fn rehearse(&mut self) {
        const SQRTPS: [u8; 3] = [0x0F, 0x51, 0xC0];
        let mut vector = VectorArea::initial();
        vector.0[24..28].fill(0);
        let vector = Some(Box::new(vector));
        let state =
            State { gprs: [0; 16], rip: CODE, rflags: 2, fs_base: 0, gs_base: 0, selectors: [0; 6], vector };
        self.write_code(CODE, &SQRTPS);
        self.run(Mode::User64, &state);
        self.write_code(CODE, &[FILLER; SQRTPS.len()]);
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) {
        self.object.write(gpa, bytes).expect("our own memory does not fault");
    }

    fn write_word(&mut self, gpa: u64, value: u64) {
        self.write(gpa, &value.to_le_bytes());
    }

    fn read_word(&self, gpa: u64) -> u64 {
        self.object.read_value::<8>(gpa).expect("our own memory does not fault")
    }

    fn lay_descriptor_tables(&mut self) {
        let tables = page::TABLES * PAGE;
        let tss = SYSTEM + tables + table::TSS;
        // Base 0, limit 4 GiB.
        let descriptor = |attributes: u16| 0x000F_0000_0000_FFFF | u64::from(attributes) << 40;
        for (index, attributes) in [
            (1, CODE_32),
            (2, CODE_64),
            (3, DATA_32),
            (4, CODE_32 | DPL_3),
            (5, DATA_32 | DPL_3),
            (6, CODE_64 | DPL_3),
            // In its limit Linux keeps the processor's number.
            (15, PROCESSOR_NUMBER),
        ] {
            self.write_word(tables + table::GDT + index * 8, descriptor(attributes));
        }
        let tss_low = 0x67 | (tss & 0xFF_FFFF) << 16 | 0x8B << 40 | (tss >> 24 & 0xFF) << 56;
        self.write_word(tables + table::GDT + u64::from(TSS), tss_low);
        self.write_word(tables + table::GDT + u64::from(TSS) + 8, tss >> 32);
        // RSP0 and IST1.
        self.write_word(tables + table::TSS + 4, STACK_TOP);
        self.write_word(tables + table::TSS + 36, STACK_TOP);
        // No I/O permission bitmap: it begins behind the limit.
        self.write(tables + table::TSS + 102, &0x68u16.to_le_bytes());
        for vector in 0..VECTORS {
            let handler = SYSTEM + page::HANDLERS * PAGE + vector * HANDLER_BYTES;
            // INT3 and INTO are for everybody, as on Linux.
            let level: u64 = if matches!(vector, 3 | 4) { 3 } else { 0 };
            let attributes = 0x8E | level << 5;
            let low = handler & 0xFFFF
                | u64::from(KERNEL_CODE) << 16
                | 1 << 32
                | attributes << 40
                | (handler >> 16 & 0xFFFF) << 48;
            self.write_word(tables + table::IDT + vector * 16, low);
            self.write_word(tables + table::IDT + vector * 16 + 8, handler >> 32);
        }
    }

    fn lay_page_tables(&mut self) {
        let mut free = page::PAGING + 1;
        for index in 0..page::SYSTEM_PAGES {
            self.map(&mut free, SYSTEM + index * PAGE, index, WRITABLE);
        }
        for index in 0..CODE_PAGES {
            self.map(&mut free, CODE + index * PAGE, page::CODE + index, USER);
        }
        for (index, rights) in (0..).zip(DATA_RIGHTS) {
            let flags = match rights {
                PageRights::None => continue,
                PageRights::Read => USER | NO_EXECUTE,
                PageRights::Write => USER | WRITABLE | NO_EXECUTE,
            };
            self.map(&mut free, DATA + index * PAGE, page::DATA + index, flags);
        }
        assert!(free <= page::ALL, "the page tables fit");
    }

    /// Maps a linear page to a guest page; `free` is the next page for a table.
    fn map(&mut self, free: &mut u64, linear: u64, gpn: u64, flags: u64) {
        let mut table = page::PAGING;
        for level in (1..4).rev() {
            let entry = table * PAGE + (linear >> (12 + 9 * level) & 511) * 8;
            let mut value = self.read_word(entry);
            if value == 0 {
                value = (*free * PAGE) | PRESENT | WRITABLE | USER;
                *free += 1;
                self.write_word(entry, value);
            }
            table = value >> 12;
        }
        self.write_word(table * PAGE + (linear >> 12 & 511) * 8, (gpn * PAGE) | PRESENT | flags);
    }

    fn set_up_registers(&mut self, xcr0: u64) {
        // PG, AM, WP, NE, ET, MP, PE.
        const CR0: u64 = 1 << 31 | 1 << 18 | 1 << 16 | 1 << 5 | 1 << 4 | 1 << 1 | 1;
        // OSXSAVE, FSGSBASE, UMIP, OSXMMEXCPT, OSFXSR, PAE.
        const CR4: u64 = 1 << 18 | 1 << 16 | 1 << 11 | 1 << 10 | 1 << 9 | 1 << 5;
        // NXE, LMA, LME, SCE.
        const EFER: u64 = 1 << 11 | 1 << 10 | 1 << 8 | 1;
        self.control =
            ControlRegisters { cr0: CR0, cr2: 0, cr3: page::PAGING * PAGE, cr4: CR4, efer: EFER, xcr0 };
        self.vp.set_control(self.control);
        let tables = SYSTEM + page::TABLES * PAGE;
        self.vp.set_gdtr(TableRegister { base: tables + table::GDT, limit: table::GDT_BYTES as u16 - 1 });
        self.vp.set_idtr(TableRegister { base: tables + table::IDT, limit: (VECTORS * 16 - 1) as u16 });
        let tss =
            Segment { base: tables + table::TSS, limit: 0x67, selector: TSS.into(), attributes: 0x8B.into() };
        self.vp.set_segment(SegmentName::Tr, tss);
        self.vp.set_segment(SegmentName::Ldtr, NO_SEGMENT);
    }

    fn load(&mut self, mode: Mode, state: &State) {
        let (cs, ss, data) = match mode {
            Mode::User64 => {
                (flat(selector::CODE_64, CODE_64 | DPL_3), flat(selector::DATA, DATA_32 | DPL_3), NO_SEGMENT)
            }
            Mode::Kernel64 => (flat(KERNEL_CODE, CODE_64), flat(KERNEL_DATA, DATA_32), NO_SEGMENT),
            Mode::User32 => {
                let data = flat(selector::DATA, DATA_32 | DPL_3);
                (flat(selector::CODE_32, CODE_32 | DPL_3), data, data)
            }
        };
        self.vp.set_segment(SegmentName::Cs, cs);
        self.vp.set_segment(SegmentName::Ss, ss);
        self.vp.set_segment(SegmentName::Ds, data);
        self.vp.set_segment(SegmentName::Es, data);
        self.vp.set_segment(SegmentName::Fs, Segment { base: state.fs_base, ..NO_SEGMENT });
        self.vp.set_segment(SegmentName::Gs, Segment { base: state.gs_base, ..NO_SEGMENT });
        for (index, &value) in state.gprs.iter().enumerate() {
            self.vp.set_gpr(GPRS[index], value);
        }
        self.vp.set_rflags(state.rflags);
        self.vp.set_rip(state.rip);
        if let Some(vector) = &state.vector {
            let mut whole = self.vp.save();
            let length = whole.xsave.0.len().min(VectorArea::BYTES);
            let mut area = vec![0; length];
            area.copy_from_slice(&vector.0[..length]);
            // What the processor model has of x87, SSE and AVX.
            area[VectorArea::XSTATE_BV] = self.control.xcr0 as u8;
            whole.xsave = XsaveArea(area);
            self.vp.restore(&whole);
        }
    }

    fn run_to_the_end(&mut self) -> Exit {
        let slice = self.clock.frequency() / 1000 * SLICE_MILLISECONDS;
        for _ in 1..SLICES {
            let deadline = Some(self.clock.now() + slice);
            let exit = self.vp.run(RunLimits { deadline, ..RunLimits::default() });
            if exit.reason != ExitReason::Deadline {
                return exit;
            }
        }
        let deadline = Some(self.clock.now() + slice);
        self.vp.run(RunLimits { deadline, ..RunLimits::default() })
    }

    /// The state in which code was interrupted, and by what: from the frame that the processor pushed, if its handler ran.
    fn interrupted(&self, state: &mut State) -> End {
        let rip = self.vp.rip();
        let handlers = SYSTEM + page::HANDLERS * PAGE;
        if !(handlers..handlers + VECTORS * HANDLER_BYTES).contains(&rip) {
            // HLT at CPL 0 needs no exception. Elsewhere it raises the fault that this imitates.
            state.rip = rip;
            state.rflags = self.vp.rflags() | rflags::RF;
            return End::Exception { vector: 13, error_code: 0, address: 0 };
        }
        let vector = ((rip - handlers) / HANDLER_BYTES) as u8;
        let rsp = self.vp.gpr(Gpr::Rsp);
        let frame = |index: u64| self.read_word((page::STACK + 1) * PAGE - 8 * (5 - index));
        let has_error_code = STACK_TOP - rsp == 48;
        if !has_error_code && STACK_TOP - rsp != 40 {
            return End::Strange("an exception frame of another size");
        }
        let error_code =
            if has_error_code { self.read_word((page::STACK + 1) * PAGE - 48) as u32 } else { 0 };
        state.rip = frame(0);
        state.rflags = frame(2);
        state.gprs[Gpr::Rsp as usize] = frame(3);
        state.selectors[1] = frame(1) as u16;
        state.selectors[2] = frame(4) as u16;
        let address = if vector == 14 { self.vp.control().cr2 } else { 0 };
        End::Exception { vector, error_code, address }
    }
}

const SEGMENTS: [SegmentName; 6] = {
    use SegmentName::{Cs, Ds, Es, Fs, Gs, Ss};
    [Es, Cs, Ss, Ds, Fs, Gs]
};
const GPRS: [Gpr; 16] = {
    use Gpr::{R8, R9, R10, R11, R12, R13, R14, R15, Rax, Rbp, Rbx, Rcx, Rdi, Rdx, Rsi, Rsp};
    [Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15]
};

/// Guest-physical address of the test's code or data.
fn physical(address: u64) -> u64 {
    if address >= DATA { page::DATA * PAGE + address - DATA } else { page::CODE * PAGE + address - CODE }
}

impl Machine for Emulated {
    fn write_code(&mut self, address: u64, bytes: &[u8]) {
        self.write(physical(address), bytes);
    }

    fn write_data(&mut self, address: u64, bytes: &[u8]) {
        self.write(physical(address), bytes);
    }

    fn read_page(&self, index: usize, into: &mut [u8; PAGE as usize]) {
        self.object.read((page::DATA + index as u64) * PAGE, into).expect("our own memory does not fault");
    }

    fn run(&mut self, mode: Mode, state: &State) -> Outcome {
        self.load(mode, state);
        let exit = self.run_to_the_end();
        let mut gprs = [0; 16];
        for (slot, name) in gprs.iter_mut().zip(GPRS) {
            *slot = self.vp.gpr(name);
        }
        let mut after = State {
            gprs,
            rip: self.vp.rip(),
            rflags: self.vp.rflags(),
            fs_base: self.vp.segment(SegmentName::Fs).base,
            gs_base: self.vp.segment(SegmentName::Gs).base,
            selectors: SEGMENTS.map(|name| self.vp.segment(name).selector.into_bits()),
            vector: state.vector.as_ref().map(|_| {
                let mut area = [0; VectorArea::BYTES];
                let saved = self.vp.save().xsave.0;
                let length = saved.len().min(VectorArea::BYTES);
                area[..length].copy_from_slice(&saved[..length]);
                Box::new(VectorArea(area))
            }),
        };
        let end = match exit.reason {
            ExitReason::Halt => self.interrupted(&mut after),
            ExitReason::Deadline => End::TimedOut,
            ExitReason::TripleFault => End::Strange("a triple fault"),
            ExitReason::Unsupported(what) => End::Strange(what),
            ExitReason::Port(_) => End::Strange("a port access"),
            ExitReason::Memory(_) => End::Strange("a memory exit"),
            ExitReason::ReadMsr { .. } | ExitReason::WriteMsr { .. } => End::Strange("an MSR access"),
            ExitReason::Cpuid { .. } => End::Strange("CPUID"),
            ExitReason::Hypercall(_) => End::Strange("a hypercall"),
            ExitReason::ReadTaskPriority | ExitReason::WriteTaskPriority(_) => End::Strange("a CR8 access"),
            _ => End::Strange("another exit"),
        };
        Outcome { state: after, end }
    }
}
