//! What happens to a site, and when.

use lb_common::abi::{Hop, WAYS, connection_flags, destination_flags, settings_flags};
use lb_common::conn::{self, protocol, tcp};
use lb_common::flow_table::Word;
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
    /// A TCP connection, by table (4 or 6) and slot, is in another state.
    State(u8, u32, u8),
    /// A destination's weight changes, without its service being written anew.
    Weight(u32, u32),
    /// A destination's flags change: removed and added again.
    Flags(u32, u32),
    /// A destination's next hop changes.
    Hop(u32, Hop),
    /// Settings change: flags, reuse mode, route generation, drop rate.
    Settings(u32, u32, u32, u32),
}

impl Site {
    /// The next step.
    pub(crate) fn step(&self, random: &mut Random) -> Step {
        if self.crowded && !random.once_in(4) {
            return Step::Frame { frame: self.handshake(random).build(), ifindex: 1 };
        }
        let some = (!self.members.is_empty()).then(|| random.one_of(&self.members));
        match (random.below(40), some) {
            (0 | 1, _) => Step::Pass(self.pause(random)),
            (2, Some((id, _))) => Step::Weight(id, random.below(4)),
            (3, Some((id, _))) => {
                let flags = self.tables.destinations.get(id as usize).map_or(0, |d| d.flags);
                Step::Flags(id, flags ^ destination_flags::AVAILABLE)
            }
            (4, Some((id, _))) => Step::Hop(id, hop(random, id)),
            (5, _) => {
                let settings = self.tables.settings;
                let flags = settings.flags
                    ^ random.one_of(&[
                        0,
                        settings_flags::SLOPPY_TCP,
                        settings_flags::SECURE_TCP,
                        settings_flags::EXPIRE_NODEST,
                        settings_flags::EXPIRE_NODEST_UDP,
                    ]);
                let drop_rate = random.one_of(&[0, 0, settings.drop_rate, 1, 2, 5]);
                let generation = settings.route_generation.wrapping_add(1);
                Step::Settings(flags, random.below(4), generation, drop_rate)
            }
            (6, _) => state(&self.tables, random).unwrap_or_else(|| self.odd(random)),
            (7, _) => self.odd(random),
            (8 | 9, _) => self.error(random),
            (10..=17, _) => match self.reply(random) {
                Some(spec) => Step::Frame { frame: spec.build(), ifindex: 1 },
                None => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
            },
            _ => Step::Frame { frame: self.request(random).build(), ifindex: 1 },
        }
    }

    /// Ticks: of any order of magnitude, and a little less or more than something takes.
    fn pause(&self, random: &mut Random) -> u32 {
        let settings = &self.tables.settings;
        match random.below(3) {
            0 => random.one_of(&[1, 250, 2501, 250 * 61, 250 * 121, 250 * 301, 250 * 1000]),
            1 => {
                let most = 1 << random.below(19);
                1 + random.below(most)
            }
            _ => {
                let timeout = match random.below(4) {
                    0 => settings.udp_timeout,
                    1 => settings.minute,
                    _ => random.one_of(&settings.tcp_timeouts),
                };
                (timeout + random.below(4)).saturating_sub(2)
            }
        }
    }

    /// What happens on the host. `Frame` is the caller's.
    pub(crate) fn apply(&mut self, step: &Step) {
        let destinations = &mut self.tables.destinations;
        match step {
            Step::Frame { .. } => {}
            Step::Pass(ticks) => age(&self.tables, *ticks),
            Step::State(table, slot, state) => put_state(&self.tables, *table, *slot, *state),
            Step::Weight(id, weight) => {
                let destination = &mut destinations[*id as usize];
                destination.weight = *weight;
                if *weight != 0 {
                    destination.last_weight = *weight;
                }
            }
            Step::Flags(id, flags) => destinations[*id as usize].flags = *flags,
            Step::Hop(id, hop) => destinations[*id as usize].hop = *hop,
            Step::Settings(flags, reuse_mode, generation, drop_rate) => {
                let settings = &mut self.tables.settings;
                settings.flags = *flags;
                settings.reuse_mode = *reuse_mode;
                settings.route_generation = *generation;
                settings.drop_rate = *drop_rate;
            }
        }
    }
}

/// Another state for some TCP connection. Active stays active (ipvs-semantics section 5.3), so that no count changes.
fn state(tables: &HostTables, random: &mut Random) -> Option<Step> {
    const TCP: u8 = protocol::TCP;
    let of = |word: u32, flags: u16, protocol: u8| {
        Word(word).is_live() && flags & connection_flags::REPLY == 0 && protocol == TCP
    };
    let mut found = Vec::new();
    for (i, bucket) in (0..).zip(tables.connections4.all()) {
        let ways = (0..).zip(&bucket.ways).filter(|(_, c)| of(c.word, c.flags, (c.key.rest >> 32) as u8));
        found.extend(ways.map(|(way, c)| (4, i * WAYS + way, Word(c.word).state())));
    }
    for (i, bucket) in (0..).zip(tables.connections6.all()) {
        let ways = (0..).zip(&bucket.ways).filter(|(_, c)| of(c.word, c.flags, (c.key.rest >> 32) as u8));
        found.extend(ways.map(|(way, c)| (6, i * WAYS + way, Word(c.word).state())));
    }
    if found.is_empty() {
        return None;
    }
    let (table, slot, old) = random.one_of(&found);
    let like = |state: &u8| conn::is_active(TCP, *state) == conn::is_active(TCP, old);
    let states: Vec<u8> = (tcp::NONE..=tcp::SYNACK).filter(like).collect();
    Some(Step::State(table, slot, random.one_of(&states)))
}

fn put_state(tables: &HostTables, table: u8, slot: u32, state: u8) {
    let (index, way) = (slot / WAYS, (slot % WAYS) as usize);
    let word = |old: u32| {
        let word = Word(old).with_state(state).without(Word::WEAK);
        if tcp::is_weak(state) { word.0 | Word::WEAK } else { word.0 }
    };
    let timeout = conn::timeout(&tables.settings, protocol::TCP, state);
    if table == 4 {
        let mut bucket = tables.connections4.read(index).unwrap();
        let entry = &mut bucket.ways[way];
        (entry.word, entry.timeout) = (word(entry.word), timeout);
        tables.connections4.write(index, bucket).unwrap();
    } else {
        let mut bucket = tables.connections6.read(index).unwrap();
        let entry = &mut bucket.ways[way];
        (entry.word, entry.timeout) = (word(entry.word), timeout);
        tables.connections6.write(index, bucket).unwrap();
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
