//! The daemon's walk over the tables (decision 5): takes away what is over, and counts what is there.
//!
//! Where settings say so it also takes away what is not over ([`defence`]).
//! Expiry is decided on lookup, so that a walk that comes late, or never, costs memory alone.

mod defence;

use std::time::Duration;

use lb_common::abi::{NONE, Settings, WAYS, connection_flags};
use lb_common::conn;
use lb_common::family::{Family, V4, V6};
use lb_common::flow_table::{self, Entry as _, Found, Word, gate};
use lb_common::leave::uncount;
use lb_common::tables::{Count, FlowTable, Store, View};

use self::defence::{Lottery, give_up, is_deserted};
use super::Maps;
use super::clock::monotonic;
use super::maps::Memory;
use super::recount::{Drift, Recount};
use super::tables::{MappedTables, removed};

/// How long a step takes at most.
const STEP: Duration = Duration::from_millis(2);
/// Buckets between two looks at the clock.
const BUCKETS_AT_ONCE: u32 = 64;
/// A reply entry without its forward entry is left alone so long: the pair is made in two steps.
const ORPHAN_SECONDS: u32 = 2;
/// Seconds by which a template with connections is extended (ip_vs_conn.c: ip_vs_conn_expire).
const EXTENSION_SECONDS: u32 = 60;

/// What is left of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The pass goes on: call again soon, after others had their turn.
    More,
    /// The pass is over; the next call begins another.
    Done,
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
    /// Connections and templates that were removed because their time was over.
    pub expired: u64,
    /// Connections and templates that were removed before: by `drop_entry`, or without destination.
    pub given_up: u64,
    /// Counts that were mended.
    pub drift: Vec<Drift>,
}

/// One of the four tables, in the order of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Stage {
    #[default]
    Connections4,
    Connections6,
    Templates4,
    Templates6,
}

impl Stage {
    /// The table after this one.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Connections4 => Some(Self::Connections6),
            Self::Connections6 => Some(Self::Templates4),
            Self::Templates4 => Some(Self::Templates6),
            Self::Templates6 => None,
        }
    }

    /// Its buckets.
    pub(super) const fn buckets(self, memory: &Memory) -> u32 {
        match self {
            Self::Connections4 => memory.connections4.len(),
            Self::Connections6 => memory.connections6.len(),
            Self::Templates4 => memory.templates4.len(),
            Self::Templates6 => memory.templates6.len(),
        }
    }
}

/// A walk that goes round and round.
#[derive(Default)]
pub struct Sweeper {
    /// Where the walk is; `None` between two passes.
    at: Option<(Stage, u32)>,
    pass: PassStatistics,
    last: PassStatistics,
    recount: Recount,
    lottery: Lottery,
}

impl Sweeper {
    /// A walk from the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on for at most 2 ms; `now` in ticks ([`super::Clock::now`]).
    pub fn step(&mut self, maps: &Maps, now: u32) -> Step {
        self.step_over(&maps.memory, now, |id| maps.packets(id))
    }

    /// As [`Self::step`], over the mapped part alone.
    fn step_over(&mut self, memory: &Memory, now: u32, packets: impl Fn(u32) -> Option<u64>) -> Step {
        let begun = monotonic();
        let tables = MappedTables::new(memory, now);
        let settings = tables.copied_settings();
        let (mut stage, mut bucket) = match self.at {
            Some(at) => at,
            None => {
                self.pass = PassStatistics::default();
                self.recount.begin(memory);
                self.lottery.begin(u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX));
                (Stage::default(), 0)
            }
        };
        loop {
            let end = bucket.saturating_add(BUCKETS_AT_ONCE).min(stage.buckets(memory));
            for index in bucket..end {
                self.bucket(&tables, &settings, stage, index, now);
            }
            bucket = end;
            if bucket >= stage.buckets(memory) {
                let Some(next) = stage.next() else { break };
                (stage, bucket) = (next, 0);
            }
            if monotonic().saturating_sub(begun) >= STEP {
                self.at = Some((stage, bucket));
                return Step::More;
            }
        }
        self.at = None;
        self.pass.drift = self.recount.end(&tables, memory, packets);
        self.last = std::mem::take(&mut self.pass);
        Step::Done
    }

    /// What the last whole pass found.
    #[must_use]
    pub const fn statistics(&self) -> &PassStatistics {
        &self.last
    }

    fn bucket(&mut self, tables: &MappedTables<'_>, settings: &Settings, stage: Stage, index: u32, now: u32) {
        let Self { pass, recount, lottery, .. } = self;
        let lottery = lottery.visits(settings, index).then_some(lottery);
        let (expired, given_up) = (&mut pass.expired, &mut pass.given_up);
        let mut visit = Visit { tables, settings, now, recount, lottery, expired, given_up };
        match stage {
            Stage::Connections4 => pass.live4 += visit.connections::<V4>(index),
            Stage::Connections6 => pass.live6 += visit.connections::<V6>(index),
            Stage::Templates4 => pass.templates += visit.templates::<V4>(index),
            Stage::Templates6 => pass.templates += visit.templates::<V6>(index),
        }
    }
}

