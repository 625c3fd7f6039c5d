//! What encapsulation asks of the packet that goes inside.

use core::mem::offset_of;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::apply::Forwardable;
use crate::conn::protocol;
use crate::csum::fold;
use crate::family::{V4, V6};
use crate::frame::Frame;
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN};

/// The bits of a DS field that are the explicit congestion notification (RFC 3168 section 5).
const ECN: u8 = 3;
/// ECN-capable transport 0.
const ECT0: u8 = 2;
/// "Don't fragment" among IPv4's flags and fragment offset.
const DF: u16 = 0x4000;
/// More fragments, and the offset.
const FRAGMENT: u16 = 0x3fff;

/// The packet that is encapsulated, as its IP header tells.
#[derive(Debug, Clone, Copy)]
pub struct Inner {
    /// Bytes of IP, header included.
    pub(super) length: u32,
    /// Bytes of its IP header.
    pub(super) header: u32,
    /// Transport protocol.
    pub(super) protocol: u8,
    /// The outer header's DS field, ECN included.
    pub(super) ds: u8,
    /// Time to live before it is decremented.
    pub(super) ttl: u8,
    /// Whether the outer packet may not be fragmented either.
    pub(super) df: bool,
    /// Whether it is a fragment itself, whose transport checksum covers more than it holds.
    pub(super) fragment: bool,
    /// What an outer IPv4 header that may be fragmented is identified by.
    pub(super) id: u16,
    /// Source and destination address, each folded to 32 bits: what tells its flow, beside the ports.
    pub(super) addresses: u64,
}

impl Inner {
    /// Where its transport header lies.
    #[inline(always)]
    pub(super) const fn transport(&self) -> u32 {
        ETH_LEN + self.header
    }
}

/// The outer DS field: the inner one, with "congestion experienced" left to the inner header alone (RFC 3168 section
/// 9.1.1, full functionality; include/net/inet_ecn.h: INET_ECN_encapsulate).
#[inline(always)]
const fn outer_ds(inner: u8) -> u8 {
    if inner & ECN == ECN { inner & !ECN | ECT0 } else { inner }
}

/// Families whose packets can be encapsulated.
pub trait Encapsulated: Forwardable {
    /// IP protocol of a packet of this family inside another (RFC 2003, RFC 4213).
    const PROTOCOL: u8;
    /// Its EtherType, for GRE, bytes as they lie.
    const ETHERTYPE: u16;
    /// Bytes of its plain header.
    const HEADER: u32;
    /// The least that a "too big" may tell (RFC 791, RFC 8200 section 5).
    const LEAST_MTU: u32;
    /// Reads the header.
    fn inner<Fr: Frame>(frame: &Fr) -> Option<Inner>;
    /// What the IP header and the pseudo-header of its transport add to the sum over a whole packet, whose transport
    /// checksum is right: the rest cancels out (RFC 1071; the kernel's lco_csum).
    fn known_sum<Fr: Frame>(frame: &Fr, inner: &Inner) -> Option<u64>;
    /// Whether the packet may not be fragmented on its way.
    fn is_whole<Fr: Frame>(frame: &Fr) -> bool;
}

macro_rules! at {
    ($header:ty, $field:ident) => {
        ETH_LEN + offset_of!($header, $field) as u32
    };
}

/// The sum of the two halves of a word.
#[inline(always)]
pub(super) const fn halves(w: u64) -> u64 {
    (w & 0xffff_ffff) + (w >> 32)
}

/// Sum of a transport segment whose checksum is right: what its pseudo-header leaves over.
#[inline(always)]
const fn segment(pseudo: u64) -> u64 {
    (!fold(pseudo)) as u64
}

impl Encapsulated for V4 {
    // IPPROTO_IPIP.
    const PROTOCOL: u8 = 4;
    const ETHERTYPE: u16 = 0x0800_u16.to_be();
    const HEADER: u32 = IPV4_LEN;
    const LEAST_MTU: u32 = 68;

