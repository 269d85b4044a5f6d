// SPDX-License-Identifier: MIT OR Apache-2.0
//! What guests and their host program do.

use engine::{ExitReason, Gpr, HypercallInstruction, MemoryAccess, MemoryAccessKind, MemoryExitCause};
use memory::{Rights, ViewId};
use tlfs::interrupt::{InterruptControl, InterruptVector};
use tlfs::msr;
use tlfs::register::{SynmcStatus, SynmcX64Event};
use tlfs::synic::{ConnectionId, MessageType, MonitorParameter};
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;
use x86::apic::DeliveryMode;

use super::source::Source;
use super::world::{INPUT, MEMORY, VPS, World};
use crate::local_apic::InterruptMessage;
use crate::{MonitorTrigger, PortKind, SintIndex};

/// Registers that give back what was written to them.
const KEPT: [(u32, u32); 6] = [
    (msr::SCONTROL, msr::SCONTROL),
    (msr::SIEFP, msr::SIMP),
    (msr::SINT0, msr::SINT15),
    (msr::VP_ASSIST_PAGE, msr::VP_ASSIST_PAGE),
    (msr::REFERENCE_TSC, msr::REFERENCE_TSC),
    (msr::TPR, msr::TPR),
];

/// Most ports at a time.
const MOST_PORTS: usize = 32;

impl World {
    /// Takes one act off the input and does it.
    pub(super) fn act(&mut self, source: &mut Source<'_>) {
        let vp = usize::from(source.below(VPS as u8));
        match source.u8() % 24 {
            0..=6 => self.write(vp, source),
            7 => {
                let number = source.register();
                self.play(vp, ExitReason::ReadMsr { number });
            }
            8..=10 => self.call(vp, source),
            11 => self.touch(vp, source),
            12 | 13 => {
                let gpa = (u64::from(source.u16()) % MEMORY) & !7;
                let _ = self.space.write_value::<8>(ViewId(0), gpa, source.value(), Rights::WRITE);
            }
            14 => self.play(vp, ExitReason::WriteTaskPriority(source.below(16))),
            15 => self.play(vp, ExitReason::Halt),
            16 | 17 => self.engine.manual_clock().advance(source.value() & 0xFFFF_FFFF),
            18 => {
                let on = source.flag();
                self.vps[vp].registers().set_rflags(if on { 0x202 } else { 2 });
                self.pass(vp);
            }
            19 => self.pass(vp),
            20 => self.interrupt(source),
            21 => self.change_ports(vp, source),
            22 => self.send(source),
            _ => {
                let vp = vp as u32;
                self.partition.set_explicit_suspend(vp, !self.partition.is_explicitly_suspended(vp));
            }
        }
    }

    fn write(&mut self, vp: usize, source: &mut Source<'_>) {
        let (number, value) = (source.register(), source.value());
        self.play(vp, ExitReason::WriteMsr { number, value });
        let kept = KEPT.iter().any(|&(first, last)| (first..=last).contains(&number));
        if kept && self.answer == Some(Ok(0)) {
            self.play(vp, ExitReason::ReadMsr { number });
            assert_eq!(self.answer, Some(Ok(value)), "{number:#x} does not keep what it took");
        }
    }

    fn call(&mut self, vp: usize, source: &mut Source<'_>) {
        let calls = crate::served_calls();
        let code = match source.u8() {
            selector @ 0..=239 => calls[usize::from(selector) % calls.len()].code.0,
            _ => source.u16(),
        };
        let fast = source.flag();
        let (variable, count, start) = (source.below(4), source.below(6), source.below(6));
        let rcx = u64::from(code)
            | u64::from(fast) << 16
            | u64::from(variable) << 17
            | u64::from(count) << 32
            | u64::from(start) << 48;
        for index in 0..u64::from(source.below(12)) {
            let _ = self.space.write_value::<8>(ViewId(0), INPUT + 8 * index, source.value(), Rights::NONE);
        }
        let rdx = if fast || source.below(5) == 0 { source.value() } else { INPUT };
        let r8 = source.value();
        self.play_with(vp, ExitReason::Hypercall(HypercallInstruction::Vmcall), move |state| {
            state.gprs[Gpr::Rcx as usize] = rcx;
            state.gprs[Gpr::Rdx as usize] = rdx;
            state.gprs[Gpr::R8 as usize] = r8;
        });
    }

