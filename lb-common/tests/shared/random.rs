//! Random sites and what happens to them, from a seed: the same for the host alone and for the host against
//! the kernel.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{
    Connection4, Connection6, Destination, Hop, MarkRule, connection_flags, destination_flags, settings_flags,
};
use lb_common::conn::protocol;
use lb_common::flow_table::Word;
use lb_common::fwd::ForwardingMethod;
use lb_common::sched::Scheduler;
use lb_common::testing::{DIRECTOR_MAC, HostTables, ServiceSpec};

use super::frames::{Carried, FrameSpec};

/// Numbers from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n)) as u32
    }

    /// True once in `n`.
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A frame comes in by an interface.
    Frame {
        /// Its bytes.
        frame: Vec<u8>,
        /// Kernel index of the interface.
        ifindex: u32,
    },
    /// So many ticks pass without a frame.
    Pass(u32),
    /// A destination's weight changes, without its service being written anew.
    Weight(u32, u32),
    /// A destination's flags change: removed and added again.
    Flags(u32, u32),
    /// A destination's next hop changes.
    Hop(u32, Hop),
    /// Settings change: flags, reuse mode, route generation.
    Settings(u32, u32, u32),
}

/// A second interface, by which some destinations are reached.
pub(crate) const OTHER_IFINDEX: u32 = 7;
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

const CLIENTS4: [&str; 4] = ["203.0.113.10", "203.0.113.11", "203.0.113.130", "224.0.0.9"];
const CLIENTS6: [&str; 4] = ["2001:db8:c::10", "2001:db8:c::11", "2001:db8:d::10", "ff02::9"];
const VIRTUAL4: [&str; 3] = ["192.0.2.1", "192.0.2.2", "192.0.2.77"];
const VIRTUAL6: [&str; 3] = ["2001:db8:a::1", "2001:db8:a::2", "2001:db8:a::77"];
const CLIENT_PORTS: [u16; 6] = [20, 40_000, 40_001, 40_002, 40_003, 65_535];
const PORTS: [u16; 6] = [80, 443, 53, 21, 8080, 2000];

/// A site: the tables, and the words packets are made of.
#[derive(Debug)]
pub(crate) struct Site {
    /// The tables.
    pub(crate) tables: HostTables,
    /// Destinations: id, family.
    members: Vec<(u32, u8)>,
    /// Where services are: address, port (0 for every), protocol.
    served: Vec<(IpAddr, u16, u8)>,
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(a) => a.octets(),
    }
}

/// The address of a destination number.
fn real(family: u8, n: u32) -> IpAddr {
    if family == 4 {
        ip(&format!("198.51.100.{}", 11 + n))
    } else {
        ip(&format!("2001:db8:b::{:x}", 0x11 + n))
    }
}

impl Site {
    /// A site of tables with at most `buckets` buckets each, a power of two.
    pub(crate) fn new(random: &mut Random, buckets: u32) -> Self {
        let small = buckets >> random.below(buckets.trailing_zeros() + 1);
        let mut tables = HostTables::new(buckets);
        let settings = &mut tables.settings;
        settings.buckets4 = small - 1;
        settings.buckets6 = small - 1;
        settings.templates4 = small - 1;
        settings.templates6 = (small - 1) >> 1;
        settings.reuse_mode = random.below(4);
        settings.route_generation = random.below(3) << 15;
        settings.seed = [random.next() | 1, random.next() | 1, random.next() | 1, random.next() | 1];
        for (flag, n) in [
            (settings_flags::NO_PREFILTER, 4),
            (settings_flags::SLOPPY_TCP, 6),
            (settings_flags::EXPIRE_QUIESCENT_TEMPLATE, 3),
        ] {
            if random.once_in(n) {
                settings.flags |= flag;
            }
        }
        tables.add_interface(OTHER_IFINDEX, OTHER_MAC);
        if random.once_in(3)
            && let Some(interface) = tables.interfaces.get_mut(&1)
        {
            interface.second_mac = 0x0105_005e_0000;
        }
        if random.once_in(25) {
            tables.interfaces.remove(&1);
        }
        let mut site = Self { tables, members: Vec::new(), served: Vec::new() };
        for id in 0..2 + random.below(5) {
            site.service(random, id);
        }
        site
    }

