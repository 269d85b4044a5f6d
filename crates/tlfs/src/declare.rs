// SPDX-License-Identifier: MIT OR Apache-2.0
//! The macros every table of this crate is declared with. What they declare is also listed, under the name the
//! specification gives it, so that a program can show it and a test can compare it with the inventory.

/// A number of the interface together with the two names it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// Name of the constant in this crate, for example `INVALID_PARAMETER`.
    pub constant: &'static str,
    /// Name in the specification, for example `HV_STATUS_INVALID_PARAMETER`.
    pub name: &'static str,
    /// The value itself.
    pub value: T,
    /// What it stands for, in a sentence, with the section that says so.
    pub about: &'static str,
}

/// One field of a bit-field type: the bits `low ..= low + width - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name of the accessor in this crate; empty for reserved bits without an accessor.
    pub name: &'static str,
    /// Number of the lowest bit, 0 to 63.
    pub low: u8,
    /// Number of bits, 1 to 64.
    pub width: u8,
    /// What it says, in a sentence; empty for reserved bits without an accessor.
    pub about: &'static str,
}

impl Field {
    /// Turns names, widths and sentences, listed from bit 0 upwards, into fields with positions. `__` names reserved bits.
    pub(crate) const fn lay_out<const N: usize>(fields: [(&'static str, u8, &'static str); N]) -> [Field; N] {
        let mut laid_out = [Field { name: "", low: 0, width: 0, about: "" }; N];
        let (mut index, mut low) = (0, 0);
        while index < N {
            let (name, width, about) = fields[index];
            let reserved = matches!(name.as_bytes(), [b'_', b'_', ..]);
            laid_out[index] = Field { name: if reserved { "" } else { name }, low, width, about };
            low += width;
            index += 1;
        }
        laid_out
    }

    /// The field's bits, set in place.
    pub const fn mask(&self) -> u64 {
        (u64::MAX >> (64 - self.width)) << self.low
    }
}

/// Declares a number type whose values are named but not closed: a guest may pass any value, and that is kept.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $Type:ident($Repr:ty);
        $( $(#[doc = $doc:literal])+ $CONSTANT:ident = $value:literal, $name:literal; )+
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)]
        #[repr(transparent)]
        pub struct $Type(pub $Repr);

        impl $Type {
            $( $(#[doc = $doc])+ pub const $CONSTANT: Self = Self($value); )+

            /// Every value that has a name.
            pub const ALL: &'static [$crate::Named<Self>] = &[
                $( $crate::Named {
                    constant: stringify!($CONSTANT),
                    name: $name,
                    value: Self::$CONSTANT,
                    about: concat!($($doc),+).trim_ascii(),
                }, )+
            ];

            /// The specification's name of this value, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $( Self::$CONSTANT => Some($name), )+
                    _ => None,
                }
            }

            /// The value as a plain number.
            pub const fn into_bits(self) -> $Repr {
                self.0
            }

            /// Takes any number, named or not.
            pub const fn from_bits(bits: $Repr) -> Self {
                Self(bits)
            }
        }

        impl core::fmt::Debug for $Type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, concat!(stringify!($Type), "({:#x})"), self.0),
                }
            }
        }
    };
}

/// Declares a bit-field type from bit 0 upwards. Bits named `__` are reserved: kept, and without an accessor.
macro_rules! bit_fields {
    (
        $(#[$meta:meta])*
        pub struct $Type:ident($Repr:ident);
        $( $(#[doc = $doc:literal])* $field:ident: $FieldType:ident = $width:tt; )+
    ) => {
        $(#[$meta])*
        #[bitfield_struct::bitfield($Repr)]
        #[derive(PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::KnownLayout, zerocopy::Immutable)]
        pub struct $Type {
            $( $(#[doc = $doc])* #[bits($width)] pub $field: $FieldType, )+
        }

        impl $Type {
            /// Every field, from bit 0 upwards.
            pub const FIELDS: &'static [$crate::Field] =
                &$crate::Field::lay_out([$( (stringify!($field), $width, concat!($($doc),*).trim_ascii()) ),+]);
        }
    };
}

/// A structure as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Name of the structure in this crate.
    pub name: &'static str,
    /// Size in bytes; of a variable structure, the fixed part.
    pub size: usize,
    /// Its members by offset, without most of the reserved ones.
    pub members: &'static [Member],
}

/// A member of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name in this crate.
    pub name: &'static str,
    /// Offset in bytes.
    pub offset: usize,
}

/// Asserts, at compile time, the size of a structure and the offsets of its members in bytes, and lists them.
macro_rules! layout {
    ($Type:ident: $size:literal $(, $member:ident @ $offset:literal)* $(,)?) => {
        const _: () = {
            assert!(size_of::<$Type>() == $size);
            $( assert!(core::mem::offset_of!($Type, $member) == $offset); )*
        };

        impl $Type {
            /// Size and members.
            pub const LAYOUT: $crate::Layout = $crate::Layout {
                name: stringify!($Type),
                size: $size,
                members: &[$( $crate::Member { name: stringify!($member), offset: $offset }, )*],
            };
        }
    };
}

pub(crate) use {bit_fields, layout, open_enum};
