// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a guest program ends: it writes its exit code, 32 bits wide, to the debug-exit port.

use crate::cpu;
use core::panic::PanicInfo;

/// The exit code of a guest program. A host that serves the port 0xF4 as QEMU's `isa-debug-exit` does leaves with
/// `2 * code + 1`; `viridian run` leaves with the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// All that was tried worked.
    Pass = 0,
    /// Something that was tried did not work; a line said what.
    Fail = 1,
    /// The program itself is wrong: it panicked.
    Panic = 2,
    /// An exception that nobody expected.
    UnexpectedException = 3,
    /// There is no Microsoft hypervisor interface here.
    NoMicrosoftHypervisor = 4,
    /// What the program needs is not offered here, so it tried nothing.
    Skip = 38,
}

const DEBUG_EXIT: u16 = 0xF4;
const SHUTDOWN: u16 = 0x8900;

/// Ends the program with a code of its own.
pub fn exit(code: Code) -> ! {
    leave(code as u32)
}

/// Ends the program with any code. Where nobody serves the debug-exit port it tries the shutdown port of an old Bochs, then halts.
pub fn leave(code: u32) -> ! {
    cpu::out32(DEBUG_EXIT, code);
    for byte in *b"Shutdown" {
        cpu::out8(SHUTDOWN, byte);
    }
    cpu::halt_forever()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    crate::println!("\nguest program panicked: {info}");
    exit(Code::Panic)
}
