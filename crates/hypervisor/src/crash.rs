// SPDX-License-Identifier: MIT OR Apache-2.0
//! Crash registers (TLFS 4.3): how a guest that goes down says why.

use std::sync::Mutex;

use memory::{Rights, Space, ViewId};
use tlfs::msr::CrashCtl;

use crate::sync::lock;

/// Longest message, in bytes.
const MOST_MESSAGE: u64 = 4096;

/// What a guest said when it crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashReport {
    /// P0 to P4, whose meaning is the guest's.
    pub parameters: [u64; 5],
    /// The message that P3 and P4 point to, if the guest said that they do and it can be read.
    pub message: Option<Vec<u8>>,
}

/// The crash registers of a partition.
#[derive(Default)]
pub(crate) struct CrashRegisters(pub(crate) Mutex<[u64; 5]>);

impl CrashRegisters {
    /// P0 to P4.
    pub(crate) fn parameter(&self, index: u32) -> u64 {
        lock(&self.0)[index as usize]
    }

    pub(crate) fn set_parameter(&self, index: u32, value: u64) {
        lock(&self.0)[index as usize] = value;
    }

    /// What reading CRASH_CTL gives: the actions there are.
    pub(crate) const fn actions() -> CrashCtl {
        CrashCtl::new().with_crash_notify(true).with_crash_message(true)
    }

    /// Writing CRASH_CTL: a report if the guest asks for one. A message alone is nothing (TLFS 4.3.1.1).
    pub(crate) fn control(&self, value: CrashCtl, space: &Space, view: ViewId) -> Option<CrashReport> {
        if !value.crash_notify() {
            return None;
        }
        let parameters = *lock(&self.0);
        let message = value.crash_message().then(|| {
            let mut bytes = vec![0; parameters[4].min(MOST_MESSAGE) as usize];
            space.read(view, parameters[3], &mut bytes, Rights::READ).ok().map(|()| bytes)
        });
        Some(CrashReport { parameters, message: message.flatten() })
    }

    pub(crate) fn reset(&self) {
        *lock(&self.0) = [0; 5];
    }
}
