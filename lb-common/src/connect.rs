//! New connections: who may open one, to which service, to which destination; and their end.

use crate::abi::{
    Destination, FwmarkKey, NONE, Service, Settings, connection_flags, destination_flags, service_flags,
    settings_flags,
};
use crate::conn::{self, protocol, tcp, udp};
use crate::direct::{Verdict, is_persistent, real_port, to_destination};
use crate::family::{Family, Ports};
use crate::flow_table::{self, Body, Entry, Found, Insertion, Removed, Table, Word};
use crate::fwd::ForwardingMethod;
use crate::icmp::IcmpError;
use crate::parse::Packet;
use crate::persist;
use crate::reason::Reason;
use crate::sched::{self, Subject};
use crate::tables::{Count, Direction, FlowTable, Opening, Store, Tables, View, Walk};

/// Port of FTP control connections.
const FTP: [u8; 2] = 21_u16.to_be_bytes();
/// Port of FTP data connections.
const FTP_DATA: [u8; 2] = 20_u16.to_be_bytes();
const ANY_PORT: [u8; 2] = [0, 0];

/// A packet without connection (ip_vs_core.c: ip_vs_schedule and the protocols' conn_schedule).
#[inline(always)]
pub(crate) fn schedule<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    packet: &Packet<F>,
) -> Verdict<F> {
    let now = tables.now();
    if packet.protocol == protocol::TCP && !opens(settings, packet.tcp_flags) {
        return Verdict::Pass(Reason::NotAnOpener);
    }
    let Some(service) = service(tables, settings, packet) else { return Verdict::Pass(Reason::NoService) };
    if packet.ports.source == FTP_DATA {
        return Verdict::Pass(Reason::FtpData);
    }
    let mut link = None;
    let chosen = if is_persistent(service) {
        persist::choose(tables, settings, now, packet, service, &mut link)
    } else {
        sched::select(tables, service, &subject(packet))
    };
    let Some(id) = chosen else {
        return Verdict::Reply(IcmpError::PortUnreachable, Reason::NoDestination);
    };
    let Some(destination) = tables.destination(id) else { return Verdict::Drop(Reason::Internal) };
    if service.flags & service_flags::ONE_PACKET != 0 && packet.protocol == protocol::UDP {
        // Counted, forwarded, forgotten (ip_vs_core.c: IP_VS_CONN_F_ONE_PACKET).
        tables.account_connection(id);
    } else {
        let masq = is_masq(destination);
        match enter(tables, settings, now, packet, id, masq, link, service.mark) {
            Ok(()) => tables.account_connection(id),
            // Nobody is refused: without an entry the packet still goes to its destination, and the next
            // one finds its own place. Only NAT cannot do without.
            Err(reason) if masq => return Verdict::Drop(reason),
            Err(reason) => tables.count(reason),
        }
    }
    tables.account(id, Direction::In, packet.length);
    to_destination(destination, packet)
}

/// Whether replies pass the director.
#[inline(always)]
fn is_masq(destination: &Destination) -> bool {
    destination.method == ForwardingMethod::Masq as u8 && destination.flags & destination_flags::LOCAL == 0
}

