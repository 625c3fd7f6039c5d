//! Next hops: a changed MAC, a real server that does not answer ARP, a real server behind a gateway.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netns_tests::server::Ports;
use netns_tests::topology::{Host, Nic};
use netns_tests::{Agent, Director, Server, Site, interrupt};

fn state(director: &Director, address: &str) -> Result<String> {
    let all = director.destinations()?;
    let one =
        all.iter().find(|d| d.address == address).with_context(|| format!("no {address} in {all:?}"))?;
    Ok(one.neighbour.clone())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_changed_mac_is_followed_within_a_second() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let rs1 = site.host("rs1");
        let _server = Server::start(&rs1, site.dir(), "rs1", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        for (method, vip) in [("-m", "192.0.2.1"), ("-g", "192.0.2.2")] {
            director.adm_all(&[
                &format!("-A -t {vip}:80 -s rr"),
                &format!("-a -t {vip}:80 -r 198.51.100.11:80 {method}"),
            ])?;
            let got = client.connect(("203.0.113.10", 27000), (vip, 80))?;
            ensure!(got == "rs1", "before the change, {method} got {got}");
        }
        client.hold(1, ("203.0.113.10", 27001), ("192.0.2.1", 80))?;
        client.hold(2, ("203.0.113.10", 27001), ("192.0.2.2", 80))?;
        // The host says so itself, as Linux does on a change of its MAC.
        rs1.sysctl(&[("ipv4.conf.all.arp_notify".into(), "1".into())])?;
        rs1.must("ip link set eth0 address 02:00:00:00:00:91")?;
        let changed = Instant::now();
        interrupt::wait_until("lbd knows the new MAC", Duration::from_secs(1), || {
            Ok(director.adm("list --json")?.contains("02:00:00:00:00:91"))
        })?;
        for (id, vip) in [(1, "192.0.2.1"), (2, "192.0.2.2")] {
            let got = client.connect(("203.0.113.10", 27002), (vip, 80))?;
            ensure!(got == "rs1", "{:?} after the change, {vip} got {got}", changed.elapsed());
            let got = client.echo(id)?;
            ensure!(got == "rs1", "after the change, the open connection {id} got {got}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn an_unresolved_real_server_gets_no_connections() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm_all(&[
            "-A -t 192.0.2.1:80 -s rr",
            "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m",
            // Nobody has this address.
            "-a -t 192.0.2.1:80 -r 198.51.100.77:80 -m",
            "-a -t 192.0.2.1:80 -r 198.51.100.12:80 -m",
        ])?;
        interrupt::wait_until("the missing server is marked", Duration::from_secs(5), || {
            Ok(state(&director, "198.51.100.77:80")? == "unresolved")
        })?;
        for address in ["198.51.100.11:80", "198.51.100.12:80"] {
            ensure!(state(&director, address)? == "resolved", "{address} is {}", state(&director, address)?);
        }
        let names = client.many("203.0.113.10", 27100, ("192.0.2.1", 80), 8)?;
        ensure!(names.iter().filter(|n| *n == "rs1").count() == 4, "{names:?}");
        ensure!(names.iter().filter(|n| *n == "rs2").count() == 4, "{names:?}");
        // Now somebody has it.
        site.host("rs3").must("ip addr add 198.51.100.77/24 dev eth0")?;
        interrupt::wait_until("the server that came is marked", Duration::from_secs(10), || {
            Ok(state(&director, "198.51.100.77:80")? == "resolved")
        })?;
        let names = client.many("203.0.113.10", 27200, ("192.0.2.1", 80), 9)?;
        ensure!(names.iter().filter(|n| *n == "rs3").count() == 3, "{names:?}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_real_server_behind_a_gateway_is_reached() -> Result<()> {
    let nic = |name: &str, lan: &str, mac: &str, address: &str| Nic {
        name: name.into(),
        lan: lan.into(),
        mac: format!("02:00:00:00:00:{mac}"),
        addresses: vec![address.into()],
    };
    let mut topology = Site::one_armed_topology();
    topology.hosts.push(Host {
        name: "gateway".into(),
        nics: vec![nic("eth0", "lan", "21", "198.51.100.21/24"), nic("eth1", "far", "22", "192.0.2.129/25")],
        ip: vec!["route add default via 198.51.100.1".into()],
        sysctls: vec![("ipv4.ip_forward".into(), "1".into())],
        director: false,
    });
    topology.hosts.push(Host {
        name: "far".into(),
        nics: vec![nic("eth0", "far", "31", "192.0.2.200/25")],
        ip: vec!["route add default via 192.0.2.129".into()],
        ..Host::default()
    });
    for host in topology.hosts.iter_mut().filter(|h| h.name == "director") {
        host.ip.push("route add 192.0.2.128/25 via 198.51.100.21".into());
    }
    Site::build(topology)?.test(|site| {
        let _server = Server::start(&site.host("far"), site.dir(), "far", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 192.0.2.200:8080 -m"])?;
        interrupt::wait_until("the server behind the gateway is resolved", Duration::from_secs(5), || {
            Ok(state(&director, "192.0.2.200:8080")? == "resolved")
        })?;
        let names = client.many("203.0.113.10", 27300, ("192.0.2.1", 80), 5)?;
        ensure!(names == ["far"; 5], "{names:?}");
        let listing = director.adm("list --json")?;
        ensure!(listing.contains("198.51.100.21"), "the gateway is not shown:\n{listing}");
        Ok(())
    })
}
