// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saying who one is, the hypercall page, the virtual processor's own MSRs, and calls that need nobody else.

use crate::arrivals;
use crate::discovery;
use crate::report::Report;
use support::hyperv::{Interface, hypercall};
use support::page::{self, Page, Size, bits};
use support::trap;
use tlfs::HvStatus;
use tlfs::hypercall::{CallCode, ResultValue};
use tlfs::msr::{self, OpenSourceGuestOsId};
use tlfs::tlb::{FlushFlags, FlushVirtualAddressInput, GvaRange};

/// No system that exists: type 0x7F is not given to anybody.
const OS_TYPE: u8 = 0x7F;

/// Where the flush calls are tried: 5 GiB, an address that nothing else maps.
const WINDOW: u64 = 5 << 30;
static OLD_PAGE: Page = Page::new();
static NEW_PAGE: Page = Page::new();

/// Tells the hypervisor who is here and enables the hypercall page; tells whether calls can be made.
pub(crate) fn enable(report: &mut Report, interface: &Interface) -> bool {
    report.section("Who is here, and the hypercall page");
    if interface.privileges.access_vp_index() {
        if let Some(index) = report.expect("virtual processor index", trap::rdmsr(msr::VP_INDEX)) {
            report.outcome(index < 1 << 32, "virtual processor index", index);
        }
    } else {
        report.absent("virtual processor index", "AccessVpIndex");
    }
    if !interface.privileges.access_hypercall_msrs() {
        report.absent("hypercalls", "AccessHypercallMsrs");
        return false;
    }
    let silent = discovery::version_is_zero();
    let id =
        OpenSourceGuestOsId::new().with_open_source(true).with_os_type(OS_TYPE).with_version(1).into_bits();
    let Some(read) =
        report.expect("guest identity", hypercall::identify(id).and_then(|()| trap::rdmsr(msr::GUEST_OS_ID)))
    else {
        return false;
    };
    report.outcome(
        read == id,
        "guest identity",
        format_args!("{read:#018x}: open source, type {OS_TYPE:#x}"),
    );
    let told = silent && !discovery::version_is_zero();
    report.outcome(
        told,
        "hypervisor version",
        format_args!("{} (silent until it knew who asks)", discovery::version()),
    );
    let Some(place) = report.expect("hypercall page", hypercall::enable()) else {
        return false;
    };
    let page = hypercall::call_page();
    let enabled = place.enable() && place.gpa_page_number() == page.number();
    report.outcome(
        enabled,
        "hypercall page",
        format_args!("at {:#x}, begins with {}", page.address(), Instruction(page)),
    );
    enabled
}

/// The first instruction of the hypercall page.
struct Instruction(&'static Page);

impl core::fmt::Display for Instruction {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes: [u8; 4] = core::array::from_fn(|index| self.0.read(index));
        match bytes {
            [0x0F, 0x01, 0xC1, ..] => f.write_str("VMCALL"),
            [0x0F, 0x01, 0xD9, ..] => f.write_str("VMMCALL"),
            [0xF3, 0x0F, 0x1E, 0xFA] => f.write_str("ENDBR64"),
            bytes => write!(f, "{bytes:02x?}"),
        }
    }
}

/// Makes the calls that need no connection.
pub(crate) fn visit(report: &mut Report, interface: &Interface) {
    report.section("Hypercalls to the processor itself");
    let result = hypercall::simple(CallCode::from_bits(0x7FFF));
    let refused = result.status() == HvStatus::INVALID_HYPERCALL_CODE;
    report.outcome(
        refused,
        "a call that does not exist",
        format_args!("{}, as it should be", Status(result)),
    );
    flush_space(report, interface);
    flush_list(report, interface);
    interrupt_self(report, interface);
    if interface.spin_retries == u32::MAX {
        report.absent("long spin wait (0x08)", "the interface says never");
    } else {
        let result = hypercall::fast(CallCode::NOTIFY_LONG_SPIN_WAIT, u64::from(interface.spin_retries), 0);
        report.outcome(result.status() == HvStatus::SUCCESS, "long spin wait (0x08)", Status(result));
    }
    crash(report, interface);
}

