//! Rates as the kernel's estimator computes them (net/netfilter/ipvs/ip_vs_est.c; ipvs-semantics §10).

use crate::api::{Rates, Stats};

/// The estimator of one service or destination: fed every two seconds, it keeps a moving average in
/// which the newest interval weighs a quarter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimator {
    last: Stats,
    /// Connections and packets a second times 2^10, bytes a second times 2^5.
    averages: [i64; 5],
}

/// An interval's difference becomes a rate of [`Estimator::averages`]: times 2^10 / 2 s, 2^5 / 2 s.
const COUNT_SHIFT: u32 = 9;
const BYTE_SHIFT: u32 = 4;

impl Estimator {
    /// An estimator of counters that stand at `now`.
    #[must_use]
    pub fn new(now: Stats) -> Self {
        Self { last: now, averages: [0; 5] }
    }

    /// Takes the counters of two seconds later.
    pub fn update(&mut self, now: Stats) {
        let (last, next) = (fields(self.last), fields(now));
        for (i, average) in self.averages.iter_mut().enumerate() {
            let (Some(l), Some(n)) = (last.get(i), next.get(i)) else { continue };
            let shift = if i < 3 { COUNT_SHIFT } else { BYTE_SHIFT };
            let rate = i64::try_from(n.saturating_sub(*l)).unwrap_or(i64::MAX) << shift;
            *average += (rate - *average) >> 2;
        }
        self.last = now;
    }

    /// The rates.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = self.averages;
        let count = |a: i64| u64::try_from((a + 0x1ff) >> 10).unwrap_or(0);
        let bytes = |a: i64| u64::try_from((a + 0xf) >> 5).unwrap_or(0);
        Rates {
            connections: count(connections),
            in_packets: count(in_packets),
            out_packets: count(out_packets),
            in_bytes: bytes(in_bytes),
            out_bytes: bytes(out_bytes),
        }
    }

    /// Starts from 0 (`-Z`).
    pub fn zero(&mut self) {
        self.averages = [0; 5];
    }
}

fn fields(s: Stats) -> [u64; 5] {
    [s.connections, s.in_packets, s.out_packets, s.in_bytes, s.out_bytes]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORDING: &str = include_str!("../../../tests/recordings/live-listings.json");

    fn stats(values: [u64; 5]) -> Stats {
        let [connections, in_packets, out_packets, in_bytes, out_bytes] = values;
        Stats { connections, in_packets, out_packets, in_bytes, out_bytes }
    }

    fn shown(r: Rates) -> [u64; 5] {
        [r.connections, r.in_packets, r.out_packets, r.in_bytes, r.out_bytes]
    }

    /// What is shown after each interval in which so much came.
    fn sequence(intervals: &[u64]) -> Vec<[u64; 5]> {
        let mut now = 1000;
        let mut e = Estimator::new(stats([now; 5]));
        let mut all = Vec::new();
        for more in intervals {
            now += more;
            e.update(stats([now; 5]));
            all.push(shown(e.rates()));
        }
        all
    }

    #[test]
    fn a_steady_rate_is_approached_as_the_kernel_does() {
        let seen = sequence(&[200; 40]);
        assert_eq!(seen[..6], [[25; 5], [44; 5], [58; 5], [68; 5], [76; 5], [82; 5]]);
        assert_eq!(seen[39], [100; 5]);
    }

    #[test]
    fn a_burst_fades() {
        // 20 << 9 is 10240: a quarter, and of that three quarters each time. Bytes: 20 << 4 is 320.
        let seen = sequence(&[20, 0, 0, 0, 0, 0]);
        let counts: Vec<u64> = seen.iter().map(|r| r[0]).collect();
        let bytes: Vec<u64> = seen.iter().map(|r| r[3]).collect();
        // Counts: 2560, 1920, 1440, 1080, 810, 607 (and 511) in 1024ths; bytes: 80, 60, 45, 33, 24, 18 (and 15) in 32nds.
        assert_eq!(counts, [2, 2, 1, 1, 1, 1]);
        assert_eq!(bytes, [2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn counters_that_stand_still_end_at_0() {
        // The arithmetic shift takes at least 1 from what is above 0.
        let seen = sequence(&[&[1_000_000][..], &[0; 60]].concat());
        assert_eq!(seen.last(), Some(&[0; 5]));
    }

    /// A recorded listing's numbers, line by line.
    fn recorded(command: &str) -> Vec<[u64; 5]> {
        let all: serde_json::Value = serde_json::from_str(RECORDING).unwrap();
        let step = all.as_array().unwrap().iter().find(|s| s["cmd"] == command).unwrap();
        let numbers = |line: &str| {
            let last: Vec<u64> =
                line.split_whitespace().rev().take(5).filter_map(|w| w.parse().ok()).collect();
            let [e, d, c, b, a] = last.try_into().ok()?;
            Some([a, b, c, d, e])
        };
        step["stdout"].as_str().unwrap().lines().filter_map(numbers).collect()
    }

    #[test]
    fn the_recorded_rates_come_of_the_recorded_counters() {
        // Everything was sent within an interval, and another had passed when the rates were listed.
        let (counters, rates) = (recorded("ipvsadm -Ln --stats"), recorded("ipvsadm -Ln --rate"));
        assert!(counters.len() == rates.len() && counters.len() == 20, "{counters:?} {rates:?}");
        for (counted, expected) in counters.into_iter().zip(rates) {
            let mut e = Estimator::new(Stats::default());
            e.update(stats(counted));
            e.update(stats(counted));
            assert_eq!(shown(e.rates()), expected, "{counted:?}");
        }
    }

    #[test]
    fn rates_fall_to_0_and_survive_counters_that_go_back() {
        let mut e = Estimator::new(Stats::default());
        let up = Stats { connections: 1 << 40, in_bytes: u64::MAX, ..Stats::default() };
        e.update(up);
        assert!(e.rates().connections > 0);
        e.update(Stats::default());
        for _ in 0..200 {
            e.update(Stats::default());
        }
        assert_eq!(e.rates(), Rates::default());
        e.update(up);
        e.zero();
        assert_eq!(e.rates(), Rates::default());
    }

    /// The rule as ipvs-semantics section 10 words it, by division of whole numbers instead of shifts.
    fn model(counters: &[[u64; 5]]) -> [u64; 5] {
        let mut shown = [0; 5];
        for (i, shown) in shown.iter_mut().enumerate() {
            let (scale, unit, round) = if i < 3 { (512, 1024, 0x1ff) } else { (16, 32, 0xf) };
            let mut average: i128 = 0;
            for pair in counters.windows(2) {
                let rate = i128::from(pair[1][i] - pair[0][i]) * scale;
                average += (rate - average).div_euclid(4);
            }
            *shown = u64::try_from((average + round).div_euclid(unit)).unwrap();
        }
        shown
    }

    proptest! {
        #[test]
        fn it_is_the_kernels_estimator(
            steps in proptest::collection::vec(
                proptest::array::uniform5(prop_oneof![Just(0), 0..10_u64, 0..100_000_u64, 0..1_u64 << 40]), 0..40),
            before in 0..1_u64 << 50,
        ) {
            let mut now = [before; 5];
            let mut all = vec![now];
            let mut e = Estimator::new(stats(now));
            for step in steps {
                for (n, more) in now.iter_mut().zip(step) {
                    *n += more;
                }
                all.push(now);
                e.update(stats(now));
                prop_assert_eq!(shown(e.rates()), model(&all));
            }
        }
    }
}
