//! Holds the counts of destinations to the entries that are there, and mends what does not fit.
//!
//! Counts drift when a process ends between removing an entry and counting it, never otherwise. A
//! difference is mended only where two passes found it, and neither a count nor a packet of the
//! destination came between: what changes is left for a quieter pass.

use std::collections::HashMap;

use lb_common::abi::Counts;
use lb_common::tables::{Count, Tables};

use super::maps::Memory;
use super::tables::MappedTables;

/// A destination whose counts did not fit its entries, and were mended: how much each was too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// Destination id.
    pub destination: u32,
    /// Active connections.
    pub active: i32,
    /// Inactive connections.
    pub inactive: i32,
    /// Templates.
    pub persistent: i32,
}

/// Active, inactive, persistent.
type Numbers = [u32; 3];

/// A difference that was seen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Suspicion {
    counts: Numbers,
    found: Numbers,
    /// Packets of the destination so far.
    packets: u64,
}

/// The recount of one pass, and what the last one found.
#[derive(Debug, Default)]
pub(super) struct Recount {
    /// Counts when the pass began.
    before: Vec<Numbers>,
    /// Entries found in the pass.
    found: Vec<Numbers>,
    suspicions: HashMap<u32, Suspicion>,
}

impl Recount {
    /// A pass begins.
    pub(super) fn begin(&mut self, memory: &Memory) {
        self.before.clear();
        self.before.extend((0..memory.counts.len()).map(|id| numbers(memory, id)));
        self.found.clear();
        self.found.resize(self.before.len(), Numbers::default());
    }

    /// An entry of a destination was found.
    pub(super) fn found(&mut self, destination: u32, which: Count) {
        if let Some([active, inactive, persistent]) = self.found.get_mut(destination as usize) {
            *match which {
                Count::Active => active,
                Count::Inactive => inactive,
                Count::Persistent => persistent,
            } += 1;
        }
    }

    /// The pass is over: mends what is certain. `packets` says how many packets a destination had so
    /// far; nothing of it is mended where it cannot.
    pub(super) fn end(
        &mut self,
        tables: &MappedTables<'_>,
        memory: &Memory,
        packets: impl Fn(u32) -> Option<u64>,
    ) -> Vec<Drift> {
        let earlier = std::mem::take(&mut self.suspicions);
        let mut drift = Vec::new();
        for ((id, before), found) in (0u32..).zip(&self.before).zip(&self.found) {
            let counts = numbers(memory, id);
            if counts != *before || counts == *found {
                continue;
            }
            let Some(packets) = packets(id) else { continue };
            let suspicion = Suspicion { counts, found: *found, packets };
            if earlier.get(&id) != Some(&suspicion) {
                self.suspicions.insert(id, suspicion);
                continue;
            }
            drift.push(mend(tables, memory, id, counts, *found));
        }
        drift
    }
}

/// The counts of a destination.
fn numbers(memory: &Memory, id: u32) -> Numbers {
    let Counts { active, inactive, persistent, .. } = memory.counts.read(id).unwrap_or_default();
    [active, inactive, persistent]
}

/// Adds the difference: right also where a packet counts at this moment.
fn mend(tables: &MappedTables<'_>, memory: &Memory, id: u32, counts: Numbers, found: Numbers) -> Drift {
    let mut differences = [0; 3];
    let which = [Count::Active, Count::Inactive, Count::Persistent];
    for (((which, count), found), difference) in
        which.into_iter().zip(counts).zip(found).zip(&mut differences)
    {
        *difference = count.wrapping_sub(found).cast_signed();
        if count != found {
            tables.add_count(id, which, found.wrapping_sub(count));
        }
    }
    if let Some(destination) = memory.destinations.read(id) {
        memory.evaluate_overload(id, &destination);
    }
    let [active, inactive, persistent] = differences;
    Drift { destination: id, active, inactive, persistent }
}
