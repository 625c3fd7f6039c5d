//! Token buckets: how many ICMP errors may be sent. Arithmetic alone; the maps are the caller's.
//!
//! The kernel's two limits: one token an interval for each client, six at most
//! (net/ipv4/inetpeer.c: inet_peer_xrlim_allow), and so many messages a second for all clients
//! (net/ipv4/icmp.c: icmp_global_allow).

use crate::abi::{ICMP_BUCKETS, IcmpBucket, Settings};

/// Tokens that one client can save up (net/ipv4/inetpeer.c: XRLIM_BURST_FACTOR).
const SAVED: u32 = 6;

/// Ages from this on are ticks ahead of ours.
const AHEAD: u32 = 0xffff_0000;

/// The limit of a bucket: how it fills, and what a message costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Tokens at most.
    most: u64,
    /// Tokens of one message.
    price: u64,
    /// Tokens a tick.
    rate: u64,
}

/// Whether it is a packet's turn to be dropped as one of `rate` (not 0), of which `seen` went before it since the
/// last such turn (ip_vs_core.c: ip_vs_todrop); and how many went by afterwards.
#[inline(always)]
#[must_use]
pub const fn turn(seen: u32, rate: u32) -> (u32, bool) {
    // More were seen where the rate became lower meanwhile.
    if seen >= rate - 1 { (0, true) } else { (seen + 1, false) }
}

/// Bucket of a client, by the address folded to 32 bits; below [`ICMP_BUCKETS`].
#[inline(always)]
#[must_use]
pub const fn bucket(client: u32) -> u32 {
    client.wrapping_mul(0x61C8_8647) >> 20 & (ICMP_BUCKETS - 1)
}

/// A bucket's tokens are 32 bits.
#[inline(always)]
const fn cut(tokens: u64) -> u64 {
    if tokens > u32::MAX as u64 { u32::MAX as u64 } else { tokens }
}

impl Limit {
    /// The limit of one client: tokens are ticks.
    #[inline(always)]
    #[must_use]
    pub const fn of_client(settings: &Settings) -> Self {
        let price = settings.icmp_interval as u64;
        Self { most: cut(price * SAVED as u64), price, rate: 1 }
    }

    /// The limit of all clients together: tokens are messages times ticks a second.
    #[inline(always)]
    #[must_use]
    pub const fn of_all(settings: &Settings) -> Self {
        let price = settings.hz as u64;
        let most = cut(settings.icmp_burst as u64 * price);
        Self { most, price, rate: settings.icmp_per_second as u64 }
    }

    /// Fills the bucket for the time since it was used last, then takes the price of one message; the
    /// bucket afterwards, and whether the tokens were there. A bucket never used is full.
    #[inline(always)]
    #[must_use]
    pub const fn take(self, bucket: IcmpBucket, now: u32) -> (IcmpBucket, bool) {
        let age = now.wrapping_sub(bucket.last);
        // Another CPU's tick may lie a little ahead of ours: no time has passed then.
        let age = if age >= AHEAD { 0 } else { age as u64 };
        // Both factors are below 2^32: the product fits, and the sum after the cut.
        let added = age * self.rate;
        let mut sum = bucket.tokens as u64 + if added > self.most { self.most } else { added };
        if sum > self.most || bucket.last == 0 {
            sum = self.most;
        }
        let allowed = sum >= self.price;
        if allowed {
            sum -= self.price;
        }
        // 0 says "never".
        let last = if now == 0 { 1 } else { now };
        (IcmpBucket { tokens: sum as u32, last }, allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { hz: 250, icmp_interval: 250, icmp_per_second: 1000, icmp_burst: 50, ..Settings::default() }
    }

    /// How many messages pass at once from a bucket.
    fn burst(limit: Limit, bucket: &mut IcmpBucket, now: u32) -> u32 {
        let mut n = 0;
        loop {
            let (after, allowed) = limit.take(*bucket, now);
            *bucket = after;
            if !allowed {
                return n;
            }
            n += 1;
        }
    }

    #[test]
    fn a_client_gets_six_at_once_and_then_one_an_interval() {
        let limit = Limit::of_client(&settings());
        let mut bucket = IcmpBucket::default();
        assert_eq!(burst(limit, &mut bucket, 1000), 6);
        assert_eq!(burst(limit, &mut bucket, 1249), 0);
        assert_eq!(burst(limit, &mut bucket, 1250), 1);
        assert_eq!(burst(limit, &mut bucket, 1250 + 3 * 250), 3);
        assert_eq!(burst(limit, &mut bucket, 500_000), 6, "no more than six are saved up");
    }

    #[test]
    fn all_clients_get_the_burst_at_once_and_then_the_rate() {
        let limit = Limit::of_all(&settings());
        let mut bucket = IcmpBucket::default();
        assert_eq!(burst(limit, &mut bucket, 77), 50);
        // 1000 a second at 250 ticks a second: four a tick.
        assert_eq!(burst(limit, &mut bucket, 78), 4);
        assert_eq!(burst(limit, &mut bucket, 81), 12);
        assert_eq!(burst(limit, &mut bucket, 81 + 250), 50);
    }

    #[test]
    fn the_wrap_of_the_ticks_and_large_limits_do_no_harm() {
        let limit = Limit::of_client(&settings());
        let mut bucket = IcmpBucket::default();
        assert_eq!(burst(limit, &mut bucket, u32::MAX - 100), 6);
        assert_eq!(burst(limit, &mut bucket, 148), 0);
        assert_eq!(burst(limit, &mut bucket, 149), 1);
        // More tokens than 32 bits hold: cut, never wrapped.
        let large =
            Settings { hz: 1_000_000, icmp_burst: 30_000_000, icmp_per_second: u32::MAX, ..settings() };
        let limit = Limit::of_all(&large);
        let most = u32::MAX / 1_000_000;
        let mut bucket = IcmpBucket::default();
        assert_eq!(burst(limit, &mut bucket, u32::MAX), most);
        assert_eq!(burst(limit, &mut bucket, 0), most, "a tick's worth is more than the bucket");
        assert_eq!(burst(limit, &mut bucket, 0), 0, "at tick 0 too there is an end");
    }

    #[test]
    fn a_tick_ahead_of_ours_fills_nothing() {
        let limit = Limit::of_client(&settings());
        let mut bucket = IcmpBucket::default();
        assert_eq!(burst(limit, &mut bucket, 1001), 6);
        assert_eq!(burst(limit, &mut bucket, 1000), 0);
    }

    #[test]
    fn a_limit_of_nothing_allows_nothing_but_one_of_no_interval_allows_all() {
        let none = Settings { icmp_per_second: 0, icmp_burst: 0, ..settings() };
        assert!(!Limit::of_all(&none).take(IcmpBucket::default(), 9).1);
        let free = Settings { icmp_interval: 0, ..settings() };
        let (bucket, allowed) = Limit::of_client(&free).take(IcmpBucket::default(), 9);
        assert!(allowed);
        assert!(Limit::of_client(&free).take(bucket, 9).1);
    }

    #[test]
    fn every_client_has_a_bucket() {
        for client in [0, 1, 0x0100_007f, u32::MAX, 0xdead_beef] {
            assert!(bucket(client) < ICMP_BUCKETS);
        }
        let used: std::collections::HashSet<u32> = (0..1000).map(bucket).collect();
        assert!(used.len() > 800, "neighbours share few buckets: {}", used.len());
    }
}
