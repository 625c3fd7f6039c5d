//! Which slots of map `SLOTS` are free: extents, with a time in which a freed one is not given again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a freed extent may still be read by a packet that found the old service. A run of the
/// program takes microseconds; whoever cannot wait proves that all have ended ([`Extents::settle`]).
pub const GRACE: Duration = Duration::from_secs(2);

/// The allocator of extents in `SLOTS`.
#[derive(Debug, Clone, Default)]
pub struct Extents {
    /// Free extents: first slot to length; neighbours are joined.
    free: BTreeMap<u32, u32>,
    /// Freed extents and when they may be given again.
    waiting: VecDeque<(Duration, u32, u32)>,
}

impl Extents {
    /// All of `slots` slots but those `used`: (first, length), which must not overlap.
    #[must_use]
    pub fn new(slots: u32, used: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut extents = Self::default();
        extents.give(0, slots);
        for (first, length) in used {
            extents.cut(first, length);
        }
        extents
    }

    /// `length` slots in a row, `None` where there are none; 0 slots are always at 0.
    pub fn take(&mut self, length: u32, now: Duration) -> Option<u32> {
        if length == 0 {
            return Some(0);
        }
        while let Some(&(due, first, freed)) = self.waiting.front()
            && due <= now
        {
            self.waiting.pop_front();
            self.give(first, freed);
        }
        let (&first, &found) = self.free.iter().find(|&(_, &l)| l >= length)?;
        self.free.remove(&first);
        if found > length {
            self.free.insert(first + length, found - length);
        }
        Some(first)
    }

    /// Gives an extent back that no service names any more.
    pub fn release(&mut self, first: u32, length: u32, now: Duration) {
        if length != 0 {
            self.waiting.push_back((now + GRACE, first, length));
        }
    }

    /// Gives an extent back that no service ever named.
    pub fn give(&mut self, mut first: u32, mut length: u32) {
        if length == 0 {
            return;
        }
        if let Some((&before, &l)) = self.free.range(..first).next_back()
            && before + l == first
        {
            self.free.remove(&before);
            first = before;
            length += l;
        }
        if let Some(l) = self.free.remove(&(first + length)) {
            length += l;
        }
        self.free.insert(first, length);
    }

    /// Ends the wait of all freed extents: no packet reads them any more.
    pub fn settle(&mut self) {
        while let Some((_, first, length)) = self.waiting.pop_front() {
            self.give(first, length);
        }
    }

    /// Whether freed extents wait.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes a given extent out of the free ones, as far as it is free.
    fn cut(&mut self, first: u32, length: u32) {
        let end = first.saturating_add(length);
        let Some((&start, &free)) = self.free.range(..=first).next_back() else { return };
        let free_end = start + free;
        if length == 0 || end > free_end {
            return;
        }
        self.free.remove(&start);
        if first > start {
            self.free.insert(start, first - start);
        }
        if free_end > end {
            self.free.insert(end, free_end - end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_freed_extent_waits() {
        let mut e = Extents::new(8, []);
        assert_eq!(e.take(8, Duration::ZERO), Some(0));
        e.release(0, 8, Duration::ZERO);
        assert_eq!(e.take(1, GRACE - Duration::from_millis(1)), None);
        assert_eq!(e.take(8, GRACE), Some(0));
        e.release(0, 8, GRACE);
        e.settle();
        assert_eq!(e.take(8, GRACE), Some(0));
    }

    #[test]
    fn what_the_maps_hold_is_not_given() {
        let mut e = Extents::new(10, [(2, 3), (8, 2)]);
        assert_eq!(e.take(3, Duration::ZERO), Some(5));
        assert_eq!(e.take(2, Duration::ZERO), Some(0));
        assert_eq!(e.take(1, Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn extents_never_overlap_and_all_come_back(steps in prop::collection::vec((1..20_u32, any::<bool>()), 1..80)) {
            let mut e = Extents::new(100, []);
            let mut held: Vec<(u32, u32)> = Vec::new();
            for (length, take) in steps {
                if take {
                    if let Some(first) = e.take(length, Duration::ZERO) {
                        prop_assert!(first + length <= 100);
                        for &(f, l) in &held {
                            prop_assert!(first + length <= f || f + l <= first);
                        }
                        held.push((first, length));
                    }
                } else if let Some((f, l)) = held.pop() {
                    e.release(f, l, Duration::ZERO);
                    e.settle();
                }
            }
            for (f, l) in held {
                e.give(f, l);
            }
            prop_assert_eq!(e.take(100, Duration::ZERO), Some(0));
        }
    }
}
