//! ICMP errors about a balanced connection: to the real server whose packet they are about, or, with NAT, from the real
//! server's side to the client (ip_vs_core.c: ip_vs_in_icmp, ip_vs_out_icmp).
//!
//! An error quotes the beginning of the packet it is about, which went the other way: with both ends swapped it has the
//! connection's key. Such an error changes no state and no time of the connection, and it is never answered. The quoted
//! packet may end behind the ports (RFC 792: 64 bits of it).

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::abi::{Hop, Settings, connection_flags, destination_flags};
use crate::conn::protocol;
use crate::csum::ChecksumUpdate;
use crate::direct::{Rewrite, Verdict, client_hop, to_destination};
use crate::family::{Family, Ports, V4, V6};
use crate::flow_table::{self, Entry, Found, Table};
use crate::frame::Frame;
use crate::fwd::Forwardable;
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN, Packet, Parse};
use crate::reason::Reason;
use crate::tables::{Direction, FlowTable, Store, View};

/// Bytes of an ICMP error before the packet it quotes (RFC 792, RFC 4443).
const ICMP_LEN: u32 = 8;

/// What an error is about.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct Quote<F: Family> {
    /// Where the quoted network header starts, bytes from the start of the frame.
    pub network: u32,
    /// Where its transport header starts.
    pub transport: u32,
    /// Its source: who got the error's cause from us.
    pub source: F::Address,
    /// Its destination.
    pub destination: F::Address,
    /// Its ports.
    pub ports: Ports,
    /// Its protocol.
    pub protocol: u8,
}

/// Families whose errors can be read.
pub trait Related: Parse + Forwardable {
    /// The error in a frame, as a packet of its own (no ports), and what it quotes.
    ///
    /// # Errors
    /// [`Reason::NotBalancedProtocol`] where it is no error, or quotes nothing that is balanced.
    fn quote<Fr: Frame>(frame: &Fr) -> Result<(Packet<Self>, Quote<Self>), Reason>;
    /// Replaces the address of the quoted network header and its checksum; the change, for the checksum of the quoted
    /// transport header, and the change of the error itself.
    fn requote<Fr: Frame>(
        frame: &mut Fr,
        quote: &Quote<Self>,
        new: Self::Address,
        source: bool,
    ) -> Option<(ChecksumUpdate, ChecksumUpdate)>;
    /// Whether the error's checksum takes in the addresses of the network header around it (RFC 4443 section 2.3).
    const PSEUDO_HEADER: bool;
}

/// What is rewritten in an error on its way through NAT.
#[derive(Debug, Clone, Copy)]
pub struct Translation<F: Family> {
    /// [`Rewrite::Destination`]: from the network to the real server, whose packet is quoted; [`Rewrite::Source`]: from
    /// the real server's side to the client.
    pub rewrite: Rewrite,
    /// The new address.
    pub address: F::Address,
    /// The new port.
    pub port: [u8; 2],
}

/// An error's way: the next hop, and with NAT what changes.
#[derive(Debug, Clone, Copy)]
pub enum Way<F: Family> {
    /// As a packet of the connection.
    As(Verdict<F>),
    /// Rewritten outside and inside.
    Translated(Hop, Translation<F>),
}

/// Decides about an error.
#[inline(always)]
pub(crate) fn decide<F: Related, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    packet: &Packet<F>,
    quote: &Quote<F>,
) -> Way<F> {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    let ports = Ports { source: quote.ports.destination, destination: quote.ports.source };
    let key = F::key(quote.destination, quote.source, ports, quote.protocol);
    let Some(found) = flow_table::seek(&view, &key, view.place(&key)) else {
        return Way::As(Verdict::Pass(Reason::NoService));
    };
    if found.entry.flags() & connection_flags::REPLY != 0 {
        from_server(tables, settings, packet, quote, found)
    } else {
        to_server(tables, packet, found)
    }
}

