//! Rules through the map and back, and against a slow reading of what they ask.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{Destination, Hop};
use lb_common::fwd::ForwardingMethod;
use lb_common::run::Action;
use lb_common::sched::Scheduler;
use lb_common::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};
use proptest::prelude::*;

use super::*;

/// Addresses near each other, so that rules and packets meet.
fn address(ipv6: bool) -> impl Strategy<Value = IpAddr> {
    (0..6_u8, 0..2_u8).prop_map(move |(n, far)| {
        if ipv6 {
            IpAddr::from([0x2001, 0xdb8, 0, u16::from(far), 0, 0, 0, u16::from(n)])
        } else {
            IpAddr::from([192, 0, 2 + far, n])
        }
    })
}

fn test<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Test<T>>> {
    prop::option::weighted(0.3, (value, any::<bool>()).prop_map(|(value, negated)| Test { value, negated }))
}

fn network(ipv6: bool) -> impl Strategy<Value = Network> {
    let prefixes: &[u8] = if ipv6 { &[128, 127, 126, 64, 63, 0] } else { &[32, 31, 30, 24, 23, 0] };
    let by_prefix = (address(ipv6), prop::sample::select(prefixes))
        .prop_map(|(address, prefix)| Network::new(address, prefix));
    let odd = address(ipv6).prop_map(move |a| Network::masked(a, 5 << if ipv6 { 0 } else { 96 }));
    prop_oneof![4 => by_prefix, 1 => odd]
}

fn range(ipv6: bool) -> impl Strategy<Value = AddressRange> {
    (address(ipv6), address(ipv6)).prop_map(|(a, b)| AddressRange { first: a.min(b), last: a.max(b) })
}

const PORTS: [u16; 5] = [1, 80, 81, 443, 65_535];

fn ports() -> impl Strategy<Value = Ports> {
    let span = (prop::sample::select(&PORTS[..]), prop::sample::select(&PORTS[..]))
        .prop_map(|(a, b)| PortSpan { first: a.min(b), last: a.max(b) });
    prop::collection::vec(span, 1..=Ports::MOST).prop_map(Ports)
}

fn mac() -> impl Strategy<Value = Mac> {
    prop::sample::select(vec![Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]), Mac([0xff; 6])])
}

fn rule(ipv6: bool) -> impl Strategy<Value = MarkRule> {
    let target = prop_oneof![
        6 => (0..4_u32).prop_map(MarkTarget::set),
        3 => (0..8_u32, 0..8_u32).prop_map(|(value, mask)| MarkTarget::Mark { value, mask }),
        1 => Just(MarkTarget::Return),
        1 => Just(MarkTarget::Accept),
    ];
    let interface = prop::sample::select(vec!["eth1", "eth7", "eth+", "lo", "+"]);
    let interface = interface.prop_map(|name| name.parse::<InterfaceName>().unwrap());
    let addresses = (test(network(ipv6)), test(network(ipv6)), test(range(ipv6)), test(range(ipv6)));
    let ports = (test(ports()), test(ports()), any::<bool>());
    let others = (test(interface), test(prop::sample::select(vec![6_u8, 17, 1])), test(mac()));
    (addresses, ports, others, target, "[a-z\" \\\\é]{0,9}").prop_map(
        move |(addresses, (source_ports, other, either), (interface, protocol, mac), target, comment)| {
            let (source, destination, source_range, destination_range) = addresses;
            let (destination_ports, either_ports) = if either { (None, other) } else { (other, None) };
            MarkRule {
                ipv6,
                source,
                destination,
                interface,
                protocol,
                source_ports,
                destination_ports,
                either_ports,
                source_range,
                destination_range,
                mac,
                target,
                comment,
            }
        },
    )
}

#[derive(Debug, Clone)]
struct Packet {
    source: SocketAddr,
    destination: SocketAddr,
    protocol: u8,
    mac: Mac,
    interface: u32,
}

