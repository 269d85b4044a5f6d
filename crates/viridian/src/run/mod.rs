// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian run`: builds a machine around a partition, loads the guest, runs it, and says how it ended.

mod computer;
mod core_file;
mod crowd;
pub(crate) mod debug_link;
mod ending;
mod expect;
mod guest;
mod in_turn;
mod own_files;
mod profile;
mod rebooting;
mod report;
mod serve;
pub(crate) mod share;
mod thread;
mod trace_file;
mod turns;
mod typed;
mod wiring;
mod zeroed;

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use engine::{Engine, Segment, SegmentName, TableRegister};
use engine_soft::SoftEngine;
use engine_soft::model::{Model, ModelName, Vendor};
use hypervisor::{DebugLink, Enlightenment, Enlightenments, TraceSink, Tracing, Vp};
use loader::{EntryState, Image, MemoryMap, MemoryRange, RangeKind, SegmentRegister};
use machine::console::{Console, ConsoleEvent};
use machine::layout::{E820Kind, MemoryLayout};
use memory::{MemoryObject, Rights, Space, ViewId};

use crate::options::{CpuModel, CpuVendor, EngineName, ProfileOptions, RunOptions, TimeKind};
use crate::refusal::Refusal;
use crate::signals;
use crate::status::Status;
use computer::{Computer, Plan, SharedInput, SharedOutput};
use core_file::CoreFile;
use crowd::Crowd;
use debug_link::UdpLink;
use ending::{End, Ending};
use guest::Guest;
use in_turn::{InTurn, Mail};
use profile::Profile;
use serve::Surroundings;
use share::Share;
use thread::VpThread;
use trace_file::TraceFile;
use typed::Typed;

/// The view that a guest without VTLs has.
const VIEW: ViewId = ViewId(0);

/// What the real-time clock shows at the start under virtual time: the first of January 2026, UTC.
const VIRTUAL_START: Duration = Duration::from_secs(1_767_225_600);

