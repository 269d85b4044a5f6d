// SPDX-License-Identifier: MIT OR Apache-2.0
//! CLC, STC, CMC, CLD, STD, LAHF, SAHF.

use super::moves::bodies;
use super::path::{Body, Path};
use super::register::{set, whole};
use crate::block::Op;
use crate::cpu::{Cpu, Flags};

bodies! {
    /// CLC
    Clc<>(cpu, op, P) {
        cpu.flags.0 &= !Flags::CF;
        Ok(())
    }
    /// STC
    Stc<>(cpu, op, P) {
        cpu.flags.0 |= Flags::CF;
        Ok(())
    }
    /// CMC
    Cmc<>(cpu, op, P) {
        cpu.flags.0 ^= Flags::CF;
        Ok(())
    }
    /// CLD
    Cld<>(cpu, op, P) {
        cpu.set_direction(false);
        Ok(())
    }
    /// STD
    Std<>(cpu, op, P) {
        cpu.set_direction(true);
        Ok(())
    }
    /// LAHF
    Lahf<>(cpu, op, P) {
        let flags = cpu.flags.to_rflags() & 0xD5 | 2;
        set::<1>(cpu, 1, flags);
        Ok(())
    }
    /// SAHF
    Sahf<>(cpu, op, P) {
        let ah = whole(cpu, 0) >> 8 & 0xD5;
        let overflow = u64::from(cpu.flags.0 & Flags::OF) << 11;
        cpu.flags = Flags::from_rflags(ah | overflow);
        Ok(())
    }
}
