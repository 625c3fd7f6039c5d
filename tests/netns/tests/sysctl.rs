//! `lbadm set`: what becomes of connections whose server is removed, and the defences.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site, interrupt};
use serde_json::json;

const FROM: (&str, u16) = ("203.0.113.10", 28000);
const TO: (&str, u16) = ("192.0.2.1", 80);

/// Longer than a few passes of lbd over its tables, also on a slow machine.
const PASSES: Duration = Duration::from_secs(30);

fn servers(director: &Director, service: &str, method: &str) -> Result<()> {
    director.adm(&format!("-A {service} 192.0.2.1:80 -s rr"))?;
    for n in 1..=3 {
        director.adm(&format!("-a {service} 192.0.2.1:80 -r 198.51.100.1{n}:80 {method}"))?;
    }
    Ok(())
}

/// The address of a server by its name.
fn address(name: &str) -> Result<String> {
    let n = name.strip_prefix("rs").with_context(|| format!("got {name} from no server"))?;
    Ok(format!("198.51.100.1{n}:80"))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_sender_of_datagrams_goes_on_when_its_server_is_removed() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        for method in ["-m", "-g"] {
            servers(&director, "-u", method)?;
            let first = client.udp(FROM, TO)?;
            ensure!(client.udp(FROM, TO)? == first, "one port, one server");
            director.adm(&format!("-d -u 192.0.2.1:80 -r {}", address(&first)?))?;
            // The very next datagram from the same port is answered.
            let second = client.udp(FROM, TO)?;
            ensure!(second != first && second.starts_with("rs"), "{method}: {first}, then {second}");
            // As IPVS: nothing until the server is back, and then the same one.
            director.adm("set expire_nodest_conn_udp=0")?;
            director.adm(&format!("-d -u 192.0.2.1:80 -r {}", address(&second)?))?;
            let silence = client.udp(FROM, TO)?;
            ensure!(silence == "timeout", "{method}: {silence} after {second} was removed");
            director.adm(&format!("-a -u 192.0.2.1:80 -r {} {method}", address(&second)?))?;
            let third = client.udp(FROM, TO)?;
            ensure!(third == second, "{method}: {third} after {second} was added again");
            director.adm_all(&["set expire_nodest_conn_udp=1", "-C"])?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn connections_end_with_their_server_where_they_are_to_expire() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        let listed = |port: u16| -> Result<bool> {
            Ok(director.adm("-Lnc")?.contains(&format!("203.0.113.10:{port} ")))
        };
        for method in ["-m", "-g"] {
            servers(&director, "-t", method)?;
            let mut names = Vec::new();
            for id in 0..3 {
                names.push(client.hold(u64::from(id), (FROM.0, FROM.1 + id), TO)?);
            }
            let [first, second, third] = &names[..] else { anyhow::bail!("{names:?}") };
            director.adm(&format!("-d -t 192.0.2.1:80 -r {}", address(first)?))?;
            let silence = client.echo(0)?;
            ensure!(silence == "timeout", "{method}: {silence} by default");
            ensure!(listed(FROM.1)?, "{method}: the connection stays in the table");

            director.adm("set net.ipv4.vs.expire_nodest_conn=1")?;
            director.adm(&format!("-d -t 192.0.2.1:80 -r {}", address(second)?))?;
            // The packet ends the connection; the director's own stack, which has the address, answers it.
            let got = client.echo(1)?;
            ensure!(got == "ECONNRESET", "{method}: {got} where connections are to expire");
            // Nothing was sent on the first one since: the walk over the table ends it.
            interrupt::wait_until("both connections are gone", PASSES, || {
                Ok(!listed(FROM.1)? && !listed(FROM.1 + 1)?)
            })?;
            let got = client.echo(2)?;
            ensure!(&got == third, "{method}: the other connection got {got}");
            let again = client.connect((FROM.0, FROM.1 + 10), TO)?;
            ensure!(&again == third, "{method}: the only server left, not {again}");
            client.close_all()?;
            director.adm_all(&["set expire_nodest_conn=0", "-C"])?;
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn defences_drop_openers_and_half_open_connections() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let _servers = Server::start_all(site, &Ports::recorded())?;
        let mut client = Agent::start(&site.client(), site.dir())?;
        let director = Director::start(site)?;
        servers(&director, "-t", "-g")?;
        let held = client.hold(1, FROM, TO)?;
        director.adm("set drop_packet=3 am_droprate=1")?;
        let refused = json!({"connect": [FROM.0, FROM.1 + 1, TO.0, TO.1], "timeout": 1});
        let got = client.got(refused)?;
        ensure!(got == "timeout", "{got} although every opener is dropped");
        let got = client.echo(1)?;
        ensure!(got == held, "the connection got {got}");
        let status = director.adm("status --json")?;
        ensure!(status.contains("\"drop-packet\""), "no reason is counted: {status}");
        director.adm("set drop_packet=0")?;
        let got = client.connect((FROM.0, FROM.1 + 2), TO)?;
        ensure!(got.starts_with("rs"), "{got} when it is over");

        // By direct routing, a server's refusal is not seen: half-open connections stay for a minute.
        client.close_all()?;
        director.adm_all(&["-C", "-A -t 192.0.2.1:9 -s rr", "-a -t 192.0.2.1:9 -r 198.51.100.11:9 -g"])?;
        let names = client.many(FROM.0, FROM.1 + 100, (TO.0, 9), 64)?;
        ensure!(names.iter().all(|n| n == "ECONNREFUSED"), "{names:?}");
        let active = || -> Result<u64> { Ok(director.destinations()?.iter().map(|d| d.active).sum()) };
        director.adm("set drop_entry=3")?;
        interrupt::wait_until("some are given up", PASSES, || Ok(active()? < 64))?;
        Ok(())
    })
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn what_is_set_is_listed_survives_and_belongs_to_somebody() -> Result<()> {
    Site::nat_dr()?.test(|site| {
        let mut director = Director::start(site)?;
        let listing = director.adm("set")?;
        let there = listing.lines().filter_map(|line| line.strip_suffix(')')?.split_once(" (default "));
        for (setting, default) in there.clone() {
            ensure!(setting.ends_with(&format!(" = {default}")), "{setting} is not its default {default}");
        }
        ensure!(there.count() >= 11, "too few sysctls in\n{listing}");
        director.adm("set amemthresh=4096 secure_tcp=1")?;
        for (words, code) in [("conntrack=1", 1), ("secure_tcp=4", 2), ("drop=1", 2), ("pmtu_disc=1", 0)] {
            let got = director.lbadm(&["set", words])?;
            ensure!(got.code == code, "`lbadm set {words}` ended with {}: {}", got.code, got.stderr);
        }
        let file = director.dir().join("sysctl.conf");
        fs::write(&file, "net.ipv4.ip_forward = 1\nnet.ipv4.vs.conn_reuse_mode = 2\n")?;
        director.adm(&format!("set -p {}", file.display()))?;
        director.kill()?;
        let config = director.dir().join("lbd.toml");
        let text = fs::read_to_string(&config).unwrap_or_default();
        director.write_config(&format!("{text}\n[sysctl]\nsloppy_tcp = 1\n"))?;
        director.restart()?;
        let listing = director.adm("set")?;
        for line in ["amemthresh = 4096 ", "secure_tcp = 1 ", "conn_reuse_mode = 2 ", "sloppy_tcp = 1 "] {
            ensure!(listing.contains(line), "no {line} after the restart in\n{listing}");
        }
        ensure!(director.stop()? == 0, "lbd did not stop");
        director.write_config(&text)?;
        director.restart()?;
        let listing = director.adm("set")?;
        for line in ["amemthresh = 4096 ", "sloppy_tcp = 0 "] {
            ensure!(listing.contains(line), "no {line} without the file's in\n{listing}");
        }
        Ok(())
    })
}
