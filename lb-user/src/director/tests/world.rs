//! A director with maps in memory and surroundings that answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::abi::{Destination, LocalityKey, NONE};
use lb_common::sched::{self, Subject};
use lb_common::tables::Tables as _;

use super::maps::Maps;
use crate::api::{Refusal, Request, Response, ServiceView};
use crate::director::{Director, Effect, Event, Link, Live, Memory, RequestId};
use crate::model::{
    DestinationSpec, ForwardingMethod, Netmask, NextHop, Protocol, Scheduler, SchedulerFlags, ServiceKey,
    ServiceSpec,
};
use crate::plan::{Capacity, MapOp, Observed, destination_address, wide};

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
    /// The last addresses asked about.
    pub(super) asked: Option<BTreeSet<IpAddr>>,
    next: u64,
}

pub(super) const CAPACITY: Capacity = Capacity { services: 64, destinations: 64, slots: 65_536 };

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
            asked: None,
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
            marks: [false, true].map(|ipv6| {
                let (first, rules) = layout.settings.mark_list(ipv6);
                let list = layout.marks.get(&first).filter(|_| rules != 0);
                list.map(|l| l.to_vec()).unwrap_or_default()
            }),
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
                Effect::Ask(addresses) => self.asked = Some(addresses),
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

/// The director's own address, as routes prefer it.
pub(super) const SOURCE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)));

fn by_last_byte(address: IpAddr) -> NextHop {
    let last = match address {
        IpAddr::V4(a) => a.octets()[3],
        IpAddr::V6(a) => a.octets()[15],
    };
    NextHop::Resolved { mac: [2, 0, 0, 0, 0, last], ifindex: 2, gateway: None, mtu: 1500, source: SOURCE }
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
