//! Puts an outer header around a packet: IP in IP, GRE, GUE, over IPv4 and over IPv6.

use super::inner::{Encapsulated, Inner, halves};
use super::tunnel::{TunnelKind, UDP_LEN, has_checksum, overhead, shim};
use crate::abi::{Destination, tunnel_flags};
use crate::conn::protocol;
use crate::csum::fold;
use crate::family::words;
use crate::frame::Frame;
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN};

/// EtherTypes, bytes as they lie.
const IPV4: u16 = 0x0800_u16.to_be();
const IPV6: u16 = 0x86dd_u16.to_be();
/// IP protocol of GRE.
const GRE: u8 = 47;
/// "Checksum present" in the first byte of a GRE header (RFC 2784 section 2.1).
const GRE_CHECKSUM: u8 = 0x80;
/// First of the ports that GUE's source port is one of: those without a fixed meaning (RFC 6335 section 6).
const FIRST_PORT: u16 = 0xc000;

/// What is written between the outer IP header and the packet.
#[derive(Clone, Copy)]
struct Shim {
    kind: TunnelKind,
    /// IP protocol and EtherType of the packet.
    protocol: u8,
    ethertype: u16,
    /// Sum over the packet, where the encapsulation has a checksum.
    sum: Option<u64>,
    /// Of the flow.
    hash: u32,
    port: [u8; 2],
    /// Bytes after the outer IP header.
    length: u16,
}

impl Shim {
    /// IP protocol of the outer header.
    #[inline(always)]
    const fn outer_protocol(&self) -> u8 {
        match self.kind {
            TunnelKind::Ipip => self.protocol,
            TunnelKind::Gue => protocol::UDP,
            TunnelKind::Gre => GRE,
        }
    }

    /// Writes it at `at`; `addresses` is the sum over the outer source and destination address.
    #[inline(always)]
    fn write<Fr: Frame>(&self, frame: &mut Fr, at: u32, addresses: u64) -> Option<()> {
        match self.kind {
            TunnelKind::Ipip => Some(()),
            TunnelKind::Gre => {
                let [e0, e1] = self.ethertype.to_ne_bytes();
                let Some(sum) = self.sum else {
                    return frame.put(at, u32::from_ne_bytes([0, 0, e0, e1]));
                };
                let word = u32::from_ne_bytes([GRE_CHECKSUM, 0, e0, e1]);
                let checksum = !fold(sum + u64::from(word));
                let [c0, c1] = checksum.to_ne_bytes();
                frame.put(at + 4, u32::from_ne_bytes([c0, c1, 0, 0]))?;
                frame.put(at, word)
            }
            TunnelKind::Gue => {
                // Another one for each flow, so that the queues of the real server share the load.
                let [s0, s1] = (FIRST_PORT | (self.hash >> 16) as u16).to_be_bytes();
                let [d0, d1] = self.port;
                let [l0, l1] = self.length.to_be_bytes();
                let ports = u32::from_ne_bytes([s0, s1, d0, d1]);
                // Version 0, a data message without options.
                let gue = u32::from_ne_bytes([0, self.protocol, 0, 0]);
                let checksum = match self.sum {
                    None => 0,
                    Some(sum) => {
                        let length = u64::from(u16::from_ne_bytes([l0, l1]));
                        let pseudo = addresses + u64::from(u16::from(protocol::UDP).to_be()) + length;
                        let sum = !fold(sum + pseudo + u64::from(ports) + length + u64::from(gue));
                        // RFC 768: 0 would say that there is none.
                        if sum == 0 { 0xffff } else { sum }
                    }
                };
                let [c0, c1] = checksum.to_ne_bytes();
                frame.put(at + UDP_LEN, gue)?;
                frame.put(at + 4, u32::from_ne_bytes([l0, l1, c0, c1]))?;
                frame.put(at, ports)
            }
        }
    }
}

