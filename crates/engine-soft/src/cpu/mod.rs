// SPDX-License-Identifier: MIT OR Apache-2.0
//! The state of one virtual processor.

mod derive;
mod flags;
mod operand;
mod segmentation;
mod stack;
mod store;
mod time_source;

use std::sync::Arc;

use engine::{
    ControlRegisters, DebugRegisters, DescriptorTableGuard, EventState, ExitReason, Gpr,
    ModelSpecificRegisters, Segment, SegmentName, TableRegister,
};
use memory::{Space, ViewId};
use x86::control::{Cr0, Cr4, Efer, Rflags, Xcr0};
use x86::paging::{Paging, PagingRegisters};

pub use derive::{CodeSize, Mode};
pub use flags::Flags;
pub(crate) use operand::memory_segment;
pub use operand::{Operand, gpr_of, segment_of};
pub(crate) use segmentation::is_canonical;
pub use stack::StackCursor;
pub(crate) use time_source::{Generator, TimeSource, VirtualTime};

use crate::block::{BlockCache, ChunkBudget, CodePages, Op};
use crate::host_execution::{Availability, Extensions, HostFrame, StubCache};
use crate::mmu::Mmu;
use crate::model::Vendor;
use crate::shared::{Registry, VpShared};
use crate::stop::Stop;

/// Indices into [`HostFrame::slots`]: values that effective addresses may add like registers.
pub mod slot {
    /// Always zero: a base or index that is not there.
    pub const ZERO: usize = 0;
    /// RIP of the first byte of the page that code runs in (modulo 2^64): base of RIP-relative addresses.
    pub const IP_BASE: usize = 1;
    /// FS base.
    pub const FS_BASE: usize = 2;
    /// GS base.
    pub const GS_BASE: usize = 3;
}

/// Bits of RFLAGS that are not the six status flags.
pub mod rflags {
    /// CF, PF, AF, ZF, SF, OF.
    pub const STATUS: u64 = 0x8D5;
    /// Trap.
    pub const TF: u64 = 1 << 8;
    /// Interrupt enable.
    pub const IF: u64 = 1 << 9;
    /// Direction.
    pub const DF: u64 = 1 << 10;
    /// I/O privilege level.
    pub const IOPL: u64 = 3 << 12;
    /// Nested task.
    pub const NT: u64 = 1 << 14;
    /// Resume.
    pub const RF: u64 = 1 << 16;
    /// Virtual-8086 mode.
    pub const VM: u64 = 1 << 17;
    /// Alignment check, and the lifting of SMAP.
    pub const AC: u64 = 1 << 18;
    /// Virtual interrupt flag.
    pub const VIF: u64 = 1 << 19;
    /// Virtual interrupt pending.
    pub const VIP: u64 = 1 << 20;
    /// CPUID can be executed.
    pub const ID: u64 = 1 << 21;
    /// All bits that exist, bit 1 included.
    pub const DEFINED: u64 = 0x3F_7FD7;
}

/// What a processor is made of besides memory, clock and state.
pub(crate) struct Parts {
    /// Bound of the block caches of all processors.
    pub(crate) chunks: Arc<ChunkBudget>,
    /// Instruction-set extensions of the processor model.
    pub(crate) offered: Extensions,
    /// Whose processor it is: some prefixes differ.
    pub(crate) vendor: Vendor,
    /// Bits of EFER beside those that all models have.
    pub(crate) efer_optional: u64,
    /// State components that XCR0 may enable.
    pub(crate) components: Xcr0,
    pub(crate) shared: Arc<VpShared>,
    pub(crate) registry: Arc<Registry>,
}

/// One access that the hypervisor has completed, for when its instruction is executed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Completed {
    reason: ExitReason,
    value: u64,
}

