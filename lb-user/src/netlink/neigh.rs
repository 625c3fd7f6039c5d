//! Next hops.

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
        /// MTU towards the address, bytes of IP.
        mtu: u32,
    },
    /// Nowhere, for now.
    Unresolved {
        /// Why, in words.
        why: String,
    },
}
