//! Frames of the kernel: the bounds check, once.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use lb_common::frame::{Frame, Raw};

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
    fn len(&self) -> u32 {
        let (data, end) = self.bounds();
        (end - data) as u32
    }

    #[inline(always)]
    fn grow_front(&mut self, n: u32) -> Option<()> {
        // SAFETY: the context is valid; every packet pointer is derived anew afterwards.
        let failed = unsafe { bpf_xdp_adjust_head(self.ctx, -(n as i32)) };
        (failed == 0).then_some(())
    }

    #[inline(always)]
    fn truncate(&mut self, length: u32) -> Option<()> {
        let now = self.len();
        if length > now {
            return None;
        }
        // SAFETY: as above.
        let failed = unsafe { bpf_xdp_adjust_tail(self.ctx, length as i32 - now as i32) };
        (failed == 0).then_some(())
    }
}