/// The state of one virtual processor, and what follows from it.
///
/// Fields that others derive from are private: set them by methods.
#[repr(C)]
pub struct Cpu {
    /// General-purpose registers by their encoding, address slots ([`slot`]), and the vector state, where stubs reach them. Its `rflags` is only for stubs.
    pub frame: HostFrame,
    /// The status flags.
    pub flags: Flags,
    /// Instructions left until the run loop looks at the clock.
    pub(crate) budget: i64,
    /// All that `budget` was ever given: less what is left of it, the instructions executed.
    pub(crate) granted: i64,
    /// PAUSE instructions since it last did.
    pub(crate) pauses: u32,
    /// RIP of the instruction in slow instructions and between blocks; stale inside fast code.
    pub rip: u64,
    /// RIP of the following instruction, in slow instructions.
    pub next_rip: u64,
    /// RFLAGS without the status flags: bit 1, TF, IF, DF, IOPL, NT, RF, VM, AC, VIF, VIP, ID.
    other_flags: u64,
    segments: [Segment; 8],
    control: ControlRegisters,
    pdptes: [u64; 4],
    cpl: u8,
    mode: Mode,
    /// GDTR.
    pub gdtr: TableRegister,
    /// IDTR.
    pub idtr: TableRegister,
    /// Debug registers; set DR7 by [`Cpu::set_debug`].
    debug: DebugRegisters,
    /// The MSRs that the engine keeps. Nothing is derived from them.
    pub msrs: ModelSpecificRegisters,
    /// What stands between the last instruction and the next.
    pub events: EventState,
    /// The pending event is an exception that has just been raised: nobody has been asked about it.
    pub(crate) just_raised: bool,
    /// Bit n: the exception with vector n raises an exit.
    pub exception_exits: u32,
    /// What user code may not execute.
    pub descriptor_table_guard: DescriptorTableGuard,
    /// Data breakpoints that the instruction being stepped meets, as bits of DR6.
    pub(crate) data_breakpoints_met: u64,
    /// The instruction at hand holds off its own single-step trap: a software interrupt, whose gate has cleared TF, or a load of SS.
    pub(crate) holds_trap: bool,
    /// Accesses of the instruction at hand that the hypervisor has completed, and how many it has used up.
    completed: Vec<Completed>,
    completed_used: usize,
    pub(crate) paging: Paging,
    /// From linear addresses to host memory.
    pub mmu: Mmu,
    /// Guest-physical memory.
    pub space: Arc<Space>,
    view: ViewId,
    /// The group's clock, and what the VP keeps of its own under virtual time.
    pub(crate) time: TimeSource,
    /// The operation whose instruction a slow handler executes or executed last; live during a chain.
    pub(crate) slow_op: *const Op,
    /// Counts changes of what the code at hand was decoded or chained for; a block that sees it move ends.
    pub(crate) context_epoch: u64,
    /// What jumps are remembered for; a value that none has if they may not be.
    pub(crate) jump_key: u64,
    /// Counts changes of what guest-physical pages are.
    pub(crate) physical_epoch: u16,
    /// Where to go on after [`Leave::Continue`](crate::block::Leave::Continue).
    pub(crate) resume_at: *const Op,
    /// The branch that led to `rip` and may be linked to what is found there, or null.
    pub(crate) link_from: *mut Op,
    /// Why the last instruction did not finish.
    pub(crate) stop: Option<Stop>,
    /// What [`Stop::Exit`] stands for: see [`Cpu::noted_exit`].
    pub(crate) noted_exit: ExitReason,
    /// One instruction at a time is executed.
    pub(crate) stepping: bool,
    /// No other processor runs guest code.
    pub(crate) alone: bool,
    /// The tick at which the run is to end: see [`Cpu::time_may_be_seen`].
    pub(crate) deadline: u64,
    /// The run ended before a look at the time; the next look at it is let through, if nothing was delivered meanwhile.
    pub(crate) deadline_told: bool,
    pub(crate) blocks: BlockCache,
    pub(crate) code_pages: CodePages,
    pub(crate) stubs: StubCache,
    pub(crate) offered: Extensions,
    /// Whose processor it is.
    pub(crate) vendor: Vendor,
    /// Bits of EFER that this processor model has beside those that all have.
    pub(crate) efer_optional: u64,
    /// State components that this processor model has.
    pub(crate) components: Xcr0,
    /// Which groups of data instructions control registers allow.
    pub(crate) availability: Availability,
    pub(crate) shared: Arc<VpShared>,
    pub(crate) registry: Arc<Registry>,
}

// SAFETY: the pointers among the fields lead into the block cache, which moves along.
unsafe impl Send for Cpu {}

/// Why a processor could not be made.
pub type NewCpuError = crate::host_execution::StubCacheError;

