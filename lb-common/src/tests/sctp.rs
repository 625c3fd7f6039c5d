//! SCTP, AH and ESP packet by packet: states, counts, replacement and port reuse (ipvs-semantics §5.2, §7.4).

use super::frames::Carried::{self, Ipsec, Sctp, Udp};
use super::frames::FrameSpec;
use crate::abi::{Counts, Destination, Hop, NONE};
use crate::conn::{protocol, sctp};
use crate::flow_table::Word;
use crate::fwd::ForwardingMethod;
use crate::run::Action;
use crate::sched::Scheduler;
use crate::tables::Tables as _;
use crate::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};

const INIT: Carried = Sctp(&[1]);
const COOKIE_ECHO: Carried = Sctp(&[10]);
const ABORT: Carried = Sctp(&[6]);
const CLIENT: &str = "203.0.113.10:40000";
const VIP: &str = "192.0.2.1:36412";

/// Two destinations, round robin; the last byte of their MACs is their id.
fn site(spec: &ServiceSpec, protocol: u8, port: u16, method: ForwardingMethod) -> HostTables {
    let mut tables = HostTables::new(64);
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
    tables.add_service4(0, [192, 0, 2, 1], port, protocol, spec, &ids);
    tables
}

fn plain() -> HostTables {
    site(&ServiceSpec::new(Scheduler::Rr), protocol::SCTP, 36_412, ForwardingMethod::DirectRoute)
}

/// Where a frame goes: the destination's id.
fn send(tables: &HostTables, client: &str, service: &str, carried: Carried) -> u8 {
    let frame =
        FrameSpec::new(DIRECTOR_MAC, client.parse().unwrap(), service.parse().unwrap(), carried).build();
    match direct_bytes(tables, &frame, 1) {
        (Action::Transmit, bytes) => bytes[5],
        other => panic!("{client} {service} {carried:?}: {other:?}"),
    }
}

/// The only connection: state and word, timeout, when it was last seen.
fn only(tables: &HostTables) -> (Word, u32, u32) {
    let ways = tables.connections4.all().into_iter().flat_map(|b| b.ways);
    let live: Vec<_> = ways.filter(|c| Word(c.word).is_live() && c.peer == NONE).collect();
    let [one] = live.as_slice() else { panic!("{} connections", live.len()) };
    (Word(one.word), one.timeout, one.last_seen)
}

fn counts(active: u32, inactive: u32) -> Counts {
    Counts { active, inactive, ..Counts::default() }
}

#[test]
fn an_association_counts_as_active_while_it_is_established() {
    let tables = plain();
    let steps: [(Carried, u8, u32, Counts); 6] = [
        (INIT, sctp::INIT1, 4, counts(0, 1)),
        (INIT, sctp::INIT, 61, counts(0, 1)),
        (COOKIE_ECHO, sctp::ESTABLISHED, 900, counts(1, 0)),
        (Sctp(&[0]), sctp::ESTABLISHED, 900, counts(1, 0)),
        (Sctp(&[7]), sctp::SHUTDOWN_RECEIVED, 61, counts(0, 1)),
        (Sctp(&[14]), sctp::CLOSED, 61, counts(0, 1)),
    ];
    for (carried, state, seconds, counted) in steps {
        assert_eq!(send(&tables, CLIENT, VIP, carried), 0);
        let (word, timeout, _) = only(&tables);
        assert_eq!((word.state(), timeout), (state, seconds * 250), "{carried:?}");
        assert_eq!(word.has(Word::WEAK), sctp::is_weak(state), "{carried:?}");
        assert_eq!(tables.counts(0), counted, "{carried:?}");
    }
}

#[test]
fn an_abort_behind_a_cookie_closes() {
    for cookie in [Sctp(&[10, 6]), Sctp(&[11, 6])] {
        let tables = plain();
        send(&tables, CLIENT, VIP, INIT);
        send(&tables, CLIENT, VIP, cookie);
        assert_eq!(only(&tables).0.state(), sctp::CLOSED);
    }
    // Behind anything else it does not count, nor anything else behind a cookie.
    let tables = plain();
    send(&tables, CLIENT, VIP, INIT);
    send(&tables, CLIENT, VIP, Sctp(&[10, 0]));
    assert_eq!(only(&tables).0.state(), sctp::ESTABLISHED);
    send(&tables, CLIENT, VIP, Sctp(&[3, 6]));
    assert_eq!(only(&tables).0.state(), sctp::ESTABLISHED);
}

