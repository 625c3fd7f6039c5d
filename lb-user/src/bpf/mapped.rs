//! An ARRAY map in our address space: the one place where its memory is read and written.
//!
//! The XDP program on every CPU uses the same memory at the same time, so nothing here makes a
//! reference to it; every access is one aligned word, volatile or atomic.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use lb_common::abi::{
    Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, Interface, Locality, LocalityKey, MarkRule,
    Schedule, Service, ServiceKey4, ServiceKey6, Settings, load_u32, load_u64, store_u32, store_u64,
};
use memmap2::{MmapOptions, MmapRaw};

/// A value of a map.
///
/// # Safety
/// `repr(C)` of integers without padding, so that all its bytes are initialised and any bytes are a
/// value; its size is a multiple of 4.
pub(super) unsafe trait Shared: Copy + 'static {}

macro_rules! shared {
    ($($t:ty),* $(,)?) => { $(
        const _: () = assert!(size_of::<$t>() % 4 == 0);
        // SAFETY: a repr(C) struct of integers whose layout lb_common::abi asserts; padding is spelt out there.
        unsafe impl Shared for $t {}
    )* };
}
shared! {
    u32, u64, Bucket4, Bucket6, Counters, Counts, Destination, FwmarkKey, Interface, Locality, LocalityKey, MarkRule,
    Schedule, Service, ServiceKey4, ServiceKey6, Settings,
}

/// A key or value as aya takes it: its trait cannot be implemented for types of another crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Element<T>(pub(super) T);

// SAFETY: transparent over a type of integers without padding.
unsafe impl<T: Shared> aya::Pod for Element<T> {}

/// The elements of an ARRAY map.
pub(super) struct Mapped<T> {
    memory: MmapRaw,
    elements: u32,
    element: PhantomData<fn() -> T>,
}

impl<T: Shared> Mapped<T> {
    /// The kernel rounds elements up to eight bytes (kernel/bpf/arraymap.c: array_map_alloc).
    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Maps an ARRAY made with BPF_F_MMAPABLE.
    pub(super) fn of_map(map: BorrowedFd<'_>, elements: u32) -> io::Result<Self> {
        let length = Self::STRIDE * elements as usize;
        let memory = MmapOptions::new().len(length).map_raw(map.as_raw_fd())?;
        Ok(Self { memory, elements, element: PhantomData })
    }

    /// The same in memory of this process alone.
    #[cfg(test)]
    pub(super) fn anonymous(elements: u32) -> Self {
        let length = Self::STRIDE * elements as usize;
        let memory = MmapOptions::new().len(length).map_anon().unwrap().into();
        Self { memory, elements, element: PhantomData }
    }

    /// Elements.
    pub(super) const fn len(&self) -> u32 {
        self.elements
    }

    /// The address of an element: aligned, valid as long as `self`, and in use by others.
    pub(super) fn element(&self, index: u32) -> Option<*mut T> {
        if index >= self.elements {
            return None;
        }
        // The area of values begins on a page, and T asks for a cache line at most.
        Some(self.memory.as_mut_ptr().wrapping_add(Self::STRIDE * index as usize).cast())
    }

    /// The address of the double word at `offset` bytes of an element.
    fn double_word(&self, index: u32, offset: usize) -> Option<*mut u64> {
        if offset + 8 > Self::STRIDE || !offset.is_multiple_of(8) {
            return None;
        }
        Some(self.element(index)?.cast::<u8>().wrapping_add(offset).cast())
    }

    /// Loads the double word at `offset` bytes of an element.
    #[cfg(test)]
    pub(super) fn load64(&self, index: u32, offset: usize) -> Option<u64> {
        let p = self.double_word(index, offset)?;
        // SAFETY: inside of the mapping and aligned, by the two functions above.
        Some(unsafe { load_u64(p) })
    }

    /// Stores the double word at `offset` bytes of an element; `None` where there is none.
    pub(super) fn store64(&self, index: u32, offset: usize, value: u64) -> Option<()> {
        let p = self.double_word(index, offset)?;
        // SAFETY: as above.
        unsafe { store_u64(p, value) };
        Some(())
    }

    /// Stores the word at `offset` bytes of an element; `None` where there is none.
    pub(super) fn store32(&self, index: u32, offset: usize, value: u32) -> Option<()> {
        if offset + 4 > Self::STRIDE || !offset.is_multiple_of(4) {
            return None;
        }
        let p = self.element(index)?.cast::<u8>().wrapping_add(offset).cast();
        // SAFETY: inside of the mapping and aligned, by the checks above.
        unsafe { store_u32(p, value) };
        Some(())
    }

    /// Copies an element, word by word: each word whole, not all of one moment.
    pub(super) fn read(&self, index: u32) -> Option<T> {
        let from = self.element(index)?.cast::<u32>();
        let mut value = std::mem::MaybeUninit::<T>::uninit();
        let to = value.as_mut_ptr().cast::<u32>();
        if size_of::<T>().is_multiple_of(8) {
            for i in (0..size_of::<T>() / 4).step_by(2) {
                // SAFETY: `i` and `i + 1` are words of both, and `from` is aligned to eight bytes.
                unsafe { to.add(i).cast::<u64>().write_unaligned(load_u64(from.add(i).cast())) };
            }
        } else {
            for i in 0..size_of::<T>() / 4 {
                // SAFETY: `i` is a word of both.
                unsafe { to.add(i).write_unaligned(load_u32(from.add(i))) };
            }
        }
        // SAFETY: every byte was written, and any bytes are a `Shared`.
        Some(unsafe { value.assume_init() })
    }

    /// Writes an element, the first double word last: that is where every value says whether it is in
    /// use. Words that are the same already are not touched. `None` where there is no such element.
    pub(super) fn write(&self, index: u32, value: &T) -> Option<()> {
        let to = self.element(index)?.cast::<u32>();
        let from = (&raw const *value).cast::<u32>();
        if size_of::<T>().is_multiple_of(8) {
            for i in (0..size_of::<T>() / 4).step_by(2).rev() {
                // SAFETY: `i` and `i + 1` are words of both, and `to` is aligned to eight bytes.
                unsafe {
                    let word = from.add(i).cast::<u64>().read_unaligned();
                    let place = to.add(i).cast();
                    if load_u64(place) != word {
                        store_u64(place, word);
                    }
                }
            }
        } else {
            for i in (0..size_of::<T>() / 4).rev() {
                // SAFETY: `i` is a word of both.
                unsafe { store_u32(to.add(i), from.add(i).read_unaligned()) };
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_beside_it() {
        let map = Mapped::<u32>::anonymous(3);
        for i in 0..3 {
            map.write(i, &(i + 7)).unwrap();
        }
        assert_eq!((0..3).map(|i| map.read(i).unwrap()).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(map.load64(1, 0), Some(8), "an element takes eight bytes");
        assert!(map.write(3, &1).is_none());
        assert!(map.read(3).is_none());
        assert!(map.store64(0, 8, 1).is_none());
        assert!(map.store32(0, 2, 1).is_none());
    }

    #[test]
    fn a_struct_comes_back_whole() {
        let map = Mapped::<Destination>::anonymous(2);
        let value =
            Destination { weight: 3, port: [0, 80], order: u64::MAX, mtu: 1500, ..Default::default() };
        map.write(1, &value).unwrap();
        assert_eq!(map.read(1), Some(value));
        assert_eq!(map.read(0), Some(Destination::default()));
    }
}
