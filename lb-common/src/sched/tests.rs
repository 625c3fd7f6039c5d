//! Every scheduler against a slow model of its own, written from the rules of IPVS (ipvs-semantics §3)
//! and not from the code; and against recordings of the kernel.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{Scheduler, Subject, select};
use crate::abi::{Counts, Destination, Hop, NONE, Schedule, Service, destination_flags};
use crate::tables::Tables as _;
use crate::testing::{HostTables, fill, weights};

/// A destination as a model sees it.
#[derive(Debug, Clone, Copy)]
struct Server {
    weight: u32,
    active: u32,
    inactive: u32,
    overloaded: bool,
    resolved: bool,
}

impl Server {
    const fn is_usable(&self) -> bool {
        self.weight > 0 && !self.overloaded && self.resolved
    }
}

/// What a model remembers between two choices.
#[derive(Debug, Clone)]
struct Memory {
    /// Index of the server used last; before the first one without.
    last: Option<usize>,
    /// Current weight of wrr.
    current: i64,
}

/// rr: the list goes round; weights only say whether a server takes part.
fn rr(servers: &[Server], memory: &mut Memory) -> Option<usize> {
    let n = servers.len();
    let start = memory.last.map_or(0, |last| last + 1);
    let chosen = (0..n).map(|i| (start + i) % n).find(|&i| servers[i].is_usable())?;
    memory.last = Some(chosen);
    Some(chosen)
}

/// wrr, literally: `di`, `mw`, and a walk that lowers `cw` at the end of the list.
fn wrr(servers: &[Server], memory: &mut Memory) -> Option<usize> {
    let all: Vec<(u32, u32)> = (0..).zip(servers.iter().map(|s| s.weight)).collect();
    let (di, max) = weights(&all);
    let (di, mw) = (i64::from(di), i64::from(max) - (i64::from(di) - 1));
    if max == 0 || !servers.iter().any(Server::is_usable) {
        return None;
    }
    let mut cw = if memory.current == 0 { mw } else { memory.current };
    let mut at = memory.last.map_or(0, |last| last + 1);
    loop {
        while at < servers.len() {
            if servers[at].is_usable() && i64::from(servers[at].weight) >= cw {
                *memory = Memory { last: Some(at), current: cw };
                return Some(at);
            }
            at += 1;
        }
        at = 0;
        cw -= di;
        if cw <= 0 {
            cw = mw;
        }
    }
}

/// The first of the usable servers of which none is smaller by `load` over `weight`.
fn least(servers: &[Server], load: impl Fn(&Server) -> (u128, u128)) -> Option<usize> {
    let usable: Vec<usize> = (0..servers.len()).filter(|&i| servers[i].is_usable()).collect();
    let smaller = |a: usize, b: usize| {
        let ((p, q), (r, s)) = (load(&servers[a]), load(&servers[b]));
        p * s < r * q
    };
    usable.iter().copied().find(|&i| !usable.iter().any(|&other| smaller(other, i)))
}

fn overhead(s: &Server) -> u128 {
    u128::from(s.active) * 256 + u128::from(s.inactive)
}

/// `hash_32(v, 8)`.
fn hash(v: u32) -> usize {
    ((u64::from(v) * 0x61C8_8647) as u32 >> 24) as usize
}

