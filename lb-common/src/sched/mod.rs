//! Schedulers: which destination takes a new connection.
//!
//! Owns the list of schedulers and their names. [`select()`] is called by
//! [`crate::connect`] and [`crate::persist`]; user space builds the slots they walk.

mod locality;
mod mh;
mod select;
#[cfg(test)]
mod tests;
mod twos;

pub use self::select::{Subject, select, usable};

/// A scheduler, by the number stored in [`crate::abi::Service::scheduler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scheduler {
    /// Round robin.
    Rr = 0,
    /// Weighted round robin.
    Wrr = 1,
    /// Least connection.
    Lc = 2,
    /// Weighted least connection, the default of ipvsadm.
    Wlc = 3,
    /// Source hashing.
    Sh = 4,
    /// Destination hashing.
    Dh = 5,
    /// Weighted failover: the highest weight that is available.
    Fo = 6,
    /// Shortest expected delay.
    Sed = 7,
    /// Never queue.
    Nq = 8,
    /// Weighted overflow.
    Ovf = 9,
    /// Maglev hashing.
    Mh = 10,
    /// Locality-based least connection.
    Lblc = 11,
    /// Locality-based least connection with replication.
    Lblcr = 12,
    /// The better of two random choices.
    Twos = 13,
}

impl Scheduler {
    /// Every scheduler of this version.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Sh,
        Self::Dh,
        Self::Fo,
        Self::Sed,
        Self::Nq,
        Self::Ovf,
        Self::Mh,
        Self::Lblc,
        Self::Lblcr,
        Self::Twos,
    ];

    /// The name that `ipvsadm -s` takes and prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Fo => "fo",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Ovf => "ovf",
            Self::Mh => "mh",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Twos => "twos",
        }
    }

    /// The scheduler of a name, `None` where this version has none of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// The scheduler of a number read from a map.
    #[must_use]
    pub const fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            0 => Self::Rr,
            1 => Self::Wrr,
            2 => Self::Lc,
            3 => Self::Wlc,
            4 => Self::Sh,
            5 => Self::Dh,
            6 => Self::Fo,
            7 => Self::Sed,
            8 => Self::Nq,
            9 => Self::Ovf,
            10 => Self::Mh,
            11 => Self::Lblc,
            12 => Self::Lblcr,
            13 => Self::Twos,
            _ => return None,
        })
    }

    /// Whether its slots are the buckets of a hash table, [`HASH_SLOTS`] of sh and dh and as many as configured of mh;
    /// otherwise they are the destinations in walk order.
    #[must_use]
    pub const fn is_hash(self) -> bool {
        matches!(self, Self::Sh | Self::Dh | Self::Mh)
    }
}

/// Buckets of the tables of sh and dh (`IP_VS_SH_TAB_BITS`, `IP_VS_DH_TAB_BITS` = 8).
pub const HASH_SLOTS: u32 = 256;

/// Sizes that a table of mh can have, each the greatest prime below a power of two from 2^8 on, and what the kernel
/// calls their bits (ip_vs_mh.c: primes; Kconfig: `IP_VS_MH_TAB_INDEX`).
pub const MH_SIZES: [u32; 10] = [251, 509, 1021, 2039, 4093, 8191, 16_381, 32_749, 65_521, 131_071];

/// The size that the kernel is built with by default (`IP_VS_MH_TAB_INDEX` 12).
pub const MH_DEFAULT_SIZE: u32 = 4093;
