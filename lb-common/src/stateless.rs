//! Connections that go on without an entry, because every place of theirs in the table is full of established ones:
//! nobody is refused (architecture decision 2).
//!
//! Such a packet goes where a hash of its flow says, and so does the next one. The gate of the flow's home bucket
//! remembers that there are such connections ([`gate::STATELESS`]): a later packet that has no entry and could not open
//! a connection is one of theirs. It gets an entry as soon as there is room, and goes on by the hash until then. The
//! daemon's sweep clears the bit when the bucket is empty.

use crate::abi::{NONE, Service, Settings};
use crate::conn::protocol;
use crate::connect::{is_masq, is_one_packet, locate};
use crate::family::Family;
use crate::flow_table::{Entry, gate};
use crate::sched::{self, Scheduler};
use crate::tables::{FlowTable, Opening, Store, Tables, Walk};

/// The packet has nothing to do with such connections.
pub(crate) const NO: u32 = 0;
/// It may be of one, or open one.
pub(crate) const FOLLOWS: u32 = 1;
/// It may be of one, or it is nobody's: by itself it opens nothing.
pub(crate) const INTRUDES: u32 = 2;

/// What a packet that opens no connection, or a datagram, has to do with connections without an entry. Not inlined: a stack frame of
/// its own.
#[inline(never)]
pub(crate) fn of<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    match home::<F, T>(tables, settings, opening) {
        Some(home) if home.gate() & gate::STATELESS != 0 => {
            if opening.packet.protocol == protocol::UDP {
                FOLLOWS
            } else {
                INTRUDES
            }
        }
        _ => NO,
    }
}

/// Directs a packet of which [`of`] said that it may be of a connection without an entry to where that went:
/// `opening.destination`, which stays as it is where the packet's own template knows, and is [`NONE`] where no such
/// connection can be. Not inlined: as above.
#[inline(never)]
pub(crate) fn follow<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
    service: &Service,
) -> u32 {
    if is_one_packet(service, opening.packet.protocol) {
        return 0;
    }
    if opening.link == 0 {
        opening.destination = choose::<F, T>(tables, settings, opening, service);
    }
    if opening.stray == INTRUDES && tables.destination(opening.destination).is_none_or(is_masq) {
        opening.destination = NONE;
    }
    0
}

/// Directs a packet whose connection got no entry: `opening.destination`, and remembers that it goes without; 0 where it
/// cannot. Not inlined: as above.
#[inline(never)]
pub(crate) fn go<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
    service: &Service,
) -> u32 {
    // A template says the same each time as well.
    if opening.link == 0 {
        opening.destination = choose::<F, T>(tables, settings, opening, service);
    }
    if tables.destination(opening.destination).is_none_or(is_masq) {
        return 0;
    }
    match home::<F, T>(tables, settings, opening) {
        Some(home) => {
            home.mark_gate(gate::STATELESS);
            1
        }
        None => 0,
    }
}

/// Way 0 of the home bucket of the packet's flow.
#[inline(always)]
fn home<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> Option<T::Entry> {
    let packet = &opening.packet;
    opening.table = FlowTable::Connections;
    opening.body.key = F::key(packet.source, packet.destination, packet.ports, packet.protocol);
    locate::<F, T>(tables, settings, opening);
    tables.bucket(FlowTable::Connections, opening.room.place.home)
}

/// The destination of a connection without an entry, [`NONE`] without: the choice of the service's scheduler, where
/// that is the same each time; otherwise the slots are walked from where the hash of the flow says. NAT cannot do
/// without an entry, and is not chosen there. Not inlined: a stack frame of its own.
#[inline(never)]
fn choose<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &Opening<F>,
    service: &Service,
) -> u32 {
    if service.slots == 0 {
        return NONE;
    }
    if Scheduler::from_u8(service.scheduler).is_some_and(Scheduler::is_hash) {
        return sched::select(tables, service, &opening.subject);
    }
    let packet = &opening.packet;
    let key = F::key(packet.source, packet.destination, packet.ports, packet.protocol);
    // Other bits than those that chose the bucket, which all flows of a full one share.
    let hash = F::hash(&key, &settings.seed).rotate_left(11).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let start = (hash as u32).checked_rem(service.slots).unwrap_or(0);
    let mut walk = Onward { first: service.first_slot, slots: service.slots, position: start, id: NONE };
    // The first one is usable nearly always: no walk then.
    if !walk.step(tables, 0) {
        tables.walk(service.slots, &mut walk);
    }
    walk.id
}

/// Walks forward from a position, wrapping once, to the first usable destination that needs no entry.
#[derive(Clone, Copy)]
struct Onward {
    first: u32,
    slots: u32,
    position: u32,
    id: u32,
}

impl Walk for Onward {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, _: u32) -> bool {
        let Some(id) = tables.slot(self.first.wrapping_add(self.position)) else { return true };
        self.position = self.position.wrapping_add(1);
        if self.position >= self.slots {
            self.position = 0;
        }
        let Some(destination) = sched::usable(tables, id) else { return false };
        if is_masq(destination) {
            return false;
        }
        self.id = id;
        true
    }
}
