//! Recordings of kernel 6.1's IPVS: which of three real servers got each connection. Here every connection
//! is made of frames, NAT both ways, so that the counts that lc and wlc look at are the data path's own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::frames::Carried::Tcp;
use super::frames::FrameSpec;
use crate::abi::{Destination, Hop, Schedule, settings_flags};
use crate::fwd::ForwardingMethod;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes, mark_rule};

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

/// One recording: real servers in the order in which they were added, with their weights; the servers
/// that were chosen, and `-n` where the connection made as n-th was closed.
struct Recording {
    name: &'static str,
    scheduler: Scheduler,
    weights: [u32; 3],
    held: bool,
    chosen: &'static str,
}

const fn recording(
    name: &'static str,
    scheduler: Scheduler,
    weights: [u32; 3],
    held: bool,
    chosen: &'static str,
) -> Recording {
    Recording { name, scheduler, weights, held, chosen }
}

const RECORDINGS: [Recording; 13] = [
    recording("rr", Scheduler::Rr, [1, 1, 1], false, "321321321"),
    recording("wrr-1-2-3", Scheduler::Wrr, [1, 2, 3], false, "321332321332321332"),
    recording("wrr-3-2-1", Scheduler::Wrr, [3, 2, 1], false, "321121321121321121"),
    recording("wrr-10-20-30", Scheduler::Wrr, [10, 20, 30], false, "321332321332321332"),
    recording("lc-held-1-2-3", Scheduler::Lc, [1, 2, 3], true, "321321321321321321 -1 -2 -3 -7 321321"),
    recording("wlc-held-1-2-3", Scheduler::Wlc, [1, 2, 3], true, "321323321323321323 -1 -2 -3 -7 132323"),
    recording("wlc-not-held", Scheduler::Wlc, [1, 1, 1], false, "321321321"),
    recording("sed-held-1-1-1", Scheduler::Sed, [1, 1, 1], true, "321321321321321321 -1 -2 -3 -7 332132"),
    recording("nq-held-1-2-3", Scheduler::Nq, [1, 2, 3], true, "321332323321323321 -1 -2 -3 -7 332132"),
    recording("ovf-held-2-3-4", Scheduler::Ovf, [2, 3, 4], true, "333332222111"),
    recording("sh", Scheduler::Sh, [1, 1, 1], false, "331212131323231121213131323132123313122313112321"),
    recording(
        "sh-1-2-3",
        Scheduler::Sh,
        [1, 2, 3],
        false,
        "321313333332321323212121323333132333323212132321313133331323",
    ),
    recording("dh", Scheduler::Dh, [1, 1, 1], false, "232131213231323232131213231323"),
];

/// The recordings' site: three real servers behind NAT.
fn site(recording: &Recording) -> HostTables {
    let mut tables = HostTables::new(256);
    let ids: Vec<u32> = (11..)
        .zip(recording.weights)
        .map(|(n, weight)| {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[198, 51, 100, n]);
            tables.add_destination(Destination {
                hop: Hop::new([2, 0, 0, 0, 0, n], 1),
                weight,
                address,
                port: if recording.scheduler == Scheduler::Dh { [0, 0] } else { [0, 80] },
                family: 4,
                method: ForwardingMethod::Masq as u8,
                ..Destination::default()
            })
        })
        .collect();
    // Newest first.
    let walk = [ids[2], ids[1], ids[0]];
    let spec = ServiceSpec::new(recording.scheduler);
    if recording.scheduler == Scheduler::Dh {
        tables.add_fwmark(3, 2, 4, &spec, &walk);
        let mut address = [0; 16];
        address[..4].copy_from_slice(&[192, 0, 2, 0]);
        tables.set_marks(&[mark_rule(address, 24, 2)], &[]);
        tables.settings.flags |= settings_flags::NO_PREFILTER;
    } else {
        tables.add_service4(3, [192, 0, 2, 1], 80, 6, &spec, &walk);
    }
    if recording.scheduler == Scheduler::Wrr {
        // The first server alone has a greatest weight of 1 above its divisor; the walk stays there when the
        // others are added.
        for service in tables.services4.values_mut() {
            service.start = Schedule::new(1, Schedule::HEAD, 1).0;
        }
    }
    tables
}

fn address(text: String) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends a segment; where it went, by the last byte of the address (real server) it was rewritten to.
fn send(tables: &HostTables, from: SocketAddr, to: SocketAddr, flags: u8) -> u8 {
    let frame = FrameSpec::new(DIRECTOR_MAC, from, to, Tcp(flags)).build();
    let (action, bytes) = direct_bytes(tables, &frame, 1);
    assert_eq!(action, Action::Transmit, "{from} {to} {flags}");
    bytes[33]
}

/// Client and virtual address of a connection, and its real server.
type Ends = (SocketAddr, SocketAddr, SocketAddr);

fn connect(tables: &HostTables, client: SocketAddr, service: SocketAddr) -> Ends {
    let server = send(tables, client, service, SYN);
    let real = SocketAddr::new(IpAddr::from([198, 51, 100, server]), service.port());
    send(tables, real, client, SYN | ACK);
    assert_eq!(send(tables, client, service, ACK), server);
    (client, service, real)
}

fn close(tables: &HostTables, (client, service, real): Ends) {
    send(tables, client, service, FIN | ACK);
    send(tables, real, client, FIN | ACK);
    send(tables, client, service, ACK);
}

/// The n-th client of a recording, and where it connects to.
fn ends(recording: &Recording, n: u16) -> (SocketAddr, SocketAddr) {
    let (client, service) = match recording.scheduler {
        Scheduler::Sh => (10 + n, 1),
        Scheduler::Dh => (10 + n / 15, 2 + n % 15),
        _ => (10 + n % 18, 1),
    };
    (address(format!("203.0.113.{client}:{}", 20_000 + n)), address(format!("192.0.2.{service}:80")))
}

#[test]
fn connections_go_where_the_kernel_sent_them() {
    for recording in &RECORDINGS {
        let tables = site(recording);
        let mut held = HashMap::new();
        let mut n = 0;
        for word in recording.chosen.split(' ') {
            if let Some(id) = word.strip_prefix('-') {
                close(&tables, held.remove(&id.parse().unwrap()).unwrap());
                continue;
            }
            for server in word.bytes() {
                let (client, service) = ends(recording, n);
                let connection = connect(&tables, client, service);
                let right = IpAddr::from([198, 51, 100, 10 + (server - b'0')]);
                assert_eq!(connection.2.ip(), right, "{}, connection {n}", recording.name);
                n += 1;
                if recording.held {
                    held.insert(n, connection);
                } else {
                    close(&tables, connection);
                }
            }
        }
        let active: u32 = (0..3).map(|id| tables.counts(id).active).sum();
        assert_eq!(active as usize, held.len(), "{}", recording.name);
    }
}
