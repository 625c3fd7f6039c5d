//! Loads, stores and atomic operations on memory that other CPUs and the daemon write too.
//!
//! The BPF target has no atomic types (`atomic-cas: false`), so its compare-and-swap and fetch-and-add
//! are single instructions written out; the host uses `core::sync::atomic`. Ordering relies on x86:
//! plain loads are acquire and plain stores are release there, volatile keeps the compiler from moving
//! them against each other, and BPF's atomics are full barriers. Other targets are refused below.

#[cfg(not(any(target_arch = "bpf", target_arch = "x86_64")))]
compile_error!(
    "the connection table's protocol relies on x86 memory ordering: a port to this target must make every publish and check a full-barrier atomic first"
);

/// Reads a word that others write.
///
/// # Safety
/// `p` is valid for reads and aligned.
#[inline(always)]
#[must_use]
pub unsafe fn load_u32(p: *const u32) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::read_volatile(p) }
}

/// Reads a double word that others write.
///
/// # Safety
/// `p` is valid for reads and aligned.
#[inline(always)]
#[must_use]
pub unsafe fn load_u64(p: *const u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::read_volatile(p) }
}

/// Writes a word that others read.
///
/// # Safety
/// `p` is valid for writes and aligned.
#[inline(always)]
pub unsafe fn store_u32(p: *mut u32, v: u32) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_volatile(p, v) }
}

/// Writes a double word that others read.
///
/// # Safety
/// `p` is valid for writes and aligned.
#[inline(always)]
pub unsafe fn store_u64(p: *mut u64, v: u64) {
    // SAFETY: the caller's promise.
    unsafe { core::ptr::write_volatile(p, v) }
}

/// Compare-and-swap; returns whether `old` was there and `new` is there now.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn cas_u32(p: *mut u32, old: u32, new: u32) -> bool {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: the caller's promise; everyone else uses atomic or volatile accesses of this width.
    let a = unsafe { AtomicU32::from_ptr(p) };
    a.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

/// Compare-and-swap; returns whether `old` was there and `new` is there now.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn cas_u64(p: *mut u64, old: u64, new: u64) -> bool {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: as above.
    let a = unsafe { AtomicU64::from_ptr(p) };
    a.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst).is_ok()
}

/// Sets bits.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn or_u32(p: *mut u32, bits: u32) {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: the caller's promise.
    unsafe { AtomicU32::from_ptr(p) }.fetch_or(bits, Ordering::SeqCst);
}

/// Keeps these bits alone.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn and_u32(p: *mut u32, bits: u32) {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: the caller's promise.
    unsafe { AtomicU32::from_ptr(p) }.fetch_and(bits, Ordering::SeqCst);
}

/// Adds (wrapping) and returns the value before.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn add_u32(p: *mut u32, v: u32) -> u32 {
    use core::sync::atomic::{AtomicU32, Ordering};
    // SAFETY: as above.
    unsafe { AtomicU32::from_ptr(p) }.fetch_add(v, Ordering::SeqCst)
}

/// Adds (wrapping) and returns the value before.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub unsafe fn add_u64(p: *mut u64, v: u64) -> u64 {
    use core::sync::atomic::{AtomicU64, Ordering};
    // SAFETY: as above.
    unsafe { AtomicU64::from_ptr(p) }.fetch_add(v, Ordering::SeqCst)
}

/// Compare-and-swap; returns whether `old` was there and `new` is there now.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn cas_u32(p: *mut u32, old: u32, new: u32) -> bool {
    let found: u32;
    // SAFETY: one BPF_CMPXCHG instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "w0 = cmpxchg32_32({p} + 0, w0, {n})",
            p = in(reg) p,
            n = in(wreg) new,
            inout("w0") old => found,
            options(nostack),
        );
    }
    found == old
}

/// Compare-and-swap; returns whether `old` was there and `new` is there now.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn cas_u64(p: *mut u64, old: u64, new: u64) -> bool {
    let found: u64;
    // SAFETY: one BPF_CMPXCHG instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "r0 = cmpxchg_64({p} + 0, r0, {n})",
            p = in(reg) p,
            n = in(reg) new,
            inout("r0") old => found,
            options(nostack),
        );
    }
    found == old
}

/// Adds (wrapping) and returns the value before.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn add_u32(p: *mut u32, v: u32) -> u32 {
    let before: u32;
    // SAFETY: one atomic instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "{v} = atomic_fetch_add((u32 *)({p} + 0), {v})",
            p = in(reg) p,
            v = inout(wreg) v => before,
            options(nostack),
        );
    }
    before
}

/// Adds (wrapping) and returns the value before.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn add_u64(p: *mut u64, v: u64) -> u64 {
    let before: u64;
    // SAFETY: one atomic instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "{v} = atomic_fetch_add((u64 *)({p} + 0), {v})",
            p = in(reg) p,
            v = inout(reg) v => before,
            options(nostack),
        );
    }
    before
}

/// Sets bits.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn or_u32(p: *mut u32, bits: u32) {
    // SAFETY: one atomic instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "{v} = atomic_fetch_or((u32 *)({p} + 0), {v})",
            p = in(reg) p,
            v = inout(wreg) bits => _,
            options(nostack),
        );
    }
}

/// Keeps these bits alone.
///
/// # Safety
/// `p` is valid for reads and writes and aligned.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub unsafe fn and_u32(p: *mut u32, bits: u32) {
    // SAFETY: one atomic instruction on memory the caller vouches for.
    unsafe {
        core::arch::asm!(
            "{v} = atomic_fetch_and((u32 *)({p} + 0), {v})",
            p = in(reg) p,
            v = inout(wreg) bits => _,
            options(nostack),
        );
    }
}