fn model(
    scheduler: Scheduler,
    flags: u8,
    servers: &[Server],
    memory: &mut Memory,
    subject: &Subject,
) -> Option<usize> {
    let weight = |s: &Server| u128::from(s.weight);
    match scheduler {
        Scheduler::Rr => rr(servers, memory),
        Scheduler::Wrr => wrr(servers, memory),
        Scheduler::Lc => least(servers, |s| (overhead(s), 1)),
        Scheduler::Wlc => least(servers, |s| (overhead(s), weight(s))),
        Scheduler::Sed => least(servers, |s| (u128::from(s.active) + 1, weight(s))),
        Scheduler::Nq => servers
            .iter()
            .position(|s| s.is_usable() && s.active == 0)
            .or_else(|| least(servers, |s| (u128::from(s.active) + 1, weight(s)))),
        Scheduler::Fo => least(servers, |s| (1, weight(s))),
        Scheduler::Ovf => {
            let free: Vec<Server> = servers
                .iter()
                .map(|s| if s.active > s.weight { Server { weight: 0, ..*s } } else { *s })
                .collect();
            least(&free, |s| (1, weight(s)))
        }
        Scheduler::Sh => {
            let mut table = Vec::new();
            while table.len() < 256 {
                for (i, s) in servers.iter().enumerate() {
                    table.extend(std::iter::repeat_n(i, (s.weight as usize).clamp(1, 256)));
                }
            }
            let port = if flags & 2 != 0 { u32::from(subject.client_port) } else { 0 };
            let bucket = |offset: usize| (offset + hash(port.wrapping_add(subject.client))) & 255;
            let first = table[bucket(0)];
            if servers[first].is_usable() {
                return Some(first);
            }
            if flags & 1 == 0 {
                return None;
            }
            (0..256).map(|i| table[bucket((i + bucket(0)) % 256)]).find(|&i| servers[i].is_usable())
        }
        Scheduler::Dh => {
            let chosen = hash(subject.address) % 256 % servers.len();
            servers[chosen].is_usable().then_some(chosen)
        }
    }
}

/// Tables with these servers, ids 3 and up, and their service.
fn tables(scheduler: Scheduler, flags: u8, servers: &[Server]) -> (HostTables, Service) {
    let mut tables = HostTables::new(4);
    for (id, server) in (3..).zip(servers) {
        tables.destinations[id] = Destination {
            hop: if server.resolved { Hop::new([2, 0, 0, 0, 0, 1], 1) } else { Hop::UNRESOLVED },
            flags: destination_flags::AVAILABLE | destination_flags::IN_USE,
            weight: server.weight,
            ..Destination::default()
        };
        load(&tables, id, server);
    }
    let mut service =
        Service { id: 5, scheduler: scheduler as u8, scheduler_flags: flags, ..Service::default() };
    renew(&mut tables, &mut service, servers, Schedule::new(1, Schedule::HEAD, 0));
    (tables, service)
}

fn load(tables: &HostTables, id: usize, server: &Server) {
    let Server { active, inactive, overloaded, .. } = *server;
    tables.set_counts(id as u32, Counts { active, inactive, persistent: 9, overload: u32::from(overloaded) });
}

/// Writes the slots and the value of a service anew.
fn renew(tables: &mut HostTables, service: &mut Service, servers: &[Server], start: Schedule) {
    let members: Vec<(u32, u32)> = (3..).zip(servers.iter().map(|s| s.weight)).collect();
    let scheduler = Scheduler::from_u8(service.scheduler).unwrap();
    let slots = fill(scheduler, &members);
    service.first_slot = 100;
    service.slots = slots.len() as u32;
    (service.weight_step, service.weight_max) = weights(&members);
    service.start = start.0;
    tables.slots[100..100 + slots.len()].copy_from_slice(&slots);
}

fn choose(tables: &HostTables, service: &Service, subject: &Subject) -> Option<usize> {
    match select(tables, service, subject) {
        NONE => None,
        id => Some(id as usize - 3),
    }
}

fn server() -> impl Strategy<Value = Server> {
    let weight = prop_oneof![
        4 => 0..6_u32,
        2 => (1..8_u32).prop_map(|w| w * 10),
        1 => Just(65_535_u32),
        1 => 1..65_536_u32,
    ];
    let number = || prop_oneof![4 => 0..4_u32, 2 => 0..1000_u32, 1 => Just(100_000_000_u32)];
    (weight, number(), number(), prop::bool::weighted(0.15), prop::bool::weighted(0.9)).prop_map(
        |(weight, active, inactive, overloaded, resolved)| Server {
            weight,
            active,
            inactive,
            overloaded,
            resolved,
        },
    )
}

