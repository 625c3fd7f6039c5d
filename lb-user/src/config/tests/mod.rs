//! Whole files. The texts of the errors: `service` and `file`.

mod file;
mod service;
mod sysctl;

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, MarkRule, MarkTarget, Netmask, Persistence, PortSpan, Ports,
    Protocol, Scheduler, SchedulerFlags, ServiceKey, Test, Tunnel, TunnelChecksum, TunnelKind,
};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn destination(text: &str, method: ForwardingMethod) -> DestinationSpec {
    DestinationSpec { address: address(text), method, weight: 1, upper: 0, lower: 0, tunnel: None }
}

/// The errors of `text` are exactly `expected` (which begins with a newline).
#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = parse(text, "lbd.toml").expect_err("the text is wrong");
    assert_eq!(format!("\n{error}\n"), expected);
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = parse("", "lbd.toml").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.tables.connections, 393_216);
}

#[test]
fn a_file_with_everything() {
    let text = r#"
        [director]
        interfaces = ["eth0", "eth1.100"]
        mh-table-size = 65521

        [timeouts]
        tcp = 1000
        tcp-fin = 60

        [tables]
        connections = 0x100000
        slots = 4_194_304

        [[service]]
        tcp = "192.0.2.1:80"
        scheduler = "sh"
        flags = ["sh-port", "sh-fallback"]
        persistent = 360
        netmask = "255.255.255.0"

        [[service.destination]]
        address = "198.51.100.11:8080"
        method = "nat"
        weight = 2
        upper = 100
        lower = 50

        [[service.destination]]
        address = "198.51.100.12"

        [[service]]
        udp = "[2001:db8::1]:53"
        one-packet = true
        netmask = 64
        [[service.destination]]
        address = "198.51.100.13"
        method = "tunnel"

        [[service]]
        fwmark = 3
        ipv6 = true
        [[service.destination]]
        address = "2001:db8:1::11"

        [[service]]
        tcp = "192.0.2.1:0"
        persistent = 60
        netmask = 24

        [[mark]]
        destination = "192.0.2.2/31"
        protocol = "tcp"
        ports = [80, "1000-2000"]
        mark = 3

        [[mark]]
        destination = "2001:db8::/32"
        mark = 4294967295

        [[mark]]
        source = "203.0.113.0/24"
        interface = "eth+"
        protocol = "tcp"
        source-ports = 53
        source-range = "203.0.113.1-203.0.113.9"
        destination-range = "192.0.2.1-192.0.2.4"
        mac = "02:0:0:00:00:9"
        not = ["mac", "protocol", "source-range"]
        comment = "not the peer"
        mark = 8
        mask = 7

        [[mark]]
        interface = "lo"
        ipv6 = true
        target = "return"
    "#;
    let config = parse(text, "lbd.toml").unwrap();
    assert_eq!(config.interfaces, ["eth0", "eth1.100"]);
    assert_eq!(config.mh_table_size, Some(65_521));
    assert_eq!(config.timeouts, Some(Timeouts { tcp: 1000, tcp_fin: 60, udp: 300 }));
    assert_eq!(config.tables.connections, 0x10_0000);
    assert_eq!((config.tables.services, config.tables.slots), (8_192, 4_194_304));

    let (web, servers) = &config.services[0];
    assert_eq!(web.key, ServiceKey::Address { protocol: Protocol::Tcp, address: address("192.0.2.1:80") });
    assert_eq!((web.scheduler, web.flags), (Scheduler::Sh, SchedulerFlags(3)));
    assert_eq!(web.persistence, Some(Persistence { timeout: 360 }));
    assert_eq!(web.netmask, Netmask::V4(0xffff_ff00));
    let nat = destination("198.51.100.11:8080", ForwardingMethod::Masq);
    let dr = destination("198.51.100.12:80", ForwardingMethod::DirectRoute);
    assert_eq!(*servers, [DestinationSpec { weight: 2, upper: 100, lower: 50, ..nat }, dr]);

    let (dns, servers) = &config.services[1];
    assert_eq!((dns.scheduler, dns.one_packet, dns.netmask), (Scheduler::Wlc, true, Netmask::V6(64)));
    let ipip = Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None };
    let tunnel = destination("198.51.100.13:53", ForwardingMethod::Tunnel);
    assert_eq!(*servers, [DestinationSpec { tunnel: Some(ipip), ..tunnel }]);

    let (marked, servers) = &config.services[2];
    assert_eq!(marked.key, ServiceKey::Fwmark(Fwmark { mark: 3, ipv6: true }));
    assert_eq!(marked.netmask, Netmask::V6(128));
    assert_eq!(*servers, [destination("[2001:db8:1::11]:0", ForwardingMethod::DirectRoute)]);
    assert_eq!(config.services[3].0.netmask, Netmask::V4(0xffff_ff00));

    let test = |network: &str| Some(Test::is(network.parse().unwrap()));
    let ports = vec![PortSpan::one(80), PortSpan { first: 1000, last: 2000 }];
    let rule = MarkRule {
        destination: test("192.0.2.2/31"),
        protocol: Some(Test::is(6)),
        destination_ports: Some(Test::is(Ports(ports))),
        ..MarkRule::new(false, MarkTarget::set(3))
    };
    let six =
        MarkRule { destination: test("2001:db8::/32"), ..MarkRule::new(true, MarkTarget::set(u32::MAX)) };
    let peer = MarkRule {
        source: test("203.0.113.0/24"),
        interface: Some(Test::is("eth+".parse().unwrap())),
        protocol: Some(Test::not(6)),
        source_ports: Some(Test::is(Ports(vec![PortSpan::one(53)]))),
        source_range: Some(Test::not("203.0.113.1-203.0.113.9".parse().unwrap())),
        destination_range: Some(Test::is("192.0.2.1-192.0.2.4".parse().unwrap())),
        mac: Some(Test::not("02:00:00:00:00:09".parse().unwrap())),
        comment: "not the peer".to_owned(),
        ..MarkRule::new(false, MarkTarget::Mark { value: 8, mask: 0xf })
    };
    let end = MarkRule {
        interface: Some(Test::is("lo".parse().unwrap())),
        ..MarkRule::new(true, MarkTarget::Return)
    };
    assert_eq!(config.marks, [rule, six, peer, end]);
}

proptest! {
    /// Whatever the text, an answer and no panic; every error lies within the text.
    #[test]
    fn no_text_makes_it_panic(text in "(?s)(\\[\\[?(service|mark|tables|director)(\\.destination)?\\]\\]?|[a-z-]{1,12} = [\"\\[\\]0-9a-f.:/é-]{0,20}|\n|.){0,12}") {
        if let Err(error) = parse(&text, "x") {
            prop_assert!(!error.list().is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
