// SPDX-License-Identifier: MIT OR Apache-2.0
//! The software processor: an [`engine::Engine`] that needs nothing but an x86-64 host.
//!
//! It is a complete x86-64 processor, built as an interpreter of predecoded operations. It knows nothing of
//! partitions, hypercalls, interrupt controllers or devices.
//!
//! # How it is laid out
//!
//! * [`cpu`]: the state of one virtual processor ([`cpu::Cpu`]) and what follows from it.
//! * [`stop`]: why an instruction did not finish ([`stop::Stop`]), and how a slow instruction ends ([`stop::Next`]).
//! * [`mmu`]: from linear addresses to host memory: TLB, page walks, accesses with all checks, device accesses with replay.
//! * `alone`: how one processor makes all others stand still, for a locked access that crosses a page.
//! * `block`: predecoded operations, the blocks they stand in, and how blocks are found and dropped.
//! * `decode`: from bytes to operations.
//! * `execute`: the handlers of operations.
//! * [`host_execution`]: x87, MMX, SSE ... executed by the host through one-instruction stubs.
//! * `system`: slow instructions (segments, control registers, gates, MSRs ...) and the delivery of events.
//!
//! # Slow instructions
//!
//! An instruction that is not worth a handler of its own is a [`SlowInstruction`]: a plain function
//!
//! ```ignore
//! fn lgdt(cpu: &mut Cpu, instruction: &iced_x86::Instruction) -> Result<Next, Stop>
//! ```
//!
//! `system::slow_instruction` names the function for each instruction that is the system half's; decode asks it first. When it
//! is called, `cpu.rip` is the instruction's own RIP, `cpu.next_rip` that of the following instruction, and all registers and flags are exact.
//! (`instruction.ip()`, `next_ip()` and RIP-relative displacements computed by iced are NOT valid, as blocks are shared between virtual addresses:
//! use `cpu.rip`, `cpu.next_rip` and [`cpu::Cpu::operand_address`], which knows.)
//!
//! The rules:
//! 1. *Commit last.* It must not change any state before its last step that can fail. Where that is not possible (a far call pushes and then loads
//!    segments) copy what will change first and put it back on error, or probe writes with [`cpu::Cpu::probe_write`] before the first.
//! 2. `Ok(Next::Sequential)`: the caller moves RIP to `cpu.next_rip`. `Ok(Next::Jump)`: the function has set `cpu.rip` itself.
//! 3. `Err(Stop::Exception(..))` has the exception delivered, `Err(Stop::Exit(..))` (by `Cpu::stop_for`) ends the run before the instruction.
//! 4. Whatever the hypervisor may complete (`Resume::Complete`) is asked for by [`cpu::Cpu::external`]: it gives the value if the
//!    hypervisor has completed that access already, else the `Stop` to return. The instruction is then executed again from its start, so
//!    accesses must come in the same order each time. Device memory behind linear accesses does the same by itself.
//! 5. After a change of CR0, CR3, CR4, EFER, CPL, RFLAGS.AC/TF, CS, SS or any segment, DR7, or the view: call the `Cpu` method that sets it
//!    ([`cpu::Cpu::set_segment_raw`], [`cpu::Cpu::set_control`], [`cpu::Cpu::set_rflags`] ...). These work out what is derived ([`cpu::Cpu::derive`])
//!    and forget translations where the architecture says so; nobody else has to. Blocks need no flush on mode changes: their key holds the mode.
//!
//! # Precision
//!
//! Flags are always exact: they are kept in the form that the host's own LAHF and SETO give ([`cpu::Flags`]).

//!
//! # Time
//!
//! The clock is the host's, or under virtual time one that retired instructions move: a tick each, counted at branches and ends of blocks, and where a chain ends in
//! the middle of a block by the place in it. Such a run ends at its deadline to the instruction, since the last instructions before it are executed one by
//! one; nothing that a guest can see then depends on which blocks, links and translations a processor happens to hold.
//!
//! # Speed
//!
//! Handlers chain by tail position (`execute` says what keeps the compiler making jumps of these calls); an instruction that hits the TLB calls nothing.
//! Comparisons are fused with the branches behind them, branches inside a page are linked, others go by a jump cache, and REP MOVS and STOS are the host's own.
//!
//! # What it does not do
//!
//! * Task switches through task gates and TSS descriptors, which no 64-bit system uses: the run ends with `Unsupported`.
//! * A locked access that crosses a page and reaches a device, or memory that a host program lends, is a read and then a write. One that lies in
//!   guest memory is atomic: the other processors stand still meanwhile (see `alone`).
//! * Code in memory that a host program lends is decoded at each execution, since it may change unnoticed.
//! * Global translations do not survive a load of CR3: they are found again.

mod alone;
mod block;
pub mod cpu;
mod decode;
mod execute;
pub mod host_execution;
pub mod mmu;
pub mod model;
mod run;
mod shared;
mod soft_engine;
pub mod stop;
pub mod system;
mod vp;

pub use soft_engine::SoftEngine;
pub use system::SlowInstruction;

#[cfg(test)]
mod tests;
