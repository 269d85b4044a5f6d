// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a VP that waits to be started starts: by a start-up IPI in real mode, or by HvCallStartVirtualProcessor in any other (TLFS 7.10.3).

use engine::{ControlRegisters, EngineVp, Gpr, ModelSpecificRegisters, SegmentName};
use state::{Damaged, Reader, State, Writer};
use tlfs::HvStatus;
use tlfs::vp::InitialVpContext;
use x86::control::{Cr0, Cr4, Efer};
use x86::segment::{Segment, Selector};
use zerocopy::{FromBytes, IntoBytes};

use super::state::RunState;
use crate::partition::Partition;
use crate::register::{is_valid_context, to_segment, to_table};

/// The state in which a VP starts.
pub(crate) enum StartUp {
    /// Real mode at the first byte of this page (SDM 3A 8.4.3).
    Page(u8),
    Context(Box<InitialVpContext>),
}

impl Default for StartUp {
    fn default() -> Self {
        Self::Page(0)
    }
}

impl State for StartUp {
    fn save(&self, writer: &mut Writer) {
        match self {
            Self::Page(page) => (false, *page).save(writer),
            Self::Context(context) => {
                true.save(writer);
                writer.bytes(context.as_bytes());
            }
        }
    }

    fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Damaged> {
        *self = if reader.value()? {
            let bytes = reader.bytes(size_of::<InitialVpContext>())?;
            Self::Context(Box::new(InitialVpContext::read_from_bytes(bytes).map_err(|_| Damaged::Short)?))
        } else {
            Self::Page(reader.value()?)
        };
        Ok(())
    }
}

impl StartUp {
    /// Gives a VP that waits this state. What the state does not say is as after reset.
    pub(super) fn apply(self, engine: &mut dyn EngineVp) {
        match self {
            Self::Page(page) => {
                let code = engine.segment(SegmentName::Cs);
                let selector = Selector::from_bits(u16::from(page) << 8);
                engine
                    .set_segment(SegmentName::Cs, Segment { base: u64::from(page) << 12, selector, ..code });
                engine.set_rip(0);
            }
            Self::Context(context) => start_in(engine, &context),
        }
    }
}

fn start_in(engine: &mut dyn EngineVp, context: &InitialVpContext) {
    let segments = [
        (SegmentName::Cs, context.cs),
        (SegmentName::Ds, context.ds),
        (SegmentName::Es, context.es),
        (SegmentName::Fs, context.fs),
        (SegmentName::Gs, context.gs),
        (SegmentName::Ss, context.ss),
        (SegmentName::Tr, context.tr),
        (SegmentName::Ldtr, context.ldtr),
    ];
    for (name, segment) in segments {
        engine.set_segment(name, to_segment(segment));
    }
    engine.set_idtr(to_table(context.idtr));
    engine.set_gdtr(to_table(context.gdtr));
    let cr0 = Cr0::from_bits(context.cr0).with_et(true).into_bits();
    let (cr3, cr4, efer) = (context.cr3, context.cr4, context.efer);
    engine.set_control(ControlRegisters { cr0, cr3, cr4, efer, ..engine.control() });
    engine.set_msrs(ModelSpecificRegisters { pat: context.msr_cr_pat, ..engine.msrs() });
    engine.set_gpr(Gpr::Rsp, context.rsp);
    engine.set_rflags(context.rflags);
    engine.set_rip(context.rip);
}

/// Whether the modes that a context names go together, and are not real mode.
fn is_a_mode(context: &InitialVpContext) -> bool {
    let (cr0, cr4, efer) =
        (Cr0::from_bits(context.cr0), Cr4::from_bits(context.cr4), Efer::from_bits(context.efer));
    let long = efer.lme() && cr0.pg();
    cr0.pe() && efer.lma() == long && (!long || cr4.pae())
}

impl Partition {
    /// Starts a VP that has not been started yet in the given state, in VTL 0, as HvCallStartVirtualProcessor does (TLFS 7.10.3).
    ///
    /// # Errors
    /// INVALID_REGISTER_VALUE for a state that no processor can be in, and for real mode; INVALID_VP_STATE if the VP has been started.
    ///
    /// # Panics
    /// If there is no VP with this index.
    pub fn start_virtual_processor(&self, vp: u32, context: &InitialVpContext) -> Result<(), HvStatus> {
        if !is_valid_context(self, context) || !is_a_mode(context) {
            return Err(HvStatus::INVALID_REGISTER_VALUE);
        }
        let vp = self.vp(vp);
        let mut state = vp.state();
        if state.run_state() != RunState::WaitForStartUp || state.start_up.is_some() || state.init {
            return Err(HvStatus::INVALID_VP_STATE);
        }
        state.start_up = Some(StartUp::Context(Box::new(*context)));
        drop(state);
        vp.notify();
        Ok(())
    }
}
