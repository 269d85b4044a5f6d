// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first serial port: a 16550A UART (National Semiconductor PC16550D datasheet; PC wiring of OUT2).
//!
//! | Offset | DLAB | Read | Write |
//! |---|---|---|---|
//! | 0 | 0 | RBR: received byte | THR: byte to send |
//! | 1 | 0 | IER | IER: bit 0 data, 1 THR empty, 2 line status, 3 modem status |
//! | 0, 1 | 1 | DLL, DLM: divisor of 115200 baud | the same |
//! | 2 | - | IIR: what interrupts, bits 7:6 FIFO enabled | FCR: bit 0 FIFO on, 1 and 2 empty them, 7:6 trigger |
//! | 3 | - | LCR: 1:0 word length, 2 stop, 3 parity, 7 DLAB | the same |
//! | 4 | - | MCR: 0 DTR, 1 RTS, 2 OUT1, 3 OUT2, 4 loopback | the same |
//! | 5 | - | LSR: 0 data, 1 overrun, 5 THR empty, 6 idle | - |
//! | 6 | - | MSR: 0-3 changes, 4 CTS, 5 DSR, 6 RI, 7 DCD | - |
//! | 7 | - | SCR | the same |
//!
//! The line is infinitely fast: a byte is gone the moment it is written, so THR is always empty and a boot does not
//! wait for 115200 baud. Only the character timeout of the receive FIFO takes time, four characters at the divisor's
//! rate. The other end asserts CTS, DSR and DCD, and sends only while the guest asserts RTS: what is typed or piped
//! before the guest listens waits, and is not lost when its driver empties the FIFO.
//!
//! Own code because the kept crate for this, vm-superio 0.8, has no FIFO control (so neither FIFO reset nor trigger
//! levels nor the character timeout), no modem status, and an interrupt that is an event and not a line.

use std::collections::VecDeque;

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::Time;

/// Ports of the first serial port.
pub const PORTS: std::ops::RangeInclusive<u16> = 0x3F8..=0x3FF;
/// Its ISA interrupt.
pub const IRQ: u8 = 4;

const FIFO_SIZE: usize = 16;
/// The oscillator that the divisor divides, in Hz; one bit takes 16 of its periods times the divisor.
const OSCILLATOR_HZ: u64 = 1_843_200;

const IER_DATA: u8 = 1 << 0;
const IER_THR_EMPTY: u8 = 1 << 1;
const IER_LINE_STATUS: u8 = 1 << 2;
const IER_MODEM_STATUS: u8 = 1 << 3;

const IIR_NONE: u8 = 0x01;
const IIR_MODEM_STATUS: u8 = 0x00;
const IIR_THR_EMPTY: u8 = 0x02;
const IIR_DATA: u8 = 0x04;
const IIR_LINE_STATUS: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0C;
const IIR_FIFO_ENABLED: u8 = 0xC0;

const FCR_ENABLE: u8 = 1 << 0;
const FCR_CLEAR_RECEIVER: u8 = 1 << 1;

const LCR_DLAB: u8 = 1 << 7;

const MCR_DTR: u8 = 1 << 0;
const MCR_RTS: u8 = 1 << 1;
const MCR_OUT1: u8 = 1 << 2;
const MCR_OUT2: u8 = 1 << 3;
const MCR_LOOPBACK: u8 = 1 << 4;

const LSR_DATA_READY: u8 = 1 << 0;
const LSR_OVERRUN: u8 = 1 << 1;
const LSR_THR_EMPTY: u8 = 1 << 5;
const LSR_IDLE: u8 = 1 << 6;

const MSR_RI_ENDED: u8 = 1 << 2;
const MSR_CHANGES: u8 = 0x0F;
const MSR_CTS: u8 = 1 << 4;
const MSR_DSR: u8 = 1 << 5;
const MSR_RI: u8 = 1 << 6;
const MSR_DCD: u8 = 1 << 7;

/// Everything the UART remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    received: VecDeque<u8>,
    interrupt_enable: u8,
    fifo_control: u8,
    line_control: u8,
    modem_control: u8,
    /// Bits 7:4 as last seen, and which of them changed since MSR was read.
    modem_status: u8,
    overrun: bool,
    thr_empty_pending: bool,
    /// When the character timeout interrupt is due, or was.
    timeout_at: Option<Time>,
    divisor: u16,
    scratch: u8,
}

