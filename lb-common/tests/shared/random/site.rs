//! The services and destinations of a random site, and its settings.

use std::net::IpAddr;

use lb_common::abi::{Destination, Hop, destination_flags, settings_flags, tunnel_flags};
use lb_common::conn::protocol;
use lb_common::fwd::ForwardingMethod;
use lb_common::sched::Scheduler;
use lb_common::sip;
use lb_common::testing::{HostTables, ServiceSpec};

use super::super::frames::GUE_PORT;
use super::{OTHER_IFINDEX, OTHER_MAC, PORTS, Random, Site, VIRTUAL4, VIRTUAL6, ip, marks};

/// Schedulers that choose the same on both sides. twos draws numbers that the kernel does not let be set: it has tests of its
/// own.
const SCHEDULERS: [Scheduler; Scheduler::ALL.len() - 1] = [
    Scheduler::Rr,
    Scheduler::Wrr,
    Scheduler::Lc,
    Scheduler::Wlc,
    Scheduler::Sh,
    Scheduler::Dh,
    Scheduler::Fo,
    Scheduler::Sed,
    Scheduler::Nq,
    Scheduler::Ovf,
    Scheduler::Mh,
    Scheduler::Lblc,
    Scheduler::Lblcr,
];

pub(super) fn wide(address: IpAddr) -> [u8; 16] {
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
        let crowded = random.once_in(6);
        let small = if crowded { 1 } else { buckets >> random.below(buckets.trailing_zeros() + 1) };
        let mut tables = HostTables::new(buckets);
        let settings = &mut tables.settings;
        settings.buckets4 = small - 1;
        settings.buckets6 = small - 1;
        settings.templates4 = small - 1;
        settings.templates6 = (small - 1) >> 1;
        settings.lblcr_expiration = random.one_of(&[0, 250, 250 * 60]);
        settings.reuse_mode = random.below(4);
        settings.route_generation = random.below(3) << 15;
        settings.seed = [random.next() | 1, random.next() | 1, random.next() | 1, random.next() | 1];
        for (flag, n) in [
            (settings_flags::NO_PREFILTER, 4),
            (settings_flags::SLOPPY_TCP, 6),
            (settings_flags::SLOPPY_SCTP, 6),
            (settings_flags::EXPIRE_QUIESCENT_TEMPLATE, 3),
            (settings_flags::SECURE_TCP, 3),
            (settings_flags::EXPIRE_NODEST, 3),
            (settings_flags::EXPIRE_NODEST_UDP, 2),
            (settings_flags::KEEP_EXTENDED_TEMPLATE, 3),
        ] {
            if random.once_in(n) {
                settings.flags |= flag;
            }
        }
        if random.once_in(6) {
            settings.drop_rate = 1 + random.below(4);
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
        let mut site = Self {
            tables,
            members: Vec::new(),
            served: Vec::new(),
            crowded,
            marks: [const { Vec::new() }; 2],
        };
        for id in 0..2 + random.below(5) {
            site.service(random, id);
        }
        if site.marks.iter().any(|marks| !marks.is_empty()) {
            let [four, six] = [0, 1].map(|n| marks::rules(random, n == 1, &site.marks[n]));
            site.tables.set_marks(&four, &six);
            site.tables.settings.flags |= settings_flags::NO_PREFILTER;
        }
        site
    }

    fn destination(&mut self, random: &mut Random, family: u8, port: u16) -> u32 {
        let n = self.members.len() as u32;
        let tunnelled = random.once_in(5);
        // A tunnel may lead into the other family.
        let family = if tunnelled && random.once_in(2) { 10 - family } else { family };
        let mut destination = Destination {
            hop: hop(random, n),
            weight: random.one_of(&[0, 1, 1, 1, 2, 3, 5, 10]),
            address: wide(real(family, n)),
            port: (if random.once_in(3) { 8000 + n as u16 } else { port }).to_be_bytes(),
            family,
            method: match random.below(12) {
                _ if tunnelled => ForwardingMethod::Tunnel,
                0 => ForwardingMethod::Bypass,
                1 => ForwardingMethod::Local,
                2..=6 => ForwardingMethod::DirectRoute,
                _ => ForwardingMethod::Masq,
            } as u8,
            ..Destination::default()
        };
        if random.once_in(10) {
            destination.flags = destination_flags::LOCAL;
        }
        if random.once_in(6) {
            destination.mtu = random.one_of(&[68, 100, 300, 576, 1280]);
        }
        if tunnelled {
            tunnel(random, &mut destination);
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
        let protocol = random.one_of(&[protocol::TCP, protocol::TCP, protocol::UDP, protocol::SCTP]);
        let mut spec = ServiceSpec::new(random.one_of(&SCHEDULERS));
        spec.scheduler_flags = random.below(4) as u8;
        spec.one_packet = protocol == protocol::UDP && random.once_in(4);
        if random.once_in(3) {
            spec.persistence = if random.once_in(2) {
                250 * random.one_of(&[1, 60, 360])
            } else {
                1 + random.below(250 * 400)
            };
            if random.once_in(2) {
                spec.netmask = mask(random, family);
            }
        }
        if protocol == protocol::UDP && spec.persistence != 0 && random.once_in(2) {
            spec.engine = sip::ENGINE;
        }
        let port = if spec.persistence != 0 && random.once_in(3) { 0 } else { random.one_of(&PORTS) };
        // ISAKMP, which AH and ESP follow.
        let port = if protocol == protocol::UDP && random.once_in(3) { 500 } else { port };
        let members: Vec<u32> =
            (0..random.below(5)).map(|_| self.destination(random, family, port)).collect();
        let address = random.one_of(if family == 4 { &VIRTUAL4 } else { &VIRTUAL6 });
        self.served.push((ip(address), port, protocol));
        if random.once_in(4) {
            let mark = 1 + random.below(2);
            self.tables.add_fwmark(id, mark, u32::from(family), &spec, &members);
            self.marks[usize::from(family == 6)].push(mark);
            return;
        }
        match ip(address) {
            IpAddr::V4(a) => self.tables.add_service4(id, a.octets(), port, protocol, &spec, &members),
            IpAddr::V6(a) => self.tables.add_service6(id, a.octets(), port, protocol, &spec, &members),
        }
    }
}

/// A mask of clients: nearly always a prefix, now and then any bits, which ipvsadm takes for IPv4.
fn mask(random: &mut Random, family: u8) -> [u8; 16] {
    let bits = |width: u32, random: &mut Random| u128::MAX << (width - 1 - random.below(width));
    match family {
        4 if random.once_in(8) => wide(IpAddr::from((random.next() as u32).to_be_bytes())),
        4 if random.once_in(3) => wide(ip("255.255.255.128")),
        4 => wide(IpAddr::from((bits(32, random) as u32).to_be_bytes())),
        _ if random.once_in(3) => wide(ip("ffff:ffff:ffff::")),
        _ => bits(128, random).to_be_bytes(),
    }
}

/// A next hop: nearly always there.
pub(super) fn hop(random: &mut Random, n: u32) -> Hop {
    match random.below(16) {
        0 => Hop::UNRESOLVED,
        // Beyond the map, and an element that is not in use.
        1 => Hop::new([2, 0, 0, 0, 1, n as u8], random.one_of(&[4096, 9])),
        2..=6 => Hop::new([2, 0, 0, 0, 1, n as u8], OTHER_IFINDEX as u16),
        _ => Hop::new([2, 0, 0, 0, 1, n as u8], 1),
    }
}

/// The encapsulation of a tunnel.
fn tunnel(random: &mut Random, destination: &mut Destination) {
    destination.tunnel_kind = random.one_of(&[0, 0, 1, 1, 2, 2, 3]);
    destination.tunnel_port = GUE_PORT.to_be_bytes();
    destination.tunnel_flags = random.one_of(&[0, 0, tunnel_flags::CHECKSUM, tunnel_flags::REMOTE]);
    if random.once_in(3) {
        destination.tunnel_flags |= random.one_of(&[8, 16, 32]) << tunnel_flags::VARYING;
    }
    let source = if destination.family == 4 { "198.51.100.1" } else { "2001:db8:b::1" };
    destination.tunnel_source = wide(ip(source));
    if random.once_in(2) {
        destination.flags |= destination_flags::MSS_CLAMP;
    }
}
