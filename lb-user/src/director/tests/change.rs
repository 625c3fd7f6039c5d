//! What clients ask for: checks, refusals, and what becomes of the maps.

use lb_common::abi::destination_flags;
use lb_common::persist::EVERY_PORT;

use super::world::*;
use crate::api::{ErrorKind, Refusal, Request, Response};
use crate::model::{
    ForwardingMethod, Fwmark, Netmask, NextHop, Persistence, Protocol, Scheduler, ServiceKey, Tunnel,
    TunnelChecksum, TunnelKind,
};
use crate::plan::MapOp;

const VIP: &str = "192.0.2.1:80";

fn refusal(world: &mut World, request: Request) -> Refusal {
    world.ops.clear();
    let refusal = world.ask(request).expect_err("it was not refused");
    assert!(world.ops.is_empty(), "a refused request changed the maps: {:?}", world.ops);
    assert!(!refusal.message.ends_with('.'), "{}", refusal.message);
    refusal
}

fn kind(world: &mut World, request: Request) -> ErrorKind {
    refusal(world, request).kind
}

fn one(scheduler: Scheduler) -> World {
    let mut world = World::new();
    world.does(add_service(service(tcp(VIP), scheduler)));
    world.does(add(tcp(VIP), destination("198.51.100.11:80", 1)));
    world
}

#[test]
fn services_and_destinations_that_are_not_there_or_there_already() {
    let mut w = one(Scheduler::Rr);
    let d = destination("198.51.100.11:80", 2);
    let other = destination("198.51.100.12:80", 1);
    for (request, expected) in [
        (add_service(service(tcp(VIP), Scheduler::Wlc)), ErrorKind::ServiceExists),
        (
            Request::EditService { service: service(tcp("192.0.2.2:80"), Scheduler::Rr) },
            ErrorKind::NoSuchService,
        ),
        (Request::DeleteService { key: tcp("192.0.2.2:80") }, ErrorKind::NoSuchService),
        (Request::Zero { key: Some(tcp("192.0.2.2:80")) }, ErrorKind::NoSuchService),
        (Request::Services { key: Some(tcp("192.0.2.2:80")) }, ErrorKind::NoSuchService),
        (add(tcp("192.0.2.2:80"), d.clone()), ErrorKind::NoSuchService),
        (add(tcp(VIP), d), ErrorKind::DestinationExists),
        (Request::EditDestination { key: tcp(VIP), destination: other }, ErrorKind::NoSuchDestination),
        (delete(tcp(VIP), "198.51.100.12:80"), ErrorKind::NoSuchDestination),
        (delete(tcp("192.0.2.2:80"), "198.51.100.12:80"), ErrorKind::NoSuchService),
    ] {
        assert_eq!(kind(&mut w, request.clone()), expected, "{request:?}");
    }
}

#[test]
fn what_this_version_does_not_do_is_refused() {
    let mut w = one(Scheduler::Rr);
    for request in [
        // The director's own address by NAT on another port.
        add(tcp(VIP), destination("127.0.0.1:8080", 1)),
    ] {
        assert_eq!(kind(&mut w, request.clone()), ErrorKind::Unsupported, "{request:?}");
    }
}

#[test]
fn the_sip_engine_is_for_persistent_services_of_udp() {
    let mut w = one(Scheduler::Rr);
    let with = |key, engine: &str, persistent: bool| {
        let mut spec = service(key, Scheduler::Rr);
        spec.persistence_engine = Some(engine.into());
        spec.persistence = persistent.then_some(Persistence { timeout: 60 });
        add_service(spec)
    };
    let udp = ServiceKey::Address { protocol: Protocol::Udp, address: "192.0.2.1:5060".parse().unwrap() };
    assert_eq!(kind(&mut w, with(udp, "h323", true)), ErrorKind::NoSuchScheduler);
    assert_eq!(kind(&mut w, with(udp, "sip", false)), ErrorKind::Invalid);
    assert_eq!(kind(&mut w, with(tcp("192.0.2.1:5060"), "sip", true)), ErrorKind::Invalid);
    w.ops.clear();
    w.does(with(udp, "sip", true));
    let engine = w.ops.iter().find_map(|op| match op {
        MapOp::PutService { value, .. } => Some(value.engine),
        _ => None,
    });
    assert_eq!(engine, Some(lb_common::sip::ENGINE));
    w.does(with(ServiceKey::Fwmark(Fwmark { mark: 7, ipv6: true }), "sip", true));
}

