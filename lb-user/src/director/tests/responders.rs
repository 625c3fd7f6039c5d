//! Virtual addresses that the host lacks: asked about when they change, and warned of by the answer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::world::*;
use crate::director::Event;
use crate::model::{Responder, Scheduler};

const VIP: &str = "192.0.2.1:80";

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|address| ip(address)).collect()
}

/// What is newly asked about after a tick.
fn asked(w: &mut World) -> Option<BTreeSet<IpAddr>> {
    w.event(Event::Tick);
    w.asked.take()
}

fn told(w: &mut World, address: &str, responder: Responder) -> Vec<String> {
    w.event(Event::Responder { address: ip(address), responder });
    w.director.warnings()
}

const NOBODY: Responder = Responder::Nobody { on_link: true };

#[test]
fn what_the_host_lacks_is_asked_about_once_for_every_change() {
    let mut w = World::new();
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    assert_eq!(asked(&mut w), None, "the host's own addresses are not known");
    w.event(Event::Addresses(set(&["198.51.100.1"])));
    assert_eq!(asked(&mut w), Some(set(&["192.0.2.1"])));
    assert_eq!(asked(&mut w), None);
    // Another port of the same address, and a loopback one, change nothing.
    w.does(add_service(service(tcp("192.0.2.1:443"), Scheduler::Rr)));
    w.does(add_service(service(tcp("127.0.0.1:80"), Scheduler::Rr)));
    assert_eq!(asked(&mut w), None);
    w.does(add_service(service(tcp("[2001:db8::1]:80"), Scheduler::Rr)));
    assert_eq!(asked(&mut w), Some(set(&["192.0.2.1", "2001:db8::1"])));
    w.event(Event::Addresses(set(&["192.0.2.1"])));
    assert_eq!(asked(&mut w), Some(set(&["2001:db8::1"])));
    w.does(crate::api::Request::Clear);
    assert_eq!(asked(&mut w), Some(BTreeSet::new()));
}

#[test]
fn only_silence_is_warned_of_and_the_remedy_is_named() {
    let mut w = World::new();
    w.event(Event::Addresses(BTreeSet::new()));
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    asked(&mut w);
    assert_eq!(w.director.warnings(), [""; 0], "not known yet");
    let [warning] = &told(&mut w, "192.0.2.1", NOBODY)[..] else { panic!("no warning") };
    assert!(warning.contains("nobody answers ARP for 192.0.2.1"), "{warning}");
    assert!(warning.contains("ip address add 192.0.2.1/32 dev eth0"), "{warning}");
    let [routed] = &told(&mut w, "192.0.2.1", Responder::Nobody { on_link: false })[..] else {
        panic!("no warning")
    };
    assert!(routed.contains("in no subnet of this host: have routers send"), "{routed}");
    // Another host answers.
    let host = Responder::Host { mac: [2, 0, 0, 0, 0, 0x99], ifindex: 2 };
    assert_eq!(told(&mut w, "192.0.2.1", host), [""; 0]);
    let elsewhere = w.director.answered_elsewhere();
    let [other] = &elsewhere[..] else { panic!("{elsewhere:?}") };
    assert_eq!((other.mac.as_str(), other.interface.as_str()), ("02:00:00:00:00:99", "eth0"));
    // The host gets the address: known at once, before anybody asks again.
    told(&mut w, "192.0.2.1", NOBODY);
    w.event(Event::Addresses(set(&["192.0.2.1"])));
    assert_eq!(w.director.warnings(), [""; 0]);
    assert_eq!(asked(&mut w), Some(BTreeSet::new()));
    // A late answer about what is not asked any more.
    assert_eq!(told(&mut w, "192.0.2.1", NOBODY), [""; 0]);
}

#[test]
fn a_real_server_that_answers_for_the_virtual_address_is_named() {
    let mut w = World::new();
    w.event(Event::Addresses(BTreeSet::new()));
    w.does(add_service(service(tcp(VIP), Scheduler::Rr)));
    w.does(add(tcp(VIP), destination("198.51.100.11:80", 1)));
    asked(&mut w);
    // As the world answers about 198.51.100.11.
    let server = Responder::Host { mac: [2, 0, 0, 0, 0, 11], ifindex: 2 };
    let [warning] = &told(&mut w, "192.0.2.1", server)[..] else { panic!("no warning") };
    assert!(warning.contains("real server 198.51.100.11 answers ARP for 192.0.2.1"), "{warning}");
    assert!(warning.contains("arp_ignore=1"), "{warning}");
}
