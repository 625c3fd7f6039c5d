//! Interfaces.

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Up, with carrier.
    Up,
    /// Set down, or without carrier.
    Down,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Kernel index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// MAC; `None` where frames of it have none (loopback, tun).
    pub mac: Option<[u8; 6]>,
    /// MTU, bytes of IP.
    pub mtu: u32,
    /// Whether frames can pass.
    pub state: LinkState,
}
