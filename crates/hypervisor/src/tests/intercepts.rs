// SPDX-License-Identifier: MIT OR Apache-2.0
//! Intercepts and the parent that handles them (TLFS 4.2.2, 5, 6, 7.3, 8.8 to 8.13, 13.2).

use std::sync::Mutex;

use engine::{MemoryAccess, MemoryAccessKind, MemoryExitCause};
use tlfs::address::AccessTypeMask;
use tlfs::intercept::InterceptType;
use tlfs::register::{InterceptSuspendRegister, RegisterName as R};
use tlfs::synic::MessageType;
use tlfs::vp::VpIndex;

use super::*;
use crate::{Enlightenment, InterceptMessage, Parent};

/// A parent that writes down what it hears.
#[derive(Default)]
struct Listener(Mutex<Vec<InterceptMessage>>);

impl Parent for Listener {
    fn intercepted(&self, message: &InterceptMessage) {
        self.0.lock().unwrap().push(message.clone());
    }
}

struct Child {
    lab: Lab,
    listener: Arc<Listener>,
}

impl Child {
    fn with(vp_count: u32, enlightenments: Enlightenments) -> Self {
        let listener = Arc::new(Listener::default());
        let parent: Arc<dyn Parent> = listener.clone();
        let config = PartitionConfig {
            vp_count,
            enlightenments,
            parent: Some(parent),
            tracing: crate::Tracing::counting(),
            ..Default::default()
        };
        Self { lab: Lab::configured(config), listener }
    }

    fn new() -> Self {
        Self::with(1, Enlightenments::ALL)
    }

    fn install(&self, access: AccessTypeMask, kind: InterceptType, parameter: u64) -> HvStatus {
        self.lab.partition.install_intercept(access, kind, parameter)
    }

    fn messages(&self) -> Vec<InterceptMessage> {
        std::mem::take(&mut self.listener.0.lock().unwrap())
    }

