// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partition: VPs, a guest-physical space, a clock, and the state that its VPs share.

mod saved;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use engine::{Clock, Engine, EngineError};
use memory::{MemoryError, MemoryObject, ObjectId, PAGE_SIZE, Rights, Space, ViewId};
use tlfs::HvStatus;
use tlfs::extended::ZeroedRange;
use tlfs::partition::PartitionId;
use tlfs::synic::{ConnectionId, MessageType, PortId};
use tlfs::vp::VpIndex;
use tlfs::vsm::Vtl;

use crate::calls::{DebugLink, DeviceInterrupts};
use crate::crash::CrashRegisters;
use crate::enlightenment::{Enlightenments, Offer};
use crate::eoi_assist::EoiAssist;
use crate::hypercall_page::HypercallPage;
use crate::intercept::{Intercepts, Parent};
use crate::local_apic::{Destination, InterruptMessage, LocalApicConfig};
use crate::overlay::{Overlay, Page};
use crate::port::monitor::Monitors;
use crate::port::table::Ports;
use crate::port::{GuestTarget, Port, PortError, PortKind, PortOwner};
use crate::processor::ProcessorModel;
use crate::reference_time::ReferenceTime;
use crate::reference_tsc_page::ReferenceTscPage;
use crate::suspension::Suspension;
use crate::sync::lock;
use crate::synic::{SintIndex, Synic};
use crate::trace::{Phases, Tracing};
use crate::vp::state::{RunState, VTL_COUNT, VpState, VtlState};
use crate::vp::{Vp, VpOverlays, VpShared};
use crate::wake::Sleepers;
use x86::apic::DeliveryMode;

/// Most VPs that a partition can have; CPUID leaf 0x40000005 says so too.
pub const MAX_VPS: u32 = 1024;

/// What a partition is made of.
#[derive(Clone)]
pub struct PartitionConfig {
    /// Number of VPs, 0 to [`MAX_VPS`]; more than 255 need `x2apic`.
    pub vp_count: u32,
    /// What the guest is offered of the hypervisor interface.
    pub enlightenments: Enlightenments,
    /// Who says that it made the hypervisor: letters of CPUID leaf 0x40000000. Guests are to go by the interface's signature instead (TLFS 2.3), but Windows and Linux compare it.
    pub vendor_id: [u8; 12],
    /// Whether local APICs have x2APIC mode.
    pub x2apic: bool,
    /// Input clock of the local APICs' timers, in Hz.
    pub apic_frequency: u64,
    /// What is done with what happens on VPs.
    pub tracing: Tracing,
    /// A host program's own MSRs.
    pub msr_handler: Option<Arc<dyn MsrHandler>>,
    /// The host's end of the debug transport, for a guest that is offered [`crate::Enlightenment::Debugging`].
    pub debug_link: Option<Arc<dyn DebugLink>>,
    /// Devices that the host gives the guest, whose interrupts it may send elsewhere.
    pub device_interrupts: Option<Arc<dyn DeviceInterrupts>>,
    /// A parent that is told of intercepts by the specification's messages (TLFS 6), accesses to memory that is not there among them. Without one those are
    /// [`crate::VpExit`]s.
    pub parent: Option<Arc<dyn Parent>>,
    /// How many VPs are woken at once of those that sleep when several get an interrupt: so many by the sender, and so many by each that wakes. For hosts where to
    /// wake a VP costs something, and where each VP has a thread that runs it as soon as it is woken; with `u32::MAX` the sender wakes all.
    pub wakes_at_once: u32,
}

impl Default for PartitionConfig {
    fn default() -> Self {
        Self {
            vp_count: 1,
            enlightenments: Enlightenments::ALL,
            vendor_id: tlfs::cpuid::VENDOR_ID,
            x2apic: true,
            // What Hyper-V's virtual machines have.
            apic_frequency: 200_000_000,
            tracing: Tracing::default(),
            msr_handler: None,
            debug_link: None,
            device_interrupts: None,
            parent: None,
            wakes_at_once: u32::MAX,
        }
    }
}

