// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

/// 2023-11-14 22:13:20, a Tuesday.
const START: i128 = 1_700_000_000 * NS;

struct Bench {
    cmos: Cmos,
    now: Time,
}

impl Bench {
    fn new() -> Self {
        Self { cmos: Cmos::new(START, 512 << 20, 0), now: Time::ZERO }
    }

    fn pass(&mut self, ns: u64) {
        self.now = self.now.after_ns(ns);
        self.cmos.advance(self.now);
    }

    fn read(&mut self, index: u8) -> u8 {
        self.cmos.write(self.now, 0x70, AccessSize::Byte, u32::from(index));
        self.cmos.read(self.now, 0x71, AccessSize::Byte) as u8
    }

    fn write(&mut self, index: u8, value: u8) {
        self.cmos.write(self.now, 0x70, AccessSize::Byte, u32::from(index) | 0x80);
        self.cmos.write(self.now, 0x71, AccessSize::Byte, u32::from(value));
    }

    fn clock(&mut self) -> [u8; 8] {
        TIME_REGISTERS.map(|index| self.read(index))
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn the_clock_shows_its_start_in_bcd() {
    let mut bench = Bench::new();
    assert_eq!(bench.clock(), [0x20, 0x13, 0x22, 0x03, 0x14, 0x11, 0x23, 0x20]);
    bench.pass(40 * SECOND);
    assert_eq!(bench.clock()[..2], [0x00, 0x14]);
    bench.pass(86_400 * 17 * SECOND);
    assert_eq!(bench.clock()[4..7], [0x01, 0x12, 0x23]);
}

#[test]
fn binary_and_twelve_hours_follow_register_b() {
    let mut bench = Bench::new();
    bench.write(REGISTER_B, B_BINARY);
    assert_eq!(bench.clock(), [20, 13, 0x80 | 10, 3, 14, 11, 23, 20]);
}

#[test]
fn set_holds_the_registers_and_releases_what_was_written() {
    let mut bench = Bench::new();
    bench.pass(300_000_000);
    bench.write(REGISTER_B, B_SET | B_24_HOURS);
    bench.pass(5 * SECOND);
    assert_eq!(bench.read(0), 0x20, "stands still");
    for (index, value) in TIME_REGISTERS.into_iter().zip([0x58, 0x59, 0x23, 1, 0x31, 0x12, 0x99, 0x19]) {
        bench.write(index, value);
    }
    bench.write(REGISTER_B, B_24_HOURS);
    assert_eq!(bench.clock()[..3], [0x58, 0x59, 0x23]);
    bench.pass(700_000_000);
    assert_eq!(bench.read(0), 0x59, "SET left the fraction of the second as it was");
    bench.pass(SECOND);
    assert_eq!(bench.clock(), [0, 0, 0, 7, 1, 1, 0, 0x20], "Saturday, 2000-01-01");
}

#[test]
fn linux_sets_the_clock_through_the_divider_and_the_next_second_is_half_a_second_away() {
    let mut bench = Bench::new();
    bench.pass(123_456_789);
    bench.write(REGISTER_B, B_SET | B_24_HOURS);
    bench.write(REGISTER_A, 0x76);
    bench.write(0, 0x30);
    bench.write(REGISTER_B, B_24_HOURS);
    bench.pass(SECOND);
    assert_eq!(bench.read(0), 0x30, "held in reset");
    bench.write(REGISTER_A, 0x26);
    bench.pass(499_999_999);
    assert_eq!(bench.read(0), 0x30);
    bench.pass(1);
    assert_eq!(bench.read(0), 0x31);
}

#[test]
fn one_register_can_be_written_while_the_clock_runs() {
    let mut bench = Bench::new();
    bench.write(4, 0x07);
    assert_eq!(bench.clock()[..3], [0x20, 0x13, 0x07]);
}

#[test]
fn update_in_progress_warns_244_microseconds_before_the_second() {
    let mut bench = Bench::new();
    assert_eq!(bench.read(REGISTER_A), 0x26);
    bench.pass(SECOND - 244_001);
    assert_eq!(bench.read(REGISTER_A), 0x26);
    bench.pass(1);
    assert_eq!(bench.read(REGISTER_A), 0xA6);
    bench.pass(244_000);
    assert_eq!(bench.read(REGISTER_A), 0x26);
}

#[test]
fn update_interrupt_comes_each_second_and_reading_c_ends_it() {
    let mut bench = Bench::new();
    assert_eq!(bench.cmos.next_deadline(), None);
    bench.write(REGISTER_B, B_24_HOURS | UPDATE);
    assert_eq!(bench.cmos.next_deadline(), Some(Time::from_ns(SECOND)));
    bench.pass(SECOND);
    assert!(bench.cmos.interrupt());
    assert_eq!(bench.cmos.next_deadline(), None);
    // The periodic chain runs from the start; it only does not interrupt.
    assert_eq!(bench.read(REGISTER_C), C_INTERRUPT | UPDATE | PERIODIC);
    assert!(!bench.cmos.interrupt());
    assert_eq!(bench.read(REGISTER_C), 0);
    assert_eq!(bench.cmos.next_deadline(), Some(Time::from_ns(2 * SECOND)));
}

#[test]
fn what_happened_shows_in_c_without_being_enabled() {
    let mut bench = Bench::new();
    bench.pass(SECOND);
    assert!(!bench.cmos.interrupt());
    assert_eq!(bench.read(REGISTER_C) & (C_INTERRUPT | UPDATE), UPDATE);
}

#[test]
fn the_alarm_matches_the_time_of_day() {
    let mut bench = Bench::new();
    for (index, value) in ALARM_REGISTERS.into_iter().zip([0x05, 0x00, 0x06]) {
        bench.write(index, value);
    }
    bench.write(REGISTER_B, B_24_HOURS | ALARM);
    // From 22:13:20 to 06:00:05.
    let wait = (7 * 3600 + 46 * 60 + 45) * SECOND;
    assert_eq!(bench.cmos.next_deadline(), Some(Time::from_ns(wait)));
    bench.pass(wait - 1);
    assert!(!bench.cmos.interrupt());
    bench.pass(1);
    assert_eq!(bench.read(REGISTER_C), C_INTERRUPT | ALARM | UPDATE | PERIODIC);
    assert_eq!(bench.cmos.next_deadline(), Some(Time::from_ns(wait + 86_400 * SECOND)));
}

#[test]
fn alarm_fields_from_0xc0_match_everything_and_impossible_ones_nothing() {
    let mut bench = Bench::new();
    for (index, value) in ALARM_REGISTERS.into_iter().zip([0x10, 0xFF, 0xC0]) {
        bench.write(index, value);
    }
    bench.write(REGISTER_B, B_24_HOURS | ALARM);
    assert_eq!(bench.cmos.next_deadline(), Some(Time::from_ns(50 * SECOND)));
    bench.write(1, 0x75);
    assert_eq!(bench.cmos.next_deadline(), None);
    bench.pass(86_400 * SECOND);
    assert!(!bench.cmos.interrupt());
}

#[test]
fn periodic_interrupts_come_at_the_rate_of_register_a() {
    // The table of the MC146818A for a 32768 Hz crystal.
    let rates = [(1, 256), (2, 128), (3, 8192), (6, 1024), (10, 64), (15, 2)];
    for (rate, hz) in rates {
        let mut bench = Bench::new();
        bench.write(REGISTER_A, 0x20 | rate);
        bench.write(REGISTER_B, B_24_HOURS | PERIODIC);
        let mut interrupts = 0;
        while let Some(deadline) = bench.cmos.next_deadline()
            && deadline <= Time::from_ns(SECOND)
        {
            bench.now = deadline;
            bench.cmos.advance(deadline);
            assert!(bench.cmos.interrupt());
            assert_eq!(bench.read(REGISTER_C) & (C_INTERRUPT | PERIODIC), C_INTERRUPT | PERIODIC);
            interrupts += 1;
        }
        assert_eq!(interrupts, hz, "rate {rate}");
    }
}

#[test]
fn rate_zero_and_a_divider_in_reset_have_no_periods() {
    for a in [0x20, 0x66, 0x76] {
        let mut bench = Bench::new();
        bench.write(REGISTER_A, a);
        bench.write(REGISTER_B, B_24_HOURS | PERIODIC);
        assert_eq!(bench.cmos.next_deadline(), None, "register A {a:#x}");
    }
}

#[test]
fn memory_holds_ram_sizes_and_what_is_written() {
    let mut bench = Bench::new();
    assert_eq!(u16::from_le_bytes([bench.read(0x15), bench.read(0x16)]), 640);
    assert_eq!(u16::from_le_bytes([bench.read(0x30), bench.read(0x31)]), 0xFFFF);
    assert_eq!(u16::from_le_bytes([bench.read(0x34), bench.read(0x35)]), (512 - 16) * 16);
    bench.write(0x0F, 0x0A);
    bench.write(0x7F, 0x55);
    assert_eq!((bench.read(0x0F), bench.read(0x7F)), (0x0A, 0x55));
    bench.write(REGISTER_D, 0);
    assert_eq!(bench.read(REGISTER_D), D_BATTERY);
}

#[test]
fn a_reset_disables_interrupts_and_keeps_the_time() {
    let mut bench = Bench::new();
    bench.write(REGISTER_B, B_24_HOURS | UPDATE);
    bench.pass(SECOND);
    bench.cmos.reset();
    assert!(!bench.cmos.interrupt());
    assert_eq!(bench.read(0), 0x21);
    assert_eq!(bench.read(REGISTER_B), B_24_HOURS);
}

#[test]
fn set_switches_the_update_interrupt_off() {
    let mut bench = Bench::new();
    bench.write(REGISTER_B, B_24_HOURS | UPDATE | ALARM);
    bench.write(REGISTER_B, B_SET | B_24_HOURS | UPDATE | ALARM);
    assert_eq!(bench.read(REGISTER_B), B_SET | B_24_HOURS | ALARM);
}
