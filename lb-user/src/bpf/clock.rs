//! The kernel's tick, seen from user space.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The tick rates a kernel can be built with (kernel/Kconfig.hz).
const RATES: [u32; 4] = [100, 250, 300, 1000];
/// How long the tick is watched: six ticks of the slowest rate.
const WATCHED: Duration = Duration::from_millis(60);

/// A reading of the kernel's two clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// jiffies.
    pub(super) jiffies: u64,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(super) nanoseconds: u64,
}

/// Converts CLOCK_MONOTONIC to the low 32 bits of jiffies, the time of every entry in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    hz: u32,
    /// A tick, and when it began.
    base: Reading,
}

impl Clock {
    /// A clock from readings, the last at least [`WATCHED`] after the first; `None` where they fit no
    /// tick rate.
    pub(super) fn from_readings(readings: &[Reading]) -> Option<Self> {
        let (first, last) = (readings.first()?, readings.last()?);
        let ticks = last.jiffies.checked_sub(first.jiffies)?;
        let nanoseconds = last.nanoseconds.checked_sub(first.nanoseconds)?;
        if nanoseconds < WATCHED.as_nanos() as u64 || ticks == 0 {
            return None;
        }
        let measured = ticks.saturating_mul(1_000_000_000) / nanoseconds;
        let hz = RATES.into_iter().min_by_key(|rate| u64::from(*rate).abs_diff(measured))?;
        // A quarter off is no measuring error.
        if u64::from(hz).abs_diff(measured) * 4 > u64::from(hz) {
            return None;
        }
        let mut clock = Self { hz, base: *first };
        // The reading closest behind the beginning of its tick says best when ticks begin.
        clock.base.nanoseconds = readings
            .iter()
            .map(|r| r.nanoseconds.saturating_sub((r.jiffies - first.jiffies) * clock.tick()))
            .min()?;
        Some(clock)
    }

    /// Measures by `read`, for a little longer than 60 ms.
    pub(super) fn measure<E>(mut read: impl FnMut() -> Result<Reading, E>) -> Result<Option<Self>, E> {
        let mut readings = vec![read()?];
        let over = |readings: &[Reading]| match (readings.first(), readings.last()) {
            (Some(a), Some(b)) => b.nanoseconds >= a.nanoseconds + WATCHED.as_nanos() as u64,
            _ => true,
        };
        while !over(&readings) {
            std::thread::sleep(Duration::from_millis(1));
            readings.push(read()?);
        }
        Ok(Self::from_readings(&readings))
    }

    /// Nanoseconds of a tick (include/linux/jiffies.h: TICK_NSEC), by which the kernel itself advances.
    fn tick(&self) -> u64 {
        let hz = u64::from(self.hz);
        (1_000_000_000 + hz / 2) / hz
    }

    /// Ticks per second.
    #[must_use]
    pub const fn hz(&self) -> u32 {
        self.hz
    }

    /// Now, in ticks: the low 32 bits of jiffies, right to a tick.
    #[must_use]
    pub fn now(&self) -> u32 {
        self.at(u64::try_from(monotonic().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The tick at a time of CLOCK_MONOTONIC.
    fn at(&self, nanoseconds: u64) -> u32 {
        let ticks = if nanoseconds >= self.base.nanoseconds {
            self.base.jiffies.wrapping_add((nanoseconds - self.base.nanoseconds) / self.tick())
        } else {
            self.base.jiffies.wrapping_sub((self.base.nanoseconds - nanoseconds).div_ceil(self.tick()))
        };
        ticks as u32
    }
}

/// CLOCK_MONOTONIC. It exists on every Linux, so that reading it does not fail.
pub(super) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings every millisecond of a kernel whose ticks begin at multiples of the tick plus `phase`.
    fn readings(hz: u64, jiffies: u64, phase: u64) -> Vec<Reading> {
        let tick = (1_000_000_000 + hz / 2) / hz;
        (0..62)
            .map(|i| 5_000_123_456 + i * 1_031_007)
            .map(|ns| Reading { jiffies: jiffies + (ns - phase) / tick, nanoseconds: ns })
            .collect()
    }

    #[test]
    fn every_rate_is_found_and_ticks_fit_the_kernels() {
        for hz in RATES {
            for phase in [0, 123_456, 999_999] {
                let read = readings(u64::from(hz), 0xffff_fff0, phase);
                let clock = Clock::from_readings(&read).unwrap();
                assert_eq!(clock.hz(), hz);
                for r in read {
                    let error = clock.at(r.nanoseconds).wrapping_sub(r.jiffies as u32) as i32;
                    assert!(error.abs() <= 1, "{hz} {phase}: {error}");
                }
            }
        }
    }

    #[test]
    fn nonsense_is_no_clock() {
        let at = |jiffies, nanoseconds| Reading { jiffies, nanoseconds };
        assert_eq!(Clock::from_readings(&[]), None);
        assert_eq!(Clock::from_readings(&[at(0, 0), at(60, 1)]), None, "too short");
        assert_eq!(Clock::from_readings(&[at(5, 0), at(5, 60_000_000)]), None, "no tick");
        assert_eq!(Clock::from_readings(&[at(5, 0), at(905, 60_000_000)]), None, "no rate");
    }

    #[test]
    fn it_goes_on_after_the_last_reading() {
        let read = readings(250, 1000, 0);
        let clock = Clock::from_readings(&read).unwrap();
        let last = read.last().unwrap();
        let later = clock.at(last.nanoseconds + 3600 * 1_000_000_000);
        assert!(later.abs_diff(last.jiffies as u32 + 3600 * 250) <= 1);
        assert!(clock.at(0).abs_diff(1000) <= 1, "before the first reading too");
    }
}
