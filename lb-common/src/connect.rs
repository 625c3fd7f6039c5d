//! New connections: who may open one, to which destination; their entries.

use crate::abi::{
    Destination, LocalityKey, NONE, Service, Settings, connection_flags, destination_flags, service_flags,
    settings_flags,
};
use crate::conn::{self, Direction as Way, Every, protocol, sctp, tcp, udp};
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
/// `opening.packet`. `KNOWN`: what a persistence engine makes of it is in `opening.call`. `None`: its destination is
/// chosen, `opening.destination`, and [`admit`] goes on.
#[inline(always)]
pub(crate) fn schedule<const KNOWN: bool, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> Option<Verdict<F>> {
    let source_port = opening.packet.ports.source;
    stateless::ask::<F, T>(tables, settings, opening);
    if opening.stray == stateless::REFUSED {
        return Some(Verdict::Pass(Reason::NotAnOpener));
    }
    serve::<F, T>(tables, settings, opening);
    if opening.served == 0 {
        return Some(Verdict::Pass(Reason::NoService));
    }
    if settings.drop_rate != 0 && tables.is_shed(settings.drop_rate) {
        return Some(Verdict::Drop(Reason::Shed));
    }
    if source_port == FTP_DATA {
        return Some(Verdict::Pass(Reason::FtpData));
    }
    opening.now = tables.now();
    opening.link = 0;
    opening.mark = opening.service.mark;
    opening.subject = subject(&opening.service, &opening.packet, opening.now);
    opening.destination = NONE;
    if is_persistent(&opening.service) {
        if opening.service.engine == 0 {
            opening.call = 0;
        } else if !KNOWN {
            return Some(Verdict::Engine);
        } else if opening.call == 0 {
            // Dropped without a word (ip_vs_core.c: ip_vs_schedule, *ignored = -1).
            return Some(Verdict::Drop(Reason::NoCallId));
        }
        persist::choose(tables, settings, opening);
    }
    if opening.stray != stateless::NO {
        stateless::follow(tables, settings, opening);
        if opening.destination == NONE && opening.stray == stateless::INTRUDES {
            return Some(Verdict::Pass(Reason::NotAnOpener));
        }
    }
    if opening.destination == NONE {
        let id = sched::select(tables, &opening.service, &opening.subject);
        // By way of memory: the verifier then follows one path from here.
        opening.destination = crate::abi::through(&mut opening.room.cell, u64::from(id)) as u32;
        if opening.destination == NONE {
            return Some(Verdict::Reply(IcmpError::PortUnreachable, Reason::NoDestination));
        }
    }
    None
}

