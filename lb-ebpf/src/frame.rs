//! Frames of the kernel: the bounds check, once.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use lb_common::frame::{Frame, MAX_WORDS, Raw};

/// No header that is read or written lies further in than this; tells the verifier the range.
const MAX_OFFSET: u32 = 512;

/// The frame of a context.
pub struct KernelFrame {
    ctx: *mut xdp_md,
}

impl KernelFrame {
    /// The frame of `ctx`.
    #[inline(always)]
    pub fn new(ctx: *mut xdp_md) -> Self {
        Self { ctx }
    }

    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the context is valid while the program runs.
        unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) }
    }

    #[inline(always)]
    fn at<T>(&self, offset: u32) -> Option<*mut T> {
        if offset > MAX_OFFSET {
            return None;
        }
        let (data, end) = self.bounds();
        let start = data + offset as usize;
        if start + size_of::<T>() > end {
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
        let (data, end) = self.bounds();
        // The mask tells the verifier the range; no frame is longer.
        data + (n & 0x1_ffff) as usize <= end
    }

    #[inline(always)]
    fn sum(&self, at: u32, words: u32) -> Option<u64> {
        if at > MAX_OFFSET {
            return None;
        }
        let (data, end) = self.bounds();
        let mut p = data + at as usize;
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
            if next > end {
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
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn truncate(&mut self, length: u32) -> Option<()> {
        let (data, end) = self.bounds();
        let mut now = end;
        // Written out, because the compiler would turn the difference into arithmetic on the end of the
        // frame, which the verifier refuses. SAFETY: one subtraction.
        unsafe { core::arch::asm!("{now} -= {data}", now = inout(reg) now, data = in(reg) data) };
        if length as usize > now {
            return None;
        }
        // SAFETY: as above.
        let failed = unsafe { bpf_xdp_adjust_tail(self.ctx, length as i32 - now as i32) };
        (failed == 0).then_some(())
    }
}
