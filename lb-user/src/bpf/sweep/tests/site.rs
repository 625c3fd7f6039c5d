//! Six services, one destination each, and packets through them by way of `lb-common`.

use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use lb_common::abi::{
    Destination, FwmarkKey, Hop, Interface, LocalityKey, LocalityRef, MarkRule, Schedule, Service, Settings,
    destination_flags, service_flags,
};
use lb_common::conn::tcp;
use lb_common::family::{Family as _, V4, V6};
use lb_common::frame::SliceFrame;
use lb_common::fwd::ForwardingMethod;
use lb_common::reason::Reason;
use lb_common::run::{Action, admitted, open, run};
use lb_common::tables::{Count, Direction, FlowTable, Route, Store, Tables, Walk};
use lb_common::testing::Lent;

use super::super::{PassStatistics, Step, Sweeper};
use crate::bpf::maps::Memory;
use crate::bpf::tables::MappedTables;

pub(super) const HZ: u32 = 1000;
pub(super) const IFINDEX: u32 = 7;
pub(super) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const ALL: fn(u32) -> Option<u64> = |_| Some(0);

/// The services, and as many destinations: (virtual address, persistent, method).
pub(super) const SERVICES: [(&str, u8, u32, ForwardingMethod); 6] = [
    ("198.51.100.1:80", 6, 0, ForwardingMethod::DirectRoute),
    ("198.51.100.2:80", 6, 0, ForwardingMethod::Masq),
    ("198.51.100.3:53", 17, 50, ForwardingMethod::DirectRoute),
    ("198.51.100.4:443", 6, 100, ForwardingMethod::Masq),
    ("[2001:db8::5]:80", 6, 0, ForwardingMethod::DirectRoute),
    ("[2001:db8::6]:53", 17, 30, ForwardingMethod::Masq),
];

/// The mapped tables, with services and a route to every client.
pub(super) struct World<'a> {
    mapped: MappedTables<'a>,
    services: &'a [Service],
}

impl World<'_> {
    fn service(&self, address: IpAddr, port: [u8; 2], protocol: u8) -> Option<&Service> {
        let wanted = SocketAddr::new(address, u16::from_be_bytes(port));
        let found = SERVICES.iter().position(|(a, p, ..)| a.parse() == Ok(wanted) && *p == protocol)?;
        self.services.get(found)
    }
}

impl Tables for World<'_> {
    fn now(&self) -> u32 {
        self.mapped.now()
    }
    fn settings(&self) -> Option<&Settings> {
        self.mapped.settings()
    }
    fn interface(&self, index: u32) -> Option<&Interface> {
        self.mapped.interface(index)
    }
    fn interface_at(&self, index: u16) -> Option<&Interface> {
        self.mapped.interface_at(index)
    }
    fn prefilter(&self, word: u32) -> u64 {
        self.mapped.prefilter(word)
    }
    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        self.mapped.mark_rule(n)
    }
    fn fwmark(&self, key: &FwmarkKey) -> Option<&Service> {
        self.mapped.fwmark(key)
    }
    fn slot(&self, index: u32) -> Option<u32> {
        self.mapped.slot(index)
    }
    fn destination(&self, id: u32) -> Option<&Destination> {
        self.mapped.destination(id)
    }
    fn load(&self, id: u32) -> (u32, u32, bool) {
        self.mapped.load(id)
    }
    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        self.mapped.add_count(id, which, delta)
    }
    fn set_overload(&self, id: u32, overloaded: bool) {
        self.mapped.set_overload(id, overloaded);
    }
    fn schedule(&self, service: u32) -> Schedule {
        self.mapped.schedule(service)
    }
    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        self.mapped.swap_schedule(service, old, new)
    }
    fn locality(&self, key: &LocalityKey) -> Option<LocalityRef> {
        self.mapped.locality(key)
    }
    fn remember(&self, key: &LocalityKey, member: u64, now: u32) {
        self.mapped.remember(key, member, now);
    }
    fn random(&self) -> u32 {
        self.mapped.random()
    }
    fn account(&self, destination: u32, direction: Direction, bytes: u32) {
        self.mapped.account(destination, direction, bytes);
    }
    fn account_connection(&self, destination: u32) {
        self.mapped.account_connection(destination);
    }
    fn count(&self, reason: Reason) {
        self.mapped.count(reason);
    }
    fn icmp_allowed(&self, client: u32) -> bool {
        self.mapped.icmp_allowed(client)
    }
    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        self.mapped.walk(count, walk);
    }
}

macro_rules! store {
    ($family:ident, $address:ty) => {
        impl<'a> Store<$family> for World<'a> {
            type Entry = <MappedTables<'a> as Store<$family>>::Entry;
            type Scratch<'b>
                = Lent<$family>
            where
                Self: 'b;

            fn scratch(&self) -> Option<Self::Scratch<'_>> {
                Some(Lent::take())
            }
            fn bucket(&self, table: FlowTable, index: u32) -> Option<Self::Entry> {
                Store::<$family>::bucket(&self.mapped, table, index)
            }
            fn service(&self, address: $address, port: [u8; 2], protocol: u8) -> Option<&Service> {
                self.service(ip($family::wide(address), $family::NUMBER), port, protocol)
            }
            fn route(&self, _: $address, _: $address) -> Route {
                Route::Hop(Hop::new(MAC, IFINDEX as u16))
            }
            fn want_neighbour(&self, _: $address) {}
        }
    };
}
store!(V4, [u8; 4]);
store!(V6, [u64; 2]);

