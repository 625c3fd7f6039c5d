//! Connection life: protocol states, timeouts, what counts as active.

pub mod sctp;
pub mod tcp;
pub mod udp;

#[cfg(test)]
mod tests;

use crate::abi::{Settings, settings_flags};
use crate::family::Family;
use crate::parse::Packet;

pub use self::tcp::Direction;

/// IP protocol numbers that mean something to the director.
pub mod protocol {
    /// ICMP: errors about connections.
    pub const ICMP: u8 = 1;
    /// ICMPv6.
    pub const ICMP6: u8 = 58;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// Encapsulating Security Payload: has no connections of its own.
    pub const ESP: u8 = 50;
    /// Authentication Header: neither.
    pub const AH: u8 = 51;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// What connections of some protocols do. Two sets of them, because each packet of the common two would pay for the
/// others' questions; the compiler makes the code for each set.
pub trait Life {
    /// Whether TCP and UDP are all.
    const COMMON: bool;

    /// Whether packets of a protocol have the ports and the checksum of TCP and UDP.
    #[inline(always)]
    #[must_use]
    fn has_checksum(protocol: u8) -> bool {
        Self::COMMON || matches!(protocol, protocol::TCP | protocol::UDP)
    }

    /// The protocol of the connection that a packet belongs to: AH and ESP follow ISAKMP's.
    #[inline(always)]
    #[must_use]
    fn of_connection(protocol: u8) -> u8 {
        if !Self::COMMON && is_ipsec(protocol) { protocol::UDP } else { protocol }
    }
}

/// TCP and UDP.
#[derive(Debug, Clone, Copy)]
pub struct Common;

impl Life for Common {
    const COMMON: bool = true;
}

/// Every protocol.
#[derive(Debug, Clone, Copy)]
pub struct Every;

impl Life for Every {
    const COMMON: bool = false;
}

/// Whether packets of the protocol are but related to a connection: they change neither its state nor its timeout.
#[inline(always)]
#[must_use]
pub const fn is_ipsec(protocol: u8) -> bool {
    matches!(protocol, protocol::AH | protocol::ESP)
}

/// The state after a packet of the set `L`.
#[inline(always)]
#[must_use]
pub fn next<L: Life, F: Family>(
    settings: &Settings,
    packet: &Packet<F>,
    direction: Direction,
    state: u8,
) -> u8 {
    if packet.protocol == protocol::TCP {
        next_tcp(settings, direction, packet.tcp_flags, state)
    } else if !L::COMMON && packet.protocol == protocol::SCTP {
        sctp::next(direction, packet.sctp_event, state)
    } else {
        udp::MORE
    }
}

/// Whether a connection of `protocol` in `state` counts as active (ip_vs_proto_tcp.c:
/// tcp_state_active_table; ip_vs_proto_sctp.c: set_sctp_state); UDP never does.
#[inline(always)]
#[must_use]
pub const fn is_active(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => tcp::is_active(state),
        protocol::SCTP => sctp::is_active(state),
        _ => false,
    }
}

/// Whether an entry of `protocol` that changes to `state` may be replaced.
#[inline(always)]
#[must_use]
pub const fn is_weak(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => tcp::is_weak(state),
        protocol::SCTP => sctp::is_weak(state),
        _ => state == udp::ONE,
    }
}

/// Whether the state assures a connection's template.
#[inline(always)]
#[must_use]
pub const fn is_assuring(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::SCTP => state == sctp::ESTABLISHED,
        // Of UDP, whose replies need not be seen: more than one datagram.
        _ => state == tcp::ESTABLISHED,
    }
}

/// Whether a connection waits for the handshake to be completed: what `drop_entry` takes first (ip_vs_conn.c:
/// ip_vs_random_dropentry).
#[inline(always)]
#[must_use]
pub const fn is_half_open(protocol: u8, state: u8) -> bool {
    match protocol {
        protocol::TCP => matches!(state, tcp::SYN_RECV | tcp::SYNACK),
        protocol::SCTP => matches!(state, sctp::INIT1 | sctp::INIT),
        _ => false,
    }
}

/// The state of a TCP connection after a segment: by the table that `secure_tcp` asks for.
#[inline(always)]
#[must_use]
pub const fn next_tcp(settings: &Settings, direction: Direction, flags: u8, state: u8) -> u8 {
    if settings.flags & settings_flags::SECURE_TCP != 0 {
        return tcp::next_secure(direction, flags, state);
    }
    tcp::next(direction, flags, state)
}

/// Timeout of `state`, ticks.
#[inline(always)]
#[must_use]
pub const fn timeout(settings: &Settings, protocol: u8, state: u8) -> u32 {
    match protocol {
        // The mask keeps the index inside for the verifier; states are below it anyway.
        protocol::TCP => settings.tcp_timeouts[(state & 15) as usize],
        protocol::SCTP => settings.sctp_timeouts[(state & 15) as usize],
        _ => settings.udp_timeout,
    }
}

/// The word ipvsadm prints for a state.
#[must_use]
pub const fn state_name(protocol: u8, state: u8) -> &'static str {
    match protocol {
        protocol::TCP => tcp::name(state),
        protocol::UDP => "UDP",
        protocol::SCTP => sctp::name(state),
        _ => "NONE",
    }
}

// `is_assuring` takes the one for the other.
const _: () = assert!(udp::MORE == tcp::ESTABLISHED);
