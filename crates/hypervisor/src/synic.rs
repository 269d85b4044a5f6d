// SPDX-License-Identifier: MIT OR Apache-2.0
//! The synthetic interrupt controller of a VP (TLFS 11): message slots and queues, event flags, SINTs.
//!
//! It decides what is delivered and which SINT then interrupts; raising the vector is the local APIC's business, which is why the functions
//! here answer with a [`SintInterrupt`].

use std::collections::VecDeque;
use std::sync::Arc;

use state::{Damaged, Reader, State, Writer};

use tlfs::msr::{OverlayPage, Scontrol, Sint};
use tlfs::synic::{
    EVENT_FLAGS_BYTE_COUNT, MESSAGE_MAX_PAYLOAD_BYTE_COUNT, MESSAGE_SIZE, MessageType, SINT_COUNT,
};

use crate::overlay::Page;
use crate::port::Buffers;

/// Number of a synthetic interrupt source: 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SintIndex(u8);

impl SintIndex {
    /// The source with this number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < SINT_COUNT as u8 { Some(Self(number)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    fn index(self) -> usize {
        self.0.into()
    }
}

/// A message on its way to a slot.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) message_type: MessageType,
    /// Port, partition or 0.
    pub(crate) origination_id: u64,
    pub(crate) payload_size: u8,
    pub(crate) payload: [u8; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
}

impl Message {
    /// A message with this payload, of which only the first 240 bytes fit.
    pub(crate) fn new(message_type: MessageType, origination_id: u64, payload: &[u8]) -> Self {
        let size = payload.len().min(MESSAGE_MAX_PAYLOAD_BYTE_COUNT);
        let mut message = Self {
            message_type,
            origination_id,
            payload_size: size as u8,
            payload: [0; MESSAGE_MAX_PAYLOAD_BYTE_COUNT],
        };
        message.payload[..size].copy_from_slice(&payload[..size]);
        message
    }
}

/// Whose buffer a queued message is in (TLFS 11.3). The buffer is free again when the message is in its slot.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    /// One of a port's.
    Port(Arc<Buffers>),
    /// The one of this synthetic timer.
    Timer(u8),
}

#[derive(Debug)]
struct Queued {
    message: Message,
    buffer: Buffer,
}

impl Default for Queued {
    fn default() -> Self {
        Self { message: Message::new(MessageType::NONE, 0, &[]), buffer: Buffer::Timer(0) }
    }
}

state::state!(Queued { message, buffer });

impl State for Message {
    fn save(&self, writer: &mut Writer) {
        let Self { message_type, origination_id, payload_size, payload } = self;
        (message_type.0, *origination_id).save(writer);
        (*payload_size, *payload).save(writer);
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let message_type = MessageType(reader.value()?);
        let (origination_id, size) = (reader.value()?, reader.value::<u8>()?);
        let payload = reader.bytes(MESSAGE_MAX_PAYLOAD_BYTE_COUNT)?;
        let payload =
            payload.get(..size.into()).ok_or(Damaged::Value { kind: "payload size", value: size.into() })?;
        *self = Self::new(message_type, origination_id, payload);
        Ok(())
    }
}

impl State for Buffer {
    fn save(&self, writer: &mut Writer) {
        match self {
            // Which port it is the message says.
            Self::Port(_) => 0u8.save(writer),
            Self::Timer(timer) => (1u8, *timer).save(writer),
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *self = match reader.value::<u8>()? {
            0 => Self::Port(Arc::default()),
            1 => Self::Timer(reader.value()?),
            other => return Err(Damaged::Value { kind: "message buffer", value: other.into() }),
        };
        Ok(())
    }
}

/// What a SINT does when something was delivered to it: this vector is to be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SintInterrupt {
    pub(crate) vector: u8,
    pub(crate) auto_eoi: bool,
}

/// A required part of the SynIC is off (HV_STATUS_INVALID_SYNIC_STATE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidSynicState;

/// Offset in a message slot of the word that holds payload size (byte 0) and flags (byte 1), and its flag MessagePending.
const SIZE_AND_FLAGS: u64 = 4;
const MESSAGE_PENDING: u32 = 1 << 8;
/// Where a timer message's DeliveryTime lies in its payload.
const TIMER_DELIVERY_TIME: usize = 16;

