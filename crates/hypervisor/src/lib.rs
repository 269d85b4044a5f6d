// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hypervisor: partitions, virtual processors, and every service of the hypervisor interface, one module for each concept of the
//! specification.
//!
//! There is no processor here, no device, no clock of the host's, no thread and no randomness: processors come in as [`engine::Engine`]s, time as
//! [`engine::Clock`]s, what surrounds the processors as the small traits [`InterruptController`], [`MsrHandler`] and
//! [`PortHandler`]. What threads there are is the host program's choice. Everything here runs in tests on the
//! scripted engine.
//!
//! A host program makes a [`Partition`] with its [`Vp`]s, gives each VP a thread that calls [`Vp::run`], and serves what it
//! returns.
#![forbid(unsafe_code)]

mod calls;
mod crash;
mod enlightenment;
mod eoi_assist;
mod flush;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod hypercall_page;
mod intercept;
pub mod local_apic;
mod machine_check;
mod msr;
mod overlay;
mod page_rights;
mod partition;
mod port;
mod processor;
mod reference_time;
mod reference_tsc_page;
mod register;
mod suspension;
mod sync;
mod synic;
mod synthetic_timer;
mod trace;
mod translate;
mod unhalted_timer;
mod virtual_interrupt;
mod vp;
mod wake;

#[cfg(test)]
mod tests;

pub use calls::{DebugLink, DeviceInterrupts, parents_calls, served_calls};
pub use crash::CrashReport;
pub use enlightenment::{Bit, Enlightenment, Enlightenments, Missing, Offer};
pub use intercept::{InterceptMessage, Parent};
pub use partition::{CreateError, InterruptController, MAX_VPS, MsrHandler, Partition, PartitionConfig};
pub use port::{GuestTarget, MonitorPort, MonitorTrigger, Port, PortError, PortHandler, PortKind, PortOwner};
pub use reference_time::ReferenceTime;
pub use register::register_refusal;
pub use synic::SintIndex;
pub use trace::{CallCount, ExitKind, MsrCount, PhaseStatistics, Statistics, TraceEvent, TraceSink, Tracing};
pub use translate::{Translation, TranslationFlags};
pub use vp::{StatisticsReply, Vp, VpExit, VpShared, Waker};
