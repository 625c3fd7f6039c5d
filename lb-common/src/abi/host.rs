//! Elements of a map in ordinary memory, for tests: the same accessors work on them as on the kernel's.

use core::cell::UnsafeCell;

use super::connection::{Bucket4, Bucket6};
use super::entry::{Entry4, Entry6};
use super::locality::{Locality, LocalityRef};
use super::service::Destination;
use super::state::{Counts, IcmpBucket, Interface, Schedule, Settings};

/// A layout that is plain data: every byte is a field's, any bytes are a value, and the size is a
/// multiple of 8.
pub trait Plain: sealed::Sealed + Copy + Default {
    /// Its bytes as native double words, as the map holds them.
    #[must_use]
    fn to_words(&self) -> Vec<u64> {
        let from = (&raw const *self).cast::<u64>();
        // SAFETY: a Plain has so many double words, all initialised.
        (0..size_of::<Self>() / 8).map(|i| unsafe { from.add(i).read_unaligned() }).collect()
    }

    /// The inverse of [`Plain::to_words`]; `None` where there are more words or fewer.
    #[must_use]
    fn from_words(words: &[u64]) -> Option<Self> {
        if words.len() * 8 != size_of::<Self>() {
            return None;
        }
        // SAFETY: as many bytes as the value has, and any bytes are one.
        Some(unsafe { words.as_ptr().cast::<Self>().read_unaligned() })
    }
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! plain {
    ($($t:ty),* $(,)?) => { $(
        const _: () = assert!(size_of::<$t>() % 8 == 0);
        impl sealed::Sealed for $t {}
        impl Plain for $t {}
    )* };
}
plain! { Bucket4, Bucket6, Counts, Destination, IcmpBucket, Interface, Locality, Schedule, Settings }

/// Elements that several threads use at once through accessors, as CPUs do in the kernel.
///
/// An accessor must not be used after its memory is gone; tests keep both in one place.
pub struct Memory<T> {
    elements: Box<[UnsafeCell<T>]>,
}

// SAFETY: everyone reads and writes the elements by volatile or atomic accesses of whole words.
unsafe impl<T: Plain + Send> Sync for Memory<T> {}

impl<T: Plain> Memory<T> {
    /// So many elements of zeroes.
    #[must_use]
    pub fn new(elements: u32) -> Self {
        Self { elements: (0..elements).map(|_| UnsafeCell::new(T::default())).collect() }
    }

    /// Elements.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.elements.len() as u32
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    fn pointer(&self, index: u32) -> Option<*mut T> {
        self.elements.get(index as usize).map(UnsafeCell::get)
    }

    /// A copy of an element.
    #[must_use]
    pub fn read(&self, index: u32) -> Option<T> {
        // SAFETY: an element, aligned; others write whole words of it.
        self.pointer(index).map(|p| unsafe { p.read_volatile() })
    }

    /// Writes an element; `None` where there is none.
    pub fn write(&self, index: u32, value: T) -> Option<()> {
        // SAFETY: as above.
        self.pointer(index).map(|p| unsafe { p.write_volatile(value) })
    }

    /// Copies of all.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        (0..self.len()).filter_map(|i| self.read(i)).collect()
    }
}

impl<T: Plain> Clone for Memory<T> {
    fn clone(&self) -> Self {
        Self { elements: self.all().into_iter().map(UnsafeCell::new).collect() }
    }
}

impl<T: Plain> core::fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} elements", self.len())
    }
}

impl Memory<Bucket4> {
    /// Way 0 of a bucket.
    #[must_use]
    pub fn entry(&self, index: u32) -> Option<Entry4> {
        // SAFETY: way 0 of a bucket of this memory, in use as the type's documentation says.
        self.pointer(index).map(|p| unsafe { Entry4::new(p.cast()) })
    }
}

impl Memory<Bucket6> {
    /// Way 0 of a bucket.
    #[must_use]
    pub fn entry(&self, index: u32) -> Option<Entry6> {
        // SAFETY: as for IPv4.
        self.pointer(index).map(|p| unsafe { Entry6::new(p.cast()) })
    }
}

impl Memory<Locality> {
    /// What is remembered in an element.
    #[must_use]
    pub fn locality(&self, index: u32) -> Option<LocalityRef> {
        // SAFETY: an element of this memory, in use as the type's documentation says.
        self.pointer(index).map(|p| unsafe { LocalityRef::new(p) })
    }
}
