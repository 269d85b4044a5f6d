// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who answers at which port or address, and how an access finds its device.
//!
//! Devices claim ranges. An access that lies wholly in one claim and is no wider than the claim's widest access goes
//! to the device as it is; any other is halved until it does, low half first, as a bus bridge does. Bytes that nobody
//! claims read as ones, and writes to them are lost.

use std::ops::RangeInclusive;

use crate::ExitRequest;
use crate::time::Time;

/// The width of a port access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessSize {
    /// 8 bits.
    Byte = 1,
    /// 16 bits.
    Word = 2,
    /// 32 bits.
    Dword = 4,
}

impl AccessSize {
    /// The size of an access of `bytes` bytes; `None` unless that is 1, 2 or 4.
    pub const fn from_bytes(bytes: u8) -> Option<Self> {
        match bytes {
            1 => Some(Self::Byte),
            2 => Some(Self::Word),
            4 => Some(Self::Dword),
            _ => None,
        }
    }

    /// The width in bytes.
    pub const fn bytes(self) -> u16 {
        self as u16
    }

    /// All ones in this width: what an access to nothing reads.
    pub const fn ones(self) -> u32 {
        u32::MAX >> (32 - 8 * self as u32)
    }

    const fn half(self) -> Option<Self> {
        match self {
            Self::Byte => None,
            Self::Word => Some(Self::Byte),
            Self::Dword => Some(Self::Word),
        }
    }
}

/// A device that answers at I/O ports.
pub trait PortDevice: Send {
    /// Reads `size` at `port`. Bits above the width are ignored.
    fn read(&mut self, now: Time, port: u16, size: AccessSize) -> u32;

    /// Writes `value`, which has no bits above the width, at `port`. May ask for the run to end.
    fn write(&mut self, now: Time, port: u16, size: AccessSize, value: u32) -> Option<ExitRequest>;
}

/// A device that answers at guest-physical addresses.
pub trait MmioDevice: Send {
    /// Reads `data.len()` bytes at `gpa`.
    fn read(&mut self, now: Time, gpa: u64, data: &mut [u8]);

    /// Writes `data` at `gpa`.
    fn write(&mut self, now: Time, gpa: u64, data: &[u8]);
}

/// Two devices claim the same address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{:#x}-{:#x} cannot be claimed: {:#x}-{:#x} is taken by another device; choose a free range",
    wanted.start(), wanted.end(), taken.start(), taken.end()
)]
pub struct Overlap {
    /// The range that was asked for.
    pub wanted: RangeInclusive<u64>,
    /// The claim in its way.
    pub taken: RangeInclusive<u64>,
}

/// Ranges of addresses and who owns them. `T` names the owner.
#[derive(Clone, Debug)]
pub struct AddressMap<T> {
    /// Sorted and disjoint.
    claims: Vec<(RangeInclusive<u64>, T)>,
}

impl<T> Default for AddressMap<T> {
    fn default() -> Self {
        Self { claims: Vec::new() }
    }
}

impl<T> AddressMap<T> {
    /// Gives `range`, which is not empty, to `owner`.
    ///
    /// # Errors
    /// [`Overlap`] if another claim has a part of it.
    pub fn claim(&mut self, range: RangeInclusive<u64>, owner: T) -> Result<(), Overlap> {
        debug_assert!(!range.is_empty());
        let at = self.claims.partition_point(|(claim, _)| claim.end() < range.start());
        match self.claims.get(at) {
            Some((taken, _)) if taken.start() <= range.end() => {
                Err(Overlap { wanted: range, taken: taken.clone() })
            }
            _ => {
                self.claims.insert(at, (range, owner));
                Ok(())
            }
        }
    }

    /// The claim that `address` lies in.
    pub fn find(&self, address: u64) -> Option<(&RangeInclusive<u64>, &T)> {
        let at = self.claims.partition_point(|(claim, _)| *claim.end() < address);
        let (range, owner) = self.claims.get(at)?;
        range.contains(&address).then_some((range, owner))
    }
}

#[derive(Clone, Debug)]
struct PortClaim<T> {
    owner: T,
    widest: AccessSize,
}

/// The port space: claims, and the way an access is split among them.
#[derive(Clone, Debug)]
pub struct PortMap<T> {
    map: AddressMap<PortClaim<T>>,
}

impl<T> Default for PortMap<T> {
    fn default() -> Self {
        Self { map: AddressMap::default() }
    }
}

/// How one access, or one part of it, is served.
enum Route<T> {
    Whole(T),
    Halves(AccessSize),
    Nobody,
}

impl<T: Copy> PortMap<T> {
    /// Gives `ports` to `owner`, which takes accesses up to `widest` as a whole.
    ///
    /// # Errors
    /// [`Overlap`] if another claim has a part of it.
    pub fn claim(&mut self, ports: RangeInclusive<u16>, widest: AccessSize, owner: T) -> Result<(), Overlap> {
        let range = u64::from(*ports.start())..=u64::from(*ports.end());
        self.map.claim(range, PortClaim { owner, widest })
    }

