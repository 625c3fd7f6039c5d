//! The frames of a random site: from clients, from real servers, and such as should not be.

use std::net::SocketAddr;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, icmpv4, icmpv6};
use lb_common::abi::{Connection4, Connection6, connection_flags};
use lb_common::conn::protocol;
use lb_common::flow_table::Word;
use lb_common::testing::DIRECTOR_MAC;

use super::super::frames::{CLIENT_MAC, Carried, FrameSpec, icmp_message};
use super::{CLIENT_PORTS, CLIENTS4, CLIENTS6, PORTS, Random, Site, Step, VIRTUAL4, VIRTUAL6, ip};

/// Types of the chunks of SCTP packets: every event, the common ones more often, and such as are not known.
const CHUNKS: [&[u8]; 22] = [
    &[1],
    &[1],
    &[1],
    &[1],
    &[10],
    &[10],
    &[10, 0],
    &[10, 6],
    &[11],
    &[11, 6],
    &[2],
    &[0],
    &[0],
    &[3],
    &[5],
    &[7],
    &[8],
    &[14],
    &[6],
    &[9],
    &[0xc1],
    &[0x80],
];

/// A SIP message of one of a few calls, or nearly one.
fn message(random: &mut Random) -> Vec<u8> {
    let ends = ["\r\n", "\r\n", "\n", "\r"];
    let end = random.one_of(&ends);
    let mut text = format!("OPTIONS sip:b@example.com SIP/2.0{end}");
    for _ in 0..random.below(4) {
        text += random.one_of(&[
            "Via: SIP/2.0/UDP pc33.example.com",
            "Contact: <sip:a@192.0.2.9>",
            " call-id: folded",
            "c: x",
            "call-idx: 7",
        ]);
        text += end;
    }
    text += random.one_of(&[
        "Call-ID: ",
        "call-id:",
        "i: ",
        "I :\t",
        "CALL-ID :",
        "Call_ID: ",
        "i:\r\n ",
        "i:\r\n",
    ]);
    text += random.one_of(&["a84b4c76e66710@pc33.example.com", "b", "c@d", "two words", "b \t", ""]);
    text += end;
    text += random.one_of(&["CSeq: 1 OPTIONS\r\n\r\n", "", "\r\n"]);
    let mut bytes = text.into_bytes();
    if random.once_in(8) {
        let length = random.below(bytes.len() as u32 + 1);
        bytes.truncate(length as usize);
    }
    bytes
}

impl Site {
    /// A frame from a client.
    pub(super) fn request(&self, random: &mut Random) -> FrameSpec {
        let (address, port, protocol) = if random.once_in(8) {
            let all = if random.once_in(2) { &VIRTUAL4 } else { &VIRTUAL6 };
            (
                ip(random.one_of(all)),
                random.one_of(&PORTS),
                random.one_of(&[protocol::TCP, protocol::UDP, protocol::SCTP]),
            )
        } else {
            random.one_of(&self.served)
        };
        let port = if port == 0 || random.once_in(20) { random.one_of(&PORTS) } else { port };
        let clients = if address.is_ipv6() { &CLIENTS6 } else { &CLIENTS4 };
        // The client no answer may go to is rare, and FTP's data port.
        let client = clients[if random.once_in(30) { 3 } else { random.below(3) as usize }];
        let client_port = CLIENT_PORTS[if random.once_in(30) { 0 } else { 1 + random.below(6) as usize }];
        let source = SocketAddr::new(ip(client), client_port);
        let destination = SocketAddr::new(address, port);
        self.between(random, source, destination, protocol)
    }

    /// A segment that establishes a connection that is half-open, or opens another one.
    pub(super) fn handshake(&self, random: &mut Random) -> FrameSpec {
        let mut ends: Vec<Ends> = Vec::new();
        for bucket in self.tables.connections4.all() {
            ends.extend(bucket.ways.iter().filter(|c| is_half_open(c.word, c.flags)).map(ends4));
        }
        for bucket in self.tables.connections6.all() {
            ends.extend(bucket.ways.iter().filter(|c| is_half_open(c.word, c.flags)).map(ends6));
        }
        ends.retain(|(.., protocol)| *protocol == protocol::TCP);
        if !ends.is_empty() {
            let (source, destination, _) = random.one_of(&ends);
            return FrameSpec::new(DIRECTOR_MAC, source, destination, Carried::Tcp(16));
        }
        let mut spec = self.request(random);
        spec.source.set_port(50_000 + random.below(1000) as u16);
        FrameSpec { carried: Carried::Tcp(2), ttl: 64, ..spec }
    }

