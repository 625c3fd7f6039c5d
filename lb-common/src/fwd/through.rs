//! A packet on its way through a tunnel, but for the MACs.

use super::encap::wrap;
use super::inner::{Encapsulated, Inner};
use super::mss::{TCP_LEN, clamp};
use super::tunnel::{TunnelKind, has_checksum, most, overhead};
use crate::abi::{Destination, Settings, destination_flags};
use crate::conn::{protocol, tcp};
use crate::frame::Frame;
use crate::parse::ETH_LEN;
use crate::reason::Reason;
use crate::tables::Tables;

/// IP protocols of errors.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// It is encapsulated.
    Encapsulated,
    /// It does not fit; packets of this many bytes do.
    TooLong(u32),
    /// It cannot be encapsulated.
    Refused(Reason),
}

/// Encapsulates the packet in `frame` for `destination`: time to live, maximum segment size, outer header.
#[inline(always)]
pub fn through<F: Encapsulated, T: Tables, Fr: Frame>(
    tables: &T,
    settings: &Settings,
    frame: &mut Fr,
    destination: &Destination,
) -> Through {
    let Some(kind) = TunnelKind::from_u8(destination.tunnel_kind) else {
        return Through::Refused(Reason::Internal);
    };
    let Some(inner) = F::inner(frame) else { return Through::Refused(Reason::Malformed) };
    let overhead = overhead(destination.family, kind, destination.tunnel_flags);
    let most = most(destination);
    if inner.length + overhead > most {
        // An error is not answered with another one (RFC 1122 section 3.2.2).
        if matches!(inner.protocol, ICMP | ICMPV6) {
            return Through::Refused(Reason::NotFragmented);
        }
        return Through::TooLong(most.saturating_sub(overhead));
    }
    let fits = most - overhead;
    match encapsulate::<F, T, Fr>(tables, settings, frame, destination, kind, &inner, fits) {
        Some(()) => Through::Encapsulated,
        None => Through::Refused(Reason::RewriteFailed),
    }
}

#[inline(always)]
fn encapsulate<F: Encapsulated, T: Tables, Fr: Frame>(
    tables: &T,
    settings: &Settings,
    frame: &mut Fr,
    destination: &Destination,
    kind: TunnelKind,
    inner: &Inner,
    fits: u32,
) -> Option<()> {
    F::age(frame, inner.ttl)?;
    if inner.protocol == protocol::TCP && destination.flags & destination_flags::MSS_CLAMP != 0 {
        let [_, flags] = frame.get::<u16>(inner.transport() + 12)?.to_ne_bytes();
        if flags & tcp::flag::SYN != 0 {
            let mut taken = frame.take();
            let done = clamp(tables, &mut taken, inner.transport(), fits.saturating_sub(F::HEADER + TCP_LEN));
            *frame = taken;
            if done == 0 {
                return None;
            }
        }
    }
    let sum = if has_checksum(destination.tunnel_flags) { sum::<F, Fr>(frame, inner)? } else { 0 };
    let ports: u32 = frame.get(inner.transport())?;
    wrap::<F, Fr>(frame, destination, kind, inner, sum, hash(settings, inner, ports))
}

/// A number of the flow, every bit of it.
#[inline(always)]
fn hash(settings: &Settings, inner: &Inner, ports: u32) -> u32 {
    let [_, a, b, _] = settings.seed;
    let h = (inner.addresses.wrapping_mul(a) ^ u64::from(ports)).wrapping_mul(b);
    (h >> 32) as u32
}

/// The sum over the packet: known by its own checksums where they cover all of it; else every byte is added.
#[inline(always)]
fn sum<F: Encapsulated, Fr: Frame>(frame: &mut Fr, inner: &Inner) -> Option<u64> {
    let at = inner.transport();
    let covered = match inner.protocol {
        protocol::TCP => true,
        protocol::UDP => {
            let [l0, l1, c0, c1] = frame.get::<u32>(at + 4)?.to_ne_bytes();
            // 0: none (RFC 768). A datagram may be shorter than its packet.
            u16::from_ne_bytes([c0, c1]) != 0
                && u32::from(u16::from_be_bytes([l0, l1])) == inner.length.wrapping_sub(inner.header)
        }
        _ => false,
    };
    if covered && !inner.fragment {
        return F::known_sum(frame, inner);
    }
    let mut taken = frame.take();
    let sum = walk(&mut taken, inner.length);
    *frame = taken;
    // No packet of ours sums to 0.
    if sum == 0 { None } else { Some(sum) }
}

/// Adds every byte of the packet; 0 where that failed. Not inlined: rare, and long.
#[inline(never)]
fn walk<Fr: Frame>(frame: &mut Fr, length: u32) -> u64 {
    frame.sum_bytes(ETH_LEN, length).unwrap_or(0)
}