state::state!(State {
    received,
    interrupt_enable,
    fifo_control,
    line_control,
    modem_control,
    modem_status,
    overrun,
    thr_empty_pending,
    timeout_at,
    divisor,
    scratch,
});

impl Default for State {
    fn default() -> Self {
        Self {
            received: VecDeque::with_capacity(FIFO_SIZE),
            interrupt_enable: 0,
            fifo_control: 0,
            line_control: 0,
            modem_control: 0,
            modem_status: MSR_CTS | MSR_DSR | MSR_DCD,
            overrun: false,
            thr_empty_pending: false,
            timeout_at: None,
            // Undefined after reset; 9600 baud, as firmware leaves it.
            divisor: 12,
            scratch: 0,
        }
    }
}

/// The UART.
#[derive(Debug, Default)]
pub struct Uart {
    state: State,
    /// Sent, and not yet fetched by [`Uart::take_sent`].
    sent: Vec<u8>,
    now: Time,
}

state::state!(Uart { state, sent, now });

impl Uart {
    /// Whether [`Uart::take_sent`] has something to fetch.
    pub fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// The bytes sent since the last call.
    pub fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// How many bytes the other end may send now: none unless the guest asserts RTS.
    pub fn room(&self) -> usize {
        let state = &self.state;
        if state.modem_control & (MCR_RTS | MCR_LOOPBACK) == MCR_RTS {
            self.capacity().saturating_sub(state.received.len())
        } else {
            0
        }
    }

    /// A byte arrives from the other end, which minds [`Uart::room`].
    pub fn receive(&mut self, now: Time, byte: u8) {
        self.now = self.now.max(now);
        if self.state.received.len() < self.capacity() {
            self.state.received.push_back(byte);
        } else {
            self.state.overrun = true;
        }
        self.restart_timeout();
    }

