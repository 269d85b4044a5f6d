// SPDX-License-Identifier: MIT OR Apache-2.0
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::input::EscapeFilter;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe().unwrap()
}

fn null() -> OwnedFd {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into()
}

fn write(file: impl AsFd, bytes: &[u8]) {
    assert_eq!(rustix::io::write(file, bytes), Ok(bytes.len()));
}

/// A listening console and its events.
fn listen(input: OwnedFd, at_end: &[u8]) -> (Console, Box<dyn SerialInput>, Receiver<ConsoleEvent>) {
    let mut console = Console::on(input, null(), at_end).unwrap();
    let serial = console.input();
    let (sender, events) = channel();
    console.listen(move |event| _ = sender.send(event)).unwrap();
    (console, serial, events)
}

/// Takes input until the end is announced and nothing is left.
fn drain(serial: &mut dyn SerialInput, events: &Receiver<ConsoleEvent>) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE).expect("an event in time");
        while let Some(byte) = serial.next_byte() {
            bytes.push(byte);
        }
        if event == ConsoleEvent::EndOfInput {
            return bytes;
        }
    }
}

#[test]
fn a_pipe_is_passed_on_byte_for_byte_and_its_end_is_an_event() {
    let (read, to) = pipe();
    let (console, mut serial, events) = listen(read, b"");
    assert!(!console.is_terminal());
    write(&to, b"uname -a\n\x1dx");
    drop(to);
    assert_eq!(drain(serial.as_mut(), &events), b"uname -a\n\x1dx", "no escape key in a pipe");
}

#[test]
fn closed_input_ends_at_once_and_may_send_a_farewell() {
    let (_console, mut serial, events) = listen(null(), b"\x04");
    assert_eq!(drain(serial.as_mut(), &events), b"\x04");
}

#[test]
fn a_farewell_ends_the_last_line_and_comes_again_when_it_was_taken() {
    let (read, to) = pipe();
    let (console, mut serial, events) = listen(read, b"\x04");
    write(&to, b"uname");
    drop(to);
    assert_eq!(drain(serial.as_mut(), &events), b"uname\n\x04");
    assert_eq!(events.recv_timeout(PATIENCE), Ok(ConsoleEvent::Input));
    assert_eq!((serial.next_byte(), serial.next_byte()), (Some(4), None));
    drop(console);
    assert!(events.recv().is_err(), "a closed console says no more");
}

#[test]
fn a_pipe_waits_for_a_guest_that_does_not_read() {
    let (read, to) = pipe();
    let (_console, mut serial, events) = listen(read, b"");
    let sent: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
    let expected = sent.clone();
    let writer = std::thread::spawn(move || write(&to, &sent));
    assert_eq!(events.recv_timeout(PATIENCE), Ok(ConsoleEvent::Input));
    assert_eq!(drain(serial.as_mut(), &events), expected);
    writer.join().unwrap();
}

#[test]
fn a_console_closes_while_its_reader_waits() {
    let (read, to) = pipe();
    let (console, ..) = listen(read, b"");
    drop(console);
    let (read, to_full) = pipe();
    let (console, _serial, events) = listen(read, b"");
    write(&to_full, &[0; 10_000]);
    assert_eq!(events.recv_timeout(PATIENCE), Ok(ConsoleEvent::Input));
    drop(console);
    drop(to);
}

#[test]
fn output_is_written_and_its_loss_is_reported_once() {
    let (from, write_end) = pipe();
    let mut console = Console::on(null(), write_end, b"").unwrap();
    let mut output = console.output();
    output.write(b"booting\r\n");
    let mut buffer = [0; 64];
    let read = rustix::io::read(&from, &mut buffer).unwrap();
    assert_eq!(&buffer[..read], b"booting\r\n");
    drop(from);
    let (sender, events) = channel();
    console.listen(move |event| _ = sender.send(event)).unwrap();
    output.write(b"x");
    output.write(b"y");
    drop((console, output));
    let lost = events.iter().filter(|event| *event == ConsoleEvent::OutputClosed).count();
    assert_eq!(lost, 1);
}

#[test]
fn output_that_has_no_room_is_a_failure_and_a_reader_who_left_is_none() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let console = Console::on(null(), full.into(), &[]).unwrap();
    assert!(console.output_failure().is_none());
    console.output().write(b"lost");
    assert_eq!(console.output_failure().map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
    let (reader, writer) = pipe();
    drop(reader);
    let console = Console::on(null(), writer, &[]).unwrap();
    console.output().write(b"lost");
    assert!(console.output_failure().is_none());
}