fn packet(ipv6: bool) -> impl Strategy<Value = Packet> {
    let port = || prop::sample::select(&[1_u16, 2, 80, 81, 82, 443, 65_535][..]);
    let ends = (address(ipv6), port(), address(ipv6), port());
    (ends, prop::sample::select(vec![6_u8, 17]), mac(), prop::sample::select(vec![1_u32, 7])).prop_map(
        |((a, p, b, q), protocol, mac, interface)| Packet {
            source: SocketAddr::new(a, p),
            destination: SocketAddr::new(b, q),
            protocol,
            mac,
            interface,
        },
    )
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// What a rule asks, word by word as the documentation of iptables has it.
fn fits(rule: &MarkRule, p: &Packet) -> bool {
    fn asked<T>(test: Option<&Test<T>>, holds: impl FnOnce(&T) -> bool) -> bool {
        test.is_none_or(|t| holds(&t.value) != t.negated)
    }
    let in_network = |n: &Network, a: IpAddr| {
        let (a, n, m) = (octets(a), octets(n.address), octets(n.mask));
        (0..a.len()).all(|i| a[i] & m[i] == n[i])
    };
    let in_range = |r: &AddressRange, a: IpAddr| r.first <= a && a <= r.last;
    let in_ports = |ports: &Ports, port: u16| ports.0.iter().any(|s| (s.first..=s.last).contains(&port));
    let name = format!("eth{}", p.interface);
    asked(rule.source.as_ref(), |n| in_network(n, p.source.ip()))
        && asked(rule.destination.as_ref(), |n| in_network(n, p.destination.ip()))
        && asked(rule.source_range.as_ref(), |r| in_range(r, p.source.ip()))
        && asked(rule.destination_range.as_ref(), |r| in_range(r, p.destination.ip()))
        && asked(rule.protocol.as_ref(), |n| *n == p.protocol)
        && asked(rule.mac.as_ref(), |m| *m == p.mac)
        && asked(rule.source_ports.as_ref(), |l| in_ports(l, p.source.port()))
        && asked(rule.destination_ports.as_ref(), |l| in_ports(l, p.destination.port()))
        && asked(rule.either_ports.as_ref(), |l| {
            in_ports(l, p.source.port()) || in_ports(l, p.destination.port())
        })
        && asked(rule.interface.as_ref(), |i| match i.to_string().strip_suffix('+') {
            Some(prefix) => name.starts_with(prefix),
            None => name == i.to_string(),
        })
}

/// The mark a packet has behind the rules.
fn marked(rules: &[MarkRule], p: &Packet) -> u32 {
    let mut mark = 0;
    for rule in rules.iter().filter(|r| fits(r, p)) {
        match rule.target {
            MarkTarget::Mark { value, mask } => mark = mark & !mask ^ value,
            MarkTarget::Return | MarkTarget::Accept => break,
        }
    }
    mark
}

/// A frame of a packet that opens a connection.
fn frame(p: &Packet) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(p.mac.0, DIRECTOR_MAC);
    let builder = match (p.source.ip(), p.destination.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => builder.ipv4(a.octets(), b.octets(), 64),
        (IpAddr::V6(a), IpAddr::V6(b)) => builder.ipv6(a.octets(), b.octets(), 64),
        _ => panic!("two families"),
    };
    let (from, to) = (p.source.port(), p.destination.port());
    let mut bytes = Vec::new();
    if p.protocol == 6 {
        builder.tcp(from, to, 1, 1000).syn().write(&mut bytes, &[]).unwrap();
    } else {
        builder.udp(from, to).write(&mut bytes, &[]).unwrap();
    }
    bytes
}

/// Marks below this have services, each with one destination: its MAC tells the mark.
const SERVED: u8 = 16;