/// What has happened in a SynIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SynicCounts {
    /// Messages that reached a slot.
    pub(crate) messages: u64,
    /// Event flags that were set.
    pub(crate) event_flags: u64,
    /// Interrupts that sources requested.
    pub(crate) interrupts: u64,
}

/// A SynIC.
#[derive(Debug)]
pub(crate) struct Synic {
    scontrol: Scontrol,
    siefp: OverlayPage,
    simp: OverlayPage,
    sints: [Sint; SINT_COUNT],
    message_page: Page,
    event_flags_page: Page,
    queues: [VecDeque<Queued>; SINT_COUNT],
    queued: usize,
    counts: SynicCounts,
}

state::state!(Synic {
    scontrol as bits,
    siefp as bits,
    simp as bits,
    sints as all bits,
    message_page,
    event_flags_page,
    queues,
    queued,
    counts as derived,
});

impl Synic {
    /// A SynIC after creation or reset: disabled, all SINTs masked, pages zero, queues empty (TLFS 11.3.5, 11.8, 11.9).
    pub(crate) fn new(message_page: Page, event_flags_page: Page) -> Self {
        message_page.clear();
        event_flags_page.clear();
        Self {
            scontrol: Scontrol::new(),
            siefp: OverlayPage::new(),
            simp: OverlayPage::new(),
            sints: [Sint::RESET; SINT_COUNT],
            message_page,
            event_flags_page,
            queues: Default::default(),
            queued: 0,
            counts: SynicCounts::default(),
        }
    }

    /// Puts queued messages back into buffers of their ports, which `find` gives by id, after the queues were restored.
    pub(crate) fn take_buffers(&mut self, find: impl Fn(u64) -> Option<Arc<Buffers>>) {
        for Queued { message, buffer } in self.queues.iter_mut().flatten() {
            if let Buffer::Port(buffers) = buffer {
                if let Some(found) = find(message.origination_id) {
                    *buffers = found;
                }
                // A port that is gone has nobody who counts.
                let _ = buffers.acquire();
            }
        }
    }

    /// As after reset, in the same pages.
    pub(crate) fn reset(&mut self) {
        for Queued { buffer, .. } in self.queues.iter_mut().flat_map(|queue| queue.drain(..)) {
            if let Buffer::Port(buffers) = buffer {
                buffers.release();
            }
        }
        let counts = self.counts;
        *self = Self::new(self.message_page.clone(), self.event_flags_page.clone());
        self.counts = counts;
    }

    pub(crate) fn scontrol(&self) -> Scontrol {
        self.scontrol
    }

    pub(crate) fn set_scontrol(&mut self, value: Scontrol) {
        self.scontrol = value;
    }

    pub(crate) fn siefp(&self) -> OverlayPage {
        self.siefp
    }

    pub(crate) fn set_siefp(&mut self, value: OverlayPage) {
        self.siefp = value;
    }

    pub(crate) fn simp(&self) -> OverlayPage {
        self.simp
    }

    pub(crate) fn set_simp(&mut self, value: OverlayPage) {
        self.simp = value;
    }

    pub(crate) fn sint(&self, index: SintIndex) -> Sint {
        self.sints[index.index()]
    }

    pub(crate) fn set_sint(&mut self, index: SintIndex, value: Sint) {
        self.sints[index.index()] = value;
    }

    /// Whether messages can be directed at this VP (TLFS 11.4).
    pub(crate) fn takes_messages(&self) -> bool {
        self.scontrol.enable() && self.simp.enable()
    }

    /// What has happened since creation.
    pub(crate) fn counts(&self) -> SynicCounts {
        self.counts
    }

    /// After a source's interrupt was requested.
    pub(crate) fn count_interrupt(&mut self) {
        self.counts.interrupts += 1;
    }

    /// Messages that wait for a slot.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// The interrupt that this source raises when it is triggered, if it may (TLFS 11.8.5).
    pub(crate) fn interrupt(&self, index: SintIndex) -> Option<SintInterrupt> {
        let sint = self.sint(index);
        (!sint.masked() && !sint.polling())
            .then(|| SintInterrupt { vector: sint.vector(), auto_eoi: sint.auto_eoi() })
    }

    /// Puts a message at the end of a source's queue, and delivers what can be delivered.
    pub(crate) fn post(
        &mut self,
        index: SintIndex,
        message: Message,
        buffer: Buffer,
        reference_time: u64,
    ) -> Delivered {
        self.queues[index.index()].push_back(Queued { message, buffer });
        self.queued += 1;
        self.deliver(index, reference_time)
    }

