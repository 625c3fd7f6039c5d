//! Maps in memory: what the executor and the data path do to them, with the order of operations checked.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::abi::{
    Counters, Counts, Destination, FwmarkKey, Interface, LocalityKey, LocalityRef, MarkRule, NONE, Schedule,
    Settings, destination_flags,
};
use lb_common::hash::prefilter_bit;
use lb_common::reason::Reason;
use lb_common::sched::{self, Subject};
use lb_common::tables::{Count, Direction, Tables, Walk};
use lb_common::testing::HostTables;

use crate::api::{Refusal, Request, Response, ServiceView};
use crate::director::{Director, Effect, Event, Link, Live, Memory, NextHop, RequestId};
use crate::model::{
    DestinationSpec, ForwardingMethod, Netmask, Protocol, Scheduler, SchedulerFlags, ServiceKey, ServiceSpec,
};
use crate::plan::{Capacity, Layout, MapOp, Observed, destination_address, wide};

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
    fn execute(&mut self, op: &MapOp) {
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
        self.layout.marks.get(n as usize)
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

/// A director with its maps and its surroundings.
pub(super) struct World {
    pub(super) director: Director,
    pub(super) maps: Maps,
    pub(super) capacity: Capacity,
    pub(super) now: Duration,
    /// What addresses are answered; others are by `02:00:...` and the last byte of the address.
    pub(super) hops: BTreeMap<IpAddr, NextHop>,
    /// Answers that came.
    pub(super) replies: BTreeMap<RequestId, Response>,
    /// Operations since the last [`World::ops`].
    pub(super) ops: Vec<MapOp>,
    pub(super) unwatched: Vec<IpAddr>,
    next: u64,
}

pub(super) const CAPACITY: Capacity = Capacity { services: 64, destinations: 64, slots: 4096 };

impl World {
    pub(super) fn new() -> Self {
        Self::with(CAPACITY)
    }

    pub(super) fn with(capacity: Capacity) -> Self {
        let mut maps = Maps::default();
        maps.layout.settings.hz = 100;
        let mut world = Self {
            director: Director::new(),
            maps,
            capacity,
            now: Duration::from_secs(1000),
            hops: BTreeMap::new(),
            replies: BTreeMap::new(),
            ops: Vec::new(),
            unwatched: Vec::new(),
            next: 0,
        };
        world.start();
        world
    }

    /// A new lbd finds the maps.
    pub(super) fn start(&mut self) {
        let memory = self.director.memory();
        self.start_with(memory);
    }

    pub(super) fn start_with(&mut self, memory: Memory) {
        self.director = Director::new();
        let links = vec![
            Link {
                ifindex: 2,
                name: "eth0".into(),
                mac: Some([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                attached: true,
            },
            Link {
                ifindex: 3,
                name: "eth1".into(),
                mac: Some([2, 0, 0, 0, 0, 2]),
                mtu: 1500,
                attached: false,
            },
        ];
        let observed = self.observe();
        self.event(Event::Links(links));
        self.event(Event::Observed(Box::new(observed), Box::new(memory)));
    }

    pub(super) fn observe(&self) -> Observed {
        let layout = &self.maps.layout;
        let services: Vec<_> = layout.services.iter().map(|(k, s)| (*k, *s)).collect();
        Observed {
            slots: services.iter().map(|(_, s)| layout.slots(s).to_vec()).collect(),
            schedules: services.iter().map(|(_, s)| (s.id, Live::schedule(&self.maps, s.id))).collect(),
            services,
            destinations: layout.destinations.iter().map(|(id, d)| (*id, *d)).collect(),
            marks: layout.marks.clone(),
            settings: layout.settings,
            prefilter: layout.prefilter.clone(),
            capacity: self.capacity,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut later = Vec::new();
        for effect in self.director.handle(&self.maps, event, self.now) {
            match effect {
                Effect::Apply(ops) => {
                    for op in &ops {
                        self.maps.execute(op);
                    }
                    self.ops.extend(ops);
                }
                Effect::Reply(id, response) => {
                    assert!(self.replies.insert(id, response).is_none(), "answered twice");
                }
                Effect::Page(id, page) => {
                    self.replies.insert(id, Response::Services { services: page.services });
                }
                Effect::Watch(address) => {
                    let next_hop = self.hops.get(&address).cloned().unwrap_or_else(|| by_last_byte(address));
                    later.extend([Event::NextHop { address, next_hop }, Event::Waited(address)]);
                }
                Effect::Unwatch(address) => self.unwatched.push(address),
                Effect::Persist => {}
            }
        }
        for event in later {
            self.event(event);
        }
    }

    pub(super) fn ask(&mut self, request: Request) -> Result<Response, Refusal> {
        self.next += 1;
        let id = RequestId(self.next);
        self.event(match request {
            Request::Services { key } => Event::Services { id, only: key, after: None },
            request => Event::Request(id, request),
        });
        match self.replies.remove(&id).expect("no answer") {
            Response::Refused(refusal) => Err(refusal),
            response => Ok(response),
        }
    }

    /// A change that must succeed.
    pub(super) fn does(&mut self, request: Request) {
        let what = format!("{request:?}");
        assert_eq!(self.ask(request), Ok(Response::Done), "{what}");
    }

    pub(super) fn list(&mut self) -> Vec<ServiceView> {
        match self.ask(Request::Services { key: None }) {
            Ok(Response::Services { services }) => services,
            other => panic!("{other:?}"),
        }
    }

    /// The destination that a new connection gets, and its id.
    pub(super) fn schedule(&self, key: &ServiceKey, client: SocketAddr) -> Option<(u32, SocketAddr)> {
        let address = match key {
            ServiceKey::Address { address, .. } => address.ip(),
            ServiceKey::Fwmark(_) => client.ip(),
        };
        self.schedule_to(key, client, address)
    }

    /// As [`Self::schedule`], of a packet to `address`.
    pub(super) fn schedule_to(
        &self,
        key: &ServiceKey,
        client: SocketAddr,
        address: IpAddr,
    ) -> Option<(u32, SocketAddr)> {
        let service = self.maps.layout.services.get(key)?;
        let (client, client_port) = (folded(client.ip()), client.port());
        let key = LocalityKey { service: service.id, epoch: service.scheduler_word, address: wide(address) };
        let subject = Subject { key, client, address: folded(address), now: 0, client_port };
        let id = sched::select(&self.maps, service, &subject);
        if id == NONE {
            return None;
        }
        self.maps.account_connection(id);
        Some((id, destination_address(self.maps.layout.destinations.get(&id)?)))
    }

    /// The map's element of a destination, and its id.
    pub(super) fn element(&self, address: &str) -> (u32, Destination) {
        let address: SocketAddr = address.parse().unwrap();
        let mut found =
            self.maps.layout.destinations.iter().filter(|(_, d)| destination_address(d) == address);
        let (id, d) = found.next().expect("no such destination in the maps");
        assert!(found.next().is_none(), "twice in the maps");
        (*id, *d)
    }

    /// Whether the maps are what the director thinks, also for one that finds them anew.
    pub(super) fn is_settled(&mut self) {
        self.ops.clear();
        self.start();
        let ops = std::mem::take(&mut self.ops);
        let rest: Vec<_> = ops.iter().filter(|op| !matches!(op, MapOp::PutInterface { .. })).collect();
        assert!(rest.is_empty(), "{rest:?}");
    }
}

fn folded(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(a) => a.to_bits(),
        IpAddr::V6(a) => a.segments().chunks(2).fold(0, |f, s| f ^ (u32::from(s[0]) << 16 | u32::from(s[1]))),
    }
}

fn by_last_byte(address: IpAddr) -> NextHop {
    let last = match address {
        IpAddr::V4(a) => a.octets()[3],
        IpAddr::V6(a) => a.octets()[15],
    };
    NextHop::Resolved { mac: [2, 0, 0, 0, 0, last], ifindex: 2, gateway: None }
}

pub(super) fn tcp(address: &str) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: address.parse().unwrap() }
}

pub(super) fn service(key: ServiceKey, scheduler: Scheduler) -> ServiceSpec {
    ServiceSpec {
        key,
        scheduler,
        flags: SchedulerFlags::default(),
        persistence: None,
        netmask: if key.is_ipv6() { Netmask::V6(128) } else { Netmask::V4(u32::MAX) },
        one_packet: false,
        persistence_engine: None,
        mh_table_size: None,
    }
}

pub(super) fn destination(address: &str, weight: u32) -> DestinationSpec {
    DestinationSpec {
        address: address.parse().unwrap(),
        method: ForwardingMethod::Masq,
        weight,
        upper: 0,
        lower: 0,
        tunnel: None,
    }
}

pub(super) fn add_service(spec: ServiceSpec) -> Request {
    Request::AddService { service: spec }
}

pub(super) fn add(key: ServiceKey, destination: DestinationSpec) -> Request {
    Request::AddDestination { key, destination }
}

pub(super) fn delete(key: ServiceKey, address: &str) -> Request {
    Request::DeleteDestination { key, address: address.parse().unwrap() }
}
