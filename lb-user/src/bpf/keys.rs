//! Keys of services, in the words of the model and of the maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lb_common::abi::{FwmarkKey, ServiceKey4, ServiceKey6};

use crate::model::{Fwmark, Protocol, ServiceKey};

/// The key of a service, and thereby its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapKey {
    /// Of map `SERVICES4`.
    V4(ServiceKey4),
    /// Of map `SERVICES6`.
    V6(ServiceKey6),
    /// Of map `FWMARKS`.
    Fwmark(FwmarkKey),
}

impl From<&ServiceKey> for MapKey {
    fn from(key: &ServiceKey) -> Self {
        match key {
            ServiceKey::Address { protocol, address } => {
                let (port, protocol) = (address.port().to_be_bytes(), protocol.number());
                match address.ip() {
                    IpAddr::V4(a) => Self::V4(ServiceKey4 { address: a.octets(), port, protocol, _pad: 0 }),
                    IpAddr::V6(a) => Self::V6(ServiceKey6 { address: a.octets(), port, protocol, _pad: 0 }),
                }
            }
            ServiceKey::Fwmark(Fwmark { mark, ipv6 }) => {
                Self::Fwmark(FwmarkKey { mark: *mark, family: if *ipv6 { 6 } else { 4 } })
            }
        }
    }
}

impl MapKey {
    /// The key in the model's words; `None` where a map holds what no lbd writes.
    pub(super) fn to_model(self) -> Option<ServiceKey> {
        let address = |ip: IpAddr, port, protocol| {
            let address = SocketAddr::new(ip, u16::from_be_bytes(port));
            Some(ServiceKey::Address { protocol: Protocol::from_number(protocol)?, address })
        };
        match self {
            Self::V4(k) => address(Ipv4Addr::from(k.address).into(), k.port, k.protocol),
            Self::V6(k) => address(Ipv6Addr::from(k.address).into(), k.port, k.protocol),
            Self::Fwmark(FwmarkKey { mark, family: family @ (4 | 6) }) => {
                Some(ServiceKey::Fwmark(Fwmark { mark, ipv6: family == 6 }))
            }
            Self::Fwmark(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:0"] {
            let key = ServiceKey::Address { protocol: Protocol::Udp, address: text.parse().unwrap() };
            assert_eq!(MapKey::from(&key).to_model(), Some(key));
        }
        for ipv6 in [false, true] {
            let key = ServiceKey::Fwmark(Fwmark { mark: 3, ipv6 });
            assert_eq!(MapKey::from(&key).to_model(), Some(key));
        }
    }

    #[test]
    fn nonsense_is_no_key() {
        assert_eq!(MapKey::V4(ServiceKey4 { protocol: 1, ..Default::default() }).to_model(), None);
        assert_eq!(MapKey::Fwmark(FwmarkKey { mark: 1, family: 5 }).to_model(), None);
    }

    #[test]
    fn ports_and_addresses_are_in_network_order() {
        let address = "192.0.2.1:80".parse().unwrap();
        let key = MapKey::from(&ServiceKey::Address { protocol: Protocol::Tcp, address });
        let expected = ServiceKey4 { address: [192, 0, 2, 1], port: [0, 80], protocol: 6, _pad: 0 };
        assert_eq!(key, MapKey::V4(expected));
    }
}
