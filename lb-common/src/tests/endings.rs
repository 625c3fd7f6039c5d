//! How connections end or begin otherwise by a setting, packet by packet (ipvs-semantics §5 and §7).

use std::net::SocketAddr;

use super::frames::Carried::{self, Tcp, Udp};
use super::frames::FrameSpec;
use crate::abi::{
    Destination, Hop, MarkRule, connection_flags, destination_flags, mark_conditions, settings_flags,
};
use crate::conn::tcp::{ESTABLISHED, SYN_RECV, SYNACK};
use crate::flow_table::Word;
use crate::fwd::ForwardingMethod;
use crate::persist;
use crate::reason::Reason;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::tables::Tables as _;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};

const SYN: u8 = 2;
const ACK: u8 = 16;

/// Ticks of a second.
const SECOND: u32 = 250;

const VIP: [u8; 4] = [192, 0, 2, 1];

/// Two destinations of a round-robin service of `protocol`; the last byte of their MACs is their id.
fn site(method: ForwardingMethod, protocol: u8, spec: &ServiceSpec, flags: u32) -> HostTables {
    let mut tables = HostTables::new(64);
    tables.settings.flags |= flags;
    let ids: Vec<u32> = (0..2)
        .map(|n| {
            tables.add_destination(Destination {
                hop: Hop::new([2, 0, 0, 0, 0, n], 1),
                weight: 1,
                address: [198, 51, 100, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                family: 4,
                method: method as u8,
                ..Destination::default()
            })
        })
        .collect();
    tables.add_service4(0, VIP, 80, protocol, spec, &ids);
    tables
}

fn plain(protocol: u8, flags: u32) -> HostTables {
    site(ForwardingMethod::DirectRoute, protocol, &ServiceSpec::new(Scheduler::Rr), flags)
}

fn persistent(seconds: u32) -> ServiceSpec {
    ServiceSpec { persistence: seconds * SECOND, ..ServiceSpec::new(Scheduler::Rr) }
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    To(u8),
    Passed,
    Dropped,
}
use Outcome::{Dropped, Passed, To};

fn send(tables: &HostTables, from: &str, to: &str, carried: Carried) -> Outcome {
    let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let frame = FrameSpec::new(DIRECTOR_MAC, from, to, carried).build();
    match direct_bytes(tables, &frame, 1) {
        (Action::Transmit, bytes) => To(bytes[5]),
        (Action::Pass, _) => Passed,
        (Action::Drop, _) => Dropped,
        other => panic!("{from} {to}: {other:?}"),
    }
}

/// From a client's port to the service.
fn client(tables: &HostTables, port: u16, carried: Carried) -> Outcome {
    send(tables, &format!("203.0.113.10:{port}"), "192.0.2.1:80", carried)
}

fn remove(tables: &mut HostTables, id: usize) {
    tables.destinations[id].flags &= !destination_flags::AVAILABLE;
}

fn totals(tables: &HostTables) -> [u32; 2] {
    [0, 1].map(|id| tables.counts(id).active + tables.counts(id).inactive)
}

/// State and timeout of the live entries: connections, then templates.
fn states(tables: &HostTables) -> (Vec<u8>, Vec<(u8, u32)>) {
    let all = |table: &crate::abi::Memory<crate::abi::Bucket4>| {
        let ways = table.all().into_iter().flat_map(|bucket| bucket.ways);
        let own = ways.filter(|w| Word(w.word).is_live() && w.flags & connection_flags::REPLY == 0);
        own.map(|w| (Word(w.word).state(), w.timeout)).collect::<Vec<_>>()
    };
    (all(&tables.connections4).into_iter().map(|(s, _)| s).collect(), all(&tables.templates4))
}

#[test]
fn packets_of_a_removed_server_are_dropped_or_end_the_connection() {
    for method in [ForwardingMethod::DirectRoute, ForwardingMethod::Masq] {
        let spec = ServiceSpec::new(Scheduler::Rr);
        let mut tables = site(method, 6, &spec, 0);
        for flags in [SYN, ACK] {
            assert_eq!(client(&tables, 1, Tcp(flags)), To(0));
        }
        remove(&mut tables, 0);
        for flags in [ACK, SYN] {
            assert_eq!(client(&tables, 1, Tcp(flags)), Dropped);
        }
        assert_eq!((tables.reason(Reason::DestinationRemoved), totals(&tables)), (2, [1, 0]));
        tables.settings.flags |= settings_flags::EXPIRE_NODEST_UDP;
        assert_eq!(client(&tables, 1, Tcp(ACK)), Dropped, "that is of datagrams alone");
        tables.settings.flags |= settings_flags::EXPIRE_NODEST;
        // It ends, and its packet may open none: the stack answers.
        assert_eq!(client(&tables, 1, Tcp(ACK)), Passed);
        assert_eq!((tables.reason(Reason::NotAnOpener), totals(&tables)), (1, [0, 0]));
        // An opener goes on to another server by itself.
        tables.destinations[0].flags |= destination_flags::AVAILABLE;
        assert_eq!(client(&tables, 2, Tcp(SYN)), To(1));
        remove(&mut tables, 1);
        assert_eq!(client(&tables, 2, Tcp(SYN)), To(0));
        assert_eq!((totals(&tables), states(&tables).0), ([1, 0], vec![SYN_RECV]));
    }
}

#[test]
fn a_datagram_of_a_removed_server_is_scheduled_anew_by_either_setting() {
    use settings_flags::{EXPIRE_NODEST, EXPIRE_NODEST_UDP};
    for flags in [0, EXPIRE_NODEST, EXPIRE_NODEST_UDP, EXPIRE_NODEST | EXPIRE_NODEST_UDP] {
        for method in [ForwardingMethod::DirectRoute, ForwardingMethod::Masq] {
            let mut tables = site(method, 17, &ServiceSpec::new(Scheduler::Rr), flags);
            assert_eq!(client(&tables, 1, Udp), To(0));
            remove(&mut tables, 0);
            let (expected, connections) = if flags == 0 { (Dropped, [1, 0]) } else { (To(1), [0, 1]) };
            assert_eq!(client(&tables, 1, Udp), expected, "{flags}: the same packet");
            assert_eq!(totals(&tables), connections);
        }
    }
}

#[test]
fn an_opener_leaves_a_quiesced_server_where_connections_are_to_expire() {
    for (flags, expected) in [(0, 0), (settings_flags::EXPIRE_NODEST, 1)] {
        let mut tables = plain(6, flags);
        for flags in [SYN, ACK] {
            assert_eq!(client(&tables, 1, Tcp(flags)), To(0));
        }
        tables.destinations[0].weight = 0;
        assert_eq!(client(&tables, 1, Tcp(ACK)), To(0), "what is established goes on");
        assert_eq!(client(&tables, 1, Tcp(SYN)), To(expected));
        assert_eq!(totals(&tables).iter().sum::<u32>(), 1);
    }
    // Controlled connections too, but the template still names the quiesced server.
    let mut tables = site(ForwardingMethod::Masq, 6, &persistent(100), settings_flags::EXPIRE_NODEST);
    for flags in [SYN, ACK] {
        assert_eq!(client(&tables, 1, Tcp(flags)), To(0));
    }
    tables.destinations[0].weight = 0;
    assert_eq!(client(&tables, 1, Tcp(SYN)), To(0));
    assert_eq!((states(&tables).0, totals(&tables)), (vec![SYN_RECV], [1, 0]), "a new one");
    tables.settings.flags |= settings_flags::EXPIRE_QUIESCENT_TEMPLATE;
    assert_eq!(client(&tables, 1, Tcp(SYN)), To(1));
}

#[test]
fn an_ack_that_opens_assures_its_template() {
    let tables = site(ForwardingMethod::DirectRoute, 6, &persistent(100), settings_flags::SLOPPY_TCP);
    assert_eq!(client(&tables, 1, Tcp(SYN)), To(0));
    assert_eq!(states(&tables), (vec![SYN_RECV], vec![(persist::state::NONE, 100 * SECOND)]));
    assert_eq!(client(&tables, 2, Tcp(ACK)), To(0));
    assert_eq!(states(&tables).1, [(persist::state::ASSURED, 100 * SECOND)]);
    let template = tables.templates4.all().into_iter().flat_map(|b| b.ways).find(|w| Word(w.word).is_live());
    assert!(!Word(template.unwrap().word).has(Word::WEAK), "and nothing replaces it");
}

#[test]
fn an_extended_template_starts_again_or_keeps_its_minute() {
    for (flags, seconds) in [(0, 100), (settings_flags::KEEP_EXTENDED_TEMPLATE, 60)] {
        let tables = site(ForwardingMethod::DirectRoute, 17, &persistent(100), flags);
        assert_eq!(client(&tables, 1, Udp), To(0));
        // What the daemon's walk does while the template has connections.
        for (i, mut bucket) in (0..).zip(tables.templates4.all()) {
            for way in &mut bucket.ways {
                way.timeout = 60 * SECOND;
            }
            tables.templates4.write(i, bucket).unwrap();
        }
        assert_eq!(client(&tables, 2, Udp), To(0));
        assert_eq!(states(&tables).1, [(persist::state::NONE, seconds * SECOND)]);
    }
}

#[test]
fn one_of_so_many_openers_is_dropped_and_nothing_else() {
    for rate in [1_u16, 2, 3, 10] {
        let mut tables = plain(6, 0);
        assert_eq!(client(&tables, 1, Tcp(SYN)), To(0));
        tables.settings.drop_rate = u32::from(rate);
        for port in 1..=40 {
            let turn = port % rate == 0;
            let dropped = client(&tables, 1000 + port, Tcp(SYN)) == Dropped;
            assert_eq!(dropped, turn, "{port} of {rate}");
            assert_eq!(client(&tables, 1, Tcp(ACK)), To(0), "what is connected goes on");
            let elsewhere = send(&tables, "203.0.113.10:1", "192.0.2.1:81", Tcp(SYN));
            assert_eq!(elsewhere, Passed, "what no service has is not counted");
        }
        assert_eq!(tables.reason(Reason::Shed), u64::from(40 / rate));
    }
}

#[test]
fn secure_tcp_keeps_half_open_connections_apart() {
    let tables = plain(6, settings_flags::SECURE_TCP);
    client(&tables, 1, Tcp(SYN));
    assert_eq!(states(&tables).0, [SYNACK], "replies are not seen");
    client(&tables, 1, Tcp(ACK));
    assert_eq!(states(&tables).0, [ESTABLISHED]);
    let spec = ServiceSpec::new(Scheduler::Rr);
    let tables = site(ForwardingMethod::Masq, 6, &spec, settings_flags::SECURE_TCP);
    client(&tables, 1, Tcp(SYN));
    client(&tables, 1, Tcp(ACK));
    assert_eq!(states(&tables).0, [SYN_RECV], "the server has not answered");
    // What was half open when it ended goes on by the other table.
    let mut tables = tables;
    tables.settings.flags &= !settings_flags::SECURE_TCP;
    client(&tables, 1, Tcp(ACK));
    assert_eq!(states(&tables).0, [ESTABLISHED]);
}

#[test]
fn one_packet_scheduling_of_a_mark_is_of_its_datagrams_alone() {
    let spec = ServiceSpec { one_packet: true, ..ServiceSpec::new(Scheduler::Rr) };
    let mut tables = plain(6, settings_flags::NO_PREFILTER);
    tables.add_fwmark(1, 3, 4, &spec, &[0, 1]);
    let rule = MarkRule {
        conditions: mark_conditions::DESTINATION,
        value: 3,
        mask: u32::MAX,
        destination: [u64::from(u32::from_be_bytes(VIP)) << 32, 0],
        destination_mask: [u64::from(u32::MAX) << 32, 0],
        ..MarkRule::default()
    };
    tables.set_marks(&[rule], &[]);
    for expected in [0, 1, 0, 1] {
        assert_eq!(client(&tables, 1, Udp), To(expected));
    }
    assert_eq!((totals(&tables), tables.counters(0).connections), ([0, 0], 2), "counted and forgotten");
    for flags in [SYN, ACK, ACK] {
        assert_eq!(client(&tables, 1, Tcp(flags)), To(0), "a connection");
    }
    assert_eq!(totals(&tables), [1, 0]);
}

#[test]
fn answers_to_one_packet_scheduling_are_not_rewritten() {
    let spec = ServiceSpec { one_packet: true, ..ServiceSpec::new(Scheduler::Rr) };
    let tables = site(ForwardingMethod::Masq, 17, &spec, 0);
    assert_eq!(client(&tables, 1, Udp), To(0));
    assert_eq!(send(&tables, "198.51.100.0:80", "203.0.113.10:1", Udp), Passed);
    assert_eq!(tables.reason(Reason::NoService), 1);
}

#[test]
fn a_persistent_service_of_single_packets_keeps_its_template_apart() {
    let spec = ServiceSpec { one_packet: true, ..persistent(100) };
    let tables = site(ForwardingMethod::DirectRoute, 17, &spec, 0);
    for port in 1..5 {
        assert_eq!(client(&tables, port, Udp), To(0), "to the template's server");
        tables.set_now(tables.now().wrapping_add(1));
    }
    assert_eq!((totals(&tables), tables.counts(0).persistent), ([0, 0], 1));
    let mut ways = tables.templates4.all().into_iter().flat_map(|b| b.ways);
    let template = ways.find(|w| Word(w.word).is_live()).unwrap();
    assert_eq!(template.flags, connection_flags::TEMPLATE | connection_flags::ONE_PACKET);
}
