// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use proptest::prelude::*;

/// A timer and a clock that counts its ticks.
struct Bench {
    pit: Pit,
    tick: u64,
}

impl Bench {
    fn new() -> Self {
        Self { pit: Pit::default(), tick: 0 }
    }

    fn now(&self) -> Time {
        FREQUENCY.time_of(self.tick)
    }

    /// Moves on and tells whether channel 0 rose.
    fn step(&mut self, ticks: u64) -> bool {
        self.edges(ticks) != 0
    }

    /// Moves on and tells how often channel 0 rose.
    fn edges(&mut self, ticks: u64) -> u64 {
        self.tick += ticks;
        self.pit.advance(self.now())
    }

    fn out(&mut self, port: u16, value: u8) {
        let now = self.now();
        self.pit.write(now, port, AccessSize::Byte, u32::from(value));
    }

    fn inp(&mut self, port: u16) -> u8 {
        let now = self.now();
        self.pit.read(now, port, AccessSize::Byte) as u8
    }

    fn program(&mut self, channel: u8, mode: u8, count: u16) {
        self.out(0x43, channel << 6 | 0x30 | mode << 1);
        let [low, high] = count.to_le_bytes();
        self.out(0x40 + u16::from(channel), low);
        self.out(0x40 + u16::from(channel), high);
    }

    fn count(&mut self, channel: u8) -> u16 {
        self.out(0x43, channel << 6);
        let port = 0x40 + u16::from(channel);
        u16::from_le_bytes([self.inp(port), self.inp(port)])
    }

    fn status(&mut self, channel: u8) -> u8 {
        self.out(0x43, 0xE0 | 2 << channel);
        self.inp(0x40 + u16::from(channel))
    }
}

/// The 8254 as a machine that is clocked tick by tick, from the timing diagrams of its datasheet: the oracle for the
/// arithmetic. `None` until the count has been loaded.
struct Oracle {
    mode: u8,
    count: u32,
    element: Option<u32>,
    output: bool,
    strobed: bool,
}

impl Oracle {
    fn new(mode: u8, count: u16) -> Self {
        let count = if count == 0 { 0x1_0000 } else { u32::from(count) };
        Self { mode, count, element: None, output: mode != 0, strobed: false }
    }

    fn clock(&mut self) {
        let Some(element) = self.element else {
            self.element = Some(if self.mode == 3 { self.count & !1 } else { self.count });
            return;
        };
        let mut next = element.wrapping_sub(if self.mode == 3 { 2 } else { 1 });
        match self.mode {
            0 => self.output |= next == 0,
            2 => {
                self.output = next != 1;
                if next == 0 {
                    next = self.count;
                }
            }
            3 => {
                // Even: both halves end where zero would be. Odd: the high half shows zero for one clock more.
                let odd_high = self.count % 2 == 1 && self.output;
                let ended = if odd_high { element == 0 } else { next == 0 };
                if ended {
                    self.output = !self.output;
                    next = self.count & !1;
                }
            }
            _ => {
                self.output = next != 0 || self.strobed;
                self.strobed |= next == 0;
            }
        }
        self.element = Some(next);
    }

    fn shown(&self) -> u16 {
        self.element.unwrap() as u16
    }
}

proptest! {
    #[test]
    fn count_and_output_follow_the_datasheet(
        mode in prop::sample::select(vec![0u8, 2, 3, 4]),
        count in prop_oneof![2u16..20, Just(0), any::<u16>().prop_map(|n| n.max(2))],
        checks in prop::collection::vec(1u64..5000, 1..8),
    ) {
        let mut bench = Bench::new();
        bench.program(0, mode, count);
        let mut oracle = Oracle::new(mode, count);
        for ticks in checks {
            let mut rose = 0;
            for _ in 0..ticks {
                let before = oracle.output;
                oracle.clock();
                rose += u64::from(oracle.output && !before);
            }
            prop_assert_eq!(bench.edges(ticks), rose, "edges by tick {}", bench.tick);
            prop_assert_eq!(bench.count(0), oracle.shown(), "count at tick {}", bench.tick);
            prop_assert_eq!(bench.pit.interrupt(), oracle.output, "output at tick {}", bench.tick);
        }
    }

    #[test]
    fn the_deadline_is_where_the_output_rises(mode in 0u8..6, count in 2u16..3000, wait in 0u64..9000) {
        let mut bench = Bench::new();
        bench.program(0, mode, count);
        bench.step(wait);
        if let Some(deadline) = bench.pit.next_deadline() {
            prop_assert_eq!(bench.pit.advance(Time::from_ns(deadline.as_ns() - 1)), 0);
            prop_assert_eq!(bench.pit.advance(deadline), 1);
        }
    }
}

