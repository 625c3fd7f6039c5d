//! Virtual services and their destinations.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{ForwardingMethod, Scheduler};

/// A transport protocol that is balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP, IP protocol 6.
    Tcp,
    /// UDP, IP protocol 17.
    Udp,
    /// SCTP, IP protocol 132.
    Sctp,
}

impl Protocol {
    /// The IP protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol of an IP protocol number.
    #[must_use]
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A firewall mark that is balanced, with the address family of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fwmark {
    /// The mark, not 0.
    pub mark: u32,
    /// Whether the packets are IPv6.
    pub ipv6: bool,
}

/// What a virtual service is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKey {
    /// Protocol, virtual address and port; port 0 is every port (persistent services only).
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address and port.
        address: SocketAddr,
    },
    /// A firewall mark.
    Fwmark(Fwmark),
}

impl ServiceKey {
    /// Whether its clients speak IPv6.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        match self {
            Self::Address { address, .. } => address.is_ipv6(),
            Self::Fwmark(f) => f.ipv6,
        }
    }

    /// The port of the service, 0 for a firewall mark.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address { address, .. } => address.port(),
            Self::Fwmark(_) => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// As in error messages: `192.0.2.1:80/tcp`, `fwmark 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{address}/{protocol}"),
            Self::Fwmark(Fwmark { mark, ipv6: false }) => write!(f, "fwmark {mark}"),
            Self::Fwmark(Fwmark { mark, ipv6: true }) => write!(f, "fwmark {mark} IPv6"),
        }
    }
}

/// Which part of a client's address a persistence template keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Netmask {
    /// IPv4 mask in host order; need not be contiguous (ipvsadm takes any).
    V4(u32),
    /// IPv6 prefix length, 1 to 128.
    V6(u8),
}

/// Persistence of a virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds after the last new connection, 1 to 2,678,400; ipvsadm's default is 360.
    pub timeout: u32,
}

/// Scheduler flags of `ipvsadm -b` (the kernel's `IP_VS_SVC_F_SCHED1` to `SCHED3`, bits 0 to 2 here).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchedulerFlags(pub u8);

impl SchedulerFlags {
    /// flag-1: `sh-fallback`, `mh-fallback`.
    pub const FALLBACK: u8 = 1;
    /// flag-2: `sh-port`, `mh-port`.
    pub const PORT: u8 = 2;
    /// flag-3.
    pub const FLAG3: u8 = 4;
}

/// A virtual service as configured. `-E` replaces all of it but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// What it is known by.
    pub key: ServiceKey,
    /// The scheduler.
    #[serde(with = "super::names::scheduler")]
    pub scheduler: Scheduler,
    /// Scheduler flags.
    #[serde(default)]
    pub flags: SchedulerFlags,
    /// Persistence, `None` where the service has none.
    #[serde(default)]
    pub persistence: Option<Persistence>,
    /// Netmask of persistence; kept, without effect, where there is none (as the kernel does).
    pub netmask: Netmask,
    /// One-packet scheduling.
    #[serde(default)]
    pub one_packet: bool,
    /// Persistence engine (`sip`).
    #[serde(default)]
    pub persistence_engine: Option<String>,
    /// Size of the table of mh, one of [`lb_common::sched::MH_SIZES`]; `None`: the director's default. Only of mh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mh_table_size: Option<u32>,
}

/// Address and port of a destination; port 0 keeps the packet's own port.
pub type DestinationAddress = SocketAddr;

/// Encapsulation of a tunnel destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tunnel {
    /// Kind of encapsulation.
    pub kind: TunnelKind,
    /// UDP port of GUE, 0 otherwise.
    pub port: u16,
    /// Checksum variant.
    pub checksum: TunnelChecksum,
}

/// Kind of encapsulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
}

/// Checksum variant of an encapsulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelChecksum {
    /// None, the default.
    None,
    /// `--tun-csum`.
    Checksum,
    /// `--tun-remcsum`.
    Remote,
}

/// A destination (real server) of a virtual service as configured. `-e` replaces all of it but the address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationSpec {
    /// Address and port.
    pub address: DestinationAddress,
    /// Forwarding method.
    #[serde(with = "super::names::method")]
    pub method: ForwardingMethod,
    /// Weight, 0 to 65,535; 0 quiesces.
    pub weight: u32,
    /// Upper threshold on all its connections, 0 for none.
    #[serde(default)]
    pub upper: u32,
    /// Lower threshold, 0 for three quarters of the upper one.
    #[serde(default)]
    pub lower: u32,
    /// Encapsulation, only with [`ForwardingMethod::Tunnel`].
    #[serde(default)]
    pub tunnel: Option<Tunnel>,
}

/// Who put a rule there (decision 14): a reload changes only what the configuration owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The configuration file.
    Configuration,
    /// An operator's command.
    Operator,
}

/// The three timeouts of `ipvsadm --set`, seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP ESTABLISHED.
    pub tcp: u32,
    /// TCP FIN_WAIT.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Default for Timeouts {
    /// The kernel's defaults (ip_vs_proto_tcp.c, ip_vs_proto_udp.c).
    fn default() -> Self {
        Self { tcp: 900, tcp_fin: 120, udp: 300 }
    }
}