    /// An ICMP error about the packet that would answer a frame: from a router, about as much of it as it likes to quote.
    pub(super) fn error(&self, random: &mut Random) -> Step {
        let frame = self.reply(random).filter(|_| random.once_in(2));
        let frame = frame.unwrap_or_else(|| self.request(random));
        let answer = FrameSpec { source: frame.destination, destination: frame.source, ..frame.clone() };
        let mut quoted = answer.build().split_off(14);
        quoted.truncate(random.one_of(&[20, 28, 36, 38, 48, 58, 68, 1000]));
        if random.once_in(20) {
            let at = random.below(quoted.len() as u32) as usize;
            quoted[at] = random.next() as u8;
        }
        let to = frame.destination.ip();
        let routers =
            if to.is_ipv6() { ["2001:db8:c::fe", "2001:db8:b::fe"] } else { ["203.0.113.9", "198.51.100.9"] };
        let from = if random.once_in(3) { frame.source.ip() } else { ip(random.one_of(&routers)) };
        let (four, six) = match random.below(4) {
            0 => (
                Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit),
                Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port),
            ),
            1 => {
                let echo = IcmpEchoHeader { id: 1, seq: 2 };
                (Icmpv4Type::EchoRequest(echo), Icmpv6Type::EchoRequest(echo))
            }
            _ => {
                let large = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1400 };
                (Icmpv4Type::DestinationUnreachable(large), Icmpv6Type::PacketTooBig { mtu: 1400 })
            }
        };
        let macs = [DIRECTOR_MAC, CLIENT_MAC];
        let ttl = if random.once_in(15) { 1 } else { 60 };
        Step::Frame { frame: icmp_message(macs, from, to, ttl, &quoted, four, six), ifindex: 1 }
    }

    /// A frame from a real server of a NAT connection, if there is one.
    pub(super) fn reply(&self, random: &mut Random) -> Option<FrameSpec> {
        let mut ends = Vec::new();
        for bucket in self.tables.connections4.all() {
            ends.extend(bucket.ways.iter().filter_map(reply4));
        }
        for bucket in self.tables.connections6.all() {
            ends.extend(bucket.ways.iter().filter_map(reply6));
        }
        if ends.is_empty() {
            return None;
        }
        let (source, destination, protocol) = random.one_of(&ends);
        // A real server that is its own client: both directions of its connection have one key.
        if source.ip() == destination.ip() {
            return None;
        }
        Some(self.between(random, source, destination, protocol))
    }

    fn between(
        &self,
        random: &mut Random,
        source: SocketAddr,
        destination: SocketAddr,
        protocol: u8,
    ) -> FrameSpec {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        let carried = if protocol == protocol::TCP {
            Carried::Tcp(random.one_of(&[
                SYN,
                SYN,
                SYN,
                ACK,
                ACK,
                ACK | 1,
                4,
                SYN | ACK,
                0,
                SYN | 1,
                SYN | 4,
                0x3f,
            ]))
        } else if protocol == protocol::SCTP {
            Carried::Sctp(random.one_of(&CHUNKS))
        } else if (source.port(), destination.port()) == (500, 500) && random.once_in(2) {
            Carried::Ipsec(random.one_of(&[protocol::AH, protocol::ESP]))
        } else if random.once_in(4) {
            Carried::UdpWithoutChecksum
        } else {
            Carried::Udp
        };
        let mut spec = FrameSpec::new(DIRECTOR_MAC, source, destination, carried);
        spec.ttl = random.one_of(&[64, 64, 64, 64, 64, 64, 2, 1, 0, 255]);
        spec.payload =
            (0..random.one_of(&[0, 1, 2, 5, 17, 64, 200, 700])).map(|_| random.next() as u8).collect();
        if protocol == protocol::UDP && random.once_in(2) {
            spec.payload = message(random);
        }
        if source.is_ipv4() && random.once_in(10) {
            spec.options = vec![1; 4 * random.below(11) as usize];
            spec.df = random.once_in(2);
        }
        if random.once_in(3) {
            spec.ds = random.next() as u8;
        }
        if protocol == protocol::TCP && random.once_in(4) {
            spec.tcp_options = tcp_options(random);
        }
        if random.once_in(20) {
            spec.mac = [0, 0, 0x5e, 0, 5, 1];
        }
        if random.once_in(5) {
            spec.from_mac[5] ^= 1;
        }
        spec
    }

    /// A frame that is not as it should be, or comes in where it should not.
    pub(super) fn odd(&self, random: &mut Random) -> Step {
        let mut frame = self.request(random).build();
        let ifindex = 1;
        let network = 14;
        let six = frame[12] == 0x86;
        match random.below(9) {
            0 => {
                let length = 14 + random.below(frame.len() as u32 - 13);
                frame.truncate(length as usize);
            }
            1 => frame[5] ^= 0x40,
            2 => {
                let at = network + random.below(20) as usize;
                frame[at] = random.next() as u8;
            }
            3 => {
                let at = random.below(frame.len() as u32) as usize;
                frame[at] ^= 1 << random.below(8);
            }
            4 => {
                let tag = random.one_of(&[[0x81, 0, 0, 5], [0x88, 0xa8, 0, 5]]);
                frame.splice(12..12, tag);
            }
            5 if six => frame[network + 6] = random.one_of(&[0, 43, 60, 44, 58, 50, 51]),
            5 => frame[network + 6] = random.one_of(&[0x20, 0x01, 0x3f, 0x80]),
            6 => frame[12..14].copy_from_slice(&random.one_of(&[[8, 6], [0x86, 0xdd], [8, 0], [0, 46]])),
            7 if six => {
                frame[network + 4..network + 6].copy_from_slice(&[random.below(3) as u8, random.next() as u8])
            }
            7 => {
                frame[network + 2..network + 4].copy_from_slice(&[random.below(3) as u8, random.next() as u8])
            }
            _ => frame.extend((0..random.below(30)).map(|_| 0)),
        }
        Step::Frame { frame, ifindex }
    }
}