/// MSRs that a host program serves itself. It is asked for those that nothing here serves; what it does not serve either is #GP. It is
/// called on the thread of the VP and must not block.
pub trait MsrHandler: Send + Sync {
    /// RDMSR of `number` by the VP with index `vp`.
    fn read(&self, vp: u32, number: u32) -> Option<u64>;

    /// WRMSR. False if the MSR does not exist or does not take the value.
    fn write(&self, vp: u32, number: u32, value: u64) -> bool;
}

/// The interrupt controllers outside the processors: an 8259 pair and I/O APICs. Called on VPs' threads, with no lock of this room held.
pub trait InterruptController: Send + Sync {
    /// The acknowledge cycle of a processor that accepts an interrupt of the 8259 pair: its vector.
    fn acknowledge(&self) -> u8;

    /// The processor with this VP index ended a level-triggered interrupt: the EOI intercept of TLFS 10.3.4. Its EOI is complete, and the next
    /// instruction has not begun.
    fn end_of_interrupt(&self, vp: u32, vector: u8);

    /// A processor took an interrupt with this vector out of its request register: another one with it would not merge with the first any more.
    fn accepted(&self, _vector: u8) {}
}

/// A partition could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The number of VPs.
    #[error("a partition has up to {MAX_VPS} virtual processors (255 without x2APIC), not {0}")]
    VpCount(u32),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Memory for the hypervisor's own pages.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// What each VTL of a partition has for itself.
pub(crate) struct PartitionVtl {
    pub(crate) hypercall_page: HypercallPage,
    pub(crate) reference_tsc_page: ReferenceTscPage,
}

/// A partition. Its VPs are values of their own ([`Vp`]): whoever holds one may run it.
pub struct Partition {
    /// Unique in this process, unless it goes on from the state of another, whose id it then has.
    id: AtomicU64,
    offer: Offer,
    space: Arc<Space>,
    reference_time: ReferenceTime,
    processor: ProcessorModel,
    vps: Box<[VpShared]>,
    vtls: [PartitionVtl; VTL_COUNT],
    pub(crate) crash: CrashRegisters,
    ports: Ports,
    monitors: Monitors,
    pub(crate) phases: Phases,
    suspension: Suspension,
    intercepts: Intercepts,
    /// VPs whose translations must not be flushed now.
    flush_inhibits: AtomicU32,
    boot_zeroed: Mutex<Arc<[ZeroedRange]>>,
    sleepers: Sleepers,
    /// The object whose pages are the partition's overlay pages.
    overlay_pages: ObjectId,
    apic_frequency: u64,
    pub(crate) msr_handler: Option<Arc<dyn MsrHandler>>,
    debug_link: Option<Arc<dyn DebugLink>>,
    device_interrupts: Option<Arc<dyn DeviceInterrupts>>,
    interrupt_controller: OnceLock<Arc<dyn InterruptController>>,
}

/// The id of the next partition: ids are not used again while this process lives (TLFS 4.2.1).
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The view of guest memory that a VTL has.
pub(crate) const fn view_of(vtl: Vtl) -> ViewId {
    ViewId(vtl.0)
}

/// Every VTL that exists.
pub(crate) fn vtls() -> [Vtl; VTL_COUNT] {
    std::array::from_fn(|index| Vtl(index as u8))
}

/// Hands out the pages of the overlay object, each once.
struct PageAllocator {
    object: Arc<MemoryObject>,
    next: u64,
}

impl PageAllocator {
    fn page(&mut self) -> Page {
        let page = Page::new(&self.object, self.next);
        self.next += 1;
        page
    }
}

/// Overlay pages that a VTL has in a partition, and in each VP.
const PARTITION_PAGES: u64 = 2;
const VP_PAGES: u64 = 3;

