//! `drop_entry`, and connections whose destination was removed.

use lb_common::abi::{connection_flags, destination_flags, settings_flags};
use lb_common::conn::{protocol, tcp};
use lb_common::persist;

use super::super::defence::Lottery;
use super::*;

fn change(memory: &Memory, change: impl FnOnce(&mut Settings)) {
    let mut settings = memory.settings.read(0).unwrap();
    change(&mut settings);
    memory.settings.write(0, &settings).unwrap();
}

fn remove(memory: &Memory, id: u32) {
    let mut d = memory.destinations.read(id).unwrap();
    d.flags &= !destination_flags::AVAILABLE;
    memory.destinations.write(id, &d).unwrap();
}

/// Passes until nothing more goes, at the same moment; how many there were of each thing.
fn give_up(memory: &Memory, now: u32) -> u64 {
    let mut sweeper = Sweeper::new();
    (0..1500).map(|_| sweep(&mut sweeper, memory, now).given_up).sum()
}

#[test]
fn half_open_connections_go_and_young_ones_stay() {
    for mode in 0..=3 {
        let (memory, services) = site(256);
        change(&memory, |s| s.drop_entry = mode);
        for port in 0..40 {
            pass(&memory, &services, 10, &frame(0, 1, 4000 + port, SYN));
            pass(&memory, &services, 10, &frame(1, 1, 4000 + port, SYN));
            for flags in [SYN, ACK] {
                pass(&memory, &services, 10, &frame(0, 2, 4000 + port, flags));
            }
        }
        let gone = if mode >= 2 { 40 } else { 0 };
        assert_eq!(give_up(&memory, 20), 2 * gone, "mode {mode}");
        let left = (80 - gone as u32, 40 - gone as u32);
        assert_eq!((counts(&memory, 0).0, counts(&memory, 1).0), left);
        let statistics = sweep(&mut Sweeper::new(), &memory, 20);
        assert_eq!(statistics.live4, 40 + 3 * (40 - gone), "with their reply entries");
        assert_eq!(statistics.drift, []);
    }
}

#[test]
fn a_pass_looks_at_one_bucket_of_32() {
    let settings = Settings { drop_entry: 3, ..Settings::default() };
    let mut lottery = Lottery::default();
    let mut visits = vec![0_u32; 4096];
    for pass in 0..320 {
        lottery.begin(pass);
        for (index, n) in (0..).zip(&mut visits) {
            *n += u32::from(lottery.visits(&settings, index));
        }
    }
    let all: u32 = visits.iter().sum();
    assert!((39_000..43_000).contains(&all), "{all} of 40960");
    assert!(visits.iter().all(|n| (1..40).contains(n)), "each has its turn");
    assert!(!lottery.visits(&Settings { drop_entry: 1, ..settings }, 0));
}

#[test]
fn the_lottery_goes_by_how_long_nothing_came() {
    let settings = Settings { hz: HZ, ..Settings::default() };
    let established = Word::live(1, tcp::ESTABLISHED, 0);
    for (seconds, every) in [(0, 0), (59, 0), (60, 8), (119, 8), (120, 7), (420, 2), (480, 1), (9000, 1)] {
        let mut lottery = Lottery::default();
        let now = seconds * HZ + 1;
        let taken = (0..840)
            .filter(|_| lottery.takes_connection(&settings, now, protocol::TCP, established, 1))
            .count() as u32;
        assert_eq!(taken, 840_u32.checked_div(every).unwrap_or(0), "{seconds} s");
    }
    let mut lottery = Lottery::default();
    let mut takes = |protocol, state, bits, seconds: u32| {
        lottery.takes_connection(&settings, seconds * HZ + 1, protocol, Word::live(1, state, bits), 1)
    };
    for state in [tcp::SYN_RECV, tcp::SYNACK] {
        assert!(takes(protocol::TCP, state, Word::WEAK, 0));
    }
    for state in [tcp::FIN_WAIT, tcp::TIME_WAIT, tcp::CLOSE, tcp::CLOSE_WAIT, tcp::LAST_ACK, tcp::SYN_SENT] {
        assert!(!takes(protocol::TCP, state, 0, 9000), "ends by itself");
    }
    assert!(takes(protocol::UDP, 0, Word::WEAK, 61), "one datagram, and quiet");
    assert!(!takes(protocol::UDP, 0, Word::WEAK, 59));
    assert!(!takes(protocol::UDP, 1, 0, 61), "the first of eight");
    // A tick of another CPU that lies ahead of ours is no age.
    assert!(!lottery.takes_connection(&settings, 1, protocol::TCP, established, 5));
}

#[test]
fn templates_go_unless_assured_or_in_use() {
    let settings = Settings { hz: HZ, ..Settings::default() };
    let mut lottery = Lottery::default();
    let (plain, single) = (connection_flags::TEMPLATE, connection_flags::ONE_PACKET);
    let word = |state| Word::live(1, state, 0);
    assert!(lottery.takes_template(&settings, 1, word(persist::state::NONE), plain, 1));
    assert!(!lottery.takes_template(&settings, 9000 * HZ, word(persist::state::ASSURED), plain, 1));
    assert!(!lottery.takes_template(&settings, 59 * HZ, word(persist::state::NONE), plain | single, 1));
    assert!(lottery.takes_template(&settings, 9000 * HZ, word(persist::state::NONE), plain | single, 1));

    let (memory, services) = site(256);
    change(&memory, |s| s.drop_entry = 3);
    // Half open, so that its template goes with it; and an established one.
    pass(&memory, &services, 10, &frame(3, 1, 4000, SYN));
    for flags in [SYN, ACK] {
        pass(&memory, &services, 10, &frame(3, 2, 4000, flags));
    }
    assert_eq!(counts(&memory, 3), (2, 0, 2));
    assert_eq!(give_up(&memory, 20), 2, "connection and template");
    assert_eq!(counts(&memory, 3), (1, 0, 1));
}

#[test]
fn what_a_removed_server_had_goes_where_it_is_to_expire() {
    for flags in [0, settings_flags::EXPIRE_NODEST_UDP, settings_flags::EXPIRE_NODEST] {
        let (memory, services) = site(256);
        change(&memory, |s| s.flags |= flags);
        for service in [0, 1, 2, 3] {
            for flags in [SYN, ACK] {
                pass(&memory, &services, 10, &frame(service, 1, 4000, flags));
            }
        }
        for id in [1, 2, 3] {
            remove(&memory, id);
        }
        let statistics = sweep(&mut Sweeper::new(), &memory, 11);
        let all: Vec<_> = (0..4).map(|id| counts(&memory, id)).collect();
        if flags == settings_flags::EXPIRE_NODEST {
            assert_eq!(all, [(1, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)]);
            assert_eq!((statistics.live4, statistics.templates, statistics.given_up), (1, 0, 5));
        } else {
            assert_eq!(all, [(1, 0, 0), (1, 0, 0), (0, 1, 1), (1, 0, 1)]);
            assert_eq!(statistics.given_up, 0);
        }
    }
}
