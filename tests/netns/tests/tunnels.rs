//! Tunnels: every kind, both families in both, to real servers that take the outer headers off.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site, decap};

const KINDS: [&str; 6] = [
    "ipip",
    "gre",
    "gre --tun-csum",
    "gue --tun-port 6080",
    "gue --tun-port 6080 --tun-csum",
    "gue --tun-port 6080 --tun-remcsum",
];

/// Takes connections on [::]:9000 and answers each, at its end, with the number of bytes that came.
const COUNTER: &str = r#"
import socket
listener = socket.create_server(("::", 9000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    total = 0
    while data := connection.recv(65536):
        total += len(data)
    connection.sendall(str(total).encode())
    connection.close()
"#;

/// Sends so many bytes there, and prints the answer.
const SENDER: &str = r#"
import socket, sys
connection = socket.create_connection((sys.argv[1], 9000), 20)
connection.sendall(bytes(int(sys.argv[2])))
connection.shutdown(socket.SHUT_WR)
print(connection.recv(100).decode())
"#;

/// A process that is ended when dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn every_kind_and_family_reaches_its_servers() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        decap::on_real_servers(site)?;
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        let mut port = 30000;
        for (from, to, service) in [
            ("203.0.113.10", "192.0.2.1", "192.0.2.1"),
            ("2001:db8:3::10", "2001:db8:2::1", "[2001:db8:2::1]"),
        ] {
            for real in ["198.51.100.1", "[2001:db8:1::1"] {
                for kind in KINDS {
                    let end = if real.starts_with('[') { "]" } else { "" };
                    director.adm(&format!("-A -t {service}:80 -s rr"))?;
                    director.adm(&format!("-A -u {service}:443 -s rr"))?;
                    for n in 1..=3 {
                        director
                            .adm(&format!("-a -t {service}:80 -r {real}{n}{end}:80 -i --tun-type {kind}"))?;
                        director.adm(&format!(
                            "-a -u {service}:443 -r {real}{n}{end}:443 -i --tun-type {kind}"
                        ))?;
                    }
                    let names = client.many(from, port, (to, 80), 6)?;
                    ensure!(
                        names == ["rs3", "rs2", "rs1", "rs3", "rs2", "rs1"],
                        "{kind} from {from} by {real}: {names:?}"
                    );
                    let name = client.udp((from, port), (to, 443))?;
                    ensure!(name == "rs3", "{kind} from {from} by {real}: a datagram went to {name}");
                    port += 10;
                    director.adm("-C")?;
                }
            }
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_sender_learns_what_fits_through() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        decap::on_real_servers(site)?;
        let director = Director::start(site)?;
        let mut server = site.host("rs1").command(netns_tests::server::PYTHON)?;
        let child = server.args(["-u", "-c", COUNTER]).stdout(Stdio::piped()).spawn()?;
        let mut child = Running(child);
        let mut ready = [0; 6];
        let output = child.0.stdout.as_mut().context("no output")?;
        std::io::Read::read_exact(output, &mut ready)?;
        for (to, service, real) in [
            ("192.0.2.1", "192.0.2.1", "198.51.100.11"),
            ("2001:db8:2::1", "[2001:db8:2::1]", "198.51.100.11"),
            ("192.0.2.1", "192.0.2.1", "[2001:db8:1::11]"),
        ] {
            director.adm_all(&[
                &format!("-A -t {service}:9000 -s rr"),
                &format!("-a -t {service}:9000 -r {real}:9000 -i --tun-type gre --tun-csum"),
            ])?;
            let mut sender = site.client().command(netns_tests::server::PYTHON)?;
            let output = sender.args(["-c", SENDER, to, "3000000"]).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            ensure!(
                text.trim() == "3000000",
                "{to} by {real}: {text} {}",
                String::from_utf8_lossy(&output.stderr)
            );
            director.adm("-C")?;
        }
        // Full segments did not fit, and the director said so.
        let status = director.status()?.to_string();
        ensure!(status.contains("packet-too-big"), "{status}");
        Ok(())
    })
}