    fn destination(&mut self, random: &mut Random, family: u8, port: u16) -> u32 {
        let n = self.members.len() as u32;
        let mut destination = Destination {
            hop: hop(random, n),
            weight: random.one_of(&[0, 1, 1, 1, 2, 3, 5, 10]),
            address: wide(real(family, n)),
            port: (if random.once_in(3) { 8000 + n as u16 } else { port }).to_be_bytes(),
            family,
            method: match random.below(12) {
                0 => ForwardingMethod::Tunnel,
                1 => ForwardingMethod::Local,
                2..=6 => ForwardingMethod::DirectRoute,
                _ => ForwardingMethod::Masq,
            } as u8,
            ..Destination::default()
        };
        if random.once_in(10) {
            destination.flags = destination_flags::LOCAL;
        }
        if random.once_in(4) {
            destination.upper = 1 + random.below(5);
            destination.lower = random.below(destination.upper + 1);
        }
        let id = self.tables.add_destination(destination);
        self.members.push((id, family));
        id
    }

    fn service(&mut self, random: &mut Random, id: u32) {
        let family = random.one_of(&[4, 4, 6]);
        let protocol = random.one_of(&[protocol::TCP, protocol::TCP, protocol::UDP]);
        let mut spec = ServiceSpec::new(random.one_of(&Scheduler::ALL));
        spec.scheduler_flags = random.below(4) as u8;
        spec.one_packet = protocol == protocol::UDP && random.once_in(4);
        if random.once_in(3) {
            spec.persistence = 250 * random.one_of(&[1, 60, 360]);
            if random.once_in(2) {
                spec.netmask =
                    if family == 4 { wide(ip("255.255.255.128")) } else { wide(ip("ffff:ffff:ffff::")) };
            }
        }
        let port = if spec.persistence != 0 && random.once_in(3) { 0 } else { random.one_of(&PORTS) };
        let members: Vec<u32> =
            (0..random.below(5)).map(|_| self.destination(random, family, port)).collect();
        let address = random.one_of(if family == 4 { &VIRTUAL4 } else { &VIRTUAL6 });
        self.served.push((ip(address), port, protocol));
        if random.once_in(6) {
            let mark = 1 + random.below(2);
            self.tables.add_fwmark(id, mark, u32::from(family), &spec, &members);
            self.rules(random, family, mark, ip(address));
            return;
        }
        match ip(address) {
            IpAddr::V4(a) => self.tables.add_service4(id, a.octets(), port, protocol, &spec, &members),
            IpAddr::V6(a) => self.tables.add_service6(id, a.octets(), port, protocol, &spec, &members),
        }
    }

    /// Rules that give a mark to some of what goes to an address.
    fn rules(&mut self, random: &mut Random, family: u8, mark: u32, address: IpAddr) {
        for _ in 0..1 + random.below(2) {
            let prefix = random.one_of(if family == 4 { &[32, 24, 0, 31] } else { &[128, 48, 0, 65] });
            let bits = u128::from_be_bytes(wide(address))
                & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            let first_port = random.one_of(&[0, 80]);
            self.tables.marks.push(MarkRule {
                address: bits.to_be_bytes(),
                mark,
                first_port,
                last_port: random.one_of(&[first_port, 443, u16::MAX]),
                prefix,
                family,
                protocol: random.one_of(&[0, protocol::TCP]),
                _pad: [0; 5],
            });
        }
        self.tables.settings.mark_rules = self.tables.marks.len() as u32;
        self.tables.settings.flags |= settings_flags::NO_PREFILTER;
    }

    /// The next step.
    pub(crate) fn step(&self, random: &mut Random) -> Step {
        let some = (!self.members.is_empty()).then(|| random.one_of(&self.members));
        match (random.below(40), some) {
            (0 | 1, _) => {
                Step::Pass(random.one_of(&[1, 250, 2501, 250 * 61, 250 * 121, 250 * 301, 250 * 1000]))
            }
            (2, Some((id, _))) => Step::Weight(id, random.below(4)),
            (3, Some((id, _))) => {
                let flags = self.tables.destinations.get(id as usize).map_or(0, |d| d.flags);
                Step::Flags(id, flags ^ destination_flags::AVAILABLE)
            }
            (4, Some((id, _))) => Step::Hop(id, hop(random, id)),
            (5, _) => {
                let settings = self.tables.settings;
                let flags = settings.flags ^ random.one_of(&[0, settings_flags::SLOPPY_TCP]);
                Step::Settings(flags, random.below(4), settings.route_generation.wrapping_add(1))
            }
            (6..=8, _) => self.odd(random),
            (9..=17, _) => match self.reply(random) {
                Some(spec) => Step::Frame { frame: spec.build(), ifindex: 1 },
                None => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
            },
            _ => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
        }
    }