#[test]
fn the_escape_key_leaves_only_with_x() {
    let filter = |typed: &[&[u8]]| {
        let (mut filter, mut passed) = (EscapeFilter::default(), Vec::new());
        let wanted = typed.iter().find_map(|typed| filter.filter(typed, &mut passed));
        (passed, wanted)
    };
    let quit = Some(ConsoleEvent::Quit);
    assert_eq!(filter(&[b"ls\r\x03"]), (b"ls\r\x03".to_vec(), None));
    assert_eq!(filter(&[b"a\x1dxb"]), (b"a".to_vec(), quit));
    assert_eq!(filter(&[b"a\x1d", b"x"]), (b"a".to_vec(), quit), "the keys come one by one");
    assert_eq!(filter(&[b"\x1d\x1dx"]), (b"\x1dx".to_vec(), None));
    assert_eq!(filter(&[b"\x1dq"]), (b"\x1dq".to_vec(), None));
    assert_eq!(filter(&[b"a\x1dpb"]), (b"ab".to_vec(), Some(ConsoleEvent::Report)), "the guest goes on");
}

/// A terminal: its user's end, and the end that programs have.
fn terminal() -> (OwnedFd, OwnedFd) {
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&user).unwrap();
    let path = ptsname(&user, Vec::new()).unwrap().into_string().unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let program = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    (user, program)
}

fn is_raw(terminal: BorrowedFd<'_>) -> bool {
    !tcgetattr(terminal).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ISIG)
}

/// One test, because a process has one terminal.
#[test]
fn a_terminal_is_raw_while_there_is_a_console_and_restored_in_every_case() {
    let (user, program) = terminal();
    let dup = || program.try_clone().unwrap();
    assert!(!is_raw(program.as_fd()));

    let (console, mut serial, events) = listen(dup(), b"");
    assert!(console.is_terminal() && is_raw(program.as_fd()));
    assert!(matches!(Console::on(dup(), null(), b""), Err(ConsoleError::InUse)));
    write(&user, b"ls\x03\x1dx");
    let mut typed = Vec::new();
    loop {
        let event = events.recv_timeout(PATIENCE).unwrap();
        typed.extend(std::iter::from_fn(|| serial.next_byte()));
        if event == ConsoleEvent::Quit {
            break;
        }
        assert_eq!(event, ConsoleEvent::Input);
    }
    assert_eq!(typed, b"ls\x03");
    drop(console);
    assert!(!is_raw(program.as_fd()), "restored when dropped");

    let (console, ..) = listen(dup(), b"");
    let panicked = std::thread::spawn(|| panic!("on purpose")).join();
    assert!(panicked.is_err());
    assert!(!is_raw(program.as_fd()), "restored by a panic of any thread");
    drop(console);

    let (console, ..) = listen(dup(), b"");
    assert!(is_raw(program.as_fd()));
    restore_terminal();
    assert!(!is_raw(program.as_fd()), "restored on request");
    drop(console);

    // The escape key is heard although the guest takes nothing.
    let (_console, _serial, events) = listen(dup(), b"");
    for _ in 0..10 {
        write(&user, &[b'a'; 1000]);
    }
    write(&user, b"\x1dx");
    let quit =
        std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok()).any(|event| event == ConsoleEvent::Quit);
    assert!(quit);
}

/// Waits until the terminal is raw, or not.
fn wait_until(terminal: BorrowedFd<'_>, raw: bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while is_raw(terminal) != raw {
        assert!(std::time::Instant::now() < deadline, "the terminal did not become raw={raw} in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs itself as the process that gets the signals.
#[test]
fn a_process_that_is_stopped_gives_the_terminal_back_until_it_goes_on() {
    use rustix::process::{Pid, Signal, kill_process};

    const CHILD: &str = "OPENVIRIDIAN_TEST_RAW_TERMINAL";
    if std::env::var_os(CHILD).is_some() {
        let _console = Console::on_stdio(b"").unwrap();
        std::thread::sleep(PATIENCE);
        return;
    }
    let (_user, program) = terminal();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "console::tests::a_process_that_is_stopped_gives_the_terminal_back_until_it_goes_on",
        ])
        .env(CHILD, "1")
        .current_dir(std::env::temp_dir())
        .stdin(program.try_clone().unwrap())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    wait_until(program.as_fd(), true);
    for _ in 0..2 {
        kill_process(pid, Signal::TSTP).unwrap();
        wait_until(program.as_fd(), false);
        kill_process(pid, Signal::CONT).unwrap();
        wait_until(program.as_fd(), true);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
