// SPDX-License-Identifier: MIT OR Apache-2.0
//! Message formats (TLFS 13), as far as a guest without children receives them.

use crate::lab::{Guest, vector};
use crate::timers::MILLISECOND;
use support::hyperv::timer::Timer;
use support::hyperv::{arrivals, hypercall, synic, time};
use support::{check, skip};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::msr::StimerConfig;
use tlfs::synic::{Message, MessageType};
use tlfs::timer::TimerMessagePayload;
use zerocopy::FromBytes;

const SINT: u8 = 5;
const TIMER: u8 = 1;

pub(crate) fn check(guest: &Guest) {
    let privileges = guest.interface.privileges;
    if !privileges.access_synic_regs()
        || !privileges.access_synthetic_timer_regs()
        || !privileges.access_partition_reference_counter()
    {
        return skip!("B13.008", "no timer that sends messages");
    }
    arrivals::expect(vector::SYNIC);
    let before = arrivals::count(vector::SYNIC);
    let due = time::counter().unwrap_or(0) + MILLISECOND;
    let started = synic::enable()
        .and_then(|()| synic::set_sint(SINT, vector::SYNIC, false))
        .and_then(|()| Timer(TIMER).start(StimerConfig::new().with_sintx(SINT), due));
    arrivals::wait(|| arrivals::count(vector::SYNIC) != before);
    let interrupted = arrivals::count(vector::SYNIC) != before;
    let message = synic::take_message(SINT).ok().flatten();
    if guest.has_calls() {
        // CPUID has said above what there is.
        let called = hypercall::fast(CallCode::NOTIFY_LONG_SPIN_WAIT, 1, 0).status();
        check!(
            "B02.001",
            started.is_ok() && interrupted && message.is_some() && called == HvStatus::SUCCESS,
            "what CPUID tells of is done by MSRs, shows in memory and by an interrupt, and hypercalls answer"
        );
    } else {
        skip!("B02.001", "hypercalls are not offered");
    }
    let off = synic::mask_sint(SINT).and_then(|()| synic::disable());
    let Some(message) = message.filter(|_| started.is_ok() && off.is_ok()) else {
        check!("B13.008", false, "no message came");
        return;
    };
    let size = message.header.payload_size;
    let is_timer = message.header.message_type == MessageType::TIMER_EXPIRED;
    check!("B13.001", is_timer && size == 24, "a timer's message says that it carries {size} bytes");
    check!("B13.008", right(&message, due), "it names timer and times, and no sender");
}

fn right(message: &Message, due: u64) -> bool {
    TimerMessagePayload::read_from_prefix(synic::payload(message)).is_ok_and(|(payload, _)| {
        let sender = message.header.origination_id;
        let times = (payload.expiration_time, payload.delivery_time);
        u32::from(TIMER) == payload.timer_index && times.0 == due && times.1 >= due && sender == 0
    })
}
