//! Next hops: route first, then neighbour.

use std::net::IpAddr;

use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

use super::request::Requests;
use super::{Link, LinkState, NetlinkError};
use crate::model::NextHop;

/// A neighbour: interface and address.
pub(super) type Target = (u32, IpAddr);

/// What route and neighbour say of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    /// The answer of this moment.
    pub(super) next_hop: NextHop,
    /// The neighbour it rests on, where there is a route to one.
    pub(super) target: Option<Target>,
    /// The kernel has asked the neighbour and waits: an answer of before may still be right.
    pub(super) pending: bool,
}

impl Lookup {
    fn nowhere(why: impl Into<String>) -> Self {
        Self { next_hop: NextHop::Unresolved { why: why.into() }, target: None, pending: false }
    }
}

/// Looks a next hop up; where the neighbour is not known, the kernel is asked to resolve it.
pub(super) async fn look_up(requests: &Requests, address: IpAddr) -> Lookup {
    match try_look_up(requests, address).await {
        Ok(lookup) => lookup,
        Err(error) => Lookup::nowhere(no_route(address, &error)),
    }
}

/// Why there is no route, in words.
fn no_route(address: IpAddr, error: &NetlinkError) -> String {
    // The kernel answers a lookup of these route types with errors of its own (net/ipv4/fib_semantics.c:
    // fib_props).
    match error.errno() {
        Some(libc::ENETUNREACH) => format!("no route to {address}"),
        Some(libc::EHOSTUNREACH) => format!("the route to {address} is `unreachable`"),
        Some(libc::EACCES) => format!("the route to {address} is `prohibit`"),
        Some(libc::EINVAL) => format!("the route to {address} is `blackhole`"),
        _ => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            format!("no route to {address}: {error}{}", cause.unwrap_or_default())
        }
    }
}

async fn try_look_up(requests: &Requests, address: IpAddr) -> Result<Lookup, NetlinkError> {
    let route = Route::from_message(&requests.route(address).await?);
    match route.kind {
        RouteType::Local => {
            return Ok(Lookup { next_hop: NextHop::Local, target: None, pending: false });
        }
        RouteType::Unicast => {}
        kind => {
            let kind = format!("{kind:?}").to_lowercase();
            return Ok(Lookup::nowhere(format!("the route to {address} is `{kind}`")));
        }
    }
    let Some(ifindex) = route.ifindex else {
        return Ok(Lookup::nowhere(format!("the route to {address} names no interface")));
    };
    let Some(link) = requests.link_at(ifindex).await? else {
        return Ok(Lookup::nowhere(format!("the interface of the route to {address} is gone")));
    };
    let Link { name, mac, mtu, state, .. } = link;
    if mac.is_none() {
        return Ok(Lookup::nowhere(format!(
            "the route to {address} leaves by `{name}`, whose frames have no MAC"
        )));
    }
    if state == LinkState::Down {
        return Ok(Lookup::nowhere(format!("interface `{name}` towards {address} is down")));
    }
    let neighbour = route.gateway.unwrap_or(address);
    let target = Some((ifindex, neighbour));
    let known = requests.neighbour(ifindex, neighbour).await?;
    if let Some(mac) = known.and_then(|known| known.mac) {
        let mtu = route.mtu.unwrap_or(mtu);
        let next_hop = NextHop::Resolved { mac, ifindex, gateway: route.gateway, mtu, source: route.source };
        return Ok(Lookup { next_hop, target, pending: false });
    }
    let state = known.map_or(NeighbourState::None, |known| known.state);
    if state != NeighbourState::Incomplete {
        requests.resolve(ifindex, neighbour).await?;
    }
    let question = if neighbour.is_ipv4() { "ARP" } else { "neighbour discovery" };
    let (why, pending) = match state {
        NeighbourState::Failed => (format!("{neighbour} on `{name}` does not answer {question}"), false),
        _ => (format!("{neighbour} on `{name}` has not answered {question} yet"), true),
    };
    Ok(Lookup { next_hop: NextHop::Unresolved { why }, target, pending })
}

/// What matters of a route.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    kind: RouteType,
    ifindex: Option<u32>,
    gateway: Option<IpAddr>,
    mtu: Option<u32>,
    /// The address of this host that it prefers.
    source: Option<IpAddr>,
}

impl Route {
    fn from_message(message: &RouteMessage) -> Self {
        let mut route =
            Self { kind: message.header.kind, ifindex: None, gateway: None, mtu: None, source: None };
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(ifindex) => route.ifindex = Some(*ifindex),
                RouteAttribute::Gateway(RouteAddress::Inet(a)) => route.gateway = Some((*a).into()),
                RouteAttribute::Gateway(RouteAddress::Inet6(a)) => route.gateway = Some((*a).into()),
                RouteAttribute::PrefSource(RouteAddress::Inet(a)) => route.source = Some((*a).into()),
                RouteAttribute::PrefSource(RouteAddress::Inet6(a)) => route.source = Some((*a).into()),
                // A gateway of the other family (RFC 5549).
                RouteAttribute::Via(RouteVia::Inet(a)) => route.gateway = Some((*a).into()),
                RouteAttribute::Via(RouteVia::Inet6(a)) => route.gateway = Some((*a).into()),
                RouteAttribute::Metrics(metrics) => {
                    route.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        route
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_route_tells_interface_gateway_and_mtu() {
        let mut message = RouteMessage::default();
        message.header.kind = RouteType::Unicast;
        message.attributes = vec![
            RouteAttribute::Oif(3),
            RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap())),
            RouteAttribute::PrefSource(RouteAddress::Inet([192, 0, 2, 1].into())),
            RouteAttribute::Metrics(vec![RouteMetric::Advmss(1), RouteMetric::Mtu(1400)]),
        ];
        let expected = Route {
            kind: RouteType::Unicast,
            ifindex: Some(3),
            gateway: Some("fe80::1".parse().unwrap()),
            mtu: Some(1400),
            source: Some([192, 0, 2, 1].into()),
        };
        assert_eq!(Route::from_message(&message), expected);
    }

    #[test]
    fn errors_of_a_lookup_are_said_in_words_of_routes() {
        let error = |errno| NetlinkError::Refused {
            doing: "look a route up",
            source: io::Error::from_raw_os_error(errno),
        };
        let address = "192.0.2.9".parse().unwrap();
        assert_eq!(no_route(address, &error(libc::ENETUNREACH)), "no route to 192.0.2.9");
        assert!(no_route(address, &error(libc::EINVAL)).contains("blackhole"));
        assert!(no_route(address, &error(libc::EPERM)).contains("not permitted"));
    }
}
