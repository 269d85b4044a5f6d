// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages and events through connections (TLFS 11.11).

use hypercall::HandleSimple;
use hypercall::calls::{PostMessage, SignalEvent};
use tlfs::HvStatus;
use tlfs::synic::{PostMessageInput, SignalEventInput};

use super::{Calls, Done};

/// The status as the parser wants it.
fn done(status: HvStatus) -> Done {
    if status == HvStatus::SUCCESS { Ok(()) } else { Err(status.into()) }
}

impl HandleSimple<PostMessage> for Calls<'_> {
    fn handle(&mut self, input: &PostMessageInput) -> Done {
        let payload = usize::try_from(input.payload_size).ok().and_then(|size| input.payload.get(..size));
        let payload = payload.ok_or(HvStatus::INVALID_PARAMETER)?;
        done(self.partition.post_message(input.connection_id, input.message_type, payload))
    }
}

impl HandleSimple<SignalEvent> for Calls<'_> {
    fn handle(&mut self, input: &SignalEventInput) -> Done {
        if input.reserved_z != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        done(self.partition.signal_event(input.connection_id, input.flag_number))
    }
}
