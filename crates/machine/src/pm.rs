// SPDX-License-Identifier: MIT OR Apache-2.0
//! ACPI power management: fixed events, control with power-off, and the PM timer.
//!
//! | Port | Register |
//! |---|---|
//! | 0x600 | PM1 status (16 bits): 0 timer, 8 power button; a written one clears |
//! | 0x602 | PM1 enable (16 bits): 0 timer, 5 global, 8 power button, 10 real-time clock |
//! | 0x604 | PM1 control (16 bits): 0 SCI enabled, always; 12:10 sleep type; 13 go to sleep |
//! | 0x608 | PM timer: 32 bits, 3.579545 MHz |
//!
//! Source: ACPI 6.5, 4.8.3. The machine is always in ACPI mode (SMI_CMD is zero in the FADT), and knows one sleep
//! state, S5. There are no general-purpose events. An enabled event asserts the SCI, a level.

use crate::ExitRequest;
use crate::bus::{AccessSize, PortDevice};
use crate::time::{Frequency, Time};

/// All ports of the block.
pub const PORTS: std::ops::RangeInclusive<u16> = EVENT_PORT..=TIMER_PORT + 3;
/// PM1a event block: status and enable, 4 bytes.
pub const EVENT_PORT: u16 = 0x600;
/// PM1a control block, 2 bytes.
pub const CONTROL_PORT: u16 = 0x604;
/// PM timer, 4 bytes.
pub const TIMER_PORT: u16 = 0x608;
/// The interrupt of ACPI events, level-triggered.
pub const SCI_IRQ: u8 = 9;
/// The sleep type that means S5, soft off: what the \_S5 package tells the guest to write.
pub const SLEEP_TYPE_S5: u8 = 5;
/// The PM timer's rate.
pub const FREQUENCY: Frequency = Frequency::constant(3_579_545);

const TIMER: u16 = 1 << 0;
const GLOBAL: u16 = 1 << 5;
const POWER_BUTTON: u16 = 1 << 8;
/// Never happens: the FADT says that the clock's alarm is not a fixed event. Guests enable it all the same, and complain if the bit does not stick.
const REAL_TIME_CLOCK: u16 = 1 << 10;
const SCI_ENABLE: u16 = 1 << 0;
const SLEEP_ENABLE: u16 = 1 << 13;

/// Everything the block remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    status: u16,
    enable: u16,
    /// Only the sleep type.
    control: u16,
    /// The timer's count, with as many bits as time needs.
    ticks: u64,
}

state::state!(State { status, enable, control, ticks });

/// The power management block.
#[derive(Debug, Default)]
pub struct PowerManagement {
    state: State,
}

state::state!(PowerManagement { state });

impl PowerManagement {
    /// Brings the timer to `now`: each change of its top bit is an event.
    pub fn advance(&mut self, now: Time) {
        let ticks = FREQUENCY.ticks_at(now).max(self.state.ticks);
        if ticks >> 31 != self.state.ticks >> 31 {
            self.state.status |= TIMER;
        }
        self.state.ticks = ticks;
    }

    /// When the SCI will next rise by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        (self.state.enable & TIMER != 0 && !self.interrupt())
            .then(|| FREQUENCY.time_of(((self.state.ticks >> 31) + 1) << 31))
    }

    /// The SCI.
    pub fn interrupt(&self) -> bool {
        self.state.status & self.state.enable != 0
    }

    /// Forgets all events, as after a reset; the timer counts on.
    pub fn clear_events(&mut self) {
        self.state.status = 0;
    }

    /// The user presses the power button: a guest that listens shuts down.
    pub fn press_power_button(&mut self) {
        self.state.status |= POWER_BUTTON;
    }

    fn read_byte(&self, port: u16) -> u8 {
        let words = [
            (EVENT_PORT, self.state.status),
            (EVENT_PORT + 2, self.state.enable),
            (CONTROL_PORT, self.state.control | SCI_ENABLE),
            (TIMER_PORT, self.state.ticks as u16),
            (TIMER_PORT + 2, (self.state.ticks >> 16) as u16),
        ];
        let word = words.iter().find(|(at, _)| *at == port & !1);
        word.map_or(0, |(_, value)| value.to_le_bytes()[usize::from(port & 1)])
    }

    fn write_byte(&mut self, port: u16, value: u8) -> Option<ExitRequest> {
        let shift = 8 * (port & 1);
        let (mask, value) = (0xFF << shift, u16::from(value) << shift);
        match port & !1 {
            EVENT_PORT => self.state.status &= !value,
            CONTROL_PORT => {
                let control = self.state.control & !mask | value;
                self.state.control = control & 0x1C00;
                let sleep_type = (control >> 10 & 7) as u8;
                if control & SLEEP_ENABLE != 0 && sleep_type == SLEEP_TYPE_S5 {
                    return Some(ExitRequest::PowerOff);
                }
            }
            at if at == EVENT_PORT + 2 => {
                const ENABLES: u16 = TIMER | GLOBAL | POWER_BUTTON | REAL_TIME_CLOCK;
                self.state.enable = (self.state.enable & !mask | value) & ENABLES;
            }
            // The timer is for reading.
            _ => {}
        }
        None
    }
}

