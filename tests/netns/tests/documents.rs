//! What people wrote down about LVS, run as it stands, with their addresses.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, ensure};
use netns_tests::document::{Player, Step, read};
use netns_tests::server::{CERTIFICATE, Ports};
use netns_tests::topology::{Host, Nic, Topology};
use netns_tests::{Director, DirectorOptions, Server, Site};

fn nic(name: &str, lan: &str, mac: &str, address: &str) -> Nic {
    Nic {
        name: name.into(),
        lan: lan.into(),
        mac: format!("02:00:00:00:{mac}"),
        addresses: vec![address.into()],
    }
}

fn host(name: &str, nic: Nic, gateway: Option<&str>) -> Host {
    let ip = gateway.map(|g| format!("route add default via {g}"));
    Host { name: name.into(), nics: vec![nic], ip: ip.into_iter().collect(), ..Host::default() }
}

fn director(name: &str, nics: Vec<Nic>) -> Host {
    Host { name: name.into(), nics, director: true, ..Host::default() }
}

/// Plays a transcript; `servers` are by host.
fn play(player: &Player, text: &str, servers: &mut BTreeMap<&str, Server>) -> Result<()> {
    for step in read(text)? {
        match step {
            Step::Run(command) => player.run(&command)?,
            Step::Stop(host) => {
                let mut server =
                    servers.remove(host.as_str()).with_context(|| format!("no server on {host}"))?;
                server.process.kill()?;
            }
        }
    }
    Ok(())
}

fn http(ports: &[u16]) -> Ports {
    Ports { http: ports.to_vec(), ..Ports::default() }
}

/// curl says what goes wrong and nothing of its progress.
fn quiet_curl(site: &Site) -> Result<()> {
    fs::create_dir_all(site.dir().join("tools"))?;
    fs::write(site.dir().join("tools/.curlrc"), "silent\nshow-error\nmax-time = 10\n").context("no .curlrc")
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn document_001_nat() -> Result<()> {
    let hosts = vec![
        host("client", nic("ens33", "outside", "00:57", "172.16.0.57/16"), None),
        director(
            "director",
            vec![
                nic("ens33", "outside", "00:07", "172.16.0.7/16"),
                nic("ens34", "inside", "79:07", "192.168.79.7/24"),
            ],
        ),
        host("rs1", nic("ens33", "inside", "79:27", "192.168.79.27/24"), Some("192.168.79.7")),
        host("rs2", nic("ens33", "inside", "79:37", "192.168.79.37/24"), Some("192.168.79.7")),
    ];
    Site::build(Topology { hosts })?.test(|site| {
        quiet_curl(site)?;
        let mut servers = BTreeMap::new();
        for (host, name) in [("rs1", "RS1"), ("rs2", "RS2"), ("director", "SORRY")] {
            servers.insert(host, Server::start(&site.host(host), site.dir(), name, &http(&[80]))?);
        }
        let lbd = Director::start(site)?;
        let player = Player::new(site, "", &[("director", &lbd)])?;
        play(&player, include_str!("../files/document-001-nat.txt"), &mut servers)
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn document_001_direct_routing_marks_and_persistence() -> Result<()> {
    let lan = |mac: &str, address: &str| nic("ens33", "lan", mac, address);
    let hosts = vec![
        host("client", lan("79:01", "192.168.79.57/24"), None),
        director("director", vec![lan("79:07", "192.168.79.7/24")]),
        host("rs1", lan("79:27", "192.168.79.27/24"), None),
        host("rs2", lan("79:37", "192.168.79.37/24"), None),
    ];
    Site::build(Topology { hosts })?.test(|site| {
        quiet_curl(site)?;
        let mut servers = BTreeMap::new();
        let ports = Ports { https: vec![443], ..http(&[80, 22]) };
        for (host, name) in [("rs1", "RS1"), ("rs2", "RS2")] {
            servers.insert(host, Server::start(&site.host(host), site.dir(), name, &ports)?);
        }
        ensure!(site.dir().join(CERTIFICATE).exists(), "no certificate");
        let lbd = Director::start(site)?;
        let player = Player::new(site, "192.168.79.99 www.ilinux.io\n", &[("director", &lbd)])?;
        play(&player, include_str!("../files/document-001-dr.txt"), &mut servers)
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn document_004_directors_that_are_real_servers() -> Result<()> {
    let lan = |mac: &str, address: &str| nic("eth0", "lan", mac, address);
    let mut backup = director("backup", vec![lan("02:13", "192.168.1.213/24")]);
    // The one that has the virtual address not has it on lo, and does not tell.
    backup.ip = vec!["addr add 192.168.1.100/32 dev lo".into()];
    backup.sysctls = ["ignore", "announce"]
        .iter()
        .zip(["1", "2"])
        .map(|(what, value)| (format!("ipv4.conf.all.arp_{what}"), value.into()))
        .collect();
    let mut active = director("director", vec![lan("02:33", "192.168.1.233/24")]);
    active.ip = vec!["addr add 192.168.1.100/32 dev eth0".into()];
    let hosts = vec![host("client", lan("00:02", "192.168.1.10/24"), None), active, backup];
    Site::build(Topology { hosts })?.test(|site| {
        quiet_curl(site)?;
        let mut servers = BTreeMap::new();
        for (host, name) in [("director", "ACTIVE"), ("backup", "BACKUP")] {
            servers.insert(host, Server::start(&site.host(host), site.dir(), name, &http(&[3306]))?);
        }
        let start = |host: &str| {
            let options = DirectorOptions {
                host: Some(host.into()),
                instance: Some(host.into()),
                interfaces: vec!["eth0".into()],
                ..DirectorOptions::default()
            };
            Director::start_with(site, options)
        };
        let (active, backup) = (start("director")?, start("backup")?);
        let player = Player::new(site, "", &[("director", &active), ("backup", &backup)])?;
        play(&player, include_str!("../files/document-004.txt"), &mut servers)?;
        // The virtual address moves: what the backup did not touch before, it balances now.
        site.host("director").must("ip addr del 192.168.1.100/32 dev eth0; ip addr add 192.168.1.100/32 dev lo")?;
        for (name, value) in [("ignore", 1), ("announce", 2)] {
            site.host("director").must(&format!("echo {value} > /proc/sys/net/ipv4/conf/all/arp_{name}"))?;
        }
        site.host("backup").must(
            "ip addr del 192.168.1.100/32 dev lo; ip addr add 192.168.1.100/32 dev eth0; \
             echo 0 > /proc/sys/net/ipv4/conf/all/arp_ignore; echo 0 > /proc/sys/net/ipv4/conf/all/arp_announce",
        )?;
        site.host("client").must("ip neigh flush all")?;
        play(&player, include_str!("../files/document-004-moved.txt"), &mut servers)
    })
}
