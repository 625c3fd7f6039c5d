//! Destinations behind tunnels.

use std::net::IpAddr;

use lb_common::abi::{self, destination_flags, tunnel_flags};

use super::world::*;
use crate::api::Neighbour;
use crate::config;
use crate::director::Event;
use crate::model::{ForwardingMethod, NextHop, Scheduler, Tunnel, TunnelChecksum, TunnelKind};
use crate::plan::wide;

const VIP: &str = "192.0.2.1:80";

fn tunnel(address: &str, kind: TunnelKind, checksum: TunnelChecksum) -> crate::model::DestinationSpec {
    let port = if kind == TunnelKind::Gue { 6080 } else { 0 };
    let mut d = destination(address, 1);
    d.method = ForwardingMethod::Tunnel;
    d.tunnel = Some(Tunnel { kind, port, checksum });
    d
}

/// The value of the only destination.
fn value(w: &World) -> abi::Destination {
    *w.maps.layout.destinations.values().next().unwrap()
}

fn with(service: &str, d: crate::model::DestinationSpec) -> World {
    let mut w = World::new();
    w.does(add_service(service_of(service)));
    w.does(add(tcp(service), d));
    w
}

fn service_of(address: &str) -> crate::model::ServiceSpec {
    service(tcp(address), Scheduler::Rr)
}

#[test]
fn the_data_path_is_told_kind_port_checksum_and_source() {
    use TunnelChecksum::{Checksum, None as Nothing, Remote};
    for (kind, checksum, number, flags) in [
        (TunnelKind::Ipip, Nothing, 0, 0),
        (TunnelKind::Gue, Nothing, 1, 0),
        (TunnelKind::Gue, Checksum, 1, tunnel_flags::CHECKSUM),
        (TunnelKind::Gue, Remote, 1, tunnel_flags::REMOTE),
        (TunnelKind::Gre, Checksum, 2, tunnel_flags::CHECKSUM),
    ] {
        let v = value(&with(VIP, tunnel("198.51.100.12:80", kind, checksum)));
        assert_eq!((v.method, v.tunnel_kind, v.tunnel_flags), (2, number, flags));
        assert_eq!(v.tunnel_port, if number == 1 { 6080_u16.to_be_bytes() } else { [0, 0] });
        assert_eq!(v.tunnel_source, wide(SOURCE.unwrap()));
        assert_ne!(v.flags & destination_flags::MSS_CLAMP, 0, "on where nobody says otherwise");
        assert!(v.hop.is_resolved());
        assert_eq!(v.mtu, 1500);
    }
    let v = value(&with(VIP, destination("198.51.100.12:80", 1)));
    assert_eq!((v.tunnel_source, v.flags & destination_flags::MSS_CLAMP), ([0; 16], 0));
}

#[test]
fn a_tunnel_may_lead_to_the_other_family() {
    for (service, real, family) in
        [(VIP, "[2001:db8:1::11]:80", 6), ("[2001:db8::1]:80", "198.51.100.11:80", 4)]
    {
        let v = value(&with(service, tunnel(real, TunnelKind::Ipip, TunnelChecksum::None)));
        assert_eq!((v.family, v.hop.is_resolved()), (family, true));
        assert_eq!(v.flags & destination_flags::SERVICE_IPV6 != 0, family == 4);
    }
}

#[test]
fn without_an_address_to_send_from_a_tunnel_is_unresolved() {
    let d = tunnel("198.51.100.12:80", TunnelKind::Gre, TunnelChecksum::None);
    let address: IpAddr = "198.51.100.12".parse().unwrap();
    let mut w = with(VIP, d);
    let hop =
        |source| NextHop::Resolved { mac: [2, 0, 0, 0, 0, 12], ifindex: 2, gateway: None, mtu: 1400, source };
    w.event(Event::NextHop { address, next_hop: hop(None) });
    assert!(!value(&w).hop.is_resolved());
    let other: IpAddr = "198.51.100.2".parse().unwrap();
    w.event(Event::NextHop { address, next_hop: hop(Some(other)) });
    let v = value(&w);
    assert_eq!((v.hop.is_resolved(), v.mtu, v.tunnel_source), (true, 1400, wide(other)));
    let listed = w.list().remove(0).destinations.remove(0).neighbour;
    assert!(matches!(listed, Neighbour::Resolved { .. }), "{listed:?}");
}

#[test]
fn the_configuration_says_where_outer_sources_come_from_and_whether_segments_are_lowered() {
    let text = |tunnels: &str, service: &str, kind: &str| {
        let text = format!(
            "{tunnels}\n[[service]]\ntcp = \"{VIP}\"\nscheduler = \"rr\"\n{service}\n\
             [[service.destination]]\naddress = \"198.51.100.12\"\nmethod = \"tunnel\"\n{kind}\n"
        );
        Event::Config(Box::new(config::parse(&text, "lbd.toml").unwrap()))
    };
    let mut w = World::new();
    let own = wide(SOURCE.unwrap());
    let network = wide("10.64.0.0".parse().unwrap());
    let varying = 16 << tunnel_flags::VARYING;
    let clamp = destination_flags::MSS_CLAMP;
    let all = "[tunnels]\nmss-clamp = false\nouter-source = \"10.64.0.0/16\"";
    for (tunnels, service, kind, expected) in [
        ("", "", "", (own, 0, clamp)),
        (all, "", "", (network, varying, 0)),
        (all, "mss-clamp = true", "", (network, varying, clamp)),
        ("", "outer-source = \"10.64.1.1/16\"", "tunnel = \"gre\"", (network, varying, clamp)),
        // GUE has its ports, and a network of the other family is of no use.
        (all, "", "tunnel = \"gue\"\ntunnel-port = 6080", (own, 0, 0)),
        ("", "outer-source = \"2001:db8::/96\"", "", (own, 0, clamp)),
    ] {
        w.event(text(tunnels, service, kind));
        let v = value(&w);
        let found = (v.tunnel_source, v.tunnel_flags, v.flags & clamp);
        assert_eq!(found, expected, "{tunnels} {service} {kind}");
    }
}
