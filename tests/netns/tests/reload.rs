//! SIGHUP: lbd reads its configuration again, under traffic.

use std::time::Duration;

use anyhow::{Result, ensure};
use netns_tests::director::SMALL_TABLES;
use netns_tests::server::Ports;
use netns_tests::stream::Stream;
use netns_tests::{Agent, Director, DirectorOptions, Server, Site, interrupt};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(10);

fn destination(n: u8, weight: u32) -> String {
    format!(
        "[[service.destination]]\naddress = \"198.51.100.1{n}:80\"\nmethod = \"nat\"\nweight = {weight}\n"
    )
}

fn service(address: &str, destinations: &[(u8, u32)]) -> String {
    let destinations: String = destinations.iter().map(|(n, weight)| destination(*n, *weight)).collect();
    format!("[[service]]\ntcp = \"{address}\"\nscheduler = \"rr\"\n{destinations}")
}

fn config(parts: &[String]) -> String {
    format!("{SMALL_TABLES}\n{}", parts.concat())
}

fn reload(director: &Director, text: &str) -> Result<()> {
    director.write_config(text)?;
    director.signal(Signal::SIGHUP)
}

fn until(director: &Director, what: &str, mut done: impl FnMut(&str) -> bool) -> Result<()> {
    interrupt::wait_until(what, SOON, || Ok(done(&director.adm("-Ln")?)))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn only_what_the_configuration_owns_changes_and_no_request_is_lost() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let both = config(&[service("192.0.2.1:80", &[(1, 1), (2, 1)])]);
        let options = DirectorOptions { config: Some(both), ..DirectorOptions::default() };
        let director = Director::start_with(site, options)?;
        director.adm_all(&[
            "-A -t 192.0.2.2:80 -s wrr",
            "-a -t 192.0.2.2:80 -r 198.51.100.13:80 -m -w 7",
            "-a -t 192.0.2.1:80 -r 198.51.100.13:80 -m -w 5",
        ])?;
        let operators = |listing: &str| {
            let lines: Vec<String> =
                listing.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            let has = |start: &str| lines.iter().any(|l| l.starts_with(start));
            has("TCP 192.0.2.2:80 wrr")
                && has("-> 198.51.100.13:80 Masq 7")
                && has("-> 198.51.100.13:80 Masq 5")
        };
        client.hold(1, ("203.0.113.10", 29001), ("192.0.2.1", 80))?;
        let asking = Agent::start(&site.client(), site.dir())?;
        let stream = Stream::start(asking, "203.0.113.20", 30000, ("192.0.2.1", 80));
        // Every server is asked before, between and after.
        stream.wait_for(6)?;

        // Changed and added.
        reload(
            &director,
            &config(&[service("192.0.2.1:80", &[(1, 0), (2, 3)]), service("192.0.2.3:80", &[(1, 1)])]),
        )?;
        until(&director, "the new service is there", |listing| listing.contains("192.0.2.3:80"))?;
        let listing = director.adm("-Ln")?;
        let weights = |n: u8| {
            listing.lines().find(|l| l.contains(&format!("198.51.100.1{n}:80"))).unwrap_or("").to_owned()
        };
        ensure!(weights(1).contains("Masq    0") && weights(2).contains("Masq    3"), "weights:\n{listing}");
        ensure!(operators(&listing), "an operator's rule changed:\n{listing}");
        stream.wait_for(6)?;

        // Removed.
        let last = config(&[service("192.0.2.1:80", &[(2, 3)])]);
        reload(&director, &last)?;
        until(&director, "the service is gone", |listing| !listing.contains("192.0.2.3:80"))?;
        let listing = director.adm("-Ln")?;
        ensure!(!listing.contains("198.51.100.11:80"), "the removed destination is there:\n{listing}");
        ensure!(operators(&listing), "an operator's rule changed:\n{listing}");

        stream.wait_for(6)?;

        // A file with a mistake changes nothing, and says where.
        let broken =
            format!("{last}[[service]]\ntcp = \"192.0.2.4:80\"\nscheduler = \"rr\"\ncolour = \"red\"\n");
        let line = broken.lines().count();
        reload(&director, &broken)?;
        let place = format!("lbd.toml:{line}:1");
        interrupt::wait_until("the mistake is told", SOON, || Ok(director.log().contains(&place)))?;
        ensure!(director.log().contains("colour"), "{}", director.log());
        let now = director.adm("-Ln")?;
        ensure!(!now.contains("192.0.2.4") && operators(&now) && now.contains("198.51.100.12:80"), "{now}");
        let warned = |director: &Director| Ok(director.adm("status")?.contains("SIGHUP"));
        interrupt::wait_until("the status tells of it", SOON, || warned(&director))?;

        // So does one that is not there.
        std::fs::remove_file(site.dir().join("lbd.toml"))?;
        director.signal(Signal::SIGHUP)?;
        interrupt::wait_until("the missing file is told", SOON, || {
            Ok(director.log().contains("cannot read the configuration"))
        })?;
        ensure!(director.adm("-Ln")?.contains("198.51.100.12:80"));

        reload(&director, &last)?;
        interrupt::wait_until("the status is quiet again", SOON, || warned(&director).map(|warned| !warned))?;

        stream.wait_for(6)?;
        let got = stream.finish()?;
        let lost: Vec<&String> = got.iter().filter(|name| !name.starts_with("rs")).collect();
        ensure!(lost.is_empty(), "of {} requests these got no answer: {lost:?}", got.len());
        for server in ["rs1", "rs2", "rs3"] {
            ensure!(got.iter().any(|name| name == server), "{server} was never asked: {got:?}");
        }
        // The connection of before goes on, whichever server has it.
        let echo = client.echo(1)?;
        ensure!(echo.starts_with("rs"), "the open connection got {echo}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn interfaces_of_the_configuration_are_attached_and_detached_at_once() -> Result<()> {
    let with = |names: &str| format!("[director]\ninterfaces = [{names}]\n{SMALL_TABLES}");
    Site::two_armed()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let options = DirectorOptions {
            interfaces: vec!["eth0".into()],
            config: Some(with("")),
            ..DirectorOptions::default()
        };
        let mut director = Director::start_with(site, options)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m"])?;
        let status = director.adm("status")?;
        ensure!(status.contains("not attached there") || status.contains("leave by eth1"), "{status}");
        ensure!(director.program_id("eth1")?.is_none(), "eth1 has a program before it is configured");

        reload(&director, &with("\"eth1\""))?;
        interrupt::wait_until("eth1 has the program", SOON, || Ok(director.program_id("eth1")?.is_some()))?;
        interrupt::wait_until("the status shows it", SOON, || {
            Ok(director.adm("status")?.contains("eth1: xdp"))
        })?;
        let names = client.many("203.0.113.10", 29100, ("192.0.2.1", 80), 3)?;
        ensure!(names == ["rs1"; 3], "by NAT over both interfaces: {names:?}");

        // One that does not exist yet is said to be missing, and attached when it comes.
        reload(&director, &with("\"eth1\", \"eth9\""))?;
        interrupt::wait_until("the missing interface is told", SOON, || {
            let status = director.lbadm(&["status"])?;
            Ok(status.code == 1 && status.stdout.contains("not attached to eth9"))
        })?;
        site.director().must("ip link add eth9 type veth peer name far9 && ip link set eth9 up")?;
        interrupt::wait_until("eth9 has the program", SOON, || Ok(director.program_id("eth9")?.is_some()))?;

        reload(&director, &with("\"eth1\""))?;
        interrupt::wait_until("eth9 has it no more", SOON, || Ok(director.program_id("eth9")?.is_none()))?;
        ensure!(director.program_id("eth1")?.is_some() && director.program_id("eth0")?.is_some());

        // What left the configuration while lbd was down goes at its start.
        director.stop()?;
        director.write_config(&with(""))?;
        ensure!(director.program_id("eth1")?.is_some(), "the data path went with lbd");
        director.restart()?;
        interrupt::wait_until("eth1 has it no more", SOON, || Ok(director.program_id("eth1")?.is_none()))?;
        ensure!(director.program_id("eth0")?.is_some());
        Ok(())
    })
}
