//! What lblc and lblcr remember, beyond the models: bounds, and destinations that are gone.

use super::models::Server;
use super::{EXPIRATION, Scheduler, choose, idle, load, subject, tables};
use crate::abi::{LOCALITY_MEMBERS, destination_flags};

/// Full of connections, so that lblcr takes others to help.
const CROWDED: Server = Server { active: 10, ..idle(1) };

#[test]
fn a_set_has_a_bound_and_the_oldest_member_goes() {
    let servers = [idle(1); LOCALITY_MEMBERS as usize + 3];
    let (tables, service) = tables(Scheduler::Lblcr, 0, &servers);
    for n in 0..servers.len() {
        assert_eq!(choose(&tables, &service, &subject(0, 0, 9, 5)), Some(n));
        load(&tables, n + 3, &CROWDED);
    }
    let set = tables.localities().into_values().next().unwrap();
    assert_eq!(set.count, LOCALITY_MEMBERS);
    let ids: Vec<u32> = set.members.iter().map(|m| *m as u32).collect();
    assert_eq!(ids, (6..6 + LOCALITY_MEMBERS).collect::<Vec<_>>());
}

#[test]
fn a_destination_that_came_anew_is_not_the_one_remembered() {
    for scheduler in [Scheduler::Lblc, Scheduler::Lblcr] {
        let (mut tables, service) = tables(scheduler, 0, &[idle(1), Server { inactive: 1, ..idle(1) }]);
        let subject = subject(0, 0, 9, 5);
        assert_eq!(choose(&tables, &service, &subject), Some(0));
        load(&tables, 3, &Server { inactive: 9, ..idle(1) });
        assert_eq!(choose(&tables, &service, &subject), Some(0), "it is remembered");
        tables.destinations[3].order += 1;
        assert_eq!(choose(&tables, &service, &subject), Some(1), "the id is another's");
        load(&tables, 4, &Server { inactive: 10, ..idle(1) });
        // In place of what is gone, and that it stays.
        assert_eq!(choose(&tables, &service, &subject), Some(1));
        tables.destinations[4].service = 6;
        assert_eq!(choose(&tables, &service, &subject), Some(0), "another service's now");
        tables.destinations[3].flags &= !destination_flags::AVAILABLE;
        tables.destinations[4].flags &= !destination_flags::AVAILABLE;
        assert_eq!(choose(&tables, &service, &subject), None);
    }
}

#[test]
fn what_was_remembered_before_is_of_another_epoch() {
    let (tables, service) = tables(Scheduler::Lblc, 0, &[idle(1), idle(1)]);
    let mut subject = subject(0, 0, 9, 5);
    assert_eq!(choose(&tables, &service, &subject), Some(0));
    load(&tables, 3, &Server { inactive: 9, ..idle(1) });
    subject.key.epoch += 1;
    assert_eq!(choose(&tables, &service, &subject), Some(1));
    assert_eq!(tables.localities().len(), 2);
}

#[test]
fn a_member_that_is_gone_leaves_a_set_first() {
    let (mut tables, service) = tables(Scheduler::Lblcr, 0, &[idle(1); 3]);
    assert_eq!(choose(&tables, &service, &subject(0, 0, 9, 5)), Some(0));
    load(&tables, 3, &CROWDED);
    assert_eq!(choose(&tables, &service, &subject(0, 0, 9, 5)), Some(1));
    tables.destinations[4].order += 1;
    assert_eq!(tables.localities().into_values().next().unwrap().count, 2);
    // The crowded one is all that is left of the set, and another one helps it.
    let later = 5 + EXPIRATION + 1;
    assert_eq!(choose(&tables, &service, &subject(0, 0, 9, later)), Some(1));
    let set = tables.localities().into_values().next().unwrap();
    let ids: Vec<u32> = set.members[..set.count as usize].iter().map(|m| *m as u32).collect();
    assert_eq!(ids, [3, 4]);
    assert_eq!((set.last_used, set.modified), (later, later));
}

#[test]
fn without_room_addresses_are_served_and_forgotten() {
    let (tables, service) = tables(Scheduler::Lblc, 0, &[idle(1)]);
    for address in 0..500 {
        assert_eq!(choose(&tables, &service, &subject(0, 0, address, 5)), Some(0));
    }
    assert!(tables.localities().len() < 500);
}
