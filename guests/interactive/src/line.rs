// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading a line from the console, asleep while nobody types.

use crate::arrivals;
use core::str;
use support::{cpu, print, serial};

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7F;
const END_OF_INPUT: u8 = 0x04;
const KILL: u8 = 0x15;

/// A line and its editor.
pub(crate) struct Line {
    text: [u8; 512],
    length: usize,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self { text: [0; 512], length: 0 }
    }

    fn text(&self) -> &str {
        // Only ASCII goes in.
        str::from_utf8(&self.text[..self.length]).unwrap_or_default()
    }

    /// The next line; `None` at the end of input. What arrives meanwhile is shown above it.
    pub(crate) fn read(&mut self, prompt: &str) -> Option<&str> {
        self.length = 0;
        print!("{prompt}");
        loop {
            let Some(byte) = serial::read() else {
                if arrivals::any() {
                    print!("\n");
                    arrivals::show();
                    print!("{prompt}{}", self.text());
                }
                cpu::wait_for_interrupt();
                continue;
            };
            match byte {
                END_OF_INPUT if self.length == 0 => {
                    print!("\n");
                    return None;
                }
                // The end of input ends a line first, as at a terminal; it is sent again.
                b'\r' | b'\n' | END_OF_INPUT => {
                    print!("\n");
                    return Some(self.text());
                }
                BACKSPACE | DELETE => self.erase(1),
                KILL => self.erase(self.length),
                b' '..=b'~' if self.length < self.text.len() => {
                    self.text[self.length] = byte;
                    self.length += 1;
                    print!("{}", char::from(byte));
                }
                _ => {}
            }
        }
    }

    fn erase(&mut self, count: usize) {
        for _ in 0..count.min(self.length) {
            self.length -= 1;
            print!("\x08 \x08");
        }
    }
}
