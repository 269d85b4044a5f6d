// SPDX-License-Identifier: MIT OR Apache-2.0
//! Monitored notifications (TLFS 11.7): the sender sets a bit in a page that it shares with the hypervisor, and the hypervisor, which
//! looks at the page now and then, signals an event for it.
//!
//! The page belongs to a [`MonitorPort`]. It is laid over guest memory in the partition that receives and, through a connection, in
//! the one that sends. Whoever runs a VP of the sender looks at it: no bit is set while none of them runs.

use std::mem::offset_of;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use memory::{MemoryObject, PAGE_SHIFT, PAGE_SIZE, Rights, Space, ViewId};
use state::{Damaged, Reader, State, Writer};
use tlfs::synic::{
    MonitorPage as Layout, MonitorParameter, MonitorTriggerGroup, MonitorTriggerState, PortId,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::PortError;
use crate::overlay::{Overlay, Page};
use crate::partition::Partition;
use crate::sync::lock;

/// Groups of a page, and triggers of a group (TLFS 11.10.9).
const GROUPS: u32 = 4;
const TRIGGERS: u32 = 32;
/// A trigger is looked at this often when nobody says how often, and never more often than that, in 100 ns units.
const USUAL_LATENCY: u16 = 10_000;
const SHORTEST_LATENCY: u16 = 1_000;
/// How often a page is looked at of which no group is in use, in 100 ns units.
const WHEN_DISABLED: u64 = 100_000;

/// One of the 128 triggers of a monitor page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonitorTrigger(u8);

impl MonitorTrigger {
    /// The trigger with number `number` of group `group`, if there is one: 32 in each of 4 groups.
    #[must_use]
    pub const fn new(group: u32, number: u32) -> Option<Self> {
        if group < GROUPS && number < TRIGGERS { Some(Self((group * TRIGGERS + number) as u8)) } else { None }
    }

    /// Its group, 0 to 3.
    #[must_use]
    pub const fn group(self) -> u32 {
        self.0 as u32 / TRIGGERS
    }

    /// Its number in the group, 0 to 31.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 as u32 % TRIGGERS
    }
}

/// A monitor page, wherever it lies.
#[derive(Clone)]
pub(super) struct MonitorPage(Page);

impl MonitorPage {
    pub(super) fn allocate() -> Result<Self, PortError> {
        let object = MemoryObject::allocate(PAGE_SIZE).map_err(|_| PortError::NoMemory)?;
        Ok(Self(Page::new(&object, 0)))
    }

    fn enabled_groups(&self) -> impl Iterator<Item = u32> {
        let state = MonitorTriggerState::from_bits(self.0.read_u32(offset_of!(Layout, trigger_state) as u64));
        (0..GROUPS).filter(move |group| state.group_enable() >> group & 1 != 0)
    }

    const fn group(group: u32) -> u64 {
        (offset_of!(Layout, trigger_group) + group as usize * size_of::<MonitorTriggerGroup>()) as u64
    }

    const fn latency_of(trigger: MonitorTrigger) -> u64 {
        (offset_of!(Layout, latency) + trigger.0 as usize * size_of::<u16>()) as u64
    }

    const fn parameter_of(trigger: MonitorTrigger) -> u64 {
        (offset_of!(Layout, parameter) + trigger.0 as usize * size_of::<MonitorParameter>()) as u64
    }

    /// How long the trigger is to wait, in 100 ns units.
    fn latency(&self, trigger: MonitorTrigger) -> u16 {
        match self.0.read_u16(Self::latency_of(trigger)) {
            0 => USUAL_LATENCY,
            latency => latency.max(SHORTEST_LATENCY),
        }
    }

    fn parameter(&self, trigger: MonitorTrigger) -> MonitorParameter {
        let bytes = self.0.read_u64(Self::parameter_of(trigger)).to_le_bytes();
        MonitorParameter::read_from_bytes(&bytes).expect("8 bytes are a parameter")
    }

    /// The pending and the armed bits of a group.
    fn triggers(&self, group: u32) -> (u32, u32) {
        let both = self.0.read_u64(Self::group(group));
        (both as u32, (both >> 32) as u32)
    }

