// SPDX-License-Identifier: MIT OR Apache-2.0
//! What share of a logical processor the VPs of a partition get: reserve, cap and weight (TLFS 14.2).

/// The whole of a logical processor, in the unit of reserves and caps (TLFS 14.2.1).
pub(crate) const WHOLE: u32 = 0x1_0000;
/// Ticks after which shares are settled and counted anew: 10 ms.
pub(crate) const PERIOD: u64 = 10_000_000;
/// Ticks that a VP of weight [`DEFAULT_WEIGHT`] runs before the next one's turn comes: 100 µs.
pub(crate) const QUANTUM: u64 = 100_000;
/// The weight of who has not been given another (TLFS 14.2.3).
const DEFAULT_WEIGHT: u32 = 100;
const MOST_WEIGHT: u32 = 10_000;

/// The scheduler settings of a partition; each of its VPs has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    reserve: u32,
    cap: u32,
    weight: u32,
}

impl Default for Share {
    fn default() -> Self {
        Self { reserve: 0, cap: WHOLE, weight: DEFAULT_WEIGHT }
    }
}

/// Settings that do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadShare {
    #[error("a VP's reserve and cap are shares of one processor, from 0 to 100%")]
    TooMuch,
    #[error("a cap of nothing lets no VP run")]
    NoCap,
    #[error("a reserve cannot be above the cap")]
    ReserveAboveCap,
    #[error("a weight is 1 to {MOST_WEIGHT}")]
    Weight,
    #[error("the reserves of {vps} VPs are more than the one processor that they share")]
    Overcommitted { vps: u32 },
}

impl Share {
    /// Settings for `vps` VPs on one logical processor: reserve and cap in parts of [`WHOLE`] (0x8000 is a half), weight 1 to 10000.
    ///
    /// # Errors
    /// If one is out of its range, the reserve is above the cap, or the reserves are more than there is (TLFS 14.2.1).
    pub(crate) fn new(reserve: u32, cap: u32, weight: u32, vps: u32) -> Result<Self, BadShare> {
        if reserve > WHOLE || cap > WHOLE {
            return Err(BadShare::TooMuch);
        }
        if cap == 0 {
            return Err(BadShare::NoCap);
        }
        if reserve > cap {
            return Err(BadShare::ReserveAboveCap);
        }
        if !(1..=MOST_WEIGHT).contains(&weight) {
            return Err(BadShare::Weight);
        }
        if u64::from(reserve) * u64::from(vps) > u64::from(WHOLE) {
            return Err(BadShare::Overcommitted { vps });
        }
        Ok(Self { reserve, cap, weight })
    }

    /// Ticks of a turn.
    pub(crate) fn quantum(&self) -> u64 {
        QUANTUM * u64::from(self.weight) / u64::from(DEFAULT_WEIGHT)
    }

    /// Ticks of each period that are the VP's before anybody is weighed.
    pub(crate) fn reserved(&self) -> u64 {
        PERIOD * u64::from(self.reserve) / u64::from(WHOLE)
    }

    /// Most ticks that it may have of a period.
    pub(crate) fn capped(&self) -> u64 {
        PERIOD * u64::from(self.cap) / u64::from(WHOLE)
    }

    /// Whether it can be held back with work to do.
    pub(crate) fn has_cap(&self) -> bool {
        self.cap < WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B14.002, B14.004, B14.005: the ranges of reserve, cap and weight, their defaults, and the reserve that cannot be above the cap or above what there is.
    #[test]
    fn settings_are_checked() {
        let usual = Share::default();
        assert_eq!(Share::new(0, 0x1_0000, 100, 64), Ok(usual));
        assert_eq!((usual.reserved(), usual.has_cap(), usual.quantum()), (0, false, QUANTUM));
        let three_quarters = Share::new(0xC000, 0xC000, 10_000, 1).unwrap();
        assert_eq!((three_quarters.reserved(), three_quarters.capped()), (PERIOD / 4 * 3, PERIOD / 4 * 3));
        for (reserve, cap, weight, vps, refusal) in [
            (0x8001, 0x8000, 100, 1, BadShare::ReserveAboveCap),
            (0x1_0001, 0x1_0001, 100, 1, BadShare::TooMuch),
            (0, 0x1_0001, 100, 1, BadShare::TooMuch),
            (0, 0, 100, 1, BadShare::NoCap),
            (0, WHOLE, 0, 1, BadShare::Weight),
            (0, WHOLE, 10_001, 1, BadShare::Weight),
            (0x8001, WHOLE, 100, 2, BadShare::Overcommitted { vps: 2 }),
        ] {
            assert_eq!(Share::new(reserve, cap, weight, vps), Err(refusal));
        }
        assert!(Share::new(0x8000, WHOLE, 1, 2).is_ok());
    }
}
