// SPDX-License-Identifier: MIT OR Apache-2.0
//! `viridian run`: builds a machine around a partition, loads the guest, runs it, and says how it ended.

mod core_file;
mod crowd;
mod ending;
mod expect;
mod guest;
mod profile;
mod rebooting;
mod report;
mod request;
mod thread;
mod trace_file;
mod wiring;

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use engine::{Engine, Segment, SegmentName, TableRegister};
use engine_soft::SoftEngine;
use engine_soft::model::{Model, ModelName, Vendor};
use hypervisor::{Enlightenment, Partition, PartitionConfig, TraceSink, Tracing, Vp};
use loader::{EntryState, Image, MemoryMap, MemoryRange, RangeKind, SegmentRegister};
use machine::acpi::{AcpiConfig, AcpiTables};
use machine::console::{Console, ConsoleEvent};
use machine::layout::{E820Kind, MemoryLayout};
use machine::time::{Frequency, TscClock};
use machine::{Pc, PcConfig};
use memory::{MemoryObject, Rights, Space, ViewId};
use vmbus::VmbusHost;

use crate::options::{CpuModel, CpuVendor, EngineName, ProfileOptions, RunOptions};
use crate::refusal::Refusal;
use crate::status::Status;
use core_file::CoreFile;
use crowd::Crowd;
use ending::{End, Ending};
use guest::Guest;
use profile::Profile;
use rebooting::Resettable;
use thread::VpThread;
use trace_file::TraceFile;
use wiring::{SelfConnections, ToMachine, ToProcessors};

/// The view that a guest without VTLs has.
const VIEW: ViewId = ViewId(0);

