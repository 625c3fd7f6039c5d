//! Every scheduler against a slow model of its own, written from the rules of IPVS (ipvs-semantics §3)
//! and not from the code; and against recordings of the kernel.

mod locality;
mod many;
mod models;

use std::collections::HashSet;

use proptest::prelude::*;

use self::models::{Memory, Server, after_edit, model};
use super::{Scheduler, Subject, select};
use crate::abi::{Counts, Destination, Hop, LocalityKey, NONE, Schedule, Service, destination_flags};
use crate::tables::Tables as _;
use crate::testing::{HostTables, fill, weights};

/// Ticks after which lblcr makes a set smaller.
const EXPIRATION: u32 = 1000;

/// What a scheduler looks at, at tick `now`.
fn subject(client: u32, client_port: u16, address: u32, now: u32) -> Subject {
    let [a, b, c, d] = address.to_be_bytes();
    let key = LocalityKey { service: 5, epoch: 7, address: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
    Subject { key, client, address, now, client_port }
}

/// A server that is there and does nothing.
const fn idle(weight: u32) -> Server {
    Server { weight, last_weight: weight, active: 0, inactive: 0, overloaded: false, resolved: true }
}

/// Tables with these servers, ids 3 and up, and their service.
fn tables(scheduler: Scheduler, flags: u8, servers: &[Server]) -> (HostTables, Service) {
    let mut tables = HostTables::with_room(4, servers.len() as u32 + 3, 100 + 16_384);
    tables.settings.lblcr_expiration = EXPIRATION;
    for (id, server) in (3..).zip(servers) {
        tables.destinations[id] = Destination {
            hop: if server.resolved { Hop::new([2, 0, 0, 0, 0, 1], 1) } else { Hop::UNRESOLVED },
            flags: destination_flags::AVAILABLE | destination_flags::IN_USE,
            weight: server.weight,
            service: 5,
            order: 1000 + id as u64,
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
    let scheduler = Scheduler::from_u8(service.scheduler).unwrap();
    let members: Vec<(u32, u32)> = (3..).zip(servers.iter().map(|s| s.weight)).collect();
    let last: Vec<(u32, u32)> = (3..).zip(servers.iter().map(|s| s.last_weight)).collect();
    let slots = fill(scheduler, if scheduler == Scheduler::Mh { &last } else { &members });
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
            last_weight: weight,
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

fn compare(scheduler: Scheduler, flags: u8, mut servers: Vec<Server>, changes: Vec<Change>) {
    let (mut tables, mut service) = tables(scheduler, flags, &servers);
    let mut memory = Memory::default();
    let mut generation = 1;
    let mut now = 1_000_000_u32;
    for change in changes {
        match change {
            Change::Choose(seed) => {
                for n in 0..2 * servers.len() as u32 + 3 {
                    // Few addresses come again and again, many once.
                    let address = if seed & 1 == 0 { n % 3 } else { seed.rotate_left(n) };
                    let client = seed.wrapping_mul(n * 2 + 1);
                    let subject = subject(client, (seed >> 7) as u16 ^ n as u16, address, now);
                    now += seed % (EXPIRATION / 2);
                    memory.random = tables.random_state();
                    let right = model(scheduler, flags, &servers, &mut memory, &subject);
                    let got = choose(&tables, &service, &subject);
                    assert_eq!(got, right, "{scheduler:?} flags {flags} {servers:?} {subject:?} {memory:?}");
                }
            }
            Change::Load(at, s) => {
                let at = at.index(servers.len());
                // The weight is the plan's to change.
                let Server { weight, last_weight, .. } = servers[at];
                servers[at] = Server { weight, last_weight, ..s };
                load(&tables, at + 3, &servers[at]);
                tables.destinations[at + 3].hop =
                    if s.resolved { Hop::new([2, 0, 0, 0, 0, 1], 1) } else { Hop::UNRESOLVED };
            }
            Change::Weight(at, weight) => {
                let at = at.index(servers.len());
                servers[at].weight = weight;
                if weight != 0 {
                    servers[at].last_weight = weight;
                }
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
            overloaded: i != at, ..idle(if i == at { weight.max(1) } else { weight })
        }).collect();
        for scheduler in Scheduler::ALL.into_iter().filter(|s| !s.is_hash()) {
            let (tables, service) = tables(scheduler, 0, &servers);
            for _ in 0..rounds {
                prop_assert_eq!(choose(&tables, &service, &subject(0, 0, 0, 0)), Some(at));
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
    assert_eq!(Scheduler::from_name("maglev"), None);
}

#[test]
fn a_service_without_destinations_has_none() {
    for scheduler in Scheduler::ALL {
        let tables = HostTables::new(4);
        let service = Service { scheduler: scheduler as u8, ..Service::default() };
        let subject = subject(1, 2, 3, 4);
        assert_eq!(select(&tables, &service, &subject), NONE);
    }
    let strange = Service { scheduler: 200, slots: 1, ..Service::default() };
    let subject = subject(1, 2, 3, 4);
    assert_eq!(select(&HostTables::new(4), &strange, &subject), NONE);
}

#[test]
fn the_walk_of_wrr_is_the_textbooks() {
    let walk = |weights: &[u32], n: usize| -> Vec<usize> {
        let servers: Vec<Server> = weights.iter().map(|&weight| idle(weight)).collect();
        let (tables, service) = tables(Scheduler::Wrr, 0, &servers);
        let subject = subject(0, 0, 0, 0);
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
    let (tables, mut service) = tables(Scheduler::Rr, 0, &[idle(1); 3]);
    let subject = subject(0, 0, 0, 0);
    assert_eq!(choose(&tables, &service, &subject), Some(0));
    assert_eq!(choose(&tables, &service, &subject), Some(1));
    service.start = Schedule::new(2, 0, 0).0;
    assert_eq!(choose(&tables, &service, &subject), Some(1), "after slot 0");
    assert_eq!(tables.schedule(5), Schedule::new(2, 1, 0));
    // Another CPU's choice between reading and writing: ours stands, its state stays.
    tables.set_schedule(5, Schedule::new(2, 9, 0));
    assert_eq!(choose(&tables, &service, &subject), Some(0), "a position beyond the slots is the head");
}
