//! The maps as ordinary memory.

mod blank;
pub use self::blank::Lent;
mod tables;

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, Hop, ICMP_BUCKETS, IcmpBucket, Interface,
    Locality, LocalityKey, MarkRule, Memory, PREFILTER_BITS, REASONS, Schedule, Service, ServiceKey4,
    ServiceKey6, Settings,
};
use crate::flow_table;
use crate::reason::Reason;
use crate::tables::Route;

/// Destinations and slots that fit where nothing else is said; services.
const DESTINATIONS: u32 = 64;
const SLOTS: u32 = 4096;
const SERVICES: u32 = 64;
/// Addresses that lblc and lblcr remember together.
const LOCALITIES: u32 = 64;

/// What a CPU's counters of one destination hold.
type Accounts = [AtomicU64; 5];

/// The maps. What the daemon writes is public and plain; what the data path writes can be used from
/// several threads at once.
#[derive(Debug)]
pub struct HostTables {
    /// Element of map `SETTINGS`.
    pub settings: Settings,
    /// Elements of map `IFACES` that are not zero, by index (ifindex modulo [`INTERFACES`]).
    pub interfaces: BTreeMap<u32, Interface>,
    /// Map `SERVICES4`.
    pub services4: HashMap<ServiceKey4, Service>,
    /// Map `SERVICES6`.
    pub services6: HashMap<ServiceKey6, Service>,
    /// Map `FWMARKS`.
    pub fwmarks: HashMap<FwmarkKey, Service>,
    /// Map `MARKS`, from its beginning ([`HostTables::set_marks`]).
    pub marks: Vec<MarkRule>,
    /// Map `SLOTS`.
    pub slots: Vec<u32>,
    /// Map `DESTINATIONS`.
    pub destinations: Vec<Destination>,
    /// Map `PREFILTER`.
    pub prefilter: Vec<u64>,
    /// The kernel's routes with resolved next hops, by client address (IPv4 in the first four bytes).
    pub routes: BTreeMap<[u8; 16], Hop>,
    /// Map `CONNECTIONS4`.
    pub connections4: Memory<Bucket4>,
    /// Map `CONNECTIONS6`.
    pub connections6: Memory<Bucket6>,
    /// Map `TEMPLATES4`.
    pub templates4: Memory<Bucket4>,
    /// Map `TEMPLATES6`.
    pub templates6: Memory<Bucket6>,
    /// The tick; after so many more reads of it, the next one.
    now: AtomicU32,
    reads: AtomicU32,
    next: AtomicU32,
    counts: Vec<[AtomicU32; 4]>,
    schedules: Vec<AtomicU64>,
    counters: Vec<Accounts>,
    reasons: Vec<AtomicU64>,
    limits: Mutex<Vec<IcmpBucket>>,
    localities: Memory<Locality>,
    /// Where in `localities` a key is.
    remembered: Mutex<BTreeMap<LocalityKey, u32>>,
    random: AtomicU64,
    wanted: Mutex<Vec<[u8; 16]>>,
    /// What persistence engines read.
    payload: Mutex<Vec<u8>>,
}

impl HostTables {
    /// Empty maps whose tables have `buckets` (a power of two) buckets each, and overflow buckets behind them.
    #[must_use]
    pub fn new(buckets: u32) -> Self {
        Self::with_room(buckets, DESTINATIONS, SLOTS)
    }

    /// The same for so many destinations and slots, a sixteenth of which one service can have.
    #[must_use]
    pub fn with_room(buckets: u32, destinations: u32, slots: u32) -> Self {
        let elements = flow_table::elements(buckets);
        let mut tables = Self {
            settings: Settings::default(),
            interfaces: BTreeMap::new(),
            services4: HashMap::new(),
            services6: HashMap::new(),
            fwmarks: HashMap::new(),
            marks: Vec::new(),
            slots: vec![0; slots as usize],
            destinations: vec![Destination::default(); destinations as usize],
            prefilter: vec![0; PREFILTER_BITS as usize / 64],
            routes: BTreeMap::new(),
            connections4: Memory::new(elements),
            connections6: Memory::new(elements),
            templates4: Memory::new(elements),
            templates6: Memory::new(elements),
            now: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            next: AtomicU32::new(0),
            counts: (0..destinations).map(|_| Default::default()).collect(),
            schedules: (0..SERVICES).map(|_| AtomicU64::new(0)).collect(),
            counters: (0..destinations).map(|_| Accounts::default()).collect(),
            reasons: (0..REASONS).map(|_| AtomicU64::new(0)).collect(),
            limits: Mutex::new(vec![IcmpBucket::default(); ICMP_BUCKETS as usize + 2]),
            localities: Memory::new(LOCALITIES),
            remembered: Mutex::default(),
            random: AtomicU64::new(0),
            wanted: Mutex::new(Vec::new()),
            payload: Mutex::new(Vec::new()),
        };
        super::site::prepare(&mut tables, buckets);
        tables
    }

    /// Sets the tick.
    pub fn set_now(&self, now: u32) {
        self.set_now_until(now, 0, now);
    }

    /// Sets the tick for so many reads of it, and the one after: on a real machine it changes at any moment.
    pub fn set_now_until(&self, now: u32, reads: u32, next: u32) {
        self.now.store(now, Ordering::SeqCst);
        self.next.store(next, Ordering::SeqCst);
        self.reads.store(reads, Ordering::SeqCst);
    }

