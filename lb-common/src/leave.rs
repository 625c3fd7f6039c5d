//! The end of connections and templates: off the table, and off every count.

use crate::abi::{Settings, connection_flags};
use crate::conn;
use crate::family::Family;
use crate::flow_table::{self, Found, Removed};
use crate::persist;
use crate::tables::{Count, FlowTable, Store, Tables, View};

/// Removes a connection, with its reply entry and from every count.
#[inline(always)]
pub fn end<F: Family, T: Store<F>>(tables: &T, settings: &Settings, found: Found<T::Entry>) {
    let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
    let Some(mut room) = tables.scratch() else { return };
    if flow_table::remove(&view, found, &mut room.room.removed) {
        uncount::<F, T>(tables, settings, &room.room.removed);
    }
}

/// Takes a removed connection or template off its destination's counts; whoever removed it calls
/// this once. Not inlined: rare, and large.
#[inline(never)]
pub fn uncount<F: Family, T: Store<F>>(tables: &T, settings: &Settings, removed: &Removed<F::Key>) -> u32 {
    if removed.flags & connection_flags::REPLY != 0 {
        return 0;
    }
    let id = removed.destination;
    if removed.flags & connection_flags::TEMPLATE != 0 {
        tables.add_count(id, Count::Persistent, u32::MAX);
        return 0;
    }
    let active = conn::is_active(F::protocol(&removed.key), removed.word.state());
    let total = tables.add_count(id, if active { Count::Active } else { Count::Inactive }, u32::MAX);
    if let Some(destination) = tables.destination(id) {
        relieve(tables, id, destination.upper, destination.lower, total);
    }
    if removed.flags & connection_flags::MASQ != 0 {
        let view = View::<F, T>::new(tables, settings, FlowTable::Connections);
        if let Some(reply) = flow_table::at(&view, removed.peer, removed.peer_generation) {
            flow_table::discard(&view, reply);
        }
    }
    if removed.flags & connection_flags::CONTROLLED != 0 {
        persist::add_child::<F, T>(tables, settings, removed.link, u32::MAX);
    }
    0
}

/// Takes the overload mark off below the lower threshold, or three quarters of the upper one (ip_vs_ctl.c:
/// ip_vs_dest_update_overload).
#[inline(always)]
fn relieve<T: Tables>(tables: &T, id: u32, upper: u32, lower: u32, total: u32) {
    if upper == 0 {
        return;
    }
    let limit = if lower != 0 { lower } else { upper - upper / 4 };
    if total < limit {
        tables.set_overload(id, false);
    }
}
