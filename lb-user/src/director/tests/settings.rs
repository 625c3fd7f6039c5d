//! Timeouts, and the configuration file.

use lb_common::abi::settings_flags;
use lb_common::conn::tcp::{ESTABLISHED, FIN_WAIT, SYN_RECV};

use super::world::*;
use crate::api::{Request, Response};
use crate::config::Config;
use crate::director::{Director, Event};
use crate::model::{
    DestinationSpec, MarkRule, MarkTarget, Network, Owner, Persistence, Scheduler, ServiceSpec, Test,
    Timeouts,
};

pub(super) fn config(services: &[(&str, &[&str])]) -> Config {
    let service = |(vip, rs): &(&str, &[&str])| -> (ServiceSpec, Vec<DestinationSpec>) {
        (service(tcp(vip), Scheduler::Rr), rs.iter().map(|a| destination(a, 1)).collect())
    };
    Config { services: services.iter().map(service).collect(), ..Config::default() }
}

pub(super) fn load(world: &mut World, config: &Config) {
    assert_eq!(Director::check(config), []);
    world.event(Event::Config(Box::new(config.clone())));
}

/// Services with their destinations, and who owns them.
fn owners(world: &mut World) -> Vec<String> {
    let letter = |owner| if owner == Owner::Configuration { 'c' } else { 'o' };
    let mut lines = Vec::new();
    for s in world.list() {
        lines.push(format!("{} {}", letter(s.owner), s.service.key));
        for d in s.destinations {
            lines.push(format!("{} -> {}", letter(d.owner), d.destination.address));
        }
    }
    lines
}

pub(super) fn rule(destination: &str, prefix: u8) -> MarkRule {
    let destination = Network::new(destination.parse().unwrap(), prefix);
    MarkRule {
        destination: Some(Test::is(destination)),
        ..MarkRule::new(destination.address.is_ipv6(), MarkTarget::set(1))
    }
}

#[test]
fn timeouts_are_the_kernels_until_set() {
    let mut w = World::new();
    let s = w.maps.layout.settings;
    assert_eq!((s.tcp_timeouts[ESTABLISHED as usize], s.tcp_timeouts[SYN_RECV as usize]), (90_000, 6_000));
    w.does(Request::SetTimeouts { timeouts: Timeouts { tcp: 30, tcp_fin: 0, udp: u32::MAX } });
    let s = w.maps.layout.settings;
    assert_eq!(s.tcp_timeouts[ESTABLISHED as usize], 3_000);
    assert_eq!(s.tcp_timeouts[FIN_WAIT as usize], 12_000);
    assert_eq!(s.udp_timeout, i32::MAX as u32, "more ticks than can be told from the past");
    w.is_settled();
    let timeouts = Timeouts { tcp: 30, tcp_fin: 120, udp: u32::MAX };
    assert_eq!(w.ask(Request::Timeouts), Ok(Response::Timeouts { timeouts }));
}

#[test]
fn services_turn_the_lookups_on_that_they_need() {
    let mut w = World::new();
    // Those that are no sysctl's.
    let flags = |w: &World| {
        w.maps.layout.settings.flags
            & (settings_flags::FTP | settings_flags::ANY_PORT | settings_flags::NO_PREFILTER)
    };
    w.does(add_service(service(tcp("192.0.2.1:21"), Scheduler::Rr)));
    assert_eq!(flags(&w), settings_flags::FTP);
    let mut any = service(tcp("192.0.2.1:0"), Scheduler::Rr);
    any.persistence = Some(Persistence { timeout: 1 });
    w.does(add_service(any));
    assert_eq!(flags(&w), settings_flags::FTP | settings_flags::ANY_PORT);
    w.is_settled();
    w.does(Request::Clear);
    assert_eq!(flags(&w), 0);
}

#[test]
fn a_reload_changes_only_what_the_configuration_owns() {
    let mut w = World::new();
    w.does(add_service(service(tcp("192.0.2.9:80"), Scheduler::Wlc)));
    load(
        &mut w,
        &config(&[("192.0.2.1:80", &["198.51.100.11:80"]), ("192.0.2.2:80", &["198.51.100.12:80"])]),
    );
    w.does(add(tcp("192.0.2.1:80"), destination("198.51.100.21:80", 1)));
    w.is_settled();
    let before = owners(&mut w);
    w.ops.clear();
    load(
        &mut w,
        &config(&[("192.0.2.1:80", &["198.51.100.11:80"]), ("192.0.2.2:80", &["198.51.100.12:80"])]),
    );
    assert!(w.ops.is_empty(), "the same file changes nothing: {:?}", w.ops);
    assert_eq!(owners(&mut w), before);
    load(
        &mut w,
        &config(&[("192.0.2.1:80", &["198.51.100.13:80"]), ("192.0.2.9:80", &["198.51.100.14:80"])]),
    );
    assert_eq!(
        owners(&mut w),
        ["c 192.0.2.1:80/tcp", "c -> 198.51.100.13:80", "o -> 198.51.100.21:80", "o 192.0.2.9:80/tcp",]
    );
    assert!(w.director.warnings()[0].contains("192.0.2.9:80/tcp of the configuration is left out"));
    // The file gives up a service that an operator uses.
    load(&mut w, &config(&[]));
    assert_eq!(owners(&mut w), ["o 192.0.2.1:80/tcp", "o -> 198.51.100.21:80", "o 192.0.2.9:80/tcp"]);
    w.is_settled();
}

#[test]
fn a_reload_edits_and_an_operators_edit_is_undone() {
    let mut w = World::new();
    let file = config(&[("192.0.2.1:80", &["198.51.100.11:80"])]);
    load(&mut w, &file);
    let (id, _) = w.element("198.51.100.11:80");
    w.does(Request::EditDestination {
        key: tcp("192.0.2.1:80"),
        destination: destination("198.51.100.11:80", 0),
    });
    w.does(Request::EditService { service: service(tcp("192.0.2.1:80"), Scheduler::Wlc) });
    load(&mut w, &file);
    let view = w.list();
    assert_eq!((view[0].service.scheduler, view[0].destinations[0].destination.weight), (Scheduler::Rr, 1));
    assert_eq!(w.element("198.51.100.11:80").0, id, "with its connections");
    w.is_settled();
}

#[test]
fn an_operators_timeouts_stay_until_the_file_changes() {
    let mut w = World::new();
    let mut file = config(&[]);
    file.timeouts = Some(Timeouts { tcp: 100, tcp_fin: 50, udp: 60 });
    load(&mut w, &file);
    w.does(Request::SetTimeouts { timeouts: Timeouts { tcp: 7, tcp_fin: 0, udp: 0 } });
    w.start();
    load(&mut w, &file);
    assert_eq!(
        w.ask(Request::Timeouts),
        Ok(Response::Timeouts { timeouts: Timeouts { tcp: 7, tcp_fin: 50, udp: 60 } })
    );
    file.timeouts = Some(Timeouts { tcp: 101, tcp_fin: 50, udp: 60 });
    load(&mut w, &file);
    let Ok(Response::Timeouts { timeouts }) = w.ask(Request::Timeouts) else { panic!() };
    assert_eq!(timeouts.tcp, 101);
}

#[test]
fn a_configuration_that_cannot_be_is_told_before() {
    let mut file = config(&[("192.0.2.1:80", &["127.0.0.1:8080", "224.0.0.1:80"])]);
    file.marks = vec![MarkRule { ipv6: true, ..rule("192.0.2.2", 32) }];
    let messages: Vec<String> = Director::check(&file).into_iter().map(|r| r.message).collect();
    assert_eq!(messages.len(), 3, "{messages:?}");
}
