// SPDX-License-Identifier: MIT OR Apache-2.0
//! What guests tell whoever schedules their VPs (TLFS 14.5).

use hypercall::HandleSimple;
use hypercall::calls::NotifyLongSpinWait;
use tlfs::timer::NotifyLongSpinWaitInput;

use super::{Calls, Done};

impl HandleSimple<NotifyLongSpinWait> for Calls<'_> {
    /// A hint for whoever schedules VPs: the host (TLFS 14.5.1).
    fn handle(&mut self, _: &NotifyLongSpinWaitInput) -> Done {
        self.aftermath.spin_wait = true;
        Ok(())
    }
}
