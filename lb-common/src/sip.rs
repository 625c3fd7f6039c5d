//! Persistence engine `sip`: the Call-ID of a SIP message (RFC 3261 section 20.8), hashed.
//!
//! Messages of one call go to one destination. The kernel keeps the Call-ID with the template and compares it
//! (ip_vs_pe_sip.c: ip_vs_sip_ct_match); here a keyed hash of 64 bits stands for it, so that templates keep their size. A
//! million calls at a time share one by accident once in some ten million directors.

use crate::conn::protocol;
use crate::family::Family;
use crate::frame::Frame;
use crate::parse::{ETH_LEN, Packet};
use crate::tables::{Tables, Walk};

/// Number of the engine in [`crate::abi::Service::engine`].
pub const ENGINE: u8 = 1;

/// Bytes of payload that are looked at: those of a frame of the usual size, and more.
pub const MAX_PAYLOAD: u32 = 2048;

/// Bytes of a Call-ID at most (include/net/ip_vs.h: IP_VS_PEDATA_MAXLEN).
const MAX_LENGTH: u32 = 255;

/// Bytes of a UDP header.
const UDP_LEN: u32 = 8;

/// The hash of the Call-ID of a packet's payload, 0 where there is none. Not inlined: rare, and a stack frame of its own.
#[inline(never)]
pub(crate) fn call_id<F: Family, T: Tables, Fr: Frame>(
    tables: &T,
    frame: &Fr,
    packet: &Packet<F>,
    seed: &[u64; 4],
) -> u64 {
    if packet.protocol != protocol::UDP {
        return 0;
    }
    let at = packet.transport + UDP_LEN;
    let end = ETH_LEN + packet.length;
    let length = end.saturating_sub(at).min(MAX_PAYLOAD);
    if length == 0 || !tables.load_payload(frame, at, length) {
        return 0;
    }
    let mut scanner = Scanner::new(seed);
    tables.walk(length, &mut scanner);
    scanner.result()
}

/// Where the scanner is.
mod at {
    /// In a line that does not matter.
    pub(super) const LINE: u8 = 0;
    /// Behind the CR of such a line.
    pub(super) const CR: u8 = 1;
    /// At the beginning of a line.
    pub(super) const START: u8 = 2;
    /// In the long name.
    pub(super) const NAME: u8 = 3;
    /// Behind the name.
    pub(super) const COLON: u8 = 4;
    /// Before the value.
    pub(super) const LEAD: u8 = 5;
    /// Before the value, behind a CR.
    pub(super) const LEAD_CR: u8 = 6;
    /// Before the value, at the beginning of what must be a continuation line.
    pub(super) const FOLD: u8 = 7;
    /// In the value.
    pub(super) const VALUE: u8 = 8;
    /// In blanks behind the value.
    pub(super) const TAIL: u8 = 9;
    /// Found.
    pub(super) const FOUND: u8 = 10;
    /// Not to be found any more.
    pub(super) const MISSING: u8 = 11;
}

/// The long name, lower case: a byte a place from the lowest on. The compact one is `i` (RFC 3261 section 7.3.3).
const NAME: u64 = u64::from_le_bytes(*b"call-id\0");
const NAME_LENGTH: u32 = 7;

/// Reads a message byte by byte. A line ends with CR, LF or both, as the kernel takes it (RFC 2543).
#[derive(Debug, Clone, Copy)]
pub struct Scanner {
    hash: u64,
    first: u64,
    second: u64,
    /// Bytes of the name or of the value so far.
    length: u32,
    state: u8,
}

impl Scanner {
    /// A scanner at the beginning of a message, whose first line is no header; `seed` as [`crate::abi::Settings::seed`].
    #[must_use]
    #[inline(always)]
    pub const fn new(seed: &[u64; 4]) -> Self {
        let [a, b, c, _] = *seed;
        Self { hash: a, first: b, second: c, length: 0, state: at::LINE }
    }

    /// The hash of the Call-ID, 0 where it was not found.
    #[must_use]
    #[inline(always)]
    pub const fn result(&self) -> u64 {
        if self.state != at::FOUND {
            return 0;
        }
        let hash = (self.hash ^ self.hash >> 32).wrapping_mul(self.second);
        // 0 says that there is none.
        hash | ((hash == 0) as u64)
    }

    /// Takes the next byte; whether nothing more is of interest.
    #[inline(always)]
    pub const fn feed(&mut self, byte: u8) -> bool {
        let (blank, cr, lf) = (byte == b' ' || byte == b'\t', byte == b'\r', byte == b'\n');
        // Of a line that does not matter.
        let other = if cr {
            at::CR
        } else if lf {
            at::START
        } else {
            at::LINE
        };
        let lower = byte | 0x20;
        let mut state = self.state;
        if state == at::CR && !lf {
            // A CR alone ends a line as well.
            state = at::START;
        }
        self.state = match state {
            at::CR => at::START,
            at::START => {
                self.length = 1;
                if cr || lf {
                    // An empty line: the end of the headers.
                    at::MISSING
                } else if lower == b'c' {
                    at::NAME
                } else if lower == b'i' {
                    at::COLON
                } else {
                    at::LINE
                }
            }
            at::NAME => {
                let expected = (NAME >> ((self.length & 7) * 8)) as u8;
                self.length += 1;
                // The hyphen has the bit of lower case as well.
                if lower != expected || (expected == b'-' && byte != b'-') {
                    other
                } else if self.length == NAME_LENGTH {
                    at::COLON
                } else {
                    at::NAME
                }
            }
            at::COLON => {
                if byte == b':' {
                    at::LEAD
                } else if blank {
                    at::COLON
                } else {
                    other
                }
            }
            at::LEAD | at::LEAD_CR | at::FOLD => {
                if blank {
                    at::LEAD
                } else if lf && state != at::FOLD {
                    at::FOLD
                } else if cr && state == at::LEAD {
                    at::LEAD_CR
                } else if state == at::LEAD {
                    self.length = 0;
                    self.take(byte)
                } else {
                    at::MISSING
                }
            }
            at::VALUE | at::TAIL => {
                if cr || lf {
                    at::FOUND
                } else if blank {
                    at::TAIL
                } else if state == at::VALUE && self.length < MAX_LENGTH {
                    self.take(byte)
                } else {
                    at::MISSING
                }
            }
            at::LINE => other,
            done => done,
        };
        self.state >= at::FOUND
    }

    /// Takes a byte of the value into the hash; the state after it.
    #[inline(always)]
    const fn take(&mut self, byte: u8) -> u8 {
        self.length += 1;
        let hash = (self.hash ^ byte as u64).wrapping_mul(self.first);
        self.hash = hash ^ hash >> 32;
        at::VALUE
    }
}

impl Walk for Scanner {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        self.feed(tables.payload(i))
    }
}
