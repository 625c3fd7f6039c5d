//! Takes away what lblc and lblcr remember and nobody asks for any more (ip_vs_lblc.c: ip_vs_lblc_check_expire, and the
//! same of ip_vs_lblcr.c).

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::Duration;

use lb_common::abi::{Locality, LocalityKey};

use super::clock::monotonic;
use super::mapped::Element;
use super::maps::access;
use super::sys::{Cursor, read_hash};
use super::{MapError, Maps};

/// A pass begins so often (CHECK_EXPIRE_INTERVAL).
const INTERVAL: Duration = Duration::from_secs(60);
/// Every so many passes all that is old goes, however little there is (COUNT_FOR_FULL_EXPIRATION).
const WHOLE: u32 = 30;
/// Addresses of a service that are few (16 for each of 1024 buckets).
const FEW: usize = 16_384;
/// Seconds after which an address may go where there are many (ENTRY_TIMEOUT).
const UNUSED_SECONDS: u32 = 6 * 60;
/// How long a step takes at most.
const STEP: Duration = Duration::from_millis(2);
/// Elements of a system call.
const AT_ONCE: usize = 512;

/// Services of lblc and lblcr: their ids and epochs ([`LocalityKey`]), and after how many ticks without use they forget an
/// address.
pub type LocalityServices = BTreeMap<(u32, u32), u32>;

/// What a pass found so far: keys, and when they were used last.
type Found = Vec<(LocalityKey, u32)>;

/// A walk over map `LOCALITY` each minute.
#[derive(Default)]
pub struct LocalityKeeper {
    /// When the next pass begins, CLOCK_MONOTONIC.
    due: Duration,
    passes: u32,
    cursor: Cursor,
    found: Found,
    /// What is to go.
    doomed: Vec<LocalityKey>,
}

impl LocalityKeeper {
    /// The first pass begins at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on for about 2 ms, if a pass is due or under way; `now` in ticks, `hz` of them a second.
    pub(super) fn step(
        &mut self,
        maps: &mut Maps,
        services: &LocalityServices,
        now: u32,
        hz: u32,
    ) -> Result<(), MapError> {
        let begun = monotonic();
        if begun < self.due {
            return Ok(());
        }
        while monotonic().saturating_sub(begun) < STEP {
            if self.cursor != Cursor::End {
                let mut read: Vec<(LocalityKey, Locality)> = Vec::new();
                if let Err(error) = read_hash(maps.locality_fd(), &mut self.cursor, &mut read, AT_ONCE) {
                    self.rest(begun);
                    return Err(access("read", "LOCALITY", aya::maps::MapError::IoError(error)));
                }
                self.found.extend(read.into_iter().map(|(key, value)| (key, value.last_used)));
                if self.cursor == Cursor::End {
                    self.passes = self.passes.wrapping_add(1);
                    let whole = self.passes.is_multiple_of(WHOLE);
                    self.doomed = doomed(std::mem::take(&mut self.found), services, whole, now, hz);
                }
                continue;
            }
            let left = self.doomed.len().saturating_sub(AT_ONCE);
            let result = maps.forget_localities(&self.doomed.split_off(left));
            if self.doomed.is_empty() || result.is_err() {
                self.rest(begun);
                return result;
            }
        }
        Ok(())
    }

    /// Until the next pass.
    fn rest(&mut self, now: Duration) {
        *self = Self { due: now + INTERVAL, passes: self.passes, ..Self::default() };
    }
}

/// What of `found` is to go: all of services that are no more; in a `whole` pass what was not used for as long as its
/// service says; otherwise, of services that remember many addresses, a part of those not used for six minutes, the oldest
/// first (the kernel takes them as they lie in its table).
fn doomed(mut found: Found, services: &LocalityServices, whole: bool, now: u32, hz: u32) -> Vec<LocalityKey> {
    let age = |used: u32| {
        let age = now.wrapping_sub(used);
        // Used while this pass went on: later than its beginning.
        if age > u32::MAX >> 1 { 0 } else { age }
    };
    let of = |key: &LocalityKey| (key.service, key.epoch);
    found.sort_unstable_by_key(|(key, used)| (of(key), std::cmp::Reverse(age(*used))));
    let unused = hz.saturating_mul(UNUSED_SECONDS);
    let mut doomed = Vec::new();
    for group in found.chunk_by(|(a, _), (b, _)| of(a) == of(b)) {
        let expiration = group.first().and_then(|(key, _)| services.get(&of(key)));
        let (least_age, goal) = match expiration {
            None => (0, group.len()),
            Some(expiration) if whole => (*expiration, group.len()),
            Some(_) => (unused, (group.len().saturating_sub(FEW) * 4 / 3).min(FEW / 2)),
        };
        doomed
            .extend(group.iter().take(goal).filter(|(_, used)| age(*used) >= least_age).map(|(key, _)| *key));
    }
    doomed
}

