// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exits: what an engine leaves to the hypervisor, and how the hypervisor answers.

/// Why a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// What happened.
    pub reason: ExitReason,
    /// Length in bytes (1 to 15) of the instruction that RIP points to, if one caused the exit; else 0.
    pub instruction_length: u8,
    /// The event whose delivery was under way. It stays the engine's: [`Resume::Retry`] delivers it anew.
    pub delivering: Option<Event>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitReason {
    /// The deadline given to the run has come. Between two instructions.
    Deadline,
    /// Somebody kicked the VP. Between two instructions.
    Kicked,
    /// An external interrupt can now be injected, as [`crate::RunLimits`] asked. Between two instructions.
    InterruptWindow,
    /// A non-maskable interrupt can now be injected, as asked. Between two instructions.
    NmiWindow,
    /// The guest waits in a loop of PAUSE instructions, perhaps for another VP: that one may have better use for the host's processor. Between two
    /// instructions. An engine need not notice.
    SpinWait,
    /// HLT. `Advance` moves past it.
    Halt,
    /// IN, OUT, INS or OUTS: one element. `Complete` gives the value read, or says that it was written.
    Port(PortAccess),
    /// Memory that is not there, or that rights forbid.
    Memory(MemoryAccess),
    /// RDMSR of a register that the engine does not keep. `Complete` gives the value.
    ReadMsr {
        /// MSR number.
        number: u32,
    },
    /// WRMSR to a register that the engine does not keep. `Complete` says that it was written.
    WriteMsr {
        /// MSR number.
        number: u32,
        /// EDX:EAX.
        value: u64,
    },
    /// CPUID. Set the four registers, then `Advance`.
    Cpuid {
        /// EAX.
        leaf: u32,
        /// ECX.
        subleaf: u32,
    },
    /// VMCALL or VMMCALL, whatever the mode or privilege level. Set registers, then `Advance`, `Retry` or `Inject`.
    Hypercall(HypercallInstruction),
    /// A read of CR8. `Complete` gives the value (0 to 15).
    ReadTaskPriority,
    /// A write of CR8 (0 to 15; the engine has checked). `Complete` says that it was written.
    WriteTaskPriority(u8),
    /// An exception that was chosen to raise exits is about to be delivered. `Inject` delivers it or another.
    Exception {
        /// Vector, 0 to 31.
        vector: u8,
        /// Error code, if it has one.
        error_code: Option<u32>,
        /// The linear address for a page fault, the DR6 bits for a debug exception, else 0.
        parameter: u64,
    },
    /// An exception during the delivery of a double fault. The VP is to be reset or its partition ended.
    TripleFault,
    /// The guest needs something that this engine does not have, named here for the user.
    Unsupported(&'static str),
}

/// An access to an I/O port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortAccess {
    /// Port number.
    pub port: u16,
    /// Bytes: 1, 2 or 4.
    pub size: u8,
    /// Which way, and for writes the value.
    pub direction: PortDirection,
    /// Whether it is an INS or OUTS (the element's memory operand is the engine's affair).
    pub string: bool,
    /// Whether there is a REP prefix.
    pub rep: bool,
}

/// Direction of a port access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortDirection {
    /// The guest reads.
    In,
    /// The guest writes this value, zero-extended.
    Out(u32),
}

/// An access to guest-physical memory that did not happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryAccess {
    /// Guest-physical address of the first byte.
    pub gpa: u64,
    /// Linear address, where the access has one (a page walk has that of the translation it serves).
    pub gva: Option<u64>,
    /// Bytes: 1 to 8. Larger and page-crossing operands come as several exits, none of which commits anything until the last is completed.
    pub size: u8,
    /// What was tried.
    pub kind: MemoryAccessKind,
    /// Why it did not happen.
    pub cause: MemoryExitCause,
    /// The access is of a page table, on behalf of a translation.
    pub page_walk: bool,
    /// Privilege level of the access is 3.
    pub user: bool,
}

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryAccessKind {
    /// A read. `Complete` gives the value.
    Read,
    /// A write of this value, zero-extended. `Complete` says that it was written.
    Write(u64),
    /// An instruction fetch. It cannot be completed: `Retry` after a change of mapping, or `Inject`.
    Execute,
}

/// Why memory could not be accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryExitCause {
    /// Nothing is mapped: a device may be there.
    Unmapped,
    /// The view's rights forbid it.
    Rights(memory::Rights),
    /// The host page behind it faults.
    HostFault,
}

/// How a guest called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HypercallInstruction {
    /// 0F 01 C1.
    Vmcall,
    /// 0F 01 D9.
    Vmmcall,
}

/// An event that is delivered through the guest's IDT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An external interrupt with this vector.
    Interrupt(u8),
    /// A non-maskable interrupt.
    Nmi,
    /// A fault or trap.
    Exception {
        /// Vector, 0 to 31.
        vector: u8,
        /// Error code, if it has one.
        error_code: Option<u32>,
        /// CR2 for a page fault, DR6 bits for a debug exception; else ignored.
        parameter: u64,
    },
    /// INT n, INT3, INTO or ICEBP, whose delivery an exit interrupted.
    Software {
        /// Vector.
        vector: u8,
        /// Length of the instruction, which the return address skips.
        instruction_length: u8,
    },
}

impl Event {
    /// #UD.
    pub const INVALID_OPCODE: Self = Self::Exception { vector: 6, error_code: None, parameter: 0 };
    /// #GP(0).
    pub const GENERAL_PROTECTION: Self = Self::Exception { vector: 13, error_code: Some(0), parameter: 0 };
    /// #MC.
    pub const MACHINE_CHECK: Self = Self::Exception { vector: 18, error_code: None, parameter: 0 };
}

/// The answer to an exit that stands before an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// The one access that the exit named is done; for reads this is the value, zero-extended; for writes it is ignored. The instruction goes on with its other accesses
    /// and commits when all are done.
    Complete(u64),
    /// Do it again from the start: what was wrong has changed. Accesses of the same instruction that were completed stay completed.
    Retry,
    /// Move past the instruction: its work is done. Ends an interrupt shadow, and raises the single-step trap if one is due.
    Advance,
    /// Deliver this event in place of the instruction, whose work is dropped.
    Inject(Event),
}
