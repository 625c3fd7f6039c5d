//! A device whose driver has no XDP: the program runs in generic mode and lbd says so.

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, DirectorOptions, Server, Site};

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_device_without_native_xdp_is_served_in_generic_mode() -> Result<()> {
    // A macvlan takes the place of the director's NIC, with its MAC and its addresses.
    let mut topology = Site::one_armed_topology();
    for host in topology.hosts.iter_mut().filter(|h| h.director) {
        for nic in &mut host.nics {
            let addresses: Vec<String> =
                nic.addresses.iter().map(|a| format!("addr add {a} dev macvlan0")).collect();
            host.ip.extend(nic.addresses.iter().map(|a| format!("addr del {a} dev eth0")));
            host.ip.push("link set eth0 address 02:00:00:00:00:0a".into());
            host.ip.push(format!("link add macvlan0 link eth0 address {} type macvlan mode bridge", nic.mac));
            host.ip.push("link set macvlan0 up".into());
            host.ip.extend(addresses);
        }
        host.sysctls.push(("ipv4.conf.default.send_redirects".into(), "0".into()));
    }
    Site::build(topology)?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let options = DirectorOptions { interfaces: vec!["macvlan0".into()], ..DirectorOptions::default() };
        let director = Director::start_with(site, options)?;
        let status = director.adm("status")?;
        ensure!(status.contains("xdp generic"), "lbadm status does not say so:\n{status}");
        ensure!(director.log().contains("xdp generic"), "the log does not say so:\n{}", director.log());
        director.adm_all(&[
            "-A -t 192.0.2.1:80 -s rr",
            "-a -t 192.0.2.1:80 -r 198.51.100.11:8080 -m",
            "-a -t 192.0.2.1:80 -r 198.51.100.12:8080 -m",
            "-A -t 192.0.2.2:80 -s rr",
            "-a -t 192.0.2.2:80 -r 198.51.100.11:80 -g",
            "-a -t 192.0.2.2:80 -r 198.51.100.12:80 -g",
        ])?;
        for vip in ["192.0.2.1", "192.0.2.2"] {
            let names = client.many("203.0.113.10", 29000, (vip, 80), 4)?;
            ensure!(names == ["rs2", "rs1", "rs2", "rs1"], "{vip}: {names:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_veth_is_served_natively() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let director = Director::start(site)?;
        let status = director.adm("status")?;
        ensure!(status.contains("xdp native") && !status.contains("xdp generic"), "{status}");
        Ok(())
    })
}
