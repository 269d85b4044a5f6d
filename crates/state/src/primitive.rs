// SPDX-License-Identifier: MIT OR Apache-2.0
//! What states are made of in the end.

use std::collections::VecDeque;

use crate::{Damaged, Reader, State, Writer};

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl State for $number {
            fn save(&self, writer: &mut Writer) {
                writer.bytes(&self.to_le_bytes());
            }

            fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
                let bytes = reader.bytes(size_of::<Self>())?;
                *self = Self::from_le_bytes(bytes.try_into().map_err(|_| Damaged::Short)?);
                Ok(())
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 u128 i64 i128);

impl State for usize {
    fn save(&self, writer: &mut Writer) {
        (*self as u64).save(writer);
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let value = reader.value::<u64>()?;
        *self = Self::try_from(value).map_err(|_| Damaged::Value { kind: "count", value })?;
        Ok(())
    }
}

impl State for bool {
    fn save(&self, writer: &mut Writer) {
        u8::from(*self).save(writer);
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *self = match reader.value::<u8>()? {
            0 => false,
            1 => true,
            other => return Err(Damaged::Value { kind: "flag", value: other.into() }),
        };
        Ok(())
    }
}

impl<T: State, const N: usize> State for [T; N] {
    fn save(&self, writer: &mut Writer) {
        self.iter().for_each(|item| item.save(writer));
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.iter_mut().try_for_each(|item| item.restore(reader))
    }
}

impl<A: State, B: State> State for (A, B) {
    fn save(&self, writer: &mut Writer) {
        self.0.save(writer);
        self.1.save(writer);
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.0.restore(reader)?;
        self.1.restore(reader)
    }
}

impl<T: State + Default> State for Option<T> {
    fn save(&self, writer: &mut Writer) {
        self.is_some().save(writer);
        if let Some(value) = self {
            value.save(writer);
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *self = if reader.value()? { Some(reader.value()?) } else { None };
        Ok(())
    }
}

macro_rules! sequences {
    ($($sequence:ident),*) => {
        $(impl<T: State + Default> State for $sequence<T> {
            fn save(&self, writer: &mut Writer) {
                writer.length(self.len());
                self.iter().for_each(|item| item.save(writer));
            }

            fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
                let length = reader.length()?;
                *self = (0..length).map(|_| reader.value()).collect::<Result<_, _>>()?;
                Ok(())
            }
        })*
    };
}

sequences!(Vec, VecDeque);
