//! Random sites and what happens to them, from a seed: the same for the host alone and for the host against
//! the kernel.

pub(crate) mod marks;
mod numbers;
mod packets;
mod site;
mod step;

use std::net::IpAddr;

use lb_common::testing::HostTables;

pub(crate) use self::numbers::Random;
pub(crate) use self::step::Step;

/// A second interface, by which some destinations are reached.
pub(crate) const OTHER_IFINDEX: u32 = 7;
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

const CLIENTS4: [&str; 4] = ["203.0.113.10", "203.0.113.11", "203.0.113.130", "224.0.0.9"];
const CLIENTS6: [&str; 4] = ["2001:db8:c::10", "2001:db8:c::11", "2001:db8:d::10", "ff02::9"];
const VIRTUAL4: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.77"];
const VIRTUAL6: [&str; 3] = ["2001:db8:a::1", "2001:db8:a::2", "2001:db8:a::77"];
const CLIENT_PORTS: [u16; 7] = [20, 40_000, 40_001, 40_002, 40_003, 65_535, 500];
const PORTS: [u16; 7] = [80, 443, 53, 21, 8080, 2000, 500];

/// A site: the tables, and the words packets are made of.
#[derive(Debug)]
pub(crate) struct Site {
    /// The tables.
    pub(crate) tables: HostTables,
    /// Destinations: id, family.
    members: Vec<(u32, u8)>,
    /// Where services are: address, port (0 for every), protocol.
    served: Vec<(IpAddr, u16, u8)>,
    /// Whether most frames are handshakes, so that tables of one bucket, overflow buckets included, become full.
    crowded: bool,
    /// Marks that have services, of each family.
    marks: [Vec<u32>; 2],
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
