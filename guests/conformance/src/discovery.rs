// SPDX-License-Identifier: MIT OR Apache-2.0
//! Feature and interface discovery (TLFS 2).

use crate::lab::{GUEST_OS_ID, Guest};
use core::sync::atomic::{AtomicU64, Ordering};
use support::hyperv::hypercall;
use support::{check, cpu, skip, trap};
use tlfs::cpuid::{
    self, CPU_MANAGEMENT_FEATURES, INTERFACE, INTERFACE_SIGNATURE, LIMITS, RECOMMENDATIONS,
    VENDOR_AND_MAX_LEAF, VERSION,
};
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    let present = cpu::cpuid(1, 0).ecx >> cpuid::HYPERVISOR_PRESENT_ECX_BIT & 1;
    check!("B02.002", present == 1, "leaf 1 says that there is a hypervisor");
    let top = cpu::cpuid(VENDOR_AND_MAX_LEAF, 0);
    check!("B02.003", top.eax >= INTERFACE, "leaves up to {:#x}", top.eax);
    let vendor = guest.interface.vendor.as_str();
    if vendor.starts_with("Microsoft") {
        let letters = [top.ebx, top.ecx, top.edx] == [0x7263_694D, 0x666F_736F, 0x7648_2074];
        check!("B02.005", letters && top.eax >= 0x4000_0005, "the vendor is {vendor:?}");
    } else {
        skip!("B02.005", "the vendor is {vendor:?}, which makes no difference to anything below");
    }
    let signature = cpu::cpuid(INTERFACE, 0).eax;
    check!("B02.006", signature == INTERFACE_SIGNATURE, "the interface is {signature:#x}");
    let told = cpu::cpuid(RECOMMENDATIONS, 0).ecx & 0x7F;
    let real = cpu::cpuid(0x8000_0008, 0).eax & 0xFF;
    check!(
        "B02.012",
        told == 0 || told == real,
        "{told} physical address bits told, {real} by leaf 0x80000008"
    );
    let most = cpu::cpuid(LIMITS, 0).eax as usize;
    check!("B02.013", most == 0 || guest.processors <= most, "at most {most} VPs");
    if guest.interface.privileges.cpu_management() {
        skip!("B02.015", "this partition manages CPUs");
    } else {
        let leaf = cpu::cpuid(CPU_MANAGEMENT_FEATURES, 0);
        check!(
            "B02.015",
            [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx] == [0; 4],
            "nothing for a root partition is told"
        );
    }
    identity(guest);
}

fn version() -> [u32; 4] {
    let leaf = cpu::cpuid(VERSION, 0);
    [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
}

static SEEN: AtomicU64 = AtomicU64::new(0);

fn look_at_identity() {
    SEEN.store(trap::rdmsr(msr::GUEST_OS_ID).unwrap_or(u64::MAX), Ordering::SeqCst);
}

fn identity(guest: &Guest) {
    if !guest.interface.privileges.access_hypercall_msrs() {
        return skip!("B02.022", "no AccessHypercallMsrs");
    }
    let cleared = hypercall::identify(0);
    let silent = version() == [0; 4];
    let named = hypercall::identify(GUEST_OS_ID);
    let told = version();
    let again = hypercall::identify(0);
    check!(
        "B02.007",
        [cleared, named, again] == [Ok(()); 3] && silent && told != [0; 4] && version() == [0; 4],
        "the version is told only to a guest that has an id"
    );
    let page = hypercall::enable();
    check!(
        "B02.022",
        page.is_ok_and(|page| !page.enable()),
        "without an id the hypercall page is not enabled"
    );
    let sticks = |id| hypercall::identify(id).is_ok() && trap::rdmsr(msr::GUEST_OS_ID) == Ok(id);
    check!(
        "B02.024",
        [1, u64::MAX, 1 << 63, 0x1234_5678_9ABC_DEF0].into_iter().all(sticks),
        "any id is accepted"
    );
    check!("B02.025", sticks(0xFF << 56), "so is an open-source type that nobody has");
    if guest.have(1, look_at_identity) {
        check!("B02.020", SEEN.load(Ordering::SeqCst) == 0xFF << 56, "another VP reads the same id");
    } else {
        skip!("B02.020", "one processor only");
    }
    let page = hypercall::enable();
    let filled = hypercall::call_page().read::<u32>(0);
    let named = page.is_ok_and(|page| page.enable()) && filled != 0;
    let cleared = hypercall::identify(0);
    let gone = trap::rdmsr(msr::HYPERCALL).is_ok_and(|place| !msr::Hypercall::from_bits(place).enable());
    let uncovered = hypercall::call_page().read::<u32>(0) == 0;
    check!(
        "B02.023",
        named && cleared.is_ok() && gone && uncovered,
        "taking the id back disables the page and uncovers memory"
    );
}
