//! The tables in mapped memory, as `lb-common` works on them.

use lb_common::abi::{
    Bucket4, Bucket6, Counts, Destination, Entry4, Entry6, FwmarkKey, INTERFACES, Interface, LocalityKey,
    LocalityRef, MarkRule, Schedule, Service, Settings, add_u32, cas_u64, load_u32, store_u32,
};
use lb_common::family::{Family, Ports, V4, V6};
use lb_common::flow_table::{Body, Place, Removed, Room, Word};
use lb_common::parse::Packet;
use lb_common::reason::Reason;
use lb_common::sched::Subject;
use lb_common::tables::{Count, Direction, FlowTable, Opening, Route, Store, Tables, Walk};

use super::mapped::{Mapped, Shared};
use super::maps::Memory;

/// The tables in mapped memory, at one moment: what the walk and the tests run `lb-common` on.
///
/// Flows, counts, destinations, slots and scheduler states are the data path's own. What lies in maps
/// that cannot be mapped is not here, because a walk needs none of it: no service, mark, route or ICMP
/// token is ever found, and packets are not accounted.
pub struct MappedTables<'a> {
    memory: &'a Memory,
    settings: Settings,
    now: u32,
}

impl<'a> MappedTables<'a> {
    /// The tables at tick `now`, with a copy of the settings of now.
    pub(super) fn new(memory: &'a Memory, now: u32) -> Self {
        Self { memory, settings: memory.settings.read(0).unwrap_or_default(), now }
    }

    /// A copy of the settings.
    pub(super) const fn copied_settings(&self) -> Settings {
        self.settings
    }
}

/// A reference to an element that only the daemon writes.
fn shared<T: Shared>(map: &Mapped<T>, index: u32) -> Option<&T> {
    // SAFETY: an element of the mapping, which outlives the reference. Destinations and interfaces are
    // written by `Maps::execute` alone, which takes the maps exclusively; the XDP program only reads them.
    map.element(index).map(|p| unsafe { &*p })
}

impl Tables for MappedTables<'_> {
    fn now(&self) -> u32 {
        self.now
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn interface(&self, index: u32) -> Option<&Interface> {
        shared(&self.memory.interfaces, index % INTERFACES).filter(|interface| interface.ifindex == index)
    }

    fn interface_at(&self, index: u16) -> Option<&Interface> {
        shared(&self.memory.interfaces, u32::from(index))
    }

    fn prefilter(&self, word: u32) -> u64 {
        self.memory.prefilter.read(word).unwrap_or_default()
    }

    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        shared(&self.memory.marks, n)
    }

    fn fwmark(&self, _key: &FwmarkKey) -> Option<&Service> {
        None
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.memory.slots.read(index)
    }

    fn destination(&self, id: u32) -> Option<&Destination> {
        shared(&self.memory.destinations, id)
    }

    fn load(&self, id: u32) -> (u32, u32, bool) {
        // As the XDP program: a destination without counts takes no connection.
        self.memory.counts.read(id).map_or((0, 0, true), |c| (c.active, c.inactive, c.overload != 0))
    }

    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        let Some(counts) = self.memory.counts.element(id) else { return 0 };
        // SAFETY: fields of an element of the mapping, which everyone changes by atomic operations.
        unsafe { add_count(counts, which, delta) }
    }

    fn set_overload(&self, id: u32, overloaded: bool) {
        if let Some(counts) = self.memory.counts.element(id) {
            // SAFETY: as above.
            unsafe { store_u32(&raw mut (*counts).overload, u32::from(overloaded)) };
        }
    }

    fn schedule(&self, service: u32) -> Schedule {
        self.memory.schedules.read(service).unwrap_or_default()
    }

    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        // SAFETY: an element of the mapping, one aligned double word.
        self.memory.schedules.element(service).is_some_and(|p| unsafe { cas_u64(p.cast(), old.0, new.0) })
    }

    fn locality(&self, _key: &LocalityKey) -> Option<LocalityRef> {
        None
    }

    fn remember(&self, _key: &LocalityKey, _member: u64, _now: u32) {}

    fn random(&self) -> u32 {
        0
    }

    fn account(&self, _destination: u32, _direction: Direction, _bytes: u32) {}

    fn account_connection(&self, _destination: u32) {}

    fn count(&self, _reason: Reason) {}

    fn icmp_allowed(&self, _client: u32) -> bool {
        false
    }

    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        let _ = (0..count).any(|i| walk.step(self, i));
    }
}

