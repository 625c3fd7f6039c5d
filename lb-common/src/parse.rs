//! A frame's headers, read once: addresses, ports, flags, lengths.
//!
//! Reads only; never trusts a length. What cannot be balanced is told apart by [`Reason`].

use core::mem::offset_of;

use network_types::eth::EthHdr;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::conn::{Common, Life, is_ipsec, protocol, sctp};
use crate::family::{Family, Ports, V4, V6};
use crate::frame::Frame;
use crate::reason::Reason;

/// Bytes of an Ethernet header.
pub const ETH_LEN: u32 = EthHdr::LEN as u32;
/// Bytes of an IPv4 header without options.
pub const IPV4_LEN: u32 = Ipv4Hdr::LEN as u32;
/// Bytes of an IPv6 header.
pub const IPV6_LEN: u32 = Ipv6Hdr::LEN as u32;

/// EtherType of IPv4, bytes as they lie.
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
const VLAN: u16 = 0x8100_u16.to_be();
const QINQ: u16 = 0x88a8_u16.to_be();

/// What an Ethernet frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Which family a frame carries.
///
/// # Errors
/// [`Reason::NotIp`], [`Reason::VlanTagged`], [`Reason::Malformed`] where there is no Ethernet header.
#[inline(always)]
pub fn link<Fr: Frame>(frame: &Fr) -> Result<Link, Reason> {
    match frame.get::<u16>(offset_of!(EthHdr, ether_type) as u32) {
        Some(IPV4) => Ok(Link::V4),
        Some(IPV6) => Ok(Link::V6),
        Some(VLAN | QINQ) => Err(Reason::VlanTagged),
        Some(_) => Err(Reason::NotIp),
        None => Err(Reason::Malformed),
    }
}

/// The network header: what the prefilter looks at.
#[derive(Debug, Clone, Copy)]
pub struct Network<F: Family> {
    /// Source address.
    pub source: F::Address,
    /// Destination address.
    pub destination: F::Address,
}

/// A packet that may be balanced.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
pub struct Packet<F: Family> {
    /// Source address.
    pub source: F::Address,
    /// Destination address.
    pub destination: F::Address,
    /// Ports.
    pub ports: Ports,
    /// The same in one word, for the key: put together again from the above, it would be carried as four bytes.
    pub port_word: u32,
    /// IP protocol.
    pub protocol: u8,
    /// Flags byte of the TCP header, 0 for others.
    pub tcp_flags: u8,
    /// Event of an SCTP packet ([`sctp::event`]), 0 for others.
    pub sctp_event: u8,
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Where the transport header starts, bytes from the start of the frame; at most 74.
    pub transport: u32,
    /// Bytes of IP, header included.
    pub length: u32,
}

/// What differs between the families when a frame is read.
pub trait Parse: Family {
    /// Reads the addresses.
    fn network<Fr: Frame>(frame: &Fr) -> Option<Network<Self>>;
    /// Whether it carries ICMP of the family, by the first header alone.
    fn is_icmp<Fr: Frame>(frame: &Fr) -> bool;
    /// Reads the rest, of a packet of the protocols of `L`.
    ///
    /// # Errors
    /// The reason why the packet cannot be balanced.
    fn packet<L: Life, Fr: Frame>(frame: &Fr, network: Network<Self>) -> Result<Packet<Self>, Reason>;
    /// The same for TCP and UDP, with a way of its own for the common header: quicker, in twice the code.
    ///
    /// # Errors
    /// As [`Parse::packet`].
    #[inline(always)]
    fn packet_quick<Fr: Frame>(frame: &Fr, network: Network<Self>) -> Result<Packet<Self>, Reason> {
        Self::packet::<Common, Fr>(frame, network)
    }
}

macro_rules! at {
    ($header:ty, $field:ident) => {
        ETH_LEN + offset_of!($header, $field) as u32
    };
}

impl Parse for V4 {
    #[inline(always)]
    fn is_icmp<Fr: Frame>(frame: &Fr) -> bool {
        frame.get::<u8>(at!(Ipv4Hdr, proto)) == Some(protocol::ICMP)
    }

