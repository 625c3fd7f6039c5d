//! Frames of the kernel: the bounds check, once.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_csum_diff;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use lb_common::frame::{Frame, MAX_SUMMED, MAX_WORDS, Raw};

use crate::tables::forget;

/// Nothing that is read or written lies further in than this: the largest frames that drivers take. Tells the verifier
/// the range.
const MAX_OFFSET: u32 = 9216;

/// The frame of a context. Its bounds are read once and again after every change of them; reading them for
/// each access would keep the compiler from seeing that one check covers another.
pub struct KernelFrame {
    ctx: *mut xdp_md,
    data: usize,
    end: usize,
}

impl KernelFrame {
    /// The frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Self {
        // SAFETY: the context is valid while the program runs.
        let (data, end) = unsafe { ((*ctx).data as usize, (*ctx).data_end as usize) };
        Self { ctx, data, end }
    }

    #[inline(always)]
    fn at<T>(&self, offset: u32) -> Option<*mut T> {
        if offset > MAX_OFFSET {
            return None;
        }
        // SAFETY: kernel addresses lie far from the end of the address space, and offset and size are small.
        // Told so, the compiler drops a check that an earlier one covers.
        let (start, end) = unsafe {
            let start = self.data.unchecked_add(offset as usize);
            (start, start.unchecked_add(size_of::<T>()))
        };
        if end > self.end {
            return None;
        }
        Some(start as *mut T)
    }
}

/// A sum over parts of a frame. The verifier forgets after each how far it is, and so looks at the next part once.
struct Sum<'a> {
    frame: &'a KernelFrame,
    at: u32,
    total: u64,
}

impl Sum<'_> {
    /// Adds `N` bytes, a multiple of 4 and at most 512: what the helper takes at a time.
    #[inline(always)]
    fn add<const N: u32>(&mut self) -> Option<()> {
        let p = self.frame.far::<N>(self.at)?;
        // SAFETY: inside the frame by the check.
        let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, p as *mut u32, N, 0) };
        if sum < 0 {
            return None;
        }
        self.total += sum as u64;
        self.at = forget(self.at + N);
        Some(())
    }

    /// The same where `length` has that bit.
    #[inline(always)]
    fn add_if<const N: u32>(&mut self, length: u32) -> Option<()> {
        if length & N != 0 { self.add::<N>() } else { Some(()) }
    }
}

impl KernelFrame {
    /// The address of `N` bytes at a place of which the verifier knows nothing.
    #[inline(always)]
    fn far<const N: u32>(&self, at: u32) -> Option<usize> {
        let p = self.data + (at & 0x3fff) as usize;
        let end = match N {
            512 => beyond::<512>(p),
            256 => beyond::<256>(p),
            128 => beyond::<128>(p),
            64 => beyond::<64>(p),
            32 => beyond::<32>(p),
            16 => beyond::<16>(p),
            8 => beyond::<8>(p),
            4 => beyond::<4>(p),
            _ => beyond::<2>(p),
        };
        (end <= self.end).then_some(p)
    }

    #[inline(always)]
    fn pair_far(&self, at: u32) -> Option<[u8; 2]> {
        let p = self.far::<2>(at)?;
        // SAFETY: inside the frame by the check.
        Some(unsafe { *(p as *const u16) }.to_ne_bytes())
    }
}

/// The place `N` bytes on. Opaque to the compiler, which would otherwise move a loop's step to the other side of the
/// comparison: arithmetic on the end of the frame, which the verifier refuses.
#[inline(always)]
fn beyond<const N: i32>(p: usize) -> usize {
    let mut next = p;
    // SAFETY: one addition.
    unsafe {
        core::arch::asm!("{next} += {n}", next = inout(reg) next, n = const N, options(nomem, nostack));
    }
    next
}

impl Frame for KernelFrame {
    #[inline(always)]
    fn get<T: Raw>(&self, offset: u32) -> Option<T> {
        let p = self.at::<T>(offset)?;
        // SAFETY: inside the frame by the check; BPF on x86 reads words at any address, and the plain
        // read keeps them whole where an unaligned one would be taken apart into bytes.
        Some(unsafe { *p })
    }

