//! Next hops.

use lb_common::abi::{Hop, destination_flags};

use super::world::*;
use crate::api::{Neighbour, Request, Response};
use crate::director::{Director, Effect, Event, RequestId};
use crate::model::{NextHop, Scheduler};
use crate::plan::MapOp;

const VIP: &str = "192.0.2.1:80";
const RS: &str = "198.51.100.11:80";

fn ip(address: &str) -> std::net::IpAddr {
    address.parse().unwrap()
}

fn hop(last: u8, ifindex: u32) -> NextHop {
    NextHop::Resolved { mac: [2, 0, 0, 0, 0, last], ifindex, gateway: None, mtu: 1500, source: SOURCE }
}

fn one() -> World {
    let mut world = World::new();
    world.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    world.does(add(tcp(VIP), destination(RS, 1)));
    world
}

#[test]
fn a_request_waits_for_the_first_answer() {
    let mut w = World::new();
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    let id = RequestId(7);
    let effects = w.director.handle(&w.maps, Event::Request(id, add(tcp(VIP), destination(RS, 1))), w.now);
    assert_eq!(effects, [Effect::Watch(ip("198.51.100.11"))]);
    // Nobody answered yet: it goes on waiting.
    let unresolved = NextHop::Unresolved { why: "no answer yet".into() };
    let event = Event::NextHop { address: ip("198.51.100.11"), next_hop: unresolved };
    assert_eq!(w.director.handle(&w.maps, event, w.now), []);
    let event = Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x11, 2) };
    let effects = w.director.handle(&w.maps, event, w.now);
    let [Effect::Apply(ops), Effect::Reply(answered, Response::Done)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(*answered, id);
    let hops: Vec<Hop> = ops
        .iter()
        .filter_map(|op| match op {
            MapOp::PutDestination { value, .. } => Some(value.hop),
            _ => None,
        })
        .collect();
    assert_eq!(hops, [Hop::new([2, 0, 0, 0, 0, 0x11], 2)], "resolved from the beginning");
}

#[test]
fn a_destination_that_nobody_answers_for_gets_no_new_connections() {
    let mut w = World::new();
    w.hops.insert(ip("198.51.100.11"), NextHop::Unresolved { why: "no answer to ARP".into() });
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    w.does(add(tcp(VIP), destination(RS, 1)));
    let client = "203.0.113.10:1000".parse().unwrap();
    assert_eq!(w.schedule(&tcp(VIP), client), None);
    let Neighbour::Unresolved { why } = &w.list()[0].destinations[0].neighbour else { panic!() };
    assert_eq!(why, "no answer to ARP");
    assert!(w.director.warnings().iter().any(|text| text.contains("no answer to ARP")));
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x11, 2) });
    assert!(w.schedule(&tcp(VIP), client).is_some());
    // And away again.
    let next_hop = NextHop::Unresolved { why: "gone".into() };
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop });
    assert_eq!(w.schedule(&tcp(VIP), client), None);
}

#[test]
fn a_changed_mac_is_one_store() {
    let mut w = one();
    w.ops.clear();
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x99, 2) });
    let (id, _) = w.element(RS);
    assert_eq!(w.ops, [MapOp::SetHop { id, hop: Hop::new([2, 0, 0, 0, 0, 0x99], 2) }]);
    let Neighbour::Resolved { mac, interface, gateway } = &w.list()[0].destinations[0].neighbour else {
        panic!()
    };
    assert_eq!((mac.as_str(), interface.as_str(), gateway), ("02:00:00:00:00:99", "eth0", &None));
}

#[test]
fn nat_by_an_interface_that_is_not_attached_is_warned_of() {
    let mut w = one();
    assert_eq!(w.director.warnings(), [] as [&str; 0]);
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x11, 3) });
    let warnings = w.director.warnings();
    assert!(warnings[0].contains("leave by eth1, where the director is not attached"), "{warnings:?}");
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x11, 9) });
    assert!(w.director.warnings()[0].contains("interface 9 is gone"));
}