impl PortDevice for PowerManagement {
    fn read(&mut self, now: Time, port: u16, size: AccessSize) -> u32 {
        self.advance(now);
        (0..size.bytes()).rev().fold(0, |value, n| value << 8 | u32::from(self.read_byte(port + n)))
    }

    fn write(&mut self, now: Time, port: u16, size: AccessSize, value: u32) -> Option<ExitRequest> {
        self.advance(now);
        let bytes = value.to_le_bytes();
        (port..).zip(&bytes[..usize::from(size.bytes())]).fold(None, |exit, (port, byte)| {
            let asked = self.write_byte(port, *byte);
            exit.or(asked)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessSize::{Byte, Dword, Word};

    #[test]
    fn the_timer_counts_at_its_rate_and_wraps_at_32_bits() {
        let mut pm = PowerManagement::default();
        let mut timer = |seconds: u64| pm.read(Time::from_ns(seconds * 1_000_000_000), TIMER_PORT, Dword);
        assert_eq!(timer(0), 0);
        assert_eq!(timer(1), 3_579_545);
        assert_eq!(timer(10), 35_795_450);
        assert_eq!(timer(2000), (2000u64 * 3_579_545) as u32);
    }

    #[test]
    fn the_timer_event_comes_when_the_top_bit_changes() {
        let mut pm = PowerManagement::default();
        assert_eq!(pm.next_deadline(), None);
        pm.write(Time::ZERO, EVENT_PORT + 2, Word, u32::from(TIMER));
        let due = pm.next_deadline().unwrap();
        assert_eq!(due, FREQUENCY.time_of(1 << 31));
        pm.advance(Time::from_ns(due.as_ns() - 1));
        assert!(!pm.interrupt());
        pm.advance(due);
        assert!(pm.interrupt());
        assert_eq!(pm.next_deadline(), None);
        pm.write(due, EVENT_PORT, Word, u32::from(TIMER));
        assert!(!pm.interrupt());
        assert_eq!(pm.next_deadline(), Some(FREQUENCY.time_of(2 << 31)));
    }

    #[test]
    fn only_sleep_type_s5_powers_off() {
        let mut pm = PowerManagement::default();
        for sleep_type in 0..8u32 {
            assert_eq!(pm.write(Time::ZERO, CONTROL_PORT, Word, sleep_type << 10), None);
            let expected = (sleep_type == u32::from(SLEEP_TYPE_S5)).then_some(ExitRequest::PowerOff);
            assert_eq!(pm.write(Time::ZERO, CONTROL_PORT, Word, sleep_type << 10 | 1 << 13), expected);
        }
    }

    #[test]
    fn power_off_works_by_bytes_too() {
        let mut pm = PowerManagement::default();
        assert_eq!(pm.write(Time::ZERO, CONTROL_PORT, Byte, 1), None);
        assert_eq!(pm.write(Time::ZERO, CONTROL_PORT + 1, Byte, 0x34), Some(ExitRequest::PowerOff));
    }

    #[test]
    fn acpi_mode_is_always_on() {
        let mut pm = PowerManagement::default();
        pm.write(Time::ZERO, CONTROL_PORT, Word, 0);
        assert_eq!(pm.read(Time::ZERO, CONTROL_PORT, Word), 1);
    }

    /// Linux: "ACPI Error: Could not enable RealTimeClock event".
    #[test]
    fn the_clock_can_be_enabled_and_never_interrupts() {
        let mut pm = PowerManagement::default();
        pm.write(Time::ZERO, EVENT_PORT + 2, Word, 0xFFFF);
        assert_eq!(pm.read(Time::ZERO, EVENT_PORT + 2, Word), 0x521);
        assert!(!pm.interrupt());
    }

    #[test]
    fn the_power_button_interrupts_if_enabled_until_its_status_is_cleared() {
        let mut pm = PowerManagement::default();
        pm.press_power_button();
        assert!(!pm.interrupt());
        pm.write(Time::ZERO, EVENT_PORT, Dword, u32::from(POWER_BUTTON) << 16);
        assert!(pm.interrupt());
        assert_eq!(pm.read(Time::ZERO, EVENT_PORT, Dword), 0x0100_0100);
        pm.write(Time::ZERO, EVENT_PORT + 1, Byte, 1);
        assert!(!pm.interrupt());
    }
}
