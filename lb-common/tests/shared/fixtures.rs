//! Fixtures: a site, the frames that come in, and what must become of each, byte for byte. Expected frames
//! are built by etherparse from addresses, never by the code under test.

use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    Ipv6Extensions, Ipv6Header, icmpv4, icmpv6,
};
use lb_common::abi::{Destination, Hop, destination_flags};
use lb_common::fwd::ForwardingMethod::{self, DirectRoute, Masq, Tunnel};
use lb_common::reason::Reason;
use lb_common::run::Action;
use lb_common::sched::Scheduler;
use lb_common::testing::{DIRECTOR_MAC, HostTables, ServiceSpec};

#[path = "refusals.rs"]
mod refusals;

use self::refusals::refusals;
use super::frames::Carried::{self, Tcp, Udp, UdpWithoutChecksum};
use super::frames::{CLIENT_MAC, FrameSpec};

/// What happens to a site.
pub(crate) enum Event {
    /// A frame comes in by interface 1.
    Frame(Expected),
    /// The daemon changes the tables.
    Change(fn(&mut HostTables)),
}

/// A frame, and what must become of it.
pub(crate) struct Expected {
    /// The frame.
    pub(crate) frame: Vec<u8>,
    /// What is done with it.
    pub(crate) action: Action,
    /// Its bytes afterwards; not looked at where it is dropped.
    pub(crate) bytes: Vec<u8>,
    /// What is counted.
    pub(crate) reason: Option<Reason>,
}