/// Runs a guest to its end.
pub(crate) fn run(options: &RunOptions) -> Result<Status, Refusal> {
    let verdict = &options.verdict;
    let core = verdict.core.as_deref().map(CoreFile::new).transpose()?;
    let guest = Guest::from_options(options)?;
    let layout = MemoryLayout::new(options.memory)?;
    let (engine, address_bits) = make_engine(options)?;
    let space = Space::new(address_bits);

    let trace =
        options.profile.trace.as_deref().map(|path| TraceFile::create(path, options.cpus)).transpose()?;
    let config = PartitionConfig {
        vp_count: options.cpus,
        enlightenments: options.hv,
        tracing: tracing(&options.profile, trace.as_ref()),
        ..PartitionConfig::default()
    };
    let has_vmbus = options.hv.contains(Enlightenment::Synic);
    let (partition, mut vps) = Partition::create(&engine, &space, config)?;
    let apic_ids = partition.vps().map(hypervisor::VpShared::apic_id).collect();
    let acpi = AcpiTables::new(&AcpiConfig { apic_ids, vmbus: has_vmbus })?;
    rebooting::boot(&guest, &layout, &acpi, &partition, &mut vps)?;
    let mut vmbus = has_vmbus.then(|| VmbusHost::connect(&partition)).transpose()?;

    let mut console = Console::on_stdio(guest.at_end_of_input)?;
    // Its files are not needed again, unless it boots again.
    let guest = verdict.reboot.then_some(guest);
    let ending = Arc::new(Ending::default());
    ending.set_partition(&partition);
    let frequency = Frequency::new(partition.clock().frequency()).expect("a clock that runs");
    let time = TscClock::new(frequency, 0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
    let connections = Arc::new(SelfConnections::new(Arc::clone(&partition)));
    let output = match &verdict.expect {
        Some(text) => {
            let ending = Arc::clone(&ending);
            expect::watch(console.output(), text, move || ending.end(End::Expected))
        }
        None => console.output(),
    };
    let profile = Profile::new(&options.profile, &partition);
    let output = match &profile {
        Some(profile) => profile.watch(&options.profile, output),
        None => output,
    };
    let config = PcConfig::new(layout, options.cpus)
        .clock_start_ns(started)
        .serial_input(console.input())
        .serial_output(output)
        .test_device(connections.clone());
    let pc = Arc::new(Pc::new(config, Arc::new(ToProcessors(Arc::clone(&partition))), ending.clone())?);
    partition.set_interrupt_controller(Arc::new(ToMachine {
        pc: Arc::downgrade(&pc),
        partition: Arc::downgrade(&partition),
        time,
    }));
    listen(&mut console, &pc, &partition, time, &ending, profile.as_ref())?;

    request::listen(&ending)?;
    let limit = verdict.timeout.map(|time| (Instant::now() + time, time));
    let end = loop {
        let threads = start(vps, &pc, time, &ending)?;
        let end = ending.wait(limit);
        if matches!(end, End::Quit | End::Timeout(_)) {
            // Who ends a run does not wait for a reader of its output, who may have stopped to read.
            console.abandon_output();
        }
        vps = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        let Some(guest) = guest.as_ref().filter(|_| end == End::Reset) else { break end };
        let around = Resettable { partition: &partition, pc: &pc, time, connections: &connections };
        around.reset(&mut vps, &mut vmbus)?;
        rebooting::boot(guest, &layout, &acpi, &partition, &mut vps)?;
        ending.begin_again();
        if let Some(profile) = &profile {
            profile.begin_again();
        }
    };
    // The terminal is the user's again before anything is said.
    drop(console);
    if options.profile.stats {
        report::statistics(&vps, partition.clock().now(), partition.clock().frequency());
    }
    if let Some(profile) = &profile {
        profile.tell_at_end(&vps)?;
    }
    if let Some(trace) = &trace {
        report::lost_events(trace.finish()?);
    }
    let status = report::end(&end, verdict.expect.as_deref());
    if let Some(core) = core.filter(|_| end.leaves_core(verdict.expect.is_some())) {
        core.write(&space, &layout.mapped(), &mut vps)?;
        report::core(core.path());
    }
    Ok(status)
}

/// What is done with what happens on VPs.
fn tracing(options: &ProfileOptions, trace: Option<&Arc<TraceFile>>) -> Tracing {
    Tracing {
        count: options.stats || options.profile.is_some(),
        host_time: Some(engine::host_tsc),
        sink: trace.map(|trace| Arc::clone(trace) as Arc<dyn TraceSink>),
    }
}

/// Gives each VP a thread.
fn start(
    vps: Vec<Vp>,
    pc: &Arc<Pc>,
    time: TscClock,
    ending: &Arc<Ending>,
) -> Result<Vec<JoinHandle<Vp>>, Refusal> {
    let crowd = Arc::new(Crowd::new(vps.len() as u32));
    vps.into_iter()
        .map(|vp| {
            let (pc, ending, crowd) = (Arc::clone(pc), Arc::clone(ending), Arc::clone(&crowd));
            let thread = VpThread { vp, pc, time, ending, crowd };
            let name = format!("VP {}", thread.vp.index());
            std::thread::Builder::new().name(name).spawn(|| thread.run()).map_err(Refusal::Thread)
        })
        .collect()
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
            let engine: Arc<dyn Engine> = Arc::new(SoftEngine::new(model));
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

/// Lets the console wake the machine.
fn listen(
    console: &mut Console,
    pc: &Arc<Pc>,
    partition: &Arc<Partition>,
    time: TscClock,
    ending: &Arc<Ending>,
    profile: Option<&Arc<Profile>>,
) -> Result<(), Refusal> {
    let (pc, partition, ending): (Weak<Pc>, _, _) =
        (Arc::downgrade(pc), Arc::downgrade(partition), Arc::downgrade(ending));
    let profile = profile.map(Arc::downgrade);
    console.listen(move |event| match event {
        ConsoleEvent::Input | ConsoleEvent::EndOfInput => {
            if let (Some(pc), Some(partition)) = (pc.upgrade(), partition.upgrade()) {
                pc.serial_input_ready(time.time(partition.clock().now()));
            }
        }
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
