//! The way from what the maps hold to what they are to hold.

use lb_common::abi::{Destination, Settings, destination_flags, settings_flags};

use super::layout::{with_options, with_weight};
use super::{Layout, MapOp, service_key};

/// Everything that one map operation after the other makes `desired` of `observed`.
///
/// Order: what lets packets in (prefilter, settings), destinations, slots, services; then the reverse for
/// what goes. So a service never names a slot that is not written, and a slot never a destination that
/// is not in use, wherever the list is cut off. A pure function: equal layouts give no operation.
#[must_use]
pub fn plan(desired: &Layout, observed: &Layout) -> Vec<MapOp> {
    let mut ops = Vec::new();
    interfaces(desired, observed, &mut ops);
    // Meanwhile both the old and the new services are reached.
    let between: Vec<u64> = desired.prefilter.iter().zip(&observed.prefilter).map(|(d, o)| d | o).collect();
    prefilter(&between, &observed.prefilter, &mut ops);
    for (first, rules) in &desired.marks {
        if observed.marks.get(first) != Some(rules) {
            ops.push(MapOp::PutMarks { first: *first, rules: rules.clone() });
        }
    }
    let kept = observed.settings.flags & REACH;
    let first = Settings { flags: desired.settings.flags | kept, ..desired.settings };
    settings(&first, &observed.settings, &mut ops);
    for (id, d) in &desired.destinations {
        if !is_leaving(d) {
            destination(*id, d, observed.destinations.get(id), &mut ops);
        }
    }
    for (key, service) in &desired.services {
        let ids = desired.slots(service);
        let named = observed.services.get(key).filter(|o| o.slots != 0).map(|o| o.first_slot);
        if service.slots != 0 && (named != Some(service.first_slot) || ids != observed_slots(observed, key)) {
            ops.push(MapOp::PutSlots { first: service.first_slot, ids: ids.to_vec() });
        }
        if observed.services.get(key) != Some(service) {
            ops.push(MapOp::PutService { key: *key, value: Box::new(*service) });
        }
    }
    for key in observed.services.keys().filter(|key| !desired.services.contains_key(key)) {
        ops.push(MapOp::RemoveService { key: *key });
    }
    for (id, d) in &desired.destinations {
        if is_leaving(d) {
            destination(*id, d, observed.destinations.get(id), &mut ops);
        }
    }
    for id in observed.destinations.keys().filter(|id| !desired.destinations.contains_key(id)) {
        ops.push(MapOp::SetFlags { id: *id, flags: 0 });
    }
    settings(&desired.settings, &first, &mut ops);
    prefilter(&desired.prefilter, &between, &mut ops);
    ops
}

/// Settings that widen what packets are looked at.
const REACH: u32 = settings_flags::FTP | settings_flags::ANY_PORT | settings_flags::NO_PREFILTER;

fn is_leaving(d: &Destination) -> bool {
    d.flags & destination_flags::AVAILABLE == 0
}

fn observed_slots<'a>(observed: &'a Layout, key: &crate::model::ServiceKey) -> &'a [u32] {
    observed.services.get(key).map_or(&[], |s| observed.slots(s))
}

fn interfaces(desired: &Layout, observed: &Layout, ops: &mut Vec<MapOp>) {
    for (index, value) in &desired.interfaces {
        if observed.interfaces.get(index) != Some(value) {
            ops.push(MapOp::PutInterface { index: *index, value: *value });
        }
    }
    for index in observed.interfaces.keys().filter(|i| !desired.interfaces.contains_key(i)) {
        ops.push(MapOp::PutInterface { index: *index, value: Default::default() });
    }
}

fn prefilter(desired: &[u64], observed: &[u64], ops: &mut Vec<MapOp>) {
    let differs = (0..).zip(desired.iter().zip(observed)).filter(|(_, (d, o))| d != o);
    let words: Vec<(u32, u64)> = differs.map(|(i, (d, _))| (i, *d)).collect();
    if !words.is_empty() {
        ops.push(MapOp::PutPrefilter { words });
    }
}

fn settings(desired: &Settings, observed: &Settings, ops: &mut Vec<MapOp>) {
    if desired != observed {
        ops.push(MapOp::PutSettings { value: Box::new(*desired) });
    }
}

/// The fields that a destination in use cannot change.
fn identity(d: &Destination) -> impl PartialEq + use<> {
    (service_key(d), d.family, d.address, d.port)
}

fn destination(id: u32, d: &Destination, observed: Option<&Destination>, ops: &mut Vec<MapOp>) {
    let known = observed.filter(|o| identity(o) == identity(d));
    // What single stores would make of it.
    let stored = known.map(|o| Destination {
        flags: d.flags,
        hop: d.hop,
        mtu: d.mtu,
        removed_at: d.removed_at,
        ..with_weight(&with_options(o, d), d.weight)
    });
    let Some(o) = known.filter(|_| stored == Some(*d)) else {
        ops.push(MapOp::PutDestination { id, value: Box::new(*d), fresh: known.is_none() });
        if known.is_some() {
            // One that comes back may have other thresholds than its connections were counted against.
            ops.push(MapOp::SetOptions { id, value: Box::new(*d) });
        }
        return;
    };
    // A packet must not go by a new way with the MTU of an old and wider one.
    if o.mtu > d.mtu {
        ops.push(MapOp::SetMtu { id, mtu: d.mtu });
    }
    if o.hop != d.hop {
        ops.push(MapOp::SetHop { id, hop: d.hop });
    }
    if o.mtu < d.mtu {
        ops.push(MapOp::SetMtu { id, mtu: d.mtu });
    }
    if o.weight != d.weight {
        ops.push(MapOp::SetWeight { id, weight: d.weight });
    }
    if with_options(o, d) != *o {
        ops.push(MapOp::SetOptions { id, value: Box::new(*d) });
    }
    if o.removed_at != d.removed_at {
        ops.push(MapOp::SetRemovedAt { id, seconds: d.removed_at });
    }
    if o.flags != d.flags {
        ops.push(MapOp::SetFlags { id, flags: d.flags });
    }
}