/// About a packet that went to a client: its sender is to know.
#[inline(always)]
fn to_server<F: Family, T: Store<F>>(tables: &T, packet: &Packet<F>, found: Found<T::Entry>) -> Way<F> {
    let entry = found.entry;
    let (id, port) = (entry.destination(), entry.port());
    let over = flow_table::expired(tables.now(), entry.last_seen(), entry.timeout());
    if over || !found.still() {
        return Way::As(Verdict::Pass(Reason::NoService));
    }
    let Some(destination) = tables.destination(id) else { return Way::As(Verdict::Drop(Reason::Internal)) };
    if destination.flags & destination_flags::AVAILABLE == 0 {
        return Way::As(Verdict::Drop(Reason::DestinationRemoved));
    }
    tables.account(id, Direction::In, packet.length);
    match to_destination(id, destination, packet) {
        Verdict::Forward(forward) if forward.rewrite == Rewrite::Destination => {
            let (rewrite, address) = (forward.rewrite, forward.address);
            Way::Translated(forward.hop, Translation { rewrite, address, port })
        }
        // An error is not answered with another one (RFC 1122 section 3.2.2).
        Verdict::Reply(_, reason) => Way::As(Verdict::Drop(reason)),
        verdict => Way::As(verdict),
    }
}

/// From the real server or a router on its side, about a packet that came from a client: the client is to know, and knows
/// the virtual address alone.
#[inline(always)]
fn from_server<F: Family, T: Store<F>>(
    tables: &T,
    settings: &Settings,
    packet: &Packet<F>,
    quote: &Quote<F>,
    found: Found<T::Entry>,
) -> Way<F> {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    let entry = found.entry;
    let (peer, generation) = (entry.peer(), entry.peer_generation());
    let (address, port) = (F::narrow(&entry.address()), entry.port());
    let forward = flow_table::at(&view, peer, generation);
    let Some(forward) = forward.filter(|_| found.still()) else {
        return Way::As(Verdict::Pass(Reason::NoService));
    };
    if flow_table::expired(tables.now(), forward.entry.last_seen(), forward.entry.timeout()) {
        return Way::As(Verdict::Pass(Reason::NoService));
    }
    // Only what is on its way to that client: a router's error about something else is not ours.
    if packet.destination != quote.source {
        return Way::As(Verdict::Pass(Reason::NoService));
    }
    tables.account(forward.entry.destination(), Direction::Out, packet.length);
    if packet.ttl <= 1 {
        return Way::As(Verdict::Drop(Reason::TtlExceeded));
    }
    let hop = client_hop(tables, settings, found, address, packet.destination);
    if !hop.is_resolved() {
        return Way::As(Verdict::Drop(Reason::ClientUnresolved));
    }
    Way::Translated(hop, Translation { rewrite: Rewrite::Source, address, port })
}

/// Rewrites an error for its way through NAT, outside and inside, with all checksums. The quoted packet went the other way:
/// where the outer destination changes, it is the inner source.
#[inline(always)]
pub(crate) fn translate<F: Related, Fr: Frame>(
    frame: &mut Fr,
    packet: &Packet<F>,
    quote: &Quote<F>,
    to: &Translation<F>,
) -> Option<()> {
    let outer_source = to.rewrite == Rewrite::Source;
    let inner_source = !outer_source;
    F::age(frame, packet.ttl)?;
    let old = if outer_source { packet.source } else { packet.destination };
    let outer = F::readdress(frame, old, to.address, outer_source)?;
    let (inner, mut error) = F::requote(frame, quote, to.address, inner_source)?;
    if F::PSEUDO_HEADER {
        error = error.and(outer);
    }
    let old_port = if inner_source { quote.ports.source } else { quote.ports.destination };
    let (old_port, new_port) = (u16::from_ne_bytes(old_port), u16::from_ne_bytes(to.port));
    frame.put(quote.transport + if inner_source { 0 } else { 2 }, new_port)?;
    error = error.word(old_port, new_port);
    let field = match quote.protocol {
        protocol::TCP => quote.transport + 16,
        protocol::UDP => quote.transport + 6,
        _ => 0,
    };
    // Of TCP often only the first eight bytes are quoted; the checksum lies behind them, and is then not there to mend.
    if field != 0
        && field + 2 <= ETH_LEN + packet.length
        && let Some(checksum) = frame.get::<u16>(field)
        && !(quote.protocol == protocol::UDP && checksum == 0)
    {
        let mut new = inner.word(old_port, new_port).apply(checksum);
        if quote.protocol == protocol::UDP && new == 0 {
            new = 0xffff;
        }
        frame.put(field, new)?;
        error = error.word(checksum, new);
    }
    let checksum: u16 = frame.get(packet.transport + 2)?;
    frame.put(packet.transport + 2, error.apply(checksum))
}