/// How long who ends the run from outside waits for a trace to be written.
const TRACE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs a guest to its end.
pub(crate) fn run(options: RunOptions) -> Result<Status, Refusal> {
    let options = Arc::new(options);
    let verdict = &options.verdict;
    let share = share(&options)?;
    own_files::check(&options)?;
    let core = verdict.core.as_deref().map(CoreFile::new).transpose()?;
    let guest = Guest::from_options(&options)?;
    let layout = MemoryLayout::new(options.memory)?;
    let repeatable = options.time.time == TimeKind::Virtual;

    let ending = Arc::new(Ending::default());
    listen_to_signals(&ending);
    let mut console = Console::on_stdio(guest.at_end_of_input)?;
    // A terminal's input comes while the guest runs; everything else is there before it starts, if the run is to be repeatable.
    let typed = if repeatable && !std::io::stdin().is_terminal() {
        Some(Typed::standard_input(guest.at_end_of_input, &ending)?)
    } else {
        None
    };
    let input = typed.as_ref().map_or_else(|| console.input(), |typed| Box::new(typed.clone()));
    let output = match &verdict.expect {
        Some(text) => {
            let ending = Arc::clone(&ending);
            expect::watch(console.output(), text, move || ending.end(End::Expected))
        }
        None => console.output(),
    };
    let trace =
        options.profile.trace.as_deref().map(|path| TraceFile::new(path, options.cpus)).transpose()?;
    let (enlightenments, debug_link) = debugging(&options)?;
    let plan = Arc::new(Plan {
        options: Arc::clone(&options),
        enlightenments,
        debug_link,
        tracing: tracing(&options.profile, trace.as_ref()),
        layout,
        clock_start_ns: if repeatable { VIRTUAL_START } else { since_epoch() }.as_nanos() as i128,
        ending: Arc::clone(&ending),
        input: SharedInput(Arc::new(Mutex::new(input))),
        output: SharedOutput::new(output),
    });
    let mut computer = Computer::new(&plan)?;
    let profile = Profile::new(&options.profile, &computer.around.partition)?;
    if let Some(profile) = &profile {
        plan.output.change(|output| profile.watch(&options.profile, output));
    }
    computer.boot(&guest)?;
    if let Some(trace) = &trace {
        // Last of all, so that what is refused leaves an older trace as it was.
        trace.begin()?;
    }
    // Its files are not needed again, unless it boots again.
    let guest = verdict.reboot.then_some(guest);
    let mail: Arc<Mail> = Arc::default();
    if typed.is_none() {
        listen(&mut console, input_ready(&computer, repeatable.then_some(&mail)), &ending, profile.as_ref())?;
    }

    let limit = verdict.timeout.map(|time| (Instant::now() + time, time));
    let end = loop {
        let running = if repeatable {
            Running::in_turn(InTurn::new(computer, share, &plan, typed.clone(), &mail))?
        } else {
            Running::each(computer, &ending)?
        };
        let end = ending.wait(limit);
        if end.is_from_outside() {
            // A reader of the output may have stopped to read.
            console.abandon_output();
        }
        computer = running.join()?;
        let Some(guest) = guest.as_ref().filter(|_| end == End::Reset) else { break end };
        computer.reset()?;
        computer.boot(guest)?;
        ending.begin_again();
        if let Some(profile) = &profile {
            profile.begin_again();
        }
    };
    let lost = console.output_failure();
    // The terminal is the user's again before anything is said.
    drop(console);
    if options.time.state_hash.is_some() {
        report::state_hash(&computer, computer.instructions());
    }
    // What cannot be kept is no reason to lose the rest.
    let mut failures = Vec::new();
    if options.profile.stats {
        let clock = computer.around.partition.clock();
        failures.extend(report::statistics(&computer.vps, clock.now(), clock.frequency()).err());
    }
    if let Some(profile) = &profile {
        failures.extend(profile.tell_at_end(&computer.vps).err());
    }
    if let Some(trace) = &trace {
        let patience = end.is_from_outside().then_some(TRACE_PATIENCE);
        failures.extend(trace.finish(patience).map(report::lost_events).err());
    }
    let mut status = report::end(&end, verdict.expect.as_deref());
    if let Some(core) = core.filter(|_| end.leaves_core(verdict.expect.is_some())) {
        let written = core.write(&Arc::clone(computer.space()), &plan.layout.mapped(), &mut computer.vps);
        failures.extend(written.map(|()| report::core(core.path())).err());
    }
    failures.extend(lost.map(Refusal::StandardOutput));
    for failure in &failures {
        tell!("viridian: {failure}");
        status = Status::Refused;
    }
    // It may have come after the end.
    Ok(signals::received().map_or(status, Status::Signal))
}

/// Lets signals end the run from now on.
fn listen_to_signals(ending: &Arc<Ending>) {
    let ending = Arc::downgrade(ending);
    signals::listen(move |wish| {
        if let Some(ending) = ending.upgrade() {
            ending.end(wish.into());
        }
    });
}

