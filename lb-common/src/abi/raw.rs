//! Words out of byte slices, for the host's frames.

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
