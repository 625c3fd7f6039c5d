//! What the decision needs of the maps, over memory.

use core::sync::atomic::Ordering;
use std::sync::PoisonError;

use super::blank::Lent;
use super::{HostTables, random_number};
use crate::abi::{
    Destination, Entry4, Entry6, FwmarkKey, ICMP_BUCKETS, INTERFACES, Interface, LOCALITY_MEMBERS, Locality,
    LocalityKey, LocalityRef, MarkRule, Schedule, Service, ServiceKey4, ServiceKey6, Settings,
};
use crate::family::{Family, V4, V6};
use crate::frame::Frame;
use crate::limit::{self, Limit};
use crate::reason::Reason;
use crate::tables::{Count, Direction, FlowTable, Route, Store, Tables, Walk};

const NO_INTERFACE: Interface = Interface {
    ifindex: 0,
    flags: 0,
    mac: 0,
    second_mac: 0,
    mtu: 0,
    _reserved: 0,
    name: [0; 2],
    _room: [0; 2],
};

impl Tables for HostTables {
    fn load_payload<Fr: Frame>(&self, frame: &Fr, at: u32, length: u32) -> bool {
        let bytes: Option<Vec<u8>> = (at..at + length).map(|i| frame.get::<u8>(i)).collect();
        let mut payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        *payload = bytes.unwrap_or_default();
        !payload.is_empty()
    }

    fn payload(&self, at: u32) -> u8 {
        let payload = self.payload.lock().unwrap_or_else(PoisonError::into_inner);
        payload.get(at as usize).copied().unwrap_or(0xa5)
    }

    fn now(&self) -> u32 {
        let left = |reads: u32| reads.checked_sub(1);
        match self.reads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, left) {
            Ok(_) => self.now.load(Ordering::SeqCst),
            Err(_) => self.next.load(Ordering::SeqCst),
        }
    }

    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn interface(&self, index: u32) -> Option<&Interface> {
        let interface = self.interfaces.get(&(index % INTERFACES)).unwrap_or(&NO_INTERFACE);
        (interface.ifindex == index).then_some(interface)
    }

    fn interface_at(&self, index: u16) -> Option<&Interface> {
        let index = u32::from(index);
        (index < INTERFACES).then(|| self.interfaces.get(&index).unwrap_or(&NO_INTERFACE))
    }

    fn prefilter(&self, word: u32) -> u64 {
        self.prefilter.get(word as usize).copied().unwrap_or(0)
    }

    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        // Nobody asks for more than the settings name.
        self.marks.get(n as usize)
    }

    fn fwmark(&self, key: &FwmarkKey) -> Option<&Service> {
        self.fwmarks.get(key)
    }

    fn slot(&self, index: u32) -> Option<u32> {
        self.slots.get(index as usize).copied()
    }

    fn destination(&self, id: u32) -> Option<&Destination> {
        self.destinations.get(id as usize)
    }

    fn load(&self, id: u32) -> (u32, u32, bool) {
        if id as usize >= self.counts.len() {
            return (0, 0, true);
        }
        let counts = self.counts(id);
        (counts.active, counts.inactive, counts.overload != 0)
    }

    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        let Some([active, inactive, persistent, _]) = self.counts.get(id as usize) else { return 0 };
        match which {
            Count::Active => active,
            Count::Inactive => inactive,
            Count::Persistent => persistent,
        }
        .fetch_add(delta, Ordering::SeqCst);
        active.load(Ordering::SeqCst).wrapping_add(inactive.load(Ordering::SeqCst))
    }

    fn set_overload(&self, id: u32, overloaded: bool) {
        if let Some([.., overload]) = self.counts.get(id as usize) {
            overload.store(u32::from(overloaded), Ordering::SeqCst);
        }
    }

    fn schedule(&self, service: u32) -> Schedule {
        Schedule(self.schedules.get(service as usize).map_or(0, |s| s.load(Ordering::SeqCst)))
    }

    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        self.schedules
            .get(service as usize)
            .is_some_and(|s| s.compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    fn locality(&self, key: &LocalityKey) -> Option<LocalityRef> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        self.localities.locality(*remembered.get(key)?)
    }

    fn remember(&self, key: &LocalityKey, member: u64, now: u32) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let next = u32::try_from(remembered.len()).unwrap_or(u32::MAX);
        let at = remembered.get(key).copied().unwrap_or(next);
        let mut members = [0; LOCALITY_MEMBERS as usize];
        if let Some(first) = members.first_mut() {
            *first = member;
        }
        let value = Locality { count: 1, last_used: now, modified: now, _pad: 0, members };
        if self.localities.write(at, value).is_some() {
            remembered.insert(*key, at);
        }
    }

    fn random(&self) -> u32 {
        let (state, number) = random_number(self.random.load(Ordering::SeqCst));
        self.random.store(state, Ordering::SeqCst);
        number
    }

    fn account(&self, destination: u32, direction: Direction, bytes: u32) {
        match direction {
            Direction::In => self.account(destination, &[(1, 1), (2, u64::from(bytes))]),
            Direction::Out => self.account(destination, &[(3, 1), (4, u64::from(bytes))]),
        }
    }

    fn account_connection(&self, destination: u32) {
        self.account(destination, &[(0, 1)]);
    }

    fn count(&self, reason: Reason) {
        if let Some(counter) = self.reasons.get(reason as usize) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn icmp_allowed(&self, client: u32) -> bool {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (limit::bucket(client), Limit::of_client(&self.settings));
        let all = (ICMP_BUCKETS, Limit::of_all(&self.settings));
        [own, all].into_iter().all(|(index, limit)| {
            let Some(bucket) = limits.get_mut(index as usize) else { return false };
            let (after, allowed) = limit.take(*bucket, self.now());
            *bucket = after;
            allowed
        })
    }

    fn is_shed(&self, rate: u32) -> bool {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = limits.get_mut(ICMP_BUCKETS as usize + 1) else { return false };
        let (seen, shed) = limit::turn(bucket.tokens, rate);
        bucket.tokens = seen;
        shed
    }

    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        let _ = (0..count).any(|i| walk.step(self, i));
    }
}

