//! What happens to a site, and when.

use lb_common::abi::{Hop, destination_flags, settings_flags};
use lb_common::testing::HostTables;

use super::site::hop;
use super::{Random, Site};

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A frame comes in by an interface.
    Frame {
        /// Its bytes.
        frame: Vec<u8>,
        /// Kernel index of the interface.
        ifindex: u32,
    },
    /// So many ticks pass without a frame.
    Pass(u32),
    /// A destination's weight changes, without its service being written anew.
    Weight(u32, u32),
    /// A destination's flags change: removed and added again.
    Flags(u32, u32),
    /// A destination's next hop changes.
    Hop(u32, Hop),
    /// Settings change: flags, reuse mode, route generation.
    Settings(u32, u32, u32),
}

impl Site {
    /// The next step.
    pub(crate) fn step(&self, random: &mut Random) -> Step {
        let some = (!self.members.is_empty()).then(|| random.one_of(&self.members));
        match (random.below(40), some) {
            (0 | 1, _) => {
                Step::Pass(random.one_of(&[1, 250, 2501, 250 * 61, 250 * 121, 250 * 301, 250 * 1000]))
            }
            (2, Some((id, _))) => Step::Weight(id, random.below(4)),
            (3, Some((id, _))) => {
                let flags = self.tables.destinations.get(id as usize).map_or(0, |d| d.flags);
                Step::Flags(id, flags ^ destination_flags::AVAILABLE)
            }
            (4, Some((id, _))) => Step::Hop(id, hop(random, id)),
            (5, _) => {
                let settings = self.tables.settings;
                let flags = settings.flags ^ random.one_of(&[0, settings_flags::SLOPPY_TCP]);
                Step::Settings(flags, random.below(4), settings.route_generation.wrapping_add(1))
            }
            (6..=8, _) => self.odd(random),
            (9..=17, _) => match self.reply(random) {
                Some(spec) => Step::Frame { frame: spec.build(), ifindex: 1 },
                None => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
            },
            _ => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
        }
    }

    /// What happens on the host. `Frame` is the caller's.
    pub(crate) fn apply(&mut self, step: &Step) {
        let destinations = &mut self.tables.destinations;
        match step {
            Step::Frame { .. } => {}
            Step::Pass(ticks) => age(&self.tables, *ticks),
            Step::Weight(id, weight) => {
                let destination = &mut destinations[*id as usize];
                destination.weight = *weight;
                if *weight != 0 {
                    destination.last_weight = *weight;
                }
            }
            Step::Flags(id, flags) => destinations[*id as usize].flags = *flags,
            Step::Hop(id, hop) => destinations[*id as usize].hop = *hop,
            Step::Settings(flags, reuse_mode, generation) => {
                let settings = &mut self.tables.settings;
                settings.flags = *flags;
                settings.reuse_mode = *reuse_mode;
                settings.route_generation = *generation;
            }
        }
    }
}

/// Makes every live entry older.
fn age(tables: &HostTables, ticks: u32) {
    tables.age_localities(ticks);
    for table in [&tables.connections4, &tables.templates4] {
        for (i, mut bucket) in (0..).zip(table.all()) {
            for way in &mut bucket.ways {
                way.last_seen = way.last_seen.wrapping_sub(ticks);
            }
            table.write(i, bucket).unwrap();
        }
    }
    for table in [&tables.connections6, &tables.templates6] {
        for (i, mut bucket) in (0..).zip(table.all()) {
            for way in &mut bucket.ways {
                way.last_seen = way.last_seen.wrapping_sub(ticks);
            }
            table.write(i, bucket).unwrap();
        }
    }
}
