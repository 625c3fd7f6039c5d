//! What a director knows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::abi::{Counters, Counts, Schedule};

use super::hops::Hop;
use super::marks::Marks;
use super::rates::Estimator;
use super::{Effect, Event, Link, RequestId};
use crate::api::{Request, Stats};
use crate::model::sysctl::SysctlValue;
use crate::model::{DestinationSpec, Owner, Responder, ServiceKey, ServiceSpec, Timeouts, TunnelSettings};
use crate::plan::{Capacity, Extents, Layout, Prefilter};

/// What a director reads of the maps that packets change.
pub trait Live {
    /// The scheduler's state of a service, by service id.
    fn schedule(&self, service: u32) -> Schedule;
    /// The connections of a destination.
    fn counts(&self, destination: u32) -> Counts;
    /// The counters of a destination, all CPUs together.
    fn counters(&self, destination: u32) -> Counters;
    /// Returns when no packet reads any more what was replaced in the maps before the call.
    fn synchronize(&self);
}

/// The owner of everything that is configured.
#[derive(Debug, Default)]
pub struct Director {
    /// What the maps hold.
    pub(super) maps: Layout,
    /// What the maps are to hold that is of all services: settings, marks, prefilter, interfaces.
    pub(super) wanted: Layout,
    pub(super) capacity: Capacity,
    pub(super) services: BTreeMap<ServiceKey, Service>,
    pub(super) destinations: BTreeMap<u32, Destination>,
    pub(super) everything: Everything,
    pub(super) trash: BTreeMap<(ServiceKey, SocketAddr), u32>,
    pub(super) service_ids: Ids,
    pub(super) destination_ids: Ids,
    pub(super) extents: Extents,
    pub(super) prefilter: Prefilter,
    pub(super) marks: Marks,
    /// TCP services of port 21.
    pub(super) ftp_services: u32,
    /// Services of port 0.
    pub(super) any_port_services: u32,
    pub(super) next_order: u64,
    pub(super) hops: HashMap<IpAddr, Hop>,
    pub(super) links: BTreeMap<u32, Link>,
    /// The host's own addresses, `None` until told.
    pub(super) addresses: Option<BTreeSet<IpAddr>>,
    /// Whether own or virtual addresses changed since [`Effect::Ask`].
    pub(super) addresses_changed: bool,
    /// Virtual addresses that this host does not have, as asked about.
    pub(super) lacking: BTreeSet<IpAddr>,
    /// Who answers for them, as far as known.
    pub(super) responders: BTreeMap<IpAddr, Responder>,
    pub(super) parked: Vec<Parked>,
    pub(super) touched: Touched,
    pub(super) effects: Vec<Effect>,
    pub(super) configured_timeouts: Option<Timeouts>,
    pub(super) configured_sysctls: Vec<SysctlValue>,
    /// Settings of all tunnels, and of those of services that say something themselves.
    pub(super) tunnels: TunnelSettings,
    pub(super) service_tunnels: BTreeMap<ServiceKey, TunnelSettings>,
    /// Warnings of the last reload.
    pub(super) reload_warnings: Vec<String>,
}

/// A virtual service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    pub(super) owner: Owner,
    pub(super) id: u32,
    /// Destination ids in walk order: newest first.
    pub(super) members: Vec<u32>,
    /// Counters of destinations that left.
    pub(super) retired: Stats,
    /// Counters at the last `-Z`.
    pub(super) zero: Stats,
    pub(super) rates: Estimator,
}

/// What all services count together, the deleted ones included (`/proc/net/ip_vs_stats`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Everything {
    /// Counters of services that were deleted.
    pub(super) retired: Stats,
    /// Counters at the last `-Z` of everything.
    pub(super) zero: Stats,
    pub(super) rates: Estimator,
}