impl Partition {
    /// Creates a partition and its VPs. VP 0 starts at the reset vector, the others wait for a start-up IPI.
    ///
    /// # Errors
    /// If the number of VPs is out of range, or the host lacks what it takes.
    pub fn create(
        engine: &Arc<dyn Engine>,
        space: &Arc<Space>,
        config: PartitionConfig,
    ) -> Result<(Arc<Self>, Vec<Vp>), CreateError> {
        let most = if config.x2apic { MAX_VPS } else { 255 };
        if config.vp_count > most {
            return Err(CreateError::VpCount(config.vp_count));
        }
        let group = engine.create_group(space)?;
        let reference_time = ReferenceTime::new(group.clock());
        let offer = Offer::new(config.enlightenments.served_by(engine.capabilities()));
        let processor = ProcessorModel::new(Arc::clone(engine), &config, space.address_bits());

        let pages = VTL_COUNT as u64 * (PARTITION_PAGES + VP_PAGES * u64::from(config.vp_count));
        let object = MemoryObject::allocate(pages * PAGE_SIZE)?;
        let mut allocator = PageAllocator { object: Arc::clone(&object), next: 0 };
        let vtls = vtls().map(|_| PartitionVtl {
            hypercall_page: HypercallPage::new(allocator.page(), processor.vendor()),
            reference_tsc_page: ReferenceTscPage::new(allocator.page(), &reference_time),
        });

        let (mut vps, mut owned) = (Vec::new(), Vec::new());
        for index in 0..config.vp_count {
            let engine_vp = group.create_vp(index)?;
            let apic = LocalApicConfig {
                id: index,
                bootstrap: index == 0,
                x2apic: config.x2apic,
                clock_frequency: reference_time.clock().frequency(),
                bus_frequency: config.apic_frequency,
            };
            let (state, overlays) = new_vp(apic, &mut allocator);
            vps.push(VpShared::new(index, index, state, engine_vp.kicker()));
            owned.push((engine_vp, overlays));
        }
        let partition = Arc::new(Self {
            id: AtomicU64::new(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            offer,
            space: Arc::clone(space),
            reference_time,
            processor,
            vps: vps.into(),
            vtls,
            crash: CrashRegisters::default(),
            ports: Ports::default(),
            monitors: Monitors::new(),
            phases: Phases::default(),
            suspension: Suspension::default(),
            intercepts: Intercepts::new(config.parent),
            flush_inhibits: AtomicU32::new(0),
            boot_zeroed: Mutex::new(Arc::new([])),
            sleepers: Sleepers::new(config.vp_count, config.wakes_at_once),
            overlay_pages: object.id(),
            apic_frequency: config.apic_frequency,
            msr_handler: config.msr_handler,
            debug_link: config.debug_link,
            device_interrupts: config.device_interrupts,
            interrupt_controller: OnceLock::new(),
        });
        let vps = owned.into_iter().zip(0..).map(|((engine_vp, overlays), index)| {
            Vp::new(Arc::clone(&partition), index, engine_vp, overlays, &config.tracing)
        });
        let vps = vps.collect();
        Ok((partition, vps))
    }

    /// Sets who answers for the interrupt controllers outside the processors. Only the first call counts.
    pub fn set_interrupt_controller(&self, controller: Arc<dyn InterruptController>) {
        let _ = self.interrupt_controller.set(controller);
    }

    pub(crate) fn interrupt_controller(&self) -> Option<&dyn InterruptController> {
        self.interrupt_controller.get().map(|controller| &**controller)
    }

    pub(crate) fn debug_link(&self) -> Option<&dyn DebugLink> {
        self.debug_link.as_deref()
    }

    pub(crate) fn device_interrupts(&self) -> Option<&dyn DeviceInterrupts> {
        self.device_interrupts.as_deref()
    }

    /// Tells which guest pages are zero when the guest starts (TLFS 9.4.7); of more than 255 runs the first are told. To be called while no VP runs.
    pub fn set_boot_zeroed_memory(&self, runs: &[ZeroedRange]) {
        *lock(&self.boot_zeroed) = runs.into();
    }

    pub(crate) fn boot_zeroed_memory(&self) -> Arc<[ZeroedRange]> {
        Arc::clone(&lock(&self.boot_zeroed))
    }

    /// Partition id: unique among all partitions that this process makes.
    #[must_use]
    pub fn id(&self) -> PartitionId {
        PartitionId(self.id.load(Ordering::Relaxed))
    }

    /// What the guest is offered.
    #[must_use]
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Guest-physical memory.
    #[must_use]
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The guest TSC that everything follows.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.reference_time.clock()
    }

