//! From what a change touched to the operations on the maps.

use std::net::SocketAddr;
use std::time::Duration;

use lb_common::abi::{self, Schedule, destination_flags, service_flags};
use lb_common::persist::EVERY_PORT;

use super::settings::{is_every_port, ticks};
use super::state::{Destination, Live, Scheduling, Service};
use super::tunnels::IPIP;
use super::{Director, Effect};
use crate::model::{ForwardingMethod, Fwmark, Netmask, Owner, Scheduler, ServiceKey};
use crate::plan::{Member, engine_number, mask_bytes, plan, put_tunnel, resume, table, weights, wide};

impl Director {
    /// Plans everything that was touched since the last time.
    pub(super) fn commit<L: Live>(&mut self, live: &L, now: Duration) {
        self.settle();
        self.place_marks(live, now);
        let touched = std::mem::take(&mut self.touched);
        let mut desired = self.wanted.part([], []);
        let mut stuck = Vec::new();
        for (key, scheduling) in &touched.services {
            if self.services.contains_key(key) {
                match self.place(live, key, *scheduling, now) {
                    Some((value, ids)) => {
                        desired.services.insert(*key, value);
                        if value.slots != 0 {
                            desired.extents.insert(value.first_slot, ids);
                        }
                    }
                    None => stuck.push(*key),
                }
            }
        }
        for id in &touched.destinations {
            if let Some(d) = self.destinations.get(id) {
                desired.destinations.insert(*id, self.destination_value(*id, d));
            }
        }
        let services = touched.services.keys().filter(|key| !stuck.contains(key));
        let observed = self.maps.part(services, &touched.destinations);
        let ops = plan(&desired, &observed);
        for op in &ops {
            self.maps.apply(op);
        }
        for service in observed.services.values().filter(|s| s.slots != 0) {
            let kept = desired.extents.contains_key(&service.first_slot);
            if !kept {
                self.extents.release(service.first_slot, service.slots, now);
            }
        }
        // Its slots stay the old ones until there is room; destinations that are gone are passed over.
        for key in stuck {
            tracing::error!(service = %key, "no room for the scheduler's slots: the old ones stay");
            self.touched.service(key, Scheduling::Resume);
        }
        if !ops.is_empty() {
            self.effects.push(Effect::Apply(ops));
        }
    }

    /// The value of a service and its slots; `None` where the slots have no room.
    fn place<L: Live>(
        &mut self,
        live: &L,
        key: &ServiceKey,
        scheduling: Scheduling,
        now: Duration,
    ) -> Option<(abi::Service, Vec<u32>)> {
        let service = self.services.get(key)?;
        let scheduler = service.spec.scheduler;
        let members: Vec<Member> = service
            .members
            .iter()
            .filter_map(|id| {
                let Destination { spec, last_weight, .. } = self.destinations.get(id)?;
                let (weight, address) = (spec.weight, spec.address);
                Some(Member { id: *id, weight, last_weight: *last_weight, address })
            })
            .collect();
        let mh_size = self.mh_size(&service.spec);
        let ids = table(scheduler, &members, mh_size);
        let weights = weights(&members);
        let length = u32::try_from(ids.len()).ok()?;
        let hz = self.wanted.settings.hz;
        let mut value = service_value(service, hz);
        (value.weight_step, value.weight_max, value.slots) = (weights.step, weights.max, length);

        let old = self.maps.services.get(key).copied().filter(|old| old.id == value.id);
        let stored = live.schedule(value.id);
        let begin = old.map_or(stored, |old| Schedule(old.start));
        // What lies in the map is of other slots unless the generation says so.
        let current = if stored.generation() == begin.generation() { stored } else { begin };
        let mut generation = begin.generation().wrapping_add(1);
        if generation == stored.generation() {
            generation = generation.wrapping_add(1);
        }
        let going = old.filter(|old| scheduling != Scheduling::Start && old.scheduler == value.scheduler);
        value.scheduler_word = match (scheduler, going) {
            (Scheduler::Mh, _) => service.spec.mh_table_size.unwrap_or(0),
            (Scheduler::Lblc | Scheduler::Lblcr, Some(old)) => old.scheduler_word,
            (Scheduler::Lblc | Scheduler::Lblcr, None) => epoch(now),
            _ => 0,
        };
        let Some(old) = going else {
            value.first_slot = self.take_slots(live, length, now)?;
            value.start = Schedule::new(generation, Schedule::HEAD, 0).0;
            return Some((value, ids));
        };
        let before = self.maps.slots(&old).to_vec();
        let same = before == ids;
        value.first_slot = if same { old.first_slot } else { self.take_slots(live, length, now)? };
        // wrr starts its walk again also where only weights changed.
        let restart = scheduling == Scheduling::Resume && scheduler == Scheduler::Wrr;
        value.start = if same && !restart {
            old.start
        } else {
            resume(scheduler, current, &before, &ids, weights, generation).0
        };
        Some((value, ids))
    }