/// The walk at one bucket.
struct Visit<'a, 't> {
    tables: &'a MappedTables<'t>,
    settings: &'a Settings,
    now: u32,
    recount: &'a mut Recount,
    /// Of a bucket that `drop_entry` looks at.
    lottery: Option<&'a mut Lottery>,
    expired: &'a mut u64,
    given_up: &'a mut u64,
}

/// The live entries of a bucket, with their ways.
pub(super) fn live<'t, F: Family>(
    tables: &MappedTables<'t>,
    table: FlowTable,
    index: u32,
) -> impl Iterator<Item = (u32, Found<<MappedTables<'t> as Store<F>>::Entry>)>
where
    MappedTables<'t>: Store<F>,
{
    let base = Store::<F>::bucket(tables, table, index);
    (0..WAYS).filter_map(move |way| {
        let entry = base?.way(way);
        let word = Word(entry.word());
        word.is_live().then_some((way, Found { entry, word }))
    })
}

impl<'t> Visit<'_, 't> {
    /// A bucket of connections; how many slots are in use by them afterwards. A pair of NAT counts where its
    /// forward entry is, because its reply entry goes with that.
    fn connections<F: Family>(&mut self, index: u32) -> u64
    where
        MappedTables<'t>: Store<F>,
    {
        let mut count = 0;
        for (way, found) in live::<F>(self.tables, FlowTable::Connections, index) {
            let slot = index * WAYS + way;
            count += if found.entry.flags() & connection_flags::REPLY != 0 {
                u64::from(!self.is_paired::<F>(found, slot) && !self.discard_orphan::<F>(found))
            } else if self.connection::<F>(found) {
                1 + u64::from(self.is_paired::<F>(found, slot))
            } else {
                0
            };
        }
        if count == 0 {
            self.forget_stateless::<F>(index);
        }
        count
    }

    /// Once a bucket is empty, no connection is taken to have gone on without an entry because it was full
    /// ([`lb_common::stateless`]).
    fn forget_stateless<F: Family>(&self, index: u32)
    where
        MappedTables<'t>: Store<F>,
    {
        if let Some(base) = Store::<F>::bucket(self.tables, FlowTable::Connections, index)
            && base.gate() & gate::STATELESS != 0
            && (0..WAYS).all(|way| Word(base.way(way).word()).is_free())
        {
            base.unmark_gate(gate::STATELESS);
        }
    }

    /// A connection's own entry: removed if its time is over, otherwise counted; whether it stays.
    fn connection<F: Family>(&mut self, found: Found<<MappedTables<'t> as Store<F>>::Entry>) -> bool
    where
        MappedTables<'t>: Store<F>,
    {
        let entry = found.entry;
        let (seen, timeout, destination) = (entry.last_seen(), entry.timeout(), entry.destination());
        let protocol = F::protocol(&entry.key());
        if !found.still() {
            // It changed hands just now: as young as an entry can be.
            return true;
        }
        if timeout != NONE
            && flow_table::expired(self.now, seen, timeout)
            && self.remove::<F>(FlowTable::Connections, found)
        {
            *self.expired += 1;
            return false;
        }
        let unlucky = self.lottery.as_mut().is_some_and(|lottery| {
            lottery.takes_connection(self.settings, self.now, protocol, found.word, seen)
        });
        if unlucky || is_deserted(self.tables, self.settings, destination) {
            let (gone, templates) = give_up::<F>(self.tables, self.settings, found);
            *self.given_up += u64::from(gone) + templates;
            if gone {
                return false;
            }
        }
        let active = conn::is_active(protocol, found.word.state());
        self.recount.found(destination, if active { Count::Active } else { Count::Inactive });
        true
    }

    /// Whether an entry and its peer name each other.
    fn is_paired<F: Family>(&self, found: Found<<MappedTables<'t> as Store<F>>::Entry>, slot: u32) -> bool
    where
        MappedTables<'t>: Store<F>,
    {
        let view = View::<F, _>::new(self.tables, self.settings, FlowTable::Connections);
        let peer = flow_table::at(&view, found.entry.peer(), found.entry.peer_generation());
        peer.is_some_and(|peer| {
            peer.entry.peer() == slot && peer.entry.peer_generation() == found.word.generation()
        })
    }

    /// Takes away a reply entry without forward entry, which is in no count; whether that took place.
    fn discard_orphan<F: Family>(&self, found: Found<<MappedTables<'t> as Store<F>>::Entry>) -> bool
    where
        MappedTables<'t>: Store<F>,
    {
        let view = View::<F, _>::new(self.tables, self.settings, FlowTable::Connections);
        let grace = self.settings.hz.saturating_mul(ORPHAN_SECONDS);
        flow_table::expired(self.now, found.entry.last_seen(), grace)
            && found.still()
            && flow_table::discard(&view, found)
    }

    /// A bucket of templates; how many live ones it has afterwards.
    fn templates<F: Family>(&mut self, index: u32) -> u64
    where
        MappedTables<'t>: Store<F>,
    {
        let mut count = 0;
        for (_, found) in live::<F>(self.tables, FlowTable::Templates, index) {
            count += u64::from(self.template::<F>(found));
        }
        count
    }

    /// A template: extended while it has connections, removed when it has none and its time is over
    /// (ipvs-semantics section 6); whether it stays.
    fn template<F: Family>(&mut self, found: Found<<MappedTables<'t> as Store<F>>::Entry>) -> bool
    where
        MappedTables<'t>: Store<F>,
    {
        let entry = found.entry;
        let (seen, timeout, destination) = (entry.last_seen(), entry.timeout(), entry.destination());
        let children = entry.mark();
        if !found.still() {
            return true;
        }
        if flow_table::expired(self.now, seen, timeout) {
            if children == 0 {
                if self.remove::<F>(FlowTable::Templates, found) {
                    *self.expired += 1;
                    return false;
                }
            } else if entry.last_seen() == seen {
                entry.set_last_seen(self.now);
                entry.set_timeout(self.settings.hz.saturating_mul(EXTENSION_SECONDS));
            }
        }
        let flags = entry.flags();
        let given_up = children == 0
            && (is_deserted(self.tables, self.settings, destination)
                || self.lottery.as_mut().is_some_and(|lottery| {
                    lottery.takes_template(self.settings, self.now, found.word, flags, seen)
                }));
        if given_up && self.remove::<F>(FlowTable::Templates, found) {
            *self.given_up += 1;
            return false;
        }
        self.recount.found(destination, Count::Persistent);
        true
    }

    /// Removes an entry and takes it off every count; whether that took place.
    fn remove<F: Family>(
        &mut self,
        table: FlowTable,
        found: Found<<MappedTables<'t> as Store<F>>::Entry>,
    ) -> bool
    where
        MappedTables<'t>: Store<F>,
    {
        let view = View::<F, _>::new(self.tables, self.settings, table);
        let mut gone = removed::<F>();
        if !flow_table::remove(&view, found, &mut gone) {
            return false;
        }
        uncount::<F, _>(self.tables, self.settings, &gone);
        true
    }
}

#[cfg(test)]
mod tests;
