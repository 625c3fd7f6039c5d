//! A destination that is the director itself.

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn the_director_serves_beside_real_servers() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _own = Server::start(&site.director(), site.dir(), "director", &Ports::recorded())?;
        let _server = Server::start(&site.host("rs1"), site.dir(), "rs1", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        // By loopback, as localhost destinations are written, and by an address of the director.
        for (vip, local, method) in [
            ("192.0.2.1", "127.0.0.1", "-g"),
            ("192.0.2.2", "198.51.100.1", "-g"),
            ("192.0.2.3", "127.0.0.1", "-m"),
        ] {
            director.adm_all(&[
                &format!("-A -t {vip}:80 -s rr"),
                &format!("-a -t {vip}:80 -r {local}:80 {method}"),
                &format!("-a -t {vip}:80 -r 198.51.100.11:80 -m"),
            ])?;
            let names = client.many("203.0.113.10", 30000, (vip, 80), 4)?;
            ensure!(names == ["rs1", "director", "rs1", "director"], "{vip} at {local} {method}: {names:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn another_port_of_the_director_works_or_is_refused_with_a_reason() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _own = Server::start(&site.director(), site.dir(), "director", &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm("-A -t 192.0.2.1:80 -s rr")?;
        let done = director.lbadm(&["-a", "-t", "192.0.2.1:80", "-r", "127.0.0.1:8080", "-m"])?;
        if done.ok() {
            let got = client.connect(("203.0.113.10", 30100), ("192.0.2.1", 80))?;
            ensure!(got == "director", "it was accepted, and a client got {got}");
        } else {
            ensure!(done.stderr.contains("port"), "the refusal does not say why: {}", done.stderr);
        }
        Ok(())
    })
}
