//! A director begins with what the maps hold.

use std::collections::BTreeSet;
use std::time::Duration;

use lb_common::abi::{destination_flags, service_flags};

use super::counters::raw;
use super::rates::Estimator;
use super::settings::with_defaults;
use super::state::{Destination, Everything, Ids, Live, Scheduling, Service};
use super::{Director, Memory};
use crate::api::Stats;
use crate::model::Owner;
use crate::plan::{
    Extents, Layout, Observed, Prefilter, destination_address, destination_spec, service_key, service_spec,
};

const fn owner(configuration: bool) -> Owner {
    if configuration { Owner::Configuration } else { Owner::Operator }
}

impl Director {
    /// [`super::Event::Observed`]: forgets what it thought the maps hold.
    pub(super) fn adopt<L: Live>(&mut self, live: &L, observed: &Observed, memory: Memory, now: Duration) {
        let interfaces = std::mem::take(&mut self.wanted.interfaces);
        self.maps = Layout::from(observed);
        self.wanted = Layout { settings: with_defaults(observed.settings), interfaces, ..Layout::default() };
        self.capacity = observed.capacity;
        self.prefilter = Prefilter::default();
        (self.ftp_services, self.any_port_services) = (0, 0);
        self.forget_marks();
        self.extents = Extents::new(
            observed.capacity.slots,
            observed.services.iter().filter(|(_, s)| s.slots != 0).map(|(_, s)| (s.first_slot, s.slots)),
        );
        self.adopt_services(observed);
        self.adopt_destinations(live, observed, now);
        self.adopt_marks(live, observed, now);
        self.remember(memory);
        self.start_estimators(live);
        let services = self.services.keys().chain(self.maps.services.keys()).copied();
        for key in services.collect::<Vec<_>>() {
            self.touched.service(key, Scheduling::Same);
        }
        self.touched.destinations.extend(self.maps.destinations.keys());
        self.commit(live, now);
    }

    fn adopt_services(&mut self, observed: &Observed) {
        self.services.clear();
        self.addresses_changed = true;
        self.everything = Everything::default();
        let mut ids = BTreeSet::new();
        for (key, value) in &observed.services {
            let Some(spec) = service_spec(*key, value) else {
                tracing::error!(service = %key, "the maps hold a service of an unknown scheduler: removed");
                continue;
            };
            ids.insert(value.id);
            self.concern_service(key, true);
            let service = Service {
                spec,
                owner: owner(value.flags & service_flags::CONFIGURATION != 0),
                id: value.id,
                members: Vec::new(),
                retired: Stats::default(),
                zero: Stats::default(),
                rates: Estimator::default(),
            };
            self.services.insert(*key, service);
        }
        self.service_ids = Ids::new(observed.capacity.services, &ids);
    }

    fn adopt_destinations<L: Live>(&mut self, live: &L, observed: &Observed, now: Duration) {
        let known: Vec<_> = self.hops.keys().copied().collect();
        let used: Vec<(u32, std::net::SocketAddr)> =
            self.destinations.iter().map(|(id, d)| (*id, d.spec.address)).collect();
        for (id, address) in used {
            self.stop_using(address.ip(), id);
        }
        self.destinations.clear();
        self.trash.clear();
        self.next_order = 1;
        let mut ids = BTreeSet::new();
        for (id, value) in &observed.destinations {
            let (Some(service), Some(spec)) = (service_key(value), destination_spec(value)) else {
                tracing::error!(destination = id, "the maps hold a destination of an unknown kind: removed");
                continue;
            };
            ids.insert(*id);
            self.next_order = self.next_order.max(value.order.saturating_add(1));
            let address = spec.address;
            let home = self.services.get(&service);
            let available = value.flags & destination_flags::AVAILABLE != 0
                && home.is_some()
                && self.member(&service, destination_address(value)).is_none();
            let removed_at = if available {
                None
            } else if value.flags & destination_flags::AVAILABLE != 0 {
                // Its removal was begun and not finished.
                Some(now)
            } else {
                Some(Duration::from_secs(value.removed_at).min(now))
            };
            let destination = Destination {
                spec,
                owner: owner(value.flags & destination_flags::CONFIGURATION != 0),
                service,
                // Trash keeps the service it had: that tells later whether it was deleted meanwhile.
                service_id: home.filter(|_| available).map_or(value.service, |s| s.id),
                order: value.order,
                last_weight: value.last_weight,
                removed_at,
                orphan: home.is_none_or(|s| s.id != value.service),
                bound: Stats::default(),
                zero: Stats::default(),
                left: if removed_at.is_some() { raw(live, *id) } else { Stats::default() },
                rates: Estimator::default(),
            };
            self.concern_destination(&destination, true);
            if available {
                if let Some(home) = self.services.get_mut(&service) {
                    home.members.push(*id);
                }
                self.watch(address.ip(), *id);
            } else {
                self.trash.insert((service, address), *id);
            }
            self.destinations.insert(*id, destination);
        }
        self.destination_ids = Ids::new(observed.capacity.destinations, &ids);
        for service in self.services.values_mut() {
            let order = |id: &u32| self.destinations.get(id).map_or(0, |d| d.order);
            service.members.sort_by_key(|id| std::cmp::Reverse(order(id)));
        }
        for address in known {
            self.forget_unused(address);
        }
    }

    fn start_estimators<L: Live>(&mut self, live: &L) {
        for (id, d) in &mut self.destinations {
            d.rates = Estimator::new(raw(live, *id));
        }
        let totals: Vec<_> = self.services.iter().map(|(key, s)| (*key, self.total(live, s))).collect();
        for (key, total) in totals {
            if let Some(service) = self.services.get_mut(&key) {
                service.rates = Estimator::new(total);
            }
        }
        self.everything.rates = Estimator::new(self.grand_total(live));
    }
}