    /// The value of a destination.
    fn destination_value(&self, id: u32, d: &Destination) -> abi::Destination {
        let way = self.way(id, d);
        let mut flags = destination_flags::IN_USE;
        for (flag, on) in [
            (destination_flags::AVAILABLE, d.removed_at.is_none()),
            (destination_flags::LOCAL, way.local),
            (destination_flags::CONFIGURATION, d.owner == Owner::Configuration),
            (destination_flags::FWMARK, matches!(d.service, ServiceKey::Fwmark(_))),
            (destination_flags::SERVICE_IPV6, d.service.is_ipv6()),
        ] {
            if on {
                flags |= flag;
            }
        }
        let (service_address, service_port, service_protocol, service_mark) = match d.service {
            ServiceKey::Address { protocol, address } => {
                (wide(address.ip()), port_bytes(address), protocol.number(), 0)
            }
            ServiceKey::Fwmark(Fwmark { mark, .. }) => ([0; 16], [0; 2], 0, mark),
        };
        let tunnels = self.tunnels_of(&d.service);
        if d.spec.method == ForwardingMethod::Tunnel && tunnels.mss_clamp.unwrap_or(true) {
            flags |= destination_flags::MSS_CLAMP;
        }
        let mut value = abi::Destination {
            hop: way.hop,
            flags,
            weight: d.spec.weight,
            address: wide(d.spec.address.ip()),
            port: port_bytes(d.spec.address),
            family: if d.spec.address.is_ipv6() { 6 } else { 4 },
            method: d.spec.method as u8,
            upper: d.spec.upper,
            lower: d.spec.lower,
            service: d.service_id,
            order: d.order,
            last_weight: d.last_weight,
            service_address,
            service_port,
            service_protocol,
            service_mark,
            mtu: way.mtu,
            removed_at: d.removed_at.map_or(0, |at| at.as_secs()),
            ..abi::Destination::default()
        };
        if d.spec.method == ForwardingMethod::Tunnel {
            put_tunnel(&mut value, d.spec.tunnel.unwrap_or(IPIP), way.source, tunnels.outer_source);
        }
        value
    }
}

/// A number for what a service's scheduler remembers from now on ([`abi::LocalityKey::epoch`]).
fn epoch(now: Duration) -> u32 {
    // The low bits change most: a service made anew within the same millisecond remembers nothing yet.
    (now.as_micros() & u128::from(u32::MAX)) as u32
}

fn port_bytes(address: SocketAddr) -> [u8; 2] {
    address.port().to_be_bytes()
}

/// The value of a service, without its slots.
fn service_value(service: &Service, hz: u32) -> abi::Service {
    let spec = &service.spec;
    let mut flags = 0;
    for (flag, on) in [
        (service_flags::PERSISTENT, spec.persistence.is_some()),
        (service_flags::ONE_PACKET, spec.one_packet),
        (service_flags::CONFIGURATION, service.owner == Owner::Configuration),
        (service_flags::FWMARK, matches!(spec.key, ServiceKey::Fwmark(_))),
    ] {
        if on {
            flags |= flag;
        }
    }
    let seconds = spec.persistence.map_or(0, |p| p.timeout);
    let prefix = match spec.netmask {
        Netmask::V4(_) => 0,
        Netmask::V6(prefix) => u32::from(prefix),
    };
    abi::Service {
        id: service.id,
        scheduler: spec.scheduler as u8,
        scheduler_flags: spec.flags.0,
        flags,
        // Checked when it came.
        engine: spec.persistence_engine.as_deref().and_then(engine_number).unwrap_or(0),
        first_slot: 0,
        slots: 0,
        weight_step: 1,
        weight_max: 0,
        start: 0,
        persistence: ticks(seconds, hz),
        persistence_seconds: seconds,
        netmask: mask_bytes(spec.netmask),
        mark: match spec.key {
            ServiceKey::Fwmark(f) => f.mark,
            ServiceKey::Address { .. } => 0,
        },
        prefix: if is_every_port(&spec.key) { prefix | EVERY_PORT } else { prefix },
        scheduler_word: 0,
        _reserved: 0,
    }
}
