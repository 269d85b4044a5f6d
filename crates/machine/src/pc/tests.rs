// SPDX-License-Identifier: MIT OR Apache-2.0
use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use x86::apic::DeliveryMode;

use super::*;
use crate::interrupt::InterruptMessage;
use crate::test_device::TestCommand;
use crate::wiring::MOST_LOST_TICKS;

/// Everything around the machine, recording what it is told.
#[derive(Default)]
struct Around {
    messages: Mutex<Vec<InterruptMessage>>,
    intr: Mutex<Vec<bool>>,
    commands: Mutex<Vec<TestCommand>>,
    deadlines_moved: AtomicUsize,
    exits: AtomicUsize,
}

impl InterruptSink for Around {
    fn message(&self, message: InterruptMessage) -> bool {
        let mut messages = self.messages.lock().unwrap();
        let pending = messages.iter().any(|known| known.vector == message.vector);
        messages.push(message);
        !pending
    }

    fn set_intr(&self, asserted: bool) {
        self.intr.lock().unwrap().push(asserted);
    }
}

impl Attention for Around {
    fn deadline_moved(&self) {
        self.deadlines_moved.fetch_add(1, Ordering::Relaxed);
    }

    fn exit_requested(&self) {
        self.exits.fetch_add(1, Ordering::Relaxed);
    }
}

impl TestDeviceBackend for Around {
    fn command(&self, command: TestCommand) {
        self.commands.lock().unwrap().push(command);
    }
}

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<VecDeque<u8>>>);

impl SerialInput for Wire {
    fn next_byte(&mut self) -> Option<u8> {
        self.0.lock().unwrap().pop_front()
    }
}

impl SerialOutput for Wire {
    fn write(&mut self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
    }
}

struct Bench {
    pc: Pc,
    around: Arc<Around>,
    now: Time,
    input: Wire,
    output: Wire,
}

impl Bench {
    fn new() -> Self {
        let around = Arc::new(Around::default());
        let (input, output) = (Wire::default(), Wire::default());
        let config = PcConfig::new(MemoryLayout::new(64 << 20).unwrap(), 2)
            .serial_input(Box::new(input.clone()))
            .serial_output(Box::new(output.clone()))
            .test_device(around.clone());
        let pc = Pc::new(config, around.clone(), around.clone()).unwrap();
        Self { pc, around, now: Time::ZERO, input, output }
    }

    fn out(&self, port: u16, value: u8) -> Option<ExitRequest> {
        self.pc.io_write(self.now, port, AccessSize::Byte, u32::from(value))
    }

    fn inp(&self, port: u16) -> u8 {
        self.pc.io_read(self.now, port, AccessSize::Byte) as u8
    }

    /// Routes a pin of the I/O APIC.
    fn route(&self, pin: u8, entry: u32) {
        self.pc.mmio_write(self.now, layout::IO_APIC, &(0x10 + 2 * u32::from(pin)).to_le_bytes());
        self.pc.mmio_write(self.now, layout::IO_APIC + 0x10, &entry.to_le_bytes());
    }

    /// Sets the 8259 pair up with vectors 0x30 and 0x38, all but `unmasked` masked.
    fn use_pic(&self, unmasked: u16) {
        for (port, words) in [(0x20, [0x11, 0x30, 4, 1]), (0xA0, [0x11, 0x38, 2, 1])] {
            self.out(port, words[0]);
            for word in &words[1..] {
                self.out(port + 1, *word);
            }
        }
        let [first, second] = (!unmasked).to_le_bytes();
        self.out(0x21, first);
        self.out(0xA1, second);
    }

    fn vectors(&self) -> Vec<u8> {
        self.around.messages.lock().unwrap().drain(..).map(|message| message.vector).collect()
    }

    fn program_pit(&self, mode: u8, count: u16) {
        self.out(0x43, 0x30 | mode << 1);
        let [low, high] = count.to_le_bytes();
        self.out(0x40, low);
        self.out(0x40, high);
    }
}