impl Maps {
    fn locality_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.localities_data.fd().as_fd()
    }

    /// Takes elements away; one that is gone already is no error.
    fn forget_localities(&mut self, keys: &[LocalityKey]) -> Result<(), MapError> {
        use aya::maps::MapError as AyaError;
        keys.iter().try_for_each(|key| match self.localities.remove(&Element(*key)) {
            Err(AyaError::SyscallError(e)) if e.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            Ok(()) | Err(AyaError::KeyNotFound) => Ok(()),
            Err(error) => Err(access("remove from", "LOCALITY", error)),
        })
    }

    /// Addresses that lblc and lblcr remember, with their services, in no order; for tests and for listings.
    ///
    /// # Errors
    /// [`MapError`] where the map cannot be read.
    pub fn localities(&self) -> Result<Vec<(LocalityKey, Locality)>, MapError> {
        let (mut cursor, mut all) = (Cursor::default(), Vec::new());
        while cursor != Cursor::End {
            read_hash(self.locality_fd(), &mut cursor, &mut all, AT_ONCE)
                .map_err(|error| access("read", "LOCALITY", aya::maps::MapError::IoError(error)))?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u32 = 250;
    const NOW: u32 = 77;

    fn key(service: u32, n: u32) -> LocalityKey {
        let [a, b, c, d] = n.to_be_bytes();
        LocalityKey { service, epoch: 1, address: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// So many addresses of a service, address `n` unused for `n` seconds, in no order; ticks wrap among them.
    fn found(service: u32, count: u32) -> Found {
        let entry = |n: u32| (key(service, n), NOW.wrapping_sub(n * HZ));
        (0..count).rev().step_by(2).chain((0..count).rev().skip(1).step_by(2)).map(entry).collect()
    }

    fn services() -> LocalityServices {
        [((5, 1), 1000 * HZ), ((6, 1), 20_000 * HZ)].into()
    }

    #[test]
    fn few_addresses_stay() {
        assert!(doomed(found(5, FEW as u32), &services(), false, NOW, HZ).is_empty());
    }

    #[test]
    fn of_many_the_oldest_go_four_thirds_of_what_is_too_many() {
        let gone = doomed(found(5, FEW as u32 + 300), &services(), false, NOW, HZ);
        let right: Vec<LocalityKey> = (FEW as u32 - 100..FEW as u32 + 300).rev().map(|n| key(5, n)).collect();
        assert_eq!(gone, right);
        assert_eq!(doomed(found(5, 4 * FEW as u32), &services(), false, NOW, HZ).len(), FEW / 2);
    }

    #[test]
    fn what_was_used_lately_stays_however_many() {
        let fresh: Found = found(5, 40_000).into_iter().map(|(key, _)| (key, NOW - 1)).collect();
        assert!(doomed(fresh, &services(), false, NOW, HZ).is_empty());
        // Used after the pass began.
        let ahead: Found = found(5, 40_000).into_iter().map(|(key, _)| (key, NOW + 9)).collect();
        assert!(doomed(ahead, &services(), true, NOW, HZ).is_empty());
    }

    #[test]
    fn a_whole_pass_takes_all_that_is_old_for_its_service() {
        let all: Found = found(5, 1002).into_iter().chain(found(6, 1002)).collect();
        assert_eq!(doomed(all, &services(), true, NOW, HZ), [key(5, 1001), key(5, 1000)]);
    }

    #[test]
    fn what_is_of_no_service_goes_at_once() {
        let mut of_old_epoch = found(5, 3);
        for (key, _) in &mut of_old_epoch {
            key.epoch = 2;
        }
        assert_eq!(doomed(of_old_epoch, &services(), false, NOW, HZ).len(), 3);
        assert_eq!(doomed(found(7, 2), &services(), false, NOW, HZ).len(), 2);
    }
}
