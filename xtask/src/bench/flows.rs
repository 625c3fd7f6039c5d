//! The cases with many flows: every packet belongs to another one than the packet before.

use anyhow::{Result, bail};

use super::{
    frames::{self, CLIENT, Segment, VIP},
    meter::Samples,
    report::{Goal, Results, Row},
    site::{DR, Site, XDP_TX, key_bytes},
    value::Value,
};

/// Flows of the largest case.
pub(super) const MOST: u32 = 1 << 19;
/// The numbers of flows, powers of two, with their names.
const NUMBERS: [(u32, &str); 2] = [(1 << 16, "64 K flows"), (MOST, "512 K flows")];
/// Runs of a round, at least.
const RUNS: u32 = 1 << 18;

/// Measures the cases with many flows.
///
/// # Errors
/// When the data path did something else than the case is about.
pub(super) fn many(site: &mut Site, rounds: u32, results: &mut Results) -> Result<()> {
    let client = (CLIENT, 1);
    let syn = frames::tcp4(client, (VIP, DR), Segment::Syn)?;
    let ack = frames::tcp4(client, (VIP, DR), Segment::Ack)?;
    let mut inserted = 0;
    for (number, name) in NUMBERS {
        eprintln!("bench: {name}, {rounds} rounds");
        let mut flows = Flows::new(number);
        fill_yardstick(site, &flows, inserted)?;
        inserted = number;
        site.clear()?;
        flows.line_up(site)?;
        flows.direct(site, &syn, number)?;
        flows.direct(site, &ack, number)?;
        let active = site.active()?;
        if !nearly(active, number) {
            bail!("{active} of {number} connections are in the table");
        }
        // Visited in another order than they came in.
        flows.shuffle(1);
        flows.line_up(site)?;
        let runs = number.max(RUNS);
        let mut measured = Measured::default();
        for _ in 0..rounds {
            measured.yardstick(site, &flows, &ack, runs)?;
            measured.bucket.add(flows.probe(site, "bucket", &ack, runs)?);
            measured.director.add(flows.direct(site, &ack, runs)?);
        }
        let hit = measured.hit();
        results.hits.push((format!("one HASH hit, {name} (H)"), hit));
        results.hits.push((format!("the same in the table of connections, {name}"), measured.bucket()));
        let name = format!("established TCP, DR, {name}");
        results.rows.push(Row::new(name, measured.director(), Goal::DrAndHit(0.5, hit)));
    }
    let rounds = rounds.div_ceil(2);
    eprintln!("bench: new flows, {rounds} rounds");
    let mut measured = Measured::default();
    let mut flows = Flows::new(MOST);
    for round in 0..rounds {
        flows.shuffle(u64::from(round) + 2);
        site.clear()?;
        flows.line_up(site)?;
        measured.yardstick(site, &flows, &ack, MOST)?;
        measured.director.add(flows.direct(site, &syn, MOST)?);
    }
    let goal = Goal::Hit(1.0, measured.hit());
    results.hits.push(("one HASH hit, 512 K flows, beside the new ones".to_owned(), measured.hit()));
    results.rows.push(Row::new("every packet another new flow, DR, rr, 512 K", measured.director(), goal));
    Ok(())
}

/// Source addresses and ports, all different, in an order.
struct Flows(Vec<([u8; 4], u16)>);

impl Flows {
    /// `number` flows of 10.0.0.0/8 (they are in no frame that leaves).
    fn new(number: u32) -> Self {
        let flow = |i: u32| {
            let mixed = mix(u64::from(i));
            // An odd factor makes every number another one of 24 bits.
            let [_, b, c, d] = (i.wrapping_mul(0x9E37_79B1) & 0xff_ffff).to_be_bytes();
            ([10, b, c, d], (mixed >> 48) as u16 | 1024)
        };
        Self((0..number).map(flow).collect())
    }

    fn number(&self) -> u32 {
        self.0.len() as u32
    }

