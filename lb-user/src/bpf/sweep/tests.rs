//! The walk over tables that real packets filled, by way of `lb-common`, in memory of this process.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use etherparse::PacketBuilder;
use lb_common::abi::{
    Counts, Destination, FwmarkKey, Hop, Interface, MarkRule, Schedule, Service, destination_flags,
    service_flags,
};
use lb_common::conn::tcp;
use lb_common::flow_table::Table as _;
use lb_common::frame::SliceFrame;
use lb_common::fwd::ForwardingMethod;
use lb_common::reason::Reason;
use lb_common::run::{Action, open, run};
use lb_common::tables::{Direction, Opening, Route, Tables, Walk};
use proptest::prelude::*;

use super::*;
use crate::bpf::listing::Listing;

const HZ: u32 = 1000;
const IFINDEX: u32 = 7;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ALL: fn(u32) -> Option<u64> = |_| Some(0);

/// The services, and as many destinations: (virtual address, persistent, method).
const SERVICES: [(&str, u8, u32, ForwardingMethod); 6] = [
    ("198.51.100.1:80", 6, 0, ForwardingMethod::DirectRoute),
    ("198.51.100.2:80", 6, 0, ForwardingMethod::Masq),
    ("198.51.100.3:53", 17, 50, ForwardingMethod::DirectRoute),
    ("198.51.100.4:443", 6, 100, ForwardingMethod::Masq),
    ("[2001:db8::5]:80", 6, 0, ForwardingMethod::DirectRoute),
    ("[2001:db8::6]:53", 17, 30, ForwardingMethod::Masq),
];

/// The mapped tables, with services and a route to every client.
struct World<'a> {
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
                = Box<Opening<$family>>
            where
                Self: 'b;

            fn scratch(&self) -> Option<Box<Opening<$family>>> {
                Store::<$family>::scratch(&self.mapped)
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
fn site(buckets: u32) -> (Memory, Vec<Service>) {
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
fn frame(service: usize, client: u8, port: u16, flags: u8) -> Vec<u8> {
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
fn pass(memory: &Memory, services: &[Service], now: u32, bytes: &[u8]) -> Action {
    let world = World { mapped: MappedTables::new(memory, now), services };
    let mut buffer = [&[0; 64], bytes].concat();
    let end = buffer.len();
    let mut frame = SliceFrame::new(&mut buffer, 64, end);
    let action = run(&world, &mut frame, IFINDEX);
    if action != Action::Open {
        return action;
    }
    if bytes[14] >> 4 == 4 {
        open::<V4, _, _>(&world, &mut frame, IFINDEX)
    } else {
        open::<V6, _, _>(&world, &mut frame, IFINDEX)
    }
}

/// One whole pass.
fn sweep(sweeper: &mut Sweeper, memory: &Memory, now: u32) -> PassStatistics {
    while sweeper.step_over(memory, now, ALL) == Step::More {}
    sweeper.statistics().clone()
}

fn counts(memory: &Memory, id: u32) -> (u32, u32, u32) {
    let counts = memory.counts.read(id).unwrap();
    (counts.active, counts.inactive, counts.persistent)
}

const SYN: u8 = tcp::flag::SYN;
const ACK: u8 = tcp::flag::ACK;
const FIN: u8 = tcp::flag::FIN;

#[test]
fn a_connection_leaves_when_its_time_is_over_and_not_before() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    assert_eq!(pass(&memory, &services, 10, &frame(0, 1, 4000, SYN)), Action::Transmit);
    pass(&memory, &services, 20, &frame(0, 1, 4000, ACK));
    assert_eq!(counts(&memory, 0), (1, 0, 0));
    let statistics = sweep(&mut sweeper, &memory, 20 + 900 * HZ);
    assert_eq!((statistics.live4, statistics.expired), (1, 0));
    let statistics = sweep(&mut sweeper, &memory, 21 + 900 * HZ);
    assert_eq!((statistics.live4, statistics.expired), (0, 1));
    assert_eq!(counts(&memory, 0), (0, 0, 0));
}

#[test]
fn a_nat_connection_takes_its_reply_entry_along() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(1, 1, 4000, SYN));
    assert_eq!(sweep(&mut sweeper, &memory, 11).live4, 2);
    assert_eq!(sweep(&mut sweeper, &memory, 11 + 61 * HZ).live4, 0);
    assert_eq!(counts(&memory, 1), (0, 0, 0));
}

