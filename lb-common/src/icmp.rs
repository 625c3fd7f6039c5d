//! ICMP and ICMPv6 errors made here: port unreachable where nobody can serve, time exceeded where the
//! time to live ends, too big where a packet does not fit (RFC 792, RFC 1191, RFC 1812 section 4.3.2, RFC 4443
//! sections 3.1 to 3.3).
//!
//! The packet is turned into the answer in place: the front grows by the new headers, the tail is cut.

use crate::csum::fold;
use crate::family::{Family, V4, V6};
use crate::frame::Frame;
use crate::parse::{ETH_LEN, IPV4_LEN, IPV6_LEN};

/// An error to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// No destination: type 3 code 3, ICMPv6 type 1 code 4.
    PortUnreachable,
    /// Time to live ended: type 11 code 0, ICMPv6 type 3 code 0.
    TimeExceeded,
    /// It does not fit; packets of so many bytes do: type 3 code 4, ICMPv6 type 2 code 0.
    TooBig(u32),
}

/// Bytes of an ICMP error's header (RFC 792: type, code, checksum, unused word).
const ICMP_LEN: u32 = 8;

/// Bytes of the offending packet that are quoted at most.
const QUOTED: u32 = 128;

/// Time to live of what the director sends (the kernel's default).
const TTL: u8 = 64;

/// Families whose errors can be made.
pub trait Icmp: Family {
    /// Makes the frame, whose headers were found good, the error about itself: from its destination to
    /// its source.
    fn reply<Fr: Frame>(frame: &mut Fr, error: IcmpError) -> Option<()>;
}

/// New Ethernet header: back to where the frame came from.
#[inline(always)]
fn ethernet<Fr: Frame>(frame: &mut Fr, grow: u32) -> Option<()> {
    let destination: u32 = frame.get(0)?;
    let destination_end: u16 = frame.get(4)?;
    let source: u16 = frame.get(6)?;
    let source_end: u32 = frame.get(8)?;
    let kind: u16 = frame.get(12)?;
    frame.grow_front(grow)?;
    frame.put(0, source)?;
    frame.put(2, source_end)?;
    frame.put(6, destination)?;
    frame.put(10, destination_end)?;
    frame.put(12, kind)
}

#[inline(always)]
const fn quoted(length: u32) -> u32 {
    (if length > QUOTED { QUOTED } else { length }) & !3
}

impl Icmp for V4 {
    #[inline(always)]
    fn reply<Fr: Frame>(frame: &mut Fr, error: IcmpError) -> Option<()> {
        // The last word: RFC 1191 section 4 has the MTU in its lower half.
        let (kind, code, word) = match error {
            IcmpError::PortUnreachable => (3_u8, 3_u8, 0),
            IcmpError::TimeExceeded => (11, 0, 0),
            IcmpError::TooBig(mtu) => (3, 4, (mtu & 0xffff).to_be()),
        };
        let length: u16 = frame.get(ETH_LEN + 2)?;
        let source: u32 = frame.get(ETH_LEN + 12)?;
        let destination: u32 = frame.get(ETH_LEN + 16)?;
        let quoted = quoted(u32::from(u16::from_be(length)));
        ethernet(frame, IPV4_LEN + ICMP_LEN)?;
        let ip = ETH_LEN;
        let length = (IPV4_LEN + ICMP_LEN + quoted) as u16;
        // Version and header length; DS field of network control (RFC 1812 section 4.3.2.5).
        frame.put(ip, 0x45_u8)?;
        frame.put(ip + 1, 0xc0_u8)?;
        frame.put(ip + 2, length.to_be())?;
        frame.put(ip + 4, 0_u32)?;
        frame.put(ip + 8, TTL)?;
        frame.put(ip + 9, 1_u8)?;
        frame.put(ip + 10, 0_u16)?;
        frame.put(ip + 12, destination)?;
        frame.put(ip + 16, source)?;
        let header = frame.sum(ip, IPV4_LEN / 4)?;
        frame.put(ip + 10, !fold(header))?;
        let icmp = ip + IPV4_LEN;
        frame.put(icmp, kind)?;
        frame.put(icmp + 1, code)?;
        frame.put(icmp + 2, 0_u16)?;
        frame.put(icmp + 4, word)?;
        let total = frame.sum(icmp, (ICMP_LEN + quoted) / 4)?;
        frame.put(icmp + 2, !fold(total))?;
        frame.truncate(icmp + ICMP_LEN + quoted)
    }
}

impl Icmp for V6 {
    #[inline(always)]
    fn reply<Fr: Frame>(frame: &mut Fr, error: IcmpError) -> Option<()> {
        let (kind, code, word) = match error {
            IcmpError::PortUnreachable => (1_u8, 4_u8, 0),
            IcmpError::TimeExceeded => (3, 0, 0),
            // RFC 4443 section 3.2.
            IcmpError::TooBig(mtu) => (2, 0, mtu.to_be()),
        };
        let payload: u16 = frame.get(ETH_LEN + 4)?;
        let c: u64 = frame.get(ETH_LEN + 8)?;
        let d: u64 = frame.get(ETH_LEN + 16)?;
        let a: u64 = frame.get(ETH_LEN + 24)?;
        let b: u64 = frame.get(ETH_LEN + 32)?;
        let quoted = quoted(u32::from(u16::from_be(payload)) + IPV6_LEN);
        ethernet(frame, IPV6_LEN + ICMP_LEN)?;
        let ip = ETH_LEN;
        let payload = ICMP_LEN + quoted;
        frame.put(ip, 0x60_u32)?;
        frame.put(ip + 4, (payload as u16).to_be())?;
        frame.put(ip + 6, 58_u8)?;
        frame.put(ip + 7, TTL)?;
        frame.put(ip + 8, a)?;
        frame.put(ip + 16, b)?;
        frame.put(ip + 24, c)?;
        frame.put(ip + 32, d)?;
        let icmp = ip + IPV6_LEN;
        frame.put(icmp, kind)?;
        frame.put(icmp + 1, code)?;
        frame.put(icmp + 2, 0_u16)?;
        frame.put(icmp + 4, word)?;
        // Pseudo-header of RFC 8200 section 8.1.
        let halves = |w: u64| (w & 0xffff_ffff) + (w >> 32);
        let pseudo = halves(a)
            + halves(b)
            + halves(c)
            + halves(d)
            + u64::from(payload.to_be())
            + u64::from(58_u32.to_be());
        let total = frame.sum(icmp, payload / 4)? + pseudo;
        frame.put(icmp + 2, !fold(total))?;
        frame.truncate(icmp + ICMP_LEN + quoted)
    }
}