/// A fixture.
pub(crate) struct Fixture {
    /// What it shows.
    pub(crate) what: &'static str,
    /// The site.
    pub(crate) tables: HostTables,
    /// What happens, in order.
    pub(crate) events: Vec<Event>,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const RS_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

const C4: &str = "203.0.113.10:40000";
const V4: &str = "192.0.2.1:80";
const R4: &str = "198.51.100.11:80";
const C6: &str = "[2001:db8:c::10]:40000";
const V6: &str = "[2001:db8:a::1]:80";
const R6: &str = "[2001:db8:b::11]:80";

fn spec(from: &str, to: &str, carried: Carried) -> FrameSpec {
    FrameSpec {
        payload: b"0123456789abcde".to_vec(),
        ..FrameSpec::new(DIRECTOR_MAC, from.parse().unwrap(), to.parse().unwrap(), carried)
    }
}

/// The frame as it must leave: one hop on, from the director to `mac`.
fn onward(frame: &FrameSpec, mac: [u8; 6]) -> FrameSpec {
    FrameSpec { mac, from_mac: DIRECTOR_MAC, ttl: frame.ttl - 1, ..frame.clone() }
}

fn sent(frame: &FrameSpec, expected: &FrameSpec) -> Event {
    let (frame, bytes) = (frame.build(), expected.build());
    Event::Frame(Expected { frame, action: Action::Transmit, bytes, reason: None })
}

fn passed(frame: Vec<u8>, reason: Reason) -> Event {
    let bytes = frame.clone();
    Event::Frame(Expected { frame, action: Action::Pass, bytes, reason: Some(reason) })
}

fn dropped(frame: &FrameSpec, reason: Reason) -> Event {
    Event::Frame(Expected {
        frame: frame.build(),
        action: Action::Drop,
        bytes: Vec::new(),
        reason: Some(reason),
    })
}

fn answered(frame: &FrameSpec, bytes: Vec<u8>, reason: Reason) -> Event {
    let frame = frame.build();
    Event::Frame(Expected { frame, action: Action::Transmit, bytes, reason: Some(reason) })
}

/// A destination behind interface 1.
fn destination(at: &str, method: ForwardingMethod) -> Destination {
    let at: std::net::SocketAddr = at.parse().unwrap();
    let mut address = [0; 16];
    let family = match at.ip() {
        std::net::IpAddr::V4(a) => {
            address[..4].copy_from_slice(&a.octets());
            4
        }
        std::net::IpAddr::V6(a) => {
            address = a.octets();
            6
        }
    };
    Destination {
        hop: Hop::new(RS_MAC, 1),
        weight: 1,
        address,
        port: at.port().to_be_bytes(),
        family,
        method: method as u8,
        ..Destination::default()
    }
}

/// A site with one round-robin service with these destinations.
fn site_of(service: &str, carried: Carried, destinations: &[Destination]) -> HostTables {
    let mut tables = HostTables::new(256);
    let ids: Vec<u32> = destinations.iter().map(|d| tables.add_destination(*d)).collect();
    let at: std::net::SocketAddr = service.parse().unwrap();
    let protocol = if matches!(carried, Tcp(_)) { 6 } else { 17 };
    let spec = ServiceSpec::new(Scheduler::Rr);
    match at.ip() {
        std::net::IpAddr::V4(a) => tables.add_service4(1, a.octets(), at.port(), protocol, &spec, &ids),
        std::net::IpAddr::V6(a) => tables.add_service6(1, a.octets(), at.port(), protocol, &spec, &ids),
    }
    tables
}

fn site(service: &str, carried: Carried, real: &str, method: ForwardingMethod) -> HostTables {
    site_of(service, carried, &[destination(real, method)])
}

/// The ICMP error about a frame: from its destination to its source, with at most 128 bytes of it.
fn icmp4(about: &FrameSpec, kind: Icmpv4Type) -> Vec<u8> {
    let packet = &about.build()[14..];
    let quoted = &packet[..packet.len().min(128) & !3];
    let (std::net::IpAddr::V4(client), std::net::IpAddr::V4(service)) =
        (about.source.ip(), about.destination.ip())
    else {
        panic!("not IPv4")
    };
    let mut ip =
        Ipv4Header::new(8 + quoted.len() as u16, 64, IpNumber::ICMP, service.octets(), client.octets())
            .unwrap();
    ip.dscp = etherparse::IpDscp::CS6;
    ip.dont_fragment = false;
    ip.header_checksum = ip.calc_header_checksum();
    let mut frame = ethernet(about, [8, 0]);
    IpHeaders::Ipv4(ip, Ipv4Extensions::default()).write(&mut frame).unwrap();
    Icmpv4Header::with_checksum(kind, quoted).write(&mut frame).unwrap();
    frame.extend_from_slice(quoted);
    frame
}

fn icmp6(about: &FrameSpec, kind: Icmpv6Type) -> Vec<u8> {
    let packet = &about.build()[14..];
    let quoted = &packet[..packet.len().min(128) & !3];
    let (std::net::IpAddr::V6(client), std::net::IpAddr::V6(service)) =
        (about.source.ip(), about.destination.ip())
    else {
        panic!("not IPv6")
    };
    let ip = Ipv6Header {
        payload_length: 8 + quoted.len() as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: 64,
        source: service.octets(),
        destination: client.octets(),
        ..Default::default()
    };
    let mut frame = ethernet(about, [0x86, 0xdd]);
    IpHeaders::Ipv6(ip.clone(), Ipv6Extensions::default()).write(&mut frame).unwrap();
    Icmpv6Header::with_checksum(kind, ip.source, ip.destination, quoted).unwrap().write(&mut frame).unwrap();
    frame.extend_from_slice(quoted);
    frame
}

fn ethernet(about: &FrameSpec, kind: [u8; 2]) -> Vec<u8> {
    [&about.from_mac[..], &about.mac, &kind].concat()
}

const UNREACHABLE4: Icmpv4Type = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
const EXCEEDED4: Icmpv4Type = Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit);
const UNREACHABLE6: Icmpv6Type = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
const EXCEEDED6: Icmpv6Type = Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded);

