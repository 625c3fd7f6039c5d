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
/// `opening.packet`. `KNOWN`: what a persistence engine makes of it is in `opening.call`.
#[inline(always)]
pub(crate) fn schedule<const KNOWN: bool, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    opening: &mut Opening<F>,
) -> Verdict<F> {
    let (protocol, source_port) = (opening.packet.protocol, opening.packet.ports.source);
    let mut stray = stateless::NO;
    let opens = opens(settings, &opening.packet) != 0;
    if protocol == protocol::UDP || !opens {
        stray = stateless::of::<F, T>(tables, settings, opening);
        if stray == stateless::NO && !opens {
            return Verdict::Pass(Reason::NotAnOpener);
        }
    }
    // By way of memory: the verifier then follows one path from here.
    opening.stray = crate::abi::through(&mut opening.room.cell, u64::from(stray)) as u32;
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
        if service.engine == 0 {
            opening.call = 0;
        } else if !KNOWN {
            return Verdict::Engine;
        } else if opening.call == 0 {
            // Dropped without a word (ip_vs_core.c: ip_vs_schedule, *ignored = -1).
            return Verdict::Drop(Reason::NoCallId);
        }
        opening.destination = persist::choose(tables, settings, opening, service);
    }
    if opening.stray != stateless::NO {
        stateless::follow(tables, settings, opening, service);
        if opening.destination == NONE && opening.stray == stateless::INTRUDES {
            return Verdict::Pass(Reason::NotAnOpener);
        }
    }
    if opening.destination == NONE {
        opening.destination = sched::select(tables, service, &opening.subject);
        if opening.destination == NONE {
            return Verdict::Reply(IcmpError::PortUnreachable, Reason::NoDestination);
        }
    }
    if is_one_packet(service, protocol) {
        // Counted, forwarded, forgotten (ip_vs_core.c: IP_VS_CONN_F_ONE_PACKET).
        tables.account_connection(opening.destination);
    } else {
        let failed = enter(tables, settings, opening);
        if failed == 0 {
            tables.account_connection(opening.destination);
        } else if stateless::go(tables, settings, opening, service) == 0 {
            return Verdict::Drop(failure(failed));
        } else {
            tables.count(failure(failed));
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

/// Makes the connection's entries and counts it; 0, [`LOST`], [`FULL`]. Not inlined: a stack frame of its own.
#[inline(never)]
fn enter<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    let id = opening.destination;
    let Some(destination) = tables.destination(id) else { return FULL };
    let masq = is_masq(destination);
    let port = real_port(destination.port, &opening.packet);
    opening.table = FlowTable::Connections;
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
        if retire::<F, T>(tables, settings, opening) != 0 {
            uncount::<F, T>(tables, settings, &opening.room.removed);
        }
        let failed = insert(tables, settings, opening);
        if failed != 0 {
            return failed;
        }
        request_key(opening);
        opening.body.link = 0;
        opening.body.flags = connection_flags::MASQ;
        opening.body.peer = opening.slot;
        opening.body.peer_generation = opening.generation;
        opening.body.address = destination.address;
        opening.body.port = port;
    }
    let first = first_state(settings, opening, u32::from(masq));
    // By way of memory: the verifier need not follow each on its own from here.
    let first = crate::abi::through(&mut opening.room.cell, u64::from(first)) as u32;
    opening.body.mark = opening.mark;
    if opening.link != 0 {
        opening.body.flags |= connection_flags::CONTROLLED;
        opening.body.link = opening.link;
    }
    locate::<F, T>(tables, settings, opening);
    let failed = insert(tables, settings, opening);
    if masq {
        pair::<F, T>(tables, settings, opening, failed);
    }
    if failed != 0 {
        return failed;
    }
    let which = if first & ACTIVE != 0 { Count::Active } else { Count::Inactive };
    let total = tables.add_count(id, which, 1);
    if destination.upper != 0 && total >= destination.upper {
        tables.set_overload(id, true);
    }
    if opening.link != 0 {
        persist::add_child::<F, T>(tables, settings, opening.link, 1);
        if first & ASSURING != 0 {
            // `sloppy_tcp`, `sloppy_sctp`: established with its first packet.
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
/// server opened: 1 where the caller is to take `opening.room.removed` off the counts. Not inlined: a stack frame
/// of its own.
#[inline(never)]
fn retire<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &mut Opening<F>) -> u32 {
    locate::<F, T>(tables, settings, opening);
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    match flow_table::seek(&view, &opening.body.key, opening.room.place) {
        Some(old) => u32::from(flow_table::remove(&view, old, &mut opening.room.removed)),
        None => 0,
    }
}

/// Ties the reply entry to the entry just made, or takes it away where that failed. Not inlined: a stack frame of
/// its own.
#[inline(never)]
fn pair<F: Family, T: Store<F>>(tables: &T, settings: &Settings, opening: &Opening<F>, failed: u32) -> u32 {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    if let Some(reply) = flow_table::at(&view, opening.body.peer, opening.body.peer_generation) {
        if failed == 0 {
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

/// Inserts at the place that was located and takes what was replaced off the counts; 0, [`LOST`] or [`FULL`].
#[inline(always)]
pub(crate) fn insert<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    request: &mut Opening<F>,
) -> u32 {
    let code = put(tables, settings, request);
    if request.room.replaced {
        uncount::<F, T>(tables, settings, &request.room.removed);
    }
    code
}

/// Inserts. Not inlined: three callers, and a stack frame of its own; BPF functions return scalars only,
/// so the place goes out by the request.
#[inline(never)]
fn put<F: Family, T: Store<F>>(tables: &T, settings: &Settings, request: &mut Opening<F>) -> u32 {
    let view = View::<F, T>::new(tables, settings, request.table);
    match flow_table::insert(&view, &request.body, request.state, request.bits, &mut request.room) {
        Insertion::Inserted { word, slot } => {
            request.slot = slot;
            request.generation = word.generation();
            0
        }
        Insertion::Lost => LOST,
        Insertion::Full => FULL,
    }
}

/// Bits of what [`first_state`] says: it counts as active, and it assures its template.
const ACTIVE: u32 = 1;
const ASSURING: u32 = 2;

/// Fills in the state after the first packet, and what it makes of word and timeout. Not inlined: whatever the verifier
/// learns of the protocol it need not remember.
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
    let state = match protocol {
        protocol::TCP if stray && state == tcp::ESTABLISHED => tcp::SYN_RECV,
        protocol::SCTP if stray && state == sctp::ESTABLISHED => sctp::INIT,
        _ => state,
    };
    opening.state = state;
    opening.bits = if conn::is_weak(protocol, state) || stray { bits | Word::WEAK } else { bits };
    opening.body.timeout = conn::timeout(settings, protocol, state);
    let active = if conn::is_active(protocol, state) { ACTIVE } else { 0 };
    if conn::is_assuring(protocol, state) { active | ASSURING } else { active }
}

/// 1 where a packet may open a connection. Not inlined: as above.
#[inline(never)]
fn opens<F: Family>(settings: &Settings, packet: &Packet<F>) -> u32 {
    let is_sloppy = |flag| settings.flags & flag != 0;
    u32::from(match packet.protocol {
        protocol::TCP if is_sloppy(settings_flags::SLOPPY_TCP) => packet.tcp_flags & tcp::flag::RST == 0,
        protocol::TCP => tcp::is_opener(packet.tcp_flags),
        protocol::SCTP => sctp::may_open(packet.sctp_event, is_sloppy(settings_flags::SLOPPY_SCTP)),
        _ => true,
    })
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
