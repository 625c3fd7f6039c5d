//! The whole policy, in order: what happens to a packet (ipvs-semantics section 1).
//!
//! Prefilter, our MAC, connection lookup, and only for a packet without connection: which packets
//! may open one, service lookup, persistence, scheduler, insertion. Knows no map and no frame layout.

use crate::abi::{Destination, Hop, Service, Settings, connection_flags, destination_flags, settings_flags};
use crate::conn::{self, Life, is_ipsec, protocol, sctp, tcp};
use crate::family::Family;
use crate::flow_table::{self, Entry, Found, Table, Word};
use crate::frame::Frame;
use crate::fwd::ForwardingMethod;
use crate::hash;
use crate::icmp::IcmpError;
use crate::leave;
use crate::parse::{Network, Packet, Parse};
use crate::reason::Reason;
use crate::tables::{Count, Direction, FlowTable, Route, Store, View};

/// Outcome of a packet.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<F: Family> {
    /// To the director's own stack, untouched.
    Pass(Reason),
    /// Dropped.
    Drop(Reason),
    /// Answered with an ICMP error, and dropped.
    Reply(IcmpError, Reason),
    /// Forwarded.
    Forward(Forward<F>),
    /// The service's persistence engine must see the payload first.
    Engine,
    /// Forwarded through the tunnel of a destination, by its id.
    Encapsulate(u32),
}

/// How a packet is forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Forward<F: Family> {
    /// Next hop.
    pub hop: Hop,
    /// What is rewritten.
    pub rewrite: Rewrite,
    /// New address, with [`Rewrite::None`] without meaning.
    pub address: F::Address,
    /// New port, bytes as they lie.
    pub port: [u8; 2],
}

/// Which half of the addresses is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// None: direct routing.
    None,
    /// The destination's: NAT, from the client.
    Destination,
    /// The source's: NAT, from the real server.
    Source,
}

/// Reads a frame that may concern the director: prefilter, our MAC, headers. Beside the packet, the MAC of the interface
/// it came in by.
///
/// # Errors
/// The reason why the frame goes to the stack untouched.
#[inline(always)]
pub(crate) fn read<F: Parse, T: Store<F>, Fr: Frame>(
    tables: &T,
    settings: &Settings,
    frame: &Fr,
    ifindex: u32,
) -> Result<(Packet<F>, u64), Reason> {
    let network = F::network(frame).ok_or(Reason::Malformed)?;
    if !concerns_us::<F, T>(tables, network) && settings.flags & settings_flags::NO_PREFILTER == 0 {
        // An error about a NAT connection may come from any router; the addresses that concern us are inside.
        if !F::is_icmp(frame) {
            return Err(Reason::NoService);
        }
    }
    let interface = tables.interface(ifindex).ok_or(Reason::UnknownInterface)?;
    let mac = frame.get::<u64>(0).ok_or(Reason::Malformed)? & 0xffff_ffff_ffff;
    if mac != interface.mac && (mac != interface.second_mac || mac == 0) {
        return Err(Reason::NotOurMac);
    }
    Ok((F::packet_quick(frame, network)?, interface.mac))
}

/// Decides about a packet of the protocols of `L` whose connection is in the table; `None`: it has none.
#[inline(always)]
pub(crate) fn direct<L: Life, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    packet: &Packet<F>,
) -> Option<Verdict<F>> {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    let protocol = L::of_connection(packet.protocol);
    let key = F::key_by_word(packet.source, packet.destination, packet.port_word, protocol);
    let found = flow_table::find(&view, &key, view.place(&key))?;
    existing::<L, F, T>(tables, settings, tables.now(), packet, found)
}

/// The prefilter (architecture decision 7): whether a service, mark or NAT real server may have one of
/// the addresses.
#[inline(always)]
fn concerns_us<F: Family, T: Store<F>>(tables: &T, network: Network<F>) -> bool {
    let bit = hash::prefilter_bit(F::fold(network.destination));
    if tables.prefilter(bit >> 6) >> (bit & 63) & 1 != 0 {
        return true;
    }
    let bit = hash::prefilter_bit(F::fold(network.source));
    tables.prefilter(bit >> 6) >> (bit & 63) & 1 != 0
}

/// A packet whose key is in the table; `None` where the entry turned out not to be its connection.
#[inline(always)]
fn existing<L: Life, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    now: u32,
    packet: &Packet<F>,
    found: Found<T::Entry>,
) -> Option<Verdict<F>> {
    let entry = found.entry;
    let flags = entry.flags();
    if flags & connection_flags::REPLY != 0 {
        return reply::<L, F, T>(tables, settings, now, packet, found);
    }
    let id = entry.destination();
    let over = flow_table::expired(now, entry.last_seen(), entry.timeout());
    if !found.still() {
        return None;
    }
    let Some(destination) = tables.destination(id) else { return Some(Verdict::Drop(Reason::Internal)) };
    let mut over = over || is_reused::<L, F>(settings, packet, found.word, flags, destination);
    if destination.flags & destination_flags::AVAILABLE == 0 && !over {
        if !expires(settings, packet) {
            // Silently, and without a new lease of life (ip_vs_core.c; expire_nodest_conn = 0).
            return Some(Verdict::Drop(Reason::DestinationRemoved));
        }
        over = true;
    }
    if over {
        leave::end(tables, settings, found);
        return None;
    }
    let direction =
        if found.word.has(Word::IN_ONLY) { tcp::Direction::InputOnly } else { tcp::Direction::Input };
    advance::<L, F, T>(tables, settings, now, packet, found, direction);
    tables.account(id, Direction::In, packet.length);
    Some(to_destination(id, destination, packet))
}

