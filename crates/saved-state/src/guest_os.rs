// SPDX-License-Identifier: MIT OR Apache-2.0
//! The identity that a guest operating system gives itself (TLFS 2.6, HV_X64_MSR_GUEST_OS_ID).

use std::fmt;

/// A guest OS identity register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestOsId(pub u64);

impl GuestOsId {
    /// An operating system has written it.
    pub fn is_set(self) -> bool {
        self.0 != 0
    }

    /// Bit 63: the layout for open-source systems.
    pub fn is_open_source(self) -> bool {
        self.0 >> 63 != 0
    }

    /// Bits 15:0.
    pub fn build(self) -> u16 {
        self.0 as u16
    }

    /// Name of the system, as far as there is one for its number.
    pub fn name(self) -> Option<&'static str> {
        if self.is_open_source() {
            return Some(match self.0 >> 56 & 0x7F {
                1 => "Linux",
                2 => "FreeBSD",
                3 => "Xen",
                4 => "Illumos",
                _ => return None,
            });
        }
        Some(match (self.0 >> 48 & 0x7FFF, self.0 >> 40 & 0xFF) {
            (1, 1) => "MS-DOS",
            (1, 2) => "Windows 3.x",
            (1, 3) => "Windows 9x",
            (1, 4) => "Windows NT",
            (1, 5) => "Windows CE",
            (2, _) => "HPE",
            (0x200, _) => "LANCOM",
            _ => return None,
        })
    }
}

impl fmt::Display for GuestOsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_set() {
            return f.write_str("none");
        }
        f.write_str(self.name().unwrap_or("unknown"))?;
        let byte = |low: u32| self.0 >> low & 0xFF;
        if self.is_open_source() {
            // Linux writes its version code there.
            let version = self.0 >> 16 & 0xFFFF_FFFF;
            write!(f, " {}.{}.{}", version >> 16, version >> 8 & 0xFF, version & 0xFF)?;
            if byte(48) != 0 {
                write!(f, ", flavour {}", byte(48))?;
            }
        } else {
            write!(f, " {}.{}", byte(32), byte(24))?;
            if byte(16) != 0 {
                write!(f, " service pack {}", byte(16))?;
            }
        }
        write!(f, ", build {}", self.build())
    }
}

#[cfg(test)]
mod tests {
    use super::GuestOsId;

    #[test]
    fn identities_in_words() {
        for (id, words) in [
            (0, "none"),
            (0x8100_0006_0105_0000, "Linux 6.1.5, build 0"),
            (0x8101_0006_0105_0007, "Linux 6.1.5, flavour 1, build 7"),
            (0x0001_040A_0000_4A61, "Windows NT 10.0, build 19041"),
            (0x0001_0406_0101_1DB1, "Windows NT 6.1 service pack 1, build 7601"),
            (0x0002_0000_0000_0001, "HPE 0.0, build 1"),
            (0x8200_000D_0000_0000, "FreeBSD 13.0.0, build 0"),
            (0x7FFF_0000_0000_0000, "unknown 0.0, build 0"),
        ] {
            assert_eq!(GuestOsId(id).to_string(), words);
        }
    }
}