    #[inline(always)]
    fn inner<Fr: Frame>(frame: &Fr) -> Option<Inner> {
        // From the end: its check covers the rest of the header.
        let addresses: u64 = frame.get(at!(Ipv4Hdr, src_addr))?;
        let [vihl, ds, high, low, i0, i1, f0, f1] = frame.get::<u64>(ETH_LEN)?.to_ne_bytes();
        let [ttl, protocol] = frame.get::<u16>(at!(Ipv4Hdr, ttl))?.to_ne_bytes();
        let fragment = u16::from_be_bytes([f0, f1]);
        Some(Inner {
            length: u32::from(u16::from_be_bytes([high, low])),
            header: u32::from(vihl & 0x0f) * 4,
            protocol,
            ds: outer_ds(ds),
            ttl,
            df: fragment & DF != 0,
            fragment: fragment & FRAGMENT != 0,
            id: u16::from_ne_bytes([i0, i1]),
            addresses,
        })
    }

    #[inline(always)]
    fn known_sum<Fr: Frame>(frame: &Fr, inner: &Inner) -> Option<u64> {
        // The header's own checksum makes it 0.
        let addresses = frame.get::<u64>(at!(Ipv4Hdr, src_addr))?;
        let length = inner.length.wrapping_sub(inner.header) as u16;
        let pseudo =
            halves(addresses) + u64::from(u16::from(inner.protocol).to_be()) + u64::from(length.to_be());
        Some(segment(pseudo))
    }

    #[inline(always)]
    fn is_whole<Fr: Frame>(frame: &Fr) -> bool {
        frame.get::<u16>(at!(Ipv4Hdr, frags)).is_some_and(|word| u16::from_be(word) & DF != 0)
    }
}

impl Encapsulated for V6 {
    // IPPROTO_IPV6.
    const PROTOCOL: u8 = 41;
    const ETHERTYPE: u16 = 0x86dd_u16.to_be();
    const HEADER: u32 = IPV6_LEN;
    const LEAST_MTU: u32 = 1280;

    #[inline(always)]
    fn inner<Fr: Frame>(frame: &Fr) -> Option<Inner> {
        let (d, c) =
            (frame.get::<u64>(at!(Ipv6Hdr, dst_addr) + 8)?, frame.get::<u64>(at!(Ipv6Hdr, dst_addr))?);
        let (b, a) =
            (frame.get::<u64>(at!(Ipv6Hdr, src_addr) + 8)?, frame.get::<u64>(at!(Ipv6Hdr, src_addr))?);
        let [v0, v1, _, _, high, low, protocol, ttl] = frame.get::<u64>(ETH_LEN)?.to_ne_bytes();
        let folded = |a: u64, b: u64| (a ^ b ^ (a ^ b) >> 32) & 0xffff_ffff;
        Some(Inner {
            length: u32::from(u16::from_be_bytes([high, low])) + IPV6_LEN,
            header: IPV6_LEN,
            protocol,
            ds: outer_ds(v0 << 4 | v1 >> 4),
            ttl,
            df: false,
            fragment: false,
            // Not its own: the checksum of its transport differs from packet to packet.
            id: frame
                .get::<u16>(ETH_LEN + IPV6_LEN + if protocol == protocol::UDP { 6 } else { 16 })
                .unwrap_or(0),
            addresses: folded(a, b) | folded(c, d) << 32,
        })
    }

    #[inline(always)]
    fn known_sum<Fr: Frame>(frame: &Fr, inner: &Inner) -> Option<u64> {
        // The addresses are in header and pseudo-header, and so are in neither.
        let header = halves(frame.get::<u64>(ETH_LEN)?);
        let length = inner.length.wrapping_sub(inner.header) as u16;
        let pseudo = u64::from(u16::from(inner.protocol).to_be()) + u64::from(length.to_be());
        Some(header + segment(pseudo))
    }

    #[inline(always)]
    fn is_whole<Fr: Frame>(_: &Fr) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::outer_ds;

    #[test]
    fn congestion_experienced_stays_inside() {
        for ds in 0..=255_u8 {
            let expected = match ds & 3 {
                3 => (ds & 0xfc) | 2,
                _ => ds,
            };
            assert_eq!(outer_ds(ds), expected);
        }
    }
}