/// Whether a connection ends with the packet because its destination was removed (ip_vs_core.c: ip_vs_in_hook),
/// and the packet is scheduled anew if it may open one.
#[inline(always)]
fn expires<F: Family>(settings: &Settings, packet: &Packet<F>) -> bool {
    // Nothing tells a sender of datagrams that nobody gets them: that is a setting of its own.
    let udp = settings_flags::EXPIRE_NODEST | settings_flags::EXPIRE_NODEST_UDP;
    let which = if packet.protocol == protocol::UDP { udp } else { settings_flags::EXPIRE_NODEST };
    settings.flags & which != 0
}

/// An opener on an ended connection is scheduled anew (`conn_reuse_mode`, ip_vs_core.c:
/// is_new_conn_expected), but never on a controlled one; with `expire_nodest_conn` also on any whose destination
/// is quiesced.
#[inline(always)]
fn is_reused<L: Life, F: Family>(
    settings: &Settings,
    packet: &Packet<F>,
    word: Word,
    flags: u16,
    destination: &Destination,
) -> bool {
    // Other protocols than TCP have no flags.
    let is_sctp = !L::COMMON && sctp::is_opener(packet.sctp_event);
    if !tcp::is_opener(packet.tcp_flags) && !is_sctp {
        return false;
    }
    if settings.flags & settings_flags::EXPIRE_NODEST != 0 && destination.weight == 0 {
        return true;
    }
    if settings.reuse_mode == 0 || flags & connection_flags::CONTROLLED != 0 {
        return false;
    }
    if is_sctp {
        return word.state() == sctp::CLOSED;
    }
    match word.state() {
        tcp::TIME_WAIT | tcp::CLOSE => true,
        tcp::FIN_WAIT => settings.reuse_mode & 2 != 0 && word.has(Word::IN_ONLY),
        _ => false,
    }
}

/// A packet from a real server (NAT).
#[inline(always)]
fn reply<L: Life, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    now: u32,
    packet: &Packet<F>,
    found: Found<T::Entry>,
) -> Option<Verdict<F>> {
    let entry = found.entry;
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    let (peer, generation) = (entry.peer(), entry.peer_generation());
    let address = entry.address();
    let port = entry.port();
    let link = entry.link();
    let known = is_known::<F, T>(settings, entry);
    if !found.still() {
        return None;
    }
    let forward = flow_table::at(&view, peer, generation)?;
    if flow_table::expired(now, forward.entry.last_seen(), forward.entry.timeout()) {
        // Both directions go, or else what the packet opens would be in the table beside the reply entry.
        leave::end(tables, settings, forward);
        return None;
    }
    let id = forward.entry.destination();
    advance::<L, F, T>(tables, settings, now, packet, forward, tcp::Direction::Output);
    tables.account(id, Direction::Out, packet.length);
    let address = F::narrow(&address);
    let hop =
        if known { Hop(link) } else { look_up_hop(tables, settings, entry, address, packet.destination) };
    if !hop.is_resolved() {
        return Some(Verdict::Drop(Reason::ClientUnresolved));
    }
    if packet.ttl <= 1 {
        return Some(Verdict::Reply(IcmpError::TimeExceeded, Reason::TtlExceeded));
    }
    Some(Verdict::Forward(Forward { hop, rewrite: Rewrite::Source, address, port }))
}

/// Whether a reply entry's next hop is that of the routes and neighbours there are.
#[inline(always)]
fn is_known<F: Family, T: Store<F>>(settings: &Settings, entry: T::Entry) -> bool {
    entry.flags() & connection_flags::HOP_KNOWN != 0
        && entry.route_generation() == settings.route_generation as u16
}

/// The next hop of a reply entry towards its client; unresolved where none is known.
#[inline(always)]
pub(crate) fn client_hop<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    found: Found<T::Entry>,
    address: F::Address,
    client: F::Address,
) -> Hop {
    if is_known::<F, T>(settings, found.entry) {
        Hop(found.entry.link())
    } else {
        look_up_hop(tables, settings, found.entry, address, client)
    }
}