/// What the console does when there is input: it wakes the machine, or leaves that to the thread that runs the VPs in turn.
fn input_ready(computer: &Computer, mail: Option<&Arc<Mail>>) -> Box<dyn Fn() + Send + Sync> {
    if let Some(mail) = mail.map(Arc::clone) {
        return Box::new(move || mail.input());
    }
    let Surroundings { partition, pc, time } = computer.around.clone();
    let (pc, partition) = (Arc::downgrade(&pc), Arc::downgrade(&partition));
    Box::new(move || {
        if let (Some(pc), Some(partition)) = (pc.upgrade(), partition.upgrade()) {
            pc.serial_input_ready(time.time(partition.clock().now()));
        }
    })
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The threads that run the VPs of a computer.
enum Running {
    /// One for each VP, which the computer has not got meanwhile.
    Each(Box<Computer>, Vec<JoinHandle<Vp>>),
    /// One for all.
    InTurn(JoinHandle<Computer>),
}

impl Running {
    fn each(mut computer: Computer, ending: &Arc<Ending>) -> Result<Self, Refusal> {
        let vps = std::mem::take(&mut computer.vps);
        let crowd = Arc::new(Crowd::new(vps.len() as u32));
        let start = |vp: Vp| {
            let name = format!("VP {}", vp.index());
            let (around, ending, crowd) = (computer.around.clone(), Arc::clone(ending), Arc::clone(&crowd));
            let thread = VpThread { vp, around, ending, crowd };
            std::thread::Builder::new().name(name).spawn(|| thread.run()).map_err(Refusal::Thread)
        };
        let threads = vps.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self::Each(Box::new(computer), threads))
    }

    fn in_turn(in_turn: InTurn) -> Result<Self, Refusal> {
        let thread = std::thread::Builder::new().name("VPs".to_owned());
        Ok(Self::InTurn(thread.spawn(|| in_turn.run()).map_err(Refusal::Thread)?))
    }

    /// Waits for their end, and gives back what they ran.
    fn join(self) -> Result<Computer, Refusal> {
        match self {
            Self::Each(mut computer, threads) => {
                // One that panicked has said so, and is no more.
                computer.vps = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
                Ok(*computer)
            }
            Self::InTurn(thread) => thread.join().map_err(|_| Refusal::Broken),
        }
    }
}

/// What the guest is offered, with the debug transport if that has a link.
fn debugging(options: &RunOptions) -> Result<(Enlightenments, Option<Arc<dyn DebugLink>>), Refusal> {
    let Some(debugger) = options.debug_link else {
        let wanted = options.hv.contains(Enlightenment::Debugging);
        return if wanted { Err(Refusal::NoDebugLink) } else { Ok((options.hv, None)) };
    };
    if !options.hv.contains(Enlightenment::AccessHypercallMsrs) {
        return Err(Refusal::DebugLinkWithoutHypercalls);
    }
    let link =
        UdpLink::connect(debugger).map_err(|source| Refusal::DebugLink { address: debugger, source })?;
    let offered = options.hv.with(Enlightenment::Debugging).with(Enlightenment::GuestDebugging);
    Ok((offered, Some(Arc::new(link))))
}

/// What is done with what happens on VPs.
fn tracing(options: &ProfileOptions, trace: Option<&Arc<TraceFile>>) -> Tracing {
    Tracing {
        count: options.stats || options.profile.is_some(),
        host_time: Some(engine::host_tsc),
        sink: trace.map(|trace| Arc::clone(trace) as Arc<dyn TraceSink>),
    }
}

/// What share of a processor each VP gets.
fn share(options: &RunOptions) -> Result<Share, Refusal> {
    let time = &options.time;
    let share = Share::new(time.cpu_reserve, time.cpu_cap, time.cpu_weight, options.cpus)?;
    if time.time == TimeKind::Real {
        if share != Share::default() {
            return Err(Refusal::ShareNeedsVirtualTime);
        }
        if time.seed.is_some() {
            return Err(Refusal::NeedsVirtualTime("--seed"));
        }
        if time.state_hash.is_some_and(|every| every.is_some()) {
            return Err(Refusal::NeedsVirtualTime("--state-hash N"));
        }
        if time.rebuild_every.is_some() {
            return Err(Refusal::NeedsVirtualTime("--rebuild-every"));
        }
    }
    Ok(share)
}

fn make_engine(options: &RunOptions) -> Result<(Arc<dyn Engine>, u32), Refusal> {
    let model = Model::named(match options.cpu {
        CpuModel::Host => ModelName::Host,
        CpuModel::X86_64V2 => ModelName::X86_64V2,
        CpuModel::X86_64V3 => ModelName::X86_64V3,
    })?;
    let model = match options.cpu_vendor {
        None => model,
        Some(CpuVendor::Intel) => model.by_vendor(Vendor::Intel),
        Some(CpuVendor::Amd) => model.by_vendor(Vendor::Amd),
    };
    match options.engine {
        EngineName::Auto | EngineName::Soft => {
            let engine = SoftEngine::new(model);
            let engine: Arc<dyn Engine> = Arc::new(match options.time.time {
                TimeKind::Real => engine,
                TimeKind::Virtual => engine.with_virtual_time(options.time.seed.unwrap_or(0)),
            });
            // CPUID 0x80000008 EAX 7:0 is the width of physical addresses.
            let bits = engine.cpuid(0x8000_0008, 0).eax & 0xFF;
            Ok((engine, bits))
        }
    }
}

