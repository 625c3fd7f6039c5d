//! Persistence engine sip: messages of one call reach one server, from whatever port they come.

use anyhow::{Result, ensure};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, Server, Site};
use serde_json::json;

/// The answer to a message of a call.
fn message(client: &mut Agent, from: (&str, u16), to: &str, call: &str) -> Result<String> {
    let payload = format!(
        "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
         Via: SIP/2.0/UDP pc33.atlanta.example:{};branch=z9hG4bK74bf9\r\n\
         From: Alice <sip:alice@atlanta.example>;tag=9fxced76sl\r\n\
         {call}\r\n\
         CSeq: 1 INVITE\r\n\r\n",
        from.1
    );
    client.got(json!({"udp": [from.0, from.1, to, 5060], "payload": payload, "timeout": 1}))
}

fn calls(site: &Site, method: &str, options: &str) -> Result<()> {
    let ports = Ports { udp: vec![5060], ..Ports::default() };
    let _servers = Server::start_all(site, &ports)?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    let director = Director::start(site)?;
    for (vip, real, from) in [
        ("192.0.2.1", "198.51.100.1", "203.0.113.10"),
        ("[2001:db8:2::1]", "[2001:db8:1::1", "2001:db8:3::10"),
    ] {
        let end = if vip.contains(':') { "]" } else { "" };
        let to = vip.trim_matches(['[', ']']);
        director.adm(&format!("-A -u {vip}:5060 -s rr -p 60 --pe sip{options}"))?;
        for n in 1..=3 {
            director.adm(&format!("-a -u {vip}:5060 -r {real}{n}{end}:5060 {method}"))?;
        }
        let saved = director.adm("-Sn")?;
        ensure!(saved.contains(&format!("-s rr -p 60 --pe sip{options}\n")), "{saved}");
        let listed = director.adm("-Ln")?;
        ensure!(listed.contains("rr persistent 60 pe sip"), "{listed}");
        let mut port = 21_000;
        let mut send = |client: &mut Agent, call: &str| {
            port += 1;
            message(client, (from, port), to, call)
        };
        for (call, server) in [("one@atlanta", "rs3"), ("two@atlanta", "rs2"), ("three@atlanta", "rs1")] {
            for header in ["Call-ID: ", "i: ", "CALL-ID:", "Call-ID: "] {
                let got = send(&mut client, &format!("{header}{call}"))?;
                ensure!(got == server, "{call}, {header}: {got}");
            }
        }
        let again = send(&mut client, "Call-ID: one@atlanta")?;
        ensure!(again == "rs3", "{again}");
        let got = send(&mut client, "Subject: without a call")?;
        ensure!(got == "timeout", "a message without Call-ID got {got}");
        // The templates show the client, not the hash that tells them apart.
        let listing = director.adm("-Lnc")?;
        let client_of = if end.is_empty() { format!("{from}:0") } else { format!("[{from}]:0") };
        let templates = listing.lines().filter(|l| l.contains(&client_of)).count();
        ensure!(templates == 3, "{templates} templates of {client_of} in\n{listing}");
        director.adm("-C")?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn by_direct_routing() -> Result<()> {
    Site::nat_dr()?.test(|site| calls(site, "-g", ""))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn by_direct_routing_one_packet_at_a_time() -> Result<()> {
    Site::nat_dr()?.test(|site| calls(site, "-g", " -o"))
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn by_nat() -> Result<()> {
    Site::nat_dr()?.test(|site| calls(site, "-m", ""))
}
