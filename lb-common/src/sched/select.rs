//! The choice itself. Slots hold destination ids in walk order (newest first), or the buckets of a
//! hash; a destination is taken only if it is usable ([`usable`]).

use super::{HASH_SLOTS, Scheduler, locality, mh, twos};
use crate::abi::{Destination, LocalityKey, NONE, Schedule, Service, destination_flags};
use crate::hash;
use crate::tables::{Tables, Walk};

/// What a scheduler may look at of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Subject {
    /// Service and virtual address, as lblc and lblcr remember them.
    pub key: LocalityKey,
    /// Client address folded to 32 bits, host order.
    pub client: u32,
    /// Virtual address folded to 32 bits, host order.
    pub address: u32,
    /// Now, ticks.
    pub now: u32,
    /// Client port, host order.
    pub client_port: u16,
}

/// Whether a new connection may go to the destination: available, weight above 0, not over its
/// threshold, next hop known.
#[inline(always)]
#[must_use]
pub fn usable<T: Tables>(tables: &T, id: u32) -> Option<&Destination> {
    let destination = tables.destination(id)?;
    if destination.flags & destination_flags::AVAILABLE == 0 || destination.weight == 0 {
        return None;
    }
    if destination.flags & destination_flags::LOCAL == 0 && !destination.hop.is_resolved() {
        return None;
    }
    let (_, _, overloaded) = tables.load(id);
    (!overloaded).then_some(destination)
}

/// The destination for a new connection, [`NONE`] where the scheduler has none.
#[inline(always)]
pub fn select<T: Tables>(tables: &T, service: &Service, subject: &Subject) -> u32 {
    if service.slots == 0 {
        return NONE;
    }
    // Each is a function of its own: their stack frames do not add up.
    match Scheduler::from_u8(service.scheduler) {
        Some(Scheduler::Mh) => mh::choose(tables, service, subject),
        Some(Scheduler::Twos) => twos::choose(tables, service),
        Some(Scheduler::Lblc | Scheduler::Lblcr) => locality::choose(tables, service, subject),
        Some(
            Scheduler::Rr
            | Scheduler::Wrr
            | Scheduler::Lc
            | Scheduler::Wlc
            | Scheduler::Sh
            | Scheduler::Dh
            | Scheduler::Fo
            | Scheduler::Sed
            | Scheduler::Nq
            | Scheduler::Ovf,
        ) => pick(tables, service, subject),
        None => NONE,
    }
}

/// The destination's id, [`NONE`] without. Not inlined: a stack frame of its own.
#[inline(never)]
fn pick<T: Tables>(tables: &T, service: &Service, subject: &Subject) -> u32 {
    by_scheduler(tables, service, subject).unwrap_or(NONE)
}

#[inline(always)]
fn by_scheduler<T: Tables>(tables: &T, service: &Service, subject: &Subject) -> Option<u32> {
    match Scheduler::from_u8(service.scheduler)? {
        Scheduler::Rr => round_robin(tables, service),
        Scheduler::Wrr => weighted_round_robin(tables, service),
        Scheduler::Sh => {
            let port = if service.scheduler_flags & PORT != 0 { subject.client_port } else { 0 };
            hashed(tables, service, subject.client, port)
        }
        Scheduler::Dh => {
            let id = tables.slot(service.first_slot.wrapping_add(hash::dh_bucket(subject.address)))?;
            usable(tables, id).map(|_| id)
        }
        scheduler => least(tables, service, scheduler),
    }
}

/// Bit of [`Service::scheduler_flags`]: sh-fallback, mh-fallback.
pub(super) const FALLBACK: u8 = 1;
/// Bit of [`Service::scheduler_flags`]: sh-port, mh-port.
pub(super) const PORT: u8 = 2;

/// The scheduler state to start from: the map's, or the service's where slots were rebuilt.
#[inline(always)]
fn state<T: Tables>(tables: &T, service: &Service) -> (Schedule, Schedule) {
    let stored = tables.schedule(service.id);
    let start = Schedule(service.start);
    let current = if stored.generation() == start.generation() { stored } else { start };
    (stored, current)
}