/// Frames that pass to the stack whatever the site, each with its reason.
fn passing() -> Vec<Event> {
    let tcp4 = spec(C4, V4, Tcp(SYN)).build();
    let tcp6 = spec(C6, V6, Tcp(SYN)).build();
    let udp4 = spec(C4, V4, Udp).build();
    let with = |frame: &Vec<u8>, at: usize, bytes: &[u8]| {
        let mut frame = frame.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    };
    let mut events = vec![
        passed(with(&tcp4, 12, &[8, 6]), Reason::NotIp),
        passed(with(&tcp4, 12, &[0x81, 0]), Reason::VlanTagged),
        passed(with(&tcp4, 12, &[0x88, 0xa8]), Reason::VlanTagged),
        passed(with(&tcp4, 5, &[9]), Reason::NotOurMac),
        passed(with(&tcp4, 0, &[0xff; 6]), Reason::NotOurMac),
        passed(with(&tcp4, 14, &[0x55]), Reason::Malformed),
        passed(with(&tcp4, 14, &[0x44]), Reason::Malformed),
        // Longer than the frame; shorter than its headers.
        passed(with(&tcp4, 16, &[0, 56]), Reason::Malformed),
        passed(with(&tcp4, 16, &[0, 39]), Reason::Malformed),
        passed(with(&tcp4, 16, &[0xff, 0xff]), Reason::Malformed),
        // A header of 60 bytes where there are 55.
        passed(with(&tcp4, 14, &[0x4f]), Reason::Malformed),
        // TCP: data offset of 16 bytes, and of 60.
        passed(with(&tcp4, 46, &[0x40]), Reason::Malformed),
        passed(with(&tcp4, 46, &[0xf0]), Reason::Malformed),
        // UDP: a length of 7, and one beyond the datagram.
        passed(with(&udp4, 38, &[0, 7]), Reason::Malformed),
        passed(with(&udp4, 38, &[0, 24]), Reason::Malformed),
        passed(with(&tcp4, 20, &[0x20, 0]), Reason::Fragment),
        passed(with(&tcp4, 20, &[0, 1]), Reason::Fragment),
        passed(with(&tcp4, 23, &[1]), Reason::NotBalancedProtocol),
        passed(with(&tcp4, 23, &[132]), Reason::NotBalancedProtocol),
        passed(with(&tcp6, 14, &[0x40]), Reason::Malformed),
        passed(with(&tcp6, 18, &[0, 36]), Reason::Malformed),
        passed(with(&tcp6, 18, &[0, 19]), Reason::Malformed),
        passed(with(&tcp6, 20, &[44]), Reason::Fragment),
        passed(with(&tcp6, 20, &[0]), Reason::ExtensionHeader),
        passed(with(&tcp6, 20, &[43]), Reason::ExtensionHeader),
        passed(with(&tcp6, 20, &[60]), Reason::ExtensionHeader),
        passed(with(&tcp6, 20, &[58]), Reason::NotBalancedProtocol),
        // Another address.
        passed(with(&tcp4, 33, &[99]), Reason::NoService),
        passed(with(&tcp6, 53, &[99]), Reason::NoService),
        // Another port, another protocol.
        passed(spec(C4, "192.0.2.1:81", Tcp(SYN)).build(), Reason::NoService),
        passed(udp4.clone(), Reason::NoService),
        passed(spec("203.0.113.10:20", V4, Tcp(SYN)).build(), Reason::FtpData),
    ];
    for flags in [0, ACK, FIN, FIN | ACK, RST, RST | ACK, SYN | RST] {
        events.push(passed(spec(C4, V4, Tcp(flags)).build(), Reason::NotAnOpener));
        events.push(passed(spec(C6, V6, Tcp(flags)).build(), Reason::NotAnOpener));
    }
    for frame in [tcp4, tcp6] {
        for length in 14..frame.len() {
            events.push(passed(frame[..length].to_vec(), Reason::Malformed));
        }
    }
    events
}

fn both_families() -> HostTables {
    let mut tables = site(V4, Tcp(SYN), R4, DirectRoute);
    let id = tables.add_destination(destination(R6, DirectRoute));
    tables.add_service6(
        2,
        "2001:db8:a::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
        80,
        6,
        &ServiceSpec::new(Scheduler::Rr),
        &[id],
    );
    tables
}