    /// Connections of a destination.
    #[must_use]
    pub fn counts(&self, id: u32) -> Counts {
        let word = |i: usize| {
            let counts = self.counts.get(id as usize);
            counts.and_then(|c| c.get(i)).map_or(0, |c| c.load(Ordering::SeqCst))
        };
        Counts { active: word(0), inactive: word(1), persistent: word(2), overload: word(3) }
    }

    /// Sets the connections of a destination.
    pub fn set_counts(&self, id: u32, counts: Counts) {
        let Some(to) = self.counts.get(id as usize) else { return };
        for (to, from) in to.iter().zip([counts.active, counts.inactive, counts.persistent, counts.overload])
        {
            to.store(from, Ordering::SeqCst);
        }
    }

    /// Counters of a destination.
    #[must_use]
    pub fn counters(&self, id: u32) -> Counters {
        let word = |i: usize| {
            let counters = self.counters.get(id as usize);
            counters.and_then(|c| c.get(i)).map_or(0, |c| c.load(Ordering::SeqCst))
        };
        Counters {
            connections: word(0),
            in_packets: word(1),
            in_bytes: word(2),
            out_packets: word(3),
            out_bytes: word(4),
            _reserved: [0; 3],
        }
    }

    /// Packets by reason, in the order of [`Reason::ALL`].
    #[must_use]
    pub fn reasons(&self) -> Vec<u64> {
        self.reasons.iter().take(Reason::ALL.len()).map(|r| r.load(Ordering::SeqCst)).collect()
    }

    /// Packets of one reason.
    #[must_use]
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).map_or(0, |r| r.load(Ordering::SeqCst))
    }

    /// A token bucket of map `ICMP_LIMITS`.
    #[must_use]
    pub fn limit(&self, index: u32) -> IcmpBucket {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.get(index as usize).copied().unwrap_or_default()
    }

    /// Fills every token bucket.
    pub fn reset_limits(&self) {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).fill(IcmpBucket::default());
    }

    /// The clients whose next hops the daemon was asked to resolve, in order; empties the list.
    pub fn take_wanted(&self) -> Vec<[u8; 16]> {
        core::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What lblc and lblcr remember, by key.
    #[must_use]
    pub fn localities(&self) -> BTreeMap<LocalityKey, Locality> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.iter().filter_map(|(key, at)| Some((*key, self.localities.read(*at)?))).collect()
    }

    /// Makes everything that lblc and lblcr remember older by so many ticks.
    pub fn age_localities(&self, ticks: u32) {
        for (i, mut l) in (0..).zip(self.localities.all()) {
            l.last_used = l.last_used.wrapping_sub(ticks);
            l.modified = l.modified.wrapping_sub(ticks);
            let _ = self.localities.write(i, l);
        }
    }

    /// Sets from where random numbers go on ([`random_number`]).
    pub fn set_random(&self, state: u64) {
        self.random.store(state, Ordering::SeqCst);
    }

    /// From where random numbers go on.
    #[must_use]
    pub fn random_state(&self) -> u64 {
        self.random.load(Ordering::SeqCst)
    }

    /// Sets a service's scheduler state.
    pub fn set_schedule(&self, service: u32, schedule: Schedule) {
        if let Some(state) = self.schedules.get(service as usize) {
            state.store(schedule.0, Ordering::SeqCst);
        }
    }

    fn account(&self, destination: u32, values: &[(usize, u64)]) {
        let Some(counters) = self.counters.get(destination as usize) else { return };
        for (i, n) in values {
            if let Some(counter) = counters.get(*i) {
                counter.fetch_add(*n, Ordering::SeqCst);
            }
        }
    }

    fn route_to(&self, client: [u8; 16]) -> Route {
        match self.routes.get(&client) {
            Some(hop) if hop.is_resolved() => Route::Hop(*hop),
            _ => Route::Unresolved,
        }
    }

    fn want(&self, client: [u8; 16]) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push(client);
    }
}

impl Clone for HostTables {
    fn clone(&self) -> Self {
        let word = |a: &AtomicU32| AtomicU32::new(a.load(Ordering::SeqCst));
        let double = |a: &AtomicU64| AtomicU64::new(a.load(Ordering::SeqCst));
        Self {
            settings: self.settings,
            interfaces: self.interfaces.clone(),
            services4: self.services4.clone(),
            services6: self.services6.clone(),
            fwmarks: self.fwmarks.clone(),
            marks: self.marks.clone(),
            slots: self.slots.clone(),
            destinations: self.destinations.clone(),
            prefilter: self.prefilter.clone(),
            routes: self.routes.clone(),
            connections4: self.connections4.clone(),
            connections6: self.connections6.clone(),
            templates4: self.templates4.clone(),
            templates6: self.templates6.clone(),
            now: word(&self.now),
            reads: word(&self.reads),
            next: word(&self.next),
            counts: self.counts.iter().map(|c| c.each_ref().map(word)).collect(),
            schedules: self.schedules.iter().map(double).collect(),
            counters: self.counters.iter().map(|c| c.each_ref().map(double)).collect(),
            reasons: self.reasons.iter().map(double).collect(),
            limits: Mutex::new(self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            payload: Mutex::new(Vec::new()),
            localities: self.localities.clone(),
            remembered: Mutex::new(self.remembered.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            random: double(&self.random),
            wanted: Mutex::new(self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }
}

/// The next state of the host's random numbers, and the number (SplitMix64's upper half).
#[must_use]
pub const fn random_number(state: u64) -> (u64, u32) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, ((z ^ z >> 31) >> 32) as u32)
}