impl Cpu {
    /// A processor in a given state, its vector state excepted, with extensions `offered`.
    ///
    /// # Errors
    /// If the host lacks an extension or gives no executable memory.
    pub(crate) fn new(
        space: Arc<Space>,
        time: TimeSource,
        parts: Parts,
        state: &engine::VpState,
    ) -> Result<Self, NewCpuError> {
        let mut cpu = Self {
            frame: HostFrame::new(),
            flags: Flags::default(),
            budget: 0,
            granted: 0,
            pauses: 0,
            rip: 0,
            next_rip: 0,
            other_flags: 2,
            segments: state.segments,
            control: state.control,
            pdptes: [0; 4],
            cpl: 0,
            mode: Mode::default(),
            gdtr: state.gdtr,
            idtr: state.idtr,
            debug: state.debug,
            msrs: state.msrs,
            events: state.events,
            just_raised: false,
            exception_exits: 0,
            descriptor_table_guard: DescriptorTableGuard::default(),
            data_breakpoints_met: 0,
            holds_trap: false,
            completed: Vec::new(),
            completed_used: 0,
            paging: Paging::new(&PagingRegisters::default()),
            mmu: Mmu::new(),
            space,
            view: ViewId(0),
            time,
            slow_op: std::ptr::null(),
            context_epoch: 0,
            jump_key: u64::MAX,
            physical_epoch: 0,
            resume_at: std::ptr::null(),
            link_from: std::ptr::null_mut(),
            stop: None,
            noted_exit: ExitReason::Halt,
            stepping: false,
            alone: false,
            deadline: u64::MAX,
            deadline_told: false,
            blocks: BlockCache::new(parts.chunks, crate::execute::stale),
            code_pages: CodePages::new(),
            stubs: StubCache::new(parts.offered)?,
            offered: parts.offered,
            vendor: parts.vendor,
            efer_optional: parts.efer_optional,
            components: parts.components,
            availability: Availability::new(Cr0::new(), Cr4::new(), Rflags::new(), Xcr0::new()),
            shared: parts.shared,
            registry: parts.registry,
        };
        cpu.load(state);
        Ok(cpu)
    }

    /// Replaces everything but the vector state.
    pub fn load(&mut self, state: &engine::VpState) {
        self.frame.gprs = state.gprs;
        self.rip = state.rip;
        self.segments = state.segments;
        self.frame.slots[slot::FS_BASE] = state.segments[SegmentName::Fs as usize].base;
        self.frame.slots[slot::GS_BASE] = state.segments[SegmentName::Gs as usize].base;
        self.gdtr = state.gdtr;
        self.idtr = state.idtr;
        self.debug = state.debug;
        self.msrs = state.msrs;
        self.events = state.events;
        self.flags = Flags::from_rflags(state.rflags);
        self.other_flags = state.rflags & rflags::DEFINED & !rflags::STATUS | 2;
        self.forget_completed();
        self.set_control(state.control);
        self.flush_all();
        self.derive();
    }

    /// A general-purpose register, whole.
    #[must_use]
    pub fn gpr(&self, register: Gpr) -> u64 {
        self.frame.gprs[register as usize]
    }

    /// Sets a general-purpose register, whole.
    pub fn set_gpr(&mut self, register: Gpr, value: u64) {
        self.frame.gprs[register as usize] = value;
    }

    /// Sets the low 1, 2, 4 or 8 bytes of a general-purpose register; 4 bytes clear the upper half.
    pub fn set_gpr_part(&mut self, register: Gpr, size: usize, value: u64) {
        let slot = &mut self.frame.gprs[register as usize];
        *slot = match size {
            1 => *slot & !0xFF | value & 0xFF,
            2 => *slot & !0xFFFF | value & 0xFFFF,
            4 => value & 0xFFFF_FFFF,
            _ => value,
        };
    }

    /// RFLAGS, exact.
    #[must_use]
    pub fn rflags(&self) -> u64 {
        self.other_flags | self.flags.to_rflags()
    }

    /// Sets RFLAGS, with no checks; bits that do not exist are dropped.
    pub fn set_rflags(&mut self, value: u64) {
        self.flags = Flags::from_rflags(value);
        let other = value & rflags::DEFINED & !rflags::STATUS | 2;
        let changed = other ^ self.other_flags;
        self.other_flags = other;
        if changed & (rflags::AC | rflags::VM | rflags::TF) != 0 {
            self.derive();
        }
    }

    /// RFLAGS.DF.
    #[must_use]
    pub fn direction_down(&self) -> bool {
        self.other_flags & rflags::DF != 0
    }

    /// Sets RFLAGS.DF, from which nothing derives.
    #[inline]
    pub(crate) fn set_direction(&mut self, down: bool) {
        self.other_flags = self.other_flags & !rflags::DF | if down { rflags::DF } else { 0 };
    }

    /// Current privilege level: the DPL of SS.
    #[must_use]
    pub fn cpl(&self) -> u8 {
        self.cpl
    }

    /// I/O privilege level.
    #[must_use]
    pub fn iopl(&self) -> u8 {
        (self.other_flags >> 12 & 3) as u8
    }

    /// CR0.
    #[must_use]
    pub fn cr0(&self) -> Cr0 {
        Cr0::from_bits(self.control.cr0)
    }

    /// CR4.
    #[must_use]
    pub fn cr4(&self) -> Cr4 {
        Cr4::from_bits(self.control.cr4)
    }

    /// EFER.
    #[must_use]
    pub fn efer(&self) -> Efer {
        Efer::from_bits(self.control.efer)
    }

    /// Control registers.
    #[must_use]
    pub fn control(&self) -> ControlRegisters {
        self.control
    }

    /// Sets CR2, from which nothing derives.
    pub fn set_cr2(&mut self, value: u64) {
        self.control.cr2 = value;
    }