/// A NAT connection: the first packet, the answer, and one more each way.
fn nat(client: &str, service: &str, real: &str, kinds: [Carried; 4]) -> Vec<Event> {
    let [first, second, third, fourth] = kinds;
    let to_real = |carried| {
        let frame = spec(client, service, carried);
        let expected = FrameSpec { destination: real.parse().unwrap(), ..onward(&frame, RS_MAC) };
        sent(&frame, &expected)
    };
    let to_client = |carried| {
        let frame = FrameSpec { from_mac: RS_MAC, ..spec(real, client, carried) };
        let expected = FrameSpec { source: service.parse().unwrap(), ..onward(&frame, CLIENT_MAC) };
        sent(&frame, &expected)
    };
    vec![to_real(first), to_client(second), to_real(third), to_client(fourth)]
}

/// The frame that a recording of IPVS shows, and what it became there.
fn recorded(sent: &str, received: &str) -> Event {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    Event::Frame(Expected {
        frame: bytes(sent),
        action: Action::Transmit,
        bytes: bytes(received),
        reason: None,
    })
}

/// A UDP datagram over IPv4 whose checksum becomes 0 by the rewriting, which is written as all ones.
fn udp_checksum_of_zero() -> FrameSpec {
    let frame = |n: u16| FrameSpec { payload: n.to_be_bytes().to_vec(), ..spec(C4, V4, Udp) };
    let real = |f: &FrameSpec| FrameSpec { destination: R4.parse().unwrap(), ..onward(f, RS_MAC) }.build();
    (0..=u16::MAX)
        .map(frame)
        .find(|f| real(f)[40..42] == [0xff, 0xff])
        .expect("one of all the words makes the sum 0")
}