/// Whether ports lead in the transport header, and the protocol is balanced.
#[inline(always)]
const fn has_ports(protocol: u8) -> bool {
    // SCTP's checksum has no addresses in it, and its ports stay: nothing more of it changes.
    matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// The packet of an error of `length` bytes of IP, whose ICMP header is at `at`.
#[inline(always)]
fn error<F: Family>(source: F::Address, destination: F::Address, ttl: u8, at: u32, length: u32) -> Packet<F> {
    let ports = Ports { source: [0, 0], destination: [0, 0] };
    Packet {
        source,
        destination,
        ports,
        port_word: 0,
        protocol: if F::NUMBER == 4 { protocol::ICMP } else { protocol::ICMP6 },
        tcp_flags: 0,
        sctp_event: 0,
        ttl,
        transport: at,
        length,
    }
}

macro_rules! field {
    ($header:ty, $field:ident) => {
        offset_of!($header, $field) as u32
    };
}

impl Related for V4 {
    const PSEUDO_HEADER: bool = false;

    #[inline(always)]
    fn quote<Fr: Frame>(frame: &Fr) -> Result<(Packet<Self>, Quote<Self>), Reason> {
        const NOT_OURS: Reason = Reason::NotBalancedProtocol;
        let n = Self::network(frame).ok_or(Reason::Malformed)?;
        let vihl: u8 = frame.get(ETH_LEN).ok_or(Reason::Malformed)?;
        let header = u32::from(vihl & 0x0f) * 4;
        let length: u16 = frame.get(ETH_LEN + field!(Ipv4Hdr, tot_len)).ok_or(Reason::Malformed)?;
        let length = u32::from(u16::from_be(length));
        if vihl >> 4 != 4 || header < IPV4_LEN || !frame.has(ETH_LEN + length) {
            return Err(Reason::Malformed);
        }
        let fragment: u16 = frame.get(ETH_LEN + field!(Ipv4Hdr, frags)).ok_or(Reason::Malformed)?;
        if u16::from_be(fragment) & 0x3fff != 0 {
            return Err(Reason::Fragment);
        }
        let ttl: u8 = frame.get(ETH_LEN + field!(Ipv4Hdr, ttl)).ok_or(Reason::Malformed)?;
        let protocol: u8 = frame.get(ETH_LEN + field!(Ipv4Hdr, proto)).ok_or(Reason::Malformed)?;
        let at = ETH_LEN + header;
        let kind: u8 = frame.get(at).ok_or(NOT_OURS)?;
        // Destination unreachable, source quench, time exceeded: what ip_vs_in_icmp takes.
        if protocol != protocol::ICMP || !matches!(kind, 3 | 4 | 11) {
            return Err(NOT_OURS);
        }
        let network = at + ICMP_LEN;
        let addresses: u64 = frame.get(network + field!(Ipv4Hdr, src_addr)).ok_or(NOT_OURS)?;
        let vihl: u8 = frame.get(network).ok_or(NOT_OURS)?;
        let header = u32::from(vihl & 0x0f) * 4;
        let fragment: u16 = frame.get(network + field!(Ipv4Hdr, frags)).ok_or(NOT_OURS)?;
        let protocol: u8 = frame.get(network + field!(Ipv4Hdr, proto)).ok_or(NOT_OURS)?;
        // Only the first fragment has ports.
        if vihl >> 4 != 4
            || header < IPV4_LEN
            || u16::from_be(fragment) & 0x1fff != 0
            || !has_ports(protocol)
            || network + header + 8 > ETH_LEN + length
        {
            return Err(NOT_OURS);
        }
        let transport = network + header;
        let ports: u32 = frame.get(transport).ok_or(NOT_OURS)?;
        let [a, b, c, d, e, f, g, h] = addresses.to_ne_bytes();
        let quote = Quote {
            network,
            transport,
            source: [a, b, c, d],
            destination: [e, f, g, h],
            ports: Ports::from_word(ports),
            protocol,
        };
        Ok((error(n.source, n.destination, ttl, at, length), quote))
    }

    #[inline(always)]
    fn requote<Fr: Frame>(
        frame: &mut Fr,
        quote: &Quote<Self>,
        new: [u8; 4],
        source: bool,
    ) -> Option<(ChecksumUpdate, ChecksumUpdate)> {
        let (old, at) = if source {
            (quote.source, field!(Ipv4Hdr, src_addr))
        } else {
            (quote.destination, field!(Ipv4Hdr, dst_addr))
        };
        let (old, new) = (u32::from_ne_bytes(old), u32::from_ne_bytes(new));
        let inner = ChecksumUpdate::default().double(old, new);
        frame.put(quote.network + at, new)?;
        let field = quote.network + field!(Ipv4Hdr, check);
        let checksum: u16 = frame.get(field)?;
        let mended = inner.apply(checksum);
        frame.put(field, mended)?;
        Some((inner, inner.word(checksum, mended)))
    }
}

impl Related for V6 {
    const PSEUDO_HEADER: bool = true;

    #[inline(always)]
    fn quote<Fr: Frame>(frame: &Fr) -> Result<(Packet<Self>, Quote<Self>), Reason> {
        const NOT_OURS: Reason = Reason::NotBalancedProtocol;
        let n = Self::network(frame).ok_or(Reason::Malformed)?;
        let length: u16 = frame.get(ETH_LEN + field!(Ipv6Hdr, payload_len)).ok_or(Reason::Malformed)?;
        let length = u32::from(u16::from_be(length)) + IPV6_LEN;
        if !frame.has(ETH_LEN + length) {
            return Err(Reason::Malformed);
        }
        let ttl: u8 = frame.get(ETH_LEN + field!(Ipv6Hdr, hop_limit)).ok_or(Reason::Malformed)?;
        let protocol: u8 = frame.get(ETH_LEN + field!(Ipv6Hdr, next_hdr)).ok_or(Reason::Malformed)?;
        let at = ETH_LEN + IPV6_LEN;
        let kind: u8 = frame.get(at).ok_or(NOT_OURS)?;
        // Unreachable, too big, time exceeded, parameter problem (RFC 4443 section 3).
        if protocol != protocol::ICMP6 || !matches!(kind, 1..=4) {
            return Err(NOT_OURS);
        }
        let network = at + ICMP_LEN;
        let transport = network + IPV6_LEN;
        let protocol: u8 = frame.get(network + field!(Ipv6Hdr, next_hdr)).ok_or(NOT_OURS)?;
        let version: u8 = frame.get(network).ok_or(NOT_OURS)?;
        if version >> 4 != 6 || !has_ports(protocol) || transport + 8 > ETH_LEN + length {
            return Err(NOT_OURS);
        }
        let ports: u32 = frame.get(transport).ok_or(NOT_OURS)?;
        let source = network + field!(Ipv6Hdr, src_addr);
        let destination = network + field!(Ipv6Hdr, dst_addr);
        let quote = Quote {
            network,
            transport,
            source: [frame.get(source).ok_or(NOT_OURS)?, frame.get(source + 8).ok_or(NOT_OURS)?],
            destination: [
                frame.get(destination).ok_or(NOT_OURS)?,
                frame.get(destination + 8).ok_or(NOT_OURS)?,
            ],
            ports: Ports::from_word(ports),
            protocol,
        };
        Ok((error(n.source, n.destination, ttl, at, length), quote))
    }

    #[inline(always)]
    fn requote<Fr: Frame>(
        frame: &mut Fr,
        quote: &Quote<Self>,
        new: [u64; 2],
        source: bool,
    ) -> Option<(ChecksumUpdate, ChecksumUpdate)> {
        let (old, at) = if source {
            (quote.source, field!(Ipv6Hdr, src_addr))
        } else {
            (quote.destination, field!(Ipv6Hdr, dst_addr))
        };
        let ([a, b], [c, d]) = (old, new);
        frame.put(quote.network + at, c)?;
        frame.put(quote.network + at + 8, d)?;
        let inner = ChecksumUpdate::default().quad(a, c).quad(b, d);
        Some((inner, inner))
    }
}
