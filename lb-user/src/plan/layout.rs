//! What the maps hold, or are to hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::abi::{Destination, Interface, MarkRule, PREFILTER_BITS, Service, Settings};

use super::{MapOp, Observed};
use crate::model::ServiceKey;

/// The content of the maps that the daemon writes, or of those elements that a change concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// Services.
    pub services: BTreeMap<ServiceKey, Service>,
    /// Slots of the services' extents, by first slot.
    pub extents: BTreeMap<u32, Vec<u32>>,
    /// Destinations in use, by id.
    pub destinations: BTreeMap<u32, Destination>,
    /// Lists of rules that give marks, by first element; empty ones are left out.
    pub marks: BTreeMap<u32, Arc<[MarkRule]>>,
    /// Settings.
    pub settings: Settings,
    /// The prefilter's bitmap.
    pub prefilter: Vec<u64>,
    /// Interfaces by index in the map.
    pub interfaces: BTreeMap<u16, Interface>,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            services: BTreeMap::new(),
            extents: BTreeMap::new(),
            destinations: BTreeMap::new(),
            marks: BTreeMap::new(),
            settings: Settings::default(),
            prefilter: vec![0; PREFILTER_BITS as usize / 64],
            interfaces: BTreeMap::new(),
        }
    }
}

impl From<&Observed> for Layout {
    fn from(observed: &Observed) -> Self {
        let mut layout = Self {
            services: observed.services.iter().copied().collect(),
            destinations: observed.destinations.iter().copied().collect(),
            settings: observed.settings,
            ..Self::default()
        };
        for (ipv6, rules) in [false, true].into_iter().zip(&observed.marks) {
            if !rules.is_empty() {
                layout.marks.insert(observed.settings.mark_list(ipv6).0, rules.as_slice().into());
            }
        }
        for ((_, service), ids) in observed.services.iter().zip(&observed.slots) {
            if service.slots != 0 {
                layout.extents.insert(service.first_slot, ids.clone());
            }
        }
        for (word, found) in layout.prefilter.iter_mut().zip(&observed.prefilter) {
            *word = *found;
        }
        layout
    }
}

impl Layout {
    /// The part of it that concerns these services and destinations; everything that is of all services
    /// is whole.
    #[must_use]
    pub fn part<'a>(
        &self,
        services: impl IntoIterator<Item = &'a ServiceKey>,
        destinations: impl IntoIterator<Item = &'a u32>,
    ) -> Self {
        let mut part = Self {
            marks: self.marks.clone(),
            settings: self.settings,
            prefilter: self.prefilter.clone(),
            interfaces: self.interfaces.clone(),
            ..Self::default()
        };
        for key in services {
            if let Some(service) = self.services.get(key) {
                part.services.insert(*key, *service);
                if let Some(ids) = self.extents.get(&service.first_slot).filter(|_| service.slots != 0) {
                    part.extents.insert(service.first_slot, ids.clone());
                }
            }
        }
        for id in destinations {
            if let Some(d) = self.destinations.get(id) {
                part.destinations.insert(*id, *d);
            }
        }
        part
    }

    /// Ids in the slots of a service, empty where it has none.
    #[must_use]
    pub fn slots(&self, service: &Service) -> &[u32] {
        if service.slots == 0 {
            return &[];
        }
        self.extents.get(&service.first_slot).map_or(&[], Vec::as_slice)
    }

    /// What the maps hold after an operation.
    pub fn apply(&mut self, op: &MapOp) {
        match op {
            MapOp::PutDestination { id, value, .. } => {
                self.destinations.insert(*id, **value);
            }
            MapOp::SetFlags { id, flags: 0 } => {
                self.destinations.remove(id);
            }
            MapOp::SetFlags { id, flags } => self.change(*id, |d| d.flags = *flags),
            MapOp::SetWeight { id, weight } => self.change(*id, |d| *d = with_weight(d, *weight)),
            MapOp::SetOptions { id, value } => self.change(*id, |d| *d = with_options(d, value)),
            MapOp::SetMtu { id, mtu } => self.change(*id, |d| d.mtu = *mtu),
            MapOp::SetHop { id, hop } => self.change(*id, |d| d.hop = *hop),
            MapOp::SetRemovedAt { id, seconds } => self.change(*id, |d| d.removed_at = *seconds),
            MapOp::PutSlots { first, ids } => {
                self.extents.insert(*first, ids.clone());
            }
            MapOp::PutService { key, value } => {
                let old = self.services.insert(*key, **value);
                self.forget_extent(old, Some(value.first_slot).filter(|_| value.slots != 0));
            }
            MapOp::RemoveService { key } => {
                let old = self.services.remove(key);
                self.forget_extent(old, None);
            }
            MapOp::PutMarks { first, rules } => {
                self.marks.insert(*first, rules.clone());
            }
            MapOp::PutPrefilter { words } => {
                for (index, word) in words {
                    if let Some(w) = self.prefilter.get_mut(*index as usize) {
                        *w = *word;
                    }
                }
            }
            MapOp::PutSettings { value } => {
                self.settings = **value;
                self.forget_marks();
            }
            MapOp::PutInterface { index, value } if value.ifindex == 0 => {
                self.interfaces.remove(index);
            }
            MapOp::PutInterface { index, value } => {
                self.interfaces.insert(*index, *value);
            }
        }
    }

    fn change(&mut self, id: u32, f: impl FnOnce(&mut Destination)) {
        if let Some(d) = self.destinations.get_mut(&id) {
            f(d);
        }
    }

    /// Forgets the lists of mark rules that the settings do not name.
    pub fn forget_marks(&mut self) {
        let named = [false, true].map(|ipv6| self.settings.mark_list(ipv6));
        self.marks.retain(|first, _| named.iter().any(|(f, rules)| f == first && *rules != 0));
    }

    /// Nobody names the extent of a replaced service any more.
    fn forget_extent(&mut self, old: Option<Service>, kept: Option<u32>) {
        if let Some(old) = old.filter(|s| s.slots != 0 && Some(s.first_slot) != kept) {
            self.extents.remove(&old.first_slot);
        }
    }
}

/// A destination with another weight: what [`MapOp::SetWeight`] stores.
pub(super) fn with_weight(d: &Destination, weight: u32) -> Destination {
    Destination { weight, last_weight: if weight == 0 { d.last_weight } else { weight }, ..*d }
}

/// A destination with the options of another: what [`MapOp::SetOptions`] stores.
pub(super) fn with_options(d: &Destination, options: &Destination) -> Destination {
    Destination {
        method: options.method,
        upper: options.upper,
        lower: options.lower,
        tunnel_kind: options.tunnel_kind,
        tunnel_port: options.tunnel_port,
        tunnel_flags: options.tunnel_flags,
        tunnel_source: options.tunnel_source,
        ..*d
    }
}