#[test]
fn mode_0_rises_n_plus_1_clocks_after_the_count_and_once() {
    let mut bench = Bench::new();
    bench.program(0, 0, 100);
    assert_eq!(bench.pit.next_deadline(), Some(FREQUENCY.time_of(101)));
    assert!(!bench.step(100));
    assert!(bench.step(1));
    assert!(bench.pit.interrupt());
    assert_eq!(bench.pit.next_deadline(), None);
    assert!(!bench.step(70_000), "the count wraps without another edge");
    assert_eq!(bench.count(0), (100u64.wrapping_sub(70_100 - 100 + 100)) as u16);
}

#[test]
fn mode_0_with_count_zero_is_one_last_event_as_linux_shuts_the_timer_down() {
    let mut bench = Bench::new();
    bench.program(0, 2, 1000);
    bench.step(5000);
    bench.program(0, 0, 0);
    assert_eq!(bench.pit.next_deadline(), Some(FREQUENCY.time_of(5000 + 0x1_0001)));
    assert!(bench.step(0x1_0001));
    assert_eq!(bench.pit.next_deadline(), None);
}

#[test]
fn mode_2_interrupts_once_a_period() {
    let mut bench = Bench::new();
    bench.program(0, 2, 11_932);
    let mut edges = Vec::new();
    while edges.len() < 5 {
        let deadline = bench.pit.next_deadline().unwrap();
        bench.tick = FREQUENCY.ticks_at(deadline);
        assert_eq!(bench.pit.advance(deadline), 1);
        edges.push(bench.tick);
    }
    assert_eq!(edges, [11_933, 23_865, 35_797, 47_729, 59_661]);
}

#[test]
fn a_new_count_in_mode_2_is_taken_at_the_end_of_the_period() {
    let mut bench = Bench::new();
    bench.program(0, 2, 100);
    bench.step(51);
    assert_eq!(bench.count(0), 50);
    bench.out(0x40, 10);
    bench.out(0x40, 0);
    assert_eq!(bench.status(0) & 0x40, 0x40, "null count until it is loaded");
    bench.step(49);
    assert_eq!(bench.count(0), 1);
    assert!(bench.step(1), "the old period ends");
    assert_eq!(bench.count(0), 10);
    assert_eq!(bench.status(0) & 0x40, 0);
    assert!(!bench.step(9));
    assert!(bench.step(1));
}

#[test]
fn a_new_count_in_mode_3_is_taken_at_the_end_of_the_half() {
    let mut bench = Bench::new();
    bench.program(0, 3, 100);
    bench.step(11);
    bench.out(0x40, 20);
    bench.out(0x40, 0);
    bench.step(39);
    assert!(bench.pit.interrupt());
    bench.step(1);
    assert!(!bench.pit.interrupt(), "the high half ends after 50");
    assert_eq!(bench.pit.next_deadline(), Some(FREQUENCY.time_of(51 + 10)), "the low half lasts 10");
}

#[test]
fn mode_1_needs_a_trigger_and_can_be_triggered_again() {
    let mut bench = Bench::new();
    bench.program(2, 1, 100);
    bench.step(500);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2, "high until triggered");
    bench.out(0x61, 1);
    bench.step(50);
    assert_eq!(bench.inp(0x61) & OUT2, 0);
    bench.out(0x61, 0);
    bench.out(0x61, 1);
    bench.step(100);
    assert_eq!(bench.inp(0x61) & OUT2, 0, "the second trigger started it again");
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
}

#[test]
fn linux_measures_50_ms_with_gate_and_output_of_channel_2() {
    // Gate on, speaker off; mode 0; then wait for OUT2.
    let mut bench = Bench::new();
    bench.out(0x61, 0x01);
    bench.program(2, 0, (1_193_182 / 20) as u16);
    assert_eq!(bench.inp(0x61) & OUT2, 0);
    bench.step(59_659);
    assert_eq!(bench.inp(0x61) & OUT2, 0);
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
}

#[test]
fn gate_low_holds_mode_0() {
    let mut bench = Bench::new();
    bench.out(0x61, 1);
    bench.program(2, 0, 1000);
    bench.step(101);
    bench.out(0x61, 0);
    let held = bench.count(2);
    assert_eq!(held, 900);
    bench.step(5000);
    assert_eq!(bench.count(2), held);
    bench.out(0x61, 1);
    bench.step(10);
    assert_eq!(bench.count(2), 890);
}

#[test]
fn gate_low_sets_mode_2_high_and_its_rise_starts_it_again() {
    let mut bench = Bench::new();
    bench.out(0x61, 1);
    bench.program(2, 2, 1000);
    bench.step(301);
    bench.out(0x61, 0);
    bench.step(10_000);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
    bench.out(0x61, 1);
    bench.step(1);
    assert_eq!(bench.count(2), 1000);
}

