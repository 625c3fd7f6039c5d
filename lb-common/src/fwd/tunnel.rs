//! Tunnels: the kinds of encapsulation, and how many bytes each puts in front of a packet.

use crate::abi::{Destination, tunnel_flags};
use crate::parse::{IPV4_LEN, IPV6_LEN};

/// Bytes of a UDP header (RFC 768).
pub(super) const UDP_LEN: u32 = 8;
/// Bytes of a GUE header without options (draft-ietf-intarea-gue, section 3.1).
pub(super) const GUE_LEN: u32 = 4;
/// Bytes of a GRE header without options (RFC 2784 section 2.1).
pub(super) const GRE_LEN: u32 = 4;
/// Bytes of GRE's checksum and what is reserved beside it.
pub(super) const GRE_CHECKSUM_LEN: u32 = 4;

/// Largest packet of either family without jumbograms: an IPv4 length field's greatest value.
const MOST: u32 = 65_535;

/// A kind of encapsulation, by the number stored in [`Destination::tunnel_kind`] (the kernel's
/// `IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TunnelKind {
    /// IP in IP (RFC 2003, RFC 4213, RFC 2473).
    Ipip = 0,
    /// Generic UDP encapsulation.
    Gue = 1,
    /// Generic routing encapsulation without key.
    Gre = 2,
}

impl TunnelKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Ipip, Self::Gue, Self::Gre];

    /// The kind of a number read from a map.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Ipip),
            1 => Some(Self::Gue),
            2 => Some(Self::Gre),
            _ => None,
        }
    }
}

/// Bytes between the outer IP header and the packet.
#[inline(always)]
pub(super) const fn shim(kind: TunnelKind, flags: u8) -> u32 {
    match kind {
        TunnelKind::Ipip => 0,
        TunnelKind::Gue => UDP_LEN + GUE_LEN,
        TunnelKind::Gre if has_checksum(flags) => GRE_LEN + GRE_CHECKSUM_LEN,
        TunnelKind::Gre => GRE_LEN,
    }
}

/// Bytes that the encapsulation of a destination of `family` (4 or 6) puts in front of a packet.
#[inline(always)]
#[must_use]
pub const fn overhead(family: u8, kind: TunnelKind, flags: u8) -> u32 {
    shim(kind, flags) + if family == 6 { IPV6_LEN } else { IPV4_LEN }
}

/// Whether the encapsulation has a checksum, by [`Destination::tunnel_flags`].
#[inline(always)]
pub(super) const fn has_checksum(flags: u8) -> bool {
    flags & (tunnel_flags::CHECKSUM | tunnel_flags::REMOTE) != 0
}

/// The largest packet that a destination takes without encapsulation.
#[inline(always)]
#[must_use]
pub const fn most(destination: &Destination) -> u32 {
    if destination.mtu == 0 || destination.mtu > MOST { MOST } else { destination.mtu }
}
