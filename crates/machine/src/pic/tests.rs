// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;

impl PicPair {
    fn out(&mut self, port: u16, value: u8) {
        self.write(Time::ZERO, port, AccessSize::Byte, u32::from(value));
    }

    fn inp(&mut self, port: u16) -> u8 {
        self.read(Time::ZERO, port, AccessSize::Byte) as u8
    }

    fn pulse(&mut self, irq: u8) {
        self.set_line(irq, true);
        self.set_line(irq, false);
    }
}

/// A pair as Linux sets it up: vectors 0x30 and 0x38, everything unmasked.
fn ready(icw4: u8) -> PicPair {
    let mut pic = PicPair::new(1 << 9);
    for (port, words) in [(0x20, [0x11, 0x30, 0x04, icw4]), (0xA0, [0x11, 0x38, 0x02, icw4 & !0x10])] {
        pic.out(port, words[0]);
        for word in &words[1..] {
            pic.out(port + 1, *word);
        }
        pic.out(port + 1, 0);
    }
    pic
}

#[test]
fn an_edge_is_acknowledged_once() {
    let mut pic = ready(1);
    assert!(!pic.interrupt());
    pic.set_line(4, true);
    assert!(pic.interrupt());
    assert_eq!(pic.acknowledge(), 0x34);
    assert!(!pic.interrupt(), "the line is still high, but that is no new edge");
    pic.out(0x20, 0x20);
    assert!(!pic.interrupt());
    pic.set_line(4, false);
    pic.set_line(4, true);
    assert!(pic.interrupt());
}

#[test]
fn a_pulse_between_two_looks_is_not_lost() {
    let mut pic = ready(1);
    pic.pulse(0);
    assert_eq!(pic.acknowledge(), 0x30);
}

#[test]
fn lower_inputs_go_first_and_service_blocks_those_below() {
    let mut pic = ready(1);
    pic.pulse(4);
    pic.pulse(3);
    assert_eq!(pic.acknowledge(), 0x33);
    assert!(!pic.interrupt(), "4 waits for the service of 3");
    pic.pulse(1);
    assert_eq!(pic.acknowledge(), 0x31, "1 interrupts the service of 3");
    pic.out(0x20, 0x20);
    assert!(!pic.interrupt(), "the EOI ended 1, not 3");
    pic.out(0x20, 0x20);
    assert_eq!(pic.acknowledge(), 0x34);
}

#[test]
fn the_second_controller_comes_through_input_2() {
    let mut pic = ready(1);
    pic.pulse(8);
    assert_eq!(pic.acknowledge(), 0x38);
    pic.out(0x20, 0x0B);
    pic.out(0xA0, 0x0B);
    assert_eq!((pic.inp(0x20), pic.inp(0xA0)), (0x04, 0x01));
    pic.out(0xA0, 0x20);
    pic.out(0x20, 0x62);
    assert_eq!((pic.inp(0x20), pic.inp(0xA0)), (0, 0));
}

#[test]
fn two_requests_of_the_second_controller_are_both_served() {
    let mut pic = ready(1);
    pic.pulse(12);
    pic.pulse(8);
    for vector in [0x38, 0x3C] {
        assert!(pic.interrupt());
        assert_eq!(pic.acknowledge(), vector);
        assert!(!pic.interrupt());
        pic.out(0xA0, 0x20);
        pic.out(0x20, 0x20);
    }
    assert!(!pic.interrupt());
}

#[test]
fn special_fully_nested_lets_the_second_controller_interrupt_itself() {
    let mut pic = ready(0x11);
    pic.pulse(12);
    assert_eq!(pic.acknowledge(), 0x3C);
    pic.pulse(8);
    assert!(pic.interrupt());
    assert_eq!(pic.acknowledge(), 0x38);
    pic.pulse(13);
    assert!(!pic.interrupt(), "13 is less urgent than what is served");
}

#[test]
fn a_level_asks_again_until_it_falls() {
    let mut pic = ready(1);
    pic.set_line(9, true);
    assert_eq!(pic.acknowledge(), 0x39);
    pic.out(0xA0, 0x20);
    pic.out(0x20, 0x20);
    assert!(pic.interrupt(), "still asserted");
    assert_eq!(pic.acknowledge(), 0x39);
    pic.set_line(9, false);
    pic.out(0xA0, 0x20);
    pic.out(0x20, 0x20);
    assert!(!pic.interrupt());
}

