// SPDX-License-Identifier: MIT OR Apache-2.0
//! More processors: how many there are, starting them, and giving them work.

use crate::segments::MAX_PROCESSORS;
use crate::{apic, boot, cpu};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Where the 16-bit code goes; a start-up IPI carries the page number.
pub const TRAMPOLINE: u64 = 0x8000;
const STACK_SIZE: usize = 64 * 1024;

#[repr(align(4096))]
struct Stacks([crate::page::Page; STACK_SIZE / 4096 * (MAX_PROCESSORS - 1)]);
static STACKS: Stacks =
    Stacks([const { crate::page::Page::new() }; STACK_SIZE / 4096 * (MAX_PROCESSORS - 1)]);

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
    static ap_limit: AtomicU32;
    static mut ap_stacks: u64;
    static mut ap_stack_size: u64;
}

static STARTED: AtomicU32 = AtomicU32::new(0);
static WORK: [AtomicUsize; MAX_PROCESSORS] = [const { AtomicUsize::new(0) }; MAX_PROCESSORS];

/// How many processors there are, by the loader's module (`NR_CPUS=`), else by the firmware configuration port; 1 if neither
/// says, and at most [`MAX_PROCESSORS`].
pub fn count() -> usize {
    let told = boot::environment("NR_CPUS").and_then(|text| text.parse().ok());
    told.unwrap_or_else(firmware_count).clamp(1, MAX_PROCESSORS)
}

fn firmware_count() -> usize {
    const SELECTOR: u16 = 0x510;
    const DATA: u16 = 0x511;
    let read = |item: u16| {
        cpu::out16(SELECTOR, item);
        core::array::from_fn::<u8, 4, _>(|_| cpu::in8(DATA))
    };
    // Item 0 is the signature: an absent device reads as ones.
    if read(0) != *b"QEMU" {
        return 1;
    }
    let count = read(5);
    usize::from(u16::from_le_bytes([count[0], count[1]]))
}

/// Starts all other processors; gives the number of processors that run. The local APIC must be enabled.
pub fn start() -> usize {
    let others = count() - 1;
    if others == 0 {
        return 1;
    }
    // SAFETY: the page belongs to nobody once the loader has handed over, and the code fits it; the statics are read by other
    // processors only after the IPIs below.
    unsafe {
        let from = &raw const ap_trampoline;
        let length = &raw const ap_trampoline_end as usize - from as usize;
        core::ptr::copy_nonoverlapping(from, TRAMPOLINE as *mut u8, length);
        ap_stacks = STACKS.0[0].address();
        ap_stack_size = STACK_SIZE as u64;
        ap_limit.store(others as u32, Ordering::SeqCst);
    }
    apic::send(0, apic::INIT | apic::TO_OTHERS);
    for _ in 0..2 {
        apic::send(0, apic::STARTUP | apic::TO_OTHERS | (TRAMPOLINE / 4096) as u32);
        let mut patience = 2_000_000_u32;
        while STARTED.load(Ordering::Acquire) < others as u32 && patience > 0 {
            patience -= 1;
            cpu::pause();
        }
        if STARTED.load(Ordering::Acquire) == others as u32 {
            break;
        }
    }
    1 + STARTED.load(Ordering::Acquire) as usize
}

/// What an application processor does: waits for work, with interrupts in.
pub(crate) fn serve(index: usize) -> ! {
    apic::enable();
    STARTED.fetch_add(1, Ordering::AcqRel);
    loop {
        let work = WORK[index].load(Ordering::Acquire);
        if work == 0 {
            cpu::let_interrupts_in();
            cpu::pause();
            continue;
        }
        // SAFETY: only `give` stores here, and it stores functions.
        let work: fn() = unsafe { core::mem::transmute::<usize, fn()>(work) };
        work();
        WORK[index].store(0, Ordering::Release);
    }
}

/// Gives a started processor a function to run; it must have finished the one before.
///
/// # Panics
/// If it has not, or if the index is that of the boot processor.
pub fn give(index: usize, work: fn()) {
    assert!(index != 0 && is_idle(index), "processor {index} cannot take work");
    WORK[index].store(work as usize, Ordering::Release);
}

/// Tells whether a processor has finished its work.
pub fn is_idle(index: usize) -> bool {
    WORK[index].load(Ordering::Acquire) == 0
}
