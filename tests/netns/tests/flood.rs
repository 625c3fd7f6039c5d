//! A flood of SYNs and of datagrams from random sources, on plain and persistent services, by direct routing and NAT:
//! connections that are there go on, new ones are made, and afterwards every count is what the table says.
//!
//! `cargo xtask test flood` runs it alone. The whole flood is `LB_FLOOD=full` (10 million SYNs, 50 million datagrams);
//! without, a tenth of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use netns_tests::flood::{Flood, Target, anonymous_memory};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, DirectorOptions, Server, Site, interrupt};
use serde_json::{Value, json};

const TABLES: &str = "[tables]\nconnections = 262144\nservices = 256\ndestinations = 1024\nslots = 65536\n";
const DIRECTOR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Frames between two looks at the counters.
const AT_ONCE: u32 = 200_000;
/// Connections that talk all the time, and connections made during each of the two floods.
const HELD: u16 = 1000;
const NEW: u16 = 500;
/// A new connection has so long.
const PATIENCE: u64 = 3;
/// No packet for so long: then half-open connections are over (SYN_RECV, 60 s).
const QUIET: Duration = Duration::from_secs(60);
/// Memory of its own that lbd may come to need besides.
const MEMORY: u64 = 64 << 20;

/// The four kinds of services, each as a TCP service on port 80 and a UDP service on port 53.
const SERVICES: [(&str, &str, &str); 4] = [
    ("192.0.2.1", "", "-g"),
    ("192.0.2.2", "-p 1000", "-g"),
    ("192.0.2.3", "", "-m"),
    ("192.0.2.4", "-p 1000", "-m"),
];

fn scale() -> u64 {
    if std::env::var("LB_FLOOD").is_ok_and(|v| v == "full") { 10 } else { 1 }
}

fn configure(director: &Director) -> Result<()> {
    for (vip, persistence, method) in SERVICES {
        for (option, port) in [("-t", 80), ("-u", 53)] {
            director.adm(&format!("-A {option} {vip}:{port} -s rr {persistence}"))?;
            for n in 1..=3 {
                director.adm(&format!("-a {option} {vip}:{port} -r 198.51.100.1{n}:{port} {method}"))?;
            }
        }
    }
    Ok(())
}

/// Addresses and ports of `count` connections over all TCP services and client addresses.
fn flows(first_port: u16, count: u16) -> Vec<Value> {
    (0..count)
        .map(|i| {
            let client = format!("203.0.113.{}", 10 + i % 90);
            json!([client, first_port + i, SERVICES[usize::from(i) % 4].0, 80])
        })
        .collect()
}

/// New connections one after another; what went wrong with any of them. With every few of them goes one that no service
/// is about: where that is slow the machine is, and who came too late says nothing.
fn connect(client: &mut Agent, first_port: u16) -> Result<Vec<String>> {
    let mut failed = Vec::new();
    for (n, chunk) in (0..).zip(flows(first_port, NEW).chunks(20)) {
        let control = json!(["203.0.113.99", first_port + n, "198.51.100.11", 80]);
        let all = std::iter::once(&control).chain(chunk);
        let orders: Vec<Value> = all.map(|f| json!({"connect": f, "timeout": PATIENCE})).collect();
        let answer = client.order(json!({"many": orders}))?;
        let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let (got, took) = (list("got"), list("took"));
        let late = |got: &Value, took: &Value| {
            got == "timeout" || took.as_f64().is_none_or(|seconds| seconds > PATIENCE as f64)
        };
        let slow = got.first() != Some(&json!("rs1")) || took.first().and_then(Value::as_f64) > Some(1.0);
        ensure!(got.len() == orders.len() && took.len() == orders.len(), "not an answer each: {answer}");
        for ((flow, got), took) in chunk.iter().zip(&got[1..]).zip(&took[1..]) {
            let named = got.as_str().is_some_and(|name| name.starts_with("rs"));
            match late(got, took) {
                true if slow => println!("{flow}: {got} after {took} s, on a slow machine"),
                false if named => {}
                _ => failed.push(format!("{flow}: {got} after {took} s")),
            }
        }
    }
    Ok(failed)
}

