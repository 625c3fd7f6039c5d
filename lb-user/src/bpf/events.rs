//! What the XDP program tells the daemon.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use aya::maps::{MapData, RingBuf};
use lb_common::abi::{Event, event_kind};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::MapError;
use super::maps::Opener;

/// The XDP program needs the MAC of the next hop towards a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeighbourWanted {
    /// The client.
    pub address: IpAddr,
    /// Kernel index of an interface, 0 unknown.
    pub ifindex: u32,
}

/// The events of map `EVENTS`. Those of a time without daemon are read first, as far as the ring held them.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Events {
    /// Opens the pinned ring.
    pub(super) fn open(dir: &Path) -> Result<Self, MapError> {
        let ring: RingBuf<MapData> = Opener { dir, specs: &[] }.typed("EVENTS")?;
        // SAFETY: the ring owns its map's descriptor, and gives the same one each time, until it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| MapError::Open { map: "EVENTS", source: Box::new(io::Error::from(error)) })?;
        Ok(Self { ring })
    }

    /// The next event; waits for it. Safe to cancel: no event is lost by that.
    ///
    /// # Errors
    /// Where the ring cannot be polled.
    pub async fn next(&mut self) -> io::Result<NeighbourWanted> {
        loop {
            let mut guard = self.ring.readable_mut().await?;
            while let Some(item) = guard.get_inner_mut().next() {
                if let Some(event) = decode(&item) {
                    return Ok(event);
                }
            }
            guard.clear_ready();
        }
    }
}

/// An event from its bytes; `None` for a kind of another version.
fn decode(bytes: &[u8]) -> Option<NeighbourWanted> {
    let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    if bytes.len() != size_of::<Event>() || word(0)? != event_kind::NEIGHBOUR_WANTED {
        return None;
    }
    let address: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
    let [a, b, c, d, ..] = address;
    let address = match word(24)? {
        4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        6 => IpAddr::V6(Ipv6Addr::from(address)),
        _ => return None,
    };
    Some(NeighbourWanted { address, ifindex: word(4)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u32, family: u32) -> Vec<u8> {
        let mut bytes = [kind.to_ne_bytes(), 7u32.to_ne_bytes()].concat();
        bytes.extend([192, 0, 2, 9].into_iter().chain([0; 12]));
        bytes.extend([family.to_ne_bytes(), [0; 4]].concat());
        bytes
    }

    #[test]
    fn a_record_of_the_program_is_read() {
        let wanted = decode(&bytes(event_kind::NEIGHBOUR_WANTED, 4));
        assert_eq!(wanted, Some(NeighbourWanted { address: "192.0.2.9".parse().unwrap(), ifindex: 7 }));
        let wanted = decode(&bytes(event_kind::NEIGHBOUR_WANTED, 6)).unwrap();
        assert_eq!(wanted.address, "c000:209::".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn what_is_no_record_is_passed_over() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&bytes(99, 4)), None);
        assert_eq!(decode(&bytes(event_kind::NEIGHBOUR_WANTED, 5)), None);
        assert_eq!(decode(&bytes(event_kind::NEIGHBOUR_WANTED, 4)[..31]), None);
    }
}
