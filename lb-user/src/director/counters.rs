//! Counters: what the maps hold less what `-Z` forgot, and the services' sums.
//!
//! The maps count by destination. A service's counters are those of its destinations since they came to
//! it, with the history of those that left.

use super::Director;
use super::state::{Destination, Live, Service};
use crate::api::{Refusal, Response, Stats};
use crate::model::ServiceKey;

/// Counters of a destination as they stand in the maps.
pub(super) fn raw<L: Live>(live: &L, id: u32) -> Stats {
    let c = live.counters(id);
    Stats {
        connections: c.connections,
        in_packets: c.in_packets,
        out_packets: c.out_packets,
        in_bytes: c.in_bytes,
        out_bytes: c.out_bytes,
    }
}

fn each(a: Stats, b: Stats, f: impl Fn(u64, u64) -> u64) -> Stats {
    Stats {
        connections: f(a.connections, b.connections),
        in_packets: f(a.in_packets, b.in_packets),
        out_packets: f(a.out_packets, b.out_packets),
        in_bytes: f(a.in_bytes, b.in_bytes),
        out_bytes: f(a.out_bytes, b.out_bytes),
    }
}

pub(super) fn plus(a: Stats, b: Stats) -> Stats {
    each(a, b, u64::saturating_add)
}

pub(super) fn minus(a: Stats, b: Stats) -> Stats {
    each(a, b, u64::saturating_sub)
}

impl Director {
    /// Everything a service ever counted.
    pub(super) fn total<L: Live>(&self, live: &L, service: &Service) -> Stats {
        let members = service.members.iter().filter_map(|id| Some((id, self.destinations.get(id)?)));
        members.fold(service.retired, |sum, (id, d)| plus(sum, minus(raw(live, *id), d.bound)))
    }

    /// What a service shows.
    pub(super) fn service_stats<L: Live>(&self, live: &L, service: &Service) -> Stats {
        minus(self.total(live, service), service.zero)
    }

    /// Everything that was ever counted, of whatever service.
    pub(super) fn grand_total<L: Live>(&self, live: &L) -> Stats {
        let services = self.services.values();
        services.fold(self.everything.retired, |sum, service| plus(sum, self.total(live, service)))
    }

    /// [`Request::Stats`](crate::api::Request::Stats).
    pub(super) fn statistics<L: Live>(&self, live: &L) -> Response {
        let stats = minus(self.grand_total(live), self.everything.zero);
        Response::Stats { stats, rates: self.everything.rates.rates() }
    }

    /// `-Z` of one service or of all.
    pub(super) fn zero<L: Live>(&mut self, live: &L, only: Option<ServiceKey>) -> Result<(), Refusal> {
        let keys: Vec<ServiceKey> = match only {
            Some(key) => {
                self.existing_service(&key)?;
                vec![key]
            }
            None => self.services.keys().copied().collect(),
        };
        if only.is_none() {
            self.everything.zero = self.grand_total(live);
            self.everything.rates.zero();
        }
        for key in keys {
            let Some(service) = self.services.get(&key) else { continue };
            let total = self.total(live, service);
            let Some(service) = self.services.get_mut(&key) else { continue };
            service.zero = total;
            service.rates.zero();
            for id in &service.members {
                if let Some(d) = self.destinations.get_mut(id) {
                    d.zero = raw(live, *id);
                    d.rates.zero();
                }
            }
        }
        self.persist();
        Ok(())
    }

    /// Feeds every estimator.
    pub(super) fn estimate<L: Live>(&mut self, live: &L) {
        let mut everything = self.everything.retired;
        for service in self.services.values_mut() {
            let mut sum = service.retired;
            for id in &service.members {
                if let Some(Destination { bound, rates, .. }) = self.destinations.get_mut(id) {
                    let now = raw(live, *id);
                    rates.update(now);
                    sum = plus(sum, minus(now, *bound));
                }
            }
            service.rates.update(sum);
            everything = plus(everything, sum);
        }
        self.everything.rates.update(everything);
    }
}