#[test]
fn nat_keeps_the_port_of_sctp() {
    let mut w = one(Scheduler::Rr);
    let sctp =
        |address: &str| ServiceKey::Address { protocol: Protocol::Sctp, address: address.parse().unwrap() };
    let key = sctp("192.0.2.1:36412");
    w.does(add_service(service(key, Scheduler::Rr)));
    let other = destination("198.51.100.12:9999", 1);
    let why = refusal(&mut w, add(key, other.clone()));
    assert_eq!(why.kind, ErrorKind::Unsupported);
    assert!(why.message.contains("9999") && why.message.contains("another port"), "{}", why.message);
    let hint = why.hint.unwrap();
    assert!(hint.contains("-r 198.51.100.12:36412 -m") && hint.contains("-g"), "{hint}");
    w.does(add(key, destination("198.51.100.12:36412", 1)));
    // Direct routing takes the service's port anyway.
    let mut dr = destination("198.51.100.13:9999", 1);
    dr.method = ForwardingMethod::DirectRoute;
    w.does(add(key, dr));
    // A service of every port: a destination without a port of its own keeps the packet's.
    let key = sctp("192.0.2.2:0");
    let mut every = service(key, Scheduler::Rr);
    every.persistence = Some(Persistence { timeout: 60 });
    w.does(add_service(every));
    assert_eq!(kind(&mut w, add(key, other)), ErrorKind::Unsupported);
    w.does(add(key, destination("198.51.100.12:0", 1)));
}

#[test]
fn values_out_of_range_are_refused() {
    let mut w = one(Scheduler::Rr);
    let with = |f: fn(&mut crate::model::DestinationSpec)| {
        let mut d = destination("198.51.100.12:80", 1);
        f(&mut d);
        add(tcp(VIP), d)
    };
    for (request, expected) in [
        (with(|d| (d.lower, d.upper) = (5, 4)), ErrorKind::OutOfRange),
        (with(|d| d.weight = 65_536), ErrorKind::OutOfRange),
        (with(|d| d.upper = u32::MAX), ErrorKind::Invalid),
        (with(|d| d.method = ForwardingMethod::Bypass), ErrorKind::Invalid),
        (with(|d| d.address = "[2001:db8:1::11]:80".parse().unwrap()), ErrorKind::Invalid),
        (
            with(|d| {
                d.method = ForwardingMethod::Tunnel;
                d.tunnel = Some(Tunnel { kind: TunnelKind::Gue, port: 0, checksum: TunnelChecksum::None });
            }),
            ErrorKind::Invalid,
        ),
        (with(|d| d.address = "224.0.0.1:80".parse().unwrap()), ErrorKind::Invalid),
        (with(|d| d.address = "0.0.0.0:80".parse().unwrap()), ErrorKind::Invalid),
        (add_service(service(tcp("192.0.2.1:0"), Scheduler::Rr)), ErrorKind::Invalid),
        (
            add_service(service(ServiceKey::Fwmark(Fwmark { mark: 0, ipv6: false }), Scheduler::Rr)),
            ErrorKind::Invalid,
        ),
    ] {
        assert_eq!(kind(&mut w, request.clone()), expected, "{request:?}");
    }
    let mut wrong = service(tcp("[2001:db8::1]:80"), Scheduler::Rr);
    wrong.netmask = Netmask::V4(u32::MAX);
    assert_eq!(kind(&mut w, add_service(wrong)), ErrorKind::Invalid);
}

#[test]
fn direct_routing_takes_the_port_of_its_service() {
    let mut w = one(Scheduler::Rr);
    let mut dr = destination("198.51.100.12:8080", 1);
    dr.method = ForwardingMethod::DirectRoute;
    w.does(add(tcp(VIP), dr.clone()));
    w.element("198.51.100.12:80");
    assert_eq!(kind(&mut w, add(tcp(VIP), dr.clone())), ErrorKind::DestinationExists);
    w.does(Request::EditDestination { key: tcp(VIP), destination: dr.clone() });
    // A mark has no port.
    let mark = ServiceKey::Fwmark(Fwmark { mark: 3, ipv6: false });
    w.does(add_service(service(mark, Scheduler::Rr)));
    w.does(add(mark, dr));
    let (_, d) = w.element("198.51.100.12:8080");
    assert_eq!((d.service_mark, d.flags & destination_flags::FWMARK), (3, destination_flags::FWMARK));
    w.is_settled();
}

#[test]
fn an_edit_replaces_everything_and_moves_no_slot() {
    let mut w = one(Scheduler::Rr);
    let (id, _) = w.element("198.51.100.11:80");
    w.ops.clear();
    let mut d = destination("198.51.100.11:80", 7);
    (d.upper, d.lower) = (10, 5);
    w.does(Request::EditDestination { key: tcp(VIP), destination: d });
    let kinds: Vec<_> = w.ops.iter().map(std::mem::discriminant).collect();
    let put_slots = std::mem::discriminant(&MapOp::PutSlots { first: 0, ids: Vec::new() });
    let put = MapOp::PutDestination { id: 0, value: Box::default(), fresh: true };
    assert!(!kinds.contains(&put_slots) && !kinds.contains(&std::mem::discriminant(&put)));
    let (again, d) = w.element("198.51.100.11:80");
    assert_eq!((again, d.weight, d.upper, d.lower), (id, 7, 10, 5));
    w.is_settled();
}