    /// Partition reference time.
    #[must_use]
    pub fn reference_time(&self) -> &ReferenceTime {
        &self.reference_time
    }

    /// Input clock of the local APICs' timers, in Hz.
    #[must_use]
    pub fn apic_frequency(&self) -> u64 {
        self.apic_frequency
    }

    /// From now on counts belong to this phase, numbered by whoever counts; the first is 0, and a phase may come again. What is under
    /// way on a VP counts to the phase in which it is done.
    pub fn begin_phase(&self, phase: usize) {
        self.phases.begin(phase, self.vps.iter().map(|vp| vp.state().vtl(Vtl::VTL0).counts()));
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub(crate) fn flush_inhibits(&self) -> &AtomicU32 {
        &self.flush_inhibits
    }

    pub(crate) fn intercepts(&self) -> &Intercepts {
        &self.intercepts
    }

    pub(crate) fn suspension(&self) -> &Suspension {
        &self.suspension
    }

    pub(crate) fn monitors(&self) -> &Monitors {
        &self.monitors
    }

    /// The view of guest memory that whatever is no VTL's own lies in.
    pub(crate) fn main_view(&self) -> ViewId {
        view_of(Vtl::VTL0)
    }

    pub(crate) fn processor(&self) -> &ProcessorModel {
        &self.processor
    }

    pub(crate) fn vtl(&self, vtl: Vtl) -> &PartitionVtl {
        &self.vtls[usize::from(vtl.0)]
    }

    /// Number of VPs.
    #[must_use]
    pub fn vp_count(&self) -> u32 {
        self.vps.len() as u32
    }

    /// What everyone may reach of a VP.
    ///
    /// # Panics
    /// If there is no VP with this index.
    #[must_use]
    pub fn vp(&self, index: u32) -> &VpShared {
        &self.vps[index as usize]
    }

    /// Every VP, by index.
    pub fn vps(&self) -> impl Iterator<Item = &VpShared> {
        self.vps.iter()
    }

    /// Whether guest page `gpn` is an overlay page of the hypervisor in the view of `vtl`.
    pub(crate) fn is_overlay(&self, vtl: Vtl, gpn: u64) -> bool {
        self.space.resolve(view_of(vtl), gpn).is_some_and(|page| page.object.id() == self.overlay_pages)
    }

    /// Takes the partition's own synthetic state back to what it is at creation (TLFS 2.6, 3.13, 12.7.1). For a system reset, when no VP runs; each VP is then
    /// reset by [`Vp::reset`].
    pub fn reset(&self) {
        for vtl in vtls() {
            self.vtl(vtl).hypercall_page.reset(&self.space, view_of(vtl));
            self.vtl(vtl).reference_tsc_page.set(0.into(), &self.space, view_of(vtl));
        }
        self.crash.reset();
    }

    pub(crate) fn sleepers(&self) -> &Sleepers {
        &self.sleepers
    }

    // Interrupts.

    /// Delivers an interrupt message of a device or I/O APIC to the VPs that it is meant for. False if it was lost on all that it reached, because
    /// each had one with the same vector pending.
    pub fn deliver(&self, message: InterruptMessage) -> bool {
        self.route(None, Vtl::VTL0, message)
    }

    /// Delivers an interrupt message that the VP with index `sender`, or a device, sent. As [`Partition::deliver`].
    pub(crate) fn route(&self, sender: Option<u32>, vtl: Vtl, message: InterruptMessage) -> bool {
        let addressed = |vp: &VpShared| {
            vp.state().vtl(vtl).apic.is_addressed(message.destination, sender == Some(vp.index()))
        };
        let (mut merged, mut new) = (false, false);
        let mut deliver = |vp: &VpShared| {
            let mut state = vp.state();
            let vectored =
                matches!(message.delivery_mode, DeliveryMode::Fixed | DeliveryMode::LowestPriority);
            let pending = vectored && state.vtl(vtl).apic.requested().contains(message.vector);
            let noticed = state.deliver(vtl, message);
            drop(state);
            if noticed {
                merged |= pending;
                new |= !pending;
                self.notify_among_several(vp);
            }
        };
        if message.delivery_mode == DeliveryMode::LowestPriority {
            if let Some(vp) = self.lowest_priority(sender, vtl, message.destination) {
                deliver(vp);
            }
            self.wake_some();
            return new || !merged;
        }
        // The local APIC id of a VP is its index, so that most messages need not ask everyone.
        let one = match message.destination {
            Destination::Physical(id) if id < self.vp_count() && self.vp_count() <= 255 => Some(id),
            Destination::SelfOnly => sender,
            _ => None,
        };
        match one {
            Some(index) if addressed(self.vp(index)) => deliver(self.vp(index)),
            Some(_) => {}
            None => self.vps().filter(|vp| addressed(vp)).for_each(deliver),
        }
        self.wake_some();
        new || !merged
    }

    /// The VP of those addressed whose local APIC accepts interrupts at the lowest priority.
    pub(crate) fn lowest_priority(
        &self,
        sender: Option<u32>,
        vtl: Vtl,
        destination: Destination,
    ) -> Option<&VpShared> {
        let bid = |vp: &VpShared| {
            let mut state = vp.state();
            let apic = &state.vtl(vtl).apic;
            let takes = apic.is_addressed(destination, sender == Some(vp.index())) && apic.accepts();
            takes.then(|| apic.priority())
        };
        self.vps()
            .filter_map(|vp| Some((bid(vp)?, vp)))
            .min_by_key(|&(priority, _)| priority)
            .map(|(_, vp)| vp)
    }

    /// Sets the level of LINT0 of every local APIC, to which the 8259 pair's output is wired.
    pub fn set_external_interrupt(&self, asserted: bool) {
        for vp in self.vps() {
            let mut state = vp.state();
            let apic = &mut state.vtl(Vtl::VTL0).apic;
            apic.set_lint0(asserted);
            let pending = asserted && apic.pending().is_some();
            drop(state);
            if pending {
                vp.notify();
            }
        }
    }

    /// A pulse on LINT1 of every local APIC: the NMI input of a PC.
    pub fn pulse_nmi(&self) {
        for vp in self.vps() {
            let mut state = vp.state();
            if state.vtl(Vtl::VTL0).apic.pulse_lint1() {
                state.nmi = true;
            }
            drop(state);
            vp.notify();
        }
    }

    // Ports and connections.

    /// Creates a port of this partition, which owns it until [`Partition::delete_port`].
    ///
    /// # Errors
    /// If the event flags of the port, or the VTL of its target, do not exist.
    pub fn create_port(self: &Arc<Self>, kind: PortKind, owner: PortOwner) -> Result<Arc<Port>, PortError> {
        self.ports.create(Arc::downgrade(self), None, kind, owner)
    }

    /// The same with an id of the caller's choice, of 1 to 24 bits.
    ///
    /// # Errors
    /// As [`Partition::create_port`], and if the id is taken or too large.
    pub fn create_port_with_id(
        self: &Arc<Self>,
        id: u32,
        kind: PortKind,
        owner: PortOwner,
    ) -> Result<Arc<Port>, PortError> {
        self.ports.create(Arc::downgrade(self), Some(id), kind, owner)
    }

    /// The port for messages or events with this id.
    #[must_use]
    pub fn port(&self, id: PortId) -> Option<Arc<Port>> {
        self.ports.port(id)
    }

    /// Deletes a port, and what is queued and not delivered with it. Connections to it stay and are of no use any more.
    pub fn delete_port(&self, port: &Port) {
        self.ports.delete(port);
    }

    /// Gives the guest a connection to a port, of this partition or another one, by a number of 24 bits.
    ///
    /// # Errors
    /// If the number is taken or too large.
    pub fn connect(&self, connection: u32, port: &Arc<Port>) -> Result<(), PortError> {
        self.ports.connect(connection, port)
    }

    /// Takes a connection away; what was sent through it stays queued. False if there is none.
    pub fn disconnect(&self, connection: u32) -> bool {
        self.ports.disconnect(connection)
    }

    /// A port that leads to a SINT of a VP of this partition, in VTL 0.
    ///
    /// # Errors
    /// As [`Partition::create_port`].
    pub fn create_guest_port(
        self: &Arc<Self>,
        kind: PortKind,
        vp: VpIndex,
        sint: SintIndex,
    ) -> Result<Arc<Port>, PortError> {
        self.create_port(kind, PortOwner::Guest(GuestTarget { vp, vtl: Vtl::VTL0, sint }))
    }

    /// Raises the interrupt of a SINT of a VP, with nothing to deliver. False if the SINT is masked or polled, or there is no such VP.
    pub fn set_sint(&self, vp: u32, sint: SintIndex) -> bool {
        let Some(vp) = self.vps.get(vp as usize) else { return false };
        let raised = vp.state().vtl(Vtl::VTL0).raise_sint(sint);
        if raised {
            vp.notify();
        }
        raised
    }

    /// HvPostMessage by a VP of this partition, which holds the privilege (TLFS 11.11.1).
    pub(crate) fn post_message(
        &self,
        connection: ConnectionId,
        message_type: MessageType,
        payload: &[u8],
    ) -> HvStatus {
        if message_type.is_from_hypervisor() {
            return HvStatus::INVALID_PARAMETER;
        }
        match self.ports.find(connection) {
            Ok(port) => port.post_message(message_type, payload),
            Err(status) => status,
        }
    }

    /// HvSignalEvent by a VP of this partition, which holds the privilege (TLFS 11.11.2).
    pub(crate) fn signal_event(&self, connection: ConnectionId, flag: u16) -> HvStatus {
        match self.ports.find(connection) {
            Ok(port) => port.signal_event(flag),
            Err(status) => status,
        }
    }

    /// What a monitored notification does: the same, if the guest could have done it.
    pub(crate) fn signal_event_for_monitor(&self, connection: ConnectionId, flag: u16) -> HvStatus {
        if self.offer.privileges.signal_events() {
            self.signal_event(connection, flag)
        } else {
            HvStatus::ACCESS_DENIED
        }
    }
}

/// Shared state and overlay pages of a new VP.
fn new_vp(apic: LocalApicConfig, allocator: &mut PageAllocator) -> (VpState, [VpOverlays; VTL_COUNT]) {
    let run_state = if apic.bootstrap { RunState::Running } else { RunState::WaitForStartUp };
    let pages = vtls().map(|_| [allocator.page(), allocator.page(), allocator.page()]);
    let read_write = Rights::READ | Rights::WRITE;
    let overlays = pages.clone().map(|[message, event_flags, assist]| VpOverlays {
        message: Overlay::new(message, read_write),
        event_flags: Overlay::new(event_flags, read_write),
        assist: Overlay::new(assist, read_write),
    });
    let states = pages.map(|[message, event_flags, assist]| {
        VtlState::new(apic, Synic::new(message, event_flags), EoiAssist::new(assist))
    });
    (VpState::new(run_state, states), overlays)
}
