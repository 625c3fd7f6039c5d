//! The data path without lbd, and lbd coming back to it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netns_tests::download::Download;
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site, interrupt};

const MEGABYTE: u64 = 1_000_000;

fn services(director: &Director, method: &str, port: u16) -> Result<()> {
    director.adm("-A -t 192.0.2.1:80 -s rr")?;
    for n in 1..=3 {
        director.adm(&format!("-a -t 192.0.2.1:80 -r 198.51.100.1{n}:{port} {method}"))?;
    }
    Ok(())
}

/// Three open connections, then lbd is gone, then it is back: nothing is lost.
fn survives(site: &Site, method: &str, terminate: bool) -> Result<()> {
    let _servers = Server::start_all(site, &Ports::recorded())?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    let mut director = Director::start(site)?;
    services(&director, method, 80)?;
    for id in 1..=3 {
        let port = 26000 + u16::try_from(id)?;
        client.hold(id, ("203.0.113.10", port), ("192.0.2.1", 80))?;
    }
    let listing = director.adm("-Ln")?;
    let connections = director.adm("-Lnc")?;
    let before = director.counters()?;
    let interface = site.director_interfaces().into_iter().next().context("no interface")?;
    let program = director.program_id(&interface)?.context("no program on the interface")?;
    ensure!(listing.matches(" 1          0").count() == 3, "three open connections:\n{listing}");

    if terminate {
        let code = director.stop()?;
        ensure!(code == 0, "SIGTERM ended lbd with {code}");
    } else {
        director.kill()?;
    }
    ensure!(director.program_id(&interface)? == Some(program), "the data path went with lbd");
    for (id, name) in [(1, "rs3"), (2, "rs2"), (3, "rs1")] {
        let got = client.echo(id)?;
        ensure!(got == name, "without lbd, connection {id} got {got} instead of {name}");
    }
    let names = client.many("203.0.113.11", 26100, ("192.0.2.1", 80), 6)?;
    ensure!(
        names == ["rs3", "rs2", "rs1", "rs3", "rs2", "rs1"],
        "without lbd, new connections got {names:?}"
    );

    director.restart()?;
    let after = director.counters()?;
    ensure!(after.connections == before.connections + 6, "before {before:?}, after {after:?}");
    ensure!(after.in_packets > before.in_packets, "before {before:?}, after {after:?}");
    let listing = director.adm("-Ln")?;
    ensure!(listing.matches(" 1          2").count() == 3, "one open, two closed at each server:\n{listing}");
    let now = director.adm("-Lnc")?;
    let flows = |text: &str| -> Vec<String> {
        let words = |l: &str| l.split_whitespace().skip(2).collect::<Vec<_>>().join(" ");
        text.lines().filter(|l| l.contains("ESTABLISHED")).map(words).collect()
    };
    for flow in flows(&connections) {
        ensure!(flows(&now).contains(&flow), "lost {flow}; there are\n{now}");
    }
    ensure!(director.program_id(&interface)?.is_some(), "no program after the restart");
    for (id, name) in [(1, "rs3"), (2, "rs2"), (3, "rs1")] {
        let got = client.echo(id)?;
        ensure!(got == name, "after the restart, connection {id} got {got} instead of {name}");
        client.close(id)?;
    }
    let listing = director.adm("-Ln")?;
    ensure!(listing.matches(" 0          3").count() == 3, "all closed:\n{listing}");
    // A rule can still be changed.
    director.adm("-e -t 192.0.2.1:80 -r 198.51.100.12:80 -w 0 ".trim())?;
    let names = client.many("203.0.113.12", 26200, ("192.0.2.1", 80), 6)?;
    ensure!(!names.contains(&"rs2".to_owned()) && names.iter().all(|n| n.starts_with("rs")), "{names:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn nat_survives_kill_9() -> Result<()> {
    Site::nat_dr()?.test(|site| survives(site, "-m", false))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn dr_survives_kill_9() -> Result<()> {
    Site::nat_dr()?.test(|site| survives(site, "-g", false))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn two_armed_nat_survives_kill_9() -> Result<()> {
    Site::two_armed()?.test(|site| survives(site, "-m", false))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn sigterm_leaves_the_data_path() -> Result<()> {
    Site::nat_dr()?.test(|site| survives(site, "-m", true))
}

/// What belongs to the configuration follows it at a restart; what an operator added stays.
#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_restart_changes_only_what_the_configuration_owns() -> Result<()> {
    let config = |address: &str| {
        format!(
            "{}\n[[service]]\ntcp = \"192.0.2.1:80\"\nscheduler = \"rr\"\n[[service.destination]]\naddress = \"{address}\"\nmethod = \"nat\"\nweight = 1\n",
            netns_tests::director::SMALL_TABLES
        )
    };
    Site::nat_dr()?.test(|site| {
        let options =
            netns_tests::DirectorOptions { config: Some(config("198.51.100.11:80")), ..Default::default() };
        let mut director = Director::start_with(site, options)?;
        let listing = director.adm("-Ln")?;
        ensure!(listing.contains("198.51.100.11:80 "), "the configured service is not there:\n{listing}");
        director.adm_all(&["-A -t 192.0.2.2:80 -s wrr", "-a -t 192.0.2.2:80 -r 198.51.100.13:80 -m"])?;
        director.write_config(&config("198.51.100.12:80"))?;
        director.stop()?;
        director.restart()?;
        let listing = director.adm("-Ln")?;
        ensure!(!listing.contains("198.51.100.11:80 "), "the old destination is still there:\n{listing}");
        ensure!(listing.contains("198.51.100.12:80 "), "the new destination is not there:\n{listing}");
        ensure!(listing.contains("198.51.100.13:80 "), "the operator's service is gone:\n{listing}");
        Ok(())
    })
}

/// lbd is killed at a third of a download and started again at two thirds, while a program replaces another.
fn download(method: &str, size: u64) -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let ports = Ports { http: vec![80], ..Ports::default() };
        let _servers = Server::start_all(site, &ports)?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let mut director = Director::start(site)?;
        services(&director, method, 80)?;
        let whole = client.blob_sha256(size)?;
        let url = format!("http://192.0.2.1/blob/{size}");
        let mut transfer = Download::start(site, "transfer", &url, "100M", size)?;
        transfer.wait_for(1, 3)?;
        director.kill()?;
        transfer.wait_for(2, 3)?;
        director.restart()?;
        ensure!(transfer.running()?, "the restart took longer than the last third of the download");
        let sum = transfer.sha256()?;
        ensure!(sum == whole, "{sum} arrived instead of {whole}");
        // Its end was seen: nothing is active any more.
        interrupt::wait_until("the connection is inactive", Duration::from_secs(3), || {
            Ok(director.destinations()?.iter().all(|d| d.active == 0))
        })
    })
}

#[test]
#[ignore = "needs root and the data path, takes a quarter of a minute: cargo xtask test"]
fn a_gigabyte_by_nat_outlives_lbd() -> Result<()> {
    download("-m", 1000 * MEGABYTE)
}

#[test]
#[ignore = "needs root and the data path, takes a quarter of a minute: cargo xtask test"]
fn a_gigabyte_by_dr_outlives_lbd() -> Result<()> {
    download("-g", 1000 * MEGABYTE)
}