    /// What happens on the host. `Frame` is the caller's.
    pub(crate) fn apply(&mut self, step: &Step) {
        let destinations = &mut self.tables.destinations;
        match step {
            Step::Frame { .. } => {}
            Step::Pass(ticks) => age(&self.tables, *ticks),
            Step::Weight(id, weight) => destinations[*id as usize].weight = *weight,
            Step::Flags(id, flags) => destinations[*id as usize].flags = *flags,
            Step::Hop(id, hop) => destinations[*id as usize].hop = *hop,
            Step::Settings(flags, reuse_mode, generation) => {
                let settings = &mut self.tables.settings;
                settings.flags = *flags;
                settings.reuse_mode = *reuse_mode;
                settings.route_generation = *generation;
            }
        }
    }

    /// A frame from a client.
    fn request(&self, random: &mut Random) -> FrameSpec {
        let (address, port, protocol) = if random.once_in(8) {
            let all = if random.once_in(2) { &VIRTUAL4 } else { &VIRTUAL6 };
            (ip(random.one_of(all)), random.one_of(&PORTS), random.one_of(&[protocol::TCP, protocol::UDP]))
        } else {
            random.one_of(&self.served)
        };
        let port = if port == 0 || random.once_in(20) { random.one_of(&PORTS) } else { port };
        let clients = if address.is_ipv6() { &CLIENTS6 } else { &CLIENTS4 };
        // The client no answer may go to is rare, and FTP's data port.
        let client = clients[if random.once_in(30) { 3 } else { random.below(3) as usize }];
        let client_port = CLIENT_PORTS[if random.once_in(30) { 0 } else { 1 + random.below(5) as usize }];
        let source = SocketAddr::new(ip(client), client_port);
        let destination = SocketAddr::new(address, port);
        self.between(random, source, destination, protocol)
    }

    /// A frame from a real server of a NAT connection, if there is one.
    fn reply(&self, random: &mut Random) -> Option<FrameSpec> {
        let mut ends = Vec::new();
        for bucket in self.tables.connections4.all() {
            ends.extend(bucket.ways.iter().filter_map(reply4));
        }
        for bucket in self.tables.connections6.all() {
            ends.extend(bucket.ways.iter().filter_map(reply6));
        }
        if ends.is_empty() {
            return None;
        }
        let (source, destination, protocol) = random.one_of(&ends);
        // A real server that is its own client: both directions of its connection have one key.
        if source.ip() == destination.ip() {
            return None;
        }
        Some(self.between(random, source, destination, protocol))
    }

    fn between(
        &self,
        random: &mut Random,
        source: SocketAddr,
        destination: SocketAddr,
        protocol: u8,
    ) -> FrameSpec {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let carried = if protocol == protocol::TCP {
            Carried::Tcp(random.one_of(&[
                SYN,
                SYN,
                SYN,
                ACK,
                ACK,
                ACK | 1,
                4,
                SYN | ACK,
                0,
                SYN | 1,
                SYN | 4,
                0x3f,
            ]))
        } else if random.once_in(4) {
            Carried::UdpWithoutChecksum
        } else {
            Carried::Udp
        };
        let mut spec = FrameSpec::new(DIRECTOR_MAC, source, destination, carried);
        spec.ttl = random.one_of(&[64, 64, 64, 64, 64, 64, 2, 1, 0, 255]);
        spec.payload =
            (0..random.one_of(&[0, 1, 2, 5, 17, 64, 200, 700])).map(|_| random.next() as u8).collect();
        if source.is_ipv4() && random.once_in(10) {
            spec.options = vec![1; 4 * random.below(11) as usize];
        }
        if random.once_in(20) {
            spec.mac = [0, 0, 0x5e, 0, 5, 1];
        }
        spec
    }