#[test]
fn a_request_that_went_away_gives_the_spurious_vector() {
    let mut pic = ready(1);
    assert_eq!(pic.acknowledge(), 0x37);
    pic.out(0x20, 0x0B);
    assert_eq!(pic.inp(0x20), 0, "nothing is in service");
    pic.set_line(9, true);
    assert!(pic.interrupt());
    pic.set_line(9, false);
    assert!(!pic.interrupt());
}

#[test]
fn the_mask_hides_a_request_and_keeps_it() {
    let mut pic = ready(1);
    pic.out(0x21, 0xFF);
    pic.pulse(3);
    assert!(!pic.interrupt());
    assert_eq!(pic.inp(0x20), 0x08, "IRR shows it");
    pic.out(0x21, 0xF7);
    assert_eq!(pic.inp(0x21), 0xF7);
    assert!(pic.interrupt());
}

#[test]
fn masking_the_second_controller_withdraws_its_request() {
    let mut pic = ready(1);
    pic.pulse(10);
    pic.out(0xA1, 0xFF);
    assert!(!pic.interrupt());
    pic.out(0xA1, 0);
    assert_eq!(pic.acknowledge(), 0x3A);
}

#[test]
fn automatic_eoi_leaves_nothing_in_service() {
    let mut pic = ready(3);
    pic.pulse(5);
    assert_eq!(pic.acknowledge(), 0x35);
    pic.pulse(7);
    assert_eq!(pic.acknowledge(), 0x37);
    pic.out(0x20, 0x0B);
    assert_eq!(pic.inp(0x20), 0);
}

#[test]
fn rotation_gives_the_served_input_the_lowest_priority() {
    let mut pic = ready(1);
    pic.pulse(1);
    pic.acknowledge();
    pic.out(0x20, 0xA0);
    pic.pulse(1);
    pic.pulse(7);
    assert_eq!(pic.acknowledge(), 0x37);
    pic.out(0x20, 0x20);
    pic.out(0x20, 0xC0 | 5);
    pic.pulse(6);
    assert_eq!(pic.acknowledge(), 0x36, "6 is the most urgent after set priority 5");
}

#[test]
fn special_mask_lets_everything_but_the_masked_through() {
    let mut pic = ready(1);
    pic.pulse(1);
    pic.acknowledge();
    pic.out(0x21, 0x02);
    pic.out(0x20, 0x68);
    pic.pulse(5);
    assert_eq!(pic.acknowledge(), 0x35);
    pic.out(0x20, 0x48);
    pic.pulse(6);
    assert!(!pic.interrupt());
}

#[test]
fn a_poll_acknowledges_without_a_processor() {
    let mut pic = ready(1);
    pic.out(0x20, 0x0C);
    assert_eq!(pic.inp(0x20), 0);
    pic.pulse(3);
    pic.out(0x20, 0x0C);
    assert_eq!(pic.inp(0x20), 0x83);
    assert!(!pic.interrupt());
    pic.out(0x20, 0x0B);
    assert_eq!(pic.inp(0x20), 0x08);
}

#[test]
fn elcr_keeps_the_fixed_edge_inputs() {
    let mut pic = PicPair::new(1 << 9);
    assert_eq!(pic.inp(0x4D1), 0x02);
    pic.out(0x4D0, 0xFF);
    pic.out(0x4D1, 0xFF);
    assert_eq!((pic.inp(0x4D0), pic.inp(0x4D1)), (0xF8, 0xDE));
}

#[test]
fn linux_finds_a_controller_by_its_mask_register() {
    let mut pic = PicPair::new(0);
    pic.out(0xA1, 0xFF);
    pic.out(0x21, 0xFB);
    assert_eq!(pic.inp(0x21), 0xFB);
}

#[test]
fn special_fully_nested_still_keeps_less_urgent_inputs_waiting() {
    let mut pic = ready(0x11);
    pic.pulse(12);
    assert_eq!(pic.acknowledge(), 0x3C);
    pic.pulse(3);
    assert!(!pic.interrupt(), "3 is less urgent than 2, through which 12 came");
}

#[test]
fn an_input_does_not_interrupt_its_own_service() {
    let mut pic = ready(1);
    pic.pulse(4);
    pic.acknowledge();
    pic.pulse(4);
    assert!(!pic.interrupt());
    pic.out(0x20, 0x20);
    assert_eq!(pic.acknowledge(), 0x34, "the second edge was kept");
}

#[test]
fn a_line_that_stays_high_is_one_edge_however_often_it_is_driven() {
    let mut pic = ready(1);
    pic.set_line(4, true);
    pic.acknowledge();
    pic.out(0x20, 0x20);
    pic.set_line(4, true);
    assert!(!pic.interrupt());
}