    /// Moves the first message of a source's queue into its slot, if the slot is free (TLFS 11.4); if more wait, or it is not free, the
    /// message in the slot says so.
    pub(crate) fn deliver(&mut self, index: SintIndex, reference_time: u64) -> Delivered {
        let nothing = Delivered { message: false, timer: None, interrupt: None };
        let queue = &mut self.queues[index.index()];
        if queue.is_empty() || !self.scontrol.enable() || !self.simp.enable() {
            return nothing;
        }
        let slot = u64::from(index.0) * MESSAGE_SIZE as u64;
        if self.message_page.read_u32(slot) != MessageType::NONE.0 {
            self.message_page.change_u32(slot + SIZE_AND_FLAGS, MESSAGE_PENDING, 0);
            // The guest may have freed the slot before the flag was set, and then it has not seen the flag: look again.
            if self.message_page.read_u32(slot) != MessageType::NONE.0 {
                return nothing;
            }
        }
        let Some(Queued { mut message, buffer }) = queue.pop_front() else { return nothing };
        self.queued -= 1;
        self.counts.messages += 1;
        let more = !queue.is_empty();
        let timer = match buffer {
            Buffer::Port(buffers) => {
                buffers.release();
                None
            }
            Buffer::Timer(timer) => {
                message.payload[TIMER_DELIVERY_TIME..TIMER_DELIVERY_TIME + 8]
                    .copy_from_slice(&reference_time.to_le_bytes());
                Some(timer)
            }
        };
        self.write_slot(slot, &message, more);
        Delivered { message: true, timer, interrupt: self.interrupt(index) }
    }

    /// Writes a message into a free slot. The type comes last: it is what says that the message is there.
    fn write_slot(&self, slot: u64, message: &Message, more: bool) {
        let page = &self.message_page;
        page.write(slot + 16, &message.payload[..message.payload_size.into()]);
        page.write_u64(slot + 8, message.origination_id);
        let pending = if more { MESSAGE_PENDING } else { 0 };
        page.write_u32(slot + SIZE_AND_FLAGS, u32::from(message.payload_size) | pending);
        page.write_u32(slot, message.message_type.0);
    }

    /// Panics if the queues contradict their number or themselves. Gives the timers of which a message waits, as bits.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn check(&self) -> u8 {
        assert_eq!(self.queued, self.queues.iter().map(VecDeque::len).sum(), "messages that wait");
        self.queues.iter().flatten().fold(0, |timers, queued| match queued.buffer {
            Buffer::Port(_) => timers,
            Buffer::Timer(timer) => {
                assert!(timers >> timer & 1 == 0, "two messages in the one buffer of timer {timer}");
                timers | 1 << timer
            }
        })
    }

    /// Takes the messages that are in these buffers out of a source's queue. A message that is in the slot stays there.
    pub(crate) fn discard(&mut self, index: SintIndex, buffers: &Arc<Buffers>) {
        let queue = &mut self.queues[index.index()];
        let before = queue.len();
        queue.retain(|queued| !matches!(&queued.buffer, Buffer::Port(owner) if Arc::ptr_eq(owner, buffers)));
        let discarded = before - queue.len();
        self.queued -= discarded;
        (0..discarded).for_each(|_| buffers.release());
    }

    /// Sets an event flag, which must be below 2048 (TLFS 11.5.1). The interrupt comes only if the flag was clear.
    pub(crate) fn signal(
        &mut self,
        index: SintIndex,
        flag: u16,
    ) -> Result<Option<SintInterrupt>, InvalidSynicState> {
        if !self.scontrol.enable() || !self.siefp.enable() || self.sint(index).masked() {
            return Err(InvalidSynicState);
        }
        let word = u64::from(index.0) * EVENT_FLAGS_BYTE_COUNT as u64 + u64::from(flag / 32 * 4);
        let bit = 1 << (flag % 32);
        let before = self.event_flags_page.change_u32(word, bit, 0);
        if before & bit != 0 {
            return Ok(None);
        }
        self.counts.event_flags += 1;
        Ok(self.interrupt(index))
    }
}

/// What [`Synic::deliver`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Delivered {
    /// A message was written to the slot.
    pub(crate) message: bool,
    /// It was the message of this synthetic timer.
    pub(crate) timer: Option<u8>,
    /// What the source is to raise.
    pub(crate) interrupt: Option<SintInterrupt>,
}
