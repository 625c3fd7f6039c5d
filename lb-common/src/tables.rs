//! What the decision needs of the maps, and nothing more.

use core::ops::DerefMut;

use crate::abi::{
    Destination, FwmarkKey, Hop, Interface, LocalityKey, LocalityRef, MarkRule, Schedule, Service, Settings,
};
use crate::family::{Family, Ports};
use crate::flow_table::{self, Body, Entry, Place, Room, Score, Table};
use crate::frame::Frame;
use crate::parse::Packet;
use crate::reason::Reason;
use crate::sched::Subject;

/// A step of a walk over slots: `true` ends the walk.
pub trait Walk: Copy {
    /// Looks at the `i`-th slot of the walk.
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool;
}

/// Which way a counted packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    In,
    /// From a real server.
    Out,
}

/// Which counts of a destination change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Active connections.
    Active,
    /// Inactive connections.
    Inactive,
    /// Persistence templates.
    Persistent,
}

/// What the route towards a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The next hop.
    Hop(Hop),
    /// Its neighbour is not resolved, or there is no route.
    Unresolved,
}

/// Map access that does not depend on the address family.
pub trait Tables {
    /// Now, in ticks (low 32 bits of jiffies).
    fn now(&self) -> u32;
    /// The settings.
    fn settings(&self) -> Option<&Settings>;
    /// An interface by kernel index.
    fn interface(&self, index: u32) -> Option<&Interface>;
    /// An interface by its index in the map ([`Hop::interface`]).
    fn interface_at(&self, index: u16) -> Option<&Interface>;
    /// A word of the prefilter's bitmap.
    fn prefilter(&self, word: u32) -> u64;
    /// A rule that gives marks.
    fn mark_rule(&self, n: u32) -> Option<&MarkRule>;
    /// The service of a mark.
    fn fwmark(&self, key: &FwmarkKey) -> Option<&Service>;
    /// A slot: a destination id.
    fn slot(&self, index: u32) -> Option<u32>;
    /// A destination.
    fn destination(&self, id: u32) -> Option<&Destination>;
    /// Active, inactive connections of a destination, and whether it is overloaded.
    fn load(&self, id: u32) -> (u32, u32, bool);
    /// Adds to one of a destination's counts, wrapping; all its connections (active + inactive) afterwards.
    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32;
    /// Marks a destination as overloaded or not.
    fn set_overload(&self, id: u32, overloaded: bool);
    /// A service's scheduler state.
    fn schedule(&self, service: u32) -> Schedule;
    /// Changes a service's scheduler state if it is still `old`.
    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool;
    /// What lblc or lblcr remember of an address.
    fn locality(&self, key: &LocalityKey) -> Option<LocalityRef>;
    /// Remembers an address with one destination ([`crate::abi::Locality::members`]); forgotten at once where there is
    /// no room.
    fn remember(&self, key: &LocalityKey, member: u64, now: u32);
    /// A random number.
    fn random(&self) -> u32;
    /// Counts a packet of a destination; `bytes` of IP.
    fn account(&self, destination: u32, direction: Direction, bytes: u32);
    /// Counts a new connection of a destination.
    fn account_connection(&self, destination: u32);
    /// Counts a packet that was not forwarded.
    fn count(&self, reason: Reason);
    /// Whether an ICMP error may be sent to a client, by the folded address; takes the tokens.
    fn icmp_allowed(&self, client: u32) -> bool;
    /// Puts `length` (1 to [`crate::sip::MAX_PAYLOAD`]) bytes of the frame from `at` on where [`Tables::payload`] reads
    /// them; whether they are there. Only where packets are directed.
    fn load_payload<Fr: Frame>(&self, _frame: &Fr, _at: u32, _length: u32) -> bool {
        false
    }
    /// A byte of what was put there.
    fn payload(&self, _at: u32) -> u8 {
        0
    }
    /// The same number; the kernel's verifier forgets what it knew of it.
    fn forget(&self, number: u32) -> u32 {
        number
    }
    /// Whether a packet that would open a connection is dropped as one of `rate`, which is not 0 (`drop_packet`;
    /// [`crate::limit::turn`]). Never where nothing is scheduled.
    fn is_shed(&self, _rate: u32) -> bool {
        false
    }
    /// Calls `walk.step` with 0 to `count` - 1 until it says so.
    fn walk<W: Walk>(&self, count: u32, walk: &mut W);
}

/// Map access of one address family.
pub trait Store<F: Family>: Tables + Sized {
    /// Entries of its tables.
    type Entry: Entry<Key = F::Key>;

    /// Room for opening a connection, outside of BPF's small stack; what is in it is arbitrary.
    type Scratch<'a>: DerefMut<Target = Opening<F>>
    where
        Self: 'a;

    /// The room: one for each CPU, not to be taken twice at a time.
    fn scratch(&self) -> Option<Self::Scratch<'_>>;
    /// Way 0 of a bucket.
    fn bucket(&self, table: FlowTable, index: u32) -> Option<Self::Entry>;
    /// A service by its exact address, port and protocol.
    fn service(&self, address: F::Address, port: [u8; 2], protocol: u8) -> Option<&Service>;
    /// The next hop towards a client, by the kernel's routes and neighbours.
    fn route(&self, source: F::Address, client: F::Address) -> Route;
    /// Asks the daemon to resolve the next hop towards a client.
    fn want_neighbour(&self, client: F::Address);
}

