//! The walk over tables that packets filled, in memory of this process.

mod defence;
mod model;
mod site;

use lb_common::abi::Counts;
use lb_common::run::Action;

use self::site::{ACK, ALL, HZ, SYN, counts, frame, pass, site, sweep};
use super::*;
use crate::bpf::listing::Listing;

#[test]
fn a_connection_leaves_when_its_time_is_over_and_not_before() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    assert_eq!(pass(&memory, &services, 10, &frame(0, 1, 4000, SYN)), Action::Transmit);
    pass(&memory, &services, 20, &frame(0, 1, 4000, ACK));
    assert_eq!(counts(&memory, 0), (1, 0, 0));
    let statistics = sweep(&mut sweeper, &memory, 20 + 900 * HZ);
    assert_eq!((statistics.live4, statistics.expired), (1, 0));
    let statistics = sweep(&mut sweeper, &memory, 21 + 900 * HZ);
    assert_eq!((statistics.live4, statistics.expired), (0, 1));
    assert_eq!(counts(&memory, 0), (0, 0, 0));
}

#[test]
fn a_nat_connection_takes_its_reply_entry_along() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(1, 1, 4000, SYN));
    assert_eq!(sweep(&mut sweeper, &memory, 11).live4, 2);
    assert_eq!(sweep(&mut sweeper, &memory, 11 + 61 * HZ).live4, 0);
    assert_eq!(counts(&memory, 1), (0, 0, 0));
}

#[test]
fn an_orphaned_reply_entry_goes_after_a_grace() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(1, 1, 4000, SYN));
    // The forward entry vanishes without its peer.
    let tables = MappedTables::new(&memory, 10);
    let settings = tables.copied_settings();
    let view = View::<V4, _>::new(&tables, &settings, FlowTable::Connections);
    let forward = (0..256)
        .flat_map(|bucket| live::<V4>(&tables, FlowTable::Connections, bucket))
        .find(|(_, found)| found.entry.flags() & connection_flags::MASQ != 0);
    assert!(flow_table::discard(&view, forward.unwrap().1));
    assert_eq!(sweep(&mut sweeper, &memory, 10 + ORPHAN_SECONDS * HZ).live4, 1, "it may be in the making");
    assert_eq!(sweep(&mut sweeper, &memory, 11 + ORPHAN_SECONDS * HZ).live4, 0);
}

#[test]
fn a_template_lives_in_steps_of_a_minute_while_it_has_connections() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 1, &frame(3, 1, 4000, SYN));
    pass(&memory, &services, 1, &frame(3, 1, 4000, ACK));
    assert_eq!(counts(&memory, 3), (1, 0, 1));
    // 100 s of the service, then 60 s at a time: to 900 s of the connection and up to 60 s beyond.
    let mut seconds = 0;
    while counts(&memory, 3).2 == 1 {
        seconds += 1;
        sweep(&mut sweeper, &memory, 2 + seconds * HZ);
        assert!(seconds < 1000);
    }
    assert!((901..=962).contains(&seconds), "{seconds}");
    assert_eq!(counts(&memory, 3), (0, 0, 0));
    assert_eq!(sweeper.statistics().templates, 0);
}

#[test]
fn the_walk_goes_on_where_it_stopped() {
    // 64 MiB of buckets: more than 2 ms of a cold walk.
    let memory = Memory::anonymous(1 << 16, 16);
    let mut sweeper = Sweeper::new();
    let mut steps = 1;
    let begun = monotonic();
    while sweeper.step_over(&memory, 1, ALL) == Step::More {
        steps += 1;
    }
    let took = monotonic().saturating_sub(begun);
    assert!(steps > 1 || took < STEP, "{steps} steps in {took:?}");
    assert_eq!(sweeper.step_over(&memory, 1, ALL), Step::More, "the next pass");
}

#[test]
fn drift_is_mended_when_two_quiet_passes_agree() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(0, 1, 4000, SYN));
    let wrong = Counts { active: 4, inactive: u32::MAX, persistent: 2, overload: 1 };
    memory.counts.write(0, &wrong).unwrap();
    assert_eq!(sweep(&mut sweeper, &memory, 11).drift, []);
    let drift = sweep(&mut sweeper, &memory, 12).drift;
    assert_eq!(drift, [Drift { destination: 0, active: 3, inactive: -1, persistent: 2 }]);
    assert_eq!(memory.counts.read(0), Some(Counts { active: 1, ..Counts::default() }));
    assert_eq!(sweep(&mut sweeper, &memory, 13).drift, []);
}

