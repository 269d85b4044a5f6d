// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be explained.

use tlfs::cpuid::{self, RegisterInfo as LeafRegister};
use tlfs::hypercall::{CALLS, CallInfo};
use tlfs::msr::{MSRS, MsrInfo};
use tlfs::privilege::Privilege;
use tlfs::register::{REGISTERS, RegisterInfo};
use tlfs::synic::MessageType;
use tlfs::{Field, HvStatus, Named};

/// A thing that the interface has a name or number for.
#[derive(Clone, Copy)]
pub(super) enum Topic {
    Call(&'static CallInfo),
    Msr(&'static MsrInfo),
    Leaf(u32, &'static str),
    /// A field of a CPUID register.
    LeafField(&'static LeafRegister, Field),
    Status(&'static Named<HvStatus>),
    Message(&'static Named<MessageType>),
    Register(&'static RegisterInfo),
    Privilege(Privilege),
}

/// Every topic.
pub(super) fn all() -> Vec<Topic> {
    let mut topics: Vec<Topic> = CALLS.iter().map(Topic::Call).collect();
    topics.extend(MSRS.iter().map(Topic::Msr));
    let mut leaves: Vec<u32> = cpuid::REGISTERS.iter().map(|info| info.leaf).collect();
    leaves.dedup();
    topics.extend(leaves.into_iter().filter_map(|leaf| Some(Topic::Leaf(leaf, cpuid::about(leaf)?))));
    topics.extend(Privilege::ALL.iter().copied().map(Topic::Privilege));
    for info in cpuid::REGISTERS {
        // Leaf 3's EAX and EBX are the privileges, which are topics of their own.
        let is_privileges = info.leaf == cpuid::FEATURES
            && matches!(info.register, cpuid::OutputRegister::Eax | cpuid::OutputRegister::Ebx);
        let fields = info.fields.iter().filter(|field| !is_privileges && !field.name.is_empty());
        topics.extend(fields.map(|field| Topic::LeafField(info, *field)));
    }
    topics.extend(HvStatus::ALL.iter().map(Topic::Status));
    topics.extend(MessageType::ALL.iter().map(Topic::Message));
    topics.extend(REGISTERS.iter().map(Topic::Register));
    topics
}

impl Topic {
    /// What it may be called before a colon.
    pub(super) fn kinds(&self) -> &'static [&'static str] {
        match self {
            Self::Call(_) => &["call", "hypercall"],
            Self::Msr(_) => &["msr"],
            Self::Leaf(..) => &["leaf", "cpuid"],
            Self::LeafField(..) => &["bit", "field", "leaf", "cpuid"],
            Self::Status(_) => &["status"],
            Self::Message(_) => &["message"],
            Self::Register(_) => &["register"],
            Self::Privilege(_) => &["privilege"],
        }
    }

    pub(super) fn number(&self) -> Option<u64> {
        Some(match self {
            Self::Call(call) => call.code.0.into(),
            Self::Msr(msr) => msr.number.into(),
            Self::Leaf(leaf, _) => (*leaf).into(),
            Self::Status(status) => status.value.0.into(),
            Self::Message(message) => message.value.0.into(),
            Self::Register(register) => register.register.0.into(),
            Self::LeafField(..) | Self::Privilege(_) => return None,
        })
    }

    /// Its names, the best known first.
    pub(super) fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Call(call) => vec![call.name],
            Self::Msr(msr) => vec![msr.name, msr.constant],
            Self::Leaf(..) => vec!["leaf"],
            Self::LeafField(_, field) => vec![field.name],
            Self::Status(status) => vec![status.name, status.constant],
            Self::Message(message) => vec![message.name, message.constant],
            Self::Register(register) => vec![register.name],
            Self::Privilege(privilege) => vec![privilege.name()],
        }
    }

    /// What it is, in a sentence.
    pub(super) fn about(&self) -> &'static str {
        match self {
            Self::Call(call) => call.about,
            Self::Msr(msr) => msr.about,
            Self::Leaf(_, about) => about,
            Self::LeafField(_, field) => field.about,
            Self::Status(status) => status.about,
            Self::Message(message) => message.about,
            Self::Register(register) => register.about,
            Self::Privilege(privilege) => privilege.about(),
        }
    }
}