/// A destination, or what waits of it as trash.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) spec: DestinationSpec,
    pub(super) owner: Owner,
    pub(super) service: ServiceKey,
    pub(super) service_id: u32,
    pub(super) order: u64,
    /// The last weight above 0; 0 where it never had one.
    pub(super) last_weight: u32,
    /// When it was removed, `None` of one that is in its service.
    pub(super) removed_at: Option<Duration>,
    /// Trash whose service was deleted: coming back, its counters start from 0 (ip_vs_ctl.c:
    /// __ip_vs_update_dest).
    pub(super) orphan: bool,
    /// Raw counters when it came to its service: before that they are not the service's.
    pub(super) bound: Stats,
    /// Raw counters at the last `-Z`.
    pub(super) zero: Stats,
    /// Raw counters when it was removed: what the data path counts of trash (answers that still come by) shows
    /// nowhere, because the kernel counts only what is available (ip_vs_core.c: ip_vs_out_stats).
    pub(super) left: Stats,
    pub(super) rates: Estimator,
}

/// A request that waits for the next hop of an address.
#[derive(Debug, Clone)]
pub(super) struct Parked {
    pub(super) id: RequestId,
    pub(super) request: Request,
    pub(super) address: IpAddr,
}

/// What a change concerns.
#[derive(Debug, Clone, Default)]
pub(super) struct Touched {
    /// Services, and whether their schedulers start again, go on, or are left alone.
    pub(super) services: BTreeMap<ServiceKey, Scheduling>,
    pub(super) destinations: BTreeSet<u32>,
}

/// What a change means to a service's scheduler; greater ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheduling {
    /// Nothing, unless its slots are others.
    Same,
    /// Its destinations or their weights changed.
    Resume,
    /// It is a new one.
    Start,
}

impl Touched {
    pub(super) fn service(&mut self, key: ServiceKey, scheduling: Scheduling) {
        let entry = self.services.entry(key).or_insert(scheduling);
        *entry = scheduling.max(*entry);
    }
}

/// Numbers below a limit, the least free one first.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    limit: u32,
    next: u32,
    free: BTreeSet<u32>,
}

impl Ids {
    /// All below `limit` but those `used`.
    pub(super) fn new(limit: u32, used: &BTreeSet<u32>) -> Self {
        let next = used.last().map_or(0, |id| id + 1);
        Self { limit, next, free: (0..next).filter(|id| !used.contains(id)).collect() }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        let id = self.next;
        (id < self.limit).then(|| {
            self.next += 1;
            id
        })
    }

    pub(super) fn give(&mut self, id: u32) {
        self.free.insert(id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.is_empty() && self.next >= self.limit
    }
}

impl Director {
    /// A director that knows nothing yet: the first event is [`Event::Observed`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event; `now` is the time since boot, suspended time included (CLOCK_BOOTTIME).
    pub fn handle<L: Live>(&mut self, live: &L, event: Event, now: Duration) -> Vec<Effect> {
        match event {
            Event::Observed(observed, memory) => self.adopt(live, &observed, *memory, now),
            Event::Config(config) => self.reload(live, &config, now),
            Event::Request(id, request) => self.request(live, id, request, now),
            Event::Services { id, only, after } => self.page(live, id, only, after),
            Event::NextHop { address, next_hop } => self.next_hop(live, address, next_hop, now),
            Event::Waited(address) => self.waited(live, address, now),
            Event::RoutesChanged => self.routes_changed(live, now),
            Event::Links(links) => self.links(live, links, now),
            Event::Addresses(addresses) => self.own_addresses(addresses),
            Event::Responder { address, responder } => self.responder(address, responder),
            Event::Load(load) => {
                self.defend(&load);
                self.commit(live, now);
            }
            Event::Tick => self.tick(live, now),
        }
        std::mem::take(&mut self.effects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_given_once_and_the_least_first() {
        let mut ids = Ids::new(4, &[0, 2].into());
        assert_eq!(ids.take(), Some(1));
        assert_eq!(ids.take(), Some(3));
        assert!(ids.is_empty());
        assert_eq!(ids.take(), None);
        ids.give(2);
        assert_eq!(ids.take(), Some(2));
    }
}