#[test]
fn no_two_devices_claim_the_same_and_nobody_answers_elsewhere() {
    let bench = Bench::new();
    assert_eq!(bench.pc.io_read(Time::ZERO, 0x60, AccessSize::Byte), 0xFF, "no keyboard controller");
    assert_eq!(bench.pc.io_read(Time::ZERO, 0x64, AccessSize::Byte), 0xFF);
    assert_eq!(bench.pc.io_read(Time::ZERO, 0xCF8, AccessSize::Dword), 0xFFFF_FFFF, "no PCI");
    assert_eq!(bench.pc.io_read(Time::ZERO, 0x2F8, AccessSize::Word), 0xFFFF, "no second serial port");
    assert!(!bench.pc.claims(0xFED0_0000), "no HPET");
    let mut data = [0; 8];
    bench.pc.mmio_read(Time::ZERO, 0xFED0_0000, &mut data);
    assert_eq!(data, [0xFF; 8]);
}

#[test]
fn the_timer_reaches_the_io_apic_at_pin_2_when_its_deadline_comes() {
    let bench = Bench::new();
    bench.route(2, 0x30);
    bench.program_pit(2, 11_932);
    assert_eq!(bench.vectors(), [0x30], "the control word itself raises the output");
    assert!(bench.around.deadlines_moved.load(Ordering::Relaxed) > 0);
    for _ in 0..5 {
        let deadline = bench.pc.next_deadline().unwrap();
        bench.pc.advance(Time::from_ns(deadline.as_ns() - 1));
        assert!(bench.vectors().is_empty());
        bench.pc.advance(deadline);
        assert_eq!(bench.vectors(), [0x30]);
    }
}

/// A timer of 100 Hz at pin 2, up to the moment before its first tick.
fn with_ticks() -> (Bench, Time) {
    let bench = Bench::new();
    bench.route(2, 0x30);
    bench.program_pit(2, 11_932);
    bench.vectors();
    (bench, Time::from_ns(10_001_000))
}

#[test]
fn ticks_that_a_late_run_loop_merged_follow_one_by_one() {
    let (bench, period) = with_ticks();
    bench.pc.advance(Time::from_ns(5 * period.as_ns()));
    assert_eq!(bench.vectors(), [0x30], "all at once");
    let now = Time::from_ns(5 * period.as_ns());
    bench.pc.interrupt_accepted(now, 0x31);
    assert!(bench.vectors().is_empty(), "another vector");
    for left in (0..4).rev() {
        bench.pc.interrupt_accepted(now, 0x30);
        assert_eq!(bench.vectors(), [0x30], "{left} to come");
    }
    bench.pc.interrupt_accepted(now, 0x30);
    assert!(bench.vectors().is_empty());
}

#[test]
fn ticks_that_a_late_processor_merged_follow_one_by_one() {
    let (bench, period) = with_ticks();
    // The processor takes nothing meanwhile.
    for tick in 1..=4 {
        bench.pc.advance(Time::from_ns(tick * period.as_ns()));
    }
    assert_eq!(bench.vectors(), [0x30; 4], "of which its local APIC keeps one");
    let now = Time::from_ns(4 * period.as_ns());
    for _ in 0..3 {
        bench.pc.interrupt_accepted(now, 0x30);
        assert_eq!(bench.vectors(), [0x30]);
    }
    bench.pc.interrupt_accepted(now, 0x30);
    assert!(bench.vectors().is_empty());
}

#[test]
fn ticks_are_not_kept_for_nobody() {
    const MASKED: u32 = 1 << 16;
    let (bench, period) = with_ticks();
    let at = |ticks: u64| Time::from_ns(ticks * period.as_ns());
    // Masked.
    bench.route(2, MASKED | 0x30);
    bench.pc.advance(at(50));
    bench.route(2, 0x30);
    bench.pc.interrupt_accepted(at(50), 0x30);
    assert!(bench.vectors().is_empty());
    // Not more than a bound.
    bench.pc.advance(at(50_000));
    let mut kept = 0;
    while !bench.vectors().is_empty() {
        bench.pc.interrupt_accepted(at(50_000), 0x30);
        kept += 1;
    }
    assert_eq!(kept, 1 + MOST_LOST_TICKS);
    // Set anew.
    let mut bench = bench;
    bench.pc.advance(at(50_010));
    bench.now = at(50_010);
    bench.program_pit(2, 11_932);
    bench.vectors();
    bench.pc.interrupt_accepted(at(50_010), 0x30);
    assert!(bench.vectors().is_empty());
}

