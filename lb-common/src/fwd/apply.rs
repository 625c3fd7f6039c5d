//! Writes a forwarded packet: MACs, time to live, and for NAT addresses, ports and checksums.

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::conn::{Life, protocol};
use crate::csum::{ChecksumUpdate, aged};
use crate::direct::{Forward, Rewrite};
use crate::family::{Family, V4, V6};
use crate::frame::Frame;
use crate::parse::{ETH_LEN, Packet};

/// Families that can be rewritten.
pub trait Forwardable: Family {
    /// Takes one off the time to live `ttl`, which is above 1.
    fn age<Fr: Frame>(frame: &mut Fr, ttl: u8) -> Option<()>;
    /// Replaces one address in the network header; what the transport checksum must take in, settled.
    fn readdress<Fr: Frame>(
        frame: &mut Fr,
        old: Self::Address,
        new: Self::Address,
        source: bool,
    ) -> Option<ChecksumUpdate>;
}

/// Rewrites the packet of the protocols of `L` for its way on, but for the MACs.
#[inline(always)]
pub fn rewrite<L: Life, F: Forwardable, Fr: Frame>(
    frame: &mut Fr,
    packet: &Packet<F>,
    forward: &Forward<F>,
) -> Option<()> {
    F::age(frame, packet.ttl)?;
    let (source, old, old_port) = match forward.rewrite {
        Rewrite::None => return Some(()),
        Rewrite::Destination => (false, packet.destination, packet.ports.destination),
        Rewrite::Source => (true, packet.source, packet.ports.source),
    };
    let update = F::readdress(frame, old, forward.address, source)?;
    if !L::has_checksum(packet.protocol) {
        // SCTP's checksum (RFC 9260 section 6.8) leaves the addresses out, and its ports stay.
        return Some(());
    }
    let (old_port, new_port) = (u16::from_ne_bytes(old_port), u16::from_ne_bytes(forward.port));
    let update = update.word(old_port, new_port);
    let at = packet.transport + if source { 0 } else { 2 };
    frame.put(at, new_port)?;
    let is_udp = packet.protocol == protocol::UDP;
    let field = packet.transport + if is_udp { 6 } else { 16 };
    let checksum: u16 = frame.get(field)?;
    // RFC 768: 0 says that there is none; RFC 6935 allows the same over IPv6.
    if is_udp && checksum == 0 {
        return Some(());
    }
    let mut checksum = update.apply_settled(checksum);
    if is_udp && checksum == 0 {
        checksum = 0xffff;
    }
    frame.put(field, checksum)
}

/// Writes the MACs: `destination` and `source`, first byte lowest.
#[inline(always)]
pub fn address_frame<Fr: Frame>(frame: &mut Fr, destination: u64, source: u64) -> Option<()> {
    frame.put(0, destination & 0xffff_ffff_ffff | source << 48)?;
    frame.put(8, (source >> 16) as u32)
}

const V4_TTL: u32 = ETH_LEN + offset_of!(Ipv4Hdr, ttl) as u32;
const V4_CHECK: u32 = ETH_LEN + offset_of!(Ipv4Hdr, check) as u32;
const V4_SOURCE: u32 = ETH_LEN + offset_of!(Ipv4Hdr, src_addr) as u32;
const V4_DESTINATION: u32 = ETH_LEN + offset_of!(Ipv4Hdr, dst_addr) as u32;
const V6_HOP_LIMIT: u32 = ETH_LEN + offset_of!(Ipv6Hdr, hop_limit) as u32;
const V6_SOURCE: u32 = ETH_LEN + offset_of!(Ipv6Hdr, src_addr) as u32;
const V6_DESTINATION: u32 = ETH_LEN + offset_of!(Ipv6Hdr, dst_addr) as u32;

impl Forwardable for V4 {
    #[inline(always)]
    fn age<Fr: Frame>(frame: &mut Fr, ttl: u8) -> Option<()> {
        let checksum: u16 = frame.get(V4_CHECK)?;
        frame.put(V4_TTL, ttl.wrapping_sub(1))?;
        frame.put(V4_CHECK, aged(checksum))
    }

    #[inline(always)]
    fn readdress<Fr: Frame>(
        frame: &mut Fr,
        old: [u8; 4],
        new: [u8; 4],
        source: bool,
    ) -> Option<ChecksumUpdate> {
        let (old, new) = (u32::from_ne_bytes(old), u32::from_ne_bytes(new));
        let update = ChecksumUpdate::default().double(old, new).settled();
        frame.put(if source { V4_SOURCE } else { V4_DESTINATION }, new)?;
        let checksum: u16 = frame.get(V4_CHECK)?;
        frame.put(V4_CHECK, update.apply_settled(checksum))?;
        Some(update)
    }
}

impl Forwardable for V6 {
    #[inline(always)]
    fn age<Fr: Frame>(frame: &mut Fr, ttl: u8) -> Option<()> {
        frame.put(V6_HOP_LIMIT, ttl.wrapping_sub(1))
    }

    #[inline(always)]
    fn readdress<Fr: Frame>(
        frame: &mut Fr,
        old: [u64; 2],
        new: [u64; 2],
        source: bool,
    ) -> Option<ChecksumUpdate> {
        let at = if source { V6_SOURCE } else { V6_DESTINATION };
        let ([a, b], [c, d]) = (old, new);
        frame.put(at, c)?;
        frame.put(at + 8, d)?;
        Some(ChecksumUpdate::default().quad(a, c).quad(b, d).settled())
    }
}