#[test]
fn mode_5_strobes_for_one_clock() {
    let mut bench = Bench::new();
    bench.program(2, 5, 10);
    bench.out(0x61, 1);
    bench.step(10);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, 0);
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
}

#[test]
fn port_61_reports_no_nmi_reason_and_keeps_its_low_bits() {
    let mut bench = Bench::new();
    bench.out(0x61, 0xFF);
    assert_eq!(bench.inp(0x61) & 0xC0, 0, "0xC0 would be SERR and IOCHK");
    assert_eq!(bench.inp(0x61) & 0x0F, 0x0F);
    bench.out(0x61, 0);
    assert_eq!(bench.inp(0x61) & 0x0F, 0);
}

#[test]
fn the_refresh_bit_toggles_every_15_microseconds() {
    let mut pit = Pit::default();
    let mut changes = 0;
    let mut last = 0;
    for ns in (0..1_000_000).step_by(1000) {
        let bit = pit.read(Time::from_ns(ns), 0x61, AccessSize::Byte) & u32::from(REFRESH);
        changes += u32::from(bit != last);
        last = bit;
    }
    assert_eq!(changes, 66);
}

#[test]
fn a_latched_count_stands_until_both_bytes_are_read() {
    let mut bench = Bench::new();
    bench.program(0, 2, 0x1234);
    bench.step(5);
    bench.out(0x43, 0x00);
    bench.step(100);
    bench.out(0x43, 0x00);
    assert_eq!([bench.inp(0x40), bench.inp(0x40)], [0x30, 0x12], "the second latch changed nothing");
    let fresh = u16::from_le_bytes([bench.inp(0x40), bench.inp(0x40)]);
    assert_eq!(fresh, 0x1234 - 104);
}

#[test]
fn read_back_latches_status_then_count_of_several_channels() {
    let mut bench = Bench::new();
    bench.program(0, 3, 1000);
    bench.out(0x43, 0x40 | 0x10 | 2 << 1);
    bench.out(0x41, 18);
    bench.step(2);
    bench.out(0x43, 0xC0 | 0x02 | 0x04);
    assert_eq!(bench.inp(0x40), 0x80 | 0x30 | 3 << 1);
    assert_eq!([bench.inp(0x40), bench.inp(0x40)], 998u16.to_le_bytes());
    assert_eq!(bench.inp(0x41), 0x80 | 0x10 | 2 << 1);
    assert_eq!(bench.inp(0x41), 17);
}

#[test]
fn bcd_counts_in_decimal() {
    let mut bench = Bench::new();
    bench.out(0x43, 0x30 | 1);
    bench.out(0x40, 0x00);
    bench.out(0x40, 0x10);
    bench.step(2);
    assert_eq!(bench.count(0), 0x0999);
    assert_eq!(bench.pit.next_deadline(), Some(FREQUENCY.time_of(1001)));
    bench.step(1000);
    assert_eq!(bench.count(0), 0x9999, "below zero comes 9999");
}

#[test]
fn a_restored_state_goes_on_as_the_saved_one() {
    let mut bench = Bench::new();
    bench.program(0, 3, 777);
    bench.step(1234);
    let mut copy = Pit::default();
    state::restore(&mut copy, &state::save(&bench.pit)).unwrap();
    assert_eq!(copy.next_deadline(), bench.pit.next_deadline());
    assert_eq!(copy.advance(FREQUENCY.time_of(5000)), bench.edges(5000 - 1234));
    assert_eq!(state::save(&copy), state::save(&bench.pit));
}

#[test]
fn an_odd_count_in_mode_3_ends_its_larger_half_one_clock_later() {
    let mut bench = Bench::new();
    bench.program(0, 3, 101);
    bench.out(0x40, 20);
    bench.out(0x40, 0);
    bench.step(51);
    assert!(bench.pit.interrupt(), "51 clocks high");
    bench.step(1);
    assert!(!bench.pit.interrupt());
    assert_eq!(bench.count(0), 20, "and the new count from there");
    assert_eq!(bench.pit.next_deadline(), Some(FREQUENCY.time_of(52 + 10)));
}

#[test]
fn gate_low_holds_mode_4_and_its_strobe() {
    let mut bench = Bench::new();
    bench.out(0x61, 1);
    bench.program(2, 4, 100);
    bench.step(51);
    bench.out(0x61, 0);
    bench.step(1000);
    bench.out(0x61, 1);
    bench.step(49);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, 0);
    bench.step(1);
    assert_eq!(bench.inp(0x61) & OUT2, OUT2);
}