/// Walks forward from a position, wrapping once, to the first usable slot.
#[derive(Clone, Copy)]
struct Forward {
    first: u32,
    slots: u32,
    position: u32,
    /// Slot that was found, as an index in the extent.
    found: u32,
    id: u32,
}

impl Walk for Forward {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, _: u32) -> bool {
        self.position = self.position.wrapping_add(1);
        if self.position >= self.slots {
            self.position = 0;
        }
        let Some(id) = tables.slot(self.first.wrapping_add(self.position)) else { return true };
        if usable(tables, id).is_none() {
            return false;
        }
        self.found = self.position;
        self.id = id;
        true
    }
}

const NOT_FOUND: u32 = u32::MAX;

/// rr: the next after the last used; weights only tell 0 from more (ip_vs_rr.c).
#[inline(always)]
fn round_robin<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    let (stored, current) = state(tables, service);
    let position = if current.position() >= service.slots { NOT_FOUND } else { current.position() };
    let mut walk =
        Forward { first: service.first_slot, slots: service.slots, position, found: NOT_FOUND, id: 0 };
    // The next one is usable nearly always: no walk then.
    if !walk.step(tables, 0) {
        tables.walk(service.slots, &mut walk);
    }
    if walk.found == NOT_FOUND {
        return None;
    }
    // Another processor that schedules at the same moment wins; both picks are fair.
    tables.swap_schedule(service.id, stored, Schedule::new(current.generation(), walk.found, 0));
    Some(walk.id)
}

/// The walk of wrr: from the entry after the last one, the first with a weight of at least the
/// current one; at the list's end the current weight falls by the step.
#[derive(Clone, Copy)]
struct Weighted {
    first: u32,
    slots: u32,
    step: u32,
    max: u32,
    position: u32,
    weight: u32,
    /// Greatest usable weight met since the pass began.
    greatest: u32,
    /// Whole passes done.
    passes: u32,
    found: bool,
    id: u32,
}

impl Walk for Weighted {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, _: u32) -> bool {
        self.position = self.position.wrapping_add(1);
        if self.position >= self.slots {
            self.passes = self.passes.wrapping_add(1);
            self.end_of_list();
            if self.passes > 1 && self.greatest == 0 {
                return true;
            }
            self.greatest = 0;
            self.position = 0;
        }
        let Some(id) = tables.slot(self.first.wrapping_add(self.position)) else { return true };
        let Some(destination) = usable(tables, id) else { return false };
        if destination.weight >= self.weight {
            self.found = true;
            self.id = id;
            return true;
        }
        if destination.weight > self.greatest {
            self.greatest = destination.weight;
        }
        false
    }
}

impl Weighted {
    /// `cw -= di; if cw <= 0, cw = mw` (ip_vs_wrr.c: ip_vs_wrr_schedule), without the passes at weights
    /// that nobody in the pass just done reaches.
    #[inline(always)]
    fn end_of_list(&mut self) {
        let mut next = if self.weight > self.step { self.weight - self.step } else { self.max };
        if self.passes > 1 && self.greatest != 0 && next > self.greatest && next <= self.weight {
            let over = next - self.greatest;
            let rounds = over.wrapping_add(self.step).wrapping_sub(1).checked_div(self.step).unwrap_or(0);
            let fall = rounds.wrapping_mul(self.step);
            next = if next > fall { next - fall } else { self.max };
        }
        self.weight = next;
    }
}

/// wrr (ip_vs_wrr.c).
#[inline(always)]
fn weighted_round_robin<T: Tables>(tables: &T, service: &Service) -> Option<u32> {
    if service.weight_max == 0 {
        return None;
    }
    let step = if service.weight_step == 0 { 1 } else { service.weight_step };
    // mw = greatest weight less (step - 1).
    let max = service.weight_max.saturating_sub(step - 1);
    let (stored, current) = state(tables, service);
    let position = if current.position() >= service.slots { NOT_FOUND } else { current.position() };
    let weight = if current.weight() == 0 { max } else { current.weight() };
    let mut walk = Weighted {
        first: service.first_slot,
        slots: service.slots,
        step,
        max,
        position,
        weight,
        greatest: 0,
        passes: 0,
        found: false,
        id: 0,
    };
    // Rest of the list, a pass that finds the greatest weight, and one that takes it; the fall to it
    // may go by the top once more.
    tables.walk(service.slots.wrapping_mul(4).wrapping_add(4), &mut walk);
    if !walk.found {
        return None;
    }
    tables.swap_schedule(service.id, stored, Schedule::new(current.generation(), walk.position, walk.weight));
    Some(walk.id)
}