    #[inline(always)]
    fn network<Fr: Frame>(frame: &Fr) -> Option<Network<Self>> {
        // Both addresses in one read, whose check covers the rest of the header.
        let [a, b, c, d, e, f, g, h] = frame.get::<u64>(at!(Ipv4Hdr, src_addr))?.to_ne_bytes();
        Some(Network { source: [a, b, c, d], destination: [e, f, g, h] })
    }

    #[inline(always)]
    fn packet<L: Life, Fr: Frame>(frame: &Fr, n: Network<Self>) -> Result<Packet<Self>, Reason> {
        let vihl: u8 = frame.get(at!(Ipv4Hdr, vihl)).ok_or(Reason::Malformed)?;
        let header = u32::from(vihl & 0x0f) * 4;
        if vihl >> 4 != 4 || header < IPV4_LEN {
            return Err(Reason::Malformed);
        }
        rest::<L, Fr>(frame, n, header)
    }

    #[inline(always)]
    fn packet_quick<Fr: Frame>(frame: &Fr, n: Network<Self>) -> Result<Packet<Self>, Reason> {
        // Without options every offset is a constant.
        if frame.get::<u8>(at!(Ipv4Hdr, vihl)) == Some(PLAIN) {
            return rest::<Common, Fr>(frame, n, IPV4_LEN);
        }
        Self::packet::<Common, Fr>(frame, n)
    }
}

/// Version 4, header of five words (RFC 791 section 3.1).
const PLAIN: u8 = 0x45;

/// Reads what follows the addresses' check. `header` is the length of the IPv4 header.
#[inline(always)]
fn rest<L: Life, Fr: Frame>(frame: &Fr, n: Network<V4>, header: u32) -> Result<Packet<V4>, Reason> {
    let fragment: u16 = frame.get(at!(Ipv4Hdr, frags)).ok_or(Reason::Malformed)?;
    // RFC 791 section 3.1: more fragments, or an offset.
    if u16::from_be(fragment) & 0x3fff != 0 {
        return Err(Reason::Fragment);
    }
    let length: u16 = frame.get(at!(Ipv4Hdr, tot_len)).ok_or(Reason::Malformed)?;
    let length = u32::from(u16::from_be(length));
    let ttl: u8 = frame.get(at!(Ipv4Hdr, ttl)).ok_or(Reason::Malformed)?;
    let protocol: u8 = frame.get(at!(Ipv4Hdr, proto)).ok_or(Reason::Malformed)?;
    transport::<V4, L, Fr>(frame, n, protocol, ttl, ETH_LEN + header, length, header)
}

impl Parse for V6 {
    #[inline(always)]
    fn is_icmp<Fr: Frame>(frame: &Fr) -> bool {
        frame.get::<u8>(at!(Ipv6Hdr, next_hdr)) == Some(protocol::ICMP6)
    }

    #[inline(always)]
    fn network<Fr: Frame>(frame: &Fr) -> Option<Network<Self>> {
        const SOURCE: u32 = at!(Ipv6Hdr, src_addr);
        const DESTINATION: u32 = at!(Ipv6Hdr, dst_addr);
        // From the end: its check covers the rest of the header.
        let (d, c) = (frame.get(DESTINATION + 8)?, frame.get(DESTINATION)?);
        let (b, a) = (frame.get(SOURCE + 8)?, frame.get(SOURCE)?);
        Some(Network { source: [a, b], destination: [c, d] })
    }

    #[inline(always)]
    fn packet<L: Life, Fr: Frame>(frame: &Fr, n: Network<Self>) -> Result<Packet<Self>, Reason> {
        let version: u8 = frame.get(ETH_LEN).ok_or(Reason::Malformed)?;
        if version >> 4 != 6 {
            return Err(Reason::Malformed);
        }
        let length: u16 = frame.get(at!(Ipv6Hdr, payload_len)).ok_or(Reason::Malformed)?;
        let length = u32::from(u16::from_be(length)) + IPV6_LEN;
        let protocol: u8 = frame.get(at!(Ipv6Hdr, next_hdr)).ok_or(Reason::Malformed)?;
        let ttl: u8 = frame.get(at!(Ipv6Hdr, hop_limit)).ok_or(Reason::Malformed)?;
        match protocol {
            // RFC 8200 section 4: hop-by-hop, routing, destination options.
            0 | 43 | 60 => return Err(Reason::ExtensionHeader),
            44 => return Err(Reason::Fragment),
            _ => {}
        }
        transport::<V6, L, Fr>(frame, n, protocol, ttl, ETH_LEN + IPV6_LEN, length, IPV6_LEN)
    }
}

