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
    use super::*;

    fn steady(per_second: u64, intervals: u64) -> Rates {
        let at = |i: u64| Stats {
            connections: 2 * per_second * i,
            in_packets: 2 * per_second * i,
            out_packets: 0,
            in_bytes: 2 * per_second * i,
            out_bytes: 0,
        };
        let mut e = Estimator::new(at(0));
        for i in 1..=intervals {
            e.update(at(i));
        }
        e.rates()
    }

    #[test]
    fn a_steady_rate_is_approached_as_the_kernel_does() {
        let seen: Vec<u64> = (1..=4).map(|i| steady(100, i).connections).collect();
        assert_eq!(seen, [25, 44, 58, 68]);
        let r = steady(100, 40);
        assert_eq!((r.connections, r.in_packets, r.in_bytes, r.out_packets), (100, 100, 100, 0));
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
}