/// Packets from clients to the services of a protocol.
fn packets(director: &Director, protocol: &str) -> Result<u64> {
    let list = director.list()?;
    let services = list.as_array().context("the listing is no list")?;
    let of =
        |s: &&Value| s.pointer("/service/key/address/protocol").and_then(Value::as_str) == Some(protocol);
    Ok(services.iter().filter(of).filter_map(|s| s.pointer("/stats/in_packets")?.as_u64()).sum())
}

/// Floods until the director has seen `count` packets of it, while new connections are made; what went wrong with them.
fn flood(
    flood: &mut Flood,
    director: &Director,
    client: &mut Agent,
    protocol: &str,
    count: u64,
    first_port: u16,
) -> Result<Vec<String>> {
    let targets: Vec<Target> = SERVICES
        .iter()
        .map(|(vip, ..)| {
            let vip: Ipv4Addr = vip.parse()?;
            Ok(if protocol == "tcp" {
                Target::Syn(SocketAddrV4::new(vip, 80))
            } else {
                Target::Udp(SocketAddrV4::new(vip, 53))
            })
        })
        .collect::<Result<_>>()?;
    flood.aim(DIRECTOR_MAC, &targets)?;
    let begun = Instant::now();
    let before = packets(director, protocol)?;
    let connected = AtomicBool::new(false);
    let (sent, failed) = std::thread::scope(|scope| -> Result<(u64, Vec<String>)> {
        let connecting = scope.spawn(|| {
            let failed = connect(client, first_port);
            connected.store(true, Ordering::SeqCst);
            failed
        });
        let mut sent = 0;
        loop {
            flood.send(AT_ONCE)?;
            sent += u64::from(AT_ONCE);
            let seen = packets(director, protocol)? - before;
            if seen >= count && connected.load(Ordering::SeqCst) {
                break;
            }
            interrupt::check()?;
        }
        let failed = connecting.join().map_err(|_panic| anyhow!("the thread that connects panicked"))??;
        Ok((sent, failed))
    })?;
    let seen = packets(director, protocol)? - before;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{protocol}: {sent} sent, {seen} seen in {seconds:.1} s ({:.0} a second)",
        sent as f64 / seconds
    );
    Ok(failed)
}

/// Active, inactive, persistent.
type Counts = [u64; 3];
/// Protocol, virtual address, destination.
type Name = (String, String, String);

/// What the destinations count.
fn counted(director: &Director) -> Result<BTreeMap<Name, Counts>> {
    let list = director.list()?;
    let mut all = BTreeMap::new();
    for service in list.as_array().context("the listing is no list")? {
        let text = |value: &Value, pointer: &str| -> Result<String> {
            let text = value.pointer(pointer).and_then(Value::as_str);
            Ok(text.with_context(|| format!("no {pointer} in {value}"))?.to_owned())
        };
        let protocol = text(service, "/service/key/address/protocol")?.to_uppercase();
        let vip = text(service, "/service/key/address/address")?;
        for d in service["destinations"].as_array().context("no destinations")? {
            let number = |name: &str| d[name].as_u64().with_context(|| format!("no {name} in {d}"));
            let counts = [number("active")?, number("inactive")?, number("persistent")?];
            all.insert((protocol.clone(), vip.clone(), text(d, "/destination/address")?), counts);
        }
    }
    Ok(all)
}

