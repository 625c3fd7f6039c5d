//! Listings.

use std::ops::Bound;

use super::counters::{minus, raw};
use super::state::{Destination, Live, Service};
use super::{Director, Effect, RequestId};
use crate::api::{DestinationView, Response, ServiceView};
use crate::model::ServiceKey;

/// Services of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The services.
    pub services: Vec<ServiceView>,
    /// More follow after this one; `None` at the end.
    pub next: Option<ServiceKey>,
}

/// Services and destinations of a page, about.
const PAGE: usize = 256;

impl Director {
    /// [`super::Event::Services`].
    pub(super) fn page<L: Live>(
        &mut self,
        live: &L,
        id: RequestId,
        only: Option<ServiceKey>,
        after: Option<ServiceKey>,
    ) {
        let effect = match only {
            Some(key) => match self.existing_service(&key) {
                Ok(service) => {
                    Effect::Page(id, Page { services: vec![self.service_view(live, service)], next: None })
                }
                Err(refusal) => Effect::Reply(id, Response::Refused(refusal)),
            },
            None => Effect::Page(id, self.next_page(live, after)),
        };
        self.effects.push(effect);
    }

    fn next_page<L: Live>(&self, live: &L, after: Option<ServiceKey>) -> Page {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = Page { services: Vec::new(), next: None };
        let mut room = PAGE;
        let mut rest = self.services.range((from, Bound::Unbounded)).peekable();
        while let Some((key, service)) = rest.next() {
            room = room.saturating_sub(1 + service.members.len());
            page.services.push(self.service_view(live, service));
            if room == 0 {
                page.next = rest.peek().map(|_| *key);
                break;
            }
        }
        page
    }

    fn service_view<L: Live>(&self, live: &L, service: &Service) -> ServiceView {
        let members = service.members.iter().filter_map(|id| Some((*id, self.destinations.get(id)?)));
        ServiceView {
            service: service.spec.clone(),
            owner: service.owner,
            stats: self.service_stats(live, service),
            rates: service.rates.rates(),
            destinations: members.map(|(id, d)| self.destination_view(live, id, d)).collect(),
        }
    }

    fn destination_view<L: Live>(&self, live: &L, id: u32, d: &Destination) -> DestinationView {
        let counts = live.counts(id);
        DestinationView {
            destination: d.spec.clone(),
            owner: d.owner,
            active: counts.active,
            inactive: counts.inactive,
            persistent: counts.persistent,
            overloaded: counts.overload != 0,
            stats: minus(raw(live, id), d.zero),
            rates: d.rates.rates(),
            neighbour: self.neighbour(id, d),
        }
    }

    /// Ids of all destinations that are in their services: whose counters [`super::Event::Tick`] and
    /// listings read.
    pub fn destination_ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.services.values().flat_map(|s| s.members.iter().copied())
    }

    /// Services and destinations in force.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        let destinations = self.services.values().map(|s| s.members.len()).sum::<usize>();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (count(self.services.len()), count(destinations))
    }
}
