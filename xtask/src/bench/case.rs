//! The cases with one flow, on hot memory.

use anyhow::{Result, bail};
use lb_common::reason::Reason;

use super::{
    frames::{self, CLIENT, CLIENT_PORT, CLIENT6, REAL, REAL_PORT, STRANGER, Segment, VIP, VIP6},
    meter::Samples,
    report::{Goal, Results, Row},
    site::{DR, GUE, IPIP, NAT, Site, UDP, XDP_PASS, XDP_TX, flow},
};

/// What the data path must have done with every packet of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// Sent it on.
    Forwarded,
    /// Left it to the stack.
    Passed(Reason),
}

/// One line of the table.
struct Case {
    name: &'static str,
    feeder: &'static str,
    frame: Vec<u8>,
    expected: Expected,
    goal: Goal,
    /// Bytes that the director puts in front of the frame.
    overhead: u16,
    /// Which connections are new again each time.
    new: Option<[lb_common::abi::FlowKey4; 2]>,
    fed: Samples,
    feeding: Samples,
}

impl Case {
    fn new(name: &'static str, feeder: &'static str, frame: Vec<u8>, goal: Goal) -> Self {
        Self {
            name,
            feeder,
            frame,
            expected: Expected::Forwarded,
            goal,
            overhead: 0,
            new: None,
            fed: Samples::default(),
            feeding: Samples::default(),
        }
    }

    fn passed(self, reason: Reason) -> Self {
        Self { expected: Expected::Passed(reason), ..self }
    }

    fn opening(self, new: [lb_common::abi::FlowKey4; 2]) -> Self {
        Self { new: Some(new), ..self }
    }

    fn wrapped(self, overhead: u16) -> Self {
        Self { overhead, ..self }
    }

    /// Runs a program over the frame.
    fn feed(&self, site: &mut Site, target: &str, repeat: u32) -> Result<(f64, u32)> {
        if self.overhead == 0 {
            return site.fed(self.feeder, target, &self.frame, repeat);
        }
        site.unwrapped(target, &self.frame, self.overhead, repeat)
    }

    /// What the feeder costs by itself: where it takes bytes away, something must put them there, and that is half of
    /// what moving the frame's start forth and back costs.
    fn feeder_alone(&self, site: &mut Site, repeat: u32) -> Result<f64> {
        if self.overhead == 0 {
            return Ok(self.feed(site, "empty", repeat)?.0);
        }
        let (grown, _) = self.feed(site, "grown", repeat)?;
        let moved = site.alone("moved", &self.frame, repeat)? - site.alone("empty", &self.frame, repeat)?;
        Ok(grown - moved / 2.0)
    }

    /// One round.
    fn round(&mut self, site: &mut Site, repeat: u32) -> Result<()> {
        if let Some(keys) = self.new {
            site.free_between_runs(keys)?;
        }
        let nanoseconds = self.feeder_alone(site, repeat)?;
        self.feeding.add(nanoseconds);
        let before = self.seen(site)?;
        let (nanoseconds, action) = self.feed(site, "director", repeat)?;
        let seen = self.seen(site)? - before;
        let wanted = if self.expected == Expected::Forwarded { XDP_TX } else { XDP_PASS };
        if action != wanted || seen != u64::from(repeat) {
            bail!(
                "case `{}`: the director returned {action} where {wanted} is right, and did what it should with \
                 {seen} of {repeat} packets; refused so far: {}",
                self.name,
                site.refusals()
            );
        }
        self.fed.add(nanoseconds);
        Ok(())
    }

    fn seen(&self, site: &Site) -> Result<u64> {
        match self.expected {
            Expected::Forwarded => site.forwarded(),
            Expected::Passed(reason) => site.refused(reason),
        }
    }
}

/// A director with its cases and the yardstick's measurements.
struct Bench<'a> {
    site: &'a mut Site,
    cases: Vec<Case>,
    empty: Samples,
    lookup: Samples,
}