#[test]
fn an_orphaned_reply_entry_goes_after_a_grace() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(1, 1, 4000, SYN));
    // The forward entry vanishes without its peer.
    let tables = MappedTables::new(&memory, 10);
    let settings = tables.copied_settings();
    let view = View::<V4, _>::new(&tables, &settings, FlowTable::Connections);
    let forward = (0..256)
        .flat_map(|bucket| live::<V4>(&tables, FlowTable::Connections, bucket))
        .find(|(_, found)| found.entry.flags() & connection_flags::MASQ != 0);
    assert!(flow_table::discard(&view, forward.unwrap().1));
    assert!(view.bucket(0).is_some());
    assert_eq!(sweep(&mut sweeper, &memory, 10 + ORPHAN_SECONDS * HZ).live4, 1, "it may be in the making");
    assert_eq!(sweep(&mut sweeper, &memory, 11 + ORPHAN_SECONDS * HZ).live4, 0);
}

#[test]
fn a_template_lives_in_steps_of_a_minute_while_it_has_connections() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 1, &frame(3, 1, 4000, SYN));
    pass(&memory, &services, 1, &frame(3, 1, 4000, ACK));
    assert_eq!(counts(&memory, 3), (1, 0, 1));
    // 100 s of the service, then 60 s at a time: to 900 s of the connection and up to 60 s beyond.
    let mut seconds = 0;
    while counts(&memory, 3).2 == 1 {
        seconds += 1;
        sweep(&mut sweeper, &memory, 2 + seconds * HZ);
        assert!(seconds < 1000);
    }
    assert!((901..=962).contains(&seconds), "{seconds}");
    assert_eq!(counts(&memory, 3), (0, 0, 0));
    assert_eq!(sweeper.statistics().templates, 0);
}

#[test]
fn the_walk_goes_on_where_it_stopped() {
    // 64 MiB of buckets: more than 2 ms of a cold walk.
    let memory = Memory::anonymous(1 << 16, 16);
    let mut sweeper = Sweeper::new();
    let mut steps = 1;
    let begun = monotonic();
    while sweeper.step_over(&memory, 1, ALL) == Step::More {
        steps += 1;
    }
    let took = monotonic().saturating_sub(begun);
    assert!(steps > 1 || took < STEP, "{steps} steps in {took:?}");
    assert_eq!(sweeper.step_over(&memory, 1, ALL), Step::More, "the next pass");
}

#[test]
fn drift_is_mended_when_two_quiet_passes_agree() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(0, 1, 4000, SYN));
    let wrong = Counts { active: 4, inactive: u32::MAX, persistent: 2, overload: 1 };
    memory.counts.write(0, &wrong).unwrap();
    assert_eq!(sweep(&mut sweeper, &memory, 11).drift, []);
    let drift = sweep(&mut sweeper, &memory, 12).drift;
    assert_eq!(drift, [Drift { destination: 0, active: 3, inactive: -1, persistent: 2 }]);
    assert_eq!(memory.counts.read(0), Some(Counts { active: 1, ..Counts::default() }));
    assert_eq!(sweep(&mut sweeper, &memory, 13).drift, []);
}