#[test]
fn lost_ticks_follow_through_the_pic_too() {
    let bench = Bench::new();
    bench.use_pic(1);
    bench.program_pit(2, 11_932);
    bench.pc.acknowledge_interrupt(Time::ZERO);
    bench.out(0x20, 0x20);
    bench.around.intr.lock().unwrap().clear();
    let now = Time::from_ns(3 * 10_001_000);
    bench.pc.advance(now);
    for _ in 0..3 {
        assert_eq!(bench.around.intr.lock().unwrap().last(), Some(&true));
        assert_eq!(bench.pc.acknowledge_interrupt(now), 0x30);
        bench.pc.io_write(now, 0x20, AccessSize::Byte, 0x20);
    }
    assert_eq!(bench.around.intr.lock().unwrap().last(), Some(&false));
}

#[test]
fn the_timer_reaches_a_processor_through_the_pic() {
    let bench = Bench::new();
    bench.use_pic(1);
    bench.program_pit(0, 1000);
    assert!(bench.around.intr.lock().unwrap().is_empty());
    bench.pc.advance(bench.pc.next_deadline().unwrap());
    assert_eq!(*bench.around.intr.lock().unwrap(), [true]);
    assert_eq!(bench.pc.acknowledge_interrupt(Time::ZERO), 0x30);
    assert_eq!(*bench.around.intr.lock().unwrap(), [true, false]);
}

#[test]
fn the_pic_reaches_a_processor_through_pin_0_of_the_io_apic() {
    let bench = Bench::new();
    bench.use_pic(0x0011);
    bench.route(0, 0x700);
    bench.out(0x3FC, 0x08);
    bench.out(0x3F9, 0x02);
    let sent = std::mem::take(&mut *bench.around.messages.lock().unwrap());
    assert_eq!(sent.iter().map(|message| message.delivery_mode).collect::<Vec<_>>(), [DeliveryMode::ExtInt]);
    assert_eq!(bench.pc.acknowledge_interrupt(Time::ZERO), 0x34);
}

#[test]
fn each_request_of_the_pic_is_an_edge_at_pin_0() {
    let bench = Bench::new();
    bench.use_pic(0x0011);
    // Automatic EOI: INT would stay up through the acknowledge cycle.
    for (port, word) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 3), (0x21, 0xEE)] {
        bench.out(port, word);
    }
    bench.route(0, 0x700);
    bench.out(0x3FC, 0x08);
    bench.out(0x3F9, 0x02);
    bench.program_pit(2, 1000);
    let messages = || bench.around.messages.lock().unwrap().drain(..).count();
    assert_eq!(messages(), 1, "the timer came while INT was up already");
    assert_eq!(bench.pc.acknowledge_interrupt(bench.now), 0x30);
    assert_eq!(messages(), 1, "the serial port is still waiting");
    assert_eq!(bench.pc.acknowledge_interrupt(bench.now), 0x34);
    assert_eq!(messages(), 0);
}

#[test]
fn serial_output_is_written_in_order_and_its_interrupt_is_irq_4() {
    let bench = Bench::new();
    bench.route(4, 0x34);
    bench.out(0x3FC, 0x08);
    for byte in *b"Linux" {
        bench.out(0x3F8, byte);
    }
    assert_eq!(bench.output.0.lock().unwrap().make_contiguous(), b"Linux");
    assert!(bench.vectors().is_empty());
    bench.out(0x3F9, 0x02);
    assert_eq!(bench.vectors(), [0x34]);
}

#[test]
fn serial_input_waits_for_the_guest_and_flows_as_it_reads() {
    let bench = Bench::new();
    bench.input.0.lock().unwrap().extend(0..100u8);
    bench.pc.serial_input_ready(bench.now);
    assert_eq!(bench.inp(0x3FD) & 1, 0, "RTS is off");
    // Linux: empties the FIFO while it starts the port, and raises RTS last.
    bench.out(0x3FA, 0x07);
    bench.out(0x3FC, 0x0B);
    let mut read = Vec::new();
    while bench.inp(0x3FD) & 1 != 0 {
        read.push(bench.inp(0x3F8));
    }
    assert_eq!(read, (0..100).collect::<Vec<u8>>());
    bench.input.0.lock().unwrap().push_back(7);
    bench.pc.serial_input_ready(bench.now);
    assert_eq!(bench.inp(0x3F8), 7);
}

