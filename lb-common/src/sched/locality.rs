//! lblc and lblcr: the same address goes to the same destination, or the same few, for their caches' sake
//! (ip_vs_lblc.c, ip_vs_lblcr.c). Otherwise wlc.

use super::select::{least, overhead, usable};
use super::{Scheduler, Subject};
use crate::abi::{Destination, LOCALITY_MEMBERS, LocalityRef, NONE, Service};
use crate::tables::{Tables, Walk};

/// The destination's id, [`NONE`] without. Not inlined: a stack frame of its own.
#[inline(never)]
pub(super) fn choose<T: Tables>(tables: &T, service: &Service, subject: &Subject) -> u32 {
    let Some(set) = tables.locality(&subject.key) else {
        let id = weighted_least(tables, service);
        if let Some(destination) = tables.destination(id) {
            tables.remember(&subject.key, member(id, destination), subject.now);
        }
        return id;
    };
    set.set_last_used(subject.now);
    let known = least_of(tables, service, set);
    if service.scheduler == Scheduler::Lblcr as u8 {
        shrink(tables, service, set, subject.now);
    }
    if known != NONE && !is_overloaded(tables, service, known) {
        return known;
    }
    let id = weighted_least(tables, service);
    let Some(destination) = tables.destination(id) else { return NONE };
    let new = member(id, destination);
    if service.scheduler == Scheduler::Lblcr as u8 {
        add(tables, service, set, new, subject.now);
    } else {
        set.set_member(0, new);
    }
    id
}

/// A destination as it is remembered ([`crate::abi::Locality::members`]).
#[inline(always)]
fn member(id: u32, destination: &Destination) -> u64 {
    u64::from(id) | (destination.order & 0xffff_ffff) << 32
}

/// The destination that is remembered, `None` where its id is another's by now.
#[inline(always)]
fn still<'a, T: Tables>(tables: &'a T, service: &Service, remembered: u64) -> Option<&'a Destination> {
    let destination = tables.destination(remembered as u32)?;
    let same = destination.service == service.id && member(remembered as u32, destination) == remembered;
    same.then_some(destination)
}

/// wlc. Not inlined: two callers, and a stack frame of its own.
#[inline(never)]
fn weighted_least<T: Tables>(tables: &T, service: &Service) -> u32 {
    least(tables, service, Scheduler::Wlc).unwrap_or(NONE)
}

/// Whether `load` over `weight` is below `other` over `other_weight`.
#[inline(always)]
const fn is_less(load: u64, weight: u32, other: u64, other_weight: u32) -> bool {
    load.wrapping_mul(other_weight as u64) < other.wrapping_mul(weight as u64)
}

/// The least loaded usable member, the one added last where several are; [`NONE`] without. Not inlined: a stack frame
/// of its own.
#[inline(never)]
fn least_of<T: Tables>(tables: &T, service: &Service, set: LocalityRef) -> u32 {
    let (mut best, mut best_load, mut best_weight) = (NONE, 0, 1);
    let mut i = set.count();
    while i > 0 {
        i = i.wrapping_sub(1);
        let remembered = set.member(i);
        let id = remembered as u32;
        if still(tables, service, remembered).is_none() {
            continue;
        }
        let Some(destination) = usable(tables, id) else { continue };
        let (active, inactive, _) = tables.load(id);
        let load = overhead(active, inactive);
        if best == NONE || is_less(load, destination.weight, best_load, best_weight) {
            (best, best_load, best_weight) = (id, load, destination.weight);
        }
    }
    best
}

/// The most loaded member with a weight, the one added last where several are, one that is gone before all;
/// [`NONE`] without. Not inlined: a stack frame of its own.
#[inline(never)]
fn most_of<T: Tables>(tables: &T, service: &Service, set: LocalityRef) -> u32 {
    let (mut worst, mut worst_load, mut worst_weight) = (NONE, 0, 1);
    let mut i = set.count();
    while i > 0 {
        i = i.wrapping_sub(1);
        let remembered = set.member(i);
        let Some(destination) = still(tables, service, remembered) else { return i };
        if destination.weight == 0 {
            continue;
        }
        let (active, inactive, _) = tables.load(remembered as u32);
        let load = overhead(active, inactive);
        if worst == NONE || is_less(worst_load, worst_weight, load, destination.weight) {
            (worst, worst_load, worst_weight) = (i, load, destination.weight);
        }
    }
    worst
}

/// lblcr: a set of several that did not change for long loses its most loaded member
/// (ip_vs_lblcr.c: ip_vs_lblcr_schedule).
#[inline(always)]
fn shrink<T: Tables>(tables: &T, service: &Service, set: LocalityRef, now: u32) {
    let Some(settings) = tables.settings() else { return };
    let age = now.wrapping_sub(set.modified());
    // A tick of another CPU may lie a little ahead of ours.
    if set.count() < 2 || age <= settings.lblcr_expiration || age > u32::MAX >> 1 {
        return;
    }
    let worst = most_of(tables, service, set);
    if worst != NONE {
        erase(set, worst, now);
    }
}

/// Takes a member away. Not inlined: two callers, and a stack frame of its own.
#[inline(never)]
fn erase(set: LocalityRef, at: u32, now: u32) -> u32 {
    let last = set.count().wrapping_sub(1);
    let mut i = at;
    while i < last && i < LOCALITY_MEMBERS {
        let next = i.wrapping_add(1);
        set.set_member(i, set.member(next));
        i = next;
    }
    set.set_count(last);
    set.set_modified(now);
    0
}

/// Adds a member that is not there yet; where there are too many, one that is gone, or the one added first, makes room.
/// Not inlined: a stack frame of its own.
#[inline(never)]
fn add<T: Tables>(tables: &T, service: &Service, set: LocalityRef, new: u64, now: u32) -> u32 {
    let count = set.count();
    let mut room = 0;
    let mut i = 0;
    while i < count && i < LOCALITY_MEMBERS {
        let remembered = set.member(i);
        if remembered == new {
            return 0;
        }
        if still(tables, service, remembered).is_none() {
            room = i;
        }
        i = i.wrapping_add(1);
    }
    if count >= LOCALITY_MEMBERS {
        erase(set, room, now);
    }
    let end = set.count();
    set.set_member(end, new);
    set.set_count(end.wrapping_add(1));
    set.set_modified(now);
    0
}

/// Looks for a destination that is hardly used.
#[derive(Clone, Copy)]
struct Idle {
    first: u32,
    found: bool,
}

impl Walk for Idle {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(id) = tables.slot(self.first.wrapping_add(i)) else { return true };
        let Some(destination) = tables.destination(id) else { return false };
        let (active, ..) = tables.load(id);
        self.found = u64::from(active) << 1 < u64::from(destination.weight);
        self.found
    }
}

/// Whether a destination has more active connections than its weight, while another has fewer than half of its own
/// (ip_vs_lblc.c: is_overloaded). Not inlined: a stack frame of its own.
#[inline(never)]
fn is_overloaded<T: Tables>(tables: &T, service: &Service, id: u32) -> bool {
    let Some(destination) = tables.destination(id) else { return true };
    let (active, ..) = tables.load(id);
    if active <= destination.weight {
        return false;
    }
    let mut walk = Idle { first: service.first_slot, found: false };
    tables.walk(service.slots, &mut walk);
    walk.found
}