#[test]
fn what_moves_is_not_mended() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(0, 1, 4000, SYN));
    let add = |n| {
        let counts = memory.counts.read(0).unwrap();
        memory.counts.write(0, &Counts { active: counts.active.wrapping_add(n), ..counts }).unwrap();
    };
    add(1);
    for n in 0..4 {
        // A packet between the passes ...
        while sweeper.step_over(&memory, 11 + n, |_| Some(u64::from(n))) == Step::More {}
        assert_eq!(sweeper.statistics().drift, []);
    }
    for _ in 0..4 {
        // ... or another difference.
        assert_eq!(sweep(&mut sweeper, &memory, 20).drift, []);
        add(1);
    }
    while sweeper.step_over(&memory, 30, |_| None) == Step::More {}
    while sweeper.step_over(&memory, 31, |_| None) == Step::More {}
    assert_eq!(sweeper.statistics().drift, [], "nothing known of its packets");
}

#[test]
fn connections_are_listed_as_ipvsadm_words_them() {
    let (memory, services) = site(256);
    pass(&memory, &services, 1000, &frame(3, 1, 4000, SYN));
    pass(&memory, &services, 1000, &frame(3, 1, 4000, ACK));
    pass(&memory, &services, 1000, &frame(5, 2, 5000, 0));
    let mut views = Vec::new();
    let mut listing = Listing::new();
    loop {
        let chunk = listing.chunk_of(&memory, 1000 + 30 * HZ, 1);
        if chunk.is_empty() {
            break;
        }
        views.extend(chunk);
    }
    let text = |v: &crate::api::ConnectionView| {
        let protocol = v.protocol.map_or("ip".to_owned(), |p| p.to_string());
        let (client, to, real) = (v.client, v.virtual_address, v.destination);
        format!("{protocol} {} {} {client} {to} {real} {}", v.expires, v.state, v.template)
    };
    let mut lines: Vec<String> = views.iter().map(text).collect();
    lines.sort();
    let expected = [
        "tcp 70 ASSURED 203.0.113.1:0 198.51.100.4:443 0.0.0.14:0 true",
        "tcp 870 ESTABLISHED 203.0.113.1:4000 198.51.100.4:443 0.0.0.14:443 false",
        "udp 0 NONE [2001:db8:700::2]:0 [2001:db8::6]:53 [0:10::]:0 true",
        "udp 270 UDP [2001:db8:700::2]:5000 [2001:db8::6]:53 [0:10::]:53 false",
    ];
    assert_eq!(lines, expected);
}

/// A step of the property test.
#[derive(Debug, Clone)]
enum Op {
    Packet { service: usize, client: u8, port: u16, flags: u8 },
    Advance(u32),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop::sample::select(vec![SYN, ACK, FIN | ACK, tcp::flag::RST, SYN | ACK]);
    prop_oneof![
        8 => (0..SERVICES.len(), 1..4u8, 4000..4003u16, flags)
            .prop_map(|(service, client, port, flags)| Op::Packet { service, client, port, flags }),
        2 => prop::sample::select(vec![1, HZ, 31 * HZ, 61 * HZ, 121 * HZ, 301 * HZ, 901 * HZ])
            .prop_map(Op::Advance),
        2 => Just(Op::Sweep),
    ]
}

/// A connection of the model.
#[derive(Debug, Clone, Copy)]
struct Connection {
    state: u8,
    seen: u32,
    timeout: u32,
}

/// A template of the model.
#[derive(Debug, Clone, Copy)]
struct Template {
    seen: u32,
    timeout: u32,
}

/// What the tables ought to hold, from ipvs-semantics sections 5 to 7 alone.
#[derive(Debug, Default)]
struct Model {
    connections: HashMap<(usize, u8, u16), Connection>,
    templates: HashMap<(usize, u8), Template>,
}

impl Model {
    fn children(&self, service: usize, client: u8) -> usize {
        self.connections.keys().filter(|(s, c, _)| (*s, *c) == (service, client)).count()
    }