    /// Lets a VP run into an exit, after which it is suspended, and gives the one message that this made.
    fn meet(&mut self, vp: usize, exit: ExitReason) -> InterceptMessage {
        self.lab.engine.push(vp as u32, exit);
        assert!(matches!(self.lab.vps[vp].run(None), VpExit::Idle { .. }), "{exit:?}");
        let deeds = self.lab.engine.take_deeds(vp as u32);
        if exit != ExitReason::TripleFault {
            assert!(deeds.contains(&Deed::Resumed(Resume::Retry)), "nothing of it is done: {deeds:?}");
        }
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    fn go_on(&mut self, vp: u32) {
        self.lab.partition.set_intercept_suspend(vp, InterceptSuspendRegister::new());
    }
}

fn read_write() -> AccessTypeMask {
    AccessTypeMask::new().with_read(true).with_write(true)
}

fn execute() -> AccessTypeMask {
    AccessTypeMask::new().with_execute(true)
}

fn nothing() -> AccessTypeMask {
    AccessTypeMask::new()
}

fn port(port: u16, size: u8) -> ExitReason {
    ExitReason::Port(PortAccess { port, size, direction: PortDirection::Out(0), string: false, rep: false })
}

fn u16_at(message: &InterceptMessage, offset: usize) -> u16 {
    u16::from_le_bytes(message.payload()[offset..offset + 2].try_into().unwrap())
}

fn u32_at(message: &InterceptMessage, offset: usize) -> u32 {
    u32::from_le_bytes(message.payload()[offset..offset + 4].try_into().unwrap())
}

fn u64_at(message: &InterceptMessage, offset: usize) -> u64 {
    u64::from_le_bytes(message.payload()[offset..offset + 8].try_into().unwrap())
}

/// TLFS 6.1.1: which accesses each kind of intercept comes with, and which parameters it has.
#[test]
fn installation_is_checked() {
    let child = Child::new();
    let read = AccessTypeMask::new().with_read(true);
    let all = read_write().with_execute(true);
    let kinds = [
        (InterceptType::X64_IO_PORT, read_write(), 0xFFFF),
        (InterceptType::X64_MSR, read_write(), 0),
        (InterceptType::X64_CPUID, execute(), 0xFFFF_FFFF),
        (InterceptType::EXCEPTION, execute(), 31),
        (InterceptType::HYPERCALL, execute(), 0),
    ];
    for (kind, access, most) in kinds {
        for wrong in [read, all, if access == execute() { read_write() } else { execute() }] {
            assert_eq!(child.install(wrong, kind, 0), HvStatus::INVALID_PARAMETER, "{kind:?} {wrong:?}");
        }
        assert_eq!(child.install(access, kind, most), HvStatus::SUCCESS, "{kind:?}");
        assert_eq!(child.install(access, kind, most + 1), HvStatus::INVALID_PARAMETER, "{kind:?}");
        assert_eq!(child.install(nothing(), kind, most), HvStatus::SUCCESS, "{kind:?}");
    }
    assert_eq!(child.install(read_write(), InterceptType(4), 0), HvStatus::INVALID_PARAMETER);
    let orphan = Lab::new(1);
    let status = orphan.partition.install_intercept(execute(), InterceptType::X64_CPUID, 1);
    assert_eq!(status, HvStatus::OPERATION_DENIED);
}

/// Exceptions are intercepted where the engine shows them, and nowhere else.
#[test]
fn an_engine_may_not_show_exceptions() {
    let scripted = ScriptedEngine::new(FREQUENCY);
    let capabilities = engine::Capabilities { exception_exits: false, ..scripted.capabilities() };
    let engine: Arc<dyn Engine> = Arc::new(scripted.with_capabilities(capabilities));
    let parent: Arc<dyn Parent> = Arc::new(Listener::default());
    let config = PartitionConfig { parent: Some(parent), ..Default::default() };
    let (partition, _vps) = Partition::create(&engine, &Space::new(36), config).unwrap();
    let install = |kind| partition.install_intercept(execute(), kind, 3);
    assert_eq!(install(InterceptType::EXCEPTION), HvStatus::FEATURE_UNAVAILABLE);
    assert_eq!(install(InterceptType::X64_CPUID), HvStatus::SUCCESS);
}

/// B06.003, B06.004, B07.005, B08.018, B08.002, B13.002, B13.003: CPUID with an intercept suspends the VP before the instruction; the parent answers, and lets it go on.
#[test]
fn a_parent_answers_cpuid() {
    let mut child = Child::new();
    child.install(execute(), InterceptType::X64_CPUID, 1);
    let exit = ExitReason::Cpuid { leaf: 1, subleaf: 0 };
    let vp = &mut child.lab.vps[0];
    let rip = vp.registers().rip();
    vp.registers().set_gpr(Gpr::Rax, 1);
    let gprs = vp.registers().save().gprs;
    let message = child.meet(0, exit);
    assert_eq!((message.message_type, message.payload().len()), (MessageType::X64_CPUID_INTERCEPT, 104));
    assert_eq!((message.vp, message.partition), (VpIndex(0), child.lab.partition.id()));
    assert_eq!((u64_at(&message, 24), u64_at(&message, 40)), (rip, 1), "RIP and RAX");
    assert_eq!((message.payload()[4], message.payload()[5]), (3, 2), "length, and that it is an execution");
    let vp = &mut child.lab.vps[0];
    let (code, flags) = (vp.registers().segment(engine::SegmentName::Cs), vp.registers().rflags());
    assert_eq!((u64_at(&message, 8), u32_at(&message, 16)), (code.base, code.limit));
    assert_eq!((u16_at(&message, 20), u64_at(&message, 32)), (code.selector.into_bits(), flags));
    assert_eq!(u64_at(&message, 88) >> 6 & 1, 1, "RDX as it would be: PAE");
    let vp = &mut child.lab.vps[0];
    assert_eq!((vp.registers().rip(), vp.registers().save().gprs), (rip, gprs));
    assert_eq!(vp.register(R::INTERCEPT_SUSPEND), Ok(1u64.into()));
    // It stays there until it is let go.
    child.lab.engine.push(0, port(1, 1));
    assert!(matches!(child.lab.vps[0].run(None), VpExit::Idle { .. }));
    let vp = &mut child.lab.vps[0];
    vp.set_register(R::RAX, 0x1234u64.into()).unwrap();
    vp.set_register(R::RIP, (rip + 2).into()).unwrap();
    vp.set_register(R::INTERCEPT_SUSPEND, 0u64.into()).unwrap();
    assert!(matches!(vp.run(None), VpExit::Port(_)));
    assert_eq!((vp.registers().gpr(Gpr::Rax), vp.registers().rip()), (0x1234, rip + 2));
    vp.complete(0);
    // Other leaves are nobody's business.
    child.lab.play(0, ExitReason::Cpuid { leaf: 0, subleaf: 0 });
    assert!(child.messages().is_empty());
}

/// B08.015, B13.002, B13.003, B13.005: an access of several ports meets the intercept of any of them. What is not intercepted is the host's.
#[test]
fn ports_are_intercepted_one_by_one() {
    let mut child = Child::new();
    child.install(read_write(), InterceptType::X64_IO_PORT, 0x103);
    for (first, size, meets) in
        [(0x100, 4, true), (0x102, 2, true), (0x103, 1, true), (0x104, 4, false), (0x100, 2, false)]
    {
        if meets {
            let message = child.meet(0, port(first, size));
            assert_eq!(message.message_type, MessageType::X64_IO_PORT_INTERCEPT);
            assert_eq!((u16_at(&message, 40), message.payload()[42]), (first, size));
            assert_eq!((message.payload()[4], message.payload()[5]), (3, 1), "length, and a write");
            child.go_on(0);
        } else {
            child.lab.engine.push(0, port(first, size));
            assert!(matches!(child.lab.vps[0].run(None), VpExit::Port(_)));
            child.lab.vps[0].complete(0);
        }
    }
    for (string, rep, bits) in [(true, false, 1 << 3), (true, true, 3 << 3)] {
        let direction = PortDirection::In;
        let message =
            child.meet(0, ExitReason::Port(PortAccess { port: 0x103, size: 1, direction, string, rep }));
        assert_eq!((message.payload()[42], message.payload()[5]), (1 | bits, 0), "{message:?}");
        child.go_on(0);
    }
    child.install(nothing(), InterceptType::X64_IO_PORT, 0x103);
    child.lab.engine.push(0, port(0x103, 1));
    assert!(matches!(child.lab.vps[0].run(None), VpExit::Port(_)));
    child.lab.vps[0].complete(0);
}

/// B06.006, B04.004, B08.016, B13.003: an MSR that is not served, or that the guest has no privilege for, meets the intercept; one that is served does not, whatever becomes of the
/// access. Without the intercept it is #GP.
#[test]
fn msrs_that_are_not_served_are_intercepted() {
    let mut child = Child::with(1, Enlightenments::ALL.without(Enlightenment::AccessSynicRegs));
    assert_eq!(child.lab.read_msr(0, 0x1234_5678), Err(Gp));
    assert_eq!(child.lab.read_msr(0, msr::SCONTROL), Err(Gp));
    child.install(read_write(), InterceptType::X64_MSR, 0);
    for number in [0x1234_5678, msr::SCONTROL, 0x17] {
        let message = child.meet(0, ExitReason::ReadMsr { number });
        assert_eq!((message.message_type, u32_at(&message, 40)), (MessageType::MSR_INTERCEPT, number));
        assert_eq!((message.payload()[4], message.payload()[5]), (3, 0), "length, and a read");
        child.go_on(0);
        let message = child.meet(0, ExitReason::WriteMsr { number, value: 5 });
        assert_eq!(message.payload()[5], 1, "a write");
        child.go_on(0);
    }
    assert_eq!(child.lab.read_msr(0, msr::VP_INDEX), Ok(0));
    assert_eq!(child.lab.write_msr(0, msr::VP_INDEX, 1), Err(Gp));
    assert_eq!(child.lab.write_msr(0, 0x2FF, 2), Err(Gp), "an MTRR that does not take the value");
    assert!(child.messages().is_empty());
}

/// B08.022, B13.006: the parent sees an exception before it is delivered, and delivers it by PendingEvent0 if it wants to.
#[test]
fn exceptions_are_intercepted_before_delivery() {
    let mut child = Child::new();
    child.install(execute(), InterceptType::EXCEPTION, 14);
    assert!(child.lab.pass(0).contains(&Deed::ExceptionExits(1 << 14)));
    let fault = ExitReason::Exception { vector: 14, error_code: Some(2), parameter: 0xCAFE_F000 };
    child.lab.vps[0].registers().set_gpr(Gpr::R15, 0xF);
    let message = child.meet(0, fault);
    assert_eq!((message.message_type, message.payload().len()), (MessageType::EXCEPTION_INTERCEPT, 240));
    let (count, bytes) = (message.payload()[43], &message.payload()[64..80]);
    assert_eq!((count, bytes), (0, &[0; 16][..]), "this engine shows no instruction");
    assert_eq!((u16_at(&message, 40), message.payload()[42], u32_at(&message, 44)), (14, 1, 2));
    assert_eq!((u64_at(&message, 48), u64_at(&message, 112 + 15 * 8)), (0xCAFE_F000, 0xF));
    let event = tlfs::register::PendingExceptionEvent {
        event: tlfs::register::PendingEvent::new()
            .with_event_pending(true)
            .with_vector(14)
            .with_deliver_error_code(true)
            .with_error_code(2),
        exception_parameter: 0xCAFE_F000,
    };
    child.lab.vps[0].set_register(R::PENDING_EVENT0, event.into()).unwrap();
    child.go_on(0);
    child.lab.pass(0);
    assert!(child.messages().is_empty());
    child.install(nothing(), InterceptType::EXCEPTION, 14);
    assert!(child.lab.pass(0).contains(&Deed::ExceptionExits(0)));
    child.install(execute(), InterceptType::EXCEPTION, 0);
    let message = child.meet(0, ExitReason::Exception { vector: 0, error_code: None, parameter: 0 });
    assert_eq!((u16_at(&message, 40), message.payload()[42]), (0, 0), "no error code");
}

/// Hypercalls are shown with the registers that carry their parameters.
#[test]
fn hypercalls_are_intercepted() {
    let mut child = Child::new();
    child.lab.enable_hypercalls(0x5000);
    child.install(execute(), InterceptType::HYPERCALL, 0);
    let registers = child.lab.vps[0].registers();
    registers.set_gpr(Gpr::Rcx, 0x8);
    registers.set_xmm(1, 0x77);
    let message = child.meet(0, ExitReason::Hypercall(HypercallInstruction::Vmcall));
    assert_eq!((message.message_type, message.payload().len()), (MessageType::HYPERCALL_INTERCEPT, 208));
    assert_eq!((u64_at(&message, 56), u64_at(&message, 96 + 16)), (8, 0x77));
}

fn access(gpa: u64, kind: MemoryAccessKind, cause: MemoryExitCause) -> ExitReason {
    ExitReason::Memory(MemoryAccess {
        gpa,
        gva: Some(0x7000),
        size: 4,
        kind,
        cause,
        page_walk: false,
        user: false,
    })
}

/// B05.004, B05.007, B09.010, B13.002, B13.007: memory that is not there and memory that is protected, told apart; the VP waits, and nobody flushes its translations.
#[test]
fn memory_is_the_parents() {
    let mut child = Child::new();
    let unmapped = access(0x8000_0010, MemoryAccessKind::Write(5), MemoryExitCause::Unmapped);
    let message = child.meet(0, unmapped);
    assert_eq!((message.message_type, message.payload().len()), (MessageType::UNMAPPED_GPA, 80));
    assert_eq!((u64_at(&message, 48), u64_at(&message, 56)), (0x7000, 0x8000_0010), "GVA and GPA");
    assert_eq!((message.payload()[5], message.payload()[45] & 1, u32_at(&message, 40)), (1, 1, 6));
    assert_eq!(child.lab.vps[0].register(R::INTERCEPT_SUSPEND), Ok(3u64.into()));
    child.go_on(0);
    let ExitReason::Memory(known) = unmapped else { unreachable!() };
    let message = child.meet(0, ExitReason::Memory(MemoryAccess { gva: None, ..known }));
    assert_eq!((message.payload()[45] & 1, u64_at(&message, 56)), (0, 0x8000_0010), "GPA, and no GVA");
    child.go_on(0);
    let protected = access(0x3000, MemoryAccessKind::Execute, MemoryExitCause::Rights(Rights::READ));
    let message = child.meet(0, protected);
    assert_eq!((message.message_type, message.payload()[5]), (MessageType::GPA_INTERCEPT, 2));
}

/// B03.027, B03.028: so are parameters of hypercalls. Once the page is there the call is made.
#[test]
fn parameters_of_hypercalls_are_memory_too() {
    let mut child = Child::new();
    child.lab.enable_hypercalls(0x5000);
    let hole = 0x200_0000;
    let exit = ExitReason::Hypercall(HypercallInstruction::Vmcall);
    let control = InputValue::new().with_call_code(CallCode::GET_VP_INDEX_FROM_APIC_ID).with_rep_count(1);
    let registers = child.lab.vps[0].registers();
    registers.set_gpr(Gpr::Rcx, control.into_bits());
    registers.set_gpr(Gpr::Rdx, hole);
    registers.set_gpr(Gpr::R8, 0x9000);
    let rip = registers.rip();
    let message = child.meet(0, exit);
    assert_eq!(
        (message.message_type, u64_at(&message, 56), message.payload()[5]),
        (MessageType::UNMAPPED_GPA, hole, 0)
    );
    assert_eq!(u64_at(&message, 24), rip);
    let page = MemoryObject::allocate(PAGE_SIZE).unwrap();
    child.lab.space.batch(|batch| batch.map(ViewId(0), hole >> 12, 1, &page, 0, Rights::ALL)).unwrap();
    child.lab.space.write_value::<8>(ViewId(0), hole, u64::MAX, Rights::WRITE).unwrap();
    child.go_on(0);
    // The output page may not be written.
    child.lab.space.batch(|batch| batch.protect(ViewId(0), 9, 1, Rights::READ)).unwrap();
    let message = child.meet(0, exit);
    assert_eq!((message.message_type, message.payload()[5]), (MessageType::GPA_INTERCEPT, 1), "a write");
    child.lab.space.batch(|batch| batch.protect(ViewId(0), 9, 1, Rights::ALL)).unwrap();
    child.go_on(0);
    child.lab.play(0, exit);
    let result = ResultValue::from_bits(child.lab.vps[0].registers().gpr(Gpr::Rax));
    assert_eq!((result.status(), result.reps_complete()), (HvStatus::SUCCESS, 1));
}

/// B06.001, B06.002: only the VP that met an intercept stands still, and messages come in the order of events.
#[test]
fn other_vps_go_on() {
    let mut child = Child::with(2, Enlightenments::ALL);
    child.install(execute(), InterceptType::X64_CPUID, 1);
    for vp in [1u32, 0] {
        child.lab.engine.push(vp, ExitReason::Cpuid { leaf: 1, subleaf: 0 });
        assert!(matches!(child.lab.vps[vp as usize].run(None), VpExit::Idle { .. }));
        if vp == 1 {
            child.lab.play(0, ExitReason::Cpuid { leaf: 0, subleaf: 0 });
        }
    }
    let order: Vec<u32> = child.messages().iter().map(|message| message.vp.0).collect();
    assert_eq!(order, [1, 0]);
}

/// B07.004: whatever suspends a VP has to end before it runs.
#[test]
fn both_suspensions_have_to_end() {
    let mut child = Child::new();
    child.install(execute(), InterceptType::X64_CPUID, 1);
    child.meet(0, ExitReason::Cpuid { leaf: 1, subleaf: 0 });
    child.lab.vps[0].set_register(R::EXPLICIT_SUSPEND, 1u64.into()).unwrap();
    let stands = |child: &mut Child| matches!(child.lab.vps[0].run(None), VpExit::Idle { .. });
    child.go_on(0);
    assert!(stands(&mut child), "explicitly suspended");
    assert_eq!(child.lab.vps[0].register(R::EXPLICIT_SUSPEND), Ok(1u64.into()));
    child.lab.vps[0].set_register(R::EXPLICIT_SUSPEND, 0u64.into()).unwrap();
    child.lab.pass(0);
}

/// B08.026: a triple fault is the parent's to hear of.
#[test]
fn a_triple_fault_is_told() {
    let mut child = Child::new();
    let message = child.meet(0, ExitReason::TripleFault);
    assert_eq!((message.message_type, message.payload().len()), (MessageType::UNRECOVERABLE_EXCEPTION, 40));
    assert_eq!(message.payload()[4], 0, "no instruction");
}

/// B07.003: register values that do not go together are accepted one by one, and found when the VP is to run.
#[test]
fn registers_that_do_not_go_together_are_found_at_resume() {
    let mut child = Child::new();
    let cr0 = child.lab.vps[0].register(R::CR0).unwrap();
    child.lab.vps[0].set_register(R::CR0, 0x8000_0010u64.into()).unwrap();
    assert!(matches!(child.lab.vps[0].run(None), VpExit::Idle { .. }));
    let messages = child.messages();
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(
        (message.message_type, message.payload()),
        (MessageType::INVALID_VP_REGISTER_VALUE, &[0; 8][..])
    );
    child.go_on(0);
    assert!(matches!(child.lab.vps[0].run(None), VpExit::Idle { .. }), "found again");
    child.lab.vps[0].set_register(R::CR0, cr0).unwrap();
    child.go_on(0);
    child.lab.pass(0);
    let mut orphan = Lab::new(1);
    orphan.vps[0].set_register(R::CR0, 0x8000_0010u64.into()).unwrap();
    for _ in 0..2 {
        assert_eq!(orphan.vps[0].run(None), VpExit::InvalidRegisters);
    }
    orphan.vps[0].set_register(R::CR0, cr0).unwrap();
    orphan.pass(0);
}

/// A parent may let the VP go on before it returns.
#[test]
fn a_parent_may_answer_at_once() {
    struct Quick(Mutex<Option<std::sync::Weak<Partition>>>);
    impl Parent for Quick {
        fn intercepted(&self, message: &InterceptMessage) {
            let partition = self.0.lock().unwrap().as_ref().unwrap().upgrade().unwrap();
            partition.set_intercept_suspend(message.vp.0, InterceptSuspendRegister::new());
        }
    }
    let quick = Arc::new(Quick(Mutex::new(None)));
    let parent: Arc<dyn Parent> = quick.clone();
    let mut lab = Lab::configured(PartitionConfig {
        parent: Some(parent),
        tracing: crate::Tracing::counting(),
        ..Default::default()
    });
    *quick.0.lock().unwrap() = Some(Arc::downgrade(&lab.partition));
    lab.partition.install_intercept(execute(), InterceptType::X64_CPUID, 1);
    let deeds = lab.play(0, ExitReason::Cpuid { leaf: 1, subleaf: 0 });
    assert_eq!(deeds, [Deed::Resumed(Resume::Retry)]);
}

/// B08.020, B08.021: the bits that keep user code from descriptor tables are each VP's own, and no other bits exist.
#[test]
fn user_code_is_kept_from_descriptor_tables() {
    let mut lab = Lab::new(2);
    assert_eq!(lab.read_msr(0, msr::NPIEP_CONFIG), Ok(0));
    lab.engine.push(0, ExitReason::WriteMsr { number: msr::NPIEP_CONFIG, value: 0b0101 });
    let deeds = lab.pass(0);
    let guard = engine::DescriptorTableGuard { sgdt: true, sldt: true, ..Default::default() };
    assert!(deeds.contains(&Deed::DescriptorTableGuard(guard)), "{deeds:?}");
    assert_eq!((lab.read_msr(0, msr::NPIEP_CONFIG), lab.read_msr(1, msr::NPIEP_CONFIG)), (Ok(0b0101), Ok(0)));
    assert_eq!(lab.write_msr(0, msr::NPIEP_CONFIG, 1 << 4), Err(Gp));
    assert_eq!(lab.read_msr(0, msr::NPIEP_CONFIG), Ok(0b0101));
    let mut without = Lab::with(1, Enlightenments::ALL.without(Enlightenment::Npiep));
    assert_eq!(without.read_msr(0, msr::NPIEP_CONFIG), Err(Gp));
}

/// B11.004: each VP has one intercept at a time: whatever it would run into next comes after the parent has let it go on.
#[test]
fn each_vp_has_one_intercept_at_a_time() {
    let mut child = Child::with(2, Enlightenments::ALL);
    let exit = ExitReason::Cpuid { leaf: 0x1234, subleaf: 0 };
    assert_eq!(child.install(execute(), InterceptType::X64_CPUID, 0x1234), HvStatus::SUCCESS);
    for vp in 0..2 {
        let _ = child.meet(vp, exit);
        child.lab.engine.push(vp as u32, exit);
    }
    for vp in [0, 1, 0, 1] {
        assert_eq!(child.lab.vps[vp].run(None), VpExit::Idle { until: None });
        child.lab.partition.vp(vp as u32).notify();
    }
    assert!(child.messages().is_empty());
    child.go_on(0);
    for vp in [1, 0] {
        assert_eq!(child.lab.vps[vp].run(None), VpExit::Idle { until: None });
    }
    assert_eq!(child.messages().len(), 1, "the other one still waits");
}