/// Adds to one of the counts; active and inactive ones afterwards.
///
/// # Safety
/// `counts` is an element of the mapping.
unsafe fn add_count(counts: *mut Counts, which: Count, delta: u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe {
        match which {
            Count::Active => add_u32(&raw mut (*counts).active, delta),
            Count::Inactive => add_u32(&raw mut (*counts).inactive, delta),
            Count::Persistent => add_u32(&raw mut (*counts).persistent, delta),
        };
        load_u32(&raw const (*counts).active).wrapping_add(load_u32(&raw const (*counts).inactive))
    }
}

impl Store<V4> for MappedTables<'_> {
    type Entry = Entry4;
    type Scratch<'b>
        = Box<Opening<V4>>
    where
        Self: 'b;

    fn scratch(&self) -> Option<Box<Opening<V4>>> {
        Some(Box::new(blank()))
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry4> {
        let buckets: &Mapped<Bucket4> = match table {
            FlowTable::Connections => &self.memory.connections4,
            FlowTable::Templates => &self.memory.templates4,
        };
        // SAFETY: way 0 of a bucket of the mapping, which outlives `self`; aligned to a cache line.
        buckets.element(index).map(|p| unsafe { Entry4::new(p.cast()) })
    }

    fn service(&self, _address: [u8; 4], _port: [u8; 2], _protocol: u8) -> Option<&Service> {
        None
    }

    fn route(&self, _source: [u8; 4], _client: [u8; 4]) -> Route {
        Route::Unresolved
    }

    fn want_neighbour(&self, _client: [u8; 4]) {}
}

impl Store<V6> for MappedTables<'_> {
    type Entry = Entry6;
    type Scratch<'b>
        = Box<Opening<V6>>
    where
        Self: 'b;

    fn scratch(&self) -> Option<Box<Opening<V6>>> {
        Some(Box::new(blank()))
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry6> {
        let buckets: &Mapped<Bucket6> = match table {
            FlowTable::Connections => &self.memory.connections6,
            FlowTable::Templates => &self.memory.templates6,
        };
        // SAFETY: as for IPv4.
        buckets.element(index).map(|p| unsafe { Entry6::new(p.cast()) })
    }

    fn service(&self, _address: [u64; 2], _port: [u8; 2], _protocol: u8) -> Option<&Service> {
        None
    }

    fn route(&self, _source: [u64; 2], _client: [u64; 2]) -> Route {
        Route::Unresolved
    }

    fn want_neighbour(&self, _client: [u64; 2]) {}
}

/// Room for what an entry was when it is removed.
pub(super) fn removed<F: Family>() -> Removed<F::Key> {
    let nowhere = F::narrow(&[0; 16]);
    Removed {
        word: Word(0),
        key: F::key(nowhere, nowhere, Ports::new(0, 0), 0),
        destination: 0,
        flags: 0,
        peer: 0,
        peer_generation: 0,
        link: 0,
    }
}

/// Room for opening a connection.
fn blank<F: Family>() -> Opening<F> {
    let nowhere = F::narrow(&[0; 16]);
    let ports = Ports::new(0, 0);
    Opening {
        packet: Packet {
            source: nowhere,
            destination: nowhere,
            ports,
            port_word: 0,
            protocol: 0,
            tcp_flags: 0,
            sctp_event: 0,
            ttl: 0,
            transport: 0,
            length: 0,
        },
        now: 0,
        destination: 0,
        mark: 0,
        sender: lb_common::abi::Hop::UNRESOLVED,
        link: 0,
        call: 0,
        stray: 0,
        subject: Subject::default(),
        body: Body {
            key: F::key(nowhere, nowhere, ports, 0),
            address: [0; 16],
            link: 0,
            last_seen: 0,
            timeout: 0,
            destination: 0,
            peer: 0,
            mark: 0,
            peer_generation: 0,
            flags: 0,
            port: [0; 2],
        },
        room: Room {
            place: Place { home: 0, partner: 0, start: 0, overflow: [0; 2] },
            removed: removed::<F>(),
            replaced: false,
            best: 0,
            word: Word(0),
            slot: 0,
            cell: 0,
        },
        table: FlowTable::Connections,
        state: 0,
        generation: 0,
        bits: 0,
        slot: 0,
    }
}
