// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug transport (TLFS 4.2.2; TLFS 2.0 20): packets between a guest and a debugger at the host's end of a link.

use hypercall::calls::{PostDebugData, ResetDebugSession, RetrieveDebugData};
use hypercall::{HandleSimple, Stop};
use tlfs::HvStatus;
use tlfs::root::{
    PostDebugDataInput, PostDebugDataOutput, ResetDebugSessionInput, RetrieveDebugDataInput,
    RetrieveDebugDataOutput,
};

use super::{Calls, Condition, Done};

/// The host's end of a partition's debug transport. Called on VPs' threads; it must not block.
pub trait DebugLink: Send + Sync {
    /// Sends a packet of at most 4088 bytes. Gives how many bytes of it were not sent, or why none were: INSUFFICIENT_BUFFERS if it is to be tried again,
    /// OPERATION_DENIED if nobody is there.
    ///
    /// # Errors
    /// A status, which is the call's.
    fn send(&self, packet: &[u8]) -> Result<u32, HvStatus>;

    /// Receives: the rest of a packet that was received in part, or the next one. Gives how many bytes are in `buffer`, and how many more the packet has.
    /// `None` if there is nothing.
    fn receive(&self, buffer: &mut [u8]) -> Option<(u32, u32)>;

    /// Drops what has arrived and was not received.
    fn purge_incoming(&self);
}

/// Options of a post and of a retrieval: keep trying inside the call. It is the guest's to try again here.
const LOOP: u32 = 1;
/// Option of a retrieval: INACTIVE rather than NO_DATA if nothing has arrived.
const TEST_ACTIVITY: u32 = 2;
/// Options of a reset.
const PURGE_INCOMING: u32 = 1;
const PURGE_OUTGOING: u32 = 2;

impl Calls<'_> {
    fn debug_link(&self) -> Result<&dyn DebugLink, HvStatus> {
        self.partition.debug_link().ok_or(HvStatus::FEATURE_UNAVAILABLE)
    }
}

fn within(options: u32, defined: u32) -> Result<(), HvStatus> {
    if options & !defined == 0 { Ok(()) } else { Err(HvStatus::INVALID_PARAMETER) }
}

impl HandleSimple<PostDebugData> for Calls<'_> {
    fn handle(&mut self, input: &PostDebugDataInput) -> Result<PostDebugDataOutput, Stop<Condition>> {
        let link = self.debug_link()?;
        within(input.options, LOOP)?;
        let packet = usize::try_from(input.count).ok().and_then(|count| input.data.get(..count));
        let pending_count = link.send(packet.ok_or(HvStatus::INVALID_PARAMETER)?)?;
        Ok(PostDebugDataOutput { pending_count, reserved: 0 })
    }
}

impl HandleSimple<RetrieveDebugData> for Calls<'_> {
    /// The timeout is the guest's to wait: the call never does.
    fn handle(&mut self, input: &RetrieveDebugDataInput) -> Result<RetrieveDebugDataOutput, Stop<Condition>> {
        let link = self.debug_link()?;
        within(input.options, LOOP | TEST_ACTIVITY)?;
        let mut output = RetrieveDebugDataOutput { retrieved_count: 0, remaining_count: 0, data: [0; 4088] };
        let buffer = usize::try_from(input.count).ok().and_then(|count| output.data.get_mut(..count));
        let buffer = buffer.ok_or(HvStatus::INVALID_PARAMETER)?;
        let nothing = if input.options & TEST_ACTIVITY != 0 { HvStatus::INACTIVE } else { HvStatus::NO_DATA };
        let (retrieved, remaining) = link.receive(buffer).ok_or(nothing)?;
        (output.retrieved_count, output.remaining_count) = (retrieved, remaining);
        Ok(output)
    }
}

impl HandleSimple<ResetDebugSession> for Calls<'_> {
    /// Nothing outgoing is kept: it was sent when it was posted.
    fn handle(&mut self, input: &ResetDebugSessionInput) -> Done {
        let link = self.debug_link()?;
        within(input.options, PURGE_INCOMING | PURGE_OUTGOING)?;
        if input.options == 0 || input.reserved_z != 0 {
            return Err(HvStatus::INVALID_PARAMETER.into());
        }
        if input.options & PURGE_INCOMING != 0 {
            link.purge_incoming();
        }
        Ok(())
    }
}