    /// Brings the UART to `now`.
    pub fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// When the interrupt line will next change by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        let at = self.state.timeout_at?;
        (at > self.now && self.state.interrupt_enable & IER_DATA != 0).then_some(at)
    }

    /// The interrupt line. OUT2 gates it, and loopback mode takes OUT2 off the pin.
    pub fn interrupt(&self) -> bool {
        let gate = self.state.modem_control & (MCR_OUT2 | MCR_LOOPBACK) == MCR_OUT2;
        gate && self.pending() != IIR_NONE
    }

    fn fifo_enabled(&self) -> bool {
        self.state.fifo_control & FCR_ENABLE != 0
    }

    fn capacity(&self) -> usize {
        if self.fifo_enabled() { FIFO_SIZE } else { 1 }
    }

    fn trigger_level(&self) -> usize {
        if !self.fifo_enabled() {
            return 1;
        }
        match self.state.fifo_control >> 6 {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }

    /// Four characters without a byte arriving or being read, while some wait below the trigger level.
    fn restart_timeout(&mut self) {
        let lcr = self.state.line_control;
        let bits = 1 + (5 + u64::from(lcr & 3)) + u64::from(lcr >> 3 & 1) + 1 + u64::from(lcr >> 2 & 1);
        let divisor = u64::from(self.state.divisor.max(1));
        let ns = 4 * bits * 16 * divisor * 1_000_000_000 / OSCILLATOR_HZ;
        let waiting = self.fifo_enabled() && !self.state.received.is_empty();
        self.state.timeout_at = waiting.then(|| self.now.after_ns(ns));
    }

    fn clear_receiver(&mut self) {
        self.state.received.clear();
        self.state.timeout_at = None;
    }

    /// The interrupt of the highest priority, as IIR shows it (PC16550D table IV).
    fn pending(&self) -> u8 {
        let state = &self.state;
        let enabled = |bit| state.interrupt_enable & bit != 0;
        if enabled(IER_LINE_STATUS) && state.overrun {
            IIR_LINE_STATUS
        } else if enabled(IER_DATA) && state.received.len() >= self.trigger_level() {
            IIR_DATA
        } else if enabled(IER_DATA) && state.timeout_at.is_some_and(|at| at <= self.now) {
            IIR_TIMEOUT
        } else if enabled(IER_THR_EMPTY) && state.thr_empty_pending {
            IIR_THR_EMPTY
        } else if enabled(IER_MODEM_STATUS) && state.modem_status & MSR_CHANGES != 0 {
            IIR_MODEM_STATUS
        } else {
            IIR_NONE
        }
    }

    /// The modem inputs: the other end's, or in loopback mode our own outputs.
    fn modem_inputs(&self) -> u8 {
        let mcr = self.state.modem_control;
        if mcr & MCR_LOOPBACK == 0 {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)]
            .into_iter()
            .filter(|(output, _)| mcr & output != 0)
            .fold(0, |inputs, (_, input)| inputs | input)
    }

    fn update_modem_status(&mut self) {
        let (old, new) = (self.state.modem_status & !MSR_CHANGES, self.modem_inputs());
        let mut changes = (old ^ new) >> 4;
        // The ring indicator reports only its end.
        if new & MSR_RI != 0 {
            changes &= !MSR_RI_ENDED;
        }
        self.state.modem_status = new | self.state.modem_status & MSR_CHANGES | changes;
    }

    fn send(&mut self, byte: u8) {
        if self.state.modem_control & MCR_LOOPBACK != 0 {
            self.receive(self.now, byte);
        } else {
            self.sent.push(byte);
        }
        self.state.thr_empty_pending = true;
    }

    fn read_register(&mut self, offset: u16) -> u8 {
        let dlab = self.state.line_control & LCR_DLAB != 0;
        match (offset, dlab) {
            (0, false) => {
                let byte = self.state.received.pop_front().unwrap_or(0);
                self.restart_timeout();
                byte
            }
            (0, true) => self.state.divisor.to_le_bytes()[0],
            (1, false) => self.state.interrupt_enable,
            (1, true) => self.state.divisor.to_le_bytes()[1],
            (2, _) => {
                let pending = self.pending();
                if pending == IIR_THR_EMPTY {
                    self.state.thr_empty_pending = false;
                }
                pending | if self.fifo_enabled() { IIR_FIFO_ENABLED } else { 0 }
            }
            (3, _) => self.state.line_control,
            (4, _) => self.state.modem_control,
            (5, _) => {
                let data = if self.state.received.is_empty() { 0 } else { LSR_DATA_READY };
                let overrun = if std::mem::take(&mut self.state.overrun) { LSR_OVERRUN } else { 0 };
                LSR_THR_EMPTY | LSR_IDLE | data | overrun
            }
            (6, _) => {
                let status = self.state.modem_status;
                self.state.modem_status &= !MSR_CHANGES;
                status
            }
            _ => self.state.scratch,
        }
    }

    fn write_register(&mut self, offset: u16, value: u8) {
        let dlab = self.state.line_control & LCR_DLAB != 0;
        let [low, high] = self.state.divisor.to_le_bytes();
        match (offset, dlab) {
            (0, false) => self.send(value),
            (0, true) => self.state.divisor = u16::from_le_bytes([value, high]),
            (1, false) => {
                // Enabling the interrupt while THR is empty raises it.
                if value & !self.state.interrupt_enable & IER_THR_EMPTY != 0 {
                    self.state.thr_empty_pending = true;
                }
                self.state.interrupt_enable = value & 0x0F;
            }
            (1, true) => self.state.divisor = u16::from_le_bytes([low, value]),
            (2, _) => {
                let switched = (value ^ self.state.fifo_control) & FCR_ENABLE != 0;
                if switched || value & FCR_CLEAR_RECEIVER != 0 {
                    self.clear_receiver();
                }
                // The other bits are only taken while bit 0 is being written as one.
                self.state.fifo_control = if value & FCR_ENABLE != 0 { value & 0xC9 } else { 0 };
            }
            (3, _) => self.state.line_control = value,
            (4, _) => {
                self.state.modem_control = value & 0x1F;
                self.update_modem_status();
            }
            (7, _) => self.state.scratch = value,
            // LSR and MSR are for reading; writes are for factory tests.
            _ => {}
        }
    }
}

impl PortDevice for Uart {
    fn read(&mut self, now: Time, port: u16, _size: AccessSize) -> u32 {
        self.advance(now);
        u32::from(self.read_register(port & 7))
    }

