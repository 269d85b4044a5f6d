// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that is zero when the guest starts (TLFS 9.4.7).

use crate::lab::Guest;
use support::hyperv::hypercall;
use support::page::{self, Page};
use support::{boot, check, processors, skip, trap};
use tlfs::HvStatus;
use tlfs::extended::{ExtendedCapabilities, ZeroedRange};
use tlfs::hypercall::{CallCode, InputValue};

static OUTPUT: Page = Page::new();
/// What the program maps: the first 4 GiB.
const MAPPED: u64 = (4 << 30) / page::SIZE;
/// Loaders put what they load below this, so that these pages are read whole, of the others a word each.
const LOADED: u64 = (16 << 20) / page::SIZE;

fn call(code: CallCode) -> HvStatus {
    hypercall::call(InputValue::new().with_call_code(code), 0, OUTPUT.address()).status()
}

/// The first word of a page that is not zero, of those that are looked at.
fn first_word(number: u64) -> Option<u64> {
    let words = if number < LOADED { 0..512 } else { number % 512..number % 512 + 1 };
    words.map(|word| number * page::SIZE + 8 * word).find(|&address| !matches!(trap::read64(address), Ok(0)))
}

/// What the program has written to since it was started.
fn is_used(number: u64) -> bool {
    let image = boot::image();
    let address = number * page::SIZE;
    (address + page::SIZE > image.start && address < image.end) || address == processors::TRAMPOLINE
}

/// To be called before the program uses memory that is not its own.
pub(super) fn check(guest: &Guest) {
    if !guest.interface.privileges.enable_extended_hypercalls() {
        return skip!("B09.050", "no EnableExtendedHypercalls");
    }
    let asked = call(CallCode::EXT_QUERY_CAPABILITIES);
    let capabilities = ExtendedCapabilities::from_bits(OUTPUT.read(0));
    if asked != HvStatus::SUCCESS || !capabilities.get_boot_zeroed_memory() {
        return skip!("B09.050", "no memory that is known to be zero at boot");
    }
    let status = call(CallCode::EXT_GET_BOOT_ZEROED_MEMORY);
    let count = OUTPUT.read::<u64>(0);
    let ranges = || (0..count.min(255) as usize).map(|index| OUTPUT.read::<ZeroedRange>(8 + 16 * index));
    let pages = || {
        let numbers = |range: ZeroedRange| range.start_gpa_page..range.start_gpa_page + range.page_count;
        ranges().flat_map(numbers).filter(|&number| number < MAPPED)
    };
    let not_zero = pages().filter(|&number| !is_used(number)).find_map(first_word);
    let memory = (boot::memory_end() / page::SIZE).min(MAPPED);
    check!(
        "B09.050",
        status == HvStatus::SUCCESS
            && (1..=255).contains(&count)
            && pages().count() > 0
            && not_zero.is_none(),
        "{} of {memory} pages are said to be zero at boot, in {count} range(s); not zero is {not_zero:x?}",
        pages().count()
    );
}