/// Makes the connection's entries and counts it.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined into its one caller; a struct would cost BPF stack")]
fn enter<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    now: u32,
    packet: &Packet<F>,
    id: u32,
    masq: bool,
    link: Option<u64>,
    mark: u32,
) -> Result<(), Reason> {
    let Some(destination) = tables.destination(id) else { return Err(Reason::Internal) };
    let Some(mut request) = tables.scratch() else { return Err(Reason::Internal) };
    let port = real_port(destination.port, packet.ports.destination);
    request.table = FlowTable::Connections;
    request.state = 0;
    request.bits = 0;
    request.body = Body {
        key: F::key(packet.source, packet.destination, packet.ports, packet.protocol),
        last_seen: now,
        timeout: NONE,
        destination: id,
        peer: NONE,
        peer_generation: 0,
        flags: 0,
        address: destination.address,
        port,
        link: 0,
        mark: 0,
    };
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    if masq {
        // The entry by which packets from the real server are found.
        let ports = Ports { source: port, destination: packet.ports.source };
        request.body.key = F::key(F::narrow(&destination.address), packet.source, ports, packet.protocol);
        request.body.flags = connection_flags::REPLY;
        request.body.address = F::wide(packet.destination);
        request.body.port = packet.ports.destination;
        // The same client port through another virtual service: the newer connection has the replies.
        if let Some(old) = flow_table::find(&view, &request.body.key, view.place(&request.body.key)) {
            let _ = flow_table::remove(&view, old);
        }
        let failed = insert(tables, settings, &mut request);
        if failed != 0 {
            return Err(failure(failed));
        }
        request.body.key = F::key(packet.source, packet.destination, packet.ports, packet.protocol);
        request.body.flags = connection_flags::MASQ;
        request.body.peer = request.slot;
        request.body.peer_generation = request.generation;
        request.body.address = destination.address;
        request.body.port = port;
    }
    let state = if packet.protocol == protocol::TCP {
        let direction = if masq { tcp::Direction::Input } else { tcp::Direction::InputOnly };
        tcp::next(direction, packet.tcp_flags, tcp::NONE)
    } else {
        udp::ONE
    };
    request.state = state;
    request.bits = if masq { 0 } else { Word::IN_ONLY };
    if packet.protocol == protocol::UDP || tcp::is_weak(state) {
        request.bits |= Word::WEAK;
    }
    request.body.timeout = conn::timeout(settings, packet.protocol, state);
    request.body.mark = mark;
    if let Some(link) = link {
        request.body.flags |= connection_flags::CONTROLLED;
        request.body.link = link;
    }
    let failed = insert(tables, settings, &mut request);
    if masq && let Some(reply) = flow_table::at(&view, request.body.peer, request.body.peer_generation) {
        if failed == 0 {
            reply.entry.set_peer(request.slot, request.generation);
        } else {
            let _ = flow_table::remove(&view, reply);
        }
    }
    if failed != 0 {
        return Err(failure(failed));
    }
    let which = if conn::is_active(packet.protocol, state) { Count::Active } else { Count::Inactive };
    let total = tables.add_count(id, which, 1);
    if destination.upper != 0 && total >= destination.upper {
        tables.set_overload(id, true);
    }
    if let Some(link) = link {
        persist::add_child::<F, T>(tables, settings, link, 1);
    }
    Ok(())
}

const LOST: u32 = 1;
const FULL: u32 = 2;

#[inline(always)]
const fn failure(code: u32) -> Reason {
    if code == LOST { Reason::Contended } else { Reason::ConnectionTableFull }
}

/// Inserts and takes what was replaced off the counts; 0, [`LOST`] or [`FULL`].
#[inline(always)]
pub(crate) fn insert<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    request: &mut Opening<F>,
) -> u32 {
    request.replaced = None;
    let code = put(tables, settings, request);
    if let Some(removed) = &request.replaced {
        uncount::<F, T>(tables, settings, removed);
    }
    code
}

/// Inserts. Not inlined: three callers, and a stack frame of its own; BPF functions return scalars only,
/// so the place goes out by the request.
#[inline(never)]
fn put<F: Family, T: Store<F>>(tables: &T, settings: &Settings, request: &mut Opening<F>) -> u32 {
    let view = View::<F, T>::new(tables, settings, request.table);
    match flow_table::insert(&view, &request.body, request.state, request.bits, &mut request.replaced) {
        Insertion::Inserted { found, slot } => {
            request.slot = slot;
            request.generation = found.word.generation();
            0
        }
        Insertion::Lost => LOST,
        Insertion::Full => FULL,
    }
}

/// Whether a TCP segment may open a connection.
#[inline(always)]
fn opens(settings: &Settings, flags: u8) -> bool {
    if settings.flags & settings_flags::SLOPPY_TCP != 0 {
        return flags & tcp::flag::RST == 0;
    }
    tcp::is_opener(flags)
}

