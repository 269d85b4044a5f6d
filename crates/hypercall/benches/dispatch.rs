// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the calling conventions cost: nanoseconds from registers to a handler that does nothing, and back.
//! `cargo bench -p openviridian-hypercall`

use hypercall::calls::*;
use hypercall::*;
use std::hint::black_box;
use std::time::Instant;
use tlfs::hypercall::{CallCode, InputValue};
use tlfs::interrupt::{SendSyntheticClusterIpiExInput, SendSyntheticClusterIpiInput};
use tlfs::privilege::PrivilegeMask;
use tlfs::synic::{PostMessageInput, SignalEventInput};
use tlfs::timer::NotifyLongSpinWaitInput;
use tlfs::tlb::{FlushVirtualAddressExInput, FlushVirtualAddressInput, GvaRange};

struct Caller {
    general: [u64; 7],
    xmm: [u128; 6],
}

impl Registers for Caller {
    fn mode(&self) -> CallerMode {
        CallerMode::Bits64
    }
    fn general(&self, register: Register) -> u64 {
        self.general[register as usize]
    }
    fn set_general(&mut self, register: Register, value: u64) {
        self.general[register as usize] = value;
    }
    fn xmm(&self, index: usize) -> u128 {
        self.xmm[index]
    }
    fn set_xmm(&mut self, index: usize, value: u128) {
        self.xmm[index] = value;
    }
}

struct Page(Vec<u8>);

impl GuestMemory for Page {
    type Intercept = ();
    fn read(&mut self, gpa: u64, bytes: &mut [u8]) -> Result<(), ()> {
        let start = gpa as usize;
        bytes.copy_from_slice(self.0.get(start..start + bytes.len()).ok_or(())?);
        Ok(())
    }
    fn lock_output(&mut self, _: u64, _: usize) -> Result<(), ()> {
        Ok(())
    }
    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), ()> {
        let start = gpa as usize;
        self.0.get_mut(start..start + bytes.len()).ok_or(())?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Adds up what it is told, so that nothing is optimised away.
struct Sum(u64);

impl Handler for Sum {
    type Condition = ();
}

macro_rules! simple {
    ($($call:ty, $arguments:pat => $value:expr, $type:ty;)*) => {
        $(impl HandleSimple<$call> for Sum {
            fn handle(&mut self, $arguments: $type) -> Result<(), Stop<()>> {
                self.0 = self.0.wrapping_add($value);
                Ok(())
            }
        })*
    };
}

simple! {
    FlushVirtualAddressSpace, input => input.address_space, &FlushVirtualAddressInput;
    NotifyLongSpinWait, input => input.initial_long_spin_wait.into(), &NotifyLongSpinWaitInput;
    SendSyntheticClusterIpi, input => input.vector.into(), &SendSyntheticClusterIpiInput;
    FlushVirtualAddressSpaceEx, (_, set) => set.iter(64).count() as u64, (&FlushVirtualAddressExInput, ProcessorSet<'_>);
    SendSyntheticClusterIpiEx, (_, set) => set.iter(64).count() as u64, (&SendSyntheticClusterIpiExInput, ProcessorSet<'_>);
    PostMessage, input => input.payload[0].into(), &PostMessageInput;
    SignalEvent, input => input.flag_number.into(), &SignalEventInput;
}

impl HandleRep<FlushVirtualAddressList> for Sum {
    fn handle(
        &mut self,
        _: &FlushVirtualAddressInput,
        elements: &[GvaRange],
        _: &mut [()],
    ) -> Result<(), RepStop<()>> {
        self.0 += elements.len() as u64;
        Ok(())
    }
}

impl HandleRep<FlushVirtualAddressListEx> for Sum {
    fn handle(
        &mut self,
        _: (&FlushVirtualAddressExInput, ProcessorSet<'_>),
        elements: &[GvaRange],
        _: &mut [()],
    ) -> Result<(), RepStop<()>> {
        self.0 += elements.len() as u64;
        Ok(())
    }
}

role! {
    /// What is measured.
    Measured {
        simple {
            FlushVirtualAddressSpace,
            NotifyLongSpinWait,
            SendSyntheticClusterIpi,
            FlushVirtualAddressSpaceEx,
            SendSyntheticClusterIpiEx,
            PostMessage,
            SignalEvent,
        }
        rep { FlushVirtualAddressList, FlushVirtualAddressListEx }
    }
}

fn main() {
    let call = |code: CallCode| InputValue::new().with_call_code(code);
    let cases = [
        ("SignalEvent, fast", call(CallCode::SIGNAL_EVENT).with_fast(true)),
        ("SignalEvent, memory", call(CallCode::SIGNAL_EVENT)),
        ("SendSyntheticClusterIpi, fast", call(CallCode::SEND_SYNTHETIC_CLUSTER_IPI).with_fast(true)),
        ("FlushVirtualAddressSpace, memory", call(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE)),
        ("FlushVirtualAddressSpace, XMM", call(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE).with_fast(true)),
        (
            "FlushVirtualAddressSpaceEx, 1 bank",
            call(CallCode::FLUSH_VIRTUAL_ADDRESS_SPACE_EX).with_variable_header_size(1),
        ),
        ("FlushVirtualAddressList, 8 elements", call(CallCode::FLUSH_VIRTUAL_ADDRESS_LIST).with_rep_count(8)),
        ("PostMessage", call(CallCode::POST_MESSAGE)),
        ("unknown call", call(CallCode(0x16))),
    ];
    let offered = Offered {
        privileges: PrivilegeMask::from_bits(u64::MAX),
        xmm_fast_input: true,
        xmm_fast_output: true,
        physical_address_width: 40,
    };
    const CALLS: u32 = 2_000_000;
    let mut handler = Sum(0);
    let mut memory = Page(vec![0; 4096]);
    // The set of flush calls: one bank.
    memory.0[24] = 1;
    for (name, control) in cases {
        let mut caller = Caller { general: [0; 7], xmm: [0; 6] };
        let start = Instant::now();
        for _ in 0..CALLS {
            caller.general[Register::Rcx as usize] = black_box(control.into_bits());
            let outcome = dispatch::<Measured, _, _, _>(&mut handler, &offered, &mut caller, &mut memory);
            assert!(matches!(black_box(outcome), Outcome::Complete(_)));
        }
        let nanoseconds = start.elapsed().as_nanos() as f64 / f64::from(CALLS);
        println!("{name:40} {nanoseconds:6.1} ns");
    }
    black_box(handler.0);
}
