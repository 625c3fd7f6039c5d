//! The daemon's walk over the tables (decision 5): expiry, counts.

use super::Maps;

/// The tables in mapped memory as `lb-common` works on them.
pub struct MappedTables<'a> {
    maps: &'a Maps,
}

/// What is left of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pass goes on: call again soon, after others had their turn.
    More,
    /// The pass is over.
    Done,
}

/// A destination whose counts did not fit its entries, and were mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// Destination id.
    pub destination: u32,
    /// How much the count of active connections was too high.
    pub active: i32,
    /// The same of inactive ones.
    pub inactive: i32,
    /// The same of templates.
    pub persistent: i32,
}

/// What a pass found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassStatistics {
    /// Slots in use in the IPv4 connection table, reply entries of NAT included.
    pub live4: u64,
    /// The same of IPv6.
    pub live6: u64,
    /// Live templates of both families.
    pub templates: u64,
    /// Entries and templates that were removed because their time was over.
    pub expired: u64,
    /// Counts that were mended.
    pub drift: Vec<Drift>,
}

/// A walk that goes round and round.
pub struct Sweeper {}

impl Sweeper {
    /// A walk from the beginning over `maps`.
    #[must_use]
    pub fn new(maps: &Maps) -> Self {
        let _ = maps;
        todo!()
    }

    /// Goes on for at most 2 ms; `now` in ticks ([`super::Clock::now`]).
    pub fn step(&mut self, maps: &Maps, now: u32) -> Step {
        let _ = (maps, now);
        todo!()
    }

    /// What the last whole pass found.
    #[must_use]
    pub fn statistics(&self) -> &PassStatistics {
        todo!()
    }
}
