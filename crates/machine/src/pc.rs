// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine: all devices, their wiring, and the calls by which a run loop drives them.
//!
//! **Locking.** Several processors call at once; one lock holds all devices. Exits to devices are rare, and the work
//! under the lock is short and never blocks: what the serial port sends is written out after the lock is given up,
//! by the processor that sent it. Accesses that no device claims take no lock. [`InterruptSink`] and the test device's
//! backend are called under the lock, so a processor's own lock comes after it; [`Attention`] is called without it.
//!
//! **Time.** Processors may arrive out of order: time seen by devices never goes back. What is due is done on the way
//! into any access, and by [`Pc::advance`], which the run loop calls at [`Pc::next_deadline`].

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use state::{Damaged, Reader, State, Writer};

use crate::bus::{AccessSize, AddressMap, MmioDevice, Overlap, PortDevice, PortMap};
use crate::cmos::{self, Cmos};
use crate::control::{self, Control};
use crate::debug_exit::{self, DebugExit};
use crate::fw_cfg::{self, FwCfg};
use crate::interrupt::InterruptSink;
use crate::ioapic;
use crate::layout::{self, MemoryLayout};
use crate::pic;
use crate::pit::{self, Pit};
use crate::pm::{self, PowerManagement};
use crate::test_device::{self, TestDevice, TestDeviceBackend};
use crate::time::Time;
use crate::uart::{self, Uart};
use crate::wiring::{TIMER_PIN, Wiring};
use crate::{ExitRequest, exit_request};

/// What the machine tells the run loop. Called without the machine's lock, from whichever thread made the change.
pub trait Attention: Send + Sync {
    /// [`Pc::next_deadline`] is earlier than it was: whoever waits for it must look again.
    fn deadline_moved(&self);

    /// [`Pc::exit_request`] has an answer: all processors should stop.
    fn exit_requested(&self);
}

/// What comes in at the serial port.
pub trait SerialInput: Send {
    /// The next byte, if there is one now; never blocks. Called under the machine's lock. After it was `None`,
    /// [`Pc::serial_input_ready`] makes the machine ask again.
    fn next_byte(&mut self) -> Option<u8>;
}

/// Where goes what the guest sends at the serial port.
pub trait SerialOutput: Send {
    /// Writes `bytes`. May block: the sending processor waits, the machine does not.
    fn write(&mut self, bytes: &[u8]);
}

/// What a machine consists of.
pub struct PcConfig {
    layout: MemoryLayout,
    processors: u32,
    clock_start_ns: i128,
    serial_input: Option<Box<dyn SerialInput>>,
    serial_output: Option<Box<dyn SerialOutput>>,
    test_device: Option<Arc<dyn TestDeviceBackend>>,
    port_devices: Vec<(RangeInclusive<u16>, AccessSize, Box<dyn PortDevice>)>,
    mmio_devices: Vec<(RangeInclusive<u64>, Box<dyn MmioDevice>)>,
}

impl PcConfig {
    /// A machine with `layout` and that many virtual processors, its clock at 1970, its serial port unconnected.
    pub fn new(layout: MemoryLayout, processors: u32) -> Self {
        Self {
            layout,
            processors,
            clock_start_ns: 0,
            serial_input: None,
            serial_output: None,
            test_device: None,
            port_devices: Vec::new(),
            mmio_devices: Vec::new(),
        }
    }

    /// What the real-time clock shows at [`Time::ZERO`]: nanoseconds since 1970-01-01, UTC.
    #[must_use]
    pub fn clock_start_ns(mut self, ns: i128) -> Self {
        self.clock_start_ns = ns;
        self
    }

    /// Connects the serial port's input.
    #[must_use]
    pub fn serial_input(mut self, input: Box<dyn SerialInput>) -> Self {
        self.serial_input = Some(input);
        self
    }

    /// Connects the serial port's output.
    #[must_use]
    pub fn serial_output(mut self, output: Box<dyn SerialOutput>) -> Self {
        self.serial_output = Some(output);
        self
    }

    /// Adds the Hyper-V test device.
    #[must_use]
    pub fn test_device(mut self, backend: Arc<dyn TestDeviceBackend>) -> Self {
        self.test_device = Some(backend);
        self
    }