fn ip(wide: [u8; 16], family: u8) -> IpAddr {
    let [a, b, c, d, ..] = wide;
    if family == 4 { [a, b, c, d].into() } else { wide.into() }
}

/// Maps with the services' destinations, and the services.
pub(super) fn site(buckets: u32) -> (Memory, Vec<Service>) {
    let memory = Memory::anonymous(buckets, 16);
    let interface = Interface {
        ifindex: IFINDEX,
        flags: 1,
        mac: u64::from_le_bytes([2, 0, 0, 0, 0, 1, 0, 0]),
        mtu: 1500,
        ..Default::default()
    };
    memory.interfaces.write(IFINDEX, &interface).unwrap();
    let mut services = Vec::new();
    for (id, (address, _, persistence, method)) in (0u32..).zip(SERVICES) {
        let family = if address.starts_with('[') { 6 } else { 4 };
        let mut real = [0; 16];
        real[3] = 11 + id as u8;
        let destination = Destination {
            hop: Hop::new(MAC, IFINDEX as u16),
            flags: destination_flags::IN_USE | destination_flags::AVAILABLE,
            weight: 1,
            address: real,
            family,
            method: method as u8,
            ..Default::default()
        };
        memory.destinations.write(id, &destination).unwrap();
        memory.slots.write(id, &id).unwrap();
        services.push(Service {
            id,
            first_slot: id,
            slots: 1,
            weight_step: 1,
            weight_max: 1,
            start: Schedule::new(1, Schedule::HEAD, 0).0,
            flags: if persistence != 0 { service_flags::PERSISTENT } else { 0 },
            persistence: persistence * HZ,
            netmask: [0xff; 16],
            ..Default::default()
        });
    }
    (memory, services)
}

/// A packet of a client to a service: TCP with these flags, or UDP.
pub(super) fn frame(service: usize, client: u8, port: u16, flags: u8) -> Vec<u8> {
    let (address, protocol, ..) = SERVICES[service];
    let to: SocketAddr = address.parse().unwrap();
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], MAC);
    let network = match to.ip() {
        IpAddr::V4(to) => link.ipv4([203, 0, 113, client], to.octets(), 64),
        IpAddr::V6(to) => {
            let mut from = to.octets();
            from[15] = client;
            from[4] = 7;
            link.ipv6(from, to.octets(), 64)
        }
    };
    let mut bytes = Vec::new();
    if protocol == 17 {
        network.udp(port, to.port()).write(&mut bytes, &[0; 20]).unwrap();
    } else {
        let mut segment = network.tcp(port, to.port(), 1, 1000);
        if flags & tcp::flag::SYN != 0 {
            segment = segment.syn();
        }
        if flags & tcp::flag::ACK != 0 {
            segment = segment.ack(1);
        }
        if flags & tcp::flag::FIN != 0 {
            segment = segment.fin();
        }
        if flags & tcp::flag::RST != 0 {
            segment = segment.rst();
        }
        segment.write(&mut bytes, &[]).unwrap();
    }
    bytes
}

/// Passes a frame through the data path at tick `now`.
pub(super) fn pass(memory: &Memory, services: &[Service], now: u32, bytes: &[u8]) -> Action {
    let world = World { mapped: MappedTables::new(memory, now), services };
    let mut buffer = [&[0; 64], bytes].concat();
    let end = buffer.len();
    let mut frame = SliceFrame::new(&mut buffer, 64, end);
    let action = run(&world, &mut frame, IFINDEX);
    if action != Action::Open {
        return action;
    }
    let four = bytes[14] >> 4 == 4;
    let opened = if four {
        open::<V4, _, _>(&world, &mut frame, IFINDEX)
    } else {
        open::<V6, _, _>(&world, &mut frame, IFINDEX)
    };
    match opened {
        Action::Admit if four => admitted::<V4, _, _>(&world, &mut frame, IFINDEX),
        Action::Admit => admitted::<V6, _, _>(&world, &mut frame, IFINDEX),
        action => action,
    }
}

/// One whole pass.
pub(super) fn sweep(sweeper: &mut Sweeper, memory: &Memory, now: u32) -> PassStatistics {
    while sweeper.step_over(memory, now, ALL) == Step::More {}
    sweeper.statistics().clone()
}

pub(super) fn counts(memory: &Memory, id: u32) -> (u32, u32, u32) {
    let counts = memory.counts.read(id).unwrap();
    (counts.active, counts.inactive, counts.persistent)
}

pub(super) const SYN: u8 = tcp::flag::SYN;
pub(super) const ACK: u8 = tcp::flag::ACK;
pub(super) const FIN: u8 = tcp::flag::FIN;