#[test]
fn the_character_timeout_is_a_deadline() {
    let bench = Bench::new();
    bench.route(4, 0x34);
    bench.out(0x3FA, 0xC1);
    bench.out(0x3FC, 0x0B);
    bench.out(0x3F9, 0x01);
    bench.input.0.lock().unwrap().push_back(b'x');
    bench.pc.serial_input_ready(bench.now);
    assert!(bench.vectors().is_empty());
    bench.pc.advance(bench.pc.next_deadline().unwrap());
    assert_eq!(bench.vectors(), [0x34]);
    assert_eq!(bench.pc.next_deadline(), None);
}

#[test]
fn the_power_button_is_a_level_until_the_guest_clears_its_status() {
    let bench = Bench::new();
    bench.route(9, 0x8039);
    bench.pc.io_write(bench.now, 0x602, AccessSize::Word, 0x100);
    bench.pc.press_power_button(bench.now);
    assert_eq!(bench.vectors(), [0x39]);
    bench.pc.end_of_interrupt(bench.now, 0x39);
    assert_eq!(bench.vectors(), [0x39], "not cleared, so it comes again");
    bench.pc.io_write(bench.now, 0x600, AccessSize::Word, 0x100);
    bench.pc.end_of_interrupt(bench.now, 0x39);
    assert!(bench.vectors().is_empty());
}

#[test]
fn the_clock_interrupts_through_both_controllers() {
    let bench = Bench::new();
    bench.use_pic(1 << 8 | 1 << 2);
    bench.route(8, 0x38);
    bench.out(0x70, 0x0B);
    bench.out(0x71, 0x12);
    bench.pc.advance(Time::from_ns(1_000_000_000));
    assert_eq!(bench.vectors(), [0x38]);
    assert_eq!(bench.pc.acknowledge_interrupt(bench.now), 0x38);
    assert_eq!(bench.pc.next_deadline(), None, "nothing further until register C is read");
}

#[test]
fn the_first_exit_request_stays_and_everybody_is_told() {
    for (port, size, value, expected) in [
        (0xF4, AccessSize::Dword, 0x1_0000, ExitRequest::DebugExit(0x1_0000)),
        (0xCF9, AccessSize::Byte, 6, ExitRequest::Reset),
        (0x604, AccessSize::Word, 5 << 10 | 1 << 13, ExitRequest::PowerOff),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.pc.exit_request(), None);
        assert_eq!(bench.pc.io_write(bench.now, port, size, value), Some(expected));
        bench.pc.io_write(bench.now, 0xF4, AccessSize::Byte, 99);
        assert_eq!(bench.pc.exit_request(), Some(expected));
        assert_eq!(bench.around.exits.load(Ordering::Relaxed), 2);
        bench.pc.reset(bench.now);
        assert_eq!(bench.pc.exit_request(), None);
    }
}

#[test]
fn test_device_commands_reach_their_backend() {
    let bench = Bench::new();
    bench.pc.io_write(bench.now, 0x3000, AccessSize::Dword, 0x0003_0102);
    let target = crate::test_device::SintOf { vp: 1, sint: 2 };
    assert_eq!(*bench.around.commands.lock().unwrap(), [TestCommand::SetSint(target)]);
}

#[test]
fn time_does_not_go_back_when_processors_arrive_out_of_order() {
    let bench = Bench::new();
    let late = bench.pc.io_read(Time::from_ns(1_000_000), 0x608, AccessSize::Dword);
    let early = bench.pc.io_read(Time::from_ns(999_000), 0x608, AccessSize::Dword);
    assert_eq!(late, early);
    let refresh = |ns| bench.pc.io_read(Time::from_ns(ns), 0x61, AccessSize::Byte) & 0x10;
    assert_ne!(refresh(67 * 15_085), refresh(68 * 15_085), "it toggles every 15085 ns");
    assert_eq!(refresh(68 * 15_085 - 1), refresh(68 * 15_085));
}

#[test]
fn a_reset_masks_interrupts_and_keeps_the_clock() {
    let bench = Bench::new();
    bench.use_pic(1);
    bench.program_pit(2, 1000);
    bench.pc.advance(Time::from_ns(5_000_000_000));
    bench.pc.reset(Time::from_ns(5_000_000_000));
    assert_eq!(bench.around.intr.lock().unwrap().last(), Some(&false));
    assert_eq!(bench.pc.next_deadline(), None);
    bench.out(0x70, 0);
    assert_eq!(bench.inp(0x71), 5);
    assert_eq!(bench.pc.io_read(bench.now, 0x608, AccessSize::Dword), 5 * 3_579_545);
}