    #[inline(always)]
    fn pair(&self, offset: u32) -> Option<[u8; 2]> {
        if offset > MAX_OFFSET {
            return None;
        }
        let p = self.data + offset as usize;
        if beyond::<2>(p) > self.end {
            return None;
        }
        // SAFETY: inside the frame by the check.
        Some(unsafe { *(p as *const u16) }.to_ne_bytes())
    }

    #[inline(always)]
    fn put<T: Raw>(&mut self, offset: u32, value: T) -> Option<()> {
        let p = self.at::<T>(offset)?;
        // SAFETY: as above.
        unsafe { *p = value };
        Some(())
    }

    #[inline(always)]
    fn has(&self, n: u32) -> bool {
        // The mask tells the verifier the range; no frame is longer.
        let mut length = (n & 0x1_ffff) as usize;
        // Opaque to the compiler, which would otherwise drop the check of a header that a long enough packet
        // implies, and which the verifier wants to see.
        // SAFETY: a move of a register to itself.
        unsafe { core::arch::asm!("{0} = {0}", inout(reg) length, options(pure, nomem, nostack)) };
        self.data + length <= self.end
    }

    #[inline(always)]
    fn sum(&self, at: u32, words: u32) -> Option<u64> {
        if at > MAX_OFFSET {
            return None;
        }
        let mut p = self.data + at as usize;
        let mut total = 0_u64;
        let mut i = 0;
        while i < MAX_WORDS {
            if i >= words {
                return Some(total);
            }
            let next = beyond::<4>(p);
            if next > self.end {
                return None;
            }
            // SAFETY: inside the frame by the check.
            total += u64::from(unsafe { *(p as *const u32) });
            p = next;
            i += 1;
        }
        Some(total)
    }

    #[inline(always)]
    fn sum_bytes(&self, at: u32, length: u32) -> Option<u64> {
        if at > MAX_OFFSET || length > MAX_SUMMED {
            return None;
        }
        let mut sum = Sum { frame: self, at, total: 0 };
        let mut left = length;
        let mut i = 0;
        while i < MAX_SUMMED / 512 && left >= 512 {
            sum.add::<512>()?;
            left -= 512;
            i += 1;
        }
        sum.add_if::<256>(length)?;
        sum.add_if::<128>(length)?;
        sum.add_if::<64>(length)?;
        sum.add_if::<32>(length)?;
        sum.add_if::<16>(length)?;
        sum.add_if::<8>(length)?;
        sum.add_if::<4>(length)?;
        if length & 2 != 0 {
            sum.total += u64::from(u16::from_ne_bytes(self.pair_far(sum.at)?));
            sum.at = forget(sum.at + 2);
        }
        if length & 1 != 0 {
            // From the byte before it, for the verifier's sake: see `beyond`.
            let [_, last] = self.pair_far(sum.at - 1)?;
            sum.total += u64::from(u16::from_ne_bytes([last, 0]));
        }
        Some(sum.total)
    }

    #[inline(always)]
    fn grow_front(&mut self, n: u32) -> Option<()> {
        // SAFETY: the context is valid; every packet pointer is derived anew afterwards.
        let failed = unsafe { bpf_xdp_adjust_head(self.ctx, -(n as i32)) };
        *self = Self::new(self.ctx);
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn truncate(&mut self, length: u32) -> Option<()> {
        let (data, mut now) = (self.data, self.end);
        // Written out, because the compiler would turn the difference into arithmetic on the end of the
        // frame, which the verifier refuses. SAFETY: one subtraction.
        unsafe { core::arch::asm!("{now} -= {data}", now = inout(reg) now, data = in(reg) data) };
        if length as usize > now {
            return None;
        }
        // SAFETY: as above.
        let failed = unsafe { bpf_xdp_adjust_tail(self.ctx, length as i32 - now as i32) };
        *self = Self::new(self.ctx);
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn take(&mut self) -> Self {
        Self { ..*self }
    }
}
