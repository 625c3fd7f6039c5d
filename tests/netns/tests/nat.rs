//! Network address translation: with one NIC and with two, other ports, UDP without checksum, IPv6, bulk data.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netns_tests::download::Download;
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};
use serde_json::json;

fn translates(site: &Site) -> Result<()> {
    let _servers = Server::start_all(site, &Ports::recorded())?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    let director = Director::start(site)?;

    for (vip, real, from) in [
        ("192.0.2.1", "198.51.100.1", "203.0.113.10"),
        ("[2001:db8:2::1]", "[2001:db8:1::1", "2001:db8:3::10"),
    ] {
        let end = if vip.contains(':') { "]" } else { "" };
        let to = vip.trim_matches(['[', ']']);
        // Port 80 of the service is port 8080 of the servers.
        director.adm(&format!("-A -t {vip}:80 -s rr"))?;
        for n in 1..=3 {
            director.adm(&format!("-a -t {vip}:80 -r {real}{n}{end}:8080 -m"))?;
        }
        let names = client.many(from, 23000, (to, 80), 6)?;
        ensure!(names == ["rs3", "rs2", "rs1", "rs3", "rs2", "rs1"], "TCP to {to}: {names:?}");
        let counters = director.counters()?;
        ensure!(counters.connections == 6, "{counters:?}");
        ensure!(counters.in_packets >= 6 * 4 && counters.out_packets >= 6 * 3, "both ways: {counters:?}");
        ensure!(counters.out_bytes > 0, "{counters:?}");

        // A connection that stays open is active, goes on, and is inactive once closed.
        let got = client.hold(1, (from, 23100), (to, 80))?;
        ensure!(got == "rs3", "{got}");
        let active: u64 = director.destinations()?.iter().map(|d| d.active).sum();
        ensure!(active == 1, "{active} active connections");
        let got = client.echo(1)?;
        ensure!(got == "rs3", "the open connection answered {got}");
        client.close(1)?;
        let active: u64 = director.destinations()?.iter().map(|d| d.active).sum();
        ensure!(active == 0, "{active} active connections after the close");
        director.adm("-C")?;

        director.adm(&format!("-A -u {vip}:53 -s rr"))?;
        for n in 1..=3 {
            director.adm(&format!("-a -u {vip}:53 -r {real}{n}{end}:443 -m"))?;
        }
        let mut names = Vec::new();
        for port in [24001, 24001, 24002, 24003] {
            names.push(client.udp((from, port), (to, 53))?);
        }
        ensure!(names == ["rs3", "rs3", "rs2", "rs1"], "UDP to {to}: {names:?}");
        director.adm("-C")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn with_one_nic() -> Result<()> {
    Site::nat_dr()?.test(translates)
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn with_two_nics() -> Result<()> {
    Site::two_armed()?.test(translates)
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_datagram_without_checksum_stays_without() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _server = Server::start(&site.host("rs1"), site.dir(), "rs1", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let mut rs1 = Agent::start(&site.host("rs1"), site.dir())?;
        let director = Director::start(site)?;
        director.adm_all(&["-A -u 192.0.2.1:53 -s rr", "-a -u 192.0.2.1:53 -r 198.51.100.11:8080 -m"])?;
        for (payload, no_checksum) in [("no-checksum", true), ("with-checksum", false)] {
            rs1.capture("eth0")?;
            let got = client.got(json!({
                "udp": ["203.0.113.12", 25000, "192.0.2.1", 53], "no_checksum": no_checksum, "payload": payload,
            }))?;
            ensure!(got == "rs1", "{payload}: got {got}");
            let hex: String = payload.bytes().map(|b| format!("{b:02x}")).collect();
            let frames = rs1.frames("eth0", &hex, 1, Duration::from_secs(2))?;
            let frame = frames.first().with_context(|| format!("{payload} did not reach the server"))?;
            // Ethernet 14, IPv4 20, then ports, length and checksum.
            let port = frame.get(72..76).unwrap_or_default();
            let checksum = frame.get(80..84).unwrap_or_default();
            ensure!(port == "1f90", "the port was not mapped: {frame}");
            ensure!((checksum == "0000") == no_checksum, "{payload}: the checksum is {checksum} in {frame}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn bulk_data_arrives_whole() -> Result<()> {
    Site::two_armed()?.test(|site| {
        let ports = Ports { http: vec![8000], ..Ports::default() };
        let _server = Server::start(&site.host("rs1"), site.dir(), "rs1", &ports)?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm_all(&[
            "-A -t 192.0.2.1:80 -s rr",
            "-a -t 192.0.2.1:80 -r 198.51.100.11:8000 -m",
            "-A -t [2001:db8:2::1]:80 -s rr",
            "-a -t [2001:db8:2::1]:80 -r [2001:db8:1::11]:8000 -m",
        ])?;
        let size = 50_000_000;
        let whole = client.blob_sha256(size)?;
        for (name, host) in [("ipv4", "192.0.2.1"), ("ipv6", "[2001:db8:2::1]")] {
            let url = format!("http://{host}/blob/{size}");
            let sum = Download::start(site, name, &url, "1000M", size)?.sha256()?;
            ensure!(sum == whole, "{name}: {sum} instead of {whole}");
        }
        Ok(())
    })
}
