//! New connections: who may open one, to which destination; their entries.

use crate::abi::{
    Destination, LocalityKey, NONE, Service, Settings, connection_flags, destination_flags, service_flags,
    settings_flags,
};
use crate::conn::{self, protocol, tcp, udp};
use crate::direct::{Verdict, is_persistent, real_port, to_destination};
use crate::family::{Family, Ports};
use crate::flow_table::{self, Entry, Insertion, Table, Word};
use crate::fwd::ForwardingMethod;
use crate::icmp::IcmpError;
use crate::leave::uncount;
use crate::lookup;
use crate::parse::Packet;
use crate::persist;
use crate::reason::Reason;
use crate::sched::{self, Subject};
use crate::stateless;
use crate::tables::{Count, Direction, FlowTable, Opening, Store, View};

/// Port of FTP data connections.
const FTP_DATA: [u8; 2] = 20_u16.to_be_bytes();

/// A packet without connection (ip_vs_core.c: ip_vs_schedule and the protocols' conn_schedule):
/// `opening.packet`.
#[inline(always)]
pub(crate) fn schedule<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> Verdict<F> {
    let (protocol, source_port) = (opening.packet.protocol, opening.packet.ports.source);
    opening.stray = stateless::NO;
    if protocol != protocol::TCP || !opens(settings, opening.packet.tcp_flags) {
        stateless::ask::<F, T>(tables, settings, opening);
        if opening.stray == stateless::NO && protocol == protocol::TCP {
            return Verdict::Pass(Reason::NotAnOpener);
        }
    }
    let Some(service) = lookup::service(tables, settings, &opening.packet, opening.sender) else {
        return Verdict::Pass(Reason::NoService);
    };
    if settings.drop_rate != 0 && tables.is_shed(settings.drop_rate) {
        return Verdict::Drop(Reason::Shed);
    }
    if source_port == FTP_DATA {
        return Verdict::Pass(Reason::FtpData);
    }
    opening.now = tables.now();
    opening.link = 0;
    opening.mark = service.mark;
    opening.subject = subject(service, &opening.packet, opening.now);
    opening.destination = NONE;
    if is_persistent(service) {
        persist::choose(tables, settings, opening, service);
    }
    if opening.stray != stateless::NO {
        stateless::follow(tables, settings, opening, service);
        if opening.destination == NONE && opening.stray == stateless::INTRUDES {
            return Verdict::Pass(Reason::NotAnOpener);
        }
    }
    if opening.destination == NONE {
        let id = sched::select(tables, service, &opening.subject);
        // By way of memory: the verifier then follows one path from here.
        opening.destination = crate::abi::through(&mut opening.room.cell, u64::from(id)) as u32;
        if opening.destination == NONE {
            return Verdict::Reply(IcmpError::PortUnreachable, Reason::NoDestination);
        }
    }
    if is_one_packet(service, protocol) {
        // Counted, forwarded, forgotten (ip_vs_core.c: IP_VS_CONN_F_ONE_PACKET).
        tables.account_connection(opening.destination);
    } else {
        enter(tables, settings, opening);
        if opening.failed == 0 {
            tables.account_connection(opening.destination);
        } else {
            let reason = failure(opening.failed);
            stateless::go(tables, settings, opening, service);
            if opening.destination == NONE {
                return Verdict::Drop(reason);
            }
            tables.count(reason);
        }
    }
    let id = opening.destination;
    let Some(destination) = tables.destination(id) else { return Verdict::Drop(Reason::Internal) };
    tables.account(id, Direction::In, opening.packet.length);
    to_destination(id, destination, &opening.packet)
}

/// Whether datagrams of the service are scheduled one by one.
#[inline(always)]
pub(crate) const fn is_one_packet(service: &Service, protocol: u8) -> bool {
    service.flags & service_flags::ONE_PACKET != 0 && protocol == protocol::UDP
}