/// Lets a packet in whose destination [`schedule`] has chosen: its connection's entries, the counts, the way. All that one
/// leaves behind lies in `opening`: in the kernel a program of its own, for the verifier's sake.
#[inline(always)]
pub(crate) fn admit<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> Verdict<F> {
    let protocol = opening.packet.protocol;
    if is_one_packet(&opening.service, protocol) {
        // Counted, forwarded, forgotten (ip_vs_core.c: IP_VS_CONN_F_ONE_PACKET).
        tables.account_connection(opening.destination);
    } else {
        enter(tables, settings, opening);
        if opening.failed == 0 {
            tables.account_connection(opening.destination);
        } else {
            let reason = failure(opening.failed);
            stateless::go(tables, settings, opening);
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

/// Copies the packet's service to `opening.service`; `opening.served` 0 where there is none. A copy, because a
/// service is an element of one of several maps, and the verifier would follow each of them to the end. Not inlined: a
/// stack frame of its own.
#[inline(never)]
fn serve<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    opening.served = 0;
    if let Some(service) = lookup::service(tables, settings, &opening.packet, opening.sender) {
        opening.service = *service;
        opening.served = 1;
    }
    0
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
    let port = real_port(destination.port, &opening.packet);
    opening.state = 0;
    opening.bits = 0;
    request_key(opening);
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
        reply_key(opening, destination);
        opening.body.flags = connection_flags::REPLY;
        opening.body.address = F::wide(opening.packet.destination);
        opening.body.port = opening.packet.ports.destination;
        // Until the route back is known, the way the packet came serves.
        opening.body.link = opening.sender.0;
        retire::<F, T>(tables, settings, opening);
        if opening.room.replaced {
            uncount::<F, T>(tables, settings, &opening.room.removed);
        }
        insert(tables, settings, opening, FlowTable::Connections);
        if opening.failed != 0 {
            return 0;
        }
        request_key(opening);
        opening.body.link = 0;
        opening.body.flags = connection_flags::MASQ;
        opening.body.peer = opening.slot;
        opening.body.peer_generation = opening.generation;
        opening.body.address = destination.address;
        opening.body.port = port;
    }
    let active = first_state(settings, opening, u32::from(masq));
    // By way of memory: the verifier need not follow each on its own from here.
    let active = crate::abi::through(&mut opening.room.cell, u64::from(active)) != 0;
    opening.body.mark = opening.mark;
    if opening.link != 0 {
        opening.body.flags |= connection_flags::CONTROLLED;
        opening.body.link = opening.link;
    }
    locate::<F, T>(tables, settings, opening, FlowTable::Connections);
    insert(tables, settings, opening, FlowTable::Connections);
    if masq {
        pair::<F, T>(tables, settings, opening);
    }
    if opening.failed != 0 {
        return 0;
    }
    let which = if active { Count::Active } else { Count::Inactive };
    let total = tables.add_count(id, which, 1);
    if destination.upper != 0 && total >= destination.upper {
        tables.set_overload(id, true);
    }
    if opening.link != 0 {
        persist::add_child::<F, T>(tables, settings, opening.link, 1);
        if conn::is_assuring(opening.packet.protocol, opening.state) {
            // `sloppy_tcp`: established with its first packet.
            persist::assure::<F, T>(tables, settings, opening.link);
        }
    }
    0
}

/// Makes the key of the packets from the client. Not inlined, as little of the stack as can be; so is the next one.
#[inline(never)]
fn request_key<F: Family>(opening: &mut Opening<F>) -> u32 {
    let packet = &opening.packet;
    opening.body.key = F::key(packet.source, packet.destination, packet.ports, packet.protocol);
    0
}

/// Makes the key of the packets from the real server, whose port is in the body.
#[inline(never)]
fn reply_key<F: Family>(opening: &mut Opening<F>, destination: &Destination) -> u32 {
    let ports = Ports { source: opening.body.port, destination: opening.packet.ports.source };
    let (real, client) = (F::narrow(&destination.address), opening.packet.source);
    opening.body.key = F::key(real, client, ports, opening.packet.protocol);
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
    locate::<F, T>(tables, settings, opening, FlowTable::Connections);
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
///
/// Here and in what follows `table` is an argument, because the verifier knows it at each call; out of memory it would
/// follow both tables at each look.
#[inline(never)]
pub(crate) fn locate<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
    table: FlowTable,
) -> u32 {
    opening.room.place = View::<F, T>::new(tables, settings, table).place(&opening.body.key);
    0
}

/// Inserts at the place that was located and takes what was replaced off the counts; `request.failed` 0, [`LOST`] or
/// [`FULL`].
#[inline(always)]
pub(crate) fn insert<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    request: &mut Opening<F>,
    table: FlowTable,
) {
    put(tables, settings, request, table);
    if request.room.replaced {
        uncount::<F, T>(tables, settings, &request.room.removed);
    }
}

/// Inserts. Not inlined: three callers, and a stack frame of its own; BPF functions return scalars only,
/// so the place goes out by the request.
#[inline(never)]
fn put<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    request: &mut Opening<F>,
    table: FlowTable,
) -> u32 {
    let view = View::<F, T>::new(tables, settings, table);
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

/// Fills in the state after the first packet, and what it makes of word and timeout; 1 where it counts as active. Not
/// inlined: whatever the verifier learns of the protocol it need not remember.
#[inline(never)]
fn first_state<F: Family>(settings: &Settings, opening: &mut Opening<F>, masq: u32) -> u32 {
    let protocol = opening.packet.protocol;
    let (way, bits) = if masq != 0 { (Way::Input, 0) } else { (Way::InputOnly, Word::IN_ONLY) };
    let state = if protocol == protocol::UDP {
        udp::ONE
    } else {
        conn::next::<Every, F>(settings, &opening.packet, way, tcp::NONE)
    };
    // Half-open, whatever its packet says: one packet is no proof of a connection.
    let stray = opening.stray != stateless::NO;
    let state = match (stray, protocol, state) {
        (true, protocol::TCP, tcp::ESTABLISHED) => tcp::SYN_RECV,
        (true, protocol::SCTP, sctp::ESTABLISHED) => sctp::INIT,
        _ => state,
    };
    opening.state = state;
    opening.bits = if conn::is_weak(protocol, state) || stray { bits | Word::WEAK } else { bits };
    opening.body.timeout = conn::timeout(settings, protocol, state);
    u32::from(conn::is_active(protocol, state))
}

/// Whether a packet may open a connection.
#[inline(always)]
pub(crate) fn opens<F: Family>(settings: &Settings, packet: &Packet<F>) -> bool {
    let is_sloppy = |flag| settings.flags & flag != 0;
    match packet.protocol {
        protocol::TCP if is_sloppy(settings_flags::SLOPPY_TCP) => packet.tcp_flags & tcp::flag::RST == 0,
        protocol::TCP => tcp::is_opener(packet.tcp_flags),
        protocol::SCTP => sctp::may_open(packet.sctp_event, is_sloppy(settings_flags::SLOPPY_SCTP)),
        _ => true,
    }
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
