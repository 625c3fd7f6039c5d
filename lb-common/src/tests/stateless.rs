//! Connections of which the table has no room for an entry, packet by packet.

use std::net::SocketAddr;

use super::frames::Carried::{self, Tcp, Udp};
use super::frames::FrameSpec;
use crate::abi::{Destination, Hop};
use crate::flow_table::Word;
use crate::fwd::ForwardingMethod::{self, DirectRoute, Masq};
use crate::reason::Reason;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};

const SYN: u8 = 2;
const ACK: u8 = 16;
const SERVICE: &str = "192.0.2.1:80";

/// Tables of one bucket and four overflow buckets; three destinations of these methods, the last byte of their MACs is
/// their id.
fn site(methods: [ForwardingMethod; 3], protocol: u8, spec: &ServiceSpec) -> HostTables {
    let mut tables = HostTables::new(1);
    let ids: Vec<u32> = (0..3)
        .zip(methods)
        .map(|(n, method)| {
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
    tables.add_service4(0, [192, 0, 2, 1], 80, protocol, spec, &ids);
    tables
}

fn send(tables: &HostTables, port: u16, carried: Carried) -> (Action, Vec<u8>) {
    let from = SocketAddr::from(([203, 0, 113, 10], port));
    direct_bytes(tables, &FrameSpec::new(DIRECTOR_MAC, from, SERVICE.parse().unwrap(), carried).build(), 1)
}

/// Where a segment of the client's port goes.
fn to(tables: &HostTables, port: u16, carried: Carried) -> u8 {
    match send(tables, port, carried) {
        (Action::Transmit, bytes) => bytes[5],
        other => panic!("{port}: {other:?}"),
    }
}

/// Establishes connections until no client finds a place; how many there are.
fn fill(tables: &HostTables) -> u32 {
    for port in 1000..1100 {
        for flags in [SYN, ACK] {
            send(tables, port, Tcp(flags));
        }
    }
    counted(tables)
}

fn counted(tables: &HostTables) -> u32 {
    (0..3).map(|id| tables.counts(id).active + tables.counts(id).inactive).sum()
}

/// Entries that are there, replies of NAT included.
fn live(tables: &HostTables) -> usize {
    let all = tables.connections4.all();
    all.iter().flat_map(|bucket| bucket.ways).filter(|way| Word(way.word).is_live()).count()
}

/// Makes every entry one whose time is over.
fn end_all(tables: &HostTables) {
    for (i, mut bucket) in (0..).zip(tables.connections4.all()) {
        for way in &mut bucket.ways {
            way.last_seen = way.last_seen.wrapping_sub(901 * 250);
        }
        tables.connections4.write(i, bucket).unwrap();
    }
}

fn full(tables: &HostTables) -> u64 {
    tables.reason(Reason::ConnectionTableFull)
}

#[test]
fn a_connection_without_an_entry_stays_where_it_is_and_gets_one_when_there_is_room() {
    for scheduler in [Scheduler::Rr, Scheduler::Wrr, Scheduler::Wlc, Scheduler::Sh, Scheduler::Nq] {
        let tables = site([DirectRoute; 3], 6, &ServiceSpec::new(scheduler));
        assert_eq!((fill(&tables), live(&tables)), (20, 20), "{scheduler:?}");
        let mut seen = [0; 3];
        let ports = 2000..2030;
        let first: Vec<u8> = ports.clone().map(|port| to(&tables, port, Tcp(SYN))).collect();
        let before = full(&tables);
        for (port, at) in ports.clone().zip(&first) {
            seen[usize::from(*at)] += 1;
            for flags in [ACK, ACK, SYN, 0x18] {
                assert_eq!(to(&tables, port, Tcp(flags)), *at, "{scheduler:?} {port}");
            }
        }
        assert_eq!(full(&tables) - before, 4 * 30, "each packet is counted");
        assert_eq!((counted(&tables), live(&tables)), (20, 20), "and none of the connections");
        if scheduler != Scheduler::Sh {
            assert!(seen.iter().all(|n| *n > 0), "spread by their ports: {seen:?}");
        }
        end_all(&tables);
        let before = full(&tables);
        for (port, at) in ports.clone().zip(&first).take(12) {
            assert_eq!(to(&tables, port, Tcp(ACK)), *at, "{scheduler:?} {port}: it has an entry");
            assert_eq!(to(&tables, port, Tcp(ACK)), *at);
        }
        assert_eq!(full(&tables), before);
        let established =
            tables.connections4.all().into_iter().flat_map(|bucket| bucket.ways).filter(|way| {
                let word = Word(way.word);
                word.is_live() && word.state() == crate::conn::tcp::ESTABLISHED && !word.has(Word::WEAK)
            });
        assert!(established.count() >= 12);
        assert_eq!(counted(&tables) as usize, live(&tables));
    }
}

#[test]
fn one_stray_segment_makes_no_entry_that_must_stay() {
    let tables = site([DirectRoute; 3], 6, &ServiceSpec::new(Scheduler::Rr));
    fill(&tables);
    end_all(&tables);
    // Strays of connections that nobody opened: each has an entry, but one that gives way.
    for port in 3000..3200 {
        for flags in [ACK, 1, 4] {
            to(&tables, port + u16::from(flags) * 1000, Tcp(flags));
        }
    }
    assert_eq!(counted(&tables) as usize, live(&tables));
    let before = full(&tables);
    for port in 100..112 {
        to(&tables, port, Tcp(SYN));
        to(&tables, port, Tcp(ACK));
    }
    assert_eq!(full(&tables), before, "a connection finds its place among them");
}

#[test]
fn datagrams_of_a_flow_without_an_entry_stay_together() {
    let mut tables = site([DirectRoute; 3], 6, &ServiceSpec::new(Scheduler::Rr));
    tables.add_service4(1, [192, 0, 2, 1], 80, 17, &ServiceSpec::new(Scheduler::Rr), &[0, 1, 2]);
    fill(&tables);
    let first: Vec<u8> = (2000..2012).map(|port| to(&tables, port, Udp)).collect();
    for _ in 0..3 {
        let again: Vec<u8> = (2000..2012).map(|port| to(&tables, port, Udp)).collect();
        assert_eq!(again, first);
    }
    end_all(&tables);
    let before = full(&tables);
    let again: Vec<u8> = (2000..2012).map(|port| to(&tables, port, Udp)).collect();
    assert_eq!(again, first, "with entries as well");
    assert_eq!(full(&tables), before);
}

#[test]
fn nat_cannot_go_without_an_entry() {
    let tables = site([Masq; 3], 6, &ServiceSpec::new(Scheduler::Rr));
    fill(&tables);
    let (counts, entries) = (counted(&tables), live(&tables));
    assert!(entries as u32 == 2 * counts && counts >= 6, "{counts} pairs");
    for port in 2000..2010 {
        let before = full(&tables);
        assert_eq!(send(&tables, port, Tcp(SYN)).0, Action::Drop);
        assert_eq!(full(&tables), before + 1);
        assert_eq!(send(&tables, port, Tcp(ACK)).0, Action::Pass, "nobody's");
    }
    assert_eq!((counted(&tables), live(&tables)), (counts, entries), "nothing is left of it");
    end_all(&tables);
    for port in 2000..2004 {
        assert_eq!(send(&tables, port, Tcp(SYN)).0, Action::Transmit);
    }
    // Where another destination can, it takes the connections.
    let tables = site([Masq, DirectRoute, Masq], 6, &ServiceSpec::new(Scheduler::Rr));
    fill(&tables);
    for port in 2000..2010 {
        assert_eq!((to(&tables, port, Tcp(SYN)), to(&tables, port, Tcp(ACK))), (1, 1));
    }
}

#[test]
fn a_persistent_client_stays_with_its_template() {
    let spec = ServiceSpec { persistence: 360 * 250, ..ServiceSpec::new(Scheduler::Rr) };
    let tables = site([DirectRoute; 3], 6, &spec);
    fill(&tables);
    let home = to(&tables, 2000, Tcp(SYN));
    for port in 2000..2020 {
        assert_eq!((to(&tables, port, Tcp(SYN)), to(&tables, port, Tcp(ACK))), (home, home), "{port}");
    }
    assert_eq!(tables.counts(u32::from(home)).persistent, 1);
}

#[test]
fn a_segment_without_connection_passes_where_nothing_went_without_an_entry() {
    let tables = site([DirectRoute; 3], 6, &ServiceSpec::new(Scheduler::Rr));
    for port in 1000..1010 {
        to(&tables, port, Tcp(SYN));
    }
    assert_eq!(send(&tables, 2000, Tcp(ACK)).0, Action::Pass);
    assert_eq!(tables.reason(Reason::NotAnOpener), 1);
}
