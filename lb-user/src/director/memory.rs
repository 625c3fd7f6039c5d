//! What must outlive lbd and is not in the maps: baselines of counters, history of services, and what
//! of the configuration was applied.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use lb_common::abi::Settings;
use serde::{Deserialize, Serialize};

use super::{Director, Effect};
use crate::api::Stats;
use crate::model::sysctl::SysctlValue;
use crate::model::{ServiceKey, Timeouts};

/// What a director remembers beside the maps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Of which maps the counters below are: those of others say nothing.
    maps: u64,
    services: Vec<ServiceMemory>,
    /// Counters of deleted services, and of everything at the last `-Z`.
    retired: Stats,
    zero: Stats,
    destinations: Vec<DestinationMemory>,
    /// Timeouts of the configuration that was applied last.
    configured_timeouts: Option<Timeouts>,
    /// Sysctls of the configuration that was applied last.
    configured_sysctls: Vec<SysctlValue>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ServiceMemory {
    key: ServiceKey,
    id: u32,
    retired: Stats,
    zero: Stats,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DestinationMemory {
    id: u32,
    service: ServiceKey,
    address: SocketAddr,
    bound: Stats,
    zero: Stats,
    #[serde(default)]
    left: Stats,
}

/// Tells maps that were made at different times apart.
fn fingerprint(settings: &Settings) -> u64 {
    // The seeds are secret: only a hash of them leaves the maps.
    let mut hasher = DefaultHasher::new();
    settings.seed.hash(&mut hasher);
    hasher.finish()
}

impl Director {
    /// What is to be remembered; [`Effect::Persist`] says when it changed.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let nothing = Stats::default();
        let services = self.services.iter().filter(|(_, s)| s.retired != nothing || s.zero != nothing);
        let destinations = self
            .destinations
            .iter()
            .filter(|(_, d)| d.bound != nothing || d.zero != nothing || d.left != nothing);
        Memory {
            maps: fingerprint(&self.maps.settings),
            services: services
                .map(|(key, s)| ServiceMemory { key: *key, id: s.id, retired: s.retired, zero: s.zero })
                .collect(),
            destinations: destinations
                .map(|(id, d)| DestinationMemory {
                    id: *id,
                    service: d.service,
                    address: d.spec.address,
                    bound: d.bound,
                    zero: d.zero,
                    left: d.left,
                })
                .collect(),
            retired: self.everything.retired,
            zero: self.everything.zero,
            configured_timeouts: self.configured_timeouts,
            configured_sysctls: self.configured_sysctls.clone(),
        }
    }

    pub(super) fn remember(&mut self, memory: Memory) {
        if memory.maps != fingerprint(&self.maps.settings) {
            return;
        }
        for m in memory.services {
            if let Some(s) = self.services.get_mut(&m.key).filter(|s| s.id == m.id) {
                (s.retired, s.zero) = (m.retired, m.zero);
            }
        }
        for m in memory.destinations {
            let same = self.destinations.get_mut(&m.id);
            if let Some(d) = same.filter(|d| d.service == m.service && d.spec.address == m.address) {
                (d.bound, d.zero) = (m.bound, m.zero);
                if d.removed_at.is_some() {
                    d.left = m.left;
                }
            }
        }
        (self.everything.retired, self.everything.zero) = (memory.retired, memory.zero);
        self.configured_timeouts = memory.configured_timeouts;
        self.configured_sysctls = memory.configured_sysctls;
    }

    /// Once a list of effects is enough.
    pub(super) fn persist(&mut self) {
        if !self.effects.contains(&Effect::Persist) {
            self.effects.push(Effect::Persist);
        }
    }
}