    /// An access to the register page of the local APIC, or to memory that may be an overlay.
    fn touch(&mut self, vp: usize, source: &mut Source<'_>) {
        let offset = u64::from(source.u16());
        let gpa = if source.flag() { 0xFEE0_0000 + offset % 0x400 } else { offset };
        let size = 1 + source.below(8);
        let kind =
            if source.flag() { MemoryAccessKind::Write(source.value()) } else { MemoryAccessKind::Read };
        let cause = MemoryExitCause::Rights(Rights::READ);
        self.play(
            vp,
            ExitReason::Memory(MemoryAccess {
                gpa,
                gva: None,
                size,
                kind,
                cause,
                page_walk: false,
                user: false,
            }),
        );
    }

    /// A device or the parent.
    fn interrupt(&mut self, source: &mut Source<'_>) {
        let (vector, destination) = (source.u8(), source.u8());
        match source.below(5) {
            0 => {
                let mode = DeliveryMode::from_bits(source.below(8));
                let (logical, level) = (source.flag(), source.flag());
                let message = InterruptMessage::from_device(mode, vector, destination, logical, level);
                self.partition.deliver(message);
            }
            1 => self.partition.set_external_interrupt(source.flag()),
            2 => self.partition.pulse_nmi(),
            3 => {
                let status = SynmcStatus::from_bits(source.value() | 1 << 63 | 1);
                let [rip_valid, eip_valid] = [source.flag(), source.flag()].map(u8::from);
                let (addr, misc) = (source.value(), 0);
                let event = SynmcX64Event { status, addr, misc, rip_valid, eip_valid, reserved: [0; 6] };
                let _ = self
                    .partition
                    .inject_synthetic_machine_check(u32::from(destination) % VPS as u32, &event);
            }
            _ => {
                let control = InterruptControl::from_bits(source.value() | u64::from(source.below(4)) << 32);
                let vector =
                    if source.below(4) == 0 { InterruptVector::NONE } else { InterruptVector(vector.into()) };
                let destination = u64::from(destination & 7);
                let _ = self.partition.assert_virtual_interrupt(control, destination, vector, Vtl::VTL0);
                if source.flag() {
                    let _ = self.partition.clear_virtual_interrupt(Vtl::VTL0);
                }
            }
        }
    }

    fn change_ports(&mut self, vp: usize, source: &mut Source<'_>) {
        let (number, sint) = (usize::from(source.u8()), source.below(16));
        let target = if source.below(5) == 0 { VpIndex::ANY } else { VpIndex(vp as u32) };
        let connection = u32::from(source.below(8));
        match source.below(6) {
            0 | 1 => {
                let kind = if source.flag() {
                    PortKind::Message
                } else {
                    PortKind::Event { base_flag: source.u16(), flag_count: source.u16() }
                };
                let sint = SintIndex::new(sint).expect("it is below 16");
                if self.ports.len() < MOST_PORTS
                    && let Ok(port) = self.partition.create_guest_port(kind, target, sint)
                {
                    let _ = self.partition.connect(connection, &port);
                    self.ports.push(port);
                }
            }
            2 if !self.ports.is_empty() => {
                let port = self.ports.swap_remove(number % self.ports.len());
                self.delete(&port);
            }
            3 => drop(self.partition.disconnect(connection)),
            4 => {
                let gpa = source.flag().then(|| source.value() & !0xFFF);
                if let Ok(monitor) = self.partition.create_monitor_port(gpa) {
                    let trigger = MonitorTrigger::new(source.below(4).into(), source.below(32).into());
                    let connection_id = ConnectionId::from_bits(source.below(8).into());
                    let parameter =
                        MonitorParameter { connection_id, flag_number: source.u16(), reserved: 0 };
                    monitor.set_trigger(trigger.expect("it is in range"), parameter, source.u16());
                    monitor.enable_groups(source.u8());
                    let _ = self.partition.connect_monitor(connection, &monitor, source.value() & !0xFFF);
                    if source.flag() {
                        self.partition.delete_monitor_port(&monitor);
                    }
                }
            }
            _ => drop(self.partition.set_sint(vp as u32, SintIndex::new(sint).expect("it is below 16"))),
        }
    }

    /// The host sends through a port.
    fn send(&mut self, source: &mut Source<'_>) {
        let number = usize::from(source.u8());
        if self.ports.is_empty() {
            return;
        }
        let port = &self.ports[number % self.ports.len()];
        if source.flag() {
            let _ = port.signal_event(source.u16());
        } else {
            let length = usize::from(source.u8());
            let _ = port.post_message(MessageType(source.u32()), &[source.u8(); 255][..length]);
        }
    }
}