/// A connection that is being opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<F: Family> {
    /// The packet that opens it.
    pub packet: Packet<F>,
    /// Now, ticks.
    pub now: u32,
    /// The destination.
    pub destination: u32,
    /// Mark of the service.
    pub mark: u32,
    /// Where the packet came from: its sender's MAC and the interface it came in by.
    pub sender: Hop,
    /// Its template, 0 without.
    pub link: u64,
    /// What the persistence engine makes of the packet, 0 without.
    pub call: u64,
    /// What the packet has to do with connections that go on without an entry ([`crate::stateless`]).
    pub stray: u32,
    /// What the scheduler looks at.
    pub subject: Subject,
    /// The entry that is to go in.
    pub body: Body<F::Key>,
    /// For the insertion.
    pub room: Room<F::Key>,
    /// Into which table.
    pub table: FlowTable,
    /// Protocol state of the entry.
    pub state: u8,
    /// Generation it got in its slot.
    pub generation: u16,
    /// Bits of its word.
    pub bits: u32,
    /// Slot it went to.
    pub slot: u32,
}

/// Which of a family's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowTable {
    /// Connection entries.
    Connections,
    /// Persistence templates.
    Templates,
}

/// One table of one family, as [`crate::flow_table`] works on it.
pub struct View<'a, F: Family, T: Store<F>> {
    tables: &'a T,
    table: FlowTable,
    mask: u32,
    settings: &'a Settings,
    family: core::marker::PhantomData<F>,
}

impl<'a, F: Family, T: Store<F>> View<'a, F, T> {
    /// The view of a table.
    #[inline(always)]
    pub fn new(tables: &'a T, settings: &'a Settings, table: FlowTable) -> Self {
        let mask = match (F::NUMBER, table) {
            (4, FlowTable::Connections) => settings.buckets4,
            (4, FlowTable::Templates) => settings.templates4,
            (_, FlowTable::Connections) => settings.buckets6,
            (_, FlowTable::Templates) => settings.templates6,
        };
        Self { tables, table, mask, settings, family: core::marker::PhantomData }
    }
}

impl<F: Family, T: Store<F>> Table for View<'_, F, T> {
    type Entry = T::Entry;

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<T::Entry> {
        self.tables.bucket(self.table, index)
    }

    #[inline(always)]
    fn place(&self, key: &F::Key) -> Place {
        Place::new(F::hash(key, &self.settings.seed), self.mask)
    }

    #[inline(always)]
    fn home(&self, key: &F::Key) -> u32 {
        home::<F>(key, &self.settings.seed, self.mask)
    }

    #[inline(always)]
    fn overflow(&self, key: &F::Key) -> u32 {
        overflow::<F, T>(self.tables, self.settings, self.table, key)
    }

    #[inline(always)]
    fn pick(&self, place: &Place, now: u32) -> Score {
        pick::<F, T>(self.tables, self.settings, self.table, place, now)
    }

    #[inline(always)]
    fn settle(&self, body: &Body<F::Key>, room: &mut Room<F::Key>) -> u32 {
        settle::<F, T>(self.tables, self.settings, self.table, body, room)
    }

    #[inline(always)]
    fn twins(&self, room: &Room<F::Key>, key: &F::Key) -> u64 {
        twins::<F, T>(self.tables, self.settings, self.table, room, key)
    }
}

/// Bucket of a key. Not inlined: rare, and the hash takes many registers.
#[inline(never)]
fn home<F: Family>(key: &F::Key, seed: &[u64; 4], mask: u32) -> u32 {
    Place::new(F::hash(key, seed), mask).home
}

/// Slot of a key in its overflow buckets. Not inlined: rare, and the common path is to stay as short as it is.
#[inline(never)]
fn overflow<F: Family, T: Store<F>>(tables: &T, settings: &Settings, table: FlowTable, key: &F::Key) -> u32 {
    let view = View::<F, T>::new(tables, settings, table);
    flow_table::overflowed(&view, key, view.place(key))
}

/// The first step of an insertion. Not inlined, as the others: each has a stack frame of its own, one after the other.
#[inline(never)]
fn pick<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    table: FlowTable,
    place: &Place,
    now: u32,
) -> Score {
    flow_table::pick(&View::<F, T>::new(tables, settings, table), place, now)
}

/// The second step of an insertion.
#[inline(never)]
fn settle<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    table: FlowTable,
    body: &Body<F::Key>,
    room: &mut Room<F::Key>,
) -> u32 {
    flow_table::settle(&View::<F, T>::new(tables, settings, table), body, room)
}

/// The third step of an insertion.
#[inline(never)]
fn twins<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    table: FlowTable,
    room: &Room<F::Key>,
    key: &F::Key,
) -> u64 {
    flow_table::twins(&View::<F, T>::new(tables, settings, table), room, key)
}

/// Ports of a template key: client port 0.
#[inline(always)]
#[must_use]
pub const fn template_ports(virtual_port: [u8; 2]) -> Ports {
    Ports { source: [0, 0], destination: virtual_port }
}
