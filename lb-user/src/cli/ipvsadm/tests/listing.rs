//! Listings with live counters and connections, as recorded in `tests/recordings/live-listings.json`.

use std::net::SocketAddr;

use serde::Deserialize;

use super::{Director, shell};
use crate::api::{ConnectionView, Rates, Stats};
use crate::model::Protocol;

#[derive(Debug, Deserialize)]
struct Recorded {
    cmd: String,
    stdout: String,
}

fn recordings() -> Vec<Recorded> {
    serde_json::from_str(include_str!("../../../../../tests/recordings/live-listings.json")).unwrap()
}

fn output<'a>(recordings: &'a [Recorded], cmd: &str) -> &'a str {
    &recordings.iter().find(|r| r.cmd == cmd).unwrap().stdout
}

/// The numbers at the end of each line that has `n` of them: services and destinations, in order.
fn numbers(text: &str, n: usize) -> Vec<Vec<u64>> {
    text.lines()
        .skip(3)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.get(words.len().checked_sub(n)?..)?.iter().map(|w| w.parse().ok()).collect()
        })
        .collect()
}

/// A director with the recorded rules, and the recorded numbers in them.
fn recorded_director(recordings: &[Recorded]) -> Director {
    let mut director = Director::default();
    for recorded in recordings.iter().filter(|r| !r.cmd.contains(" -L")) {
        assert_eq!(shell(&mut director, &recorded.cmd, "").code, 0, "{}", recorded.cmd);
    }
    // The lines are sorted, so the rules have to be.
    crate::cli::render::sort(&mut director.services);
    let mut stats = numbers(output(recordings, "ipvsadm -Ln --stats"), 5).into_iter();
    let mut rates = numbers(output(recordings, "ipvsadm -Ln --rate"), 5).into_iter();
    let mut counts = numbers(output(recordings, "ipvsadm -Ln --persistent-conn"), 4).into_iter();
    let mut next = || {
        let (s, r) = (stats.next().unwrap(), rates.next().unwrap());
        let (s, r): ([u64; 5], [u64; 5]) = (s.try_into().unwrap(), r.try_into().unwrap());
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = s;
        let stats = Stats { connections, in_packets, out_packets, in_bytes, out_bytes };
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = r;
        (stats, Rates { connections, in_packets, out_packets, in_bytes, out_bytes })
    };
    for service in &mut director.services {
        (service.stats, service.rates) = next();
        for destination in &mut service.destinations {
            (destination.stats, destination.rates) = next();
            let counts: Vec<u32> =
                counts.next().unwrap().iter().map(|n| u32::try_from(*n).unwrap()).collect();
            (destination.persistent, destination.active, destination.inactive) =
                (counts[1], counts[2], counts[3]);
        }
    }
    director
}

#[test]
fn counters_stand_in_the_recorded_columns() {
    let recordings = recordings();
    let mut director = recorded_director(&recordings);
    let mut compared = 0;
    for recorded in recordings.iter().filter(|r| r.cmd.contains(" -L") && !r.cmd.contains(" -c")) {
        assert_eq!(shell(&mut director, &recorded.cmd, "").out, recorded.stdout, "{}", recorded.cmd);
        compared += 1;
    }
    assert_eq!(compared, 8);
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn connection(line: &str) -> ConnectionView {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (minutes, seconds) = words[1].split_once(':').unwrap();
    ConnectionView {
        protocol: match words[0] {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            _ => None,
        },
        expires: minutes.parse::<u32>().unwrap() * 60 + seconds.parse::<u32>().unwrap(),
        state: words[2].to_owned(),
        client: address(words[3]),
        virtual_address: address(words[4]),
        destination: address(words[5]),
        template: address(words[3]).port() == 0,
    }
}

#[test]
fn connections_stand_in_the_recorded_columns() {
    let recordings = recordings();
    let mut compared = 0;
    for recorded in recordings.iter().filter(|r| r.cmd.contains(" -c")) {
        let connections = recorded.stdout.lines().skip(2).map(connection).collect();
        let mut director = Director { connections, ..Director::default() };
        assert_eq!(shell(&mut director, &recorded.cmd, "").out, recorded.stdout, "{}", recorded.cmd);
        compared += recorded.stdout.lines().count();
    }
    assert!(compared > 80);
}

#[test]
fn names_of_connections_are_those_of_their_protocol() {
    let line = |protocol| ConnectionView {
        protocol,
        ..connection("TCP 00:05 NONE 203.0.113.9:80 192.0.2.1:80 198.51.100.11:8080")
    };
    let connections = vec![line(Some(Protocol::Tcp)), line(None), line(Some(Protocol::Sctp))];
    let mut director = Director { connections, ..Director::default() };
    assert_eq!(
        shell(&mut director, "ipvsadm -Lc", "").out,
        "IPVS connection entries\n\
         pro expire state       source             virtual            destination\n\
         TCP 00:05  NONE        203.0.113.9:http   vip.example:http   real1.example:http-alt\n\
         IP  00:05  NONE        203.0.113.9:80     vip.example:80     real1.example:8080\n\
         SCTP 00:05  NONE        203.0.113.9:80     vip.example:80     real1.example:8080\n"
    );
}

#[test]
fn great_numbers_are_shortened_but_not_the_first_rates() {
    let mut director = Director::default();
    shell(&mut director, "ipvsadm -A -t 192.0.2.1:80", "");
    shell(&mut director, "ipvsadm -a -t 192.0.2.1:80 -r 198.51.100.11 -m", "");
    let n = 123_456_789_012;
    let rates = Rates { connections: n, in_packets: n, out_packets: n, in_bytes: n, out_bytes: n };
    director.services[0].rates = rates;
    director.services[0].destinations[0].rates = rates;
    let lines = |out: String| out.lines().skip(3).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(shell(&mut director, "ipvsadm -Ln --rate", "").out),
        [
            "TCP  192.0.2.1:80                     123G     123G     123G     123G     123G",
            "  -> 198.51.100.11:80             123456789012 123456789012 123456789012     123G     123G",
        ]
    );
    assert_eq!(
        lines(shell(&mut director, "ipvsadm -Ln --rate --exact", "").out)[0],
        "TCP  192.0.2.1:80                 123456789012 123456789012 123456789012 123456789012 123456789012"
    );
}