/// Puts the outer header of `destination` in front of the packet, whose time to live was decremented; the MACs are
/// the caller's. `sum` is the sum over the whole packet, needed with a checksum; `hash` one of its flow.
#[inline(always)]
pub(super) fn wrap<F: Encapsulated, Fr: Frame>(
    frame: &mut Fr,
    destination: &Destination,
    kind: TunnelKind,
    inner: &Inner,
    sum: u64,
    hash: u32,
) -> Option<()> {
    let flags = destination.tunnel_flags;
    let between = shim(kind, flags) + inner.length;
    let shim = Shim {
        kind,
        protocol: F::PROTOCOL,
        ethertype: F::ETHERTYPE,
        sum: has_checksum(flags).then_some(sum),
        hash,
        port: destination.tunnel_port,
        length: between as u16,
    };
    frame.grow_front(overhead(destination.family, kind, flags))?;
    if destination.family == 6 {
        outer6(frame, destination, inner, &shim)
    } else {
        outer4(frame, destination, inner, &shim)
    }
}

/// The low bits of an outer source address that vary by flow, as they lie: of its last four bytes.
#[inline(always)]
fn varied(destination: &Destination, hash: u32) -> u32 {
    let bits = u32::from(destination.tunnel_flags >> tunnel_flags::VARYING);
    let mask = ((1_u64 << (bits & 63)).wrapping_sub(1)) as u32;
    (hash & mask).to_be()
}

/// An outer IPv4 header (RFC 791 section 3.1).
#[inline(always)]
fn outer4<Fr: Frame>(frame: &mut Fr, destination: &Destination, inner: &Inner, shim: &Shim) -> Option<()> {
    let [source, _] = words(destination.tunnel_source);
    let [to, _] = words(destination.address);
    let (source, to) = (source as u32 | varied(destination, shim.hash), to as u32);
    let addresses = u64::from(source) + u64::from(to);
    let [l0, l1] = (shim.length.wrapping_add(IPV4_LEN as u16)).to_be_bytes();
    // With DF nobody puts fragments together: the identification is 0 (RFC 6864 section 4.1; the kernel's).
    let (df, id) = if inner.df { (0x40, 0) } else { (0, inner.id) };
    let [i0, i1] = id.to_ne_bytes();
    let first = u64::from_ne_bytes([0x45, inner.ds, l0, l1, i0, i1, df, 0]);
    let [t, p] = [inner.ttl.wrapping_sub(1), shim.outer_protocol()];
    let second = u64::from(u16::from_ne_bytes([t, p]));
    let checksum = !fold(halves(first) + second + addresses);
    let [c0, c1] = checksum.to_ne_bytes();
    shim.write(frame, ETH_LEN + IPV4_LEN, addresses)?;
    frame.put(ETH_LEN + 16, to)?;
    frame.put(ETH_LEN + 12, source)?;
    frame.put(ETH_LEN + 8, u32::from_ne_bytes([t, p, c0, c1]))?;
    frame.put(ETH_LEN, first)?;
    frame.put(ETH_LEN - 2, IPV4)
}

/// An outer IPv6 header (RFC 8200 section 3), without a flow label, as the kernel's.
#[inline(always)]
fn outer6<Fr: Frame>(frame: &mut Fr, destination: &Destination, inner: &Inner, shim: &Shim) -> Option<()> {
    let [a, b] = words(destination.tunnel_source);
    let [c, d] = words(destination.address);
    let b = b | u64::from(varied(destination, shim.hash)) << 32;
    let addresses = halves(a) + halves(b) + halves(c) + halves(d);
    let [l0, l1] = shim.length.to_be_bytes();
    let (v0, v1) = (0x60 | inner.ds >> 4, inner.ds << 4);
    let first = u64::from_ne_bytes([v0, v1, 0, 0, l0, l1, shim.outer_protocol(), inner.ttl.wrapping_sub(1)]);
    shim.write(frame, ETH_LEN + IPV6_LEN, addresses)?;
    frame.put(ETH_LEN + 32, d)?;
    frame.put(ETH_LEN + 24, c)?;
    frame.put(ETH_LEN + 16, b)?;
    frame.put(ETH_LEN + 8, a)?;
    frame.put(ETH_LEN, first)?;
    frame.put(ETH_LEN - 2, IPV6)
}