    fn route(&self, port: u16, size: AccessSize) -> Route<T> {
        let end = u64::from(port) + u64::from(size.bytes()) - 1;
        match (self.map.find(u64::from(port)), size.half()) {
            (Some((range, claim)), _) if range.contains(&end) && size <= claim.widest => {
                Route::Whole(claim.owner)
            }
            (_, Some(half)) => Route::Halves(half),
            (_, None) => Route::Nobody,
        }
    }

    /// Reads through `device`, which is called once for each part that has an owner.
    pub fn read(
        &self,
        port: u16,
        size: AccessSize,
        device: &mut impl FnMut(T, u16, AccessSize) -> u32,
    ) -> u32 {
        match self.route(port, size) {
            Route::Whole(owner) => device(owner, port, size) & size.ones(),
            Route::Nobody => size.ones(),
            Route::Halves(half) => {
                let low = self.read(port, half, device);
                // Beyond port 0xFFFF is nothing.
                let high = match port.checked_add(half.bytes()) {
                    Some(next) => self.read(next, half, device),
                    None => half.ones(),
                };
                low | high << (8 * half.bytes())
            }
        }
    }

    /// Writes through `device`, which is called once for each part that has an owner, low part first.
    pub fn write(
        &self,
        port: u16,
        size: AccessSize,
        value: u32,
        device: &mut impl FnMut(T, u16, AccessSize, u32),
    ) {
        match self.route(port, size) {
            Route::Whole(owner) => device(owner, port, size, value & size.ones()),
            Route::Nobody => {}
            Route::Halves(half) => {
                self.write(port, half, value, device);
                if let Some(next) = port.checked_add(half.bytes()) {
                    self.write(next, half, value >> (8 * half.bytes()), device);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> PortMap<char> {
        let mut map = PortMap::default();
        map.claim(0x10..=0x13, AccessSize::Byte, 'b').unwrap();
        map.claim(0x14..=0x17, AccessSize::Dword, 'd').unwrap();
        map.claim(0xFFFF..=0xFFFF, AccessSize::Byte, 'z').unwrap();
        map
    }

    fn write_parts(port: u16, size: AccessSize, value: u32) -> Vec<(char, u16, u16, u32)> {
        let mut parts = Vec::new();
        map().write(port, size, value, &mut |owner, port, size, value| {
            parts.push((owner, port, size.bytes(), value));
        });
        parts
    }

    #[test]
    fn an_access_goes_whole_to_a_device_that_takes_its_width() {
        assert_eq!(write_parts(0x14, AccessSize::Dword, 0x1234_5678), [('d', 0x14, 4, 0x1234_5678)]);
        assert_eq!(write_parts(0x16, AccessSize::Word, 0xABCD), [('d', 0x16, 2, 0xABCD)]);
    }

    #[test]
    fn a_wide_access_to_a_byte_device_becomes_bytes_low_first() {
        let parts = write_parts(0x10, AccessSize::Dword, 0x0403_0201);
        assert_eq!(parts, [('b', 0x10, 1, 1), ('b', 0x11, 1, 2), ('b', 0x12, 1, 3), ('b', 0x13, 1, 4)]);
    }

    #[test]
    fn an_access_across_a_border_is_shared_between_devices() {
        let parts = write_parts(0x12, AccessSize::Dword, 0x0403_0201);
        assert_eq!(parts, [('b', 0x12, 1, 1), ('b', 0x13, 1, 2), ('d', 0x14, 2, 0x0403)]);
    }

    #[test]
    fn bytes_without_owner_read_as_ones() {
        let read = |port, size| map().read(port, size, &mut |_, _, _| 0);
        assert_eq!(read(0x20, AccessSize::Dword), 0xFFFF_FFFF);
        assert_eq!(read(0x20, AccessSize::Word), 0xFFFF);
        assert_eq!(read(0x0E, AccessSize::Dword), 0x0000_FFFF);
        assert_eq!(read(0xFFFF, AccessSize::Word), 0xFF00);
        assert!(write_parts(0x18, AccessSize::Dword, 7).is_empty());
    }

    #[test]
    fn a_device_cannot_return_more_than_the_width() {
        assert_eq!(map().read(0x10, AccessSize::Byte, &mut |_, _, _| 0xFFFF_FF12), 0x12);
    }

    #[test]
    fn claims_may_touch_but_not_overlap() {
        let mut map = map();
        let error = map.claim(0x17..=0x20, AccessSize::Byte, 'x').unwrap_err();
        assert_eq!(error.taken, 0x14..=0x17);
        assert!(error.to_string().contains("0x17-0x20"), "{error}");
        map.claim(0x18..=0x20, AccessSize::Byte, 'x').unwrap();
        map.claim(0x0..=0xF, AccessSize::Byte, 'y').unwrap();
    }
}
