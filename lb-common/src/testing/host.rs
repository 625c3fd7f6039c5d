//! The maps as ordinary memory.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, Entry4, Entry6, FwmarkKey, Hop, ICMP_BUCKETS,
    INTERFACES, IcmpBucket, Interface, MARK_RULES, MarkRule, Memory, PREFILTER_BITS, REASONS, Schedule,
    Service, ServiceKey4, ServiceKey6, Settings,
};
use crate::family::{Family, Ports, V4, V6};
use crate::flow_table::{Body, Place, Removed, Room, Word};
use crate::limit::{self, Limit};
use crate::parse::Packet;
use crate::reason::Reason;
use crate::tables::{Count, Direction, FlowTable, Opening, Route, Store, Tables, Walk};

/// Destinations, services and slots that fit.
const DESTINATIONS: u32 = 64;
const SERVICES: u32 = 64;
const SLOTS: usize = 4096;

/// What a CPU's counters of one destination hold.
type Accounts = [AtomicU64; 5];

/// The maps. What the daemon writes is public and plain; what the data path writes can be used from
/// several threads at once.
#[derive(Debug)]
pub struct HostTables {
    /// Element of map `SETTINGS`.
    pub settings: Settings,
    /// Elements of map `IFACES` that are not zero, by index (ifindex modulo [`INTERFACES`]).
    pub interfaces: BTreeMap<u32, Interface>,
    /// Map `SERVICES4`.
    pub services4: HashMap<ServiceKey4, Service>,
    /// Map `SERVICES6`.
    pub services6: HashMap<ServiceKey6, Service>,
    /// Map `FWMARKS`.
    pub fwmarks: HashMap<FwmarkKey, Service>,
    /// Map `MARKS`.
    pub marks: Vec<MarkRule>,
    /// Map `SLOTS`.
    pub slots: Vec<u32>,
    /// Map `DESTINATIONS`.
    pub destinations: Vec<Destination>,
    /// Map `PREFILTER`.
    pub prefilter: Vec<u64>,
    /// The kernel's routes with resolved next hops, by client address (IPv4 in the first four bytes).
    pub routes: BTreeMap<[u8; 16], Hop>,
    /// Map `CONNECTIONS4`.
    pub connections4: Memory<Bucket4>,
    /// Map `CONNECTIONS6`.
    pub connections6: Memory<Bucket6>,
    /// Map `TEMPLATES4`.
    pub templates4: Memory<Bucket4>,
    /// Map `TEMPLATES6`.
    pub templates6: Memory<Bucket6>,
    /// The tick; after so many more reads of it, the next one.
    now: AtomicU32,
    reads: AtomicU32,
    next: AtomicU32,
    counts: Vec<[AtomicU32; 4]>,
    schedules: Vec<AtomicU64>,
    counters: Vec<Accounts>,
    reasons: Vec<AtomicU64>,
    limits: Mutex<Vec<IcmpBucket>>,
    wanted: Mutex<Vec<[u8; 16]>>,
}

const NO_INTERFACE: Interface =
    Interface { ifindex: 0, flags: 0, mac: 0, second_mac: 0, mtu: 0, _reserved: 0 };
const NO_RULE: MarkRule = MarkRule {
    address: [0; 16],
    mark: 0,
    first_port: 0,
    last_port: 0,
    prefix: 0,
    family: 0,
    protocol: 0,
    _pad: [0; 5],
};

impl HostTables {
    /// Empty maps whose tables have `buckets` (a power of two) buckets each.
    #[must_use]
    pub fn new(buckets: u32) -> Self {
        let mut tables = Self {
            settings: Settings::default(),
            interfaces: BTreeMap::new(),
            services4: HashMap::new(),
            services6: HashMap::new(),
            fwmarks: HashMap::new(),
            marks: Vec::new(),
            slots: vec![0; SLOTS],
            destinations: vec![Destination::default(); DESTINATIONS as usize],
            prefilter: vec![0; PREFILTER_BITS as usize / 64],
            routes: BTreeMap::new(),
            connections4: Memory::new(buckets),
            connections6: Memory::new(buckets),
            templates4: Memory::new(buckets),
            templates6: Memory::new(buckets),
            now: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            next: AtomicU32::new(0),
            counts: (0..DESTINATIONS).map(|_| Default::default()).collect(),
            schedules: (0..SERVICES).map(|_| AtomicU64::new(0)).collect(),
            counters: (0..DESTINATIONS).map(|_| Accounts::default()).collect(),
            reasons: (0..REASONS).map(|_| AtomicU64::new(0)).collect(),
            limits: Mutex::new(vec![IcmpBucket::default(); ICMP_BUCKETS as usize + 1]),
            wanted: Mutex::new(Vec::new()),
        };
        super::site::prepare(&mut tables, buckets);
        tables
    }

