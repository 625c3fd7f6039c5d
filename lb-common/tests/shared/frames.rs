//! Frames for tests, built by etherparse, and etherparse as judge over checksums.

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpEcn, IpHeaders, IpNumber, Ipv4Extensions,
    Ipv4Header, Ipv4Options, Ipv6Extensions, Ipv6Header, NetSlice, PacketBuilder, SlicedPacket, TcpHeader,
    TransportSlice,
};

/// MAC of the client's end.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carried {
    /// A TCP segment with these bits of the flags byte.
    Tcp(u8),
    /// A UDP datagram.
    Udp,
    /// A UDP datagram whose checksum is 0: none.
    UdpWithoutChecksum,
    /// An SCTP packet of chunks of these types; the first one has the payload.
    Sctp(&'static [u8]),
    /// AH or ESP, by the protocol's number; the ports are nowhere.
    Ipsec(u8),
}

impl Carried {
    /// IP protocol.
    pub(crate) fn protocol(self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp | Self::UdpWithoutChecksum => 17,
            Self::Sctp(_) => 132,
            Self::Ipsec(protocol) => protocol,
        }
    }
}

/// A frame to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameSpec {
    /// Destination MAC.
    pub(crate) mac: [u8; 6],
    /// Source MAC.
    pub(crate) from_mac: [u8; 6],
    /// Source.
    pub(crate) source: SocketAddr,
    /// Destination, of the same family.
    pub(crate) destination: SocketAddr,
    /// What it carries.
    pub(crate) carried: Carried,
    /// Time to live or hop limit.
    pub(crate) ttl: u8,
    /// Bytes of IPv4 options, a multiple of 4; not for IPv6.
    pub(crate) options: Vec<u8>,
    /// DS field and ECN.
    pub(crate) ds: u8,
    /// Whether IPv4 may not fragment it.
    pub(crate) df: bool,
    /// Bytes of TCP options, a multiple of 4.
    pub(crate) tcp_options: Vec<u8>,
    /// Payload.
    pub(crate) payload: Vec<u8>,
}

impl FrameSpec {
    /// A frame to the director.
    pub(crate) fn new(mac: [u8; 6], source: SocketAddr, destination: SocketAddr, carried: Carried) -> Self {
        Self {
            mac,
            from_mac: CLIENT_MAC,
            source,
            destination,
            carried,
            ttl: 64,
            options: Vec::new(),
            ds: if source.is_ipv6() { 0x28 } else { 0 },
            df: true,
            tcp_options: Vec::new(),
            payload: Vec::new(),
        }
    }

    fn ip(&self) -> IpHeaders {
        let protocol = IpNumber(self.carried.protocol());
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header =
                    Ipv4Header::new(0, self.ttl, protocol, source.octets(), destination.octets()).unwrap();
                header.identification = 0x1d1d;
                header.dont_fragment = self.df;
                header.dscp = IpDscp::try_new(self.ds >> 2).unwrap();
                header.ecn = IpEcn::try_new(self.ds & 3).unwrap();
                header.options = Ipv4Options::try_from(self.options.as_slice()).unwrap();
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    hop_limit: self.ttl,
                    next_header: protocol,
                    source: source.octets(),
                    destination: destination.octets(),
                    traffic_class: self.ds,
                    ..Default::default()
                };
                IpHeaders::Ipv6(header, Ipv6Extensions::default())
            }
            _ => panic!("two families in one frame"),
        }
    }

    /// Its bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let (source, destination) = (self.source.port(), self.destination.port());
        let ip = PacketBuilder::ethernet2(self.from_mac, self.mac).ip(self.ip());
        let mut frame = Vec::new();
        match self.carried {
            Carried::Tcp(flags) => {
                let header = TcpHeader {
                    fin: flags & 1 != 0,
                    syn: flags & 2 != 0,
                    rst: flags & 4 != 0,
                    psh: flags & 8 != 0,
                    ack: flags & 16 != 0,
                    urg: flags & 32 != 0,
                    ..TcpHeader::new(source, destination, 0x1234_5678, 1024)
                };
                let mut header = header;
                header.set_options_raw(&self.tcp_options).unwrap();
                ip.tcp_header(header).write(&mut frame, &self.payload).unwrap();
            }
            Carried::Udp | Carried::UdpWithoutChecksum => {
                ip.udp(source, destination).write(&mut frame, &self.payload).unwrap();
            }
            Carried::Sctp(chunks) => {
                let packet = sctp(source, destination, chunks, &self.payload);
                ip.write(&mut frame, IpNumber::SCTP, &packet).unwrap();
            }
            Carried::Ipsec(protocol) => {
                // An index, a number, and what only the ends can read.
                let packet = [&[0, 0, 0x12, 0x34, 0, 0, 0, 1], &*self.payload].concat();
                ip.write(&mut frame, IpNumber(protocol), &packet).unwrap();
            }
        }
        if self.carried == Carried::UdpWithoutChecksum {
            let network = if self.source.is_ipv4() { 20 + self.options.len() } else { 40 };
            let at = 14 + network + 6;
            frame[at..at + 2].fill(0);
        }
        frame
    }
}

