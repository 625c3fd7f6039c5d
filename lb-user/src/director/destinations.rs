//! Changes of destinations.

use std::net::SocketAddr;
use std::time::Duration;

use lb_common::sched::MH_DEFAULT_SIZE;

use super::Director;
use super::check::{self, refuse};
use super::counters::{minus, plus, raw};
use super::rates::Estimator;
use super::state::{Destination, Live, Scheduling};
use crate::api::{ErrorKind, Refusal, Stats};
use crate::model::{DestinationSpec, ForwardingMethod, Owner, Scheduler, ServiceKey, ServiceSpec};
use crate::plan::length;

/// Direct routing does not change ports: the destination's is the service's own, except for a mark.
pub(super) fn with_port(key: &ServiceKey, mut spec: DestinationSpec) -> DestinationSpec {
    if matches!(key, ServiceKey::Address { .. })
        && matches!(spec.method, ForwardingMethod::DirectRoute | ForwardingMethod::Tunnel)
    {
        spec.address.set_port(key.port());
    }
    spec
}

impl Director {
    pub(super) fn member(&self, key: &ServiceKey, address: SocketAddr) -> Option<u32> {
        let members = &self.services.get(key)?.members;
        members
            .iter()
            .copied()
            .find(|id| self.destinations.get(id).is_some_and(|d| d.spec.address == address))
    }

    /// Everything that can be said of a new destination without knowing its next hop; the destination
    /// as it is to be.
    pub(super) fn check_new(
        &self,
        key: &ServiceKey,
        spec: DestinationSpec,
    ) -> Result<DestinationSpec, Refusal> {
        self.existing_service(key)?;
        check::destination(key, &spec)?;
        let spec = with_port(key, spec);
        if self.member(key, spec.address).is_some() {
            return Err(refuse(
                ErrorKind::DestinationExists,
                format!("service {key} has a destination {} already", spec.address),
            ));
        }
        check::new_destination(&spec)?;
        if self.is_local(spec.address.ip()) {
            check::local(key, &spec)?;
        }
        Ok(spec)
    }

    /// `-a`: one that waits as trash comes back with its id, counters and connections.
    pub(super) fn add_destination<L: Live>(
        &mut self,
        live: &L,
        key: &ServiceKey,
        spec: DestinationSpec,
        owner: Owner,
        now: Duration,
    ) -> Result<(), Refusal> {
        let spec = self.check_new(key, spec)?;
        let service = self.existing_service(key)?;
        let service_id = service.id;
        let length = self.slots_for(&service.spec, service.members.len() + 1)?;
        self.room_for(live, length, now)?;
        let revived = self.trash.remove(&(*key, spec.address));
        let id = match revived {
            Some(id) => id,
            None => self.new_destination_id(live)?,
        };
        let old = self.destinations.remove(&id);
        if let Some(old) = &old {
            self.concern_destination(old, false);
        }
        // Trash counts nothing; what it counted before is the service's history already.
        let bound = if revived.is_some() { raw(live, id) } else { Stats::default() };
        let zero = match &old {
            Some(old) if !old.orphan => plus(old.zero, minus(bound, old.left)),
            _ => bound,
        };
        self.watch(spec.address.ip(), id);
        let last_weight = match spec.weight {
            0 => old.as_ref().map_or(0, |old| old.last_weight),
            weight => weight,
        };
        let destination = Destination {
            spec,
            owner,
            service: *key,
            service_id,
            order: self.next_order,
            last_weight,
            removed_at: None,
            orphan: false,
            bound,
            zero,
            left: Stats::default(),
            rates: Estimator::new(bound),
        };
        self.next_order += 1;
        self.concern_destination(&destination, true);
        self.destinations.insert(id, destination);
        if let Some(service) = self.services.get_mut(key) {
            service.members.insert(0, id);
        }
        if revived.is_some() {
            self.persist();
        }
        self.touched.destinations.insert(id);
        self.touched.service(*key, Scheduling::Resume);
        Ok(())
    }