#[test]
fn services_carry_persistence_netmask_and_flags() {
    let mut w = World::new();
    let mut spec = service(tcp("192.0.2.1:0"), Scheduler::Sh);
    spec.persistence = Some(Persistence { timeout: 360 });
    spec.netmask = Netmask::V4(0xffff_ff00);
    w.does(add_service(spec.clone()));
    let value = w.maps.layout.services[&spec.key];
    assert_eq!((value.persistence, value.persistence_seconds), (36_000, 360));
    assert_eq!(value.netmask[..4], [255, 255, 255, 0]);
    assert_eq!(value.prefix, EVERY_PORT);
    assert_eq!(w.list()[0].service, spec);

    let mut six = service(tcp("[2001:db8::1]:21"), Scheduler::Sh);
    six.persistence = Some(Persistence { timeout: 10 });
    six.netmask = Netmask::V6(64);
    w.does(add_service(six.clone()));
    assert_eq!(w.maps.layout.services[&six.key].prefix, 64 | EVERY_PORT);
    w.is_settled();
    assert!(w.list().iter().any(|s| s.service == six));
}

#[test]
fn a_local_destination_is_served_by_the_own_stack() {
    let mut w = World::new();
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    w.does(add(tcp(VIP), destination("127.0.0.1:80", 1)));
    let (_, d) = w.element("127.0.0.1:80");
    assert_ne!(d.flags & destination_flags::LOCAL, 0);
    // As the kernel tells it of another address of the host.
    w.hops.insert("192.0.2.9".parse().unwrap(), NextHop::Local);
    assert_eq!(kind(&mut w, add(tcp(VIP), destination("192.0.2.9:8080", 1))), ErrorKind::Unsupported);
    assert_eq!(w.unwatched, ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    w.does(add(tcp(VIP), destination("192.0.2.9:80", 1)));
    let edit = Request::EditDestination { key: tcp(VIP), destination: destination("192.0.2.9:80", 3) };
    w.does(edit);
    w.is_settled();
}

#[test]
fn full_maps_refuse_and_nothing_changes() {
    let mut w = World::with(crate::plan::Capacity { services: 2, destinations: 2, slots: 300 });
    w.does(add_service(service(tcp(VIP), Scheduler::Sh)));
    w.does(add_service(service(tcp("192.0.2.2:80"), Scheduler::Sh)));
    assert_eq!(kind(&mut w, add_service(service(tcp("192.0.2.3:80"), Scheduler::Rr))), ErrorKind::NoSpace);
    w.does(add(tcp(VIP), destination("198.51.100.11:80", 1)));
    // No room for 256 slots more.
    let d = destination("198.51.100.11:80", 1);
    assert_eq!(kind(&mut w, add(tcp("192.0.2.2:80"), d.clone())), ErrorKind::NoSpace);
    w.does(Request::EditService { service: service(tcp("192.0.2.2:80"), Scheduler::Rr) });
    w.does(add(tcp("192.0.2.2:80"), d));
    assert_eq!(
        kind(&mut w, add(tcp("192.0.2.2:80"), destination("198.51.100.12:80", 1))),
        ErrorKind::NoSpace
    );
    w.is_settled();
}

#[test]
fn slots_that_wait_are_taken_when_no_packet_reads_them() {
    let mut w = World::with(crate::plan::Capacity { services: 2, destinations: 8, slots: 8 });
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    w.does(add(tcp(VIP), destination("198.51.100.11:80", 1)));
    for _ in 0..4 {
        w.does(add(tcp(VIP), destination("198.51.100.12:80", 1)));
        w.does(delete(tcp(VIP), "198.51.100.12:80"));
    }
    assert!(w.maps.synchronized.get() > 0, "8 slots hold no 13 at a time");
    w.is_settled();
}

#[test]
fn listings_come_in_pages() {
    let mut w = World::with(crate::plan::Capacity { services: 600, ..CAPACITY });
    for n in 0..600 {
        let key = tcp(&format!("192.0.2.1:{}", 1000 + n));
        w.does(add_service(service(key, Scheduler::Rr)));
    }
    let Ok(Response::Services { services }) = w.ask(Request::Services { key: None }) else { panic!() };
    assert!(services.len() < 600);
    let (mut seen, mut after) = (0, None);
    loop {
        let event = crate::director::Event::Services { id: crate::director::RequestId(0), only: None, after };
        let effects = w.director.handle(&w.maps, event, w.now);
        let [crate::director::Effect::Page(_, page)] = effects.as_slice() else { panic!("{effects:?}") };
        seen += page.services.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, 600);
}
