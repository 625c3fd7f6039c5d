//! Names of hosts and services, as the machine's name services know them.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::Protocol;

/// Who knows names. Asked only where a name is needed: never with `-n`, never for what is a number.
pub trait Names {
    /// The IPv4 address of a host.
    fn host_to_addr(&self, name: &str) -> Option<Ipv4Addr>;

    /// The port of a service.
    fn service_to_port(&self, name: &str, protocol: Protocol) -> Option<u16>;

    /// The name of an address.
    fn addr_to_host(&self, address: IpAddr) -> Option<String>;

    /// The name of a port.
    fn port_to_service(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// Knows nobody.
#[cfg(test)]
pub(crate) struct NoNames;

#[cfg(test)]
impl Names for NoNames {
    fn host_to_addr(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }
    fn service_to_port(&self, _: &str, _: Protocol) -> Option<u16> {
        None
    }
    fn addr_to_host(&self, _: IpAddr) -> Option<String> {
        None
    }
    fn port_to_service(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}