    /// Sets or clears armed bits.
    fn arm(&self, group: u32, armed: u32, disarmed: u32) {
        self.0.change_u64(Self::group(group), u64::from(armed) << 32, u64::from(disarmed) << 32);
    }

    /// Takes a trigger back. Whether it was pending.
    fn take(&self, trigger: MonitorTrigger) -> bool {
        let bit = 1u64 << trigger.number();
        self.0.change_u64(Self::group(trigger.group()), 0, bit | bit << 32) & bit != 0
    }
}

/// A monitor page that lies over guest memory, until this goes.
struct Placed {
    space: Arc<Space>,
    view: ViewId,
    overlay: Mutex<Overlay>,
}

impl Placed {
    /// Lays the page over the page at `gpa`. Beyond the end of the space it is accessible to nobody.
    fn new(page: &MonitorPage, space: &Arc<Space>, view: ViewId, gpa: u64) -> Self {
        let mut overlay = Overlay::new(page.0.clone(), Rights::ALL);
        overlay.place(space, view, Some(gpa >> PAGE_SHIFT));
        Self { space: Arc::clone(space), view, overlay: Mutex::new(overlay) }
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        lock(&self.overlay).place(&self.space, self.view, None);
    }
}

/// A port that is polled through a page of memory (TLFS 11.7.4). It exists until [`Partition::delete_monitor_port`].
pub struct MonitorPort {
    id: PortId,
    page: MonitorPage,
    /// Where the page lies in the partition that receives.
    placed: Mutex<Option<Placed>>,
    deleted: AtomicBool,
}