/// What the table holds.
fn found(director: &Director, names: impl Iterator<Item = Name>) -> Result<BTreeMap<Name, Counts>> {
    let mut all: BTreeMap<Name, Counts> = names.map(|name| (name, [0; 3])).collect();
    for line in director.adm("-Lnc")?.lines().skip(2) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[protocol, _, state, source, vip, destination] = words.as_slice() else {
            return Err(anyhow!("not a connection: {line}"));
        };
        let name = (protocol.to_owned(), vip.to_owned(), destination.to_owned());
        let counts = all.get_mut(&name).with_context(|| format!("a connection of no destination: {line}"))?;
        // A template has no port (ipvs-semantics section 6); active states: section 5.3.
        let which = if source.ends_with(":0") {
            2
        } else if protocol == "TCP" && matches!(state, "ESTABLISHED" | "SYN_SENT" | "SYN_RECV" | "SYNACK") {
            0
        } else {
            1
        };
        counts[which] += 1;
    }
    Ok(all)
}

/// Counts and table, taken while neither changes.
fn both(director: &Director) -> Result<(BTreeMap<Name, Counts>, BTreeMap<Name, Counts>)> {
    for _ in 0..30 {
        let counted_before = counted(director)?;
        let found = found(director, counted_before.keys().cloned())?;
        if counted(director)? == counted_before {
            return Ok((counted_before, found));
        }
        interrupt::pause(Duration::from_secs(1))?;
    }
    Err(anyhow!("connections come and go though nobody sends"))
}

fn floods(site: &Site) -> Result<()> {
    let ports = Ports { tcp: vec![80], udp: vec![53], ..Ports::default() };
    let _servers = Server::start_all(site, &ports)?;
    let mut client = Agent::start(&site.client(), site.dir())?;
    let mut crowd = Agent::start(&site.client(), site.dir())?;
    let options = DirectorOptions { config: Some(TABLES.to_owned()), ..DirectorOptions::default() };
    let director = Director::start_with(site, options)?;
    configure(&director)?;
    let mut generator = Flood::at(site)?;

    let state = crowd.order(json!({"crowd": flows(20_000, HELD)}))?;
    ensure!(state["open"] == HELD && state["broken"] == json!([]), "before the flood: {state}");
    let memory = anonymous_memory(director.pid())?;

    let syns = flood(&mut generator, &director, &mut client, "tcp", 1_000_000 * scale(), 30_000)?;
    let datagrams = flood(&mut generator, &director, &mut client, "udp", 5_000_000 * scale(), 40_000)?;
    let slots = director.status()?;
    println!("{}", director.adm("status")?);
    let taken = generator.taken()?;
    ensure!(taken > 6_000_000 * scale() / 2, "the director sent on {taken} packets of the flood only");

    interrupt::pause(QUIET)?;
    let state = crowd.order(json!({"crowd_state": true, "quiet": true}))?;
    println!("{} answers on held connections", state["answers"]);
    ensure!(state["open"] == HELD && state["broken"] == json!([]), "held connections broke: {state}");
    ensure!(syns.is_empty(), "new connections failed under the flood of SYNs: {syns:?}");
    ensure!(datagrams.is_empty(), "new connections failed under the flood of datagrams: {datagrams:?}");

    interrupt::wait_until("half-open connections are over", Duration::from_secs(60), || {
        let active: u64 = counted(&director)?.values().map(|c| c[0]).sum();
        Ok(active == u64::from(HELD))
    })?;
    let (counts, table) = both(&director)?;
    for (name, counted) in &counts {
        println!("{name:?}: {counted:?}");
        ensure!(
            table.get(name) == Some(counted),
            "{name:?} counts {counted:?}, the table has {:?}",
            table.get(name)
        );
    }
    ensure!(!director.log().contains("did not fit"), "counts were mended:\n{}", director.log());
    let now = anonymous_memory(director.pid())?;
    println!("lbd's memory: {memory}, after the flood {now}");
    ensure!(now < memory + MEMORY, "lbd's memory grew from {memory} to {now}");
    for pointer in ["/connections4/0", "/connections6/0"] {
        ensure!(director.status()?.pointer(pointer) == slots.pointer(pointer), "a table grew");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the data path: cargo xtask test"]
fn a_flood_breaks_nothing_and_counts_stay_exact() -> Result<()> {
    Site::nat_dr()?.test(floods)
}