/// sh with its fallback (ip_vs_sh.c: ip_vs_sh_get, ip_vs_sh_get_fallback).
#[derive(Clone, Copy)]
struct Fallback {
    first: u32,
    client: u32,
    port: u16,
    start: u32,
    id: u32,
    found: bool,
}

impl Walk for Fallback {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let offset = self.start.wrapping_add(i) & (HASH_SLOTS - 1);
        let bucket = hash::sh_bucket(self.client, self.port, offset);
        let Some(id) = tables.slot(self.first.wrapping_add(bucket)) else { return true };
        if usable(tables, id).is_none() {
            return false;
        }
        self.id = id;
        self.found = true;
        true
    }
}

#[inline(always)]
fn hashed<T: Tables>(tables: &T, service: &Service, client: u32, port: u16) -> Option<u32> {
    let bucket = hash::sh_bucket(client, port, 0);
    let id = tables.slot(service.first_slot.wrapping_add(bucket))?;
    if service.scheduler_flags & FALLBACK == 0 || usable(tables, id).is_some() {
        return usable(tables, id).map(|_| id);
    }
    let mut walk = Fallback { first: service.first_slot, client, port, start: bucket, id: 0, found: false };
    tables.walk(HASH_SLOTS, &mut walk);
    walk.found.then_some(walk.id)
}

/// Keeps the best of all usable destinations; ties keep the first in walk order.
#[derive(Clone, Copy)]
struct Least {
    first: u32,
    kind: u8,
    found: bool,
    id: u32,
    load: u64,
    weight: u64,
}

impl Walk for Least {
    #[inline(always)]
    fn step<T: Tables>(&mut self, tables: &T, i: u32) -> bool {
        let Some(id) = tables.slot(self.first.wrapping_add(i)) else { return true };
        let Some(destination) = usable(tables, id) else { return false };
        let (active, inactive, _) = tables.load(id);
        let both = overhead(active, inactive);
        let (active, weight) = (u64::from(active), u64::from(destination.weight));
        let (load, weight, last) = match self.kind {
            LC => (both, 1, false),
            WLC => (both, weight, false),
            SED => (active.wrapping_add(1), weight, false),
            NQ => (active.wrapping_add(1), weight, active == 0),
            // The highest weight: load 1 over the weight is least.
            OVF if active > weight => return false,
            _ => (1, weight, false),
        };
        // load / weight < self.load / self.weight
        if !self.found || last || load.wrapping_mul(self.weight) < self.load.wrapping_mul(weight) {
            self.found = true;
            self.id = id;
            self.load = load;
            self.weight = weight;
        }
        last
    }
}

const LC: u8 = Scheduler::Lc as u8;
const WLC: u8 = Scheduler::Wlc as u8;
const SED: u8 = Scheduler::Sed as u8;
const NQ: u8 = Scheduler::Nq as u8;
const OVF: u8 = Scheduler::Ovf as u8;

/// The load of a destination. Kernel 6.1's term (the recordings'); 6.12 adds the active ones once more.
#[inline(always)]
pub(super) const fn overhead(active: u32, inactive: u32) -> u64 {
    ((active as u64) << 8).wrapping_add(inactive as u64)
}

/// lc, wlc, sed, nq, fo, ovf (ip_vs_lc.c, ip_vs_wlc.c, ip_vs_sed.c, ip_vs_nq.c, ip_vs_fo.c, ip_vs_ovf.c).
#[inline(always)]
pub(super) fn least<T: Tables>(tables: &T, service: &Service, scheduler: Scheduler) -> Option<u32> {
    let mut walk =
        Least { first: service.first_slot, kind: scheduler as u8, found: false, id: 0, load: 0, weight: 1 };
    tables.walk(service.slots, &mut walk);
    walk.found.then_some(walk.id)
}