    /// `-e`: replaces everything but the address.
    pub(super) fn edit_destination<L: Live>(
        &mut self,
        live: &L,
        key: &ServiceKey,
        spec: DestinationSpec,
        now: Duration,
    ) -> Result<(), Refusal> {
        let service = self.existing_service(key)?;
        let length = self.slots_for(&service.spec, service.members.len())?;
        check::destination(key, &spec)?;
        let spec = with_port(key, spec);
        let id = self.existing_destination(key, spec.address)?;
        if self.is_local(spec.address.ip()) {
            check::local(key, &spec)?;
        }
        self.room_for(live, length, now)?;
        if let Some(old) = self.destinations.get(&id).cloned() {
            self.concern_destination(&old, false);
            let last_weight = if spec.weight == 0 { old.last_weight } else { spec.weight };
            let new = Destination { spec, last_weight, ..old };
            self.concern_destination(&new, true);
            self.destinations.insert(id, new);
        }
        self.touched.destinations.insert(id);
        self.touched.service(*key, Scheduling::Resume);
        Ok(())
    }

    /// `-d`.
    pub(super) fn delete_destination<L: Live>(
        &mut self,
        live: &L,
        key: &ServiceKey,
        address: SocketAddr,
        now: Duration,
    ) -> Result<(), Refusal> {
        let service = self.existing_service(key)?;
        let length = self.slots_for(&service.spec, service.members.len().saturating_sub(1))?;
        let id = self.existing_destination(key, address)?;
        self.room_for(live, length, now)?;
        let counted = self.destinations.get(&id).map(|d| minus(raw(live, id), d.bound)).unwrap_or_default();
        if let Some(service) = self.services.get_mut(key) {
            service.members.retain(|m| *m != id);
            service.retired = plus(service.retired, counted);
        }
        self.discard(live, id, now);
        self.persist();
        self.touched.service(*key, Scheduling::Resume);
        Ok(())
    }

    fn existing_destination(&self, key: &ServiceKey, address: SocketAddr) -> Result<u32, Refusal> {
        self.member(key, address).ok_or_else(|| {
            refuse(ErrorKind::NoSuchDestination, format!("service {key} has no destination {address}"))
        })
    }

    /// The size that a service's table of mh has, or would have.
    pub(super) fn mh_size(&self, spec: &ServiceSpec) -> u32 {
        let default = match self.wanted.settings.mh_table_size {
            0 => MH_DEFAULT_SIZE,
            size => size,
        };
        spec.mh_table_size.unwrap_or(default)
    }

    /// Slots of a service with so many destinations; mh has no more of them than buckets
    /// (ip_vs_mh.c: ip_vs_mh_reassign).
    pub(super) fn slots_for(&self, spec: &ServiceSpec, destinations: usize) -> Result<u32, Refusal> {
        let size = self.mh_size(spec);
        if spec.scheduler == Scheduler::Mh && destinations > size as usize {
            return Err(Refusal {
                kind: ErrorKind::Invalid,
                message: format!(
                    "service {}: {destinations} destinations are more than its table of mh has buckets, {size}",
                    spec.key
                ),
                hint: Some(
                    "set mh-table-size of [director] or of the service in the configuration to a greater one"
                        .into(),
                ),
            });
        }
        Ok(length(spec.scheduler, destinations, size))
    }

    /// Whether there is room for so many slots of a service.
    pub(super) fn room_for<L: Live>(&mut self, live: &L, length: u32, now: Duration) -> Result<(), Refusal> {
        match self.take_slots(live, length, now) {
            Some(first) => {
                self.extents.give(first, length);
                Ok(())
            }
            None => Err(Refusal {
                kind: ErrorKind::NoSpace,
                message: format!(
                    "no room for {length} slots of a scheduler: all services together have {}",
                    self.capacity.slots
                ),
                hint: Some(
                    "set [tables] slots in the configuration, then lbadm detach and start lbd anew".into(),
                ),
            }),
        }
    }

    /// An extent of slots; where only freed ones are left, waits until no packet reads them.
    pub(super) fn take_slots<L: Live>(&mut self, live: &L, length: u32, now: Duration) -> Option<u32> {
        let first = self.extents.take(length, now);
        if first.is_some() || !self.extents.is_waiting() {
            return first;
        }
        live.synchronize();
        self.extents.settle();
        self.extents.take(length, now)
    }
}
