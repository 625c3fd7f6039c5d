//! Forwarding methods: how a packet reaches its destination.

mod apply;
mod encap;
mod inner;
mod mss;
mod through;
mod tunnel;

pub use self::apply::{Forwardable, address_frame, rewrite};
pub use self::inner::{Encapsulated, Inner};
pub use self::through::{Through, through};
pub use self::tunnel::{TunnelKind, most, overhead};

/// How a packet reaches a destination, by the number stored in [`crate::abi::Destination::method`]
/// (the kernel's `IP_VS_CONN_F_*` forwarding tags).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ForwardingMethod {
    /// Masquerading, NAT: `ipvsadm -m`, listed as `Masq`.
    Masq = 0,
    /// The director's own stack.
    Local = 1,
    /// Encapsulation: `ipvsadm -i`, listed as `Tunnel`.
    Tunnel = 2,
    /// Direct routing by MAC rewriting: `ipvsadm -g`, listed as `Route`.
    DirectRoute = 3,
    /// Onward by the routing table, without a destination (`cache_bypass`).
    Bypass = 4,
}

impl ForwardingMethod {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::Masq, Self::Local, Self::Tunnel, Self::DirectRoute, Self::Bypass];

    /// The word that ipvsadm lists.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Masq => "Masq",
            Self::Local => "Local",
            Self::Tunnel => "Tunnel",
            Self::DirectRoute => "Route",
            Self::Bypass => "Bypass",
        }
    }

    /// The method of a number read from a map.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Masq,
            1 => Self::Local,
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            4 => Self::Bypass,
            _ => return None,
        })
    }
}