/// What happens between choices.
#[derive(Debug, Clone)]
enum Change {
    /// So many choices for subjects from a seed.
    Choose(u32),
    /// A server's load and whether it can be used change in place.
    Load(prop::sample::Index, Server),
    /// Another weight: the service is written anew.
    Weight(prop::sample::Index, u32),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => any::<u32>().prop_map(Change::Choose),
        1 => (any::<prop::sample::Index>(), server()).prop_map(|(i, s)| Change::Load(i, s)),
        1 => (any::<prop::sample::Index>(), 0..9_u32).prop_map(|(i, w)| Change::Weight(i, w)),
    ]
}

/// Where a scheduler goes on when weights change (ip_vs_wrr.c: the walk starts from the head and its
/// weight is cut; rr keeps its place).
fn after_edit(scheduler: Scheduler, memory: &Memory, servers: &[Server]) -> Memory {
    if scheduler != Scheduler::Wrr {
        return memory.clone();
    }
    let all: Vec<(u32, u32)> = (0..).zip(servers.iter().map(|s| s.weight)).collect();
    let (di, max) = weights(&all);
    let mw = i64::from(max) - (i64::from(di) - 1);
    let current = if memory.current > mw || memory.current == 0 {
        mw
    } else if di > 1 {
        memory.current / i64::from(di) * i64::from(di) + 1
    } else {
        memory.current
    };
    Memory { last: None, current }
}

