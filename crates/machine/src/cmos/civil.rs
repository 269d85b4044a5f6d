// SPDX-License-Identifier: MIT OR Apache-2.0
//! Civil time (proleptic Gregorian, UTC) and the formats in which the clock's registers hold it.

/// How registers hold numbers: register B, bits 2 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) binary: bool,
    pub(super) hours_24: bool,
}

const AFTERNOON: u8 = 0x80;

impl Format {
    /// A number below 100 as a register holds it.
    pub(super) fn number(self, number: u8) -> u8 {
        if self.binary { number } else { ((number / 10) << 4) | (number % 10) }
    }

    fn parse(self, register: u8) -> u8 {
        if self.binary { register } else { (register >> 4) * 10 + (register & 0x0F) }
    }

    /// An hour (0-23) as the register holds it: 12, 1 ... 11 twice, with bit 7 in the afternoon, or 0-23.
    pub(super) fn hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.number(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.number(twelve) | if hour >= 12 { AFTERNOON } else { 0 }
    }

    fn parse_hour(self, register: u8) -> u8 {
        if self.hours_24 {
            return self.parse(register);
        }
        let afternoon = if register & AFTERNOON != 0 { 12 } else { 0 };
        self.parse(register & !AFTERNOON) % 12 + afternoon
    }
}

/// A date and time of day. Fields may be out of range (what a guest writes is): they count on from where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    /// From 1.
    pub(super) month: i64,
    /// From 1.
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

const DAY: i64 = 86_400;

/// Days of the Gregorian calendar from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// Days from 1970-01-01 to the first of a month. Years are taken to begin in March, so that the leap day is the last.
fn days_before_month(year: i64, month: i64) -> i64 {
    let months = year * 12 + (month - 1) - 2;
    let (year, from_march) = (months.div_euclid(12), months.rem_euclid(12));
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (153 * from_march + 2) / 5 - EPOCH
}

impl Civil {
    pub(super) fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(DAY);
        let time = seconds.rem_euclid(DAY);
        // A year that is too late by at most one, then the month that the day lies in.
        let mut year = (days + EPOCH) * 400 / ERA + 1;
        while days_before_month(year, 1) > days {
            year -= 1;
        }
        let in_year = days - days_before_month(year, 1);
        let mut month = in_year / 31 + 1;
        while month < 12 && days_before_month(year, month + 1) <= days {
            month += 1;
        }
        Self {
            year,
            month,
            day: days - days_before_month(year, month) + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
        }
    }

    pub(super) fn seconds(&self) -> i64 {
        let days = days_before_month(self.year, self.month) + self.day - 1;
        days * DAY + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// 1 is Sunday.
    fn weekday(&self) -> u8 {
        // 1970-01-01 was a Thursday.
        ((self.seconds().div_euclid(DAY) + 4).rem_euclid(7) + 1) as u8
    }

    /// Seconds, minutes, hours, weekday, day, month, year, century.
    pub(super) fn encode(&self, format: Format) -> [u8; 8] {
        let number = |value: i64| format.number(value.rem_euclid(100) as u8);
        [
            number(self.second),
            number(self.minute),
            format.hour(self.hour as u8),
            number(i64::from(self.weekday())),
            number(self.day),
            number(self.month),
            number(self.year),
            number(self.year.div_euclid(100)),
        ]
    }

    /// The inverse; the weekday is not looked at.
    pub(super) fn decode(registers: [u8; 8], format: Format) -> Self {
        let [second, minute, hour, _, day, month, year, century] = registers;
        let number = |register| i64::from(format.parse(register));
        Self {
            year: number(century) * 100 + number(year),
            month: number(month),
            day: number(day),
            hour: i64::from(format.parse_hour(hour)),
            minute: number(minute),
            second: number(second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMATS: [Format; 4] = [
        Format { binary: false, hours_24: true },
        Format { binary: false, hours_24: false },
        Format { binary: true, hours_24: true },
        Format { binary: true, hours_24: false },
    ];

    /// Counts the calendar day by day.
    #[test]
    fn every_day_from_1600_to_2500_is_the_calendars() {
        let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let mut seconds = Civil { year: 1600, month: 1, day: 1, hour: 0, minute: 0, second: 0 }.seconds();
        assert_eq!(seconds, -11_676_096_000);
        for year in 1600..2500 {
            let february = if leap(year) { 29 } else { 28 };
            for (month, length) in (1..).zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
                for day in 1..=length {
                    let civil = Civil { year, month, day, hour: 23, minute: 59, second: 59 };
                    assert_eq!(Civil::from_seconds(seconds + DAY - 1), civil);
                    assert_eq!(civil.seconds(), seconds + DAY - 1);
                    seconds += DAY;
                }
            }
        }
    }

    #[test]
    fn weekdays_begin_on_sunday() {
        let weekday = |seconds| Civil::from_seconds(seconds).weekday();
        assert_eq!(weekday(0), 5, "1970-01-01, Thursday");
        assert_eq!(weekday(1_700_000_000), 3, "2023-11-14, Tuesday");
        assert_eq!(weekday(-DAY * 4), 1, "1969-12-28, Sunday");
    }

    proptest! {
        #[test]
        fn every_format_returns_what_it_was_given(seconds in 0i64..253_402_300_800) {
            for format in FORMATS {
                let civil = Civil::from_seconds(seconds);
                prop_assert_eq!(Civil::decode(civil.encode(format), format), civil);
            }
        }
    }

    #[test]
    fn twelve_hours_begin_with_twelve() {
        let format = FORMATS[1];
        let shown: Vec<u8> = [0, 1, 11, 12, 13, 23].into_iter().map(|hour| format.hour(hour)).collect();
        assert_eq!(shown, [0x12, 0x01, 0x11, 0x92, 0x81, 0x91]);
    }

    #[test]
    fn fields_out_of_range_count_on() {
        let civil = Civil { year: 2023, month: 14, day: 30, hour: 25, minute: 0, second: 0 };
        let expected = Civil { year: 2024, month: 3, day: 2, hour: 1, minute: 0, second: 0 };
        assert_eq!(Civil::from_seconds(civil.seconds()), expected);
    }
}