fn methods() -> Vec<Fixture> {
    let other = Destination { hop: Hop::new(RS_MAC, 7), ..destination(R4, DirectRoute) };
    let mut two_interfaces = site_of(V4, Tcp(SYN), &[other]);
    two_interfaces.add_interface(7, OTHER_MAC);
    let syn = spec(C4, V4, Tcp(SYN));
    let redirected = FrameSpec { from_mac: OTHER_MAC, ..onward(&syn, RS_MAC) };
    let mut second_mac = site(V4, Tcp(SYN), R4, DirectRoute);
    if let Some(interface) = second_mac.interfaces.get_mut(&1) {
        interface.second_mac = u64::from_le_bytes([0, 0, 0x5e, 0, 1, 9, 0, 0]);
    }
    let to_second = FrameSpec { mac: [0, 0, 0x5e, 0, 1, 9], ..syn.clone() };
    let options = FrameSpec { options: vec![1; 40], ..syn.clone() };
    let steps4 = [Tcp(SYN), Tcp(ACK), Tcp(FIN | ACK), Tcp(RST)];
    let direct = |from: &str, to: &str, kinds: &[Carried]| {
        kinds.iter().map(|k| spec(from, to, *k)).map(|f| sent(&f, &onward(&f, RS_MAC))).collect::<Vec<_>>()
    };
    let zero = udp_checksum_of_zero();
    let zero_expected = FrameSpec { destination: R4.parse().unwrap(), ..onward(&zero, RS_MAC) };
    let options_expected = FrameSpec { destination: R4.parse().unwrap(), ..onward(&options, RS_MAC) };
    let local = Destination { flags: destination_flags::LOCAL, ..destination(V4, DirectRoute) };
    let fixture = |what, tables, events| Fixture { what, tables, events };
    let tcp4 = [Tcp(SYN), Tcp(SYN | ACK), Tcp(ACK), Tcp(FIN | ACK)];
    vec![
        fixture(
            "direct routing, TCP over IPv4",
            site(V4, Tcp(SYN), R4, DirectRoute),
            direct(C4, V4, &steps4),
        ),
        fixture(
            "direct routing, UDP over IPv4",
            site(V4, Udp, R4, DirectRoute),
            direct(C4, V4, &[Udp, UdpWithoutChecksum]),
        ),
        fixture(
            "direct routing, TCP over IPv6",
            site(V6, Tcp(SYN), R6, DirectRoute),
            direct(C6, V6, &steps4),
        ),
        fixture("direct routing, UDP over IPv6", site(V6, Udp, R6, DirectRoute), direct(C6, V6, &[Udp, Udp])),
        fixture(
            "direct routing by another interface",
            two_interfaces,
            vec![Event::Frame(Expected {
                frame: syn.build(),
                action: Action::Redirect(7),
                bytes: redirected.build(),
                reason: None,
            })],
        ),
        fixture("the second MAC is ours", second_mac, vec![sent(&to_second, &onward(&to_second, RS_MAC))]),
        fixture(
            "direct routing with IPv4 options",
            site(V4, Tcp(SYN), R4, DirectRoute),
            vec![sent(&options, &onward(&options, RS_MAC))],
        ),
        fixture("NAT, TCP over IPv4", site(V4, Tcp(SYN), R4, Masq), nat(C4, V4, R4, tcp4)),
        fixture(
            "NAT to another port",
            site(V4, Tcp(SYN), "198.51.100.11:8080", Masq),
            nat(C4, V4, "198.51.100.11:8080", tcp4),
        ),
        fixture(
            "NAT with IPv4 options",
            site(V4, Tcp(SYN), R4, Masq),
            vec![sent(&options, &options_expected)],
        ),
        fixture(
            "NAT, TCP over IPv6",
            site(V6, Tcp(SYN), "[2001:db8:b::11]:8080", Masq),
            nat(C6, V6, "[2001:db8:b::11]:8080", tcp4),
        ),
        fixture(
            "NAT, UDP over IPv4",
            site(V4, Udp, "198.51.100.11:5353", Masq),
            nat(C4, V4, "198.51.100.11:5353", [Udp; 4]),
        ),
        fixture(
            "NAT, UDP over IPv4 without checksum",
            site(V4, Udp, R4, Masq),
            nat(C4, V4, R4, [UdpWithoutChecksum; 4]),
        ),
        fixture(
            "NAT, UDP over IPv6",
            site(V6, Udp, R6, Masq),
            nat(C6, V6, R6, [Udp, Udp, UdpWithoutChecksum, UdpWithoutChecksum]),
        ),
        fixture(
            "NAT, a UDP checksum that becomes 0",
            site(V4, Udp, R4, Masq),
            vec![sent(&zero, &zero_expected)],
        ),
        fixture(
            "the recorded NAT packet",
            site(V4, Udp, "198.51.100.11:8080", Masq),
            vec![recorded(
                "020000000001020000000002080045000035e9a4400040115307cb00710ac00002010fa00050002120b26f7261636c652d7061796c6f61642d30313233343536373839",
                "020000000011020000000001080045000035e9a440003f11ebc9cb00710ac633640b0fa01f90002199346f7261636c652d7061796c6f61642d30313233343536373839",
            )],
        ),
        fixture(
            "the recorded direct-routing packet",
            site(V4, Udp, R4, DirectRoute),
            vec![recorded(
                "020000000001020000000002080045000035ea3a400040115271cb00710ac00002010fa00050002120b26f7261636c652d7061796c6f61642d30313233343536373839",
                "020000000011020000000001080045000035ea3a40003f115371cb00710ac00002010fa00050002120b26f7261636c652d7061796c6f61642d30313233343536373839",
            )],
        ),
        fixture(
            "the director's own stack serves",
            site_of(V4, Tcp(SYN), &[local]),
            vec![
                passed(syn.build(), Reason::Local),
                passed(FrameSpec { ttl: 1, ..spec(C4, V4, Tcp(ACK)) }.build(), Reason::Local),
            ],
        ),
        fixture(
            "a tunnel is not in this version",
            site(V4, Tcp(SYN), R4, Tunnel),
            vec![dropped(&syn, Reason::MethodUnsupported)],
        ),
    ]
}

/// Every fixture.
pub(crate) fn all() -> Vec<Fixture> {
    let mut fixtures = vec![Fixture {
        what: "what is not balanced passes untouched",
        tables: both_families(),
        events: passing(),
    }];
    fixtures.extend(methods());
    fixtures.extend(refusals());
    fixtures
}