/// Maps the window to the old page, lets the processor remember that, maps it to the new one, flushes, and looks.
fn flush(list: bool) -> (ResultValue, bool) {
    OLD_PAGE.write(0, 0x01D_u64);
    NEW_PAGE.write(0, 0x2E2_u64);
    // SAFETY: an address that the program does not use otherwise.
    unsafe { page::map(WINDOW, OLD_PAGE.address(), Size::Small, bits::PRESENT | bits::WRITE) };
    let before = trap::read64(WINDOW);
    // SAFETY: as above; this time the processor is not told.
    unsafe {
        page::entry(WINDOW, Size::Small).write_volatile(NEW_PAGE.address() | bits::PRESENT | bits::WRITE)
    };
    // Address space and processor mask do not count: the flags say all.
    let flags = FlushFlags::new().with_all_processors(true).with_all_virtual_address_spaces(true);
    hypercall::input().write(0, FlushVirtualAddressInput { address_space: 0, flags, processor_mask: 0 });
    let range = GvaRange::new().with_gva_page_number(WINDOW / page::SIZE);
    hypercall::input().write(size_of::<FlushVirtualAddressInput>(), range);
    let result = if list {
        hypercall::rep(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST, 1)
    } else {
        hypercall::simple(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE)
    };
    let after = trap::read64(WINDOW);
    (result, before == Ok(0x01D) && after == Ok(0x2E2))
}

fn flush_space(report: &mut Report, interface: &Interface) {
    let what = "flush an address space (0x02)";
    let advice = interface.recommendations;
    if !advice.use_hypercall_for_remote_flush_and_local_flush_entire()
        && !advice.use_hypercall_for_local_flush()
    {
        return report.absent(what, "no advice to flush by hypercall");
    }
    let (result, seen) = flush(false);
    let seen = result.status() == HvStatus::SUCCESS && seen;
    report.outcome(seen, what, format_args!("{}, the new mapping is in force", Status(result)));
}

fn flush_list(report: &mut Report, interface: &Interface) {
    let what = "flush a list (0x03)";
    let advice = interface.recommendations;
    if !advice.use_hypercall_for_remote_flush_and_local_flush_entire()
        && !advice.use_hypercall_for_local_flush()
    {
        return report.absent(what, "no advice to flush by hypercall");
    }
    let (result, seen) = flush(true);
    let seen = result.status() == HvStatus::SUCCESS && result.reps_complete() == 1 && seen;
    report.outcome(
        seen,
        what,
        format_args!("{}, {} of 1 ranges done", Status(result), result.reps_complete()),
    );
}

fn interrupt_self(report: &mut Report, interface: &Interface) {
    let what = "interrupt to itself (0x0B)";
    if !interface.recommendations.use_synthetic_cluster_ipi() {
        return report.absent(what, "no advice to send interrupts by hypercall");
    }
    let Some(mask) = arrivals::own_mask() else { return report.absent(what, "AccessVpIndex") };
    let before = arrivals::count(arrivals::IPI);
    let result = hypercall::fast(CallCode::SEND_SYNTHETIC_CLUSTER_IPI, u64::from(arrivals::IPI), mask);
    arrivals::wait(|| arrivals::count(arrivals::IPI) != before);
    let arrived = arrivals::count(arrivals::IPI) - before;
    let worked = result.status() == HvStatus::SUCCESS && arrived == 1;
    report.outcome(
        worked,
        what,
        format_args!("{}, arrived {arrived} time(s) at vector {:#x}", Status(result), arrivals::IPI),
    );
}

fn crash(report: &mut Report, interface: &Interface) {
    if !interface.features.guest_crash_msrs() {
        return report.absent("crash report", "GuestCrashMsrsAvailable");
    }
    if let Some(control) = report.expect("crash report", trap::rdmsr(msr::CRASH_CTL)) {
        let control = msr::CrashCtl::from_bits(control);
        let message = if control.crash_message() { ", with a message" } else { "" };
        report.outcome(
            control.crash_notify(),
            "crash report",
            format_args!("would be taken{message}; none is made"),
        );
    }
}

/// Leaves things as they were.
pub(crate) fn disable(report: &mut Report, enabled: bool) {
    if !enabled {
        return;
    }
    report.section("Good-bye");
    let result =
        hypercall::identify(0).and_then(|()| trap::rdmsr(msr::HYPERCALL)).map(msr::Hypercall::from_bits);
    if let Some(place) = report.expect("guest identity taken back", result) {
        report.outcome(!place.enable(), "guest identity taken back", "the hypercall page is gone with it");
    }
    let [messages, events, timers, others] = [
        arrivals::count(arrivals::MESSAGE),
        arrivals::count(arrivals::EVENT),
        arrivals::count(arrivals::TIMER_MESSAGE)
            + arrivals::count(arrivals::TIMER_DIRECT)
            + arrivals::count(arrivals::WAKE),
        arrivals::count(arrivals::IPI),
    ];
    let spared = support::hyperv::assist::spared();
    report.fact(
        "interrupts",
        format_args!("{messages} for messages, {events} for events, {timers} of timers, {others} to itself"),
    );
    report.fact("ends of interrupt", format_args!("{spared} spared by the assist page"));
}

/// The status of a call by its name.
pub(crate) struct Status(pub(crate) ResultValue);

impl core::fmt::Display for Status {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let status = self.0.status();
        match status.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "status {:#06x}", status.into_bits()),
        }
    }
}
