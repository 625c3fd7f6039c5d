//! How packets reach an address, and who else answers for it: what the kernel's tables say, in words.

use std::net::IpAddr;

/// Where packets to an address go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop {
    /// The address is this host's own.
    Local,
    /// To a neighbour that is known.
    Resolved {
        /// Its MAC.
        mac: [u8; 6],
        /// Kernel index of the leaving interface.
        ifindex: u32,
        /// The gateway, where the address is not on link.
        gateway: Option<IpAddr>,
        /// MTU towards the address, bytes of IP: the route's, or else the interface's.
        mtu: u32,
        /// The address of this host that the route prefers as source: that of the outer header of tunnels.
        source: Option<IpAddr>,
    },
    /// Nowhere, for now.
    Unresolved {
        /// Why, in words.
        why: String,
    },
}

/// Who answers ARP requests or neighbour solicitations for an address that this host does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responder {
    /// Nobody does.
    Nobody {
        /// Whether the address lies in the subnet of an interface: then its packets come by ARP alone. Others may
        /// be routed to this host.
        on_link: bool,
    },
    /// Another host does.
    Host {
        /// Its MAC.
        mac: [u8; 6],
        /// Kernel index of the interface it was asked by.
        ifindex: u32,
    },
}
