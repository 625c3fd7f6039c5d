//! A frame as the decision sees it: bounded reads and writes, nothing else.

/// An integer that a frame can be read as; native order, bytes as they lie.
pub trait Raw: Copy {}
impl Raw for u8 {}
impl Raw for u16 {}
impl Raw for u32 {}
impl Raw for u64 {}

/// Words that [`Frame::sum`] takes at most.
pub const MAX_WORDS: u32 = 40;

/// Bytes that [`Frame::sum_bytes`] takes at most: those of a jumbo frame.
pub const MAX_SUMMED: u32 = 9216;

/// A frame. Offsets are bytes from its start; a read or write past its end is `None`.
pub trait Frame: Sized {
    /// Reads a native word at `offset`, which need not be aligned.
    fn get<T: Raw>(&self, offset: u32) -> Option<T>;
    /// Reads two bytes; for loops, where the compiler would make of [`Frame::get`] what verifiers refuse.
    fn pair(&self, offset: u32) -> Option<[u8; 2]> {
        self.get::<u16>(offset).map(u16::to_ne_bytes)
    }
    /// Writes a native word at `offset`.
    fn put<T: Raw>(&mut self, offset: u32, value: T) -> Option<()>;
    /// Whether it has at least `n` bytes.
    fn has(&self, n: u32) -> bool;
    /// Sum of `words` (at most [`MAX_WORDS`]) native 32-bit words from `at`.
    fn sum(&self, at: u32, words: u32) -> Option<u64> {
        let mut total = 0_u64;
        let mut i = 0;
        while i < words && i < MAX_WORDS {
            total += u64::from(self.get::<u32>(at + i * 4)?);
            i += 1;
        }
        Some(total)
    }
    /// Sum of the native words of `length` (at most [`MAX_SUMMED`]) bytes from `at`, an even number of at most 14; an odd
    /// last byte is one of two with a 0 behind it.
    fn sum_bytes(&self, at: u32, length: u32) -> Option<u64> {
        if length > MAX_SUMMED {
            return None;
        }
        let mut total = 0_u64;
        let mut i = 0;
        while i < length / 2 {
            total += u64::from(self.get::<u16>(at + i * 2)?);
            i += 1;
        }
        if length % 2 == 1 {
            total += u64::from(u16::from_ne_bytes([self.get::<u8>(at + length - 1)?, 0]));
        }
        Some(total)
    }
    /// Moves the start `n` bytes forward into the headroom; the new bytes are arbitrary.
    fn grow_front(&mut self, n: u32) -> Option<()>;
    /// Cuts the frame to `length` bytes.
    fn truncate(&mut self, length: u32) -> Option<()>;
    /// The frame, out of `self`, which is not to be used until the frame is put back: for handing it to a function
    /// that is not inlined. A reference to `self` would keep it in memory from its first to its last use.
    #[must_use]
    fn take(&mut self) -> Self;
}

/// A frame in ordinary memory, with headroom, for the host.
#[derive(Debug, PartialEq, Eq)]
pub struct SliceFrame<'a> {
    memory: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> SliceFrame<'a> {
    /// The frame `memory[start..end]`; what lies before `start` is headroom.
    ///
    /// Empty where the bounds lie outside `memory`.
    #[must_use]
    pub fn new(memory: &'a mut [u8], start: usize, end: usize) -> Self {
        let end = end.min(memory.len());
        let start = start.min(end);
        Self { memory, start, end }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }
}

impl Frame for SliceFrame<'_> {
    fn get<T: Raw>(&self, offset: u32) -> Option<T> {
        let at = self.start.checked_add(offset as usize)?;
        let end = at.checked_add(size_of::<T>())?;
        if end > self.end {
            return None;
        }
        crate::abi::read_raw(self.memory.get(at..end)?)
    }

    fn put<T: Raw>(&mut self, offset: u32, value: T) -> Option<()> {
        let at = self.start.checked_add(offset as usize)?;
        let end = at.checked_add(size_of::<T>())?;
        if end > self.end {
            return None;
        }
        crate::abi::write_raw(self.memory.get_mut(at..end)?, value)
    }

    fn has(&self, n: u32) -> bool {
        self.end - self.start >= n as usize
    }

    fn grow_front(&mut self, n: u32) -> Option<()> {
        self.start = self.start.checked_sub(n as usize)?;
        Some(())
    }

    fn truncate(&mut self, length: u32) -> Option<()> {
        let end = self.start.checked_add(length as usize)?;
        if end > self.end {
            return None;
        }
        self.end = end;
        Some(())
    }

    fn take(&mut self) -> Self {
        Self { memory: core::mem::take(&mut self.memory), ..*self }
    }
}