fn compare(scheduler: Scheduler, flags: u8, mut servers: Vec<Server>, changes: Vec<Change>) {
    let (mut tables, mut service) = tables(scheduler, flags, &servers);
    let mut memory = Memory { last: None, current: 0 };
    let mut generation = 1;
    for change in changes {
        match change {
            Change::Choose(seed) => {
                for n in 0..2 * servers.len() as u32 + 3 {
                    let subject = Subject {
                        client: seed.wrapping_mul(n * 2 + 1),
                        client_port: (seed >> 7) as u16 ^ n as u16,
                        address: seed.rotate_left(n),
                    };
                    let right = model(scheduler, flags, &servers, &mut memory, &subject);
                    let got = choose(&tables, &service, &subject);
                    assert_eq!(got, right, "{scheduler:?} flags {flags} {servers:?} {subject:?} {memory:?}");
                }
            }
            Change::Load(at, s) => {
                let at = at.index(servers.len());
                // The weight is the plan's to change.
                servers[at] = Server { weight: servers[at].weight, ..s };
                load(&tables, at + 3, &servers[at]);
                tables.destinations[at + 3].hop =
                    if s.resolved { Hop::new([2, 0, 0, 0, 0, 1], 1) } else { Hop::UNRESOLVED };
            }
            Change::Weight(at, weight) => {
                let at = at.index(servers.len());
                servers[at].weight = weight;
                tables.destinations[at + 3].weight = weight;
                memory = after_edit(scheduler, &memory, &servers);
                generation += 1;
                let position = memory.last.map_or(Schedule::HEAD, |last| last as u32);
                let start = Schedule::new(generation, position, memory.current.max(0) as u32);
                renew(&mut tables, &mut service, &servers, start);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_scheduler_does_as_its_model(
        servers in prop::collection::vec(server(), 1..7),
        changes in prop::collection::vec(change(), 1..8),
        flags in 0..4_u8,
    ) {
        for scheduler in Scheduler::ALL {
            compare(scheduler, flags, servers.clone(), changes.clone());
        }
    }

    #[test]
    fn a_lonely_usable_server_is_always_found(
        count in 1..40_usize,
        at in any::<prop::sample::Index>(),
        weights in prop::collection::vec(0..1000_u32, 40),
        rounds in 1..4_u32,
    ) {
        // wrr must come down to any weight, however far below the greatest, within its bounded walk.
        let at = at.index(count);
        let servers: Vec<Server> = weights[..count].iter().enumerate().map(|(i, &weight)| Server {
            weight: if i == at { weight.max(1) } else { weight },
            active: 0, inactive: 0, overloaded: i != at, resolved: true,
        }).collect();
        for scheduler in [Scheduler::Rr, Scheduler::Wrr, Scheduler::Lc, Scheduler::Wlc, Scheduler::Fo] {
            let (tables, service) = tables(scheduler, 0, &servers);
            for _ in 0..rounds {
                prop_assert_eq!(choose(&tables, &service, &Subject { client: 0, client_port: 0, address: 0 }), Some(at));
            }
        }
    }
}

#[test]
fn numbers_and_names_are_those_of_all() {
    let mut names = HashSet::new();
    for scheduler in Scheduler::ALL {
        assert_eq!(Scheduler::from_u8(scheduler as u8), Some(scheduler));
        assert_eq!(Scheduler::from_name(scheduler.name()), Some(scheduler));
        assert!(names.insert(scheduler.name()));
    }
    assert_eq!(Scheduler::from_u8(Scheduler::ALL.len() as u8), None);
    assert_eq!(Scheduler::from_name("mh"), None);
}

#[test]
fn a_service_without_destinations_has_none() {
    for scheduler in Scheduler::ALL {
        let tables = HostTables::new(4);
        let service = Service { scheduler: scheduler as u8, ..Service::default() };
        let subject = Subject { client: 1, client_port: 2, address: 3 };
        assert_eq!(select(&tables, &service, &subject), NONE);
    }
    let strange = Service { scheduler: 200, slots: 1, ..Service::default() };
    let subject = Subject { client: 1, client_port: 2, address: 3 };
    assert_eq!(select(&HostTables::new(4), &strange, &subject), NONE);
}

#[test]
fn the_walk_of_wrr_is_the_textbooks() {
    let walk = |weights: &[u32], n: usize| -> Vec<usize> {
        let servers: Vec<Server> = weights
            .iter()
            .map(|&weight| Server { weight, active: 0, inactive: 0, overloaded: false, resolved: true })
            .collect();
        let (tables, service) = tables(Scheduler::Wrr, 0, &servers);
        let subject = Subject { client: 0, client_port: 0, address: 0 };
        (0..n).map(|_| choose(&tables, &service, &subject).unwrap()).collect()
    };
    // A A B A B C A B C (ipvs-semantics §3).
    assert_eq!(walk(&[4, 3, 2], 12), [0, 0, 1, 0, 1, 2, 0, 1, 2, 0, 0, 1]);
    assert_eq!(walk(&[40, 30, 20], 9), [0, 0, 1, 0, 1, 2, 0, 1, 2], "by steps of the divisor");
    assert_eq!(walk(&[5, 5], 4), [0, 1, 0, 1]);
    assert_eq!(walk(&[0, 7, 0], 3), [1, 1, 1]);
}

/// The generation tells a state of other slots: the scheduler starts from the service's own.
#[test]
fn a_state_of_another_generation_is_not_used() {
    let server = Server { weight: 1, active: 0, inactive: 0, overloaded: false, resolved: true };
    let (tables, mut service) = tables(Scheduler::Rr, 0, &[server; 3]);
    let subject = Subject { client: 0, client_port: 0, address: 0 };
    assert_eq!(choose(&tables, &service, &subject), Some(0));
    assert_eq!(choose(&tables, &service, &subject), Some(1));
    service.start = Schedule::new(2, 0, 0).0;
    assert_eq!(choose(&tables, &service, &subject), Some(1), "after slot 0");
    assert_eq!(tables.schedule(5), Schedule::new(2, 1, 0));
    // Another CPU's choice between reading and writing: ours stands, its state stays.
    tables.set_schedule(5, Schedule::new(2, 9, 0));
    assert_eq!(choose(&tables, &service, &subject), Some(0), "a position beyond the slots is the head");
}
