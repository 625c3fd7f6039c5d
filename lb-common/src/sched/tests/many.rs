//! A service of thousands of destinations.

use super::models::{Memory, Server, model};
use super::{Scheduler, choose, idle, subject, tables};

/// Destinations of the one service.
const MANY: usize = 4096;

/// Far apart, so that every walk is a long one: a few are usable, near the end.
fn servers() -> Vec<Server> {
    (0..MANY)
        .map(|i| Server {
            active: (i * 7 % 11) as u32,
            inactive: (i * 5 % 301) as u32,
            overloaded: i < MANY - 9,
            ..idle(i as u32 % 40 + 1)
        })
        .collect()
}

#[test]
fn every_scheduler_serves_4096_destinations() {
    let sparse = servers();
    let full: Vec<Server> = sparse.iter().map(|s| Server { overloaded: false, ..*s }).collect();
    for (servers, rounds) in [(sparse, 40), (full, 200)] {
        for scheduler in Scheduler::ALL {
            let (tables, service) = tables(scheduler, 1, &servers);
            let mut memory = Memory::default();
            let mut served = 0;
            for n in 0..rounds {
                let subject = subject(n * 0x9e37, n as u16, n % 30, n);
                memory.random = tables.random_state();
                let right = model(scheduler, 1, &servers, &mut memory, &subject);
                assert_eq!(choose(&tables, &service, &subject), right, "{scheduler:?} {n}");
                served += u32::from(right.is_some());
            }
            // The weights together are more than a table of hashes has buckets: they are those of the first ones.
            let first = rounds == 40 && scheduler.is_hash();
            assert_eq!(served > 0, !first, "{scheduler:?}");
        }
    }
}

#[test]
fn round_robin_reaches_each_of_4096() {
    for scheduler in [Scheduler::Rr, Scheduler::Wrr] {
        let (tables, service) = tables(scheduler, 0, &[idle(1); MANY]);
        for n in 0..2 * MANY {
            assert_eq!(choose(&tables, &service, &subject(0, 0, 0, 0)), Some(n % MANY));
        }
    }
}
