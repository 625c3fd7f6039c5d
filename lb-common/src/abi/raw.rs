//! Words out of byte slices, for the host's frames; and by way of memory, for the verifier.

use crate::frame::Raw;

/// Reads a native word; `None` where the slice is of another size.
#[must_use]
pub fn read_raw<T: Raw>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the slice has exactly the bytes of T, and every `Raw` is an integer: any bytes are a value.
    Some(unsafe { core::ptr::read_unaligned(bytes.as_ptr().cast::<T>()) })
}

/// Writes a native word; `None` where the slice is of another size.
#[must_use]
pub fn write_raw<T: Raw>(bytes: &mut [u8], value: T) -> Option<()> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: as above.
    unsafe { core::ptr::write_unaligned(bytes.as_mut_ptr().cast::<T>(), value) };
    Some(())
}

/// Returns `value` by way of memory: neither compiler nor verifier know of it what they knew before.
#[inline(always)]
#[must_use]
pub fn through(cell: &mut u64, value: u64) -> u64 {
    let p = &raw mut *cell;
    // SAFETY: a reference is valid for both.
    unsafe {
        core::ptr::write_volatile(p, value);
        core::ptr::read_volatile(p)
    }
}

/// Returns `value`, of which the compiler knows nothing any more: it makes no branch of the arithmetic around it.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn opaque(mut value: u64) -> u64 {
    // SAFETY: one move. Without an instruction of its own, its line would be refused by the kernel as another's.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// Returns `value`.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub const fn opaque(value: u64) -> u64 {
    value
}

/// Ways of a bucket ([`super::WAYS`]), as a number the compiler does not know: a loop over them stays a loop, which
/// takes a fraction of the BPF stack that its unrolled form takes.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn ways() -> u32 {
    let n: u64;
    // SAFETY: one move.
    unsafe { core::arch::asm!("{n} = 4", n = out(reg) n, options(pure, nomem, nostack)) };
    n as u32
}

/// Ways of a bucket ([`super::WAYS`]).
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub fn ways() -> u32 {
    super::WAYS
}
