//! What lblc and lblcr remember: which destinations serve an address.

use super::{NONE, load_u32, load_u64, store_u32, store_u64};

/// Destinations that lblcr remembers for one address, at most; the kernel's sets have no bound.
pub const LOCALITY_MEMBERS: u32 = 16;

/// Key of map `LOCALITY` (HASH): a destination address of packets of one service.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LocalityKey {
    /// Id of the service.
    pub service: u32,
    /// [`super::Service::scheduler_word`]: another one each time the service gets its scheduler, so that what was
    /// remembered for a service before it is not found.
    pub epoch: u32,
    /// Destination address of the packets, network order (IPv4: the first four bytes).
    pub address: [u8; 16],
}

/// Value of map `LOCALITY`. Writer: the XDP program, without locks: two CPUs that change one set at the same moment may
/// lose one of the changes. The daemon takes away what is old.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locality {
    /// Members in use: 1 of lblc.
    pub count: u32,
    /// When a connection was scheduled by it last, ticks.
    pub last_used: u32,
    /// When a member came or went, ticks.
    pub modified: u32,
    /// 0.
    pub _pad: u32,
    /// Destinations, the one added last at the end: id in the low 32 bits, the low 32 bits of
    /// [`super::Destination::order`] in the high ones, which tell an id that was given again.
    pub members: [u64; LOCALITY_MEMBERS as usize],
}

/// The place of a member: below [`LOCALITY_MEMBERS`] for the verifier too. Kernel 6.1's does not carry a comparison of the lower
/// half of a register over to another one that has the same number, which the compiler may use for the address.
#[cfg(target_arch = "bpf")]
#[inline(always)]
fn place(i: u32) -> usize {
    let mut place = u64::from(i);
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{0} &= 15", inout(reg) place, options(pure, nomem, nostack)) };
    place as usize
}

/// The place of a member: below [`LOCALITY_MEMBERS`].
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
const fn place(i: u32) -> usize {
    (i & (LOCALITY_MEMBERS - 1)) as usize
}

const _: () = assert!(LOCALITY_MEMBERS == 16);

/// An accessor of an element of map `LOCALITY`, which other CPUs use too.
#[derive(Clone, Copy)]
pub struct LocalityRef(*mut Locality);

impl LocalityRef {
    /// An accessor of the element at `p`.
    ///
    /// # Safety
    /// `p` is aligned and stays valid for reads and writes while the accessor lives. Others access the same memory
    /// only through accessors.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(p: *mut Locality) -> Self {
        Self(p)
    }

    /// Members in use, at most [`LOCALITY_MEMBERS`].
    #[inline(always)]
    #[must_use]
    pub fn count(self) -> u32 {
        // SAFETY: valid by `new`.
        let count = unsafe { load_u32(&raw const (*self.0).count) };
        if count > LOCALITY_MEMBERS { LOCALITY_MEMBERS } else { count }
    }

    /// Sets the number of members.
    #[inline(always)]
    pub fn set_count(self, count: u32) {
        // SAFETY: as above.
        unsafe { store_u32(&raw mut (*self.0).count, count) }
    }

    /// When it was used last, ticks.
    #[inline(always)]
    pub fn set_last_used(self, now: u32) {
        // SAFETY: as above.
        unsafe { store_u32(&raw mut (*self.0).last_used, now) }
    }

    /// When a member came or went, ticks.
    #[inline(always)]
    #[must_use]
    pub fn modified(self) -> u32 {
        // SAFETY: as above.
        unsafe { load_u32(&raw const (*self.0).modified) }
    }

    /// Sets when a member came or went.
    #[inline(always)]
    pub fn set_modified(self, now: u32) {
        // SAFETY: as above.
        unsafe { store_u32(&raw mut (*self.0).modified, now) }
    }

    /// A member; one of id [`NONE`] beyond the last that there can be.
    #[inline(always)]
    #[must_use]
    pub fn member(self, i: u32) -> u64 {
        if i >= LOCALITY_MEMBERS {
            return NONE as u64;
        }
        // SAFETY: as above, and below the number of members.
        unsafe { load_u64((&raw const (*self.0).members).cast::<u64>().add(place(i))) }
    }

    /// Sets a member; nothing beyond the last that there can be.
    #[inline(always)]
    pub fn set_member(self, i: u32, member: u64) {
        if i < LOCALITY_MEMBERS {
            // SAFETY: as above.
            unsafe { store_u64((&raw mut (*self.0).members).cast::<u64>().add(place(i)), member) }
        }
    }
}
