//! TCP states as IPVS keeps them (net/netfilter/ipvs/ip_vs_proto_tcp.c: tcp_states, tcp_timeouts).
//!
//! The next state is one shift of a packed row: four bits a present state. Which of the two tables
//! for packets from clients is used depends on whether replies pass the director.

/// No state yet.
pub const NONE: u8 = 0;
/// ESTABLISHED.
pub const ESTABLISHED: u8 = 1;
/// SYN_SENT.
pub const SYN_SENT: u8 = 2;
/// SYN_RECV.
pub const SYN_RECV: u8 = 3;
/// FIN_WAIT.
pub const FIN_WAIT: u8 = 4;
/// TIME_WAIT.
pub const TIME_WAIT: u8 = 5;
/// CLOSE.
pub const CLOSE: u8 = 6;
/// CLOSE_WAIT.
pub const CLOSE_WAIT: u8 = 7;
/// LAST_ACK.
pub const LAST_ACK: u8 = 8;
/// LISTEN.
pub const LISTEN: u8 = 9;
/// SYNACK.
pub const SYNACK: u8 = 10;

/// Timeouts in seconds, by state.
pub const TIMEOUTS: [u32; 11] = [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120];

/// The word ipvsadm prints.
#[must_use]
pub const fn name(state: u8) -> &'static str {
    match state {
        NONE => "NONE",
        ESTABLISHED => "ESTABLISHED",
        SYN_SENT => "SYN_SENT",
        SYN_RECV => "SYN_RECV",
        FIN_WAIT => "FIN_WAIT",
        TIME_WAIT => "TIME_WAIT",
        CLOSE => "CLOSE",
        CLOSE_WAIT => "CLOSE_WAIT",
        LAST_ACK => "LAST_ACK",
        LISTEN => "LISTEN",
        SYNACK => "SYNACK",
        _ => "ERR!",
    }
}

/// Whether the state counts as active.
#[inline(always)]
#[must_use]
pub const fn is_active(state: u8) -> bool {
    matches!(state, ESTABLISHED | SYN_SENT | SYN_RECV | SYNACK)
}

/// Whether an entry in the state may be replaced: the client has not answered yet.
#[inline(always)]
#[must_use]
pub const fn is_weak(state: u8) -> bool {
    matches!(state, NONE | SYN_SENT | SYN_RECV | SYNACK)
}

/// Bits of the flags byte of a TCP header (RFC 9293 section 3.1).
pub mod flag {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;
}

/// Which way the segment goes, and whether replies are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client, replies are seen (NAT).
    Input,
    /// From the real server (NAT).
    Output,
    /// From the client, replies are never seen (DR, tunnel, Local).
    InputOnly,
}

const fn row(states: [u8; 11]) -> u64 {
    let mut packed = 0;
    let mut i = 0;
    while i < 11 {
        packed |= (states[i] as u64) << (4 * i);
        i += 1;
    }
    packed
}

const NO: u8 = NONE;
const ES: u8 = ESTABLISHED;
const SS: u8 = SYN_SENT;
const SR: u8 = SYN_RECV;
const FW: u8 = FIN_WAIT;
const TW: u8 = TIME_WAIT;
const CL: u8 = CLOSE;
const CW: u8 = CLOSE_WAIT;
const LA: u8 = LAST_ACK;
const LI: u8 = LISTEN;
const SA: u8 = SYNACK;

const INPUT_SYN: u64 = row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR]);
const INPUT_FIN: u64 = row([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW]);
const INPUT_ACK: u64 = row([ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES]);
const INPUT_RST: u64 = row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR]);
const OUTPUT_SYN: u64 = row([SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR]);
const OUTPUT_FIN: u64 = row([TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW]);
const OUTPUT_ACK: u64 = row([ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES]);
const OUTPUT_RST: u64 = row([CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL]);
const ONLY_FIN: u64 = row([CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW]);
const ONLY_RST: u64 = row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]);

// What `secure_tcp` has otherwise: a half-open connection stays SYNACK until the handshake is complete.
const SECURE_INPUT_SYN: u64 = row([SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA]);
const SECURE_INPUT_FIN: u64 = row([CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA]);
const SECURE_INPUT_ACK: u64 = row([ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA]);
const SECURE_INPUT_RST: u64 = row([CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL]);
const SECURE_OUTPUT_SYN: u64 = row([SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA]);
const SECURE_ONLY_SYN: u64 = row([SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA]);

/// The state after a segment with header flags `flags` (one event each: RST before SYN before FIN
/// before ACK; none of them closes).
#[inline(always)]
#[must_use]
pub const fn next(direction: Direction, flags: u8, state: u8) -> u8 {
    let only = matches!(direction, Direction::InputOnly);
    let output = matches!(direction, Direction::Output);
    let packed = if flags & flag::RST != 0 {
        if output {
            OUTPUT_RST
        } else if only {
            ONLY_RST
        } else {
            INPUT_RST
        }
    } else if flags & flag::SYN != 0 {
        if output { OUTPUT_SYN } else { INPUT_SYN }
    } else if flags & flag::FIN != 0 {
        if output {
            OUTPUT_FIN
        } else if only {
            ONLY_FIN
        } else {
            INPUT_FIN
        }
    } else if flags & flag::ACK != 0 {
        if output { OUTPUT_ACK } else { INPUT_ACK }
    } else {
        return CLOSE;
    };
    (packed >> (4 * (state & 15)) & 15) as u8
}

/// As [`next`] while `secure_tcp` is active (ip_vs_proto_tcp.c: tcp_states_dos).
#[inline(always)]
#[must_use]
pub const fn next_secure(direction: Direction, flags: u8, state: u8) -> u8 {
    let packed = match direction {
        Direction::Input if flags & flag::RST != 0 => SECURE_INPUT_RST,
        Direction::Input if flags & flag::SYN != 0 => SECURE_INPUT_SYN,
        Direction::Input if flags & flag::FIN != 0 => SECURE_INPUT_FIN,
        Direction::Input if flags & flag::ACK != 0 => SECURE_INPUT_ACK,
        Direction::Output if flags & (flag::RST | flag::SYN) == flag::SYN => SECURE_OUTPUT_SYN,
        Direction::InputOnly if flags & (flag::RST | flag::SYN) == flag::SYN => SECURE_ONLY_SYN,
        _ => return next(direction, flags, state),
    };
    (packed >> (4 * (state & 15)) & 15) as u8
}

/// Whether the segment leaves an established connection as it is, by all tables: nearly every segment does.
#[inline(always)]
#[must_use]
pub const fn is_steady(flags: u8, state: u8) -> bool {
    // One comparison for both.
    let others = (flags & (flag::RST | flag::SYN | flag::FIN | flag::ACK)) ^ flag::ACK;
    others | (state ^ ESTABLISHED) == 0
}

/// Whether the segment opens a connection.
#[inline(always)]
#[must_use]
pub const fn is_opener(flags: u8) -> bool {
    flags & (flag::SYN | flag::RST) == flag::SYN
}

// NO stands in the tables only as the state before the first packet.
const _: () = assert!(NO == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_segment_changes_nothing_by_any_table() {
        for flags in 0..=u8::MAX {
            for state in 0..=SYNACK {
                for direction in [Direction::Input, Direction::Output, Direction::InputOnly] {
                    let steady = is_steady(flags, state);
                    assert!(!steady || next(direction, flags, state) == state);
                    assert!(!steady || next_secure(direction, flags, state) == state);
                }
            }
        }
        assert!(is_steady(flag::ACK, ESTABLISHED) && !is_steady(0, ESTABLISHED));
    }
}
