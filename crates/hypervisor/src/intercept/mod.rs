// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intercepts (TLFS 6): what a parent has chosen to see of its child, and how a VP that meets it is suspended and told of.
//!
//! The parent of a partition is its host program. One that gives a [`Parent`] gets the specification's messages: the VP stands before the instruction, suspended, until
//! its InterceptSuspend register is cleared ([`Partition::set_intercept_suspend`], or the register of that name). Meanwhile the parent may change any register, RIP too; else the instruction is
//! executed again.

mod message;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, RwLock};

use engine::{Exit, MemoryAccess, MemoryAccessKind, PortAccess, PortDirection};
use tlfs::HvStatus;
use tlfs::address::AccessTypeMask;
use tlfs::intercept::InterceptType;
use tlfs::synic::MessageType;

use crate::partition::Partition;
use crate::vp::{Vp, VpExit};
pub use message::InterceptMessage;

/// The parent of a partition.
pub trait Parent: Send + Sync {
    /// A VP of the partition met an intercept and is suspended now. Called on that VP's thread, in the order in which intercepts are met; it must not block. It may let the VP go on
    /// before it returns.
    fn intercepted(&self, message: &InterceptMessage);
}

/// What a partition's parent intercepts.
#[derive(Default)]
pub(crate) struct Intercepts {
    parent: Option<Arc<dyn Parent>>,
    /// Something of each kind is intercepted.
    any_port: AtomicBool,
    any_leaf: AtomicBool,
    ports: RwLock<BTreeSet<u16>>,
    leaves: RwLock<BTreeSet<u32>>,
    msrs: AtomicBool,
    hypercalls: AtomicBool,
    /// Bit n: vector n.
    exceptions: AtomicU32,
}

/// Adds an element to a set or takes it away; tells whether the set has any then.
fn change<T: Ord>(set: &RwLock<BTreeSet<T>>, element: T, install: bool) -> bool {
    let mut set = set.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    if install {
        set.insert(element);
    } else {
        set.remove(&element);
    }
    !set.is_empty()
}

impl Intercepts {
    pub(crate) fn new(parent: Option<Arc<dyn Parent>>) -> Self {
        Self { parent, ..Self::default() }
    }

    pub(crate) fn parent(&self) -> Option<&dyn Parent> {
        self.parent.as_deref()
    }

    /// Whether an access to ports touches one that is intercepted (TLFS 8.9: all of 1, 2 or 4).
    fn meets_port(&self, access: &PortAccess) -> bool {
        self.any_port.load(Ordering::Relaxed) && {
            let ports = self.ports.read().unwrap_or_else(std::sync::PoisonError::into_inner);
            (0..u16::from(access.size)).any(|offset| ports.contains(&access.port.wrapping_add(offset)))
        }
    }

    fn meets_leaf(&self, leaf: u32) -> bool {
        self.any_leaf.load(Ordering::Relaxed)
            && self.leaves.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&leaf)
    }

    pub(crate) fn exceptions(&self) -> u32 {
        self.exceptions.load(Ordering::Relaxed)
    }
}

impl Partition {
    /// Installs an intercept, or with no access at all removes it, as HvCallInstallIntercept does (TLFS 6.1.1). `parameter` is the port, CPUID leaf or exception vector; for MSRs, of which all those
    /// are meant that nothing here serves, and for hypercalls it is 0. Takes effect on each VP before it runs on.
    ///
    /// INVALID_PARAMETER answers a kind of intercept that does not exist, a parameter that it does not have, and kinds of access that it does not come with; OPERATION_DENIED
    /// a partition without a [`Parent`]; FEATURE_UNAVAILABLE exceptions where the engine cannot show them.
    pub fn install_intercept(&self, access: AccessTypeMask, kind: InterceptType, parameter: u64) -> HvStatus {
        let read_write = AccessTypeMask::new().with_read(true).with_write(true);
        let execute = AccessTypeMask::new().with_execute(true);
        let none = access == AccessTypeMask::new();
        let intercepts = self.intercepts();
        if intercepts.parent.is_none() {
            return HvStatus::OPERATION_DENIED;
        }
        let valid = |needed: AccessTypeMask, most: u64| (none || access == needed) && parameter <= most;
        match kind {
            InterceptType::X64_IO_PORT if valid(read_write, u16::MAX.into()) => {
                let any = change(&intercepts.ports, parameter as u16, !none);
                intercepts.any_port.store(any, Ordering::Relaxed);
            }
            InterceptType::X64_CPUID if valid(execute, u32::MAX.into()) => {
                let any = change(&intercepts.leaves, parameter as u32, !none);
                intercepts.any_leaf.store(any, Ordering::Relaxed);
            }
            InterceptType::X64_MSR if valid(read_write, 0) => intercepts.msrs.store(!none, Ordering::Relaxed),
            InterceptType::HYPERCALL if valid(execute, 0) => {
                intercepts.hypercalls.store(!none, Ordering::Relaxed);
            }
            InterceptType::EXCEPTION if valid(execute, 31) => {
                if !self.processor().shows_exceptions() {
                    return HvStatus::FEATURE_UNAVAILABLE;
                }
                let bit = 1 << parameter;
                if none {
                    intercepts.exceptions.fetch_and(!bit, Ordering::Relaxed);
                } else {
                    intercepts.exceptions.fetch_or(bit, Ordering::Relaxed);
                }
            }
            _ => return HvStatus::INVALID_PARAMETER,
        }
        self.vps().for_each(|vp| vp.notify());
        HvStatus::SUCCESS
    }
}

