//! A configuration file against what is in force: only what the configuration owns changes
//! (architecture decision 14).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::destinations::with_port;
use super::state::Live;
use super::{Director, check, marks};
use crate::api::Refusal;
use crate::config::Config;
use crate::model::sysctl::{Sysctl, SysctlValue};
use crate::model::{DestinationSpec, Owner, ServiceKey, ServiceSpec};

impl Director {
    /// What of a configuration this version does not do. It is empty before [`super::Event::Config`].
    #[must_use]
    pub fn check(config: &Config) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (spec, destinations) in &config.services {
            refusals.extend(check::service(spec).err());
            for d in destinations {
                let d = with_port(&spec.key, d.clone());
                refusals.extend(
                    check::destination(&spec.key, &d).and_then(|()| check::new_destination(&d)).err(),
                );
                if d.address.ip().is_loopback() {
                    refusals.extend(check::local(&spec.key, &d).err());
                }
            }
        }
        refusals.extend(marks::check(&config.marks).err());
        refusals
    }

    /// [`super::Event::Config`].
    pub(super) fn reload<L: Live>(&mut self, live: &L, config: &Config, now: Duration) {
        self.reload_warnings.clear();
        self.set_tunnels(config);
        let keys: BTreeSet<ServiceKey> = config.services.iter().map(|(spec, _)| spec.key).collect();
        let gone =
            self.services.iter().filter(|(key, s)| s.owner == Owner::Configuration && !keys.contains(key));
        for key in gone.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.take_out(live, &key, now);
        }
        self.set_mh_table_size(config.mh_table_size);
        for (spec, destinations) in &config.services {
            self.bring(live, spec, destinations, now);
        }
        // An operator's --set and sysctls stay until the file says something new.
        if config.timeouts != self.configured_timeouts {
            if let Some(timeouts) = config.timeouts {
                self.set_timeouts(timeouts);
            }
            self.configured_timeouts = config.timeouts;
            self.persist();
        }
        if config.sysctls != self.configured_sysctls {
            self.reload_sysctls(&config.sysctls);
            self.configured_sysctls.clone_from(&config.sysctls);
            self.persist();
        }
        let marks = self.reload_marks(live, &config.marks);
        self.tell(marks);
        self.commit(live, now);
    }

    /// Sysctls whose value in the file is another than before, or gone: an operator's others stay.
    fn reload_sysctls(&mut self, values: &[SysctlValue]) {
        let of = |values: &[SysctlValue], name| values.iter().find(|v| v.name == name).map(|v| v.value);
        for name in Sysctl::ALL {
            let (before, after) = (of(&self.configured_sysctls, name), of(values, name));
            if before == after {
                continue;
            }
            let now = self.sysctl(name);
            // Mode 1 of a defence is shown as 2 while it is active.
            let same = |a: u32| a == now || (name.is_defence() && a.max(now) == 2 && a.min(now) == 1);
            match after {
                Some(value) => self.store_sysctl(name, value),
                None if before.is_some_and(same) => self.store_sysctl(name, name.default_value()),
                None => {}
            }
        }
    }

    fn warn(&mut self, warning: String) {
        tracing::warn!("{warning}");
        self.reload_warnings.push(warning);
    }

    fn tell(&mut self, result: Result<(), Refusal>) {
        if let Err(refusal) = result {
            self.warn(format!("configuration: {}", refusal.message));
        }
    }

    /// The addresses of a service's destinations that `owner` has.
    fn owned(&self, key: &ServiceKey, owner: Owner) -> Vec<SocketAddr> {
        let members = self.services.get(key).map_or(&[][..], |s| &s.members);
        let destinations = members.iter().filter_map(|id| self.destinations.get(id));
        destinations.filter(|d| d.owner == owner).map(|d| d.spec.address).collect()
    }

    /// A service that is not in the file any more.
    fn take_out<L: Live>(&mut self, live: &L, key: &ServiceKey, now: Duration) {
        if self.owned(key, Owner::Operator).is_empty() {
            let result = self.delete_service(live, key, now);
            self.tell(result);
            return;
        }
        for address in self.owned(key, Owner::Configuration) {
            let result = self.delete_destination(live, key, address, now);
            self.tell(result);
        }
        if let Some(service) = self.services.get_mut(key) {
            service.owner = Owner::Operator;
        }
        self.touched.service(*key, super::state::Scheduling::Same);
        self.warn(format!("service {key} is no more in the configuration; it stays with the destinations that an operator added"));
    }

    /// A service of the file.
    fn bring<L: Live>(
        &mut self,
        live: &L,
        spec: &ServiceSpec,
        destinations: &[DestinationSpec],
        now: Duration,
    ) {
        let key = spec.key;
        match self.services.get(&key) {
            None => {
                if let Err(refusal) = self.add_service(spec.clone(), Owner::Configuration) {
                    self.warn(format!("configuration: {}", refusal.message));
                    return;
                }
            }
            Some(service) if service.owner == Owner::Operator => {
                self.warn(format!(
                    "service {key} of the configuration is left out: an operator added one, which stays"
                ));
                return;
            }
            Some(service) if service.spec != *spec => {
                let result = self.edit_service(live, spec.clone(), now);
                self.tell(result);
            }
            Some(_) => {}
        }
        let wanted: Vec<DestinationSpec> = destinations.iter().map(|d| with_port(&key, d.clone())).collect();
        for address in self.owned(&key, Owner::Configuration) {
            if !wanted.iter().any(|d| d.address == address) {
                let result = self.delete_destination(live, &key, address, now);
                self.tell(result);
            }
        }
        for d in wanted {
            let present = self.member(&key, d.address).and_then(|id| self.destinations.get(&id));
            let result = match present {
                None => self.add_destination(live, &key, d, Owner::Configuration, now),
                Some(p) if p.owner == Owner::Operator => {
                    self.warn(format!("destination {} of {key} in the configuration is left out: an operator added one, which stays", d.address));
                    Ok(())
                }
                Some(p) if p.spec != d => self.edit_destination(live, &key, d, now),
                Some(_) => Ok(()),
            };
            self.tell(result);
        }
    }
}
