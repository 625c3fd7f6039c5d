//! The sites themselves, with the kernel's own routing in the director's place.

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Server, Site};

const REASON: &str = "the site must work before a director in it can be tested";

fn plain_traffic(site: &Site) -> Result<()> {
    let _servers = Server::start_all(site, &Ports::recorded())?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    for (n, name) in [(11, "rs1"), (12, "rs2"), (13, "rs3")] {
        let v4 = format!("198.51.100.{n}");
        let v6 = format!("2001:db8:1::{n}");
        let got = client.connect(("203.0.113.10", 20001), (&v4, 80))?;
        ensure!(got == name, "{REASON}: TCP to {v4} got {got}");
        let got = client.connect(("2001:db8:3::10", 20001), (&v6, 8080))?;
        ensure!(got == name, "{REASON}: TCP to {v6} got {got}");
        let got = client.udp(("203.0.113.57", 20002), (&v4, 443))?;
        ensure!(got == name, "{REASON}: UDP to {v4} got {got}");
        let got = client.udp(("2001:db8:3::11", 20002), (&v6, 443))?;
        ensure!(got == name, "{REASON}: UDP to {v6} got {got}");
    }
    let got = client.connect(("203.0.113.10", 20003), ("192.0.2.1", 80))?;
    ensure!(got == "ECONNREFUSED", "nothing listens on the director, got {got}");
    // A port can be used again at once, as in the recordings.
    for _ in 0..3 {
        let got = client.connect(("203.0.113.10", 20004), ("198.51.100.11", 80))?;
        ensure!(got == "rs1", "{REASON}: the same port again got {got}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn one_armed_site_routes_plainly() -> Result<()> {
    Site::nat_dr()?.test(plain_traffic)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn two_armed_site_routes_plainly() -> Result<()> {
    Site::two_armed()?.test(plain_traffic)
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_site_leaves_nothing_behind() -> Result<()> {
    let site = Site::nat_dr()?;
    let (dir, namespace) = (site.dir().to_owned(), site.client().path());
    ensure!(dir.exists() && namespace.exists(), "the site is not there while it is used");
    drop(site);
    ensure!(!dir.exists() && !namespace.exists(), "the site is left over");
    Ok(())
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_that_offloads_checksums_is_found() -> Result<()> {
    // The site is whole; then offload is on again along the way and the same check must find the sender.
    let site = Site::nat_dr()?;
    site.host("switch").must("ethtool -K director-eth0 tx on")?;
    site.host("rs2").must("ethtool -K eth0 tx on")?;
    let said = match site.check_again() {
        Ok(()) => String::from("nothing"),
        Err(e) => format!("{e:#}"),
    };
    ensure!(said.contains("rs2 sends partial checksums"), "the check said {said}");
    ensure!(!said.contains("rs1 "), "the check accused another host: {said}");
    Ok(())
}