    /// Another order, by a number: the same one gives the same order.
    fn shuffle(&mut self, seed: u64) {
        for i in (1..self.0.len()).rev() {
            let other = mix(seed << 32 | i as u64) as usize % (i + 1);
            self.0.swap(i, other);
        }
    }

    /// Gives the feeder this order.
    fn line_up(&self, site: &mut Site) -> Result<()> {
        for (i, (address, port)) in (0..).zip(&self.0) {
            let words = Value::<8>::new().with(0, address).with(4, &port.to_be_bytes());
            site.flows.set(i, words.0, 0)?;
        }
        Ok(())
    }

    /// The feeder starts at the first one.
    fn rewind(&self, site: &mut Site) -> Result<()> {
        site.position.set(0, Value::<16>::new().u64(8, u64::from(self.number()) - 1).0, 0)?;
        Ok(())
    }

    /// Runs a program over `runs` frames, one flow after the other; nanoseconds each.
    fn probe(&self, site: &mut Site, target: &str, frame: &[u8], runs: u32) -> Result<f64> {
        self.rewind(site)?;
        let (nanoseconds, action) = site.fed("flows4", target, frame, runs)?;
        if action != XDP_TX {
            bail!("program {target} returned {action}");
        }
        Ok(nanoseconds)
    }

    /// Runs the director over `runs` frames, one flow after the other; nanoseconds each.
    fn direct(&self, site: &mut Site, frame: &[u8], runs: u32) -> Result<f64> {
        self.rewind(site)?;
        let before = site.forwarded()?;
        let (nanoseconds, action) = site.fed("flows4", "director", frame, runs)?;
        let seen = site.forwarded()? - before;
        if !nearly(seen, runs) || action != XDP_TX {
            bail!("{seen} of {runs} packets were forwarded; refused so far: {}", site.refusals());
        }
        Ok(nanoseconds)
    }
}

/// Whether it is all, but for one in a thousand: that many half-open connections may be replaced by newer ones, or find
/// both their buckets full.
fn nearly(n: u64, all: u32) -> bool {
    n <= u64::from(all) && n >= u64::from(all - all / 1000)
}

/// A number that looks random, by another (splitmix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// Puts the flows into the HASH, whose first `there` it has already.
fn fill_yardstick(site: &mut Site, flows: &Flows, there: u32) -> Result<()> {
    for &from in flows.0.iter().skip(there as usize) {
        site.many.insert(key_bytes(from, (VIP, DR)), [0; 48], 0)?;
    }
    Ok(())
}

/// What is measured in alternation.
#[derive(Debug, Default)]
struct Measured {
    feeding: Samples,
    parsed: Samples,
    hit: Samples,
    bucket: Samples,
    director: Samples,
}

impl Measured {
    fn yardstick(&mut self, site: &mut Site, flows: &Flows, frame: &[u8], runs: u32) -> Result<()> {
        let targets = [("empty", &mut self.feeding), ("parsed", &mut self.parsed), ("hit", &mut self.hit)];
        for (target, samples) in targets {
            samples.add(flows.probe(site, target, frame, runs)?);
        }
        Ok(())
    }

    /// H.
    fn hit(&self) -> f64 {
        self.hit.least() - self.parsed.least()
    }

    /// The same in the director's table.
    fn bucket(&self) -> f64 {
        self.bucket.least() - self.parsed.least()
    }

    fn director(&self) -> f64 {
        self.director.least() - self.feeding.least()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn flows_differ_and_stay_the_same_set_in_every_order() {
        let mut flows = Flows::new(1 << 12);
        let before: BTreeSet<_> = flows.0.iter().copied().collect();
        assert_eq!(before.len(), 1 << 12);
        let order = flows.0.clone();
        flows.shuffle(7);
        assert_ne!(flows.0, order);
        assert_eq!(flows.0.iter().copied().collect::<BTreeSet<_>>(), before);
        // The HASH keeps the flows of a smaller case.
        assert_eq!(order[..1 << 8], Flows::new(1 << 8).0);
    }
}
