//! What lbd answers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::sysctl::SysctlValue;
use crate::model::{DestinationSpec, OwnedMarkRule, Owner, Protocol, ServiceSpec, Timeouts};

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "response")]
pub enum Response {
    /// The change was made, or the listing is at its end.
    Done,
    /// The request was refused; nothing changed.
    Refused(Refusal),
    /// Some services of a listing; more may follow.
    Services {
        /// The services.
        services: Vec<ServiceView>,
    },
    /// Some connections of a listing; more may follow.
    Connections {
        /// The connections.
        connections: Vec<ConnectionView>,
    },
    /// The timeouts in force.
    Timeouts {
        /// Seconds.
        timeouts: Timeouts,
    },
    /// The rules that give marks.
    Marks {
        /// In order, those of IPv4 first.
        rules: Vec<OwnedMarkRule>,
    },
    /// The sysctls in force, by name.
    Sysctls {
        /// With their values.
        values: Vec<SysctlValue>,
    },
    /// What all services count together, the deleted ones included (`/proc/net/ip_vs_stats`).
    Stats {
        /// Counters since the last `-Z` of everything.
        stats: Stats,
        /// Rates.
        rates: Rates,
    },
    /// The state of lbd and of its data path.
    Status(Status),
}

impl Response {
    /// Whether no further line of the same answer follows.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Services { .. } | Self::Connections { .. })
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Kind, from which the ipvsadm personality takes its text.
    pub kind: ErrorKind,
    /// What failed and why, lower case, no trailing period.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub hint: Option<String>,
}

/// Kinds of refusal, named by what ipvsadm's kernel errors mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A service of that key exists (EEXIST of -A).
    ServiceExists,
    /// The service does not exist (ESRCH).
    NoSuchService,
    /// A destination of that address exists (EEXIST of -a).
    DestinationExists,
    /// The destination does not exist (ENOENT of -e and -d).
    NoSuchDestination,
    /// There is no such mark rule.
    NoSuchRule,
    /// Unknown scheduler or persistence engine (ENOENT of -A and -E).
    NoSuchScheduler,
    /// A value the data path cannot take (EINVAL).
    Invalid,
    /// The lower threshold is above the upper one (ERANGE).
    OutOfRange,
    /// A table is full (ENOMEM).
    NoSpace,
    /// This version does not do it; the message says what to use instead (EOPNOTSUPP).
    Unsupported,
    /// The caller may not do it (EPERM).
    Permission,
    /// lbd itself failed; the message says at what.
    Internal,
}

/// Counters of a service or a destination since the last `-Z`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from real servers (NAT only).
    pub out_packets: u64,
    /// Bytes of IP from clients.
    pub in_bytes: u64,
    /// Bytes of IP from real servers (NAT only).
    pub out_bytes: u64,
}

/// Rates per second as the kernel's estimator computes them (ip_vs_est.c).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Connections per second.
    pub connections: u64,
    /// Packets per second from clients.
    pub in_packets: u64,
    /// Packets per second from real servers.
    pub out_packets: u64,
    /// Bytes per second from clients.
    pub in_bytes: u64,
    /// Bytes per second from real servers.
    pub out_bytes: u64,
}

/// How the next hop of a destination stands; in JSON its fields are the destination's own:
/// `"neighbour": "resolved", "mac": ...`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "neighbour")]
pub enum Neighbour {
    /// The director itself.
    Local,
    /// Known: frames go there.
    Resolved {
        /// MAC of the next hop, `02:00:00:00:00:11`.
        mac: String,
        /// The leaving interface.
        interface: String,
        /// The gateway, where the destination is not on link.
        gateway: Option<std::net::IpAddr>,
    },
    /// No MAC: no new connections go there.
    Unresolved {
        /// Why, in words.
        why: String,
    },
}

/// A service of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// As configured.
    pub service: ServiceSpec,
    /// Who owns it.
    pub owner: Owner,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
    /// Its destinations, newest first (the kernel's walk order).
    pub destinations: Vec<DestinationView>,
}

/// A destination of a listing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationView {
    /// As configured.
    pub destination: DestinationSpec,
    /// Who owns it.
    pub owner: Owner,
    /// Active connections (ipvs-semantics §5.3).
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// Whether it is over its upper threshold.
    pub overloaded: bool,
    /// Counters.
    pub stats: Stats,
    /// Rates.
    pub rates: Rates,
    /// Its next hop.
    #[serde(flatten)]
    pub neighbour: Neighbour,
}

/// A connection entry or persistence template of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Transport protocol; `None` for the template of a firewall mark (listed as `IP`).
    pub protocol: Option<Protocol>,
    /// Seconds until it expires.
    pub expires: u32,
    /// State as ipvsadm prints it: `ESTABLISHED`, `UDP`, `NONE`, `ASSURED`.
    pub state: String,
    /// Client address and port (port 0: template).
    pub client: SocketAddr,
    /// Virtual address and port (a template of a mark: the mark as an address).
    pub virtual_address: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Whether it is a persistence template.
    pub template: bool,
}

/// State of lbd and of its data path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Instance name.
    pub instance: String,
    /// Version of lbd.
    pub version: String,
    /// Process id of lbd.
    pub pid: u32,
    /// Whether every interface has the program attached.
    pub forwarding: bool,
    /// Interfaces.
    pub interfaces: Vec<InterfaceStatus>,
    /// Services and destinations in force.
    pub services: u32,
    /// Destinations in force.
    pub destinations: u32,
    /// Slots of the IPv4 connection table, and how many are in use.
    pub connections4: (u64, u64),
    /// Slots of the IPv6 connection table, and how many are in use.
    pub connections6: (u64, u64),
    /// Packets by reason, only those that are not 0.
    pub reasons: Vec<ReasonCount>,
    /// Virtual addresses that this host does not have and others answer for: a peer, or one that should not.
    #[serde(default)]
    pub answered_elsewhere: Vec<AnsweredElsewhere>,
    /// What an operator should look at, in words.
    pub warnings: Vec<String>,
}

/// One interface of the data path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// `xdp native` or `xdp generic`.
    pub mode: String,
    /// Kernel id of the attached program.
    pub program: u32,
}

/// A virtual address for which another host answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredElsewhere {
    /// The address.
    pub address: std::net::IpAddr,
    /// Who answers ARP or neighbour solicitations, `02:00:00:00:00:99`.
    pub mac: String,
    /// The interface by which it was asked.
    pub interface: String,
}

/// Packets counted for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Name of the reason.
    pub reason: String,
    /// Whether the packet was dropped (otherwise passed to the stack).
    pub drop: bool,
    /// Packets.
    pub packets: u64,
}