/// Source, destination and protocol of a reply entry's packets.
type Ends = (SocketAddr, SocketAddr, u8);

fn ports(rest: u64) -> (u16, u16, u8) {
    let [a, b, c, d, protocol, ..] = rest.to_le_bytes();
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), protocol)
}

/// Whether an entry is live and of the reply direction.
const fn is_reply(word: u32, flags: u16) -> bool {
    Word(word).is_live() && flags & connection_flags::REPLY != 0
}

/// Whether an entry is live, of the client's direction, and its connection not established.
const fn is_half_open(word: u32, flags: u16) -> bool {
    let word = Word(word);
    word.is_live() && word.has(Word::WEAK) && flags & connection_flags::REPLY == 0
}

fn reply4(c: &Connection4) -> Option<Ends> {
    is_reply(c.word, c.flags).then(|| ends4(c))
}

fn reply6(c: &Connection6) -> Option<Ends> {
    is_reply(c.word, c.flags).then(|| ends6(c))
}

fn ends4(c: &Connection4) -> Ends {
    let [a, b, d, e, f, g, h, i] = c.key.addresses.to_le_bytes();
    let (source, destination, protocol) = ports(c.key.rest);
    (SocketAddr::from(([a, b, d, e], source)), SocketAddr::from(([f, g, h, i], destination)), protocol)
}

fn ends6(c: &Connection6) -> Ends {
    let address = |words: [u64; 2]| lb_common::family::bytes(words);
    let (source, destination, protocol) = ports(c.key.rest);
    (
        SocketAddr::from((address(c.key.source), source)),
        SocketAddr::from((address(c.key.destination), destination)),
        protocol,
    )
}

/// Options of a TCP header, mostly in order: a maximum segment size among others, at any place.
fn tcp_options(random: &mut Random) -> Vec<u8> {
    let mut options = Vec::new();
    for _ in 0..random.below(4) {
        let one: &[u8] = match random.below(6) {
            0 => &[1],
            1 => &[4, 2],
            2 => &[3, 3, 7],
            3 => &[8, 10, 0, 0, 0, 1, 0, 0, 0, 0],
            4 => &[1, 1],
            _ => &[random.next() as u8, random.below(9) as u8],
        };
        options.extend(one);
    }
    options.extend([2, 4, random.next() as u8, random.next() as u8]);
    options.resize(options.len().next_multiple_of(4), 1);
    options
}
