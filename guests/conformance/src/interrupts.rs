// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual interrupt control (TLFS 10).

use crate::lab::{Guest, own_index, read_faults, vector, write_faults};
use core::arch::asm;
use support::apic::{self, register};
use support::hyperv::{arrivals, hypercall};
use support::page::{self, Page, Size, bits};
use support::trap::State;
use support::trap::vector::GENERAL_PROTECTION;
use support::{check, cpu, guarded, skip, trap};
use tlfs::HvStatus;
use tlfs::hypercall::CallCode;
use tlfs::msr;

pub(crate) fn check(guest: &Guest) {
    arrivals::expect(vector::IPI);
    instructions();
    odd_accesses();
    registers(guest);
    end_of_interrupt(guest);
    cluster(guest);
}

/// Where 32-bit code at CPL 3 finds itself, its stack and the local APIC.
const USER_CODE: u64 = 0x9000_0000;
const USER_STACK: u64 = 0x9000_1000;
const USER_APIC: u64 = 0x9000_2000;
const APIC: u64 = 0xFEE0_0000;
static CODE: Page = Page::new();
static STACK: Page = Page::new();

/// Every form of access to a register of the local APIC that has to work: MOV to and from a register, the short forms for EAX, MOV of a constant, and PUSH.
fn instructions() {
    if trap::rdmsr(0x1B).map(|base| base & 0xF_FFFF_FFFF_F400) != Ok(APIC) {
        return skip!("B10.007", "the local APIC is not at its usual place");
    }
    let tpr = APIC + u64::from(register::TPR);
    let (mut by_register, mut by_eax): (u32, u32);
    // SAFETY: the task priority of a processor whose interrupts are off.
    unsafe {
        asm!("mov [{at}], ecx", "mov edx, [{at}]", at = in(reg) tpr, in("ecx") 0x10, out("edx") by_register,
            options(nostack));
        check!("B10.007", by_register == 0x10, "MOV, opcodes 89 and 8B");
        // Opcodes A3 and A1 with the address in the instruction.
        asm!(".byte 0xA3, 0x80, 0x00, 0xE0, 0xFE, 0, 0, 0, 0", "xor eax, eax",
            ".byte 0xA1, 0x80, 0x00, 0xE0, 0xFE, 0, 0, 0, 0", inout("eax") 0x20 => by_eax, options(nostack));
        check!("B10.007", by_eax == 0x20, "MOV of EAX, opcodes A3 and A1");
        asm!("mov dword ptr [{at}], 0x30", "mov edx, [{at}]", at = in(reg) tpr, out("edx") by_register,
            options(nostack));
        check!("B10.007", by_register == 0x30, "MOV of a constant, opcode C7");
    }
    check!("B10.007", pushed() == Some(0x30), "PUSH, opcode FF");
    apic::write(register::TPR, 0);
}

/// Accesses of other sizes, and not to a multiple of four bytes: none has to work, and one that does not is #GP.
fn odd_accesses() {
    if trap::rdmsr(0x1B).map(|base| base & 0xF_FFFF_FFFF_F400) != Ok(APIC) {
        return skip!("B10.004", "the local APIC is not at its usual place");
    }
    let tpr = APIC + u64::from(register::TPR);
    apic::write(register::TPR, 0x20);
    // SAFETY: the task priority of a processor whose interrupts are off; faults are caught.
    let refused = unsafe {
        [
            guarded!("mov byte ptr [{at}], 0x31"; at = in(reg) tpr),
            guarded!("mov word ptr [{at}], 0x31"; at = in(reg) tpr),
            guarded!("mov qword ptr [{at}], 0x31"; at = in(reg) tpr),
            guarded!("mov dword ptr [{at}], 0x31"; at = in(reg) tpr + 2),
            guarded!("mov {value}, [{at}]"; at = in(reg) tpr, value = out(reg) _),
            guarded!("mov {value:e}, [{at}]"; at = in(reg) tpr + 2, value = out(reg) _),
        ]
    };
    let refused =
        refused.iter().filter(|fault| fault.is_some_and(|fault| fault.vector == GENERAL_PROTECTION)).count();
    let kept = apic::read(register::TPR);
    check!(
        "B10.004",
        refused == 6 && kept == 0x20,
        "{refused} of 6 accesses of odd sizes and places are #GP, and the register is {kept:#x} as before"
    );
    apic::write(register::TPR, 0);
}

