//! SCTP states as IPVS keeps them (net/netfilter/ipvs/ip_vs_proto_sctp.c: sctp_states, sctp_timeouts).
//!
//! The event of a packet is the type of its first chunk. The next state is one shift of a packed row, as in
//! [`super::tcp`]. Several addresses of one association are not understood: each path is a connection of its own.

use super::Direction;

/// No state yet.
pub const NONE: u8 = 0;
/// The client's first INIT.
pub const INIT1: u8 = 1;
/// Its second and later ones.
pub const INIT: u8 = 2;
/// The server's INIT ACK was seen.
pub const COOKIE_SENT: u8 = 3;
/// The client's COOKIE ECHO was seen.
pub const COOKIE_REPLIED: u8 = 4;
/// The server's INIT was seen.
pub const COOKIE_WAIT: u8 = 5;
/// The client's INIT ACK was seen.
pub const COOKIE: u8 = 6;
/// The server's COOKIE ECHO was seen.
pub const COOKIE_ECHOED: u8 = 7;
/// ESTABLISHED.
pub const ESTABLISHED: u8 = 8;
/// The server's SHUTDOWN was seen.
pub const SHUTDOWN_SENT: u8 = 9;
/// The client's SHUTDOWN was seen.
pub const SHUTDOWN_RECEIVED: u8 = 10;
/// The server's SHUTDOWN ACK was seen.
pub const SHUTDOWN_ACK_SENT: u8 = 11;
/// ABORT in answer to an INIT.
pub const REJECTED: u8 = 12;
/// CLOSED.
pub const CLOSED: u8 = 13;

/// Timeouts in seconds, by state.
pub const TIMEOUTS: [u32; 14] = [2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61];

/// The word ipvsadm prints.
#[must_use]
pub const fn name(state: u8) -> &'static str {
    match state {
        NONE => "NONE",
        INIT1 => "INIT1",
        INIT => "INIT",
        COOKIE_SENT => "C-SENT",
        COOKIE_REPLIED => "C-REPLIED",
        COOKIE_WAIT => "C-WAIT",
        COOKIE => "COOKIE",
        COOKIE_ECHOED => "C-ECHOED",
        ESTABLISHED => "ESTABLISHED",
        SHUTDOWN_SENT => "S-SENT",
        SHUTDOWN_RECEIVED => "S-RECEIVED",
        SHUTDOWN_ACK_SENT => "S-ACK-SENT",
        REJECTED => "REJECTED",
        CLOSED => "CLOSED",
        _ => "ERR!",
    }
}

/// Whether the state counts as active.
#[inline(always)]
#[must_use]
pub const fn is_active(state: u8) -> bool {
    state == ESTABLISHED
}

/// Whether an entry in the state may be replaced: nobody has answered the client yet, or it has not gone on.
#[inline(always)]
#[must_use]
pub const fn is_weak(state: u8) -> bool {
    state <= INIT
}

/// Types of chunks (RFC 9260 section 3.2).
pub mod chunk {
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// INIT ACK.
    pub const INIT_ACK: u8 = 2;
    /// Ends one at once.
    pub const ABORT: u8 = 6;
    /// SHUTDOWN.
    pub const SHUTDOWN: u8 = 7;
    /// SHUTDOWN ACK.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// ERROR.
    pub const ERROR: u8 = 9;
    /// COOKIE ECHO.
    pub const COOKIE_ECHO: u8 = 10;
    /// COOKIE ACK.
    pub const COOKIE_ACK: u8 = 11;
    /// SHUTDOWN COMPLETE.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// An event: the first chunk is a cookie's, and the one behind it ABORT. Such a packet counts as ABORT, but where
/// `sloppy_sctp` asks whether it may open a connection the kernel looks at the first chunk alone.
pub const ABORTED_COOKIE: u8 = 0x80;

/// The event of a packet by the type of its first chunk.
#[inline(always)]
#[must_use]
pub const fn event(first: u8) -> u8 {
    // What is not known counts as data.
    if first > chunk::SHUTDOWN_COMPLETE { 0 } else { first }
}

/// Whether the second chunk matters as well.
#[inline(always)]
#[must_use]
pub const fn is_cookie(event: u8) -> bool {
    event == chunk::COOKIE_ECHO || event == chunk::COOKIE_ACK
}

const fn row(states: [u8; 14]) -> u64 {
    let mut packed = 0;
    let mut i = 0;
    while i < 14 {
        packed |= (states[i] as u64) << (4 * i);
        i += 1;
    }
    packed
}

/// Rows of the tables; the columns are the present state.
#[rustfmt::skip]
mod rows {
    use super::{
        CLOSED as CL, COOKIE as CO, COOKIE_ECHOED as CE, COOKIE_REPLIED as CR, COOKIE_SENT as CS,
        COOKIE_WAIT as CW, ESTABLISHED as ES, INIT as IN, INIT1 as I1, REJECTED as RJ,
        SHUTDOWN_ACK_SENT as SA, SHUTDOWN_RECEIVED as SR, SHUTDOWN_SENT as SS, row,
    };

    pub(super) const INPUT: [u64; 10] = [
        row([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN]),
        row([CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL]),
        row([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
        row([CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL]),
        row([CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL]),
        row([CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL]),
        row([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
    ];
    pub(super) const OUTPUT: [u64; 10] = [
        row([ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW]),
        row([CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL]),
        row([ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL]),
        row([SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL]),
        row([SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL]),
        row([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL]),
    ];
    pub(super) const ONLY: [u64; 10] = [
        row([ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN]),
        row([CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL]),
        row([SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL]),
        row([CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL]),
        row([CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL]),
        row([CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL]),
        row([CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL]),
    ];
}

/// One row of each table, by direction. Constants, because an array would lie in a map of its own.
macro_rules! of {
    ($direction:expr, $n:literal) => {
        match $direction {
            Direction::Input => const { rows::INPUT[$n] },
            Direction::Output => const { rows::OUTPUT[$n] },
            Direction::InputOnly => const { rows::ONLY[$n] },
        }
    };
}

/// The state after a packet of the [`event`].
#[inline(always)]
#[must_use]
pub const fn next(direction: Direction, event: u8, state: u8) -> u8 {
    let packed = match event {
        chunk::INIT => of!(direction, 1),
        chunk::INIT_ACK => of!(direction, 2),
        chunk::COOKIE_ECHO => of!(direction, 3),
        chunk::COOKIE_ACK => of!(direction, 4),
        chunk::SHUTDOWN => of!(direction, 5),
        chunk::SHUTDOWN_ACK => of!(direction, 6),
        chunk::SHUTDOWN_COMPLETE => of!(direction, 7),
        chunk::ERROR => of!(direction, 8),
        chunk::ABORT | ABORTED_COOKIE => of!(direction, 9),
        // Data, its acknowledgement, heartbeats and congestion.
        _ => of!(direction, 0),
    };
    (packed >> (4 * (state & 15)) & 15) as u8
}

/// Whether a packet of the event opens an association.
#[inline(always)]
#[must_use]
pub const fn is_opener(event: u8) -> bool {
    event == chunk::INIT
}

/// Whether a packet of the event may have a connection made for it (`sloppy_sctp`: any but an ABORT).
#[inline(always)]
#[must_use]
pub const fn may_open(event: u8, sloppy: bool) -> bool {
    is_opener(event) || sloppy && event != chunk::ABORT
}
