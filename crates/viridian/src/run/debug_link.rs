// SPDX-License-Identifier: MIT OR Apache-2.0
//! `--debug-link ADDR`: the guest's debug transport (HvCallPostDebugData and its sisters) as UDP packets to and from a port of this host.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

use hypervisor::DebugLink;
use tlfs::HvStatus;

/// Largest packet that a call can carry.
const MOST: usize = 4088;

/// A UDP socket whose other end is the debugger.
pub(crate) struct UdpLink {
    socket: UdpSocket,
    /// The rest of a packet that was received in part.
    rest: Mutex<Vec<u8>>,
}

impl UdpLink {
    /// A link to the debugger that listens at `debugger`.
    pub(crate) fn connect(debugger: SocketAddr) -> std::io::Result<Self> {
        let here: SocketAddr = match debugger {
            SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
        };
        let socket = UdpSocket::bind(here)?;
        socket.connect(debugger)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, rest: Mutex::default() })
    }
}

/// The address of a debugger, for clap: on this host, for a guest is to reach nothing else.
pub(crate) fn debugger_address(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("'{text}' is no address and port, such as 127.0.0.1:5005"))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "{address} is not on this host; a debug link goes to a loopback address, such as 127.0.0.1:{}",
            address.port()
        ))
    }
}

impl DebugLink for UdpLink {
    fn send(&self, packet: &[u8]) -> Result<u32, HvStatus> {
        match self.socket.send(packet) {
            Ok(sent) => Ok(packet.len().saturating_sub(sent) as u32),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(HvStatus::INSUFFICIENT_BUFFERS),
            // Nobody listens.
            Err(_) => Err(HvStatus::OPERATION_DENIED),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Option<(u32, u32)> {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_empty() {
            let mut packet = vec![0; MOST];
            let length = self.socket.recv(&mut packet).ok()?;
            packet.truncate(length);
            *rest = packet;
        }
        let count = buffer.len().min(rest.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        rest.drain(..count);
        Some((count as u32, rest.len() as u32))
    }

    fn purge_incoming(&self) {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut packet = [0; 1];
        // A packet that does not fit is dropped as well; a socket that fails has nothing more.
        while self.socket.recv(&mut packet).is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Packets go both ways, are received in parts if need be, and are dropped on request.
    #[test]
    fn packets_go_both_ways() {
        let debugger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        debugger.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let link = UdpLink::connect(debugger.local_addr().unwrap()).unwrap();
        assert_eq!(link.send(b"hello"), Ok(0));
        let mut packet = [0; 16];
        let (length, guest) = debugger.recv_from(&mut packet).unwrap();
        assert_eq!(&packet[..length], b"hello");

        let mut buffer = [0; 4];
        assert_eq!(link.receive(&mut buffer), None);
        debugger.send_to(b"answer", guest).unwrap();
        let first = std::iter::repeat_with(|| link.receive(&mut buffer)).flatten().next();
        assert_eq!(first, Some((4, 2)));
        assert_eq!(&buffer, b"answ");
        assert_eq!(link.receive(&mut buffer), Some((2, 0)));
        debugger.send_to(b"dropped", guest).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        link.purge_incoming();
        assert_eq!(link.receive(&mut buffer), None);
    }

    #[test]
    fn a_guest_reaches_this_host_only() {
        assert!(debugger_address("127.0.0.1:5005").is_ok() && debugger_address("[::1]:5005").is_ok());
        assert!(debugger_address("192.0.2.1:5005").unwrap_err().contains("not on this host"));
        assert!(debugger_address("nowhere").unwrap_err().contains("no address and port"));
    }
}
