//! What may happen to a director.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Memory;
use crate::api::Request;
use crate::config::Config;
use crate::model::{NextHop, Responder, ServiceKey};
use crate::plan::Observed;

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// What the maps hold, at start and after an operation on them failed. Before the first one only
    /// [`Event::Links`] and [`Event::Addresses`] are handled: the ways of destinations need them.
    Observed(Box<Observed>, Box<Memory>),
    /// A configuration, at start and at reload.
    Config(Box<Config>),
    /// A client asks for a change, or for something small. Listings go by [`Event::Services`].
    Request(RequestId, Request),
    /// A client asks for the next services of a listing.
    Services {
        /// Whose answer.
        id: RequestId,
        /// Only this one.
        only: Option<ServiceKey>,
        /// Only those after this one.
        after: Option<ServiceKey>,
    },
    /// How packets reach an address ([`super::Effect::Watch`]): first, and at every change.
    NextHop {
        /// The destination's address.
        address: IpAddr,
        /// The answer.
        next_hop: NextHop,
    },
    /// Whoever waits for the next hop of an address has waited long enough.
    Waited(IpAddr),
    /// Routes or neighbours changed: replies to clients of NAT find their next hop anew.
    RoutesChanged,
    /// All interfaces of the host.
    Links(Vec<Link>),
    /// All addresses of the host.
    Addresses(BTreeSet<IpAddr>),
    /// Who answers for a virtual address that this host does not have ([`super::Effect::Ask`]).
    Responder {
        /// The address.
        address: IpAddr,
        /// Who.
        responder: Responder,
    },
    /// How much room is left; wanted each second while [`super::Director::watches_load`].
    Load(Load),
    /// Two seconds went by.
    Tick,
}

/// How much room is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Free and buffer pages of the host (/proc/meminfo: MemFree, Buffers), `None` where that is not known.
    pub available_pages: Option<u64>,
    /// The connection tables of IPv4 and IPv6.
    pub tables: [TableLoad; 2],
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLoad {
    /// Its slots.
    pub slots: u64,
    /// Slots in use.
    pub used: u64,
}

/// An interface of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// MAC, `None` of an interface without (tunnels): nothing leaves by it.
    pub mac: Option<[u8; 6]>,
    /// MTU, bytes of IP.
    pub mtu: u32,
    /// Whether the director's program is attached there.
    pub attached: bool,
}