#[test]
fn what_moves_is_not_mended() {
    let (memory, services) = site(256);
    let mut sweeper = Sweeper::new();
    pass(&memory, &services, 10, &frame(0, 1, 4000, SYN));
    let add = |n| {
        let counts = memory.counts.read(0).unwrap();
        memory.counts.write(0, &Counts { active: counts.active.wrapping_add(n), ..counts }).unwrap();
    };
    add(1);
    for n in 0..4 {
        // A packet between the passes ...
        while sweeper.step_over(&memory, 11 + n, |_| Some(u64::from(n))) == Step::More {}
        assert_eq!(sweeper.statistics().drift, []);
    }
    for _ in 0..4 {
        // ... or another difference.
        assert_eq!(sweep(&mut sweeper, &memory, 20).drift, []);
        add(1);
    }
    while sweeper.step_over(&memory, 30, |_| None) == Step::More {}
    while sweeper.step_over(&memory, 31, |_| None) == Step::More {}
    assert_eq!(sweeper.statistics().drift, [], "nothing known of its packets");
}

#[test]
fn a_bucket_forgets_connections_without_an_entry_once_it_is_empty() {
    // One bucket, and four overflow buckets.
    let (memory, services) = site(1);
    let mut sweeper = Sweeper::new();
    let marked = || {
        let tables = MappedTables::new(&memory, 10);
        Store::<V4>::bucket(&tables, FlowTable::Connections, 0).unwrap().gate() & gate::STATELESS != 0
    };
    for port in 4000..4050 {
        for flags in [SYN, ACK] {
            assert_eq!(pass(&memory, &services, 10, &frame(0, 1, port, flags)), Action::Transmit);
        }
    }
    assert!(marked());
    assert_eq!(sweep(&mut sweeper, &memory, 11).live4, 20);
    assert_eq!(counts(&memory, 0), (20, 0, 0), "no other is counted");
    assert!(marked(), "it is full");
    // All but one end.
    pass(&memory, &services, 12 + 900 * HZ, &frame(0, 1, 4000, ACK));
    let entries = sweep(&mut sweeper, &memory, 12 + 900 * HZ).live4;
    assert_eq!(counts(&memory, 0), (u32::try_from(entries).unwrap(), 0, 0));
    assert_eq!(sweep(&mut sweeper, &memory, 13 + 1800 * HZ).live4, 0);
    assert!(!marked());
    assert_eq!(counts(&memory, 0), (0, 0, 0));
    let stray = frame(0, 1, 4049, ACK);
    assert_eq!(pass(&memory, &services, 14 + 1800 * HZ, &stray), Action::Pass, "nobody's");
}

#[test]
fn connections_are_listed_as_ipvsadm_words_them() {
    let (memory, services) = site(256);
    pass(&memory, &services, 1000, &frame(3, 1, 4000, SYN));
    pass(&memory, &services, 1000, &frame(3, 1, 4000, ACK));
    pass(&memory, &services, 1000, &frame(5, 2, 5000, 0));
    let mut views = Vec::new();
    let mut listing = Listing::new();
    loop {
        let chunk = listing.chunk_of(&memory, 1000 + 30 * HZ, 1);
        if chunk.is_empty() {
            break;
        }
        views.extend(chunk);
    }
    let text = |v: &crate::api::ConnectionView| {
        let protocol = v.protocol.map_or("ip".to_owned(), |p| p.to_string());
        let (client, to, real) = (v.client, v.virtual_address, v.destination);
        format!("{protocol} {} {} {client} {to} {real} {}", v.expires, v.state, v.template)
    };
    let mut lines: Vec<String> = views.iter().map(text).collect();
    lines.sort();
    let expected = [
        "tcp 70 ASSURED 203.0.113.1:0 198.51.100.4:443 0.0.0.14:0 true",
        "tcp 870 ESTABLISHED 203.0.113.1:4000 198.51.100.4:443 0.0.0.14:443 false",
        "udp 0 NONE [2001:db8:700::2]:0 [2001:db8::6]:53 [0:10::]:0 true",
        "udp 270 UDP [2001:db8:700::2]:5000 [2001:db8::6]:53 [0:10::]:53 false",
    ];
    assert_eq!(lines, expected);
}
