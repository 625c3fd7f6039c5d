//! The model's words to and from the values of the maps.

use std::net::{IpAddr, SocketAddr};

use lb_common::abi::{self, INTERFACES, destination_flags, service_flags, tunnel_flags};
use lb_common::family::{Family, V4, V6, bytes};
use lb_common::fwd;
use lb_common::sip;

use crate::model::{
    DestinationSpec, ForwardingMethod, Fwmark, Netmask, OuterNetwork, Persistence, Protocol, Scheduler,
    SchedulerFlags, ServiceKey, ServiceSpec, Tunnel, TunnelChecksum, TunnelKind,
};

/// An address in the first bytes of sixteen.
#[must_use]
pub fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(a) => V4::wide(a.octets()),
        IpAddr::V6(a) => a.octets(),
    }
}

/// The inverse of [`wide`].
fn narrow(ipv6: bool, wide: &[u8; 16]) -> IpAddr {
    if ipv6 { IpAddr::from(bytes(V6::narrow(wide))) } else { IpAddr::from(V4::narrow(wide)) }
}

/// Index of an interface in the map, by the kernel's.
#[must_use]
pub const fn interface_index(ifindex: u32) -> u16 {
    // INTERFACES is below 65,536.
    (ifindex & (INTERFACES - 1)) as u16
}

/// The service of a destination, `None` where its protocol is none of ours.
#[must_use]
pub fn service_key(d: &abi::Destination) -> Option<ServiceKey> {
    let ipv6 = d.flags & destination_flags::SERVICE_IPV6 != 0;
    if d.flags & destination_flags::FWMARK != 0 {
        return Some(ServiceKey::Fwmark(Fwmark { mark: d.service_mark, ipv6 }));
    }
    let address = SocketAddr::new(narrow(ipv6, &d.service_address), u16::from_be_bytes(d.service_port));
    Some(ServiceKey::Address { protocol: Protocol::from_number(d.service_protocol)?, address })
}

/// Address and port of a destination.
#[must_use]
pub fn destination_address(d: &abi::Destination) -> SocketAddr {
    SocketAddr::new(narrow(d.family == 6, &d.address), u16::from_be_bytes(d.port))
}

/// A destination as configured, `None` where its forwarding method is none of ours.
#[must_use]
pub fn destination_spec(d: &abi::Destination) -> Option<DestinationSpec> {
    Some(DestinationSpec {
        address: destination_address(d),
        method: ForwardingMethod::from_u8(d.method)?,
        weight: d.weight,
        upper: d.upper,
        lower: d.lower,
        tunnel: tunnel(d),
    })
}

/// The encapsulation of a destination, `None` where it has none.
fn tunnel(d: &abi::Destination) -> Option<Tunnel> {
    if d.method != ForwardingMethod::Tunnel as u8 {
        return None;
    }
    let checksum = if d.tunnel_flags & tunnel_flags::REMOTE != 0 {
        TunnelChecksum::Remote
    } else if d.tunnel_flags & tunnel_flags::CHECKSUM != 0 {
        TunnelChecksum::Checksum
    } else {
        TunnelChecksum::None
    };
    let kind = match fwd::TunnelKind::from_u8(d.tunnel_kind)? {
        fwd::TunnelKind::Ipip => TunnelKind::Ipip,
        fwd::TunnelKind::Gue => TunnelKind::Gue,
        fwd::TunnelKind::Gre => TunnelKind::Gre,
    };
    Some(Tunnel { kind, port: u16::from_be_bytes(d.tunnel_port), checksum })
}

/// The outer source address of a tunnel, `None` where it is not one address or not known.
#[must_use]
pub fn tunnel_source(d: &abi::Destination) -> Option<IpAddr> {
    let one = d.tunnel_flags >> tunnel_flags::VARYING == 0 && d.tunnel_source != [0; 16];
    one.then(|| narrow(d.family == 6, &d.tunnel_source))
}

