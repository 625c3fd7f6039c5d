//! What the XDP program tells the daemon.

use std::io;
use std::net::IpAddr;

/// The XDP program needs the MAC of the next hop towards a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourWanted {
    /// The client.
    pub address: IpAddr,
    /// Kernel index of an interface, 0 unknown.
    pub ifindex: u32,
}

/// The events of map `EVENTS`.
pub struct Events {}

impl Events {
    /// The next event; waits for it. Safe to cancel.
    ///
    /// # Errors
    /// Where the ring cannot be polled.
    pub async fn next(&mut self) -> io::Result<NeighbourWanted> {
        todo!()
    }
}
