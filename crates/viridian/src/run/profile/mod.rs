// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--profile`: what the guest did, by VP, VTL and phase, at the end of a run and whenever somebody asks (docs/profile.md).

mod json;
mod observed;
mod text;

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hypervisor::{Partition, PhaseStatistics, Vp};
use machine::SerialOutput;

use super::expect;
use crate::options::{Phase, ProfileOptions};
use crate::refusal::Refusal;
use crate::unfinished;

/// The phase in which every run begins.
const FIRST: &str = "boot";
/// The one that follows by default, and the texts that start it: a login, and the shell of `run debian`.
const SECOND: &str = "idle";
const SECOND_TEXTS: [&str; 2] = ["login: ", loader::debian::SHELL_IS_UP];

/// How long a VP is waited for that somebody asks about: it answers once its thread runs.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps phases apart and tells what happened in each.
pub(crate) struct Profile {
    partition: Arc<Partition>,
    names: Vec<String>,
    clock: Mutex<PhaseClock>,
    file: Option<PathBuf>,
}

/// How long each phase took.
struct PhaseClock {
    current: usize,
    since: Instant,
    spent: Vec<Duration>,
}

/// All that is told, for [`text`] and [`json`] to put into words.
struct Report {
    names: Vec<String>,
    /// How long each phase took, by the host's clock.
    spent: Vec<Duration>,
    vps: Vec<(u32, Vec<PhaseStatistics>)>,
    /// Ticks of the host's time in a second.
    frequency: u64,
}

impl Profile {
    /// `None` if nobody wants one.
    ///
    /// # Errors
    /// If its file could not be written.
    pub(crate) fn new(
        options: &ProfileOptions,
        partition: &Arc<Partition>,
    ) -> Result<Option<Arc<Self>>, Refusal> {
        let Some(file) = options.profile.clone() else { return Ok(None) };
        if let Some(path) = &file {
            unfinished::check(path).map_err(|source| Refusal::Write { path: path.clone(), source })?;
        }
        let mut names = vec![FIRST.to_owned()];
        for phase in phases(options) {
            if !names.contains(&phase.name) {
                names.push(phase.name);
            }
        }
        let spent = vec![Duration::ZERO; names.len()];
        let clock = PhaseClock { current: 0, since: Instant::now(), spent };
        let partition = Arc::clone(partition);
        Ok(Some(Arc::new(Self { partition, names, clock: Mutex::new(clock), file })))
    }

    /// `output`, starting phases by what goes through it.
    pub(crate) fn watch(
        self: &Arc<Self>,
        options: &ProfileOptions,
        mut output: Box<dyn SerialOutput>,
    ) -> Box<dyn SerialOutput> {
        for phase in phases(options) {
            let Some(number) = self.names.iter().position(|name| *name == phase.name) else { continue };
            let profile = Arc::clone(self);
            output = expect::watch(output, &phase.text, move || profile.begin_phase(number));
        }
        output
    }

    /// The machine was reset: it boots.
    pub(crate) fn begin_again(&self) {
        self.begin_phase(0);
    }

    fn begin_phase(&self, phase: usize) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.settle();
        clock.current = phase;
        self.partition.begin_phase(phase);
    }

    /// Tells what happened until now, while VPs run on.
    pub(crate) fn tell_now(&self) {
        let (reply, answers) = channel();
        for vp in self.partition.vps() {
            vp.ask_for_statistics(reply.clone());
        }
        drop(reply);
        let deadline = Instant::now() + PATIENCE;
        let mut vps = Vec::new();
        while let Ok(answer) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            vps.push(answer);
        }
        vps.sort_by_key(|(vp, _)| *vp);
        if let Err(refusal) = self.tell(vps) {
            tell!("viridian: {refusal}");
        }
    }

    /// Tells what happened in all.
    ///
    /// # Errors
    /// If the file, or standard error, cannot be written.
    pub(crate) fn tell_at_end(&self, vps: &[Vp]) -> Result<(), Refusal> {
        self.tell(vps.iter().map(|vp| (vp.index(), vp.statistics_by_phase())).collect())
    }

    fn tell(&self, vps: Vec<(u32, Vec<PhaseStatistics>)>) -> Result<(), Refusal> {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.settle();
        let spent = clock.spent.clone();
        drop(clock);
        let report =
            Report { names: self.names.clone(), spent, vps, frequency: engine::host_tsc_frequency() };
        let Some(path) = &self.file else {
            return super::report::page(&text::page(&report));
        };
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let page = if is_json { json::page(&report) } else { text::page(&report) };
        unfinished::write(path, (page + "\n").as_bytes())
            .map_err(|source| Refusal::Write { path: path.clone(), source })
    }
}

impl PhaseClock {
    fn settle(&mut self) {
        let now = Instant::now();
        self.spent[self.current] += now - self.since;
        self.since = now;
    }
}

/// The phases that were asked for, or those that every guest has.
fn phases(options: &ProfileOptions) -> Vec<Phase> {
    if !options.phases.is_empty() {
        return options.phases.clone();
    }
    let idle = |text: &str| Phase { name: SECOND.to_owned(), text: text.to_owned() };
    SECOND_TEXTS.map(idle).into()
}

impl Report {
    /// Host ticks as nanoseconds.
    fn nanoseconds(&self, ticks: u64) -> u64 {
        (u128::from(ticks) * 1_000_000_000 / u128::from(self.frequency.max(1))) as u64
    }

    /// Everything of one phase, over VPs and VTLs.
    fn phase(&self, phase: usize) -> hypervisor::Statistics {
        let mut sum = hypervisor::Statistics::default();
        let parts = self.vps.iter().flat_map(|(_, parts)| parts).filter(|part| part.phase == phase);
        parts.for_each(|part| sum.add(&part.statistics));
        sum
    }
}
