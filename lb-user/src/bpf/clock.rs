//! The kernel's tick, seen from user space.

/// Converts CLOCK_MONOTONIC to the low 32 bits of jiffies, the time of every entry in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    hz: u32,
}

impl Clock {
    /// Ticks per second.
    #[must_use]
    pub const fn hz(&self) -> u32 {
        self.hz
    }

    /// Now, in ticks: the low 32 bits of jiffies.
    #[must_use]
    pub fn now(&self) -> u32 {
        todo!()
    }
}