/// Whether replies pass the director.
#[inline(always)]
pub(crate) const fn is_masq(destination: &Destination) -> bool {
    destination.method == ForwardingMethod::Masq as u8 && destination.flags & destination_flags::LOCAL == 0
}

/// Makes the connection's entries and counts it; `opening.failed` 0, [`LOST`], [`FULL`]. Not inlined: a stack frame of
/// its own.
#[inline(never)]
fn enter<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    let id = opening.destination;
    opening.failed = FULL;
    let Some(destination) = tables.destination(id) else { return 0 };
    let masq = is_masq(destination);
    let port = real_port(destination.port, opening.packet.ports.destination);
    opening.table = FlowTable::Connections;
    opening.state = 0;
    opening.bits = 0;
    opening.body.key = F::key(
        opening.packet.source,
        opening.packet.destination,
        opening.packet.ports,
        opening.packet.protocol,
    );
    opening.body.last_seen = opening.now;
    opening.body.timeout = NONE;
    opening.body.destination = id;
    opening.body.peer = NONE;
    opening.body.peer_generation = 0;
    opening.body.flags = 0;
    opening.body.address = destination.address;
    opening.body.port = port;
    opening.body.link = 0;
    opening.body.mark = 0;
    if masq {
        // The entry by which packets from the real server are found.
        let ports = Ports { source: port, destination: opening.packet.ports.source };
        opening.body.key =
            F::key(F::narrow(&destination.address), opening.packet.source, ports, opening.packet.protocol);
        opening.body.flags = connection_flags::REPLY;
        opening.body.address = F::wide(opening.packet.destination);
        opening.body.port = opening.packet.ports.destination;
        // Until the route back is known, the way the packet came serves.
        opening.body.link = opening.sender.0;
        retire::<F, T>(tables, settings, opening);
        if opening.room.replaced {
            uncount::<F, T>(tables, settings, &opening.room.removed);
        }
        insert(tables, settings, opening);
        if opening.failed != 0 {
            return 0;
        }
        opening.body.key = F::key(
            opening.packet.source,
            opening.packet.destination,
            opening.packet.ports,
            opening.packet.protocol,
        );
        opening.body.link = 0;
        opening.body.flags = connection_flags::MASQ;
        opening.body.peer = opening.slot;
        opening.body.peer_generation = opening.generation;
        opening.body.address = destination.address;
        opening.body.port = port;
    }
    let state = if opening.packet.protocol == protocol::TCP {
        let direction = if masq { tcp::Direction::Input } else { tcp::Direction::InputOnly };
        conn::next_tcp(settings, direction, opening.packet.tcp_flags, tcp::NONE)
    } else {
        udp::ONE
    };
    // Half-open, whatever its packet says: one packet is no proof of a connection.
    let stray = opening.stray != stateless::NO;
    let state = if stray && state == tcp::ESTABLISHED { tcp::SYN_RECV } else { state };
    // By way of memory: the verifier need not follow each state on its own from here.
    let state = crate::abi::through(&mut opening.room.cell, u64::from(state)) as u8;
    opening.state = state;
    opening.bits = if masq { 0 } else { Word::IN_ONLY };
    if opening.packet.protocol == protocol::UDP || tcp::is_weak(state) || stray {
        opening.bits |= Word::WEAK;
    }
    opening.body.timeout = conn::timeout(settings, opening.packet.protocol, state);
    opening.body.mark = opening.mark;
    if opening.link != 0 {
        opening.body.flags |= connection_flags::CONTROLLED;
        opening.body.link = opening.link;
    }
    locate::<F, T>(tables, settings, opening);
    insert(tables, settings, opening);
    if masq {
        pair::<F, T>(tables, settings, opening);
    }
    if opening.failed != 0 {
        return 0;
    }
    let which = if conn::is_active(opening.packet.protocol, state) { Count::Active } else { Count::Inactive };
    let total = tables.add_count(id, which, 1);
    if destination.upper != 0 && total >= destination.upper {
        tables.set_overload(id, true);
    }
    if opening.link != 0 {
        persist::add_child::<F, T>(tables, settings, opening.link, 1);
        if opening.packet.protocol == protocol::TCP && state == tcp::ESTABLISHED {
            // `sloppy_tcp`: established with its first packet.
            persist::assure::<F, T>(tables, settings, opening.link);
        }
    }
    0
}