/// What 32-bit code gets that pushes the task priority.
fn pushed() -> Option<u32> {
    // push dword [USER_APIC + 0x80]; ud2
    CODE.write(0, [0xFF_u8, 0x35, 0x80, 0x20, 0x00, 0x90, 0x0F, 0x0B]);
    for (at, physical) in [(USER_CODE, CODE.address()), (USER_STACK, STACK.address()), (USER_APIC, APIC)] {
        // SAFETY: addresses that the program does not use.
        unsafe { page::map(at, physical, Size::Small, bits::PRESENT | bits::WRITE | bits::USER) };
    }
    let mut state = State::user32(USER_CODE, USER_STACK + 64);
    // SAFETY: two instructions, of which the second traps.
    unsafe { state.run() };
    let trapped = state.fault().vector == trap::vector::INVALID_OPCODE;
    trapped.then(|| STACK.read::<u32>(60))
}

fn registers(guest: &Guest) {
    if !guest.interface.privileges.access_intr_ctrl_regs() {
        return skip!("B10.008", "no AccessIntrCtrlRegs");
    }
    check!("B10.008", read_faults(msr::EOI), "EOI cannot be read");
    let written = trap::wrmsr(msr::TPR, 0x30);
    let shown = (cpu::cr8(), apic::read(register::TPR), trap::rdmsr(msr::TPR));
    check!("B10.014", written.is_ok() && shown.0 == 3, "TPR 0x30 is CR8 {:#x}", shown.0);
    check!("B10.011", shown.1 == 0x30 && shown.2 == Ok(0x30), "MSR and memory show one register");
    let restored = trap::wrmsr(msr::TPR, 0);
    check!(
        "B10.010",
        restored.is_ok() && (write_faults(msr::TPR, 1 << 8) || trap::rdmsr(msr::TPR) == Ok(0)),
        "bits above 7 are not TPR's"
    );
    let before = arrivals::count(vector::IPI);
    let command = u64::from(apic::TO_SELF) | u64::from(vector::IPI);
    let sent = trap::wrmsr(msr::ICR, command);
    let read = trap::rdmsr(msr::ICR);
    check!(
        "B10.013",
        sent.is_ok() && read.is_ok_and(|read| read & !(1 << 12) == command),
        "ICR reads as it was written: {read:?}"
    );
    let arrived = arrivals::wait(|| arrivals::count(vector::IPI) != before);
    check!("B10.009", arrived, "and the interrupt arrives");
}

fn end_of_interrupt(guest: &Guest) {
    if !guest.interface.privileges.access_intr_ctrl_regs() {
        return skip!("B10.012", "no AccessIntrCtrlRegs");
    }
    arrivals::expect_unended(vector::IPI);
    for value in [0, 0xFFFF_FFFF] {
        apic::send(0, apic::FIXED | apic::TO_SELF | u32::from(vector::IPI));
        let served = arrivals::wait(|| apic::is_in_service(vector::IPI));
        let refused = write_faults(msr::EOI, 1 << 32 | value) && apic::is_in_service(vector::IPI);
        let ended = trap::wrmsr(msr::EOI, value).is_ok() && !apic::is_in_service(vector::IPI);
        check!(
            "B10.012",
            served && refused && ended,
            "EOI {value:#x} ends the interrupt in service, and the same with a bit above 31 does not"
        );
    }
    arrivals::expect(vector::IPI);
}

fn cluster(guest: &Guest) {
    if !guest.has_calls() || !guest.interface.recommendations.use_synthetic_cluster_ipi() {
        return skip!("B10.039", "interrupts by hypercall are not offered");
    }
    let send =
        |vector: u64, mask| hypercall::fast(CallCode::SEND_SYNTHETIC_CLUSTER_IPI, vector, mask).status();
    for bad in [0x0F, 0x100] {
        check!("B10.039", send(bad, 1) == HvStatus::INVALID_PARAMETER, "vector {bad:#x} is refused");
    }
    let before = arrivals::count(vector::IPI);
    let sent = send(u64::from(vector::IPI), 1 << own_index());
    let arrived = arrivals::wait(|| arrivals::count(vector::IPI) != before);
    check!("B10.041", sent == HvStatus::SUCCESS && arrived, "a processor may send to itself");
}
