//! Counters: of destinations, services and everything; what `-Z` forgets; what removed destinations count.

use lb_common::abi::Counters;
use lb_common::tables::Count;

use super::world::*;
use crate::api::{Rates, Request, Response, Stats};
use crate::director::Event;
use crate::model::{Scheduler, ServiceKey};

const VIP: &str = "192.0.2.1:80";
const OTHER: &str = "192.0.2.2:80";
const RS: &str = "198.51.100.11:80";
const RS2: &str = "198.51.100.12:80";

fn world() -> (World, u32, u32) {
    let mut w = World::new();
    for (vip, rs) in [(VIP, RS), (OTHER, RS2)] {
        w.does(add_service(service(tcp(vip), Scheduler::Rr)));
        w.does(add(tcp(vip), destination(rs, 1)));
    }
    let (a, b) = (w.element(RS).0, w.element(RS2).0);
    (w, a, b)
}

/// The data path has counted so much of a destination since it was made.
fn counted(w: &World, id: u32, connections: u64, out_packets: u64) {
    let counters = Counters {
        connections,
        in_packets: 2 * connections,
        in_bytes: 100,
        out_packets,
        ..Counters::default()
    };
    w.maps.counters.borrow_mut().insert(id, counters);
}

fn everything(w: &mut World) -> (Stats, Rates) {
    match w.ask(Request::Stats) {
        Ok(Response::Stats { stats, rates }) => (stats, rates),
        other => panic!("{other:?}"),
    }
}

fn of(w: &mut World, key: ServiceKey) -> (u64, u64) {
    let view = w.list().into_iter().find(|s| s.service.key == key).unwrap();
    (view.stats.connections, view.destinations.first().map_or(0, |d| d.stats.connections))
}

#[test]
fn everything_is_the_sum_of_the_services_and_keeps_what_deleted_ones_counted() {
    let (mut w, a, b) = world();
    counted(&w, a, 10, 0);
    counted(&w, b, 5, 7);
    let (stats, _) = everything(&mut w);
    let expected = Stats { connections: 15, in_packets: 30, out_packets: 7, in_bytes: 200, out_bytes: 0 };
    assert_eq!(stats, expected);
    w.does(delete(tcp(VIP), RS));
    assert_eq!(everything(&mut w).0, expected);
    w.does(Request::DeleteService { key: tcp(OTHER) });
    assert_eq!(everything(&mut w).0, expected);
    w.is_settled();
    assert_eq!(everything(&mut w).0, expected, "also after a restart");
    w.does(Request::Clear);
    assert_eq!(everything(&mut w).0, expected);
}

#[test]
fn zero_sets_a_baseline_and_that_of_one_service_leaves_the_rest() {
    let (mut w, a, b) = world();
    counted(&w, a, 10, 0);
    counted(&w, b, 5, 0);
    w.does(Request::Zero { key: Some(tcp(VIP)) });
    assert_eq!((of(&mut w, tcp(VIP)), of(&mut w, tcp(OTHER))), ((0, 0), (5, 5)));
    assert_eq!(everything(&mut w).0.connections, 15, "only -Z of everything is everything's");
    counted(&w, a, 13, 0);
    assert_eq!(of(&mut w, tcp(VIP)), (3, 3));
    w.does(Request::Zero { key: None });
    assert_eq!((of(&mut w, tcp(VIP)), of(&mut w, tcp(OTHER))), ((0, 0), (0, 0)));
    assert_eq!(everything(&mut w).0, Stats::default());
    counted(&w, b, 6, 0);
    w.is_settled();
    assert_eq!(of(&mut w, tcp(OTHER)), (1, 1), "also after a restart");
    assert_eq!(everything(&mut w).0.connections, 1);
}

#[test]
fn rates_of_destination_service_and_everything() {
    let (mut w, a, b) = world();
    let mut seen = Vec::new();
    for n in 1..=4 {
        counted(&w, a, 200 * n, 0);
        counted(&w, b, 400 * n, 0);
        w.event(Event::Tick);
        let view = w.list().into_iter().find(|s| s.service.key == tcp(VIP)).unwrap();
        let all = everything(&mut w).1;
        seen.push((view.destinations[0].rates.connections, view.rates.connections, all.connections));
    }
    assert_eq!(seen, [(25, 25, 75), (44, 44, 131), (58, 58, 173), (68, 68, 205)]);
    // A service that goes is no burst, and -Z begins from nothing.
    w.does(Request::DeleteService { key: tcp(VIP) });
    w.does(Request::Zero { key: None });
    assert_eq!(everything(&mut w).1, Rates::default());
    w.event(Event::Tick);
    assert_eq!(everything(&mut w).1, Rates::default());
}

#[test]
fn what_passes_of_a_removed_destination_is_not_counted() {
    let (mut w, a, _) = world();
    w.maps.count(a, Count::Active, 1);
    counted(&w, a, 10, 20);
    w.does(delete(tcp(VIP), RS));
    // The real server still answers on the connections it has.
    counted(&w, a, 10, 25);
    assert_eq!(everything(&mut w).0.out_packets, 20);
    w.is_settled();
    counted(&w, a, 10, 29);
    w.does(add(tcp(VIP), destination(RS, 1)));
    let view = w.list().into_iter().find(|s| s.service.key == tcp(VIP)).unwrap();
    assert_eq!((view.stats.out_packets, view.destinations[0].stats.out_packets), (20, 20));
    assert_eq!(everything(&mut w).0.out_packets, 20);
    counted(&w, a, 11, 30);
    w.is_settled();
    let view = w.list().into_iter().find(|s| s.service.key == tcp(VIP)).unwrap();
    assert_eq!((view.stats.out_packets, view.destinations[0].stats.out_packets), (21, 21));
    assert_eq!((view.stats.connections, view.destinations[0].stats.connections), (11, 11));
}