impl Store<V4> for HostTables {
    type Entry = Entry4;
    type Scratch<'a> = Lent<V4>;

    fn scratch(&self) -> Option<Lent<V4>> {
        Some(Lent::take())
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry4> {
        match table {
            FlowTable::Connections => self.connections4.entry(index),
            FlowTable::Templates => self.templates4.entry(index),
        }
    }

    fn service(&self, address: [u8; 4], port: [u8; 2], protocol: u8) -> Option<&Service> {
        self.services4.get(&ServiceKey4 { address, port, protocol, _pad: 0 })
    }

    fn route(&self, _source: [u8; 4], client: [u8; 4]) -> Route {
        self.route_to(V4::wide(client))
    }

    fn want_neighbour(&self, client: [u8; 4]) {
        self.want(V4::wide(client));
    }
}

impl Store<V6> for HostTables {
    type Entry = Entry6;
    type Scratch<'a> = Lent<V6>;

    fn scratch(&self) -> Option<Lent<V6>> {
        Some(Lent::take())
    }

    fn bucket(&self, table: FlowTable, index: u32) -> Option<Entry6> {
        match table {
            FlowTable::Connections => self.connections6.entry(index),
            FlowTable::Templates => self.templates6.entry(index),
        }
    }

    fn service(&self, address: [u64; 2], port: [u8; 2], protocol: u8) -> Option<&Service> {
        self.services6.get(&ServiceKey6 { address: V6::wide(address), port, protocol, _pad: 0 })
    }

    fn route(&self, _source: [u64; 2], client: [u64; 2]) -> Route {
        self.route_to(V6::wide(client))
    }

    fn want_neighbour(&self, client: [u64; 2]) {
        self.want(V6::wide(client));
    }
}
