//! What the walk takes away before its time: entries that `drop_entry` gives up (ip_vs_conn.c:
//! ip_vs_random_dropentry), and connections without destination where `expire_nodest_conn` says so
//! (ip_vs_expire_nodest_conn_flush).

use lb_common::abi::{Settings, connection_flags, destination_flags, settings_flags};
use lb_common::conn::{self, protocol, tcp};
use lb_common::family::Family;
use lb_common::flow_table::{self, Entry as _, Found, Word};
use lb_common::leave::uncount;
use lb_common::persist;
use lb_common::tables::{FlowTable, Store, Tables as _, View};

use super::super::tables::{MappedTables, removed};

/// One bucket of so many is looked at in a pass, which is a second: the kernel's share of its chains.
const SHARE: u64 = 32;
/// Seconds that an entry is quiet before the lottery takes part in it.
const QUIET: u32 = 60;
/// From so many minutes of quiet on every entry is taken; after m minutes one of (9 - m).
const MINUTES: u32 = 8;

/// Which entries a pass gives up.
///
/// The kernel's lottery goes by the packets of a connection so far: of those with i packets, 1 to 8, it takes every
/// i-th, and none with more. We do not count packets of connections, so ours goes by how long nothing came: of those
/// quiet for m minutes every (9 - m)-th, and a UDP entry that has seen one datagram always.
#[derive(Debug, Default)]
pub(super) struct Lottery {
    /// Chooses the buckets of this pass.
    salt: u64,
    /// Candidates passed over since the last that was taken, by what every how-manieth is taken.
    passed: [u32; MINUTES as usize + 1],
}

impl Lottery {
    /// Another pass chooses other buckets.
    pub(super) fn begin(&mut self, chance: u64) {
        self.salt = mix(self.salt ^ chance);
    }

    /// Whether the bucket is one of this pass's share.
    pub(super) fn visits(&self, settings: &Settings, index: u32) -> bool {
        // 2 is 1 while memory is short, 3 is always.
        settings.drop_entry >= 2 && mix(self.salt ^ u64::from(index)).is_multiple_of(SHARE)
    }

    /// Whether a connection is given up.
    pub(super) fn takes_connection(
        &mut self,
        settings: &Settings,
        now: u32,
        protocol: u8,
        word: Word,
        last_seen: u32,
    ) -> bool {
        let state = word.state();
        if conn::is_half_open(protocol, state) {
            return true;
        }
        if protocol == protocol::TCP && state != tcp::ESTABLISHED {
            // It ends by itself soon.
            return false;
        }
        self.draws(settings, now, last_seen, protocol == protocol::UDP && word.has(Word::WEAK))
    }

    /// Whether a template without connections is given up.
    pub(super) fn takes_template(
        &mut self,
        settings: &Settings,
        now: u32,
        word: Word,
        flags: u16,
        last_seen: u32,
    ) -> bool {
        if flags & connection_flags::ONE_PACKET != 0 {
            // It never has any, and so is never assured.
            return self.draws(settings, now, last_seen, false);
        }
        word.state() != persist::state::ASSURED
    }

    fn draws(&mut self, settings: &Settings, now: u32, last_seen: u32, single: bool) -> bool {
        let second = settings.hz.max(1);
        let minutes = now.wrapping_sub(last_seen) / second / QUIET;
        // A tick that was taken on another CPU may lie ahead of ours.
        if minutes == 0 || !flow_table::expired(now, last_seen, 0) {
            return false;
        }
        let every = if single { 1 } else { (MINUTES + 1).saturating_sub(minutes).max(1) };
        let Some(passed) = self.passed.get_mut(every as usize) else { return false };
        *passed += 1;
        if *passed < every {
            return false;
        }
        *passed = 0;
        true
    }
}

/// Scatters the bits of a number (SplitMix64).
const fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Whether an entry's destination was removed and its connections are to go with it.
pub(super) fn is_deserted(tables: &MappedTables<'_>, settings: &Settings, destination: u32) -> bool {
    settings.flags & settings_flags::EXPIRE_NODEST != 0
        && tables.destination(destination).is_some_and(|d| d.flags & destination_flags::AVAILABLE == 0)
}

/// Ends a connection before its time, with its template where that has no other and is not assured; whether that
/// took place, and how many templates went.
pub(super) fn give_up<'t, F: Family>(
    tables: &MappedTables<'t>,
    settings: &Settings,
    found: Found<<MappedTables<'t> as Store<F>>::Entry>,
) -> (bool, u64)
where
    MappedTables<'t>: Store<F>,
{
    let view = View::<F, _>::new(tables, settings, FlowTable::Connections);
    let mut gone = removed::<F>();
    if !flow_table::remove(&view, found, &mut gone) {
        return (false, 0);
    }
    uncount::<F, _>(tables, settings, &gone);
    if gone.flags & connection_flags::CONTROLLED == 0 {
        return (true, 0);
    }
    let view = View::<F, _>::new(tables, settings, FlowTable::Templates);
    let (slot, generation) = (gone.link as u32, (gone.link >> 32) as u16);
    let idle = flow_table::at(&view, slot, generation)
        .filter(|t| t.entry.mark() == 0 && t.word.state() != persist::state::ASSURED);
    let Some(template) = idle else { return (true, 0) };
    if !flow_table::remove(&view, template, &mut gone) {
        return (true, 0);
    }
    uncount::<F, _>(tables, settings, &gone);
    (true, 1)
}