impl MonitorPort {
    pub(super) fn new(id: PortId, page: MonitorPage) -> Self {
        Self { id, page, placed: Mutex::new(None), deleted: AtomicBool::new(false) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> PortId {
        self.id
    }

    /// Chooses the groups of triggers that are in use: bit n is group n, of which there are 4. At most 10 ms later they are looked at.
    pub fn enable_groups(&self, groups: u8) {
        let state = MonitorTriggerState::new().with_group_enable(groups & 0xF);
        self.page.0.write_u32(offset_of!(Layout, trigger_state) as u64, state.into_bits());
    }

    /// Says what a trigger signals, through a connection of the partition that pulls it, and how long it may wait, in 100 ns units (a hint).
    pub fn set_trigger(&self, trigger: MonitorTrigger, parameter: MonitorParameter, latency: u16) {
        self.page.0.write(MonitorPage::parameter_of(trigger), parameter.as_bytes());
        self.page.0.write(MonitorPage::latency_of(trigger), &latency.to_le_bytes());
    }

    /// Whether a trigger was pulled and not signalled yet.
    #[must_use]
    pub fn is_pending(&self, trigger: MonitorTrigger) -> bool {
        self.page.triggers(trigger.group()).0 >> trigger.number() & 1 != 0
    }

    fn place(&self, space: &Arc<Space>, view: ViewId, gpa: u64) {
        *lock(&self.placed) = Some(Placed::new(&self.page, space, view, gpa));
    }

    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        let _placed = lock(&self.placed).take();
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// One that was deleted.
    pub(super) fn nowhere() -> Result<Arc<Self>, PortError> {
        let port = Self::new(PortId::from_bits(0), MonitorPage::allocate()?);
        port.delete();
        Ok(Arc::new(port))
    }

    /// Saves what its page holds, and where that lies.
    pub(super) fn save(&self, writer: &mut Writer) {
        self.page.0.save(writer);
        place_of(&self.placed).save(writer);
    }

    pub(super) fn restore(&self, partition: &Partition, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        self.page.0.clone().restore(reader)?;
        *lock(&self.placed) = place_again(&self.page, partition, reader.value()?);
        Ok(())
    }
}

/// The guest page over which a page lies, if over any.
fn place_of(placed: &Mutex<Option<Placed>>) -> Option<u64> {
    lock(placed).as_ref().and_then(|placed| lock(&placed.overlay).place_now())
}

fn place_again(page: &MonitorPage, partition: &Partition, gpn: Option<u64>) -> Option<Placed> {
    gpn.map(|gpn| Placed::new(page, partition.space(), partition.main_view(), gpn << PAGE_SHIFT))
}

/// A connection to a monitor port: what the sender has of it.
pub(crate) struct MonitorConnection {
    port: Arc<MonitorPort>,
    /// Where the page lies in the partition that sends.
    placed: Mutex<Option<Placed>>,
    /// When armed triggers were armed, in reference time.
    armed_at: Mutex<[u64; (GROUPS * TRIGGERS) as usize]>,
}

/// Where the page lies in the partition that sends, and when its triggers were armed.
pub(super) struct SavedConnection {
    gpn: Option<u64>,
    armed_at: [u64; (GROUPS * TRIGGERS) as usize],
}

state::state!(SavedConnection { gpn, armed_at });

impl Default for SavedConnection {
    fn default() -> Self {
        Self { gpn: None, armed_at: [0; (GROUPS * TRIGGERS) as usize] }
    }
}

/// What a look at a page found.
struct Inspection {
    /// What is to be signalled; `count` of them.
    signals: [MonitorParameter; (GROUPS * TRIGGERS) as usize],
    count: usize,
    /// When to look again, in 100 ns units from now.
    interval: u64,
    /// A trigger waits.
    pending: bool,
}

impl MonitorConnection {
    pub(super) fn new(port: &Arc<MonitorPort>) -> Self {
        let armed_at = Mutex::new([0; (GROUPS * TRIGGERS) as usize]);
        Self { port: Arc::clone(port), placed: Mutex::new(None), armed_at }
    }

    pub(super) fn port(&self) -> &Arc<MonitorPort> {
        &self.port
    }

    /// What is saved of it, besides the port.
    pub(super) fn saved(&self) -> SavedConnection {
        SavedConnection { gpn: place_of(&self.placed), armed_at: *lock(&self.armed_at) }
    }

    pub(super) fn take_up(&self, partition: &Partition, saved: &SavedConnection) {
        *lock(&self.placed) = place_again(&self.port.page, partition, saved.gpn);
        *lock(&self.armed_at) = saved.armed_at;
    }

    /// Takes the page out of the sender's memory.
    pub(super) fn withdraw(&self) {
        let _placed = lock(&self.placed).take();
    }

    /// Looks at the triggers at reference time `now`. One that is newly pulled is armed, and signals when it has been armed for its latency.
    fn inspect(&self, now: u64) -> Inspection {
        let no_parameter = MonitorParameter::new_zeroed();
        let mut found = Inspection {
            signals: [no_parameter; (GROUPS * TRIGGERS) as usize],
            count: 0,
            interval: WHEN_DISABLED,
            pending: false,
        };
        if self.port.deleted.load(Ordering::Acquire) {
            return found;
        }
        let (page, mut armed_at) = (&self.port.page, lock(&self.armed_at));
        for group in page.enabled_groups() {
            let (pending, armed) = page.triggers(group);
            let (mut arm, mut shortest) = (0, u16::MAX);
            for trigger in (0..TRIGGERS).filter_map(|number| MonitorTrigger::new(group, number)) {
                let latency = page.latency(trigger);
                shortest = shortest.min(latency);
                let bit = 1 << trigger.number();
                let armed_at = &mut armed_at[usize::from(trigger.0)];
                if pending & bit == 0 {
                    continue;
                }
                if armed & bit == 0 {
                    (arm, *armed_at) = (arm | bit, now);
                } else if now.saturating_sub(*armed_at) < u64::from(latency) {
                    // It has to wait longer than others of its group.
                } else if page.take(trigger) {
                    found.signals[found.count] = page.parameter(trigger);
                    found.count += 1;
                    continue;
                }
                found.pending = true;
            }
            // Armed and not pending: whoever pulled it has taken it back, and the next pull waits anew.
            page.arm(group, arm, armed & !pending);
            found.interval = found.interval.min(shortest.into());
        }
        found
    }
}

/// When a partition's monitored connections are to be looked at.
pub(crate) struct Monitors {
    /// Tick of the clock; [`Monitors::NEVER`] while there is no such connection.
    due: AtomicU64,
}

impl Monitors {
    const NEVER: u64 = u64::MAX;

    pub(crate) fn new() -> Self {
        Self { due: AtomicU64::new(Self::NEVER) }
    }

    /// The clock tick at which the next look is due, if there is anything to look at.
    pub(crate) fn due(&self) -> Option<u64> {
        Some(self.due.load(Ordering::Acquire)).filter(|&due| due != Self::NEVER)
    }

    pub(crate) fn save(&self, writer: &mut Writer) {
        self.due.load(Ordering::Acquire).save(writer);
    }

    pub(crate) fn restore(&self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        let due = reader.value()?;
        // Where there were none, those that there are now are new.
        if due != Self::NEVER {
            self.due.store(due, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl Partition {
    /// Creates a monitor port of this partition, with its page at `gpa` in the partition's memory, or nowhere if only the host looks at it.
    ///
    /// # Errors
    /// If `gpa` is not on a page boundary, or there is no memory for the page.
    pub fn create_monitor_port(&self, gpa: Option<u64>) -> Result<Arc<MonitorPort>, PortError> {
        gpa.map_or(Ok(()), check_address)?;
        let port = self.ports().create_monitor(None)?;
        if let Some(gpa) = gpa {
            port.place(self.space(), self.main_view(), gpa);
        }
        Ok(port)
    }

    /// The monitor port with this id.
    #[must_use]
    pub fn monitor_port(&self, id: PortId) -> Option<Arc<MonitorPort>> {
        self.ports().monitor_port(id)
    }

    /// Deletes a monitor port: its page is gone from the partition that receives, and its triggers do nothing any more.
    pub fn delete_monitor_port(&self, port: &MonitorPort) {
        self.ports().delete_monitor(port);
    }

    /// Gives the guest a connection to a monitor port, by a number of 24 bits, with the page at `gpa` in its memory. Triggers that it pulls signal events
    /// through its own connections, as if it had made the call.
    ///
    /// # Errors
    /// If the number is taken or too large, or `gpa` is not on a page boundary.
    pub fn connect_monitor(
        &self,
        connection: u32,
        port: &Arc<MonitorPort>,
        gpa: u64,
    ) -> Result<(), PortError> {
        check_address(gpa)?;
        let monitor = self.ports().connect_monitor(connection, port)?;
        *lock(&monitor.placed) = Some(Placed::new(&port.page, self.space(), self.main_view(), gpa));
        // Everyone who runs looks now, and learns when to look next.
        self.monitors().due.store(self.clock().now(), Ordering::SeqCst);
        self.vps().for_each(|vp| vp.notify());
        Ok(())
    }

    /// Looks at the monitored connections if that is due at clock tick `now`, and signals what their triggers ask for.
    pub(crate) fn inspect_monitors(&self, now: u64) {
        if self.monitors().due().is_some_and(|due| now >= due) {
            self.look_at_monitors(now);
        }
    }

    /// Looks at the monitored connections before a VP sleeps. Whether it has to wake for the next look.
    pub(crate) fn inspect_monitors_before_sleep(&self, now: u64) -> bool {
        self.monitors().due().is_some() && self.look_at_monitors(now)
    }

    /// Whether any trigger waits.
    fn look_at_monitors(&self, now: u64) -> bool {
        let reference = self.reference_time();
        let time = reference.at(now);
        let (mut interval, mut pending, mut next) = (None, false, 0);
        while let Some((number, monitor)) = self.ports().monitor_from(next) {
            let found = monitor.inspect(time);
            for parameter in &found.signals[..found.count] {
                // What goes wrong is nobody's to hear (TLFS 11.7.3).
                let _ = self.signal_event_for_monitor(parameter.connection_id, parameter.flag_number);
            }
            pending |= found.pending;
            interval = Some(interval.unwrap_or(WHEN_DISABLED).min(found.interval));
            next = number + 1;
        }
        let due = interval.map(|interval| reference.tick_of(time + interval).unwrap_or(Monitors::NEVER));
        self.monitors().due.store(due.unwrap_or(Monitors::NEVER), Ordering::SeqCst);
        if due.is_none() && self.ports().monitor_from(0).is_some() {
            // A connection that was made meanwhile, whose order to look has just been overwritten.
            self.monitors().due.store(now, Ordering::SeqCst);
        }
        pending
    }
}

fn check_address(gpa: u64) -> Result<(), PortError> {
    if gpa.is_multiple_of(PAGE_SIZE) { Ok(()) } else { Err(PortError::MonitorAddress(gpa)) }
}