    /// Sets the tick.
    pub fn set_now(&self, now: u32) {
        self.set_now_until(now, 0, now);
    }

    /// Sets the tick for so many reads of it, and the one after: on a real machine it changes at any moment.
    pub fn set_now_until(&self, now: u32, reads: u32, next: u32) {
        self.now.store(now, Ordering::SeqCst);
        self.next.store(next, Ordering::SeqCst);
        self.reads.store(reads, Ordering::SeqCst);
    }

    /// Connections of a destination.
    #[must_use]
    pub fn counts(&self, id: u32) -> Counts {
        let word = |i: usize| {
            let counts = self.counts.get(id as usize);
            counts.and_then(|c| c.get(i)).map_or(0, |c| c.load(Ordering::SeqCst))
        };
        Counts { active: word(0), inactive: word(1), persistent: word(2), overload: word(3) }
    }

    /// Sets the connections of a destination.
    pub fn set_counts(&self, id: u32, counts: Counts) {
        let Some(to) = self.counts.get(id as usize) else { return };
        for (to, from) in to.iter().zip([counts.active, counts.inactive, counts.persistent, counts.overload])
        {
            to.store(from, Ordering::SeqCst);
        }
    }

    /// Counters of a destination.
    #[must_use]
    pub fn counters(&self, id: u32) -> Counters {
        let word = |i: usize| {
            let counters = self.counters.get(id as usize);
            counters.and_then(|c| c.get(i)).map_or(0, |c| c.load(Ordering::SeqCst))
        };
        Counters {
            connections: word(0),
            in_packets: word(1),
            in_bytes: word(2),
            out_packets: word(3),
            out_bytes: word(4),
            _reserved: [0; 3],
        }
    }

    /// Packets by reason, in the order of [`Reason::ALL`].
    #[must_use]
    pub fn reasons(&self) -> Vec<u64> {
        self.reasons.iter().take(Reason::ALL.len()).map(|r| r.load(Ordering::SeqCst)).collect()
    }

    /// Packets of one reason.
    #[must_use]
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).map_or(0, |r| r.load(Ordering::SeqCst))
    }

    /// A token bucket of map `ICMP_LIMITS`.
    #[must_use]
    pub fn limit(&self, index: u32) -> IcmpBucket {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.get(index as usize).copied().unwrap_or_default()
    }

    /// Fills every token bucket.
    pub fn reset_limits(&self) {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).fill(IcmpBucket::default());
    }

    /// The clients whose next hops the daemon was asked to resolve, in order; empties the list.
    pub fn take_wanted(&self) -> Vec<[u8; 16]> {
        core::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets a service's scheduler state.
    pub fn set_schedule(&self, service: u32, schedule: Schedule) {
        if let Some(state) = self.schedules.get(service as usize) {
            state.store(schedule.0, Ordering::SeqCst);
        }
    }

    fn account(&self, destination: u32, values: &[(usize, u64)]) {
        let Some(counters) = self.counters.get(destination as usize) else { return };
        for (i, n) in values {
            if let Some(counter) = counters.get(*i) {
                counter.fetch_add(*n, Ordering::SeqCst);
            }
        }
    }

    fn route_to(&self, client: [u8; 16]) -> Route {
        match self.routes.get(&client) {
            Some(hop) if hop.is_resolved() => Route::Hop(*hop),
            _ => Route::Unresolved,
        }
    }

    fn want(&self, client: [u8; 16]) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}