/// The mark that the data path goes by, 0 for none that has a service.
fn by_data_path(rules: &[MarkRule], ipv6: bool, p: &Packet) -> u32 {
    let mut tables = HostTables::new(4);
    tables.add_interface(7, DIRECTOR_MAC);
    for mark in 1..SERVED {
        let id = tables.add_destination(Destination {
            hop: Hop::new([2, 0, 0, 0, 1, mark], p.interface as u16),
            weight: 1,
            family: if ipv6 { 6 } else { 4 },
            method: ForwardingMethod::DirectRoute as u8,
            ..Destination::default()
        });
        let family = if ipv6 { 6 } else { 4 };
        tables.add_fwmark(mark.into(), mark.into(), family, &ServiceSpec::new(Scheduler::Rr), &[id]);
    }
    let owner = MarkOwner::Operator;
    let list: Vec<_> = rules.iter().map(|r| mark_rule(&OwnedMarkRule { rule: r.clone(), owner })).collect();
    if ipv6 {
        tables.set_marks(&[], &list);
    } else {
        tables.set_marks(&list, &[]);
    }
    tables.settings.flags |= abi::settings_flags::NO_PREFILTER;
    let (action, bytes) = direct_bytes(&tables, &frame(p), p.interface);
    if action == Action::Transmit { u32::from(bytes[5]) } else { 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn rules_fit_what_they_ask_for(
        (ipv6, rules, p) in any::<bool>().prop_flat_map(|ipv6| {
            (Just(ipv6), prop::collection::vec(rule(ipv6), 1..6), packet(ipv6))
        })
    ) {
        let expected = marked(&rules, &p);
        let expected = if expected < u32::from(SERVED) { expected } else { 0 };
        prop_assert_eq!(by_data_path(&rules, ipv6, &p), expected);
    }

    #[test]
    fn every_condition_alone_is_as_it_is_asked(
        (ipv6, rule, p) in any::<bool>().prop_flat_map(|ipv6| (Just(ipv6), rule(ipv6), packet(ipv6)))
    ) {
        let bare = MarkRule::new(ipv6, MarkTarget::set(1));
        for one in [
            MarkRule { source: rule.source, ..bare.clone() },
            MarkRule { destination: rule.destination, ..bare.clone() },
            MarkRule { interface: rule.interface, ..bare.clone() },
            MarkRule { protocol: rule.protocol, ..bare.clone() },
            MarkRule { source_ports: rule.source_ports.clone(), ..bare.clone() },
            MarkRule { destination_ports: rule.destination_ports.clone(), ..bare.clone() },
            MarkRule { either_ports: rule.either_ports.clone(), ..bare.clone() },
            MarkRule { source_range: rule.source_range, ..bare.clone() },
            MarkRule { destination_range: rule.destination_range, ..bare.clone() },
            MarkRule { mac: rule.mac, ..bare.clone() },
        ] {
            let expected = marked(std::slice::from_ref(&one), &p);
            prop_assert_eq!(by_data_path(std::slice::from_ref(&one), ipv6, &p), expected, "{:?}", one);
        }
    }

    #[test]
    fn rules_come_back_from_the_map(
        rule in any::<bool>().prop_flat_map(rule),
        owner in prop::sample::select(vec![MarkOwner::Operator, MarkOwner::Configuration, MarkOwner::Import]),
    ) {
        let ipv6 = rule.ipv6;
        let owned = OwnedMarkRule { rule, owner };
        prop_assert_eq!(mark_rule_of(&mark_rule(&owned), ipv6), owned);
    }

    #[test]
    fn whoever_fits_is_concerned(
        (rule, p) in any::<bool>().prop_flat_map(|ipv6| (rule(ipv6), packet(ipv6)))
    ) {
        if let Some(addresses) = mark_addresses(&rule) && fits(&rule, &p) {
            prop_assert!(addresses.contains(&p.destination.ip()));
        }
    }
}

#[test]
fn small_networks_are_their_addresses() {
    let rule = |destination: &str, ipv6| MarkRule {
        destination: Some(Test::is(destination.parse().unwrap())),
        ..MarkRule::new(ipv6, MarkTarget::set(1))
    };
    let all = mark_addresses(&rule("192.0.2.5/31", false)).unwrap();
    assert_eq!(all, ["192.0.2.4".parse::<IpAddr>().unwrap(), "192.0.2.5".parse().unwrap()]);
    assert_eq!(mark_addresses(&rule("2001:db8::ff/120", true)).unwrap().len(), 256);
    let one = mark_addresses(&rule("2001:db8::1", true)).unwrap();
    assert_eq!(one, ["2001:db8::1".parse::<IpAddr>().unwrap()]);
    for (a, ipv6) in [("192.0.2.0/23", false), ("0.0.0.0/0", false), ("2001:db8::/64", true), ("::/0", true)]
    {
        assert_eq!(mark_addresses(&rule(a, ipv6)), None, "{a}");
    }
    // A range narrows a network.
    let range = Some(Test::is("192.0.2.7-192.0.2.9".parse().unwrap()));
    let both = MarkRule { destination_range: range, ..rule("192.0.0.0/16", false) };
    assert_eq!(mark_addresses(&both).unwrap().len(), 3);
}

#[test]
fn the_next_list_goes_where_the_present_one_is_not() {
    for ipv6 in [false, true] {
        let first = next_area(ipv6, 0);
        let second = next_area(ipv6, first);
        assert_ne!(first, second);
        assert_eq!(next_area(ipv6, second), first);
        assert!(first.max(second) + MARK_RULES <= abi::MARK_ELEMENTS);
    }
    let areas = [
        next_area(false, 0),
        next_area(false, MARK_RULES),
        next_area(true, 0),
        next_area(true, 2 * MARK_RULES),
    ];
    assert_eq!(areas.into_iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
}
