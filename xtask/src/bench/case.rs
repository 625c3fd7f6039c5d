//! The cases with one flow, on hot memory.

use anyhow::{Result, bail};
use lb_common::reason::Reason;

use super::{
    frames::{self, CLIENT, CLIENT_PORT, CLIENT6, REAL, REAL_PORT, STRANGER, Segment, VIP, VIP6},
    meter::Samples,
    report::{Goal, Results, Row},
    site::{DR, NAT, Site, UDP, XDP_PASS, XDP_TX, flow},
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

    /// One round.
    fn round(&mut self, site: &mut Site, repeat: u32) -> Result<()> {
        if let Some(keys) = self.new {
            site.free_between_runs(keys)?;
        }
        let (nanoseconds, _) = site.fed(self.feeder, "empty", &self.frame, repeat)?;
        self.feeding.add(nanoseconds);
        let before = self.seen(site)?;
        let (nanoseconds, action) = site.fed(self.feeder, "director", &self.frame, repeat)?;
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

/// Measures the cases with one flow, in alternation with the yardstick.
///
/// # Errors
/// When the data path did something else than the case is about.
pub(super) fn one_flow(site: &mut Site, rounds: u32, repeat: u32) -> Result<Results> {
    let (client, client6) = ((CLIENT, CLIENT_PORT), (CLIENT6, CLIENT_PORT));
    let (dr, nat, udp, dr6) = ((VIP, DR), (VIP, NAT), (VIP, UDP), (VIP6, DR));
    let real = (REAL, REAL_PORT);
    let new_client = (CLIENT, CLIENT_PORT + 1);
    let syn = |to| frames::tcp4(client, to, Segment::Syn);
    let ack = |to| frames::tcp4(client, to, Segment::Ack);

    // Opens every connection that is there already in its case.
    let udp_frame = frames::udp4(client, udp)?;
    let openers = [
        ("again4", syn(dr)?),
        ("again4", syn(nat)?),
        ("again4", udp_frame.clone()),
        ("again6", frames::tcp6(client6, dr6, Segment::Syn)?),
    ];
    for (feeder, frame) in openers {
        site.fed(feeder, "director", &frame, 1)?;
    }
    site.know_the_way_back()?;

    let dr_key = flow(new_client, dr, 6);
    let nat_keys = [flow(new_client, nat, 6), flow(real, new_client, 6)];
    let new_syn = |to| frames::tcp4(new_client, to, Segment::Syn);
    let mut cases = [
        Case::new("established TCP, DR", "again4", ack(dr)?, Goal::L(1.0)),
        Case::new("established TCP, NAT, from the client", "again4", ack(nat)?, Goal::L(1.4)),
        Case::new(
            "established TCP, NAT, from the real server",
            "again4",
            frames::tcp4(real, client, Segment::Ack)?,
            Goal::L(1.4),
        ),
        Case::new("UDP, DR", "again4", udp_frame, Goal::AsDr(0.0)),
        Case::new(
            "established TCP over IPv6, DR",
            "again6",
            frames::tcp6(client6, dr6, Segment::Ack)?,
            Goal::AsDr(0.4),
        ),
        Case::new("new connection, DR, rr", "anew4", new_syn(dr)?, Goal::L(3.5)).opening([dr_key, dr_key]),
        Case::new("new connection, NAT, rr (two entries)", "anew4", new_syn(nat)?, Goal::None)
            .opening(nat_keys),
        Case::new("no service, other address", "again4", ack((STRANGER, DR))?, Goal::L(0.3))
            .passed(Reason::NoService),
        Case::new("no service, SYN to another port of ours", "again4", syn((VIP, 9))?, Goal::None)
            .passed(Reason::NoService),
    ];
    let (mut empty, mut lookup) = (Samples::default(), Samples::default());
    let yardstick = ack(dr)?;
    for _ in 0..rounds {
        empty.add(site.alone("empty", &yardstick, repeat)?);
        lookup.add(site.alone("lookup", &yardstick, repeat)?);
        for case in &mut cases {
            case.round(site, repeat)?;
        }
    }
    let mut results = Results::new(empty.least(), lookup.least() - empty.least());
    for case in cases {
        results.rows.push(Row::new(case.name, case.fed.least() - case.feeding.least(), case.goal));
    }
    Ok(results)
}