/// How an access is told of: 0 read, 1 write, 2 execute.
const fn access_type(kind: MemoryAccessKind) -> u8 {
    match kind {
        MemoryAccessKind::Read => message::READ,
        MemoryAccessKind::Write(_) => message::WRITE,
        MemoryAccessKind::Execute => message::EXECUTE,
    }
}

impl Vp {
    /// Suspends the VP and tells its parent, if there is one.
    pub(crate) fn suspend_for(&mut self, message: &InterceptMessage) -> bool {
        let partition = Arc::clone(&self.partition);
        let Some(parent) = partition.intercepts().parent() else { return false };
        let mut suspend = self.shared().state().intercept_suspend.with_suspended(true);
        if matches!(message.message_type, MessageType::UNMAPPED_GPA | MessageType::GPA_INTERCEPT) {
            // The parent goes by the VP's translations while it completes the instruction (TLFS 9.1.4).
            suspend.set_tlb_flush_inhibit(true);
        }
        partition.set_intercept_suspend(self.index, suspend);
        self.look_again();
        parent.intercepted(message);
        true
    }

    /// The same at an exit that stands before an instruction, or in the delivery of an event, which is done again.
    fn intercept(&mut self, message: &InterceptMessage) {
        self.engine.resume(engine::Resume::Retry);
        self.suspend_for(message);
    }

    /// Whether an exit meets an intercept of the parent's; the VP is suspended then.
    pub(crate) fn meets_intercept(&mut self, exit: &Exit) -> bool {
        use engine::ExitReason as Reason;
        if self.partition.intercepts().parent.is_none() {
            return false;
        }
        let partition = Arc::clone(&self.partition);
        let intercepts = partition.intercepts();
        let message = match exit.reason {
            Reason::Port(access) if intercepts.meets_port(&access) => {
                let kind = match access.direction {
                    PortDirection::In => message::READ,
                    PortDirection::Out(_) => message::WRITE,
                };
                self.port_message(exit, kind, access)
            }
            Reason::Cpuid { leaf, subleaf } if intercepts.meets_leaf(leaf) => {
                self.cpuid_message(exit, leaf, subleaf)
            }
            Reason::ReadMsr { number } if self.is_intercepted_msr(number) => {
                self.msr_message(exit, message::READ, number)
            }
            Reason::WriteMsr { number, .. } if self.is_intercepted_msr(number) => {
                self.msr_message(exit, message::WRITE, number)
            }
            Reason::Hypercall(_) if intercepts.hypercalls.load(Ordering::Relaxed) => {
                self.hypercall_message(exit)
            }
            Reason::Exception { vector, error_code, parameter }
                if intercepts.exceptions() >> vector & 1 != 0 =>
            {
                self.exception_message(exit, vector, error_code, parameter)
            }
            Reason::TripleFault => {
                let message = self.unrecoverable_message();
                return self.suspend_for(&message);
            }
            _ => return false,
        };
        self.intercept(&message);
        true
    }

    /// An MSR that nothing here serves, while the parent intercepts those (TLFS 8.10).
    fn is_intercepted_msr(&self, number: u32) -> bool {
        self.partition.intercepts().msrs.load(Ordering::Relaxed) && !self.is_virtualized_msr(number)
    }

    /// An access to memory that is not there or is protected (TLFS 8.8), or a parameter of a hypercall that is (TLFS 3.6): the parent's, or the host's exit.
    pub(crate) fn memory_intercept(&mut self, access: MemoryAccess, otherwise: VpExit) -> Option<VpExit> {
        if self.partition.intercepts().parent.is_none() {
            return Some(otherwise);
        }
        let message_type = match access.cause {
            engine::MemoryExitCause::Rights(_) => MessageType::GPA_INTERCEPT,
            _ => MessageType::UNMAPPED_GPA,
        };
        let message = self.memory_message(message_type, access_type(access.kind), access);
        self.intercept(&message);
        None
    }
}
