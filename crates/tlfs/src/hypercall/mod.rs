// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hypercall interface: control word, result, limits and the list of calls (TLFS 3, Appendix A). The parameters of a
//! call are declared with its topic.

mod calls;
mod parameters;
mod statuses;

pub use calls::*;
pub use parameters::*;
pub use statuses::*;

use crate::HvStatus;
use crate::declare::bit_fields;

bit_fields! {
    /// The hypercall input value, passed in RCX, or in EDX:EAX by a 32-bit caller (TLFS 3.7).
    ///
    /// The variable header size and `is_nested` are placed as hosts and guests in use place them; the printed
    /// specification shows them one bit apart from that.
    pub struct InputValue(u64);
    /// Which call: a [`CallCode`].
    call_code: CallCode = 16;
    /// Parameters are passed in registers instead of memory.
    fast: bool = 1;
    /// Size of the variable header in units of 8 bytes, without the fixed header, 0 to 1023.
    variable_header_size: u16 = 10;
    /// Must be zero.
    reserved_z: u8 = 4;
    /// The call is meant for the hypervisor below. Needs a nested root.
    is_nested: bool = 1;
    /// Length of the list, 0 to 4095; 0 for a simple call.
    rep_count: u16 = 12;
    /// Must be zero.
    reserved_z2: u8 = 4;
    /// Index of the first element to process, below `rep_count`; 0 for a simple call.
    rep_start_index: u16 = 12;
    /// Must be zero.
    reserved_z3: u8 = 4;
}

impl InputValue {
    /// True if every bit that must be zero is zero.
    pub const fn reserved_is_zero(self) -> bool {
        self.reserved_z() == 0 && self.reserved_z2() == 0 && self.reserved_z3() == 0
    }
}

bit_fields! {
    /// The hypercall result value, returned in RAX, or in EDX:EAX to a 32-bit caller (TLFS 3.8).
    pub struct ResultValue(u64);
    /// Outcome.
    status: HvStatus = 16;
    __: u16 = 16;
    /// Elements processed, counted from the start of the list and not from the start index, 0 to 4095.
    reps_complete: u16 = 12;
    __: u32 = 20;
}

impl ResultValue {
    /// The result of a simple call.
    pub const fn of(status: HvStatus) -> Self {
        Self::new().with_status(status)
    }
}

/// Longest list a rep call takes, from the width of the rep count (TLFS 3.7).
pub const MAX_REP_COUNT: u16 = 0xFFF;
/// Bytes of input that a fast call passes in RDX and R8, or EBX:ECX and EDI:ESI (TLFS 3.7.2).
pub const REGISTER_FAST_INPUT_BYTES: usize = 16;
/// Bytes that XMM0 to XMM5 add to them (TLFS 3.7.2.1).
pub const XMM_FAST_BYTES: usize = 96;
/// Bytes of input, and of output behind it, in the XMM form (TLFS 3.7.2.1, 3.8.1).
pub const XMM_FAST_TOTAL_BYTES: usize = REGISTER_FAST_INPUT_BYTES + XMM_FAST_BYTES;
/// Alignment of parameter addresses in bytes (TLFS 3.6).
pub const PARAMETER_ALIGNMENT: u64 = 8;
/// Time after which a call gives way to interrupts, in microseconds: a goal, not a promise (TLFS 3.3).
pub const CONTINUATION_GOAL_MICROSECONDS: u64 = 50;
/// Codes from here up are extended hypercalls (TLFS 3.14).
pub const FIRST_EXTENDED_CALL: u16 = 0x8001;

#[cfg(test)]
mod tests {
    use super::*;

    /// B03.030, B03.046: where the fields of the two words lie, by the reading that guests in use follow.
    #[test]
    fn words() {
        let input = InputValue::new()
            .with_call_code(CallCode::POST_MESSAGE)
            .with_fast(true)
            .with_variable_header_size(0x3FF)
            .with_is_nested(true)
            .with_rep_count(0xFFF)
            .with_rep_start_index(0xFFF);
        assert_eq!(input.into_bits(), 0x0FFF_0FFF_87FF_005C);
        assert!(input.reserved_is_zero());
        assert!(!InputValue::from_bits(1 << 27).reserved_is_zero());
        let result = ResultValue::of(HvStatus::INVALID_ALIGNMENT).with_reps_complete(0xFFF);
        assert_eq!(result.into_bits(), 0x0000_0FFF_0000_0004);
    }
}
