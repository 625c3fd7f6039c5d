//! Direct routing: on one NIC, to another NIC, TCP, UDP, IPv4 and IPv6.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};

fn thirty(client: &mut Agent, from: &str, to: &str) -> Result<BTreeMap<String, usize>> {
    let mut shares = BTreeMap::new();
    for name in client.many(from, 21000, (to, 80), 30)? {
        *shares.entry(name).or_insert(0) += 1;
    }
    Ok(shares)
}

fn evenly() -> BTreeMap<String, usize> {
    ["rs1", "rs2", "rs3"].into_iter().map(|n| (n.to_owned(), 10)).collect()
}

fn balances(site: &Site) -> Result<()> {
    let _servers = Server::start_all(site, &Ports::recorded())?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    let director = Director::start(site)?;

    director.adm("-A -t 192.0.2.1:80 -s rr")?;
    for n in 1..=3 {
        director.adm(&format!("-a -t 192.0.2.1:80 -r 198.51.100.1{n}:80 -g"))?;
    }
    let shares = thirty(&mut client, "203.0.113.10", "192.0.2.1")?;
    ensure!(shares == evenly(), "IPv4 connections went to {shares:?}");
    let counters = director.counters()?;
    ensure!(counters.connections == 30, "30 connections counted as {counters:?}");
    ensure!(counters.in_packets >= 30 * 4, "too few packets counted: {counters:?}");
    ensure!(counters.out_packets == 0, "answers of DR bypass the director: {counters:?}");
    for destination in director.destinations()? {
        ensure!(destination.counters.connections == 10, "{destination:?}");
        ensure!((destination.active, destination.inactive) == (0, 10), "all are closed: {destination:?}");
    }
    director.adm("-C")?;

    director.adm("-A -t [2001:db8:2::1]:80 -s rr")?;
    for n in 1..=3 {
        director.adm(&format!("-a -t [2001:db8:2::1]:80 -r [2001:db8:1::1{n}]:80 -g"))?;
    }
    let shares = thirty(&mut client, "2001:db8:3::10", "2001:db8:2::1")?;
    ensure!(shares == evenly(), "IPv6 connections went to {shares:?}");
    director.adm("-C")?;

    for (service, real) in [("192.0.2.2", "198.51.100.1"), ("[2001:db8:2::1]", "[2001:db8:1::1")] {
        let end = if service.contains(':') { "]" } else { "" };
        director.adm(&format!("-A -u {service}:443 -s rr"))?;
        for n in 1..=3 {
            director.adm(&format!("-a -u {service}:443 -r {real}{n}{end}:443 -g"))?;
        }
        let to = service.trim_matches(['[', ']']);
        let from = if to.contains(':') { "2001:db8:3::11" } else { "203.0.113.11" };
        let mut names = Vec::new();
        for port in [22001, 22002, 22003, 22001] {
            names.push(client.udp((from, port), (to, 443))?);
        }
        ensure!(names == ["rs3", "rs2", "rs1", "rs3"], "datagrams to {to} went to {names:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn on_one_nic() -> Result<()> {
    Site::nat_dr()?.test(balances)
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn to_another_nic() -> Result<()> {
    Site::two_armed()?.test(balances)
}
