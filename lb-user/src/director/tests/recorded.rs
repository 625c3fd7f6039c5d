//! Recordings of IPVS: its commands go through our command line to the director, its connections to the
//! schedulers over the maps that come of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::tables::Count;
use serde_json::Value;

use super::world::World;
use crate::api::{Request, Response};
use crate::cli::ipvsadm::{NoNames, Personality, Session};
use crate::cli::{Control, ControlError};
use crate::model::{Fwmark, Protocol, ServiceKey};

const RECORDINGS: &str = include_str!("../../../../tests/recordings/scheduling.json");

/// Cases that need nothing but schedulers: no persistence, marks, thresholds or packets.
const CASES: [&str; 27] = [
    "rr",
    "rr-changes",
    "rr-nat-other-port",
    "wrr-1-2-3",
    "wrr-3-2-1",
    "wrr-10-20-30",
    "sh",
    "sh-1-2-3",
    "sh-port",
    "sh-weight0",
    "dh",
    "mh",
    "mh-1-2-3",
    "mh-weight0-mh-fallback",
    "lblc",
    "lc-held-1-2-3",
    "wlc-held-1-2-3",
    "wlc-not-held",
    "sed-held-1-1-1",
    "nq-held-1-2-3",
    "fo-1-2-3",
    "ovf-held-2-3-4",
    "removed-and-added-keeps-counts",
    "all-weights-0-wrr",
    "all-weights-0-sh",
    "sorry-server",
    "udp-rr",
];

impl Control for World {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        match World::ask(self, request.clone()) {
            Ok(response) => {
                let last = response.is_last();
                part(response);
                if !last {
                    part(Response::Done);
                }
            }
            Err(refusal) => part(Response::Refused(refusal)),
        }
        Ok(())
    }
}

fn ipvsadm(world: &mut World, line: &str) -> (u64, String, String) {
    let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut session = Session {
        program: "ipvsadm".to_owned(),
        root: true,
        names: &NoNames,
        control: world,
        input: &mut &b""[..],
        out: &mut out,
        err: &mut err,
    };
    let code = session.run(Personality::Ipvsadm, &words).unwrap();
    (u64::from(code), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn run(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let mut world = World::new();
    let mut held: BTreeMap<u64, u32> = BTreeMap::new();
    let mut datagrams: BTreeMap<(SocketAddr, SocketAddr), (u32, SocketAddr)> = BTreeMap::new();
    for (n, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        let context = format!("{name}, step {n}: {step}");
        if let Some(line) = step["ipvsadm"].as_str() {
            let (code, out, err) = ipvsadm(&mut world, line);
            assert_eq!(Some(code), step["rc"].as_u64(), "{context}: {err}");
            assert_eq!(Some(out.as_str()), step["stdout"].as_str(), "{context}");
            continue;
        }
        if let Some(id) = step["close"].as_u64() {
            let destination = held.remove(&id).unwrap();
            world.maps.count(destination, Count::Active, -1);
            world.maps.count(destination, Count::Inactive, 1);
            continue;
        }
        let protocol = if step["udp"].is_null() { Protocol::Tcp } else { Protocol::Udp };
        let flow = if protocol == Protocol::Udp { &step["udp"] } else { &step["connect"] };
        let end = |i: usize| {
            let port = u16::try_from(flow[i + 1].as_u64().unwrap()).unwrap();
            SocketAddr::new(flow[i].as_str().unwrap().parse().unwrap(), port)
        };
        let key = ServiceKey::Address { protocol, address: end(2) };
        // The recordings give packets to these addresses mark 2.
        let marked = matches!(end(2).ip(), IpAddr::V4(a) if (2..=16).contains(&a.octets()[3]));
        let key = if marked { ServiceKey::Fwmark(Fwmark { mark: 2, ipv6: false }) } else { key };
        let known = datagrams.get(&(end(0), end(2))).copied();
        let got = known.or_else(|| world.schedule_to(&key, end(0), end(2).ip()));
        if known.is_none() && protocol == Protocol::Udp {
            datagrams.extend(got.map(|got| ((end(0), end(2)), got)));
        }
        let server = match got {
            Some((_, SocketAddr::V4(a))) => format!("rs{}", a.ip().octets()[3] - 10),
            _ => "ECONNREFUSED".to_owned(),
        };
        assert_eq!(Some(server.as_str()), step["got"].as_str(), "{context}");
        if let Some((id, _)) = got {
            match step["hold"].as_u64() {
                Some(hold) => {
                    world.maps.count(id, Count::Active, 1);
                    held.insert(hold, id);
                }
                None => world.maps.count(id, Count::Inactive, 1),
            }
        }
    }
    world.is_settled();
}

#[test]
fn the_schedulers_choose_as_ipvs_did() {
    let all: Value = serde_json::from_str(RECORDINGS).unwrap();
    let mut seen = BTreeMap::new();
    for case in all.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if CASES.contains(&name) {
            run(case);
            *seen.entry(name).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.len(), CASES.len(), "{seen:?}");
}