    /// Sets control registers with no checks, and forgets the translations that the changes make stale: all but global ones on
    /// a change of CR3 (without PCIDs), all on a change of paging bits. With CR4.PCIDE a change of CR3 keeps everything: entries are
    /// tagged. A MOV to CR3 that is to flush its PCID calls [`Cpu::flush_space`] besides.
    ///
    /// With PAE paging (not long mode), the caller loads the PDPTEs and sets them by [`Cpu::set_pdptes`].
    pub fn set_control(&mut self, control: ControlRegisters) {
        const CR0_PAGING: u64 = 1 << 31 | 1 << 16 | 1;
        // PSE, PAE, PGE, LA57, PCIDE, SMEP, SMAP.
        const CR4_PAGING: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 12 | 1 << 17 | 1 << 20 | 1 << 21;
        const EFER_PAGING: u64 = 1 << 8 | 1 << 10 | 1 << 11;
        let old = self.control;
        self.control = control;
        let paging_changed = (old.cr0 ^ control.cr0) & CR0_PAGING
            | (old.cr4 ^ control.cr4) & CR4_PAGING
            | (old.efer ^ control.efer) & EFER_PAGING
            != 0;
        if paging_changed {
            self.flush_all();
        } else if old.cr3 != control.cr3 && control.cr4 & 1 << 17 == 0 {
            self.flush_non_global();
        }
        self.derive_paging();
        self.derive();
    }

    /// The four PDPTEs of PAE paging.
    #[must_use]
    pub fn pdptes(&self) -> [u64; 4] {
        self.pdptes
    }

    /// Sets the four PDPTEs of PAE paging, as a load of CR3 does.
    pub fn set_pdptes(&mut self, pdptes: [u64; 4]) {
        self.pdptes = pdptes;
        self.flush_all();
        self.derive_paging();
        self.derive();
    }

    /// Takes the PDPTEs from memory, where paging uses them, for state that was set from outside. Entries that a load of CR3 would
    /// refuse, or that cannot be read, count as not present.
    pub(crate) fn reload_pdptes(&mut self) {
        if self.cr0().pg() && self.cr4().pae() && !self.efer().lma() {
            let pdptes = self.read_pdptes(self.control.cr3);
            self.forget_completed();
            self.set_pdptes(pdptes.ok().flatten().unwrap_or_default());
        }
    }

    /// All segment registers.
    #[must_use]
    pub(crate) fn segments(&self) -> [Segment; 8] {
        self.segments
    }

    /// Debug registers.
    #[must_use]
    pub fn debug(&self) -> DebugRegisters {
        self.debug
    }

    /// Sets debug registers.
    pub fn set_debug(&mut self, debug: DebugRegisters) {
        self.debug = debug;
        self.derive();
    }

    /// The view of memory that the VP runs in.
    #[must_use]
    pub fn view(&self) -> ViewId {
        self.view
    }

    /// Chooses the view of memory.
    pub fn set_view(&mut self, view: ViewId) {
        if self.view != view {
            self.view = view;
            self.flush_physical();
            self.derive();
        }
    }

    /// Asks the hypervisor for something that it completes with a value: gives the value if it has done so already, else the stop that
    /// asks. See "Slow instructions" in the crate's documentation.
    ///
    /// # Errors
    /// The exit, if the access is not completed yet.
    #[inline]
    pub fn external(&mut self, reason: ExitReason) -> Result<u64, Stop> {
        let stop = self.stop_for(reason);
        if self.completed.is_empty() { Err(stop) } else { self.next_completed().ok_or(stop) }
    }

    /// What the hypervisor has answered to the exit that was just noted, if it has.
    fn next_completed(&mut self) -> Option<u64> {
        let completed = self.completed.get(self.completed_used);
        let Some(completed) = completed.filter(|completed| completed.reason == self.noted_exit) else {
            // Something else than last time: what follows is not what was completed.
            self.completed.truncate(self.completed_used);
            return None;
        };
        self.completed_used += 1;
        Some(completed.value)
    }

    /// Notes the hypervisor's answer to an exit.
    pub(crate) fn complete(&mut self, reason: ExitReason, value: u64) {
        self.completed.push(Completed { reason, value });
    }

    /// Whether the instruction to come has accesses that were completed.
    pub(crate) fn has_completed(&self) -> bool {
        !self.completed.is_empty()
    }

    /// Makes the completed accesses available to the instruction from its start.
    pub(crate) fn rewind_completed(&mut self) {
        self.completed_used = 0;
    }

    /// Drops the completed accesses: their instruction is done, or will not be.
    pub(crate) fn forget_completed(&mut self) {
        self.completed.clear();
        self.completed_used = 0;
    }
}