const LOST: u32 = 1;
const FULL: u32 = 2;

#[inline(always)]
const fn failure(code: u32) -> Reason {
    if code == LOST { Reason::Contended } else { Reason::ConnectionTableFull }
}

/// Locates a reply entry's key and removes the entry that has it: the same client port came through another
/// virtual service, and the newer connection has the replies. It may be a connection of its own, which the real
/// server opened: `opening.room.replaced` where the caller is to take `opening.room.removed` off the counts. Not
/// inlined: a stack frame of its own.
#[inline(never)]
fn retire<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    locate::<F, T>(tables, settings, opening);
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    opening.room.replaced = false;
    if let Some(old) = flow_table::seek(&view, &opening.body.key, opening.room.place) {
        opening.room.replaced = flow_table::remove(&view, old, &mut opening.room.removed);
    }
    0
}

/// Ties the reply entry to the entry just made, or takes it away where that failed. Not inlined: a stack frame of
/// its own.
#[inline(never)]
fn pair<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &Opening<F>) -> u32 {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    if let Some(reply) = flow_table::at(&view, opening.body.peer, opening.body.peer_generation) {
        if opening.failed == 0 {
            reply.entry.set_peer(opening.slot, opening.generation);
        } else {
            flow_table::discard(&view, reply);
        }
    }
    0
}

/// Finds the place of the entry's key. Not inlined: the hash takes many registers.
#[inline(never)]
pub(crate) fn locate<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> u32 {
    opening.room.place = View::<F, T>::new(tables, settings, opening.table).place(&opening.body.key);
    0
}

/// Inserts at the place that was located and takes what was replaced off the counts; `request.failed` 0, [`LOST`] or
/// [`FULL`].
#[inline(always)]
pub(crate) fn insert<F: Family, T: Store<F>>(tables: &T, settings: &Settings, request: &mut Opening<F>) {
    put(tables, settings, request);
    if request.room.replaced {
        uncount::<F, T>(tables, settings, &request.room.removed);
    }
}

/// Inserts. Not inlined: three callers, and a stack frame of its own; BPF functions return scalars only,
/// so the place goes out by the request.
#[inline(never)]
fn put<F: Family, T: Store<F>>(tables: &T, settings: &Settings, request: &mut Opening<F>) -> u32 {
    let view = View::<F, T>::new(tables, settings, request.table);
    request.failed =
        match flow_table::insert(&view, &request.body, request.state, request.bits, &mut request.room) {
            Insertion::Inserted { word, slot } => {
                request.slot = slot;
                request.generation = word.generation();
                0
            }
            Insertion::Lost => LOST,
            Insertion::Full => FULL,
        };
    0
}

/// Whether a TCP segment may open a connection.
#[inline(always)]
fn opens(settings: &Settings, flags: u8) -> bool {
    if settings.flags & settings_flags::SLOPPY_TCP != 0 {
        return flags & tcp::flag::RST == 0;
    }
    tcp::is_opener(flags)
}

/// What the schedulers look at.
#[inline(always)]
fn subject<F: Family>(service: &Service, packet: &Packet<F>, now: u32) -> Subject {
    Subject {
        key: LocalityKey {
            service: service.id,
            epoch: service.scheduler_word,
            address: F::wide(packet.destination),
        },
        client: u32::from_be(F::fold(packet.source)),
        address: u32::from_be(F::fold(packet.destination)),
        now,
        client_port: u16::from_be_bytes(packet.ports.source),
    }
}
