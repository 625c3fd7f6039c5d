//! Maps in memory: what the executor and the data path do to them, with the order of operations checked.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_common::abi::{
    Counters, Counts, Destination, FwmarkKey, Interface, LocalityKey, LocalityRef, MarkRule, Schedule,
    Settings, destination_flags,
};
use lb_common::hash::prefilter_bit;
use lb_common::reason::Reason;
use lb_common::tables::{Count, Direction, Tables, Walk};
use lb_common::testing::HostTables;

use crate::director::Live;
use crate::model::ServiceKey;
use crate::plan::{Layout, MapOp};

/// What lies in the maps, with what packets change of it.
#[derive(Default)]
pub(super) struct Maps {
    pub(super) layout: Layout,
    pub(super) schedules: RefCell<BTreeMap<u32, Schedule>>,
    pub(super) counts: RefCell<BTreeMap<u32, Counts>>,
    pub(super) counters: RefCell<BTreeMap<u32, Counters>>,
    pub(super) synchronized: Cell<u32>,
    /// What lblc and lblcr remember, and random numbers.
    others: OnceCell<HostTables>,
}

impl Maps {
    pub(super) fn execute(&mut self, op: &MapOp) {
        match op {
            MapOp::PutDestination { id, fresh, .. } => {
                let named = self.layout.services.values().any(|s| self.layout.slots(s).contains(id));
                assert!(!named, "a destination is written whole while a slot names it");
                if *fresh {
                    self.counts.borrow_mut().remove(id);
                    self.counters.borrow_mut().remove(id);
                }
            }
            MapOp::PutSlots { first, ids } => {
                for service in self.layout.services.values().filter(|s| s.slots != 0) {
                    let (start, end) = (service.first_slot, service.first_slot + service.slots);
                    let written = *first + ids.len() as u32;
                    assert!(
                        written <= start || end <= *first,
                        "slots are written while a service names them"
                    );
                }
            }
            MapOp::PutMarks { first, rules } => {
                for ipv6 in [false, true] {
                    let (start, length) = self.layout.settings.mark_list(ipv6);
                    assert!(
                        first + rules.len() as u32 <= start || start + length <= *first,
                        "mark rules are written while packets read them"
                    );
                }
            }
            MapOp::PutSettings { value } => {
                for ipv6 in [false, true] {
                    let (first, length) = value.mark_list(ipv6);
                    let rules = self.layout.marks.get(&first).map_or(0, |r| r.len());
                    assert!(length == 0 || rules == length as usize, "a list that nobody wrote is named");
                }
            }
            _ => {}
        }
        self.layout.apply(op);
        self.check();
    }

    /// What must hold after every single operation.
    fn check(&self) {
        for (key, service) in &self.layout.services {
            let ids = self.layout.slots(service);
            assert_eq!(ids.len(), service.slots as usize, "{key}: slots that nobody wrote");
            for id in ids {
                let d =
                    self.layout.destinations.get(id).expect("a slot names a destination that is not in use");
                assert_ne!(d.flags & destination_flags::IN_USE, 0);
            }
            if let ServiceKey::Address { address: SocketAddr::V4(a), .. } = key {
                let bit = prefilter_bit(u32::from_le_bytes(a.ip().octets()));
                let word = self.layout.prefilter[(bit >> 6) as usize];
                assert_ne!(word >> (bit & 63) & 1, 0, "{key}: the prefilter passes it by");
            }
        }
    }

    fn others(&self) -> &HostTables {
        self.others.get_or_init(|| HostTables::new(4))
    }

    pub(super) fn count(&self, id: u32, which: Count, delta: i32) {
        self.add_count(id, which, delta as u32);
    }
}

impl Live for Maps {
    fn schedule(&self, service: u32) -> Schedule {
        self.schedules.borrow().get(&service).copied().unwrap_or_default()
    }
    fn counts(&self, destination: u32) -> Counts {
        self.counts.borrow().get(&destination).copied().unwrap_or_default()
    }
    fn counters(&self, destination: u32) -> Counters {
        self.counters.borrow().get(&destination).copied().unwrap_or_default()
    }
    fn synchronize(&self) {
        self.synchronized.set(self.synchronized.get() + 1);
    }
}

/// What schedulers read; nothing else of the data path runs here.
impl Tables for Maps {
    fn now(&self) -> u32 {
        0
    }
    fn settings(&self) -> Option<&Settings> {
        Some(&self.layout.settings)
    }
    fn interface(&self, _: u32) -> Option<&Interface> {
        None
    }
    fn interface_at(&self, _: u16) -> Option<&Interface> {
        None
    }
    fn prefilter(&self, word: u32) -> u64 {
        self.layout.prefilter[word as usize]
    }
    fn mark_rule(&self, n: u32) -> Option<&MarkRule> {
        let (first, rules) = self.layout.marks.range(..=n).next_back()?;
        rules.get((n - first) as usize)
    }
    fn fwmark(&self, _: &FwmarkKey) -> Option<&lb_common::abi::Service> {
        None
    }
    fn slot(&self, index: u32) -> Option<u32> {
        let (first, ids) = self.layout.extents.range(..=index).next_back()?;
        ids.get((index - first) as usize).copied()
    }
    fn destination(&self, id: u32) -> Option<&Destination> {
        self.layout.destinations.get(&id)
    }
    fn load(&self, id: u32) -> (u32, u32, bool) {
        let c = Live::counts(self, id);
        (c.active, c.inactive, c.overload != 0)
    }
    fn add_count(&self, id: u32, which: Count, delta: u32) -> u32 {
        let mut counts = self.counts.borrow_mut();
        let c = counts.entry(id).or_default();
        let field = match which {
            Count::Active => &mut c.active,
            Count::Inactive => &mut c.inactive,
            Count::Persistent => &mut c.persistent,
        };
        *field = field.wrapping_add(delta);
        c.active + c.inactive
    }
    fn set_overload(&self, _: u32, _: bool) {}
    fn schedule(&self, service: u32) -> Schedule {
        Live::schedule(self, service)
    }
    fn swap_schedule(&self, service: u32, old: Schedule, new: Schedule) -> bool {
        if Live::schedule(self, service) != old {
            return false;
        }
        self.schedules.borrow_mut().insert(service, new);
        true
    }
    fn locality(&self, key: &LocalityKey) -> Option<LocalityRef> {
        self.others().locality(key)
    }
    fn remember(&self, key: &LocalityKey, member: u64, now: u32) {
        self.others().remember(key, member, now);
    }
    fn random(&self) -> u32 {
        self.others().random()
    }
    fn account(&self, _: u32, _: Direction, _: u32) {}
    fn account_connection(&self, destination: u32) {
        self.counters.borrow_mut().entry(destination).or_default().connections += 1;
    }
    fn count(&self, _: Reason) {}
    fn icmp_allowed(&self, _: u32) -> bool {
        true
    }
    fn walk<W: Walk>(&self, count: u32, walk: &mut W) {
        for i in 0..count {
            if walk.step(self, i) {
                break;
            }
        }
    }
}
