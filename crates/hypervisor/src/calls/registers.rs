// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of VPs (TLFS 7.10.1, 7.10.2).

use hypercall::HandleRep;
use hypercall::calls::{GetVpRegisters, SetVpRegisters};
use hypercall::{RepStop, Stop};
use tlfs::HvStatus;
use tlfs::register::{RegisterName, RegisterValue};
use tlfs::vp::{RegisterAssociation, VpIndex, VpRegistersInput};

use super::{Calls, Condition, RepDone};
use crate::register::guest_may;
use crate::register::request::{Answer, Operation};

impl Calls<'_> {
    /// Index of the VP that a call names, which exists.
    pub(super) fn vp_index(&self, named: VpIndex) -> Result<u32, HvStatus> {
        match named {
            VpIndex::SELF => Ok(self.index),
            VpIndex(index) if index < self.partition.vp_count() => Ok(index),
            _ => Err(HvStatus::INVALID_VP_INDEX),
        }
    }

    fn register_target(&self, input: &VpRegistersInput) -> Result<u32, HvStatus> {
        self.require_self(input.partition_id)?;
        self.target_vtl(input.target_vtl)?;
        if input.reserved_z != [0; 3] {
            return Err(HvStatus::INVALID_PARAMETER);
        }
        self.vp_index(input.vp_index)
    }

    /// Asks for the first `length` registers of a part of a list; what stands against the next one comes after them.
    fn ask_for(
        &mut self,
        vp: u32,
        length: usize,
        next: Option<HvStatus>,
        operation: Operation,
    ) -> Result<Answer, RepStop<Condition>> {
        let stop = |reason| RepStop { processed: 0, reason };
        let mut answer = if length == 0 { Answer::NOTHING } else { self.ask(vp, operation).map_err(stop)? };
        if answer.processed == length
            && let Some(status) = next
        {
            answer.status = status;
        }
        Ok(answer)
    }
}

/// How the part of a list ended.
fn end(answer: &Answer, length: usize) -> RepDone {
    if answer.processed == length {
        return Ok(());
    }
    Err(RepStop { processed: answer.processed, reason: Stop::Failed(answer.status) })
}

/// How many of a list come before the first that something stands against, and what.
fn allowed<T>(list: &[T], check: impl Fn(&T) -> Result<(), HvStatus>) -> (usize, Option<HvStatus>) {
    let refused = list.iter().enumerate().find_map(|(index, item)| Some((index, check(item).err()?)));
    refused.map_or((list.len(), None), |(index, status)| (index, Some(status)))
}

impl HandleRep<GetVpRegisters> for Calls<'_> {
    fn handle(
        &mut self,
        input: &VpRegistersInput,
        names: &[RegisterName],
        values: &mut [RegisterValue],
    ) -> RepDone {
        let vp = self.register_target(input)?;
        let offer = self.partition.offer();
        let (length, next) = allowed(names, |&name| guest_may::get(name, offer));
        let answer = self.ask_for(vp, length, next, Operation::Get(names[..length].to_vec()))?;
        for (place, value) in values.iter_mut().zip(&answer.values) {
            *place = *value;
        }
        end(&answer, names.len())
    }
}

impl HandleRep<SetVpRegisters> for Calls<'_> {
    fn handle(
        &mut self,
        input: &VpRegistersInput,
        associations: &[RegisterAssociation],
        _: &mut [()],
    ) -> RepDone {
        let vp = self.register_target(input)?;
        let offer = self.partition.offer();
        let (length, next) = allowed(associations, |association| {
            let clean = association.reserved_z == [0; 3];
            if clean { guest_may::set(association.name, offer) } else { Err(HvStatus::INVALID_PARAMETER) }
        });
        let list = associations[..length].iter().map(|association| (association.name, association.value));
        let answer = self.ask_for(vp, length, next, Operation::Set(list.collect()))?;
        end(&answer, associations.len())
    }
}
