//! What schedulers keep beside their slots: tables of mh, epochs of lblc.

use lb_common::sched::MH_DEFAULT_SIZE;

use super::world::*;
use crate::api::{ErrorKind, Request};
use crate::config::Config;
use crate::director::Event;
use crate::model::{Scheduler, ServiceSpec};
use crate::plan::{Capacity, MapOp};

const VIP: &str = "192.0.2.1:80";

fn room() -> Capacity {
    Capacity { services: 4, destinations: 600, slots: 100_000 }
}

/// A service of mh with a table of 251 and so many destinations.
fn small(destinations: u32) -> World {
    let mut w = World::with(room());
    w.does(add_service(of_size(251)));
    for n in 0..destinations {
        w.does(add(tcp(VIP), destination(&server(n), 1)));
    }
    w
}

fn of_size(size: u32) -> ServiceSpec {
    ServiceSpec { mh_table_size: Some(size), ..service(tcp(VIP), Scheduler::Mh) }
}

fn server(n: u32) -> String {
    format!("198.51.{}.{}:80", 100 + n / 250, 1 + n % 250)
}

fn slots(w: &World) -> Vec<u32> {
    let layout = &w.maps.layout;
    layout.slots(&layout.services[&tcp(VIP)]).to_vec()
}

#[test]
fn weight_0_leaves_a_table_of_mh_as_it_is_and_so_does_a_restart() {
    let mut w = small(3);
    let table = slots(&w);
    assert_eq!(table.len(), 251);
    w.ops.clear();
    w.does(Request::EditDestination { key: tcp(VIP), destination: destination(&server(1), 0) });
    assert!(w.ops.iter().any(|op| matches!(op, MapOp::SetWeight { weight: 0, .. })), "{:?}", w.ops);
    assert!(!w.ops.iter().any(|op| matches!(op, MapOp::PutSlots { .. })), "{:?}", w.ops);
    w.start();
    w.is_settled();
    assert_eq!(slots(&w), table);
    // Gone and back with weight 0: the share it had before.
    w.does(delete(tcp(VIP), &server(1)));
    assert_ne!(slots(&w), table);
    w.does(add(tcp(VIP), destination(&server(1), 0)));
    assert_eq!(slots(&w), table);
    // One that never had a weight has no share.
    w.does(add(tcp(VIP), destination(&server(9), 0)));
    assert_eq!(slots(&w), table);
    w.is_settled();
}

#[test]
fn mh_has_no_more_destinations_than_buckets() {
    let mut w = small(251);
    let refused = w.ask(add(tcp(VIP), destination(&server(251), 1))).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.message.contains("252 destinations are more than its table of mh has buckets, 251"));
    assert!(refused.hint.unwrap().contains("mh-table-size"));
    w.does(Request::EditService { service: service(tcp(VIP), Scheduler::Wlc) });
    w.does(add(tcp(VIP), destination(&server(251), 1)));
    let edit = Request::EditService { service: of_size(251) };
    assert_eq!(w.ask(edit).unwrap_err().kind, ErrorKind::Invalid);
    w.does(Request::EditService { service: of_size(509) });
    assert_eq!(slots(&w).len(), 509);
    w.start();
    assert_eq!(w.list()[0].service.mh_table_size, Some(509));
    w.is_settled();
}

#[test]
fn sizes_that_no_table_has_are_refused() {
    let mut w = World::with(room());
    assert_eq!(w.ask(add_service(of_size(252))).unwrap_err().kind, ErrorKind::Invalid);
    let other = ServiceSpec { scheduler: Scheduler::Sh, ..of_size(251) };
    assert_eq!(w.ask(add_service(other)).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn the_default_size_is_the_configurations() {
    let mut w = World::with(room());
    w.does(add_service(service(tcp(VIP), Scheduler::Mh)));
    w.does(add(tcp(VIP), destination(&server(0), 1)));
    assert_eq!(slots(&w).len(), MH_DEFAULT_SIZE as usize);
    let config = Config { mh_table_size: Some(8191), ..Config::default() };
    w.event(Event::Config(Box::new(config)));
    assert_eq!(slots(&w).len(), 8191);
    w.start();
    w.is_settled();
    assert_eq!(slots(&w).len(), 8191);
    w.event(Event::Config(Box::default()));
    assert_eq!(slots(&w).len(), MH_DEFAULT_SIZE as usize);
}

#[test]
fn lblc_remembers_under_another_epoch_when_it_begins_anew() {
    let mut w = World::with(room());
    let epoch = |w: &World| w.maps.layout.services[&tcp(VIP)].scheduler_word;
    w.does(add_service(service(tcp(VIP), Scheduler::Lblc)));
    let first = epoch(&w);
    w.does(add(tcp(VIP), destination(&server(0), 1)));
    let mut persistent = service(tcp(VIP), Scheduler::Lblc);
    persistent.one_packet = false;
    w.does(Request::EditService { service: persistent });
    w.start();
    assert_eq!(epoch(&w), first, "the same scheduler goes on");
    let services = w.director.locality_services();
    assert_eq!(services.into_keys().collect::<Vec<_>>(), [(0, first)]);
    w.now += std::time::Duration::from_millis(1);
    w.does(Request::EditService { service: service(tcp(VIP), Scheduler::Rr) });
    assert_eq!((epoch(&w), w.director.locality_services().len()), (0, 0));
    w.does(Request::EditService { service: service(tcp(VIP), Scheduler::Lblc) });
    assert_ne!(epoch(&w), first);
}
