// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGUSR1 ends a run that has `--core`, for a guest that hangs.

use std::sync::{Arc, Weak};

use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

use super::ending::{End, Ending};
use crate::refusal::Refusal;

/// Lets SIGUSR1 end the run from now on.
pub(crate) fn listen(ending: &Arc<Ending>) -> Result<(), Refusal> {
    let mut signals = Signals::new([SIGUSR1]).map_err(Refusal::Signal)?;
    let ending: Weak<Ending> = Arc::downgrade(ending);
    let wait = move || {
        for _ in signals.forever() {
            if let Some(ending) = ending.upgrade() {
                ending.end(End::Quit);
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(Refusal::Thread)?;
    Ok(())
}
