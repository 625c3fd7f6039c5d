//! Persistence and thresholds, packet by packet (ipvs-semantics §6 and §8).

use std::net::SocketAddr;

use super::frames::Carried::{self, Tcp, Udp};
use super::frames::FrameSpec;
use crate::abi::{Counts, Destination, Hop, destination_flags, settings_flags};
use crate::fwd::ForwardingMethod;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::tables::Tables as _;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes, mark_rule};

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Ticks of a minute.
const MINUTE: u32 = 60 * 250;

/// Three destinations; the last byte of their MACs is their id.
fn site() -> (HostTables, Vec<u32>) {
    let mut tables = HostTables::new(64);
    let ids = (0..3)
        .map(|n| {
            tables.add_destination(Destination {
                hop: Hop::new([2, 0, 0, 0, 0, n], 1),
                weight: 1,
                address: [198, 51, 100, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                family: 4,
                method: ForwardingMethod::DirectRoute as u8,
                ..Destination::default()
            })
        })
        .collect();
    (tables, ids)
}

/// Where a frame goes: the destination's id, `None` where none takes it.
fn send(tables: &HostTables, client: &str, service: &str, carried: Carried) -> Option<u8> {
    let (from, to): (SocketAddr, SocketAddr) = (client.parse().unwrap(), service.parse().unwrap());
    let frame = FrameSpec::new(DIRECTOR_MAC, from, to, carried).build();
    match direct_bytes(tables, &frame, 1) {
        (Action::Transmit, bytes) if bytes[23] != 1 => Some(bytes[5]),
        (Action::Transmit | Action::Drop, _) => None,
        other => panic!("{client} {service}: {other:?}"),
    }
}

fn pass(tables: &HostTables, ticks: u32) {
    tables.set_now(tables.now().wrapping_add(ticks));
}

fn persistent(minutes: u32) -> ServiceSpec {
    ServiceSpec { persistence: minutes * MINUTE, ..ServiceSpec::new(Scheduler::Rr) }
}

fn templates(tables: &HostTables) -> u32 {
    (0..3).map(|id| tables.counts(id).persistent).sum()
}

#[test]
fn a_client_stays_where_it_was_for_the_timeout_after_its_last_connection() {
    let (mut tables, ids) = site();
    tables.add_service4(0, [192, 0, 2, 1], 80, 17, &persistent(6), &ids);
    let to = |client: &str| send(&tables, client, "192.0.2.1:80", Udp).unwrap();
    assert_eq!(to("203.0.113.10:1"), 0);
    assert_eq!(to("203.0.113.11:1"), 1);
    for port in 2..20 {
        pass(&tables, MINUTE);
        assert_eq!(to(&format!("203.0.113.10:{port}")), 0);
    }
    assert_eq!(to("203.0.113.10:1"), 0, "a new connection: the first one's time is over");
    // Its connections last five minutes, the template six more without any that began.
    pass(&tables, 6 * MINUTE + 1);
    // What is over is found by the packet itself; the daemon's walk takes the other connections off.
    for (i, mut bucket) in (0..).zip(tables.templates4.all()) {
        for way in &mut bucket.ways {
            way.mark = 0;
        }
        tables.templates4.write(i, bucket).unwrap();
    }
    assert_eq!(to("203.0.113.10:30"), 2, "scheduled anew");
}

#[test]
fn a_template_is_of_its_port_or_of_every_port() {
    let (mut tables, ids) = site();
    tables.add_service4(0, [192, 0, 2, 1], 80, 6, &persistent(6), &ids);
    tables.add_service4(1, [192, 0, 2, 2], 0, 6, &persistent(6), &ids);
    let to = |client: &str, service: &str| send(&tables, client, service, Tcp(SYN)).unwrap();
    // Of every port: one server for all of a client's.
    assert_eq!(to("203.0.113.10:1", "192.0.2.2:80"), 0);
    assert_eq!(to("203.0.113.10:2", "192.0.2.2:443"), 0);
    assert_eq!(to("203.0.113.10:3", "192.0.2.2:9999"), 0);
    assert_eq!(templates(&tables), 1);
    assert_eq!(to("203.0.113.11:1", "192.0.2.2:80"), 1);
    // The service of port 80 has a template of its own, although the client is known.
    assert_eq!(to("203.0.113.10:9", "192.0.2.1:80"), 0);
    assert_eq!(to("203.0.113.10:10", "192.0.2.1:80"), 0);
    assert_eq!(templates(&tables), 3);
}

#[test]
fn a_netmask_keeps_a_network_together_and_a_mark_its_addresses() {
    let (mut tables, ids) = site();
    let mut spec = persistent(6);
    spec.netmask = [255, 255, 255, 240, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    tables.add_service4(0, [192, 0, 2, 1], 80, 6, &spec, &ids);
    tables.add_fwmark(1, 3, 4, &persistent(6), &ids);
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[192, 0, 2, 16]);
    tables.set_marks(&[mark_rule(address, 28, 3)], &[]);
    tables.settings.flags |= settings_flags::NO_PREFILTER;
    let to = |client: &str, service: &str, carried| send(&tables, client, service, carried).unwrap();
    assert_eq!(to("203.0.113.16:1", "192.0.2.1:80", Tcp(SYN)), 0);
    assert_eq!(to("203.0.113.31:1", "192.0.2.1:80", Tcp(SYN)), 0);
    assert_eq!(to("203.0.113.32:1", "192.0.2.1:80", Tcp(SYN)), 1);
    // Addresses, ports and protocols of the mark.
    assert_eq!(to("203.0.113.32:2", "192.0.2.16:80", Tcp(SYN)), 0);
    assert_eq!(to("203.0.113.32:3", "192.0.2.31:443", Tcp(SYN)), 0);
    assert_eq!(to("203.0.113.32:3", "192.0.2.20:53", Udp), 0);
    assert_eq!(to("203.0.113.33:3", "192.0.2.20:53", Udp), 1);
}

#[test]
fn weight_0_keeps_its_clients_but_a_removed_one_does_not() {
    let (mut tables, ids) = site();
    tables.add_service4(0, [192, 0, 2, 1], 80, 6, &persistent(6), &ids);
    let connect = |tables: &HostTables, port: u16| {
        send(tables, &format!("203.0.113.10:{port}"), "192.0.2.1:80", Tcp(SYN)).unwrap()
    };
    assert_eq!(connect(&tables, 1), 0);
    tables.destinations[0].weight = 0;
    assert_eq!(connect(&tables, 2), 0, "a known client still lands there");
    tables.set_counts(0, Counts { overload: 1, ..tables.counts(0) });
    assert_eq!(connect(&tables, 3), 0, "and overload does not matter");
    tables.settings.flags |= settings_flags::EXPIRE_QUIESCENT_TEMPLATE;
    assert_eq!(connect(&tables, 4), 1, "unless it is to expire");
    tables.destinations[1].flags &= !destination_flags::AVAILABLE;
    assert_eq!(connect(&tables, 5), 2);
    assert_eq!(tables.counts(0).persistent + tables.counts(1).persistent, 0);
    tables.destinations[2].hop = Hop::UNRESOLVED;
    tables.destinations[1].flags |= destination_flags::AVAILABLE;
    assert_eq!(connect(&tables, 6), 1, "nor does one without next hop");
}

#[test]
fn thresholds_count_all_connections_and_let_go_below_the_lower() {
    for (upper, lower, released) in
        [(2, 1, 0), (4, 0, 2), (8, 0, 5), (4, 3, 2), (1, 0, 0), (5, 0, 3), (7, 0, 5)]
    {
        let (mut tables, ids) = site();
        tables.destinations[0].upper = upper;
        tables.destinations[0].lower = lower;
        tables.add_service4(0, [192, 0, 2, 1], 80, 6, &ServiceSpec::new(Scheduler::Rr), &ids[..1]);
        let send =
            |port: u32, flags| send(&tables, &format!("203.0.113.10:{port}"), "192.0.2.1:80", Tcp(flags));
        for port in 0..upper {
            assert_eq!(send(1000 + port, SYN), Some(0), "{port} of {upper}");
            assert_eq!(send(1000 + port, ACK), Some(0));
        }
        assert_eq!(send(2000, SYN), None, "{upper} reached");
        // Inactive ones count as well.
        assert_eq!(send(1000, FIN | ACK), Some(0));
        assert_eq!(tables.counts(0).active, upper - 1);
        assert_eq!(send(2001, SYN), None);
        // One after the other ends: its next packet finds that its time is over.
        let mut left = upper;
        while left > released {
            assert_eq!(tables.counts(0).overload, 1, "{left} of {upper} left, {lower}");
            let port = 1000 + upper - left;
            for (i, mut bucket) in (0..).zip(tables.connections4.all()) {
                for way in &mut bucket.ways {
                    let [a, b, ..] = way.key.rest.to_le_bytes();
                    if u32::from(u16::from_be_bytes([a, b])) == port {
                        way.last_seen = way.last_seen.wrapping_sub(901 * 250);
                    }
                }
                tables.connections4.write(i, bucket).unwrap();
            }
            let (from, to) =
                (format!("203.0.113.10:{port}").parse().unwrap(), "192.0.2.1:80".parse().unwrap());
            let stray = FrameSpec::new(DIRECTOR_MAC, from, to, Tcp(ACK)).build();
            assert_eq!(direct_bytes(&tables, &stray, 1).0, Action::Pass, "it opens none");
            left -= 1;
        }
        assert_eq!(tables.counts(0).overload, 0, "{left} of {upper} left, {lower}");
        assert_eq!(send(3000, SYN), Some(0));
    }
}

#[test]
fn a_port_used_again_is_scheduled_anew_as_the_mode_says() {
    for (mode, expected) in [(0, 0), (1, 1), (2, 1), (3, 1)] {
        let (mut tables, ids) = site();
        tables.settings.reuse_mode = mode;
        tables.add_service4(0, [192, 0, 2, 1], 80, 6, &ServiceSpec::new(Scheduler::Rr), &ids);
        let send = |flags| send(&tables, "203.0.113.10:1", "192.0.2.1:80", Tcp(flags));
        assert_eq!(send(SYN), Some(0));
        assert_eq!(send(SYN), Some(0), "a repeated opener is no new connection");
        // FIN in SYN_RECV: TIME_WAIT.
        assert_eq!(send(FIN), Some(0));
        assert_eq!(send(SYN), Some(expected), "mode {mode}");
        let counts: u32 = (0..3).map(|id| tables.counts(id).active + tables.counts(id).inactive).sum();
        assert_eq!(counts, 1);
    }
    // FIN_WAIT of a connection whose replies are not seen: bit 2 only.
    for (mode, expected) in [(1, 0), (2, 1)] {
        let (mut tables, ids) = site();
        tables.settings.reuse_mode = mode;
        tables.add_service4(0, [192, 0, 2, 1], 80, 6, &ServiceSpec::new(Scheduler::Rr), &ids);
        let send = |flags| send(&tables, "203.0.113.10:1", "192.0.2.1:80", Tcp(flags));
        for flags in [SYN, ACK, FIN | ACK] {
            assert_eq!(send(flags), Some(0));
        }
        assert_eq!(send(SYN), Some(expected), "mode {mode}");
    }
}
