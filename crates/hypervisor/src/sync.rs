// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locking.
//!
//! The order of locks in this room, outermost first. A thread that holds one may take only those after it:
//!
//! 1. whatever a host program or the machine holds when it calls in;
//! 2. a partition's synthetic state (`PartitionState`), or what its phases have counted;
//! 3. the number of suspended VPs;
//! 4. the tables of ports and connections, for reading;
//! 5. one VP's shared state (`VpState`), never two VPs' at once;
//! 6. what a monitored connection remembers of its triggers;
//! 7. what `memory` takes inside.
//!
//! Handlers of the host (ports, interrupt controller, MSRs) are called with none of them held. A [`memory::Space`] is changed
//! with none of 3, 4 and 5 held.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. A thread that panicked while it held the lock has ended its VP; the others go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
