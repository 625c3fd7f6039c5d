//! Changes of virtual services.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Director;
use super::check::{self, refuse};
use super::counters::plus;
use super::rates::Estimator;
use super::state::{Live, Scheduling, Service};
use crate::api::{ErrorKind, Refusal, Stats};
use crate::model::{Owner, Scheduler, ServiceKey, ServiceSpec};

impl Director {
    /// The services whose schedulers remember addresses: id and epoch ([`lb_common::abi::LocalityKey`]), and after how many
    /// ticks without use they forget one.
    #[must_use]
    pub fn locality_services(&self) -> BTreeMap<(u32, u32), u32> {
        let expiration = |service: &lb_common::abi::Service| {
            let settings = &self.maps.settings;
            match Scheduler::from_u8(service.scheduler) {
                Some(Scheduler::Lblc) => Some(settings.lblc_expiration),
                Some(Scheduler::Lblcr) => Some(settings.lblcr_expiration),
                _ => None,
            }
        };
        let services = self.maps.services.values();
        services.filter_map(|s| Some(((s.id, s.scheduler_word), expiration(s)?))).collect()
    }

    /// `-A`.
    pub(super) fn add_service(&mut self, spec: ServiceSpec, owner: Owner) -> Result<(), Refusal> {
        if self.services.contains_key(&spec.key) {
            return Err(refuse(ErrorKind::ServiceExists, format!("service {} exists already", spec.key)));
        }
        check::service(&spec)?;
        let Some(id) = self.service_ids.take() else {
            return Err(Refusal {
                kind: ErrorKind::NoSpace,
                message: format!(
                    "service {}: the maps hold {} services and are full",
                    spec.key, self.capacity.services
                ),
                hint: Some(
                    "set [tables] services in the configuration, then lbadm detach and start lbd anew".into(),
                ),
            });
        };
        let key = spec.key;
        self.concern_service(&key, true);
        let nothing = Stats::default();
        self.services.insert(
            key,
            Service {
                spec,
                owner,
                id,
                members: Vec::new(),
                retired: nothing,
                zero: nothing,
                rates: Estimator::new(nothing),
            },
        );
        self.addresses_changed = true;
        self.touched.service(key, Scheduling::Start);
        Ok(())
    }

    /// `-E`: destinations and connections stay.
    pub(super) fn edit_service<L: Live>(
        &mut self,
        live: &L,
        spec: ServiceSpec,
        now: Duration,
    ) -> Result<(), Refusal> {
        let members = self.existing_service(&spec.key)?.members.len();
        check::service(&spec)?;
        let length = self.slots_for(&spec, members)?;
        self.room_for(live, length, now)?;
        let key = spec.key;
        if let Some(service) = self.services.get_mut(&key) {
            service.spec = spec;
        }
        self.touched.service(key, Scheduling::Same);
        Ok(())
    }

    /// `-D`: its destinations go to the trash.
    pub(super) fn delete_service<L: Live>(
        &mut self,
        live: &L,
        key: &ServiceKey,
        now: Duration,
    ) -> Result<(), Refusal> {
        self.existing_service(key)?;
        let Some(service) = self.services.remove(key) else { return Ok(()) };
        self.everything.retired = plus(self.everything.retired, self.total(live, &service));
        for id in &service.members {
            self.discard(live, *id, now);
        }
        // Also of those that were trash already the service is gone.
        let mine = self.trash.range((*key, lowest())..).take_while(|((k, _), _)| k == key);
        for id in mine.map(|(_, id)| *id).collect::<Vec<_>>() {
            if let Some(d) = self.destinations.get_mut(&id) {
                d.orphan = true;
            }
        }
        self.concern_service(key, false);
        self.addresses_changed = true;
        self.service_ids.give(service.id);
        self.touched.service(*key, Scheduling::Same);
        self.persist();
        Ok(())
    }

    /// `-C`.
    pub(super) fn clear<L: Live>(&mut self, live: &L, now: Duration) -> Result<(), Refusal> {
        let keys: Vec<ServiceKey> = self.services.keys().copied().collect();
        for key in keys {
            self.delete_service(live, &key, now)?;
        }
        Ok(())
    }
}

/// Sorts before every destination's address.
fn lowest() -> std::net::SocketAddr {
    (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
}
