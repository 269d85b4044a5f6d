// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of the VMBus protocol, as far as a host without devices needs them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(transparent)]
pub(crate) struct Kind(u32);

impl Kind {
    pub(crate) const REQUEST_OFFERS: Self = Self(3);
    pub(crate) const ALL_OFFERS_DELIVERED: Self = Self(4);
    pub(crate) const INITIATE_CONTACT: Self = Self(14);
    pub(crate) const VERSION_RESPONSE: Self = Self(15);
    pub(crate) const UNLOAD: Self = Self(16);
    pub(crate) const UNLOAD_RESPONSE: Self = Self(17);
}

/// What every message begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    padding: u32,
}

impl Header {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self { kind, padding: 0 }
    }
}

/// A version of the protocol: major in the upper half, minor in the lower.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(transparent)]
pub(crate) struct Version(u32);

impl Version {
    pub(crate) const V5_0: Self = Self::new(5, 0);
    /// Every version that this host speaks. They differ in what channels can do, and here are none.
    const SPOKEN: [Self; 8] = [
        Self::new(2, 4),
        Self::new(3, 0),
        Self::new(4, 0),
        Self::new(4, 1),
        Self::V5_0,
        Self::new(5, 1),
        Self::new(5, 2),
        Self::new(5, 3),
    ];

    pub(crate) const fn new(major: u16, minor: u16) -> Self {
        Self((major as u32) << 16 | minor as u32)
    }

    pub(crate) fn is_spoken(self) -> bool {
        Self::SPOKEN.contains(&self)
    }
}

/// A guest asks for a version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct InitiateContact {
    pub(crate) header: Header,
    pub(crate) version: Version,
    /// VP that answers go to.
    pub(crate) target_vp: u32,
    /// SINT that answers go to, from protocol 5.0 on. Before, these eight bytes are the address of a page of interrupt flags.
    pub(crate) sint: u8,
    pub(crate) vtl: u8,
    pub(crate) reserved: [u8; 2],
    pub(crate) features: u32,
    /// Addresses of two monitor pages (TLFS 11.10.9), which only channels use.
    pub(crate) monitor_pages: [u64; 2],
}

/// The host's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub(crate) struct VersionResponse {
    header: Header,
    version_supported: u8,
    /// 0: the connection was made.
    connection_state: u8,
    padding: u16,
    /// Connection that the guest posts to from now on, from protocol 5.0 on.
    connection: u32,
}

impl VersionResponse {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            header: Header::new(Kind::VERSION_RESPONSE),
            version_supported: version.is_spoken().into(),
            connection_state: 0,
            padding: 0,
            connection: if version >= Version::V5_0 { 4 } else { 1 },
        }
    }
}

const _: () = assert!(
    size_of::<Header>() == 8 && size_of::<InitiateContact>() == 40 && size_of::<VersionResponse>() == 16
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gets_the_newest_version_that_both_speak() {
        // What Linux 6.12 tries, in its order.
        let tried =
            [(6, 0), (5, 3), (5, 2), (5, 1), (5, 0), (4, 1)].map(|(major, minor)| Version::new(major, minor));
        let agreed = tried.into_iter().find(|version| VersionResponse::new(*version).version_supported == 1);
        assert_eq!(agreed, Some(Version::new(5, 3)));
        assert!(!Version::new(1, 0).is_spoken() && !Version::new(0xFFFF, 0xFFFF).is_spoken());
    }

    #[test]
    fn answers_have_the_bytes_that_guests_expect() {
        let response = VersionResponse::new(Version::new(5, 3));
        assert_eq!(response.as_bytes(), [15, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(VersionResponse::new(Version::new(6, 0)).as_bytes()[8], 0);
        assert_eq!(VersionResponse::new(Version::new(4, 0)).as_bytes()[12], 1);
    }
}