    fn write(&mut self, now: Time, port: u16, _size: AccessSize, value: u32) -> Option<ExitRequest> {
        self.advance(now);
        self.write_register(port & 7, value as u8);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UART as a driver sets it up: OUT2 on, RTS on.
    fn listening() -> Uart {
        let mut uart = Uart::default();
        uart.write_register(4, MCR_OUT2 | MCR_RTS | MCR_DTR);
        uart.read_register(6);
        uart
    }

    fn enable_fifo(uart: &mut Uart, trigger: u8) {
        uart.write_register(2, FCR_ENABLE | trigger << 6);
    }

    #[test]
    fn what_is_written_to_thr_is_sent_and_thr_is_empty_at_once() {
        let mut uart = Uart::default();
        for &byte in b"hello" {
            assert_eq!(uart.read_register(5) & LSR_THR_EMPTY, LSR_THR_EMPTY);
            uart.write_register(0, byte);
        }
        assert_eq!(uart.take_sent(), b"hello");
        assert!(uart.take_sent().is_empty());
    }

    #[test]
    fn thr_empty_interrupt_rises_on_enable_and_after_each_byte_and_ends_when_iir_reports_it() {
        let mut uart = listening();
        uart.write_register(1, IER_THR_EMPTY);
        assert!(uart.interrupt(), "THR was empty when the interrupt was enabled");
        assert_eq!(uart.read_register(2), IIR_THR_EMPTY);
        assert!(!uart.interrupt());
        assert_eq!(uart.read_register(2), IIR_NONE);
        uart.write_register(0, b'x');
        assert!(uart.interrupt());
        // Enabled already: writing the same value again raises nothing.
        uart.read_register(2);
        uart.write_register(1, IER_THR_EMPTY);
        assert!(!uart.interrupt());
    }

    #[test]
    fn out2_gates_the_interrupt_line() {
        let mut uart = Uart::default();
        uart.write_register(1, IER_THR_EMPTY);
        assert!(!uart.interrupt());
        uart.write_register(4, MCR_OUT2);
        assert!(uart.interrupt());
        uart.write_register(4, MCR_OUT2 | MCR_LOOPBACK);
        assert!(!uart.interrupt());
    }

    #[test]
    fn without_fifo_one_byte_fits_and_interrupts_until_it_is_read() {
        let mut uart = listening();
        uart.write_register(1, IER_DATA);
        assert_eq!(uart.room(), 1);
        uart.receive(Time::ZERO, b'a');
        assert_eq!(uart.room(), 0);
        assert!(uart.interrupt());
        assert_eq!(uart.read_register(2), IIR_DATA);
        assert_eq!(uart.read_register(5) & LSR_DATA_READY, LSR_DATA_READY);
        assert_eq!(uart.read_register(0), b'a');
        assert!(!uart.interrupt());
        assert_eq!(uart.read_register(5) & LSR_DATA_READY, 0);
    }

    #[test]
    fn fifo_interrupts_at_its_trigger_level() {
        for (trigger, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
            let mut uart = listening();
            enable_fifo(&mut uart, trigger);
            uart.write_register(1, IER_DATA);
            for n in 1..=FIFO_SIZE {
                uart.receive(Time::ZERO, n as u8);
                assert_eq!(
                    uart.read_register(2) == IIR_DATA | IIR_FIFO_ENABLED,
                    n >= level,
                    "{level} at {n}"
                );
            }
            assert_eq!(uart.room(), 0);
        }
    }

    #[test]
    fn bytes_below_the_trigger_level_time_out_after_four_characters() {
        let mut uart = listening();
        uart.write_register(3, LCR_DLAB | 3);
        uart.write_register(0, 1);
        uart.write_register(1, 0);
        uart.write_register(3, 3);
        enable_fifo(&mut uart, 3);
        uart.write_register(1, IER_DATA);
        uart.receive(Time::from_ns(1000), b'a');
        // 8N1 at 115200 baud: 40 bits take 347.2 microseconds.
        let due = Time::from_ns(1000 + 347_222);
        assert_eq!(uart.next_deadline(), Some(due));
        uart.advance(Time::from_ns(due.as_ns() - 1));
        assert!(!uart.interrupt());
        uart.advance(due);
        assert!(uart.interrupt());
        assert_eq!(uart.next_deadline(), None);
        assert_eq!(uart.read_register(2), IIR_TIMEOUT | IIR_FIFO_ENABLED);
        assert_eq!(uart.read_register(0), b'a');
        assert!(!uart.interrupt());
    }

    #[test]
    fn nothing_is_sent_to_a_guest_that_does_not_assert_rts() {
        let mut uart = Uart::default();
        assert_eq!(uart.room(), 0);
        uart.write_register(4, MCR_RTS);
        assert_eq!(uart.room(), 1);
        uart.write_register(4, MCR_RTS | MCR_LOOPBACK);
        assert_eq!(uart.room(), 0);
    }

    #[test]
    fn fcr_empties_the_receiver_and_so_does_switching_the_fifo() {
        let mut uart = listening();
        enable_fifo(&mut uart, 0);
        uart.receive(Time::ZERO, 1);
        uart.write_register(2, FCR_ENABLE | FCR_CLEAR_RECEIVER);
        assert_eq!(uart.read_register(5) & LSR_DATA_READY, 0);
        uart.receive(Time::ZERO, 1);
        uart.write_register(2, 0);
        assert_eq!(uart.read_register(5) & LSR_DATA_READY, 0);
        assert_eq!(uart.read_register(2) & IIR_FIFO_ENABLED, 0);
    }

    #[test]
    fn loopback_returns_bytes_and_modem_outputs() {
        let mut uart = Uart::default();
        uart.write_register(4, MCR_LOOPBACK);
        uart.read_register(6);
        for (output, input) in
            [(MCR_RTS, MSR_CTS), (MCR_DTR, MSR_DSR), (MCR_OUT1, MSR_RI), (MCR_OUT2, MSR_DCD)]
        {
            uart.write_register(4, MCR_LOOPBACK | output);
            let seen = uart.read_register(6);
            let change = if input == MSR_RI { 0 } else { input >> 4 };
            assert_eq!(seen, input | change, "output {output:#x}");
            uart.write_register(4, MCR_LOOPBACK);
            assert_eq!(uart.read_register(6), input >> 4, "output {output:#x} ends");
        }
        uart.write_register(0, 0x5A);
        uart.write_register(0, 0xA5);
        assert!(uart.take_sent().is_empty());
        assert_eq!(uart.read_register(5) & LSR_OVERRUN, LSR_OVERRUN, "the second byte found no room");
        assert_eq!(uart.read_register(5) & LSR_OVERRUN, 0, "reading LSR ends the overrun");
        assert_eq!(uart.read_register(0), 0x5A);
    }

    #[test]
    fn interrupts_are_reported_by_priority() {
        let mut uart = Uart::default();
        uart.write_register(4, MCR_LOOPBACK);
        uart.write_register(1, 0x0F);
        uart.write_register(0, 1);
        uart.write_register(0, 2);
        assert_eq!(uart.read_register(2), IIR_LINE_STATUS);
        uart.read_register(5);
        assert_eq!(uart.read_register(2), IIR_DATA);
        uart.read_register(0);
        assert_eq!(uart.read_register(2), IIR_THR_EMPTY);
        assert_eq!(uart.read_register(2), IIR_MODEM_STATUS);
        uart.read_register(6);
        assert_eq!(uart.read_register(2), IIR_NONE);
    }

    #[test]
    fn registers_keep_only_the_bits_they_have() {
        let mut uart = Uart::default();
        for offset in [1, 3, 4, 7] {
            uart.write_register(3, 0);
            uart.write_register(offset, if offset == 3 { 0x7F } else { 0xFF });
            let kept = match offset {
                1 => 0x0F,
                3 => 0x7F,
                4 => 0x1F,
                _ => 0xFF,
            };
            assert_eq!(uart.read_register(offset), kept, "register {offset}");
        }
        uart.write_register(3, LCR_DLAB);
        uart.write_register(0, 0x34);
        uart.write_register(1, 0x12);
        assert_eq!(uart.state.divisor, 0x1234);
        uart.write_register(3, 0);
        assert_eq!(uart.read_register(1), 0x0F, "the divisor is not IER");
    }
}
