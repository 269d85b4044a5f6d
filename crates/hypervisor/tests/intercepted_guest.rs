// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intercepts of guests that execute: instructions on the processor in software, and a parent that handles what they run into (TLFS 6, 13.2).

use std::sync::{Arc, Mutex, PoisonError};

use engine::{Engine, Gpr, SegmentName, VpState};
use engine_soft::SoftEngine;
use engine_soft::model::Model;
use hypervisor::local_apic::InterruptMessage;
use hypervisor::{InterceptMessage, Parent, Partition, PartitionConfig, Vp, VpExit};
use memory::{MemoryObject, PAGE_SIZE, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::address::AccessTypeMask;
use tlfs::intercept::{
    InterceptMessageHeader, InterceptType, IoPortInterceptMessage, MemoryInterceptMessage, VpExecutionState,
};
use tlfs::register::{InterceptSuspendRegister, RegisterName as R};
use tlfs::synic::MessageType;
use zerocopy::FromBytes;

const VIEW: ViewId = ViewId(0);
/// Memory of a guest; behind it there is none.
const MEMORY: u64 = 1 << 20;
const CODE: u64 = 0x8000;
const HOLE: u64 = 0x10_0000;

/// A parent that writes down what it hears.
#[derive(Default)]
struct Listener(Mutex<Vec<InterceptMessage>>);

impl Listener {
    fn messages(&self) -> Vec<InterceptMessage> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Parent for Listener {
    fn intercepted(&self, message: &InterceptMessage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
    }
}

struct Child {
    space: Arc<Space>,
    partition: Arc<Partition>,
    vps: Vec<Vp>,
    listener: Arc<Listener>,
}

impl Child {
    /// A partition whose first VP stands at this code, in real mode; others wait for their start-up.
    fn new(vp_count: u32, code: &[u8]) -> Self {
        let model = Model::x86_64_v2().expect("a processor for this host");
        let engine: Arc<dyn Engine> = Arc::new(SoftEngine::new(model));
        let space = Space::new(40);
        let ram = MemoryObject::allocate(MEMORY).unwrap();
        space.batch(|batch| batch.map(VIEW, 0, ram.pages(), &ram, 0, Rights::ALL)).unwrap();
        space.write(VIEW, CODE, code, Rights::NONE).unwrap();
        let listener = Arc::new(Listener::default());
        let parent: Arc<dyn Parent> = listener.clone();
        let config = PartitionConfig { vp_count, parent: Some(parent), ..Default::default() };
        let (partition, mut vps) = Partition::create(&engine, &space, config).unwrap();
        let state = real_mode(&vps[0].registers().save());
        vps[0].registers().restore(&state);
        Self { space, partition, vps, listener }
    }

    fn intercept(&self, kind: InterceptType, parameter: u64) {
        let access = match kind {
            InterceptType::X64_IO_PORT | InterceptType::X64_MSR => {
                AccessTypeMask::new().with_read(true).with_write(true)
            }
            _ => AccessTypeMask::new().with_execute(true),
        };
        assert_eq!(self.partition.install_intercept(access, kind, parameter), HvStatus::SUCCESS);
    }

    /// Lets VP 0 run until it is suspended; gives the one message that this made.
    fn meet(&mut self) -> InterceptMessage {
        assert!(matches!(self.vps[0].run(None), VpExit::Idle { .. }));
        let mut messages = self.listener.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn go_on(&self) {
        self.partition.set_intercept_suspend(0, InterceptSuspendRegister::new());
    }

    /// Lets VP 0 run to its HLT.
    fn finish(&mut self) {
        self.go_on();
        assert!(matches!(self.vps[0].run(None), VpExit::Idle { .. }));
        assert_eq!(self.listener.messages(), []);
    }

    fn set(&mut self, register: R, value: u64) {
        self.vps[0].set_register(register, value.into()).unwrap();
    }

    fn gpr(&mut self, register: Gpr) -> u64 {
        self.vps[0].registers().gpr(register)
    }

    fn byte(&self, gpa: u64) -> u8 {
        self.space.read_value::<1>(VIEW, gpa, Rights::READ).unwrap() as u8
    }
}

/// The state at the code in real mode.
fn real_mode(reset: &VpState) -> VpState {
    let mut state = reset.clone();
    for name in [SegmentName::Cs, SegmentName::Ds, SegmentName::Es, SegmentName::Ss] {
        let segment = &mut state.segments[name as usize];
        (segment.base, segment.selector) = (0, 0.into());
    }
    (state.rip, state.gprs) = (CODE, [0; 16]);
    state.gprs[Gpr::Rsp as usize] = 0x7000;
    state
}

fn header(message: &InterceptMessage) -> InterceptMessageHeader {
    InterceptMessageHeader::read_from_prefix(message.payload()).expect("a header").0
}

/// B06.003, B06.004: a VP that meets an intercept stands before its instruction with its registers as they were, and stays there; then it goes on where and with what its parent has put into them, or, if
/// that has changed nothing, at the same instruction.
#[test]
fn the_parent_does_an_instructions_work() {
    // mov ax, 0x1234; mov dx, 0x70; in al, dx; mov [0x600], al; hlt
    let mut child = Child::new(1, &[0xB8, 0x34, 0x12, 0xBA, 0x70, 0x00, 0xEC, 0xA2, 0x00, 0x06, 0xF4]);
    child.intercept(InterceptType::X64_IO_PORT, 0x70);
    let message = child.meet();
    let told = header(&message);
    assert_eq!(message.message_type, MessageType::X64_IO_PORT_INTERCEPT);
    assert_eq!((told.rip, told.instruction_length), (CODE + 6, 1));
    for _ in 0..3 {
        assert!(matches!(child.vps[0].run(None), VpExit::Idle { .. }), "suspended");
    }
    assert_eq!(child.listener.messages(), []);
    assert_eq!((child.gpr(Gpr::Rax), child.gpr(Gpr::Rdx)), (0x1234, 0x70));
    assert_eq!(child.vps[0].registers().rip(), CODE + 6);
    // Nothing has changed: the instruction is executed again.
    child.go_on();
    assert_eq!(header(&child.meet()).rip, CODE + 6);
    child.set(R::RAX, 0x1299);
    child.set(R::RIP, CODE + 7);
    child.finish();
    assert_eq!((child.byte(0x600), child.gpr(Gpr::Rax)), (0x99, 0x1299));
}

/// B13.003, B13.005, B06.006: what an instruction with prefixes is told as: its whole length, and which access it is. An MSR that is served is nobody's business, and no intercept is met.
#[test]
fn messages_tell_of_instructions_as_they_are() {
    const PORT: u64 = 0x10;
    // What an instruction is told as: type of message, length, access; and for ports their number and how they are accessed.
    type Told = (MessageType, u8, u8, Option<(u16, u8)>);
    let port = |length, access, info| -> Told {
        (MessageType::X64_IO_PORT_INTERCEPT, length, access, Some((PORT as u16, info)))
    };
    let (cpuid, msr) = (MessageType::X64_CPUID_INTERCEPT, MessageType::MSR_INTERCEPT);
    let (string, repeated) = (1 << 3, 1 << 4);
    let cases: [(&[u8], Told); 11] = [
        (&[0x0F, 0xA2], (cpuid, 2, 2, None)),
        (&[0x66, 0x2E, 0x0F, 0xA2], (cpuid, 4, 2, None)),
        (&[0x0F, 0x32], (msr, 2, 0, None)),
        (&[0x67, 0x0F, 0x30], (msr, 3, 1, None)),
        (&[0xE4, 0x10], port(2, 0, 1)),
        (&[0x66, 0xE5, 0x10], port(3, 0, 4)),
        (&[0xEF], port(1, 1, 2)),
        (&[0x6C], port(1, 0, 1 | string)),
        (&[0xF3, 0x66, 0x6F], port(3, 1, 4 | string | repeated)),
        (&[0xF3, 0xEC], port(2, 0, 1)),
        (&[0x26, 0x67, 0xF3, 0x6E], port(4, 1, 1 | string | repeated)),
    ];
    // rdmsr of one that is served; then xor eax, eax; mov dx, PORT; mov cx, 2: that MSR is nowhere.
    let before: &[u8] = &[0x0F, 0x32, 0x66, 0x31, 0xC0, 0xBA, PORT as u8, 0x00, 0xB9, 0x02, 0x00];
    for (code, expected) in cases {
        let mut child = Child::new(1, &[before, code].concat());
        child.intercept(InterceptType::X64_IO_PORT, PORT);
        child.intercept(InterceptType::X64_MSR, 0);
        child.intercept(InterceptType::X64_CPUID, 0);
        child.set(R::RCX, x86::msr::IA32_APIC_BASE.into());
        let message = child.meet();
        let told = header(&message);
        assert_eq!(told.rip, CODE + before.len() as u64, "{code:x?}");
        let access = (message.message_type == MessageType::X64_IO_PORT_INTERCEPT).then(|| {
            let port = IoPortInterceptMessage::read_from_bytes(message.payload()).expect("a port intercept");
            (port.port_number, port.access_info.into_bits())
        });
        let told = (message.message_type, told.instruction_length, told.intercept_access_type, access);
        assert_eq!(told, expected, "{code:x?}");
    }
}

/// B06.001: an intercept suspends the VP that meets it, and another one goes on.
#[test]
fn the_other_vp_goes_on() {
    // VP 0: cpuid. VP 1: inc dword [0x600], again and again.
    let mut child = Child::new(2, &[0x0F, 0xA2, 0xF4]);
    child.space.write(VIEW, 0x9000, &[0x66, 0xFF, 0x06, 0x00, 0x06, 0xEB, 0xF9], Rights::NONE).unwrap();
    child.intercept(InterceptType::X64_CPUID, 0);
    let (start_up, page) = (x86::apic::DeliveryMode::StartUp, 9);
    child.partition.deliver(InterruptMessage::from_device(start_up, page, 1, false, false));
    child.meet();
    let mut last = 0;
    for _ in 0..3 {
        let soon = child.partition.clock().now() + child.partition.clock().frequency() / 500;
        assert_eq!(child.vps[1].run(Some(soon)), VpExit::Deadline);
        assert!(matches!(child.vps[0].run(None), VpExit::Idle { .. }));
        let count = child.space.read_value::<4>(VIEW, 0x600, Rights::READ).unwrap();
        assert!(count > last, "{count} after {last}");
        last = count;
    }
    assert_eq!(child.vps[0].registers().rip(), CODE);
    assert_eq!(child.listener.messages(), []);
}

/// B05.004, B05.007, B06.003: an access to memory that is not there, or that the parent has protected, waits for the parent, which puts memory there or gives the right; then it is made as if nothing had been.
#[test]
fn the_parent_puts_memory_where_there_is_none() {
    // mov ax, 0xFFFF; mov ds, ax; mov byte [0x10], 0x77; mov al, [0x10]; mov ds, cx (0); mov [0x600], al; hlt
    let code = [
        0xB8, 0xFF, 0xFF, 0x8E, 0xD8, 0xC6, 0x06, 0x10, 0x00, 0x77, 0xA0, 0x10, 0x00, 0x8E, 0xD9, 0xA2, 0x00,
        0x06, 0xF4,
    ];
    let mut child = Child::new(1, &code);
    let message = child.meet();
    let told = MemoryInterceptMessage::read_from_bytes(message.payload()).expect("a memory intercept");
    assert_eq!((message.message_type, told.gpa), (MessageType::UNMAPPED_GPA, HOLE));
    assert_eq!((told.header.intercept_access_type, told.header.rip), (1, CODE + 5));
    // From the instruction on, as many bytes as there may be of one.
    let shown = &told.instruction_bytes[..told.instruction_byte_count.into()];
    assert!(shown.len() >= 5 && shown.starts_with(&code[5..]), "{shown:x?}");
    let page = MemoryObject::allocate(PAGE_SIZE).unwrap();
    child.space.batch(|batch| batch.map(VIEW, HOLE >> 12, 1, &page, 0, Rights::READ)).unwrap();
    child.go_on();
    let message = child.meet();
    assert_eq!((message.message_type, header(&message).rip), (MessageType::GPA_INTERCEPT, CODE + 5));
    assert_eq!(child.byte(HOLE), 0);
    child.space.batch(|batch| batch.protect(VIEW, HOLE >> 12, 1, Rights::ALL)).unwrap();
    child.finish();
    assert_eq!((child.byte(HOLE), child.byte(0x600)), (0x77, 0x77));
}

/// A flat segment of this size and privilege.
fn flat(code: bool, long: bool, dpl: u16) -> u16 {
    let kind = if code { 0xB } else { 0x3 };
    let size = if long { 0xA000 } else { 0xC000 };
    size | 1 << 7 | dpl << 5 | 1 << 4 | kind
}

fn protected_mode(reset: &VpState, dpl: u16, long: bool) -> VpState {
    let mut state = real_mode(reset);
    for name in [SegmentName::Ds, SegmentName::Es, SegmentName::Ss] {
        let segment = &mut state.segments[name as usize];
        (segment.limit, segment.selector) = (u32::MAX, (0x10 | dpl).into());
        segment.attributes = flat(false, false, dpl).into();
    }
    let code = &mut state.segments[SegmentName::Cs as usize];
    (code.limit, code.selector) = (u32::MAX, (8 | dpl).into());
    code.attributes = flat(true, long, dpl).into();
    state.control.cr0 |= 1;
    state
}

fn long_mode(reset: &VpState) -> VpState {
    let mut state = protected_mode(reset, 0, true);
    (state.control.cr0, state.control.cr3) = (state.control.cr0 | 1 << 31, 0x1000);
    (state.control.cr4, state.control.efer) = (1 << 5, 0x500);
    state
}

fn virtual_8086(reset: &VpState) -> VpState {
    let mut state = real_mode(reset);
    for segment in &mut state.segments[..6] {
        // Present, writable, accessed, and as privileged as user code.
        (segment.limit, segment.attributes) = (0xFFFF, 0xF3.into());
    }
    state.rflags = 1 << 17 | 3 << 12 | 2;
    state.control.cr0 |= 1;
    state
}

fn with_am(mut state: VpState) -> VpState {
    state.control.cr0 |= 1 << 18;
    state
}

fn with_breakpoints(mut state: VpState, dr7: u64) -> VpState {
    state.debug.dr7 |= dr7;
    state
}

/// B13.004: the header's execution state in every mode: real mode has privilege 0, virtual-8086 mode 3, others that of their code; PE, AM and LMA are those of the registers, and breakpoints show if one is
/// enabled, locally or globally.
#[test]
fn the_execution_state_is_that_of_the_mode() {
    let state = VpExecutionState::new;
    let protected = |cpl| state().with_cpl(cpl).with_cr0_pe(true);
    type Mode = (&'static str, fn(&VpState) -> VpState, VpExecutionState);
    let modes: [Mode; 10] = [
        ("real", real_mode, state()),
        ("real, CR0.AM", |reset| with_am(real_mode(reset)), state().with_cr0_am(true)),
        ("virtual-8086", virtual_8086, protected(3)),
        ("kernel", |reset| protected_mode(reset, 0, false), protected(0)),
        ("ring 1", |reset| protected_mode(reset, 1, false), protected(1)),
        ("user", |reset| protected_mode(reset, 3, false), protected(3)),
        ("user, CR0.AM", |reset| with_am(protected_mode(reset, 3, false)), protected(3).with_cr0_am(true)),
        ("long", long_mode, protected(0).with_efer_lma(true)),
        ("local breakpoint", |reset| with_breakpoints(real_mode(reset), 1), state().with_debug_active(true)),
        (
            "global breakpoint, long",
            |reset| with_breakpoints(long_mode(reset), 1 << 7),
            protected(0).with_efer_lma(true).with_debug_active(true),
        ),
    ];
    for (name, mode, expected) in modes {
        // cpuid
        let mut child = Child::new(1, &[0x0F, 0xA2]);
        child.intercept(InterceptType::X64_CPUID, 0);
        for (gpa, entry) in [(0x1000, 0x2007_u64), (0x2000, 0x3007), (0x3000, 0x87)] {
            child.space.write_value::<8>(VIEW, gpa, entry, Rights::WRITE).unwrap();
        }
        let state = mode(&child.vps[0].registers().save());
        child.vps[0].registers().restore(&state);
        let told = header(&child.meet());
        assert_eq!(told.execution_state, expected, "{name}");
        assert_eq!((told.rip, told.instruction_length, told.rflags), (CODE, 2, state.rflags), "{name}");
        assert_eq!(
            told.cs_segment.selector,
            state.segments[SegmentName::Cs as usize].selector.into(),
            "{name}"
        );
    }
}

/// B13.004: an intercept in the delivery of an event says that an interruption is pending, which the parent finds in its register; once the parent is done it is delivered anew.
#[test]
fn an_intercept_in_a_delivery_says_so() {
    // ud2; at 0x8010, where the vector leads: mov byte [0x600], 0x55; hlt
    let mut code = [0x90; 0x16];
    code[..2].copy_from_slice(&[0x0F, 0x0B]);
    code[0x10..].copy_from_slice(&[0xC6, 0x06, 0x00, 0x06, 0x55, 0xF4]);
    let mut child = Child::new(1, &code);
    let mut state = child.vps[0].registers().save();
    (state.idtr.base, state.idtr.limit) = (HOLE, 0x3FF);
    child.vps[0].registers().restore(&state);
    let message = child.meet();
    let told = MemoryInterceptMessage::read_from_bytes(message.payload()).expect("a memory intercept");
    assert_eq!((message.message_type, told.gpa & !3), (MessageType::UNMAPPED_GPA, HOLE + 4 * 6));
    assert_eq!(told.header.execution_state, VpExecutionState::new().with_interruption_pending(true));
    assert_eq!(told.header.rip, CODE);
    let pending = child.vps[0].register(R::PENDING_INTERRUPTION).unwrap().low;
    assert_eq!((pending & 1, pending >> 16 & 0xFFFF), (1, 6), "{pending:#x}");
    let page = MemoryObject::allocate(PAGE_SIZE).unwrap();
    child.space.batch(|batch| batch.map(VIEW, HOLE >> 12, 1, &page, 0, Rights::ALL)).unwrap();
    child.space.write_value::<4>(VIEW, HOLE + 4 * 6, CODE + 0x10, Rights::WRITE).unwrap();
    child.finish();
    assert_eq!(child.byte(0x600), 0x55);
}
