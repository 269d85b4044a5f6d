// SPDX-License-Identifier: MIT OR Apache-2.0
//! The declarations.

/// Declares what of a structure is state: all its fields, each once. It does not compile if one is missing.
///
/// A field is saved as the [`State`](crate::State) that it is; `as bits` saves one by its `into_bits` and `From`, `as all bits` an array of such, `as via
/// module` one by that module's functions `save` and `restore`, and `as derived` not at all: it is no state, follows from what is, or is its owner's to put back.
///
/// A structure around one value is declared by `state!(Name(_))`.
///
/// ```
/// struct Timer { count: u64, armed: bool, calls: u64 }
/// state::state!(Timer { count, armed, calls as derived });
///
/// let timer = Timer { count: 7, armed: true, calls: 1 };
/// let mut other = Timer { count: 0, armed: false, calls: 9 };
/// state::restore(&mut other, &state::save(&timer)).unwrap();
/// assert_eq!((other.count, other.armed, other.calls), (7, true, 9));
/// ```
#[macro_export]
macro_rules! state {
    ($name:ident(_)) => {
        impl $crate::State for $name {
            fn save(&self, writer: &mut $crate::Writer) {
                $crate::State::save(&self.0, writer);
            }

            fn restore(
                &mut self,
                reader: &mut $crate::Reader<'_>,
            ) -> ::core::result::Result<(), $crate::Damaged> {
                $crate::State::restore(&mut self.0, reader)
            }
        }
    };
    ($name:ty { $($field:ident $(as $($how:ident)+)?),* $(,)? }) => {
        impl $crate::State for $name {
            fn save(&self, writer: &mut $crate::Writer) {
                let Self { $($field),* } = self;
                $($crate::save_field!(writer, $field $($($how)+)?);)*
            }

            fn restore(
                &mut self,
                reader: &mut $crate::Reader<'_>,
            ) -> ::core::result::Result<(), $crate::Damaged> {
                let Self { $($field),* } = self;
                $($crate::restore_field!(reader, $field $($($how)+)?);)*
                Ok(())
            }
        }
    };
}

/// Of [`state!`].
#[doc(hidden)]
#[macro_export]
macro_rules! save_field {
    ($writer:ident, $field:ident) => {
        $crate::State::save($field, $writer)
    };
    ($writer:ident, $field:ident bits) => {
        $crate::State::save(&$field.into_bits(), $writer)
    };
    ($writer:ident, $field:ident all bits) => {
        for item in $field.iter() {
            $crate::State::save(&item.into_bits(), $writer);
        }
    };
    ($writer:ident, $field:ident via $module:ident) => {
        $module::save($field, $writer)
    };
    ($writer:ident, $field:ident derived) => {
        let _ = $field;
    };
}

/// Of [`state!`].
#[doc(hidden)]
#[macro_export]
macro_rules! restore_field {
    ($reader:ident, $field:ident) => {
        $crate::State::restore($field, $reader)?
    };
    ($reader:ident, $field:ident bits) => {
        *$field = $crate::from_bits!($field, $reader)
    };
    ($reader:ident, $field:ident all bits) => {
        for item in $field.iter_mut() {
            *item = $crate::from_bits!(item, $reader);
        }
    };
    ($reader:ident, $field:ident via $module:ident) => {
        $module::restore($field, $reader)?
    };
    ($reader:ident, $field:ident derived) => {
        let _ = $field;
    };
}

/// Of [`state!`]: a value of the same type as `$old`, from its saved bits.
#[doc(hidden)]
#[macro_export]
macro_rules! from_bits {
    ($old:expr, $reader:ident) => {{
        let mut bits = $old.into_bits();
        $crate::State::restore(&mut bits, $reader)?;
        bits.into()
    }};
}

/// Declares an enumeration without fields as state, by the number of each variant.
///
/// ```
/// #[derive(Debug, PartialEq)]
/// enum Light { Red, Green }
/// state::state_enum!(Light { Red = 0, Green = 1 });
///
/// let mut light = Light::Red;
/// state::restore(&mut light, &state::save(&Light::Green)).unwrap();
/// assert_eq!(light, Light::Green);
/// ```
#[macro_export]
macro_rules! state_enum {
    ($name:ident { $($variant:ident = $number:literal),* $(,)? }) => {
        impl $crate::State for $name {
            fn save(&self, writer: &mut $crate::Writer) {
                let number: u8 = match self {
                    $(Self::$variant => $number,)*
                };
                $crate::State::save(&number, writer);
            }

            fn restore(
                &mut self,
                reader: &mut $crate::Reader<'_>,
            ) -> ::core::result::Result<(), $crate::Damaged> {
                *self = match reader.value::<u8>()? {
                    $($number => Self::$variant,)*
                    other => {
                        return Err($crate::Damaged::Value { kind: stringify!($name), value: other.into() });
                    }
                };
                Ok(())
            }
        }
    };
}