/// An ICMP message with `quoted` behind its header, of the type of the addresses' family. `macs`: destination, source.
pub(crate) fn icmp_message(
    macs: [[u8; 6]; 2],
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    quoted: &[u8],
    four: Icmpv4Type,
    six: Icmpv6Type,
) -> Vec<u8> {
    let mut frame = macs.concat();
    let length = 8 + quoted.len();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0]);
            let (source, destination) = (source.octets(), destination.octets());
            let mut ip = Ipv4Header::new(length as u16, ttl, IpNumber::ICMP, source, destination).unwrap();
            ip.header_checksum = ip.calc_header_checksum();
            IpHeaders::Ipv4(ip, Ipv4Extensions::default()).write(&mut frame).unwrap();
            Icmpv4Header::with_checksum(four, quoted).write(&mut frame).unwrap();
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd]);
            let ip = Ipv6Header {
                payload_length: length as u16,
                next_header: IpNumber::IPV6_ICMP,
                hop_limit: ttl,
                source: source.octets(),
                destination: destination.octets(),
                ..Default::default()
            };
            let icmp = Icmpv6Header::with_checksum(six, ip.source, ip.destination, quoted).unwrap();
            IpHeaders::Ipv6(ip, Ipv6Extensions::default()).write(&mut frame).unwrap();
            icmp.write(&mut frame).unwrap();
        }
        _ => panic!("two families in one frame"),
    }
    frame.extend_from_slice(quoted);
    frame
}

/// An SCTP packet (RFC 9260 section 3).
fn sctp(source: u16, destination: u16, chunks: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut packet =
        [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[9, 8, 7, 6, 0, 0, 0, 0]].concat();
    for (n, kind) in chunks.iter().enumerate() {
        let value = if n == 0 { payload } else { &[] };
        packet.extend([*kind, 0]);
        packet.extend((4 + value.len() as u16).to_be_bytes());
        packet.extend(value);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// CRC32c, bit by bit (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// [`judge`] of what etherparse knows no transport header of; `None`: that is not so.
fn judge_other(frame: &[u8]) -> Option<Result<(), String>> {
    let (protocol, packet) = match frame.get(12..14)? {
        [8, 0] => {
            let (header, _) = Ipv4Header::from_slice(&frame[14..]).ok()?;
            if header.header_checksum != header.calc_header_checksum() {
                return Some(Err("IPv4 checksum".into()));
            }
            if usize::from(header.total_len) + 14 != frame.len() {
                return Some(Err(format!("IPv4 total length is {}", header.total_len)));
            }
            (header.protocol.0, frame.get(14 + header.header_len()..14 + usize::from(header.total_len))?)
        }
        _ => {
            let (header, _) = Ipv6Header::from_slice(&frame[14..]).ok()?;
            if usize::from(header.payload_length) + 54 != frame.len() {
                return Some(Err(format!("IPv6 payload length is {}", header.payload_length)));
            }
            (header.next_header.0, frame.get(54..54 + usize::from(header.payload_length))?)
        }
    };
    match protocol {
        50 | 51 => Some(Ok(())),
        132 => {
            let mut zeroed = packet.to_vec();
            let sum = zeroed.get(8..12)?.to_vec();
            zeroed[8..12].fill(0);
            let right = crc32c(&zeroed).to_le_bytes();
            Some(if sum == right { Ok(()) } else { Err(format!("CRC32c is {sum:x?}, not {right:x?}")) })
        }
        _ => None,
    }
}

/// Whether every length and checksum of the frame is as etherparse computes it (a UDP checksum of 0 is
/// none); which one is not.
pub(crate) fn judge(frame: &[u8]) -> Result<(), String> {
    match outer(frame)? {
        Some(inner) => judge(&inner),
        None => judge_one(frame),
    }
}

/// Port of GUE in tests.
pub(crate) const GUE_PORT: u16 = 6080;

/// Judges the outer header of a tunnel; the frame as it would be without, `None` where it has none.
fn outer(frame: &[u8]) -> Result<Option<Vec<u8>>, String> {
    use etherparse::checksum::u32_16bit_word::{add_slice, ones_complement};
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let mut pseudo = Vec::new();
    let (number, at) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            if header.header_checksum != header.calc_header_checksum() {
                return Err(format!("outer IPv4 checksum is {:#06x}", header.header_checksum));
            }
            if usize::from(header.total_len) + 14 != frame.len() {
                return Err(format!("outer IPv4 length is {}", header.total_len));
            }
            pseudo.extend([header.source, header.destination].concat());
            (header.protocol, 14 + header.header_len())
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header().to_header();
            if usize::from(header.payload_length) + 54 != frame.len() {
                return Err(format!("outer IPv6 length is {}", header.payload_length));
            }
            pseudo.extend([header.source, header.destination].concat());
            (header.next_header, 54)
        }
        _ => return Ok(None),
    };
    let rest = &frame[at..];
    let wrong = |what: &str, bytes: &[u8]| match ones_complement(add_slice(add_slice(0, bytes), rest)) {
        0 => Ok(()),
        _ => Err(format!("the checksum of {what} is wrong")),
    };
    let (kind, shim) = match number {
        IpNumber::IPV4 => ([8, 0], 0),
        IpNumber::IPV6 => ([0x86, 0xdd], 0),
        IpNumber::GRE => {
            let summed = rest[0] == 0x80;
            if summed {
                wrong("GRE", &[])?;
            }
            ([rest[2], rest[3]], if summed { 8 } else { 4 })
        }
        IpNumber::UDP if rest[2..4] == GUE_PORT.to_be_bytes() => {
            pseudo.extend([0, 17, rest[4], rest[5]]);
            if rest[6..8] != [0, 0] {
                wrong("GUE", &pseudo)?;
            }
            if rest[0] < 0xc0 || usize::from(u16::from_be_bytes([rest[4], rest[5]])) != rest.len() {
                return Err("the UDP header of GUE is wrong".to_owned());
            }
            (if rest[9] == 4 { [8, 0] } else { [0x86, 0xdd] }, 12)
        }
        _ => return Ok(None),
    };
    Ok(Some([&frame[..12], &kind, &rest[shim..]].concat()))
}

