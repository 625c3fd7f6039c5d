//! Removed destinations: they wait, and come back with what they had.

use std::time::Duration;

use lb_common::abi::{Counters, Counts, destination_flags};
use lb_common::tables::Count;

use super::world::*;
use crate::api::{ErrorKind, Request};
use crate::director::Event;
use crate::model::{Scheduler, ServiceKey};
use crate::plan::Capacity;

const VIP: &str = "192.0.2.1:80";
const RS: &str = "198.51.100.11:80";

fn one() -> (World, ServiceKey, u32) {
    let mut world = World::new();
    world.does(add_service(service(tcp(VIP), Scheduler::Wlc)));
    world.does(add(tcp(VIP), destination(RS, 1)));
    let (id, _) = world.element(RS);
    (world, tcp(VIP), id)
}

fn counted(world: &World, id: u32, connections: u64) {
    world.maps.counters.borrow_mut().insert(id, Counters { connections, ..Counters::default() });
}

#[test]
fn a_removed_destination_waits_and_comes_back_with_everything() {
    let (mut w, key, id) = one();
    w.maps.count(id, Count::Active, 2);
    counted(&w, id, 10);
    w.does(delete(key, RS));
    let (same, d) = w.element(RS);
    assert_eq!(same, id);
    assert_eq!(
        d.flags & (destination_flags::AVAILABLE | destination_flags::IN_USE),
        destination_flags::IN_USE
    );
    assert_eq!(d.removed_at, w.now.as_secs());
    assert!(w.list()[0].destinations.is_empty());
    assert_eq!(w.list()[0].stats.connections, 10, "a service keeps the history of what left it");

    w.does(add(key, destination(RS, 5)));
    let (same, d) = w.element(RS);
    assert_eq!((same, d.weight, d.removed_at), (id, 5, 0));
    let view = w.list();
    assert_eq!(view[0].destinations[0].active, 2);
    assert_eq!(view[0].destinations[0].stats.connections, 10);
    assert_eq!(view[0].stats.connections, 10, "not counted twice");
    counted(&w, id, 13);
    assert_eq!(w.list()[0].stats.connections, 13);
    w.is_settled();
    assert_eq!(w.list()[0].stats.connections, 13, "also not after a restart");
}

#[test]
fn a_deleted_service_takes_its_destinations_along() {
    let (mut w, key, id) = one();
    w.maps.count(id, Count::Active, 3);
    counted(&w, id, 4);
    w.does(Request::Clear);
    assert!(w.maps.layout.services.is_empty());
    // Packets of its connections must still be seen, and dropped.
    assert!(w.maps.layout.prefilter.iter().any(|word| *word != 0));
    w.is_settled();
    w.does(add_service(service(key, Scheduler::Lc)));
    w.does(add(key, destination(RS, 1)));
    assert_eq!(w.element(RS).0, id);
    let view = w.list();
    assert_eq!(view[0].destinations[0].active, 3);
    // Another service counts from 0 (ip_vs_ctl.c: __ip_vs_update_dest).
    assert_eq!(view[0].destinations[0].stats.connections, 0);
    assert_eq!(view[0].stats.connections, 0);
}

#[test]
fn trash_goes_after_its_time_when_no_connection_is_left() {
    let (mut w, key, id) = one();
    w.maps.count(id, Count::Inactive, 1);
    w.does(Request::DeleteService { key });
    w.now += Duration::from_secs(119);
    w.maps.count(id, Count::Inactive, -1);
    w.event(Event::Tick);
    assert!(!w.maps.layout.destinations.is_empty(), "too early");
    w.maps.count(id, Count::Inactive, 1);
    w.now += Duration::from_secs(100);
    w.event(Event::Tick);
    assert!(!w.maps.layout.destinations.is_empty(), "a connection is left");
    w.maps.count(id, Count::Inactive, -1);
    w.event(Event::Tick);
    assert!(w.maps.layout.destinations.is_empty());
    assert!(w.maps.layout.prefilter.iter().all(|word| *word == 0));
    w.is_settled();
}

#[test]
fn ids_are_reused_only_for_want_of_others_and_never_with_connections() {
    let mut w = World::with(Capacity { destinations: 2, ..CAPACITY });
    let key = tcp(VIP);
    w.does(add_service(service(key, Scheduler::Rr)));
    w.does(add(key, destination("198.51.100.11:80", 1)));
    w.does(add(key, destination("198.51.100.12:80", 1)));
    let (busy, _) = w.element("198.51.100.11:80");
    let (idle, _) = w.element("198.51.100.12:80");
    w.maps.counts.borrow_mut().insert(busy, Counts { persistent: 1, ..Counts::default() });
    w.does(delete(key, "198.51.100.11:80"));
    w.does(delete(key, "198.51.100.12:80"));
    w.does(add(key, destination("198.51.100.13:80", 1)));
    assert_eq!(w.element("198.51.100.13:80").0, idle);
    let refusal = w.ask(add(key, destination("198.51.100.14:80", 1))).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoSpace);
    w.is_settled();
}

#[test]
fn zero_forgets_without_clearing() {
    let (mut w, key, id) = one();
    counted(&w, id, 10);
    w.does(Request::Zero { key: Some(key) });
    assert_eq!(w.list()[0].stats.connections, 0);
    counted(&w, id, 12);
    let view = w.list();
    assert_eq!((view[0].stats.connections, view[0].destinations[0].stats.connections), (2, 2));
    w.is_settled();
    let view = w.list();
    assert_eq!(
        (view[0].stats.connections, view[0].destinations[0].stats.connections),
        (2, 2),
        "after a restart"
    );
    w.does(Request::Zero { key: None });
    assert_eq!(w.list()[0].stats.connections, 0);
}

#[test]
fn rates_are_those_of_two_seconds() {
    let (mut w, _, id) = one();
    counted(&w, id, 200);
    w.event(Event::Tick);
    let view = w.list();
    assert_eq!((view[0].rates.connections, view[0].destinations[0].rates.connections), (25, 25));
}