#[test]
fn an_address_that_becomes_the_directors_own_is_local() {
    let mut w = one();
    w.does(add(tcp(VIP), destination("198.51.100.12:8080", 1)));
    for last in ["198.51.100.11", "198.51.100.12"] {
        w.event(Event::NextHop { address: ip(last), next_hop: NextHop::Local });
    }
    assert_ne!(w.element(RS).1.flags & destination_flags::LOCAL, 0);
    // On another port than the service's it cannot serve: no new connections.
    let (_, d) = w.element("198.51.100.12:8080");
    assert_eq!((d.flags & destination_flags::LOCAL, d.hop), (0, Hop::UNRESOLVED));
    w.event(Event::NextHop { address: ip("198.51.100.11"), next_hop: hop(0x11, 2) });
    assert_eq!(w.element(RS).1.flags & destination_flags::LOCAL, 0);
}

#[test]
fn an_address_is_watched_while_a_destination_has_it() {
    let mut w = one();
    w.does(add_service(service(tcp("192.0.2.2:80"), Scheduler::Rr)));
    w.does(add(tcp("192.0.2.2:80"), destination(RS, 1)));
    w.does(delete(tcp(VIP), RS));
    assert!(w.unwatched.is_empty());
    w.does(Request::Clear);
    assert_eq!(w.unwatched, [ip("198.51.100.11")]);
}

#[test]
fn changed_routes_move_the_generation_on() {
    let mut w = one();
    let before = w.maps.layout.settings.route_generation;
    w.event(Event::RoutesChanged);
    assert_eq!(w.maps.layout.settings.route_generation, before + 1);
}

#[test]
fn a_restarted_director_goes_on_with_the_hops_it_finds() {
    let w = one();
    let before = w.element(RS).1.hop;
    let observed = Box::new(w.observe());
    let mut anew = Director::new();
    let mut written = Vec::new();
    let unresolved = || NextHop::Unresolved { why: "has not answered yet".into() };
    let address = ip("198.51.100.11");
    let mut hops_of = |director: &mut Director, event: Event| -> Vec<Hop> {
        for effect in director.handle(&w.maps, event, w.now) {
            if let Effect::Apply(ops) = effect {
                written.extend(ops);
            }
        }
        let hops = written.drain(..).filter_map(|op| match op {
            MapOp::SetHop { hop, .. } => Some(hop),
            _ => None,
        });
        hops.collect()
    };
    // The kernel forgot the neighbour meanwhile; the data path did not.
    assert_ne!(before, Hop::UNRESOLVED);
    assert_eq!(hops_of(&mut anew, Event::Observed(observed, Box::default())), []);
    assert_eq!(hops_of(&mut anew, Event::NextHop { address, next_hop: unresolved() }), []);
    assert_eq!(hops_of(&mut anew, Event::Waited(address)), [Hop::UNRESOLVED], "nobody answered in time");
}

#[test]
fn the_mtu_goes_with_the_way_and_never_widens_before_it() {
    let mut w = one();
    assert_eq!(w.element(RS).1.mtu, 1500);
    let id = w.element(RS).0;
    w.ops.clear();
    let by = |ifindex, mtu| Event::NextHop {
        address: ip("198.51.100.11"),
        next_hop: NextHop::Resolved { mac: [2, 0, 0, 0, 0, 11], ifindex, gateway: None, mtu, source: SOURCE },
    };
    w.event(by(2, 1400));
    assert_eq!(std::mem::take(&mut w.ops), [MapOp::SetMtu { id, mtu: 1400 }]);
    w.event(by(3, 1300));
    let ops = std::mem::take(&mut w.ops);
    assert!(matches!(ops[..], [MapOp::SetMtu { mtu: 1300, .. }, MapOp::SetHop { .. }]), "{ops:?}");
    w.event(by(2, 1500));
    let ops = std::mem::take(&mut w.ops);
    assert!(matches!(ops[..], [MapOp::SetHop { .. }, MapOp::SetMtu { mtu: 1500, .. }]), "{ops:?}");
    // A restarted lbd, which knows nothing yet, leaves it.
    let before = w.element(RS).1;
    w.is_settled();
    assert_eq!(w.element(RS).1, before);
    w.event(Event::NextHop {
        address: ip("198.51.100.11"),
        next_hop: NextHop::Unresolved { why: "gone".into() },
    });
    assert_eq!(w.element(RS).1.mtu, 0);
}