/// Fills in the encapsulation of a destination: outer headers from `source`, or from the addresses of a network, another
/// one for each flow. GUE has its source port for that.
pub fn put_tunnel(
    d: &mut abi::Destination,
    tunnel: Tunnel,
    source: Option<IpAddr>,
    network: Option<OuterNetwork>,
) {
    d.tunnel_kind = match tunnel.kind {
        TunnelKind::Ipip => fwd::TunnelKind::Ipip,
        TunnelKind::Gue => fwd::TunnelKind::Gue,
        TunnelKind::Gre => fwd::TunnelKind::Gre,
    } as u8;
    d.tunnel_port = tunnel.port.to_be_bytes();
    d.tunnel_flags = match tunnel.checksum {
        TunnelChecksum::None => 0,
        TunnelChecksum::Checksum => tunnel_flags::CHECKSUM,
        TunnelChecksum::Remote => tunnel_flags::REMOTE,
    };
    let ipv6 = d.family == 6;
    match network.filter(|n| n.address().is_ipv6() == ipv6 && tunnel.kind != TunnelKind::Gue) {
        Some(network) => {
            d.tunnel_flags |= network.host_bits() << tunnel_flags::VARYING;
            d.tunnel_source = wide(network.address());
        }
        None => d.tunnel_source = source.map_or([0; 16], wide),
    }
}

/// A service as configured, `None` where its scheduler is none of ours.
#[must_use]
pub fn service_spec(key: ServiceKey, s: &abi::Service) -> Option<ServiceSpec> {
    let netmask = if key.is_ipv6() {
        Netmask::V6(u8::try_from(s.prefix & 0xff).unwrap_or(128))
    } else {
        Netmask::V4(u32::from_be_bytes(V4::narrow(&s.netmask)))
    };
    let persistent = s.flags & service_flags::PERSISTENT != 0;
    Some(ServiceSpec {
        key,
        scheduler: Scheduler::from_u8(s.scheduler)?,
        flags: SchedulerFlags(s.scheduler_flags),
        persistence: persistent.then_some(Persistence { timeout: s.persistence_seconds }),
        netmask,
        one_packet: s.flags & service_flags::ONE_PACKET != 0,
        persistence_engine: (s.engine == sip::ENGINE).then(|| SIP.to_owned()),
        mh_table_size: Some(s.scheduler_word).filter(|size| s.scheduler == Scheduler::Mh as u8 && *size != 0),
    })
}

/// Name of the one persistence engine there is (ip_vs_pe_sip.c).
pub const SIP: &str = "sip";

/// The number of a persistence engine in [`abi::Service::engine`], `None` where there is none of the name.
#[must_use]
pub fn engine_number(name: &str) -> Option<u8> {
    (name == SIP).then_some(sip::ENGINE)
}

/// A netmask as the data path applies it: network order, IPv4 in the first four bytes.
#[must_use]
pub fn mask_bytes(netmask: Netmask) -> [u8; 16] {
    match netmask {
        Netmask::V4(mask) => V4::wide(mask.to_be_bytes()),
        Netmask::V6(prefix) => {
            let host = 128 - u32::from(prefix.min(128));
            u128::MAX.checked_shl(host).unwrap_or(0).to_be_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_in_network_order() {
        assert_eq!(mask_bytes(Netmask::V4(0xffff_ff00))[..5], [255, 255, 255, 0, 0]);
        assert_eq!(
            mask_bytes(Netmask::V6(64)),
            [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(mask_bytes(Netmask::V6(128)), [255; 16]);
    }

    #[test]
    fn tunnels_come_back_as_they_were_given() {
        let source: IpAddr = "198.51.100.1".parse().unwrap();
        let network = OuterNetwork::new("10.1.2.3".parse().unwrap(), 16);
        for kind in [TunnelKind::Ipip, TunnelKind::Gue, TunnelKind::Gre] {
            for checksum in [TunnelChecksum::None, TunnelChecksum::Checksum, TunnelChecksum::Remote] {
                let given = Tunnel { kind, port: 6080, checksum };
                for network in [None, network] {
                    let method = ForwardingMethod::Tunnel as u8;
                    let mut d = abi::Destination { method, family: 4, ..Default::default() };
                    put_tunnel(&mut d, given, Some(source), network);
                    assert_eq!(tunnel(&d), Some(given));
                    let varies = network.is_some() && kind != TunnelKind::Gue;
                    assert_eq!(d.tunnel_flags >> tunnel_flags::VARYING, if varies { 16 } else { 0 });
                    let expected: IpAddr = if varies { "10.1.0.0".parse().unwrap() } else { source };
                    assert_eq!(d.tunnel_source, wide(expected));
                }
            }
        }
        assert_eq!(tunnel(&abi::Destination::default()), None);
        // A network of the other family is of no use.
        let mut d = abi::Destination { family: 6, ..Default::default() };
        let ipip = Tunnel { kind: TunnelKind::Ipip, port: 0, checksum: TunnelChecksum::None };
        put_tunnel(&mut d, ipip, None, network);
        assert_eq!((d.tunnel_source, d.tunnel_flags), ([0; 16], 0));
    }
}
