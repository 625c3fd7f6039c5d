//! The frames of the cases and the addresses in them. Addresses of documentation only.

use anyhow::Result;
use etherparse::PacketBuilder;

/// The director's MAC.
pub(super) const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC of whoever sent the frame.
pub(super) const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// MAC of the next hop of every destination, and of the client.
pub(super) const NEXT: [u8; 6] = [2, 0, 0, 0, 0, 3];
/// The virtual address.
pub(super) const VIP: [u8; 4] = [192, 0, 2, 10];
/// The virtual address of IPv6.
pub(super) const VIP6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
/// An address nobody serves.
pub(super) const STRANGER: [u8; 4] = [192, 0, 2, 77];
/// The client.
pub(super) const CLIENT: [u8; 4] = [198, 51, 100, 7];
/// The client of IPv6.
pub(super) const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
/// The client's port.
pub(super) const CLIENT_PORT: u16 = 40_000;
/// The real server of NAT.
pub(super) const REAL: [u8; 4] = [203, 0, 113, 5];
/// Its port.
pub(super) const REAL_PORT: u16 = 8000;
/// Payload of every frame.
const PAYLOAD: [u8; 18] = [0; 18];

/// What a TCP segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// Opens a connection.
    Syn,
    /// Belongs to one.
    Ack,
}

fn tcp(
    ip: etherparse::PacketBuilderStep<etherparse::IpHeaders>,
    ports: (u16, u16),
    segment: Segment,
) -> Result<Vec<u8>> {
    let step = ip.tcp(ports.0, ports.1, 1, 65_535);
    let step = match segment {
        Segment::Syn => step.syn(),
        Segment::Ack => step.ack(1),
    };
    let mut frame = Vec::new();
    step.write(&mut frame, &PAYLOAD)?;
    Ok(frame)
}

/// A TCP frame to us over IPv4.
pub(super) fn tcp4(from: ([u8; 4], u16), to: ([u8; 4], u16), segment: Segment) -> Result<Vec<u8>> {
    tcp(PacketBuilder::ethernet2(THEIRS, OURS).ipv4(from.0, to.0, 64), (from.1, to.1), segment)
}

/// A TCP frame to us over IPv6.
pub(super) fn tcp6(from: ([u8; 16], u16), to: ([u8; 16], u16), segment: Segment) -> Result<Vec<u8>> {
    tcp(PacketBuilder::ethernet2(THEIRS, OURS).ipv6(from.0, to.0, 64), (from.1, to.1), segment)
}

/// A UDP frame to us over IPv4.
pub(super) fn udp4(from: ([u8; 4], u16), to: ([u8; 4], u16)) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(THEIRS, OURS)
        .ipv4(from.0, to.0, 64)
        .udp(from.1, to.1)
        .write(&mut frame, &PAYLOAD)?;
    Ok(frame)
}