#[test]
fn an_added_device_answers_at_its_ports_and_may_not_overlap() {
    struct Echo(u32);
    impl PortDevice for Echo {
        fn read(&mut self, _: Time, _: u16, _: AccessSize) -> u32 {
            self.0
        }
        fn write(&mut self, _: Time, _: u16, _: AccessSize, value: u32) -> Option<ExitRequest> {
            self.0 = value;
            None
        }
    }
    let build = |ports| {
        let around = Arc::new(Around::default());
        let config = PcConfig::new(MemoryLayout::new(64 << 20).unwrap(), 1);
        let config = config.port_device(ports, AccessSize::Dword, Box::new(Echo(0)));
        Pc::new(config, around.clone(), around)
    };
    let pc = build(0x1234..=0x1237).unwrap();
    pc.io_write(Time::ZERO, 0x1234, AccessSize::Dword, 0xCAFE_F00D);
    assert_eq!(pc.io_read(Time::ZERO, 0x1234, AccessSize::Dword), 0xCAFE_F00D);
    assert!(matches!(build(0x3FF..=0x400), Err(PcError::Overlap(_))));
}

#[test]
fn fw_cfg_tells_processors_and_memory() {
    let bench = Bench::new();
    bench.pc.io_write(bench.now, 0x510, AccessSize::Word, 5);
    assert_eq!((bench.inp(0x511), bench.inp(0x511)), (2, 0));
    bench.pc.io_write(bench.now, 0x510, AccessSize::Word, 3);
    let size: Vec<u8> = (0..8).map(|_| bench.inp(0x511)).collect();
    assert_eq!(size, (64u64 << 20).to_le_bytes());
}