#[test]
fn an_init_on_a_closed_association_is_scheduled_anew_as_the_mode_says() {
    for (mode, expected) in [(0, 0), (1, 1), (2, 1)] {
        let mut tables = plain();
        tables.settings.reuse_mode = mode;
        let send = |carried| send(&tables, CLIENT, VIP, carried);
        assert_eq!([send(INIT), send(COOKIE_ECHO)], [0, 0]);
        assert_eq!(send(INIT), 0, "only a closed one is");
        assert_eq!([send(Sctp(&[7])), send(INIT)], [0, 0], "and no other state");
        assert_eq!(send(ABORT), 0);
        assert_eq!(send(Sctp(&[0])), 0, "and only by INIT");
        assert_eq!(send(INIT), expected, "mode {mode}");
        let state = if expected == 0 { sctp::INIT } else { sctp::INIT1 };
        assert_eq!(only(&tables).0.state(), state);
        assert_eq!((0..2).map(|id| tables.counts(id).inactive).sum::<u32>(), 1);
    }
    // A template's connection never is.
    let persistent = ServiceSpec { persistence: 90_000, ..ServiceSpec::new(Scheduler::Rr) };
    let tables = site(&persistent, protocol::SCTP, 36_412, ForwardingMethod::DirectRoute);
    for carried in [INIT, ABORT, INIT, COOKIE_ECHO] {
        assert_eq!(send(&tables, CLIENT, VIP, carried), 0);
    }
    assert_eq!(tables.counts(0), Counts { active: 1, inactive: 0, persistent: 1, overload: 0 });
}

#[test]
fn nat_steps_by_both_directions() {
    let tables = site(&ServiceSpec::new(Scheduler::Rr), protocol::SCTP, 36_412, ForwardingMethod::Masq);
    let state = || {
        let ways = tables.connections4.all().into_iter().flat_map(|b| b.ways);
        let live: Vec<_> = ways.filter(|c| Word(c.word).is_live() && c.flags & 1 == 0).collect();
        let [one] = live.as_slice() else { panic!("{} connections", live.len()) };
        Word(one.word).state()
    };
    let real = "198.51.100.0:36412";
    let steps = [
        (true, INIT, sctp::INIT1),
        (false, Sctp(&[2]), sctp::COOKIE_SENT),
        (true, COOKIE_ECHO, sctp::COOKIE_REPLIED),
        (false, Sctp(&[11]), sctp::ESTABLISHED),
        (false, Sctp(&[7]), sctp::SHUTDOWN_SENT),
        (true, Sctp(&[8]), sctp::CLOSED),
    ];
    for (inwards, carried, expected) in steps {
        let (from, to) = if inwards { (CLIENT, VIP) } else { (real, CLIENT) };
        send(&tables, from, to, carried);
        assert_eq!(state(), expected, "{carried:?}");
    }
    let counters = tables.counters(0);
    assert_eq!((counters.connections, counters.in_packets, counters.out_packets), (1, 3, 3));
}

#[test]
fn an_established_association_assures_its_template() {
    let persistent = ServiceSpec { persistence: 90_000, ..ServiceSpec::new(Scheduler::Rr) };
    let tables = site(&persistent, protocol::SCTP, 0, ForwardingMethod::DirectRoute);
    let template = || {
        let ways = tables.templates4.all().into_iter().flat_map(|b| b.ways);
        ways.map(|t| Word(t.word)).find(|w| w.is_live()).unwrap().state()
    };
    send(&tables, CLIENT, VIP, INIT);
    send(&tables, CLIENT, VIP, INIT);
    assert_eq!(template(), 0);
    send(&tables, CLIENT, VIP, COOKIE_ECHO);
    assert_eq!(template(), 1);
}

#[test]
fn ipsec_renews_its_connection_and_changes_nothing_else() {
    let tables = site(&ServiceSpec::new(Scheduler::Rr), protocol::UDP, 500, ForwardingMethod::DirectRoute);
    let (client, vip) = ("203.0.113.10:500", "192.0.2.1:500");
    assert_eq!(send(&tables, client, vip, Udp), 0);
    let before = only(&tables);
    tables.set_now(tables.now() + 1000);
    for carried in [Ipsec(protocol::ESP), Ipsec(protocol::AH)] {
        assert_eq!(send(&tables, client, vip, carried), 0);
        let after = only(&tables);
        assert_eq!((after.0, after.1, after.2), (before.0, before.1, before.2 + 1000));
    }
    // Timeouts set later are for later packets of the connection's own protocol.
    let counters = tables.counters(0);
    assert_eq!((counters.connections, counters.in_packets), (1, 3));
    // Another client's, or one whose key exchange came from another port, follow nothing.
    for client in ["203.0.113.11:500", "203.0.113.12:4500"] {
        if client.ends_with("4500") {
            send(&tables, client, vip, Udp);
        }
        let from = client.parse().unwrap();
        let frame = FrameSpec::new(DIRECTOR_MAC, from, vip.parse().unwrap(), Ipsec(protocol::ESP)).build();
        assert_eq!(direct_bytes(&tables, &frame, 1), (Action::Pass, frame));
    }
}