/// Gives the guest its memory.
fn map_memory(space: &Space, layout: &MemoryLayout) -> Result<(), Refusal> {
    let ranges = layout.mapped();
    let bytes = ranges.iter().map(|range| range.end - range.start).sum();
    let object = MemoryObject::allocate(bytes)?;
    space.batch(|batch| {
        let mut page = 0;
        for range in &ranges {
            let pages = (range.end - range.start) >> memory::PAGE_SHIFT;
            batch.map(VIEW, range.start >> memory::PAGE_SHIFT, pages, &object, page, Rights::ALL)?;
            page += pages;
        }
        Ok(())
    })
}

fn memory_map(layout: &MemoryLayout) -> Result<MemoryMap, Refusal> {
    Ok(MemoryMap::new(layout.e820().into_iter().map(|entry| MemoryRange {
        start: entry.range.start,
        length: entry.range.end - entry.range.start,
        kind: match entry.kind {
            E820Kind::Ram => RangeKind::Usable,
            E820Kind::Reserved => RangeKind::Reserved,
        },
    }))?)
}

/// Writes an image to memory and sets the first VP up to start it.
fn load(space: &Space, vp: &mut Vp, image: &Image<'_>) -> Result<(), Refusal> {
    for segment in &image.segments {
        space.write(VIEW, segment.gpa, &segment.bytes, Rights::NONE)?;
    }
    let EntryState { rip, rsp, rflags, rax, rbx, rsi, cr0, cr3, cr4, efer, gdtr, code, data, task } =
        image.entry;
    let registers = vp.registers();
    let mut state = registers.save();
    state.gprs = [0; 16];
    for (register, value) in
        [(engine::Gpr::Rsp, rsp), (engine::Gpr::Rax, rax), (engine::Gpr::Rbx, rbx), (engine::Gpr::Rsi, rsi)]
    {
        state.gprs[register as usize] = value;
    }
    (state.rip, state.rflags) = (rip, rflags);
    state.control = engine::ControlRegisters { cr0, cr3, cr4, efer, ..state.control };
    state.gdtr = TableRegister { base: gdtr.base, limit: gdtr.limit };
    let segment = |register: SegmentRegister| Segment {
        base: register.base,
        limit: register.limit,
        selector: register.selector.into(),
        attributes: register.attributes.into(),
    };
    for name in [SegmentName::Ds, SegmentName::Es, SegmentName::Fs, SegmentName::Gs, SegmentName::Ss] {
        state.segments[name as usize] = segment(data);
    }
    state.segments[SegmentName::Cs as usize] = segment(code);
    state.segments[SegmentName::Tr as usize] = segment(task);
    registers.restore(&state);
    Ok(())
}

/// Lets the console tell of input, and end the run.
fn listen(
    console: &mut Console,
    input_ready: Box<dyn Fn() + Send + Sync>,
    ending: &Arc<Ending>,
    profile: Option<&Arc<Profile>>,
) -> Result<(), Refusal> {
    let ending: Weak<Ending> = Arc::downgrade(ending);
    let profile = profile.map(Arc::downgrade);
    console.listen(move |event| match event {
        ConsoleEvent::Input | ConsoleEvent::EndOfInput => input_ready(),
        ConsoleEvent::Quit => {
            if let Some(ending) = ending.upgrade() {
                ending.end(End::Quit);
            }
        }
        ConsoleEvent::Report => match profile.as_ref().map(Weak::upgrade) {
            Some(Some(profile)) => profile.tell_now(),
            Some(None) => {}
            None => tell!("viridian: nothing is counted; start with --profile"),
        },
        ConsoleEvent::OutputClosed => {}
    })?;
    Ok(())
}
