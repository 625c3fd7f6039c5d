//! Changes.

use std::net::IpAddr;

use super::{Link, NextHop};

/// A change in the kernel's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetEvent {
    /// An interface is new or changed (state, MAC, MTU, name).
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its kernel index.
        ifindex: u32,
    },
    /// The host's addresses changed.
    Addresses,
    /// A route changed: every next hop may have.
    Routes,
    /// A neighbour's MAC became known, changed, or was lost (`None`). Not sent for mere re-checks.
    Neighbour {
        /// Interface.
        ifindex: u32,
        /// Address.
        address: IpAddr,
        /// MAC.
        mac: Option<[u8; 6]>,
    },
    /// The next hop of a watched address ([`super::Netlink::watch`]) is known now, or changed.
    NextHop {
        /// The address.
        address: IpAddr,
        /// Its next hop.
        next_hop: NextHop,
    },
    /// Events were lost (the socket's buffer was full): read everything anew.
    Lost,
}