    fn packet(&mut self, settings: &Settings, now: u32, key: (usize, u8, u16), flags: u8) {
        let (service, client, _) = key;
        let (_, protocol, persistence, method) = SERVICES[service];
        let direction = match method {
            ForwardingMethod::Masq => tcp::Direction::Input,
            _ => tcp::Direction::InputOnly,
        };
        let after = |state| if protocol == 6 { tcp::next(direction, flags, state) } else { 0 };
        if let Some(found) = self.connections.get_mut(&key) {
            let ended = matches!(found.state, tcp::TIME_WAIT | tcp::CLOSE);
            let reused = protocol == 6 && tcp::is_opener(flags) && persistence == 0 && ended;
            if now.wrapping_sub(found.seen) <= found.timeout && !reused {
                found.state = after(found.state);
                found.seen = now;
                found.timeout = conn::timeout(settings, protocol, found.state);
                return;
            }
            self.connections.remove(&key);
        }
        if protocol == 6 && !tcp::is_opener(flags) {
            return;
        }
        if persistence != 0 {
            let fresh = Template { seen: now, timeout: persistence * HZ };
            // Kept or made anew: either way there is one, with the service's timeout from now.
            self.templates.insert((service, client), fresh);
        }
        let state = after(tcp::NONE);
        let timeout = conn::timeout(settings, protocol, state);
        self.connections.insert(key, Connection { state, seen: now, timeout });
    }

    fn sweep(&mut self, now: u32) {
        self.connections.retain(|_, c| now.wrapping_sub(c.seen) <= c.timeout);
        let over: Vec<_> = self
            .templates
            .iter()
            .filter(|(_, t)| now.wrapping_sub(t.seen) > t.timeout)
            .map(|(key, _)| *key)
            .collect();
        for (service, client) in over {
            if self.children(service, client) == 0 {
                self.templates.remove(&(service, client));
            } else {
                self.templates.insert((service, client), Template { seen: now, timeout: 60 * HZ });
            }
        }
    }

    fn counts(&self, service: usize) -> (u32, u32, u32) {
        let protocol = SERVICES[service].1;
        let of = |active: bool| {
            let mine = self.connections.iter().filter(|((s, ..), _)| *s == service);
            mine.filter(|(_, c)| conn::is_active(protocol, c.state) == active).count() as u32
        };
        let templates = self.templates.keys().filter(|(s, _)| *s == service).count() as u32;
        (of(true), of(false), templates)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, in whatever order, and over the turn of the tick counter: the counts are those of
    /// the model after every step, and the recount finds nothing to mend.
    #[test]
    fn counts_stay_exact(ops in prop::collection::vec(op(), 1..80)) {
        let (memory, services) = site(256);
        let settings = memory.settings.read(0).unwrap();
        let mut model = Model::default();
        let mut sweeper = Sweeper::new();
        let mut now = u32::MAX - 200 * HZ;
        for op in ops {
            match op {
                Op::Packet { service, client, port, flags } => {
                    pass(&memory, &services, now, &frame(service, client, port, flags));
                    model.packet(&settings, now, (service, client, port), flags);
                }
                Op::Advance(ticks) => now = now.wrapping_add(ticks),
                Op::Sweep => {
                    let statistics = sweep(&mut sweeper, &memory, now);
                    model.sweep(now);
                    prop_assert_eq!(&statistics.drift, &[]);
                    let slots = |v6: bool| {
                        let mine = model.connections.keys().filter(|(s, ..)| (*s >= 4) == v6);
                        let masq = |s: usize| SERVICES[s].3 == ForwardingMethod::Masq;
                        mine.map(|(s, ..)| 1 + u64::from(masq(*s))).sum::<u64>()
                    };
                    prop_assert_eq!((statistics.live4, statistics.live6), (slots(false), slots(true)));
                    prop_assert_eq!(statistics.templates, model.templates.len() as u64);
                }
            }
            for (id, service) in (0..).zip(0..SERVICES.len()) {
                prop_assert_eq!(counts(&memory, id), model.counts(service), "service {}", service);
            }
        }
    }
}
