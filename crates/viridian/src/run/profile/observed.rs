// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which hypercalls Windows was seen to make, as root partition and as guest, while it boots and while its desktop is idle: facts of a
//! published measurement. A profile of ours stands beside them.

use tlfs::hypercall::CallCode;

/// A call, and who was seen to make it.
pub(super) struct Observed {
    pub(super) code: CallCode,
    /// `x` if it was seen, for: root booting, root idle, guest booting, guest idle.
    pub(super) marks: &'static str,
}

const fn seen(code: u16, marks: &'static str) -> Observed {
    Observed { code: CallCode(code), marks }
}

/// Every call that was seen, by code.
pub(super) const OBSERVED: &[Observed] = &[
    seen(0x0002, "xxxx"),
    seen(0x0003, "xxxx"),
    seen(0x0008, "x-x-"),
    seen(0x0009, "-xxx"),
    seen(0x000b, "xxxx"),
    seen(0x000c, "--xx"),
    seen(0x000d, "--x-"),
    seen(0x000f, "--x-"),
    seen(0x0011, "--xx"),
    seen(0x0012, "--xx"),
    seen(0x0015, "---x"),
    seen(0x0040, "x-x-"),
    seen(0x0041, "x-x-"),
    seen(0x0044, "x-xx"),
    seen(0x0045, "x-x-"),
    seen(0x0046, "x---"),
    seen(0x0048, "x-x-"),
    seen(0x0049, "x-x-"),
    seen(0x004a, "--x-"),
    seen(0x004b, "x-xx"),
    seen(0x004c, "--x-"),
    seen(0x004d, "x-x-"),
    seen(0x004e, "x-x-"),
    seen(0x0050, "x-xx"),
    seen(0x0051, "x-xx"),
    seen(0x0052, "--xx"),
    seen(0x005a, "--x-"),
    seen(0x005c, "--xx"),
    seen(0x005d, "--xx"),
    seen(0x0060, "x---"),
    seen(0x0062, "x---"),
    seen(0x0064, "x---"),
    seen(0x0066, "x---"),
    seen(0x0067, "x-x-"),
    seen(0x0068, "xxxx"),
    seen(0x006c, "x-x-"),
    seen(0x006e, "x---"),
    seen(0x006f, "x---"),
    seen(0x0070, "--x-"),
    seen(0x0076, "x---"),
    seen(0x007a, "x---"),
    seen(0x007b, "x---"),
    seen(0x007c, "x---"),
    seen(0x007e, "xxxx"),
    seen(0x007f, "x---"),
    seen(0x0082, "x---"),
    seen(0x0087, "x---"),
    seen(0x0088, "x---"),
    seen(0x0089, "x---"),
    seen(0x008a, "x---"),
    seen(0x0090, "--x-"),
    seen(0x0091, "--x-"),
    seen(0x0094, "x---"),
    seen(0x0095, "--x-"),
    seen(0x0096, "--x-"),
    seen(0x0099, "x-x-"),
    seen(0x009a, "x-x-"),
    seen(0x009b, "x---"),
    seen(0x009c, "x---"),
    seen(0x00aa, "x---"),
    seen(0x00ac, "--xx"),
    seen(0x00b2, "x---"),
    seen(0x00bd, "--x-"),
    seen(0x00be, "x-x-"),
    seen(0x00bf, "--x-"),
    seen(0x00c2, "x-xx"),
    seen(0x00ca, "xxxx"),
    seen(0x00d2, "--x-"),
    seen(0x00d4, "--x-"),
    seen(0x00de, "xxxx"),
    seen(0x00e1, "x-x-"),
    seen(0x00e4, "x---"),
    seen(0x00ee, "xxxx"),
    seen(0x00f3, "--xx"),
];

/// Whether a guest is served here when it makes the call.
pub(super) fn is_served(code: CallCode) -> bool {
    hypervisor::served_calls().iter().any(|call| call.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sums of the columns that were published.
    #[test]
    fn the_table_is_whole() {
        assert_eq!(OBSERVED.len(), 74);
        assert!(OBSERVED.is_sorted_by_key(|call| call.code.0));
        let column =
            |index: usize| OBSERVED.iter().filter(|call| call.marks.as_bytes()[index] == b'x').count();
        assert_eq!([column(0), column(1), column(2), column(3)], [50, 9, 50, 23]);
        assert!(OBSERVED.iter().all(|call| tlfs::hypercall::info(call.code).is_some()), "each has a name");
    }
}
