//! Connection life: protocol states, timeouts, what counts as active.

pub mod tcp;
pub mod udp;

#[cfg(test)]
mod tests;

use crate::abi::{Settings, settings_flags};

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
}

/// Whether a connection of `protocol` in `state` counts as active (ip_vs_proto_tcp.c:
/// tcp_state_active_table); UDP never does.
#[inline(always)]
#[must_use]
pub const fn is_active(protocol: u8, state: u8) -> bool {
    protocol == protocol::TCP && tcp::is_active(state)
}

/// Whether a connection waits for the handshake to be completed: what `drop_entry` takes first (ip_vs_conn.c:
/// ip_vs_random_dropentry).
#[inline(always)]
#[must_use]
pub const fn is_half_open(protocol: u8, state: u8) -> bool {
    protocol == protocol::TCP && matches!(state, tcp::SYN_RECV | tcp::SYNACK)
}

/// The state of a TCP connection after a segment: by the table that `secure_tcp` asks for.
#[inline(always)]
#[must_use]
pub const fn next_tcp(settings: &Settings, direction: tcp::Direction, flags: u8, state: u8) -> u8 {
    if settings.flags & settings_flags::SECURE_TCP != 0 {
        return tcp::next_secure(direction, flags, state);
    }
    tcp::next(direction, flags, state)
}

/// Timeout of `state`, ticks.
#[inline(always)]
#[must_use]
pub const fn timeout(settings: &Settings, protocol: u8, state: u8) -> u32 {
    if protocol == protocol::TCP {
        // The mask keeps the index inside for the verifier; states are below it anyway.
        settings.tcp_timeouts[(state & 15) as usize]
    } else {
        settings.udp_timeout
    }
}

/// The word ipvsadm prints for a state.
#[must_use]
pub const fn state_name(protocol: u8, state: u8) -> &'static str {
    match protocol {
        protocol::TCP => tcp::name(state),
        protocol::UDP => "UDP",
        _ => "NONE",
    }
}