/// Port of ISAKMP, the connections that AH and ESP follow.
const ISAKMP: Ports = Ports::new(500, 500);

/// Reads the transport header. `at` is its place in the frame, `header` the bytes of IP before it.
#[inline(always)]
fn transport<F: Family, L: Life, Fr: Frame>(
    frame: &Fr,
    n: Network<F>,
    protocol: u8,
    ttl: u8,
    at: u32,
    length: u32,
    header: u32,
) -> Result<Packet<F>, Reason> {
    let minimum = match protocol {
        protocol::TCP => 20,
        protocol::UDP => 8,
        // A common header and the header of a chunk (RFC 9260 section 3).
        protocol::SCTP if !L::COMMON => SCTP_LEN + 4,
        // At least the index of the association and the number of the packet (RFC 4302 and 4303, section 2).
        protocol::AH | protocol::ESP if !L::COMMON => 8,
        _ => return Err(Reason::NotBalancedProtocol),
    };
    if length < header + minimum || !frame.has(ETH_LEN + length) {
        return Err(Reason::Malformed);
    }
    let (mut tcp_flags, mut sctp_event) = (0, 0);
    if protocol == protocol::TCP {
        // Data offset and flags (RFC 9293 section 3.1) in one read.
        let both: u16 = frame.get(at + 12).ok_or(Reason::Malformed)?;
        let [offset, flags] = both.to_ne_bytes();
        let bytes = u32::from(offset >> 4) * 4;
        if bytes < 20 || length < header + bytes {
            return Err(Reason::Malformed);
        }
        tcp_flags = flags;
    } else if L::COMMON || protocol == protocol::UDP {
        let udp: u16 = frame.get(at + 4).ok_or(Reason::Malformed)?;
        let udp = u32::from(u16::from_be(udp));
        if udp < 8 || header + udp > length {
            return Err(Reason::Malformed);
        }
    } else if protocol == protocol::SCTP {
        sctp_event = event(frame, at + SCTP_LEN, length + ETH_LEN).ok_or(Reason::Malformed)?;
    }
    // Read last: the checks above cover it.
    let port_word = if !L::COMMON && is_ipsec(protocol) {
        ISAKMP.word()
    } else {
        frame.get::<u32>(at).ok_or(Reason::Malformed)?
    };
    Ok(Packet {
        source: n.source,
        destination: n.destination,
        ports: Ports::from_word(port_word),
        port_word,
        protocol,
        tcp_flags,
        sctp_event,
        ttl,
        transport: at,
        length,
    })
}

/// Bytes of an SCTP common header.
const SCTP_LEN: u32 = 12;

/// The event of an SCTP packet whose first chunk is at `at` and which ends at `end`.
#[inline(always)]
fn event<Fr: Frame>(frame: &Fr, at: u32, end: u32) -> Option<u8> {
    // A chunk's type, flags and length in one read: a check of a single byte becomes one that the verifier learns
    // nothing from.
    let [kind, _, high, low] = frame.get::<u32>(at)?.to_ne_bytes();
    let event = sctp::event(kind);
    if !sctp::is_cookie(event) {
        return Some(event);
    }
    let chunk = u32::from(u16::from_be_bytes([high, low]));
    let next = at + ((chunk + 3) & !3);
    if chunk < 4 || next + 4 > end {
        return Some(event);
    }
    let [second, ..] = frame.get::<u32>(next)?.to_ne_bytes();
    Some(if second == sctp::chunk::ABORT { sctp::ABORTED_COOKIE } else { event })
}
