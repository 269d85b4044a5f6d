// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of the calls by which a parent or the root manages partitions, memory, ports, reports and the machine.
//!
//! TLFS 6.0 lists these calls without their parameters (TLFS 4.2.2, Appendix A). The layouts are those of TLFS 2.0, of
//! later public documentation and of the public sources of root partitions; calls whose layout nobody has published are
//! not here ([`LayoutBasis::Unknown`](crate::hypercall::LayoutBasis::Unknown)).

mod memory;
mod partition;
mod port;
mod report;
mod system;

pub use memory::*;
pub use partition::*;
pub use port::*;
pub use report::*;
pub use system::*;

use crate::declare::bit_fields;

bit_fields! {
    /// `HV_PROXIMITY_DOMAIN_INFO`: where memory should come from (mentioned in TLFS Appendix B; the layout is public).
    pub struct ProximityDomainInfo(u64);
    /// ACPI proximity domain.
    id: u32 = 32;
    /// The domain is preferred, not required.
    proximity_preferred: bool = 1;
    /// Must be zero.
    reserved_z: u32 = 30;
    /// `id` counts.
    proximity_info_valid: bool = 1;
}
