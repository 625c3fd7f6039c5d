//! lblc and lblcr: the same address goes to the same destination, or the same few, for their caches' sake
//! (ip_vs_lblc.c, ip_vs_lblcr.c). Otherwise wlc.

use super::select::{least, overhead, usable};
use super::{Scheduler, Subject};
use crate::abi::{Destination, LOCALITY_MEMBERS, LocalityKey, LocalityRef, NONE, Service};
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
    let known = walk(tables, &subject.key, Task::Least as u32, 0, NONE);
    if service.scheduler == Scheduler::Lblcr as u8 {
        shrink(tables, set, subject);
    }
    if known != NONE && !is_overloaded(tables, service, known) {
        return known;
    }
    let id = weighted_least(tables, service);
    let Some(destination) = tables.destination(id) else { return NONE };
    let new = member(id, destination);
    if service.scheduler == Scheduler::Lblcr as u8 {
        add(tables, set, subject, new);
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
fn still<T: Tables>(tables: &T, service: u32, remembered: u64) -> Option<&Destination> {
    let destination = tables.destination(remembered as u32)?;
    let same = destination.service == service && member(remembered as u32, destination) == remembered;
    same.then_some(destination)
}

/// wlc. Not inlined: two callers, and a stack frame of its own.
#[inline(never)]
fn weighted_least<T: Tables>(tables: &T, service: &Service) -> u32 {
    least(tables, service, Scheduler::Wlc).unwrap_or(NONE)
}

/// What a walk over the members of an address does.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Task {
    /// Finds the least loaded usable member, the one added last where several are.
    Least,
    /// Finds the most loaded member with a weight, the one added last where several are; one that is gone before all.
    Most,
    /// Finds a given member; otherwise one that is gone.
    Find,
    /// Moves the members behind a place one place towards the beginning.
    Close,
}

/// A walk over the members of an address. It looks the address up at each step: a pointer into a map cannot lie in a map,
/// where walks lie, and a plain loop is checked by verifiers for each number of members and each place on its own.
#[derive(Clone, Copy)]
struct Members {
    key: LocalityKey,
    /// The member that is looked for.
    member: u64,
    load: u64,
    weight: u32,
    /// What was found, [`NONE`] for nothing: of the least loaded one its id, otherwise a place.
    at: u32,
    /// Whether the member that was looked for is there.
    there: u32,
    task: u32,
}

impl Walk for Members {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(set) = tables.locality(&self.key) else { return true };
        let count = set.count();
        if self.task == Task::Close as u32 {
            let to = self.at.wrapping_add(i);
            let from = to.wrapping_add(1);
            if from >= count {
                return true;
            }
            set.set_member(to, set.member(from));
            return false;
        }
        if i >= count {
            return true;
        }
        let place = count.wrapping_sub(i).wrapping_sub(1);
        let remembered = set.member(place);
        let Some(destination) = still(tables, self.key.service, remembered) else {
            if self.task != Task::Least as u32 {
                self.at = place;
            }
            return self.task == Task::Most as u32;
        };
        if self.task == Task::Find as u32 {
            self.there = u32::from(remembered == self.member);
            return self.there != 0;
        }
        let id = remembered as u32;
        let least = self.task == Task::Least as u32;
        if destination.weight == 0 || (least && usable(tables, id).is_none()) {
            return false;
        }
        let (active, inactive, _) = tables.load(id);
        let load = overhead(active, inactive);
        // load / weight against self.load / self.weight.
        let ours = load.wrapping_mul(u64::from(self.weight));
        let best = self.load.wrapping_mul(u64::from(destination.weight));
        if self.at == NONE || (least && ours < best) || (!least && ours > best) {
            self.at = if least { id } else { place };
            (self.load, self.weight) = (load, destination.weight);
        }
        false
    }
}

/// Walks over the members; what was found ([`Members::at`]). Not inlined: several callers, and a stack frame of its own.
#[inline(never)]
fn walk<T: Tables>(tables: &T, key: &LocalityKey, task: u32, member: u64, at: u32) -> u32 {
    let mut members = Members { key: *key, member, load: 0, weight: 1, at, there: 0, task };
    tables.walk(LOCALITY_MEMBERS, &mut members);
    if members.there != 0 { NONE } else { members.at }
}

/// lblcr: a set of several that did not change for long loses its most loaded member
/// (ip_vs_lblcr.c: ip_vs_lblcr_schedule).
#[inline(always)]
fn shrink<T: Tables>(tables: &T, set: LocalityRef, subject: &Subject) {
    let Some(settings) = tables.settings() else { return };
    let age = subject.now.wrapping_sub(set.modified());
    // A tick of another CPU may lie a little ahead of ours.
    if set.count() < 2 || age <= settings.lblcr_expiration || age > u32::MAX >> 1 {
        return;
    }
    let worst = walk(tables, &subject.key, Task::Most as u32, 0, NONE);
    if worst != NONE {
        erase(tables, set, subject, worst);
    }
}

/// Takes a member away.
#[inline(always)]
fn erase<T: Tables>(tables: &T, set: LocalityRef, subject: &Subject, at: u32) {
    walk(tables, &subject.key, Task::Close as u32, 0, at);
    let count = set.count();
    if count != 0 {
        set.set_count(count.wrapping_sub(1));
    }
    set.set_modified(subject.now);
}

/// Adds a member that is not there yet; where there are too many, one that is gone, or the one added first, makes room.
#[inline(always)]
fn add<T: Tables>(tables: &T, set: LocalityRef, subject: &Subject, new: u64) {
    let room = walk(tables, &subject.key, Task::Find as u32, new, 0);
    if room == NONE {
        return;
    }
    if set.count() >= LOCALITY_MEMBERS {
        erase(tables, set, subject, room);
    }
    let end = set.count();
    set.set_member(end, new);
    set.set_count(end.wrapping_add(1));
    set.set_modified(subject.now);
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
