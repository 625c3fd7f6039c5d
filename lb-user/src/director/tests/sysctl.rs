//! Sysctls: where they come from, what they do to the settings, and what memory does to the defences.

use lb_common::abi::settings_flags::{EXPIRE_NODEST, EXPIRE_NODEST_UDP, SECURE_TCP, SLOPPY_TCP};

use super::world::*;
use crate::api::{ErrorKind, Request, Response};
use crate::config::Config;
use crate::director::{Event, Load, TableLoad};
use crate::model::sysctl::{Sysctl, SysctlValue};

fn set(values: &[(Sysctl, u32)]) -> Request {
    Request::SetSysctls { values: values.iter().map(|(name, value)| v(*name, *value)).collect() }
}

const fn v(name: Sysctl, value: u32) -> SysctlValue {
    SysctlValue { name, value }
}

fn get(w: &mut World, name: Sysctl) -> u32 {
    let Ok(Response::Sysctls { values }) = w.ask(Request::Sysctls) else { panic!() };
    values.iter().find(|v| v.name == name).unwrap().value
}

fn load(w: &mut World, values: &[SysctlValue]) {
    let config = Config { sysctls: values.to_vec(), ..Config::default() };
    w.event(Event::Config(Box::new(config)));
}

fn pages(w: &mut World, pages: u64) {
    let tables = [TableLoad { slots: 1000, used: 10 }; 2];
    w.event(Event::Load(Load { available_pages: Some(pages), tables }));
}

#[test]
fn new_maps_have_the_defaults_and_a_restart_keeps_what_was_set() {
    let mut w = World::new();
    for sysctl in Sysctl::ALL {
        assert_eq!(get(&mut w, sysctl), sysctl.default_value(), "{}", sysctl.name());
    }
    assert_eq!(w.maps.layout.settings.flags, EXPIRE_NODEST_UDP);
    w.does(set(&[(Sysctl::SloppyTcp, 1), (Sysctl::ExpireNodestConnUdp, 0), (Sysctl::Amemthresh, 7)]));
    assert_eq!((w.maps.layout.settings.flags, w.maps.layout.settings.amemthresh), (SLOPPY_TCP, 7));
    w.is_settled();
    assert_eq!((get(&mut w, Sysctl::Amemthresh), get(&mut w, Sysctl::ExpireNodestConnUdp)), (7, 0));
    assert_eq!(w.maps.layout.settings.flags, SLOPPY_TCP);
}

#[test]
fn all_are_set_or_none() {
    let mut w = World::new();
    let refusal = w.ask(set(&[(Sysctl::SloppyTcp, 1), (Sysctl::DropEntry, 4)])).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert_eq!(refusal.message, "drop_entry must be a whole number from 0 to 3");
    assert_eq!(get(&mut w, Sysctl::SloppyTcp), 0);
    w.does(set(&[]));
}

#[test]
fn a_defence_is_off_armed_or_always_on() {
    let mut w = World::new();
    let now = |w: &World| {
        let s = w.maps.layout.settings;
        (s.flags & SECURE_TCP != 0, s.drop_rate, s.drop_entry)
    };
    let all = |mode| set(&[(Sysctl::SecureTcp, mode), (Sysctl::DropPacket, mode), (Sysctl::DropEntry, mode)]);
    assert!(!w.director.watches_load());
    w.does(all(3));
    assert_eq!(now(&w), (true, 10, 3));
    assert!(!w.director.watches_load(), "whatever memory does");
    w.does(set(&[(Sysctl::AmDroprate, 4)]));
    assert_eq!(now(&w), (true, 4, 3));
    pages(&mut w, 0);
    assert_eq!(now(&w), (true, 4, 3));
    w.does(all(1));
    assert_eq!(now(&w), (false, 0, 1));
    assert!(w.director.watches_load());
    pages(&mut w, 1024);
    assert_eq!(now(&w), (false, 0, 1));
    assert!(!w.director.warnings().iter().any(|w| w.contains("is active")));
    pages(&mut w, 768);
    assert_eq!(now(&w), (true, 4, 2), "1024 / (1024 - 768)");
    pages(&mut w, 512);
    assert_eq!(now(&w), (true, 2, 2));
    assert_eq!(w.director.warnings().iter().filter(|w| w.contains("is active")).count(), 3);
    // A restart forgets nothing, and enough memory disarms.
    w.start();
    assert_eq!(now(&w), (true, 2, 2));
    pages(&mut w, 5000);
    assert_eq!(now(&w), (false, 0, 1));
    // 2 by hand lasts until memory is looked at.
    w.does(all(2));
    assert_eq!(now(&w), (true, 4, 2));
    pages(&mut w, 5000);
    assert_eq!(now(&w), (false, 0, 1));
    w.does(all(0));
    pages(&mut w, 0);
    assert_eq!(now(&w), (false, 0, 0));
    w.is_settled();
}

#[test]
fn a_table_more_than_half_full_is_short_memory_too() {
    let mut w = World::new();
    w.does(set(&[(Sysctl::DropPacket, 1)]));
    for (used, rate) in [(500, 0), (600, 5), (750, 2), (1000, 1), (400, 0)] {
        let tables = [TableLoad { slots: 1000, used }, TableLoad { slots: 1000, used: 0 }];
        w.event(Event::Load(Load { available_pages: None, tables }));
        assert_eq!(w.maps.layout.settings.drop_rate, rate, "{used}");
    }
}

#[test]
fn the_configuration_sets_what_it_changes_and_an_operators_value_stays() {
    let mut w = World::new();
    load(&mut w, &[v(Sysctl::ExpireNodestConn, 1), v(Sysctl::ConnReuseMode, 3)]);
    assert_eq!(w.maps.layout.settings.flags & EXPIRE_NODEST, EXPIRE_NODEST);
    w.does(set(&[(Sysctl::ConnReuseMode, 0), (Sysctl::SloppyTcp, 1)]));
    w.start();
    load(&mut w, &[v(Sysctl::ExpireNodestConn, 1), v(Sysctl::ConnReuseMode, 3)]);
    assert_eq!(get(&mut w, Sysctl::ConnReuseMode), 0, "the file says nothing new");
    load(&mut w, &[v(Sysctl::ConnReuseMode, 2)]);
    assert_eq!(get(&mut w, Sysctl::ConnReuseMode), 2);
    assert_eq!(get(&mut w, Sysctl::ExpireNodestConn), 0, "taken out of the file: the default again");
    assert_eq!(get(&mut w, Sysctl::SloppyTcp), 1, "never the file's");
    w.does(set(&[(Sysctl::ConnReuseMode, 3)]));
    load(&mut w, &[v(Sysctl::DropPacket, 1)]);
    assert_eq!(get(&mut w, Sysctl::ConnReuseMode), 3, "an operator's, although the file gave it up");
    pages(&mut w, 0);
    assert_eq!(get(&mut w, Sysctl::DropPacket), 2);
    load(&mut w, &[]);
    assert_eq!(get(&mut w, Sysctl::DropPacket), 0, "active by memory is not by an operator");
    w.is_settled();
}