/// The service of a packet (ip_vs_ctl.c: ip_vs_service_find).
#[inline(always)]
fn service<'a, F: Family, T: Store<F>>(
    tables: &'a T,
    settings: &Settings,
    packet: &Packet<F>,
) -> Option<&'a Service> {
    if settings.mark_rules != 0 {
        let mut marks = Marks {
            address: F::wide(packet.destination),
            family: F::NUMBER,
            protocol: packet.protocol,
            port: u16::from_be_bytes(packet.ports.destination),
            mark: 0,
        };
        tables.walk(settings.mark_rules, &mut marks);
        if marks.mark != 0
            && let Some(service) =
                tables.fwmark(&FwmarkKey { mark: marks.mark, family: u32::from(F::NUMBER) })
        {
            return Some(service);
        }
    }
    let (address, port) = (packet.destination, packet.ports.destination);
    if let Some(service) = tables.service(address, port, packet.protocol) {
        return Some(service);
    }
    if settings.flags & settings_flags::FTP != 0 && packet.protocol == protocol::TCP {
        let n = u16::from_be_bytes(port);
        if (n == 20 || n >= 1024)
            && let Some(service) = tables.service(address, FTP, packet.protocol)
            && is_persistent(service)
        {
            return Some(service);
        }
    }
    if settings.flags & settings_flags::ANY_PORT != 0 {
        return tables.service(address, ANY_PORT, packet.protocol);
    }
    None
}

/// The walk over the rules that give marks: first match wins.
struct Marks {
    address: [u8; 16],
    family: u8,
    protocol: u8,
    port: u16,
    mark: u32,
}

impl Walk for Marks {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(rule) = tables.mark_rule(i) else { return true };
        let protocol = rule.protocol == 0 || rule.protocol == self.protocol;
        let port = rule.first_port <= self.port && self.port <= rule.last_port;
        if rule.family != self.family || !protocol || !port || !within(&self.address, rule) {
            return false;
        }
        self.mark = rule.mark;
        true
    }
}

/// Whether an address lies in a rule's network.
#[inline(always)]
fn within(address: &[u8; 16], rule: &crate::abi::MarkRule) -> bool {
    let differing = u128::from_be_bytes(*address) ^ u128::from_be_bytes(rule.address);
    let (high, low) = ((differing >> 64) as u64, differing as u64);
    let prefix = rule.prefix;
    if prefix == 0 {
        true
    } else if prefix <= 64 {
        high >> ((64 - prefix) & 63) == 0
    } else {
        high == 0 && low >> ((128 - u32::from(prefix)) & 63) == 0
    }
}

/// What the schedulers look at.
#[inline(always)]
pub(crate) fn subject<F: Family>(packet: &Packet<F>) -> Subject {
    Subject {
        client: u32::from_be(F::fold(packet.source)),
        client_port: u16::from_be_bytes(packet.ports.source),
        address: u32::from_be(F::fold(packet.destination)),
    }
}

/// Removes a connection, with its reply entry and from every count.
#[inline(always)]
pub fn end<F: Family, T: Store<F>>(tables: &T, settings: &Settings, found: Found<T::Entry>) {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    if let Some(removed) = flow_table::remove(&view, found) {
        uncount(tables, settings, &removed);
    }
}

/// Takes a removed connection or template off its destination's counts; whoever removed it calls
/// this once. Not inlined: rare, and large.
#[inline(never)]
pub fn uncount<F: Family, T: Store<F>>(tables: &T, settings: &Settings, removed: &Removed<F::Key>) -> u32 {
    if removed.flags & connection_flags::REPLY != 0 {
        return 0;
    }
    let id = removed.destination;
    if removed.flags & connection_flags::TEMPLATE != 0 {
        tables.add_count(id, Count::Persistent, u32::MAX);
        return 0;
    }
    let active = conn::is_active(F::protocol(&removed.key), removed.word.state());
    let total = tables.add_count(id, if active { Count::Active } else { Count::Inactive }, u32::MAX);
    if let Some(destination) = tables.destination(id) {
        relieve(tables, id, destination.upper, destination.lower, total);
    }
    if removed.flags & connection_flags::MASQ != 0 {
        let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
        if let Some(reply) = flow_table::at(&view, removed.peer, removed.peer_generation) {
            let _ = flow_table::remove(&view, reply);
        }
    }
    if removed.flags & connection_flags::CONTROLLED != 0 {
        persist::add_child::<F, T>(tables, settings, removed.link, u32::MAX);
    }
    0
}

/// Takes the overload mark off below the lower threshold, or three quarters of the upper one (ip_vs_ctl.c:
/// ip_vs_dest_update_overload).
#[inline(always)]
fn relieve<T: Tables>(tables: &T, id: u32, upper: u32, lower: u32, total: u32) {
    if upper == 0 {
        return;
    }
    let limit = if lower != 0 { lower } else { upper - upper / 4 };
    if total < limit {
        tables.set_overload(id, false);
    }
}