/// The same of a frame that is not encapsulated.
fn judge_one(frame: &[u8]) -> Result<(), String> {
    if let Some(judgement) = judge_other(frame) {
        return judgement;
    }
    let packet = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let same = |what: &str, found: usize, right: usize| {
        if found == right { Ok(()) } else { Err(format!("{what} is {found:#06x}, not {right:#06x}")) }
    };
    match (packet.net, packet.transport) {
        (Some(NetSlice::Ipv4(ip)), transport) => {
            let header = ip.header().to_header();
            same("IPv4 checksum", header.header_checksum.into(), header.calc_header_checksum().into())?;
            same("IPv4 total length", header.total_len.into(), frame.len() - 14)?;
            let (from, to) = (header.source, header.destination);
            let (found, right) = match transport {
                Some(TransportSlice::Tcp(tcp)) => (tcp.checksum(), tcp.calc_checksum_ipv4(from, to).unwrap()),
                Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => (0, 0),
                Some(TransportSlice::Udp(udp)) => {
                    (udp.checksum(), udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).unwrap())
                }
                Some(TransportSlice::Icmpv4(icmp)) => {
                    (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload()))
                }
                other => return Err(format!("carries {other:?}")),
            };
            same("checksum", found.into(), right.into())
        }
        (Some(NetSlice::Ipv6(ip)), transport) => {
            let header = ip.header().to_header();
            same("IPv6 payload length", header.payload_length.into(), frame.len() - 54)?;
            let (from, to) = (header.source, header.destination);
            let (found, right) = match transport {
                Some(TransportSlice::Tcp(tcp)) => (tcp.checksum(), tcp.calc_checksum_ipv6(from, to).unwrap()),
                Some(TransportSlice::Udp(udp)) if udp.checksum() == 0 => (0, 0),
                Some(TransportSlice::Udp(udp)) => {
                    (udp.checksum(), udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload()).unwrap())
                }
                Some(TransportSlice::Icmpv6(icmp)) => {
                    (icmp.checksum(), icmp.icmp_type().calc_checksum(from, to, icmp.payload()).unwrap())
                }
                other => return Err(format!("carries {other:?}")),
            };
            same("checksum", found.into(), right.into())
        }
        other => Err(format!("is {other:?}")),
    }
}
