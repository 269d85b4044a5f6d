// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a processor has time and random numbers from: the host, or its own instructions and a seed.

use std::sync::Arc;

use engine::{Clock, HostClock, VirtualClock};

/// Where a processor has time and random numbers from.
pub(crate) enum TimeSource {
    /// The host: time passes by itself.
    Host(Arc<HostClock>),
    /// Nowhere but here: a tick for each instruction, and a generator of numbers.
    Virtual(VirtualTime),
}

/// Time that instructions move, and numbers that follow from a seed.
pub(crate) struct VirtualTime {
    clock: Arc<VirtualClock>,
    /// Instructions that the clock has been told of.
    told: u64,
    generator: Generator,
}

impl VirtualTime {
    /// Of a VP that has executed nothing.
    pub(crate) fn new(clock: Arc<VirtualClock>, generator: Generator) -> Self {
        Self { clock, told: 0, generator }
    }
}

impl TimeSource {
    /// Whether instructions move the clock.
    #[inline]
    pub(crate) fn is_virtual(&self) -> bool {
        matches!(self, Self::Virtual(_))
    }

    /// The clock after so many instructions of this processor.
    pub(crate) fn now(&self, instructions: u64) -> u64 {
        match self {
            Self::Host(clock) => clock.now(),
            Self::Virtual(time) => time.clock.now() + (instructions - time.told),
        }
    }

    /// Lets the clock pass, if it is this processor that moves it.
    pub(crate) fn pass(&mut self, instructions: u64) {
        if let Self::Virtual(time) = self {
            time.clock.advance(instructions - time.told);
            time.told = instructions;
        }
    }

    /// The generator, if numbers follow from a seed.
    pub(crate) fn generator(&mut self) -> Option<&mut Generator> {
        match self {
            Self::Host(_) => None,
            Self::Virtual(time) => Some(&mut time.generator),
        }
    }

    /// Goes on where another processor stood after so many instructions, whose generator stood here.
    pub(crate) fn resume(&mut self, instructions: u64, generator: Generator) {
        if let Self::Virtual(time) = self {
            time.told = instructions;
            time.generator = generator;
        }
    }

    /// Where the generator stands, if there is one.
    pub(crate) fn random(&self) -> Option<u64> {
        match self {
            Self::Host(_) => None,
            Self::Virtual(time) => Some(time.generator.0),
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): 64 bits of state, each number a hash of where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generator(u64);

impl Generator {
    /// As it was when it stood here.
    pub(crate) const fn at(state: u64) -> Self {
        Self(state)
    }

    /// Of the VP with this number: each has its own sequence.
    pub(crate) fn seeded(seed: u64, vp: u32) -> Self {
        let mut seeds = Self(seed ^ u64::from(vp) << 32);
        Self(seeds.next())
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_of_seed_1234567() {
        let mut generator = Generator::at(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| generator.next()).collect();
        assert_eq!(numbers, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn vps_have_sequences_of_their_own() {
        let first: Vec<u64> = (0..64).map(|vp| Generator::seeded(7, vp).next()).collect();
        let mut distinct = first.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), first.len());
        assert_ne!(Generator::seeded(7, 0), Generator::seeded(8, 0));
    }
}