/// Measures the cases with one flow of each director, in alternation with each other and with the yardstick.
///
/// # Errors
/// When the data path did something else than the case is about.
pub(super) fn one_flow(sites: &mut [Site], rounds: u32, repeat: u32) -> Result<Vec<Results>> {
    let mut benches = Vec::new();
    for site in sites {
        open(site)?;
        benches.push(Bench { site, cases: cases()?, empty: Samples::default(), lookup: Samples::default() });
    }
    let yardstick = frames::tcp4((CLIENT, CLIENT_PORT), (VIP, DR), Segment::Ack)?;
    for _ in 0..rounds {
        for bench in &mut benches {
            bench.empty.add(bench.site.alone("empty", &yardstick, repeat)?);
            bench.lookup.add(bench.site.alone("lookup", &yardstick, repeat)?);
        }
        for at in 0..benches.first().map_or(0, |bench| bench.cases.len()) {
            for bench in &mut benches {
                if let Some(case) = bench.cases.get_mut(at) {
                    case.round(bench.site, repeat)?;
                }
            }
        }
    }
    let results = benches.into_iter().map(|bench| {
        let empty = bench.empty.least();
        let mut results = Results::new(empty, bench.lookup.least() - empty);
        for case in bench.cases {
            results.rows.push(Row::new(case.name, case.fed.least() - case.feeding.least(), case.goal));
        }
        results
    });
    Ok(results.collect())
}

/// Opens every connection that is there already in its case.
fn open(site: &mut Site) -> Result<()> {
    let (client, client6) = ((CLIENT, CLIENT_PORT), (CLIENT6, CLIENT_PORT));
    let openers = [
        ("again4", frames::tcp4(client, (VIP, DR), Segment::Syn)?),
        ("again4", frames::tcp4(client, (VIP, NAT), Segment::Syn)?),
        ("again4", frames::tcp4(client, (VIP, IPIP), Segment::Syn)?),
        ("again4", frames::tcp4(client, (VIP, GUE), Segment::Syn)?),
        ("again4", frames::udp4(client, (VIP, UDP))?),
        ("again6", frames::tcp6(client6, (VIP6, DR), Segment::Syn)?),
    ];
    for (feeder, frame) in openers {
        site.fed(feeder, "director", &frame, 1)?;
    }
    site.know_the_way_back()
}

/// The cases.
fn cases() -> Result<Vec<Case>> {
    let (client, client6) = ((CLIENT, CLIENT_PORT), (CLIENT6, CLIENT_PORT));
    let (dr, nat, udp, dr6) = ((VIP, DR), (VIP, NAT), (VIP, UDP), (VIP6, DR));
    let real = (REAL, REAL_PORT);
    let new_client = (CLIENT, CLIENT_PORT + 1);
    let ack = |to| frames::tcp4(client, to, Segment::Ack);
    let syn = |to| frames::tcp4(new_client, to, Segment::Syn);
    let answer = frames::tcp4(real, client, Segment::Ack)?;
    let ack6 = frames::tcp6(client6, dr6, Segment::Ack)?;
    let dr_key = flow(new_client, dr, 6);
    let nat_keys = [flow(new_client, nat, 6), flow(real, new_client, 6)];
    Ok(vec![
        Case::new("established TCP, DR", "again4", ack(dr)?, Goal::L(1.0)),
        Case::new("established TCP, NAT, from the client", "again4", ack(nat)?, Goal::L(1.4)),
        Case::new("established TCP, NAT, from the real server", "again4", answer, Goal::L(1.4)),
        Case::new("established TCP, IPIP", "unwrapped4", ack((VIP, IPIP))?, Goal::L(1.7)).wrapped(20),
        Case::new("established TCP, GUE", "unwrapped4", ack((VIP, GUE))?, Goal::L(2.0)).wrapped(32),
        Case::new("UDP, DR", "again4", frames::udp4(client, udp)?, Goal::AsDr(0.0)),
        Case::new("established TCP over IPv6, DR", "again6", ack6, Goal::AsDr(0.4)),
        Case::new("new connection, DR, rr", "anew4", syn(dr)?, Goal::L(3.5)).opening([dr_key, dr_key]),
        Case::new("new connection, NAT, rr (two entries)", "anew4", syn(nat)?, Goal::None).opening(nat_keys),
        Case::new("no service, other address", "again4", ack((STRANGER, DR))?, Goal::L(0.3))
            .passed(Reason::NoService),
        Case::new("no service, SYN to another port of ours", "again4", syn((VIP, 9))?, Goal::None)
            .passed(Reason::NoService),
    ])
}