impl Clone for HostTables {
    fn clone(&self) -> Self {
        let word = |a: &AtomicU32| AtomicU32::new(a.load(Ordering::SeqCst));
        let double = |a: &AtomicU64| AtomicU64::new(a.load(Ordering::SeqCst));
        Self {
            settings: self.settings,
            interfaces: self.interfaces.clone(),
            services4: self.services4.clone(),
            services6: self.services6.clone(),
            fwmarks: self.fwmarks.clone(),
            marks: self.marks.clone(),
            slots: self.slots.clone(),
            destinations: self.destinations.clone(),
            prefilter: self.prefilter.clone(),
            routes: self.routes.clone(),
            connections4: self.connections4.clone(),
            connections6: self.connections6.clone(),
            templates4: self.templates4.clone(),
            templates6: self.templates6.clone(),
            now: word(&self.now),
            reads: word(&self.reads),
            next: word(&self.next),
            counts: self.counts.iter().map(|c| c.each_ref().map(word)).collect(),
            schedules: self.schedules.iter().map(double).collect(),
            counters: self.counters.iter().map(|c| c.each_ref().map(double)).collect(),
            reasons: self.reasons.iter().map(double).collect(),
            limits: Mutex::new(self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            wanted: Mutex::new(self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }
}

impl Tables for HostTables {
    fn now(&self) -> u32 {
        let left = |reads: u32| reads.checked_sub(1);
        match self.reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => self.now.load(Ordering::SeqCst),
            Err(_) => self.next.load(Ordering::SeqCst),
        }
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn interface(&self, index: u32) -> Option<&Interface> {
        let interface = self.interfaces.get(&(index % INTERFACES)).unwrap_or(&NO_INTERFACE);
        (interface.ifindex == index).then_some(interface)
    }

    fn interface_at(&self, index: u16) -> Option<&Interface> {
        let index = u32::from(index);
        (index < INTERFACES).then(|| self.interfaces.get(&index).unwrap_or(&NO_INTERFACE))
    }

    fn prefilter(&self, word: u32) -> u64 {
        self.prefilter.get(word as usize).copied().unwrap_or(0)
    }

    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        (n < MARK_RULES).then(|| self.marks.get(n as usize).unwrap_or(&NO_RULE))
    }

    fn fwmark(&self, key: &FwmarkKey) -> Option<&Service> {
        self.fwmarks.get(key)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn destination(&self, id: u32) -> Option<&Destination> {
        self.destinations.get(id as usize)
    }

    fn load(&self, id: u32) -> (u32, u32, bool) {
        if id >= DESTINATIONS {
            return (0, 0, true);
        }
        let counts = self.counts(id);
        (counts.active, counts.inactive, counts.overload != 0)
    }

    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        let Some([active, inactive, persistent, _]) = self.counts.get(id as usize) else { return 0 };
        match which {
            Count::Active => active,
            Count::Inactive => inactive,
            Count::Persistent => persistent,
        }
        .fetch_add(delta, Ordering::SeqCst);
        active.load(Ordering::SeqCst).wrapping_add(inactive.load(Ordering::SeqCst))
    }

    fn set_overload(&self, id: u32, overloaded: bool) {
        if let Some([.., overload]) = self.counts.get(id as usize) {
            overload.store(u32::from(overloaded), Ordering::SeqCst);
        }
    }

    fn schedule(&self, service: u32) -> Schedule {
        Schedule(self.schedules.get(service as usize).map_or(0, |s| s.load(Ordering::SeqCst)))
    }

    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        self.schedules
            .get(service as usize)
            .is_some_and(|s| s.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    fn account(&self, destination: u32, direction: Direction, bytes: u32) {
        match direction {
            Direction::In => self.account(destination, &[(1, 1), (2, u64::from(bytes))]),
            Direction::Out => self.account(destination, &[(3, 1), (4, u64::from(bytes))]),
        }
    }

    fn account_connection(&self, destination: u32) {
        self.account(destination, &[(0, 1)]);
    }

    fn count(&self, reason: Reason) {
        if let Some(counter) = self.reasons.get(reason as usize) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn icmp_allowed(&self, client: u32) -> bool {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (limit::bucket(client), Limit::of_client(&self.settings));
        let all = (ICMP_BUCKETS, Limit::of_all(&self.settings));
        [own, all].into_iter().all(|(index, limit)| {
            let Some(bucket) = limits.get_mut(index as usize) else { return false };
            let (after, allowed) = limit.take(*bucket, self.now());
            *bucket = after;
            allowed
        })
    }

    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        let _ = (0..count).any(|i| walk.step(self, i));
    }
}

impl Store<V4> for HostTables {
    type Entry = Entry4;
    type Scratch<'a> = Box<Opening<V4>>;

    fn scratch(&self) -> Option<Box<Opening<V4>>> {
        Some(Box::new(blank()))
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry4> {
        match table {
            FlowTable::Connections => self.connections4.entry(index),
            FlowTable::Templates => self.templates4.entry(index),
        }
    }

    fn service(&self, address: [u8; 4], port: [u8; 2], protocol: u8) -> Option<&Service> {
        self.services4.get(&ServiceKey4 { address, port, protocol, _pad: 0 })
    }

    fn route(&self, _source: [u8; 4], client: [u8; 4]) -> Route {
        self.route_to(V4::wide(client))
    }

    fn want_neighbour(&self, client: [u8; 4]) {
        self.want(V4::wide(client));
    }
}

impl Store<V6> for HostTables {
    type Entry = Entry6;
    type Scratch<'a> = Box<Opening<V6>>;

    fn scratch(&self) -> Option<Box<Opening<V6>>> {
        Some(Box::new(blank()))
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry6> {
        match table {
            FlowTable::Connections => self.connections6.entry(index),
            FlowTable::Templates => self.templates6.entry(index),
        }
    }

    fn service(&self, address: [u64; 2], port: [u8; 2], protocol: u8) -> Option<&Service> {
        self.services6.get(&ServiceKey6 { address: V6::wide(address), port, protocol, _pad: 0 })
    }

    fn route(&self, _source: [u64; 2], client: [u64; 2]) -> Route {
        self.route_to(V6::wide(client))
    }

    fn want_neighbour(&self, client: [u64; 2]) {
        self.want(V6::wide(client));
    }
}

/// Room for opening a connection, filled with what the decision must not rely on.
fn blank<F: Family>() -> Opening<F> {
    let nowhere = F::narrow(&[0xa5; 16]);
    let ports = Ports::new(0xa5a5, 0xa5a5);
    let key = F::key(nowhere, nowhere, ports, 0xa5);
    Opening {
        packet: Packet {
            source: nowhere,
            destination: nowhere,
            ports,
            port_word: 0xa5a5_a5a5,
            protocol: 0xa5,
            tcp_flags: 0xa5,
            ttl: 0xa5,
            transport: 0xa5a5,
            length: 0xa5a5,
        },
        now: 0xa5a5_a5a5,
        destination: 0xa5a5_a5a5,
        mark: 0xa5a5_a5a5,
        sender: Hop(0xa5a5_a5a5_a5a5_a5a5),
        link: 0xa5a5_a5a5_a5a5_a5a5,
        body: Body {
            key,
            address: [0xa5; 16],
            link: 0xa5a5,
            last_seen: 0xa5a5,
            timeout: 0xa5a5,
            destination: 0xa5a5,
            peer: 0xa5a5,
            mark: 0xa5a5,
            peer_generation: 0xa5a5,
            flags: 0xa5a5,
            port: [0xa5; 2],
        },
        room: Room {
            place: Place { home: 0xa5a5, partner: 0xa5a5, start: 0xa5a5 },
            removed: Removed {
                word: Word(0xa5a5_a5a5),
                key,
                destination: 0xa5a5,
                flags: 0xa5a5,
                peer: 0xa5a5,
                peer_generation: 0xa5a5,
                link: 0xa5a5,
            },
            replaced: true,
            cell: 0xa5a5,
        },
        table: FlowTable::Templates,
        state: 0xa5,
        generation: 0xa5a5,
        bits: 0xa5a5_a5a5,
        slot: 0xa5a5,
    }
}
