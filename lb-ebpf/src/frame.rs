//! Frames of the kernel: the bounds check, once.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use lb_common::frame::{Frame, MAX_WORDS, Raw};

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

impl Frame for KernelFrame {
    #[inline(always)]
    fn get<T: Raw>(&self, offset: u32) -> Option<T> {
        let p = self.at::<T>(offset)?;
        // SAFETY: inside the frame by the check; BPF on x86 reads words at any address, and the plain
        // read keeps them whole where an unaligned one would be taken apart into bytes.
        Some(unsafe { *p })
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
            let mut next = p;
            // Opaque to the compiler, which would otherwise move the loop's step to the other side of the
            // comparison: arithmetic on the end of the frame, which the verifier refuses.
            // SAFETY: one addition.
            unsafe { core::arch::asm!("{next} += 4", next = inout(reg) next, options(nomem, nostack)) };
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