    /// A frame that is not as it should be, or comes in where it should not.
    fn odd(&self, random: &mut Random) -> Step {
        let mut frame = self.request(random).build();
        let ifindex = 1;
        let network = 14;
        let six = frame[12] == 0x86;
        match random.below(9) {
            0 => {
                let length = 14 + random.below(frame.len() as u32 - 13);
                frame.truncate(length as usize);
            }
            1 => frame[5] ^= 0x40,
            2 => {
                let at = network + random.below(20) as usize;
                frame[at] = random.next() as u8;
            }
            3 => {
                let at = random.below(frame.len() as u32) as usize;
                frame[at] ^= 1 << random.below(8);
            }
            4 => {
                let tag = random.one_of(&[[0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]]);
                frame.splice(12..12, tag);
            }
            5 if six => frame[network + 6] = random.one_of(&[0, 43, 60, 44, 58, 50, 51]),
            5 => frame[network + 6] = random.one_of(&[0x20, 0x01, 0x3f, 0x80]),
            6 => frame[12..14].copy_from_slice(&random.one_of(&[[8, 6], [0x86, 0xdd], [8, 0], [0, 46]])),
            7 if six => {
                frame[network + 4..network + 6].copy_from_slice(&[random.below(3) as u8, random.next() as u8])
            }
            7 => {
                frame[network + 2..network + 4].copy_from_slice(&[random.below(3) as u8, random.next() as u8])
            }
            _ => frame.extend((0..random.below(30)).map(|_| 0)),
        }
        Step::Frame { frame, ifindex }
    }
}

/// A next hop: nearly always there.
fn hop(random: &mut Random, n: u32) -> Hop {
    match random.below(16) {
        0 => Hop::UNRESOLVED,
        // Beyond the map, and an element that is not in use.
        1 => Hop::new([2, 0, 0, 0, 1, n as u8], random.one_of(&[4096, 9])),
        2..=6 => Hop::new([2, 0, 0, 0, 1, n as u8], OTHER_IFINDEX as u16),
        _ => Hop::new([2, 0, 0, 0, 1, n as u8], 1),
    }
}

/// Makes every live entry older.
fn age(tables: &HostTables, ticks: u32) {
    for table in [&tables.connections4, &tables.templates4] {
        for (i, mut bucket) in (0..).zip(table.all()) {
            for way in &mut bucket.ways {
                way.last_seen = way.last_seen.wrapping_sub(ticks);
            }
            table.write(i, bucket).unwrap();
        }
    }
    for table in [&tables.connections6, &tables.templates6] {
        for (i, mut bucket) in (0..).zip(table.all()) {
            for way in &mut bucket.ways {
                way.last_seen = way.last_seen.wrapping_sub(ticks);
            }
            table.write(i, bucket).unwrap();
        }
    }
}

/// Source, destination and protocol of a reply entry's packets.
type Ends = (SocketAddr, SocketAddr, u8);

fn ports(rest: u64) -> (u16, u16, u8) {
    let [a, b, c, d, protocol, ..] = rest.to_le_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), protocol)
}

/// Whether an entry is live and of the reply direction.
const fn is_reply(word: u32, flags: u16) -> bool {
    Word(word).is_live() && flags & connection_flags::REPLY != 0
}

fn reply4(c: &Connection4) -> Option<Ends> {
    let [a, b, d, e, f, g, h, i] = c.key.addresses.to_le_bytes();
    let (source, destination, protocol) = ports(c.key.rest);
    is_reply(c.word, c.flags).then(|| {
        (SocketAddr::from(([a, b, d, e], source)), SocketAddr::from(([f, g, h, i], destination)), protocol)
    })
}

fn reply6(c: &Connection6) -> Option<Ends> {
    let address = |words: [u64; 2]| lb_common::family::bytes(words);
    let (source, destination, protocol) = ports(c.key.rest);
    is_reply(c.word, c.flags).then(|| {
        (
            SocketAddr::from((address(c.key.source), source)),
            SocketAddr::from((address(c.key.destination), destination)),
            protocol,
        )
    })
}
