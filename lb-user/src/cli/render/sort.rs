//! The order of ipvsadm's listings.

use crate::api::{DestinationView, ServiceView};
use crate::model::{Fwmark, ServiceKey};

/// Sorts services by mark (as a signed number, so marks of 2^31 and more come first; no mark is 0),
/// family, protocol, address and port, and the destinations of each by family, address and port.
pub(in crate::cli) fn sort(services: &mut [ServiceView]) {
    services.sort_by_key(|s| service_key(s.service.key));
    for service in services {
        service.destinations.sort_by_key(destination_key);
    }
}

type ServiceOrder = (i32, bool, u8, Option<std::net::SocketAddr>);

fn service_key(key: ServiceKey) -> ServiceOrder {
    match key {
        ServiceKey::Fwmark(Fwmark { mark, ipv6 }) => (super::format::mark(mark), ipv6, 0, None),
        ServiceKey::Address { protocol, address } => (0, address.is_ipv6(), protocol.number(), Some(address)),
    }
}

fn destination_key(destination: &DestinationView) -> std::net::SocketAddr {
    // IPv4 before IPv6, then address, then port.
    destination.destination.address
}