#[test]
fn several_processors_may_send_at_once_and_nothing_is_lost() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500u64 {
                    bench.pc.io_write(Time::from_ns(n), 0x3F8, AccessSize::Byte, b'x'.into());
                    bench.pc.io_write(Time::from_ns(n), 0x80, AccessSize::Byte, 0);
                }
            });
        }
    });
    assert_eq!(bench.output.0.lock().unwrap().len(), 2000);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Pass(u64),
        Read(u16, AccessSize),
        Write(u16, AccessSize, u32),
        MmioRead(u64, usize),
        MmioWrite(u64, Vec<u8>),
        Acknowledge,
        EndOfInterrupt(u8),
        Input(Vec<u8>),
        Reset,
    }

    /// Ports where something is, and a few where nothing is.
    fn port() -> impl Strategy<Value = u16> {
        prop_oneof![
            4 => prop::sample::select(vec![0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71]),
            2 => 0x3F6u16..=0x400,
            1 => 0x5FEu16..=0x60C,
            1 => 0xCF6u16..=0xD00,
            1 => prop::sample::select(vec![0x80, 0x92, 0xF4, 0x4D0, 0x4D1, 0x510, 0x511, 0x3000, 0x8900, 0xFFFF]),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop::sample::select(vec![
            AccessSize::Byte,
            AccessSize::Byte,
            AccessSize::Byte,
            AccessSize::Word,
            AccessSize::Dword,
        ]);
        let gpa = prop_oneof![
            4 => prop::sample::select(vec![0u64, 0x10, 0x40]).prop_map(|offset| layout::IO_APIC + offset),
            1 => layout::IO_APIC - 8..layout::IO_APIC + 0x1008,
            1 => any::<u64>(),
        ];
        prop_oneof![
            3 => prop_oneof![0u64..2000, 0u64..2_000_000_000, 0u64..1 << 62].prop_map(Step::Pass),
            4 => (port(), size.clone()).prop_map(|(port, size)| Step::Read(port, size)),
            8 => (port(), size, any::<u32>()).prop_map(|(port, size, value)| Step::Write(port, size, value)),
            1 => (gpa.clone(), 0usize..10).prop_map(|(gpa, length)| Step::MmioRead(gpa, length)),
            4 => (gpa, prop_oneof![
                prop::array::uniform4(any::<u8>()).prop_map(|data| data.to_vec()),
                prop::collection::vec(any::<u8>(), 0..10),
            ]).prop_map(|(gpa, data)| Step::MmioWrite(gpa, data)),
            2 => Just(Step::Acknowledge),
            1 => any::<u8>().prop_map(Step::EndOfInterrupt),
            1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Input),
            1 => Just(Step::Reset),
        ]
    }

    proptest! {
        /// Whatever a guest does: no panic (overflow counts, in this profile), reads fit their width, and once what
        /// is due has been done the next deadline lies ahead, so that a run loop always gets on.
        #[test]
        fn no_guest_can_break_the_machine_or_hold_its_run_loop(steps in prop::collection::vec(step(), 1..60)) {
            let bench = Bench::new();
            let mut now = Time::ZERO;
            for step in steps {
                match step {
                    Step::Pass(ns) => now = now.after_ns(ns),
                    Step::Read(port, size) => {
                        let value = bench.pc.io_read(now, port, size);
                        prop_assert_eq!(value & !size.ones(), 0);
                    }
                    Step::Write(port, size, value) => {
                        bench.pc.io_write(now, port, size, value);
                    }
                    Step::MmioRead(gpa, length) => bench.pc.mmio_read(now, gpa, &mut vec![0; length]),
                    Step::MmioWrite(gpa, data) => bench.pc.mmio_write(now, gpa, &data),
                    Step::Acknowledge => {
                        bench.pc.acknowledge_interrupt(now);
                    }
                    Step::EndOfInterrupt(vector) => bench.pc.end_of_interrupt(now, vector),
                    Step::Input(bytes) => {
                        bench.input.0.lock().unwrap().extend(bytes);
                        bench.pc.serial_input_ready(now);
                    }
                    Step::Reset => bench.pc.reset(now),
                }
                bench.pc.advance(now);
                if let Some(deadline) = bench.pc.next_deadline() {
                    prop_assert!(deadline > now, "{deadline:?} is not after {now:?}");
                }
            }
        }

        /// The machine does not depend on how often it is looked at: who advances at each deadline and who looks only
        /// at the end find the same state.
        #[test]
        fn looking_more_often_changes_nothing(
            steps in prop::collection::vec((port(), any::<u8>()), 0..30), wait in 1u64..50_000_000,
        ) {
            let (patient, eager) = (Bench::new(), Bench::new());
            for (port, value) in &steps {
                patient.out(*port, *value);
                eager.out(*port, *value);
            }
            let end = Time::from_ns(wait);
            while let Some(deadline) = eager.pc.next_deadline()
                && deadline <= end
            {
                eager.pc.advance(deadline);
            }
            for bench in [&patient, &eager] {
                bench.pc.advance(end);
            }
            for port in [0x20, 0x21, 0xA0, 0x40, 0x41, 0x42, 0x61, 0x71, 0x3FA, 0x3FD, 0x600, 0x608] {
                let read = |bench: &Bench| bench.pc.io_read(end, port, AccessSize::Byte);
                prop_assert_eq!(read(&patient), read(&eager), "port {:#x}", port);
            }
            prop_assert_eq!(patient.pc.next_deadline(), eager.pc.next_deadline());
        }
    }
}

#[test]
fn another_machine_goes_on_where_the_first_one_was_saved() {
    let saved = |bench: &Bench| {
        let mut writer = state::Writer::default();
        bench.pc.save(&mut writer);
        writer.into_bytes()
    };
    let mut first = Bench::new();
    first.use_pic(0x0001);
    first.route(2, 0x31);
    first.program_pit(2, 11_932);
    first.out(0x70, 0x0B);
    first.out(0x71, 0x42);
    first.out(0x3FB, 3);
    first.out(0x3FC, 0x0B);
    first.input.0.lock().unwrap().extend(b"ab");
    first.now = Time::from_ns(25_000_000);
    first.pc.serial_input_ready(first.now);
    let bytes = saved(&first);

    let mut second = Bench::new();
    second.now = first.now;
    let mut reader = state::Reader::new(&bytes);
    second.pc.restore(&mut reader).unwrap();
    reader.end().unwrap();
    assert_eq!(saved(&second), bytes);
    assert_eq!(second.pc.next_deadline(), first.pc.next_deadline());
    assert!(second.pc.next_deadline().is_some());
    assert_eq!(second.inp(0x3F8), b'a');
    second.out(0x70, 0x0B);
    assert_eq!(second.inp(0x71), 0x42);
    for length in (0..bytes.len()).step_by(13) {
        let mut reader = state::Reader::new(&bytes[..length]);
        assert_eq!(Bench::new().pc.restore(&mut reader), Err(state::Damaged::Short), "{length}");
    }
}