    /// Adds a device at `ports` that takes accesses up to `widest` as a whole.
    #[must_use]
    pub fn port_device(
        mut self,
        ports: RangeInclusive<u16>,
        widest: AccessSize,
        device: Box<dyn PortDevice>,
    ) -> Self {
        self.port_devices.push((ports, widest, device));
        self
    }

    /// Adds a device at guest-physical `addresses`.
    #[must_use]
    pub fn mmio_device(mut self, addresses: RangeInclusive<u64>, device: Box<dyn MmioDevice>) -> Self {
        self.mmio_devices.push((addresses, device));
        self
    }
}

/// Why a machine cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PcError {
    /// An added device is in the way of another one.
    #[error(transparent)]
    Overlap(#[from] Overlap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortOwner {
    Pic,
    Pit,
    Cmos,
    Uart,
    PowerManagement,
    Control,
    DebugExit,
    FwCfg,
    TestDevice,
    Added(usize),
}

impl PortOwner {
    /// Whether an access can change when something is due.
    fn has_deadlines(self) -> bool {
        matches!(self, Self::Pit | Self::Cmos | Self::Uart | Self::PowerManagement)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MmioOwner {
    IoApic,
    Added(usize),
}

struct Devices {
    now: Time,
    wiring: Wiring,
    pit: Pit,
    cmos: Cmos,
    uart: Uart,
    pm: PowerManagement,
    control: Control,
    debug_exit: DebugExit,
    fw_cfg: FwCfg,
    test_device: Option<TestDevice>,
    port_devices: Vec<Box<dyn PortDevice>>,
    mmio_devices: Vec<Box<dyn MmioDevice>>,
    serial_input: Option<Box<dyn SerialInput>>,
    exit: Option<ExitRequest>,
}

state::state!(Devices {
    now,
    wiring,
    pit,
    cmos,
    uart,
    pm,
    control,
    debug_exit,
    fw_cfg,
    test_device as derived,
    port_devices as derived,
    mmio_devices as derived,
    serial_input as derived,
    exit as via exit_request,
});

impl Devices {
    /// `None` for the test device of a machine without one, whose ports are not claimed.
    fn port_device(&mut self, owner: PortOwner) -> Option<&mut dyn PortDevice> {
        Some(match owner {
            PortOwner::Pic => &mut self.wiring.pic,
            PortOwner::Pit => &mut self.pit,
            PortOwner::Cmos => &mut self.cmos,
            PortOwner::Uart => &mut self.uart,
            PortOwner::PowerManagement => &mut self.pm,
            PortOwner::Control => &mut self.control,
            PortOwner::DebugExit => &mut self.debug_exit,
            PortOwner::FwCfg => &mut self.fw_cfg,
            PortOwner::TestDevice => self.test_device.as_mut()?,
            PortOwner::Added(n) => self.port_devices[n].as_mut(),
        })
    }

    fn mmio_device(&mut self, owner: MmioOwner) -> &mut dyn MmioDevice {
        match owner {
            MmioOwner::IoApic => &mut self.wiring.ioapic,
            MmioOwner::Added(n) => self.mmio_devices[n].as_mut(),
        }
    }

    fn advance_pit(&mut self) {
        let edges = self.pit.advance(self.now);
        if edges != 0 {
            self.wiring.tick(edges);
        }
    }

    fn advance(&mut self) {
        self.advance_pit();
        self.cmos.advance(self.now);
        self.uart.advance(self.now);
        self.pm.advance(self.now);
    }

    fn next_deadline(&self) -> Time {
        [
            self.pit.next_deadline(),
            self.cmos.next_deadline(),
            self.uart.next_deadline(),
            self.pm.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Time::NEVER)
    }

    /// Lets the serial port's other end send what there is room for.
    fn pump_serial(&mut self) {
        let Some(input) = &mut self.serial_input else { return };
        while self.uart.room() > 0
            && let Some(byte) = input.next_byte()
        {
            self.uart.receive(self.now, byte);
        }
    }

    fn settle(&mut self, sink: &dyn InterruptSink) {
        self.wiring.set_irq(pit::IRQ, self.pit.interrupt());
        self.wiring.set_irq(uart::IRQ, self.uart.interrupt());
        self.wiring.set_irq(cmos::IRQ, self.cmos.interrupt());
        self.wiring.set_irq(pm::SCI_IRQ, self.pm.interrupt());
        self.wiring.settle(sink);
    }
}

/// The machine around a partition's processors.
pub struct Pc {
    ports: PortMap<PortOwner>,
    mmio: AddressMap<MmioOwner>,
    devices: Mutex<Devices>,
    /// The published deadline, written under the lock.
    deadline: AtomicU64,
    /// The published answer to whether ticks were lost, written under the lock.
    has_lost_ticks: AtomicBool,
    /// Taken before `devices` by who writes out what was sent, so that bytes keep their order.
    output: Mutex<Option<Box<dyn SerialOutput>>>,
    sink: Arc<dyn InterruptSink>,
    attention: Arc<dyn Attention>,
}

impl Pc {
    /// Builds a machine whose interrupts go to `sink`, and which calls `attention` when its run loop should look.
    ///
    /// # Errors
    /// [`PcError::Overlap`] if an added device claims what another has.
    pub fn new(
        config: PcConfig,
        sink: Arc<dyn InterruptSink>,
        attention: Arc<dyn Attention>,
    ) -> Result<Self, PcError> {
        use AccessSize::{Byte, Dword};
        let mut ports = PortMap::default();
        for (range, widest, owner) in [
            (pic::FIRST_PORTS, Byte, PortOwner::Pic),
            (pic::SECOND_PORTS, Byte, PortOwner::Pic),
            (pic::ELCR_PORTS, Byte, PortOwner::Pic),
            (pit::PORTS, Byte, PortOwner::Pit),
            (pit::SYSTEM_CONTROL_PORT_B..=pit::SYSTEM_CONTROL_PORT_B, Byte, PortOwner::Pit),
            (cmos::PORTS, Byte, PortOwner::Cmos),
            (uart::PORTS, Byte, PortOwner::Uart),
            (pm::PORTS, Dword, PortOwner::PowerManagement),
            (control::POST_CODE_PORT..=control::POST_CODE_PORT, Byte, PortOwner::Control),
            (control::SYSTEM_CONTROL_PORT_A..=control::SYSTEM_CONTROL_PORT_A, Byte, PortOwner::Control),
            (control::PCI_PORTS, Dword, PortOwner::Control),
            (debug_exit::EXIT_PORTS, Dword, PortOwner::DebugExit),
            (debug_exit::SHUTDOWN_PORT..=debug_exit::SHUTDOWN_PORT, Byte, PortOwner::DebugExit),
            (fw_cfg::PORTS, AccessSize::Word, PortOwner::FwCfg),
        ] {
            ports.claim(range, widest, owner)?;
        }
        if config.test_device.is_some() {
            ports.claim(test_device::PORTS, Dword, PortOwner::TestDevice)?;
        }
        let mut port_devices = Vec::new();
        for (range, widest, device) in config.port_devices {
            ports.claim(range, widest, PortOwner::Added(port_devices.len()))?;
            port_devices.push(device);
        }
        let mut mmio = AddressMap::default();
        mmio.claim(layout::IO_APIC..=layout::IO_APIC + ioapic::LENGTH - 1, MmioOwner::IoApic)?;
        let mut mmio_devices = Vec::new();
        for (range, device) in config.mmio_devices {
            mmio.claim(range, MmioOwner::Added(mmio_devices.len()))?;
            mmio_devices.push(device);
        }
        let memory = config.layout;
        let devices = Devices {
            now: Time::ZERO,
            wiring: Wiring::new(),
            pit: Pit::default(),
            cmos: Cmos::new(config.clock_start_ns, memory.ram_below_4g_end(), memory.ram_above_4g_size()),
            uart: Uart::default(),
            pm: PowerManagement::default(),
            control: Control::default(),
            debug_exit: DebugExit::default(),
            fw_cfg: FwCfg::new(memory.ram_size(), u16::try_from(config.processors).unwrap_or(u16::MAX)),
            test_device: config.test_device.map(TestDevice::new),
            port_devices,
            mmio_devices,
            serial_input: config.serial_input,
            exit: None,
        };
        Ok(Self {
            ports,
            mmio,
            devices: Mutex::new(devices),
            deadline: AtomicU64::new(Time::NEVER.as_ns()),
            has_lost_ticks: AtomicBool::new(false),
            output: Mutex::new(config.serial_output),
            sink,
            attention,
        })
    }

    /// An `IN` of `size` from `port`. What nobody claims reads as ones.
    pub fn io_read(&self, now: Time, port: u16, size: AccessSize) -> u32 {
        self.ports.read(port, size, &mut |owner, port, size| {
            self.access(now, owner.has_deadlines(), |devices| {
                if owner == PortOwner::Pit {
                    devices.advance_pit();
                }
                let now = devices.now;
                devices.port_device(owner).map_or(size.ones(), |device| device.read(now, port, size))
            })
        })
    }

    /// An `OUT` of `size` to `port`. Returns what the guest asks for by it; [`Pc::exit_request`] keeps the first one.
    pub fn io_write(&self, now: Time, port: u16, size: AccessSize, value: u32) -> Option<ExitRequest> {
        let mut exit = None;
        self.ports.write(port, size, value, &mut |owner, port, size, value| {
            let asked = self.access(now, owner.has_deadlines(), |devices| {
                if owner == PortOwner::Pit {
                    devices.advance_pit();
                }
                let now = devices.now;
                if owner == PortOwner::Pit {
                    // A timer that is set anew has lost nothing.
                    devices.wiring.lost_ticks = 0;
                }
                let asked = devices.port_device(owner)?.write(now, port, size, value);
                devices.exit = devices.exit.or(asked);
                asked
            });
            exit = exit.or(asked);
            if owner == PortOwner::Uart {
                self.write_out();
            }
        });
        if exit.is_some() {
            self.attention.exit_requested();
        }
        exit
    }

    /// Whether a device answers at guest-physical address `gpa`.
    pub fn claims(&self, gpa: u64) -> bool {
        self.mmio.find(gpa).is_some()
    }

    /// A read of memory that is none. What nobody claims, as a whole, reads as ones.
    pub fn mmio_read(&self, now: Time, gpa: u64, data: &mut [u8]) {
        match self.mmio_owner(gpa, data.len()) {
            Some(owner) => self.access(now, false, |devices| {
                let now = devices.now;
                devices.mmio_device(owner).read(now, gpa, data);
            }),
            None => data.fill(0xFF),
        }
    }

    /// A write to memory that is none.
    pub fn mmio_write(&self, now: Time, gpa: u64, data: &[u8]) {
        if let Some(owner) = self.mmio_owner(gpa, data.len()) {
            self.access(now, false, |devices| {
                let (now, way) = (devices.now, devices.wiring.ioapic.edge_vector(TIMER_PIN));
                devices.mmio_device(owner).write(now, gpa, data);
                if devices.wiring.ioapic.edge_vector(TIMER_PIN) != way {
                    // What was lost on the old way is not owed to the new one.
                    devices.wiring.lost_ticks = 0;
                }
            });
        }
    }

    /// Does what is due at `now`.
    pub fn advance(&self, now: Time) {
        self.access(now, true, Devices::advance);
    }

    /// When [`Pc::advance`] has something to do next, if nothing else happens. Takes no lock.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadline = Time::from_ns(self.deadline.load(Ordering::Acquire));
        (deadline != Time::NEVER).then_some(deadline)
    }

    /// The acknowledge cycle of a processor that accepts an ExtINT: the vector.
    pub fn acknowledge_interrupt(&self, now: Time) -> u8 {
        self.access(now, false, |devices| devices.wiring.acknowledge())
    }

    /// A local APIC ended the level-triggered `vector`. Must not be called with a processor's lock held.
    pub fn end_of_interrupt(&self, now: Time, vector: u8) {
        self.access(now, false, |devices| devices.wiring.ioapic.end_of_interrupt(vector));
    }

    /// A local APIC accepted `vector`: it left the request register. Takes no lock unless it matters. Must not be called with a processor's lock held.
    pub fn interrupt_accepted(&self, now: Time, vector: u8) {
        if self.has_lost_ticks.load(Ordering::Relaxed) {
            self.access(now, false, |devices| {
                if devices.wiring.ioapic.edge_vector(TIMER_PIN) == Some(vector) {
                    devices.wiring.tick_accepted();
                }
            });
        }
    }

    /// The serial input has a byte again after it had none.
    pub fn serial_input_ready(&self, now: Time) {
        self.access(now, true, |_| ());
    }

    /// The user presses the power button: a guest that listens to it shuts down.
    pub fn press_power_button(&self, now: Time) {
        self.access(now, true, |devices| devices.pm.press_power_button());
    }

    /// What ended the run, if something did: the first request since the machine was built or reset.
    pub fn exit_request(&self) -> Option<ExitRequest> {
        self.lock().exit
    }

    /// The last POST code that the guest wrote to port 0x80.
    pub fn post_code(&self) -> u8 {
        self.lock().control.post_code()
    }

    /// Saves what devices remember. Devices that were added are their owner's to save, and so is what is at the other end of the serial port.
    pub fn save(&self, writer: &mut Writer) {
        self.lock().save(writer);
    }

    /// Gives the devices of a machine of the same make back what they remembered. Processors stand still, and are restored too: their inputs are not touched.
    ///
    /// # Errors
    /// If the bytes are no such state; the machine is then of no use.
    pub fn restore(&self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let mut devices = self.lock();
        devices.restore(reader)?;
        self.deadline.store(devices.next_deadline().as_ns(), Ordering::Release);
        self.has_lost_ticks.store(devices.wiring.lost_ticks != 0, Ordering::Relaxed);
        Ok(())
    }

    /// Puts the machine into its state after power-on, except that clock and CMOS memory go on. Devices that were
    /// added are their owner's to reset. Processors stand still.
    pub fn reset(&self, now: Time) {
        self.access(now, true, |devices| {
            devices.wiring.reset();
            devices.pit = Pit::default();
            devices.pit.advance(devices.now);
            devices.cmos.reset();
            devices.uart = Uart::default();
            devices.pm = PowerManagement::default();
            devices.pm.advance(devices.now);
            devices.pm.clear_events();
            devices.control = Control::default();
            devices.debug_exit = DebugExit::default();
            devices.exit = None;
        });
    }

    fn mmio_owner(&self, gpa: u64, length: usize) -> Option<MmioOwner> {
        let (range, owner) = self.mmio.find(gpa)?;
        let last = gpa.checked_add(length.checked_sub(1)? as u64)?;
        range.contains(&last).then_some(*owner)
    }

    /// A device that panicked has left a bug behind, not a state that another thread must not see.
    fn lock(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one way to the devices: time first, then `act`, then whatever follows from it.
    fn access<R>(&self, now: Time, moves_deadline: bool, act: impl FnOnce(&mut Devices) -> R) -> R {
        let mut devices = self.lock();
        devices.now = devices.now.max(now);
        let published = Time::from_ns(self.deadline.load(Ordering::Relaxed));
        let due = published <= devices.now;
        if due {
            devices.advance();
        }
        let result = act(&mut devices);
        devices.pump_serial();
        devices.settle(self.sink.as_ref());
        self.has_lost_ticks.store(devices.wiring.lost_ticks != 0, Ordering::Relaxed);
        let mut moved_earlier = false;
        if due || moves_deadline {
            let next = devices.next_deadline();
            self.deadline.store(next.as_ns(), Ordering::Release);
            moved_earlier = next < published;
        }
        drop(devices);
        if moved_earlier {
            self.attention.deadline_moved();
        }
        result
    }

    /// Writes out what the serial port sent. Only those who write to it come here: nobody else has to wait for a slow
    /// reader.
    fn write_out(&self) {
        if !self.lock().uart.has_sent() {
            return;
        }
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = self.lock().uart.take_sent();
        // Another processor may have come first, and taken our bytes with its own.
        if let Some(output) = output.as_mut()
            && !sent.is_empty()
        {
            output.write(&sent);
        }
    }
}

#[cfg(test)]
mod tests;