/// Asks the routes for the next hop towards a client, and keeps it.
#[inline(always)]
fn look_up_hop<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    entry: T::Entry,
    address: F::Address,
    client: F::Address,
) -> Hop {
    match tables.route(address, client) {
        Route::Hop(hop) => {
            entry.set_link(hop.0, settings.route_generation as u16);
            entry.set_flags(connection_flags::REPLY | connection_flags::HOP_KNOWN);
            hop
        }
        Route::Unresolved => {
            tables.want_neighbour(client);
            // The way that was known last, at first where the client's first packet came from: no client
            // waits for its own address to be resolved, nor when the kernel has forgotten its neighbour.
            Hop(entry.link())
        }
    }
}

/// The protocol's step, the timeout of the state after it, and the time of the packet.
#[inline(always)]
fn advance<L: Life, F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    now: u32,
    packet: &Packet<F>,
    found: Found<T::Entry>,
    direction: tcp::Direction,
) {
    let old = found.word;
    let entry = found.entry;
    // Nearly every packet first. Other protocols have no flags, so this is TCP.
    let timeout = if tcp::is_steady(packet.tcp_flags, old.state()) {
        conn::timeout(settings, protocol::TCP, tcp::ESTABLISHED)
    } else if !L::COMMON && is_ipsec(packet.protocol) {
        entry.timeout()
    } else {
        let state = conn::next::<L, F>(settings, packet, direction, old.state());
        if state != old.state() {
            step(tables, settings, packet.protocol, found, state);
        }
        conn::timeout(settings, packet.protocol, state)
    };
    if entry.timeout() != timeout {
        entry.set_timeout(timeout);
    }
    if entry.last_seen() != now {
        entry.set_last_seen(now);
    }
}

/// Changes the state in the word; whoever succeeds changes the counts.
#[inline(always)]
fn step<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    protocol: u8,
    found: Found<T::Entry>,
    state: u8,
) {
    let old = found.word;
    let mut new = old.with_state(state);
    if !conn::is_weak(protocol, state) {
        new = new.without(Word::WEAK);
    }
    // Read before the swap, which says that they are still this connection's.
    let (id, flags, link) = (found.entry.destination(), found.entry.flags(), found.entry.link());
    if !found.entry.swap_word(old.0, new.0) {
        return;
    }
    let (was, is) = (conn::is_active(protocol, old.state()), conn::is_active(protocol, state));
    if was != is {
        let (up, down) = if is { (Count::Active, Count::Inactive) } else { (Count::Inactive, Count::Active) };
        tables.add_count(id, up, 1);
        tables.add_count(id, down, u32::MAX);
    }
    if conn::is_assuring(protocol, state) && flags & connection_flags::CONTROLLED != 0 {
        crate::persist::assure::<F, T>(tables, settings, link);
    }
}

/// How a packet from a client reaches its destination.
#[inline(always)]
pub(crate) fn to_destination<F: Family>(
    id: u32,
    destination: &Destination,
    packet: &Packet<F>,
) -> Verdict<F> {
    if destination.flags & destination_flags::LOCAL != 0 {
        return Verdict::Pass(Reason::Local);
    }
    if packet.ttl <= 1 {
        return Verdict::Reply(IcmpError::TimeExceeded, Reason::TtlExceeded);
    }
    let hop = destination.hop;
    if !hop.is_resolved() {
        return Verdict::Drop(Reason::NeighbourUnresolved);
    }
    let method = ForwardingMethod::from_u8(destination.method);
    if method == Some(ForwardingMethod::Tunnel) {
        return Verdict::Encapsulate(id);
    }
    // An MTU of 0, unknown, is the greatest here.
    if packet.length.wrapping_sub(1) > destination.mtu.wrapping_sub(1) {
        return Verdict::Reply(IcmpError::TooBig(destination.mtu), Reason::PacketTooBig);
    }
    match method {
        Some(ForwardingMethod::DirectRoute) => Verdict::Forward(Forward {
            hop,
            rewrite: Rewrite::None,
            address: packet.destination,
            port: packet.ports.destination,
        }),
        Some(ForwardingMethod::Masq) => Verdict::Forward(Forward {
            hop,
            rewrite: Rewrite::Destination,
            address: F::narrow(&destination.address),
            port: real_port(destination.port, packet),
        }),
        _ => Verdict::Drop(Reason::MethodUnsupported),
    }
}

/// The port at the destination: its own, or the packet's where it has none. SCTP keeps the packet's: with another one
/// the checksum over the whole packet would have to be made anew. The daemon takes no such destination; one of a mark
/// may have a port for other protocols.
#[inline(always)]
pub(crate) fn real_port<F: Family>(own: [u8; 2], packet: &Packet<F>) -> [u8; 2] {
    if u16::from_ne_bytes(own) == 0 || packet.protocol == protocol::SCTP {
        packet.ports.destination
    } else {
        own
    }
}

/// A service's tag for ports: whether the service takes every port.
#[inline(always)]
pub(crate) const fn is_persistent(service: &Service) -> bool {
    service.flags & crate::abi::service_flags::PERSISTENT != 0
}
