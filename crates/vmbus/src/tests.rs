// SPDX-License-Identifier: MIT OR Apache-2.0
use engine::scripted::ScriptedEngine;
use engine::{Engine, ExitReason, PortAccess, PortDirection};
use hypervisor::{PartitionConfig, Vp, VpExit};
use memory::{MemoryObject, Rights, Space, ViewId};
use tlfs::msr;

use super::*;

const VIEW: ViewId = ViewId(0);
const MESSAGE_PAGE: u64 = 0x3000;
const SLOT: u64 = MESSAGE_PAGE + 256 * DEFAULT_SINT as u64;

struct Guest {
    engine: ScriptedEngine,
    space: Arc<Space>,
    partition: Arc<Partition>,
    vp: Vp,
    server: Server,
}

impl Guest {
    /// A guest that has switched its message page and SINT 2 on.
    fn new() -> Self {
        let engine = ScriptedEngine::new(1_000_000_000);
        let space = Space::new(40);
        let memory = MemoryObject::allocate(0x10000).unwrap();
        space.batch(|batch| batch.map(VIEW, 0, 16, &memory, 0, Rights::ALL)).unwrap();
        let shared: Arc<dyn Engine> = Arc::new(engine.clone());
        let (partition, mut vps) = Partition::create(&shared, &space, PartitionConfig::default()).unwrap();
        let server = Server { partition: Arc::downgrade(&partition), guest: Mutex::new(None) };
        let mut guest = Self { engine, space, partition, vp: vps.remove(0), server };
        guest.write_msr(msr::SIMP, MESSAGE_PAGE | 1);
        guest.write_msr(msr::SINT0 + u32::from(DEFAULT_SINT), 0x40);
        guest.write_msr(msr::SCONTROL, 1);
        guest
    }

    fn write_msr(&mut self, number: u32, value: u64) {
        self.engine.push(0, ExitReason::WriteMsr { number, value });
        // A port access brings the run back here.
        let access =
            PortAccess { port: 0x80, size: 1, direction: PortDirection::Out(0), string: false, rep: false };
        self.engine.push(0, ExitReason::Port(access));
        assert_eq!(self.vp.run(None), VpExit::Port(access));
        self.vp.complete(0);
    }

    fn post(&self, message: &(impl IntoBytes + Immutable)) {
        assert_eq!(self.server.message(MESSAGE_TYPE, message.as_bytes()), HvStatus::SUCCESS);
    }

    /// The message in the slot, if there is one: its type and the first 16 bytes of payload. Frees the slot.
    fn take_message(&mut self) -> Option<(u32, [u8; 16])> {
        let kind = self.space.read_value::<4>(VIEW, SLOT, Rights::READ).unwrap() as u32;
        let mut payload = [0; 16];
        self.space.read(VIEW, SLOT + 16, &mut payload, Rights::READ).unwrap();
        self.space.write_value::<4>(VIEW, SLOT, 0, Rights::WRITE).unwrap();
        self.write_msr(msr::EOM, 0);
        (kind != 0).then_some((kind, payload))
    }

    fn contact(&self, version: Version, sint: u8) {
        let mut contact = InitiateContact::read_from_bytes(&[0; 40]).unwrap();
        contact.header = Header::new(Kind::INITIATE_CONTACT);
        (contact.version, contact.sint) = (version, sint);
        self.post(&contact);
    }
}

#[test]
fn a_guest_connects_finds_nothing_and_leaves() {
    let mut guest = Guest::new();
    guest.contact(Version::new(6, 0), 2);
    let (kind, payload) = guest.take_message().unwrap();
    assert_eq!((kind, payload[0], payload[8]), (1, 15, 0), "refused");
    guest.contact(Version::new(5, 3), 2);
    let (_, payload) = guest.take_message().unwrap();
    assert_eq!((payload[0], payload[8], payload[12]), (15, 1, 4));
    guest.post(&Header::new(Kind::REQUEST_OFFERS));
    assert_eq!(guest.take_message().unwrap().1[0], 4);
    guest.post(&Header::new(Kind::UNLOAD));
    assert_eq!(guest.take_message().unwrap().1[0], 17);
    guest.post(&Header::new(Kind::REQUEST_OFFERS));
    assert_eq!(guest.take_message(), None, "after it has left, a guest hears nothing");
}

#[test]
fn an_old_guest_is_answered_at_sint_2_whatever_those_bytes_say() {
    let mut guest = Guest::new();
    guest.contact(Version::new(4, 0), 9);
    assert_eq!(guest.take_message().unwrap().1[12], 1);
}

#[test]
fn nonsense_is_swallowed() {
    let mut guest = Guest::new();
    guest.post(&Header::new(Kind::REQUEST_OFFERS));
    for message in [&[][..], &[14], &[14, 0, 0, 0, 0, 0, 0, 0, 1], &[0xFF; 240]] {
        assert_eq!(guest.server.message(MESSAGE_TYPE, message), HvStatus::SUCCESS);
    }
    guest.contact(Version::new(5, 3), 16);
    guest.contact(Version::new(5, 3), 0xFF);
    assert_eq!(guest.take_message(), None);
    let mut elsewhere = InitiateContact::read_from_bytes(&[0; 40]).unwrap();
    elsewhere.header = Header::new(Kind::INITIATE_CONTACT);
    (elsewhere.version, elsewhere.target_vp) = (Version::V5_0, 77);
    guest.post(&elsewhere);
    assert_eq!(guest.take_message(), None);
}

#[test]
fn a_host_takes_its_connections_along() {
    let guest = Guest::new();
    let host = VmbusHost::connect(&guest.partition).unwrap();
    assert!(VmbusHost::connect(&guest.partition).is_err());
    drop(host);
    VmbusHost::connect(&guest.partition).unwrap();
}
