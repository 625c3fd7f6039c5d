//! Reads back everything that is configured.

use lb_common::abi::{Service, destination_flags};

use super::keys::MapKey;
use super::mapped::{Element, Shared};
use super::maps::{Services, access};
use super::{MapError, Maps};
use crate::model::ServiceKey;
use crate::plan::{Capacity, Observed};

impl Maps {
    /// What the maps hold.
    ///
    /// # Errors
    /// [`MapError`] where a map cannot be read, or holds what no lbd writes.
    pub fn observe(&self) -> Result<Observed, MapError> {
        let memory = &self.memory;
        let mut services = Vec::new();
        collect(&self.services4, "SERVICES4", MapKey::V4, &mut services)?;
        collect(&self.services6, "SERVICES6", MapKey::V6, &mut services)?;
        collect(&self.fwmarks, "FWMARKS", MapKey::Fwmark, &mut services)?;
        let destinations = (0..memory.destinations.len())
            .filter_map(|id| Some((id, memory.destinations.read(id)?)))
            .filter(|(_, destination)| destination.flags & destination_flags::IN_USE != 0)
            .collect();
        let ids = services.iter().map(|(_, service)| service.id);
        let schedules = ids.filter_map(|id| Some((id, memory.schedules.read(id)?))).collect();
        let slots = services.iter().map(|(_, service)| self.slots_of(service)).collect();
        let settings = self.settings();
        let marks = [false, true].map(|ipv6| {
            let (first, rules) = settings.mark_list(ipv6);
            let all = first..first.saturating_add(rules);
            all.map_while(|i| memory.marks.read(i)).collect()
        });
        let prefilter = (0..memory.prefilter.len()).filter_map(|i| memory.prefilter.read(i)).collect();
        let capacity = Capacity {
            services: self.services,
            destinations: memory.destinations.len(),
            slots: memory.slots.len(),
        };
        Ok(Observed { services, destinations, schedules, slots, marks, settings, prefilter, capacity })
    }

    /// The destination ids in a service's extent.
    fn slots_of(&self, service: &Service) -> Vec<u32> {
        let end = service.first_slot.saturating_add(service.slots);
        (service.first_slot..end).map_while(|slot| self.memory.slots.read(slot)).collect()
    }
}

/// Adds what a map of services holds.
fn collect<K: Shared>(
    map: &Services<K>,
    name: &'static str,
    key_of: impl Fn(K) -> MapKey,
    into: &mut Vec<(ServiceKey, Service)>,
) -> Result<(), MapError> {
    for entry in map.iter() {
        let (Element(key), Element(service)) = entry.map_err(|error| access("read", name, error))?;
        let key = key_of(key);
        let Some(key) = key.to_model() else {
            return Err(MapError::Strange { map: name, what: format!("the key {key:?}") });
        };
        into.push((key, service));
    }
    Ok(())
}
