//! Removed destinations: they stay while connections may refer to them, and come back with them
//! (ip_vs_ctl.c: __ip_vs_del_dest, ip_vs_trash_get_dest, ip_vs_dest_trash_expire).

use std::time::Duration;

use super::Director;
use super::check::refuse;
use super::counters::raw;
use super::state::Live;
use crate::api::{ErrorKind, Refusal};

/// How long a removed destination stays at least (IP_VS_DEST_TRASH_PERIOD).
pub(super) const TRASH_PERIOD: Duration = Duration::from_secs(120);

impl Director {
    /// Makes a destination trash. Its service's list is the caller's.
    pub(super) fn discard<L: Live>(&mut self, live: &L, id: u32, now: Duration) {
        let Some(d) = self.destinations.get_mut(&id) else { return };
        d.removed_at = Some(now);
        d.left = raw(live, id);
        d.orphan = !self.services.contains_key(&d.service);
        let (service, address) = (d.service, d.spec.address);
        self.trash.insert((service, address), id);
        self.unwatch(address.ip(), id);
        self.touched.destinations.insert(id);
    }

    /// Forgets trash whose time is over and that no connection refers to.
    pub(super) fn expire_trash<L: Live>(&mut self, live: &L, now: Duration) {
        let over = |removed_at: Duration| now.saturating_sub(removed_at) >= TRASH_PERIOD;
        let ids: Vec<u32> = self
            .trash
            .values()
            .filter(|id| self.destinations.get(id).and_then(|d| d.removed_at).is_some_and(over))
            .filter(|id| is_idle(live, **id))
            .copied()
            .collect();
        for id in ids {
            self.free(id);
        }
    }

    /// An id for a new destination; where there is none, of trash without connections.
    pub(super) fn new_destination_id<L: Live>(&mut self, live: &L) -> Result<u32, Refusal> {
        if self.destination_ids.is_empty() {
            self.reclaim(live);
        }
        self.destination_ids.take().ok_or_else(|| Refusal {
            hint: Some(
                "set [tables] destinations in the configuration, then lbadm detach and start lbd anew".into(),
            ),
            ..refuse(
                ErrorKind::NoSpace,
                format!(
                    "the maps hold {} destinations, removed ones with connections included, and are full",
                    self.capacity.destinations
                ),
            )
        })
    }

    /// Frees the trash without connections that was removed first.
    fn reclaim<L: Live>(&mut self, live: &L) {
        // A packet under way may still open a connection to one that was removed just now.
        live.synchronize();
        // What was removed by the change that is being made still has slots.
        let idle =
            self.trash.values().filter(|id| !self.touched.destinations.contains(id) && is_idle(live, **id));
        let oldest = idle.min_by_key(|id| self.destinations.get(id).and_then(|d| d.removed_at)).copied();
        if let Some(id) = oldest {
            self.free(id);
        }
    }

    /// Forgets a destination that is trash.
    fn free(&mut self, id: u32) {
        if let Some(d) = self.destinations.remove(&id) {
            self.concern_destination(&d, false);
            let name = (d.service, d.spec.address);
            if self.trash.get(&name) == Some(&id) {
                self.trash.remove(&name);
            }
            self.destination_ids.give(id);
            self.touched.destinations.insert(id);
        }
    }
}

/// Whether nothing in the tables refers to a destination.
fn is_idle<L: Live>(live: &L, id: u32) -> bool {
    let counts = live.counts(id);
    counts.active == 0 && counts.inactive == 0 && counts.persistent == 0
}
