//! What is not balanced reaches the director's own stack as it was sent.

use std::time::Duration;

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};

/// Ethernet to the director, from the client.
const TO_DIRECTOR: &str = "020000000001020000000002";
/// Ends every frame, so that it is found again.
const MARK: &str = "6c622d746573742d6d61726b";
const VLAN: &str = "a VLAN tag";

/// An IPv4 header from 203.0.113.10 to 192.0.2.1; `first` is version and header length, `length` the total length
/// said, `fragment` flags and offset. The kernel checks the header's sum only after a capture has seen the frame.
fn ipv4(first: &str, length: usize, fragment: &str, protocol: &str) -> String {
    format!("0800{first}00{length:04x}0000{fragment}40{protocol}0000cb00710ac0000201")
}

fn frames() -> Vec<(&'static str, String)> {
    let mark = MARK.len() / 2;
    let frame = |rest: String| format!("{TO_DIRECTOR}{rest}{MARK}");
    let ipv6 = "86dd60000000000cfd4020010db800030000000000000000001020010db8000200000000000000000001";
    let arp = "08060001080006040001020000000002cb00710a000000000000cb0071fe";
    let ports = "0fa00050";
    vec![
        ("an experimental ethertype", frame("88b5".into())),
        (VLAN, frame(format!("81000064{}", ipv4("45", 20 + mark, "0000", "11")))),
        ("an IPv4 header that says 60 bytes and has 20", frame(ipv4("4f", 20 + mark, "0000", "06"))),
        ("a later fragment", frame(ipv4("45", 20 + mark, "00b9", "06"))),
        ("a protocol nobody balances", frame(ipv4("45", 20 + mark, "0000", "59"))),
        ("TCP that ends in its header", frame(ipv4("45", 24 + mark, "0000", "06") + ports)),
        ("an IPv6 packet of an unknown protocol", frame(ipv6.into())),
        ("ARP that asks for nobody here", frame(arp.into())),
    ]
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn odd_frames_pass_byte_for_byte() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let mut client = Agent::start(&site.client(), site.dir())?;
        let mut inside = Agent::start(&site.director(), site.dir())?;
        let director = Director::start(site)?;
        // Services for the very addresses, so that only the form of the frames decides.
        director.adm_all(&[
            "-A -t 192.0.2.1:80 -s rr",
            "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m",
            "-A -t [2001:db8:2::1]:80 -s rr",
            "-a -t [2001:db8:2::1]:80 -r [2001:db8:1::11]:80 -m",
        ])?;
        for (what, frame) in frames() {
            inside.capture("eth0")?;
            client.send_frame("eth0", &frame)?;
            let got = inside.frames("eth0", MARK, 1, Duration::from_secs(2))?;
            // The kernel takes a VLAN tag out of the frame before a capture sees it.
            let expected = if what == VLAN { frame.replacen("81000064", "", 1) } else { frame.clone() };
            ensure!(got == [expected.clone()], "{what}: sent {expected}, got {got:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn the_directors_own_services_stay_reachable() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let ports = Ports { tcp: vec![22, 8022], udp: vec![123], ..Ports::default() };
        let _own = Server::start(&site.director(), site.dir(), "director", &ports)?;
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        director.adm_all(&["-A -t 192.0.2.1:80 -s rr", "-a -t 192.0.2.1:80 -r 198.51.100.11:80 -m"])?;
        for (from, to) in [
            ("203.0.113.10", "203.0.113.1"),
            ("203.0.113.10", "192.0.2.1"),
            ("2001:db8:3::10", "2001:db8:3::1"),
        ] {
            let got = client.connect((from, 28000), (to, 22))?;
            ensure!(got == "director", "port 22 of {to} got {got}");
            let got = client.udp((from, 28001), (to, 123))?;
            ensure!(got == "director", "port 123 of {to} got {got}");
        }
        // What the director routes for others goes on too.
        let got = client.connect(("203.0.113.10", 28002), ("198.51.100.12", 8080))?;
        ensure!(got == "rs2", "through the director's own routing: {got}");
        // Neighbours are found anew: ARP and neighbour discovery pass.
        site.client().must("ip neigh flush dev eth0 && ip -6 neigh flush dev eth0")?;
        // lbd asks for its next hops at once, so that a flush of the director may never see the table empty.
        site.director().must("ip neigh flush dev eth0 || true; ip -6 neigh flush dev eth0 || true")?;
        let got = client.connect(("203.0.113.10", 28003), ("203.0.113.1", 22))?;
        ensure!(got == "director", "after ARP: {got}");
        let got = client.connect(("2001:db8:3::10", 28003), ("2001:db8:3::1", 22))?;
        ensure!(got == "director", "after neighbour discovery: {got}");
        let got = client.connect(("203.0.113.10", 28004), ("192.0.2.1", 80))?;
        ensure!(got == "rs1", "the service itself: {got}");
        Ok(())
    })
}
