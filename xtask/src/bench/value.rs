//! Values of maps, by the offsets of their layouts in `lb_common::abi`.

use anyhow::{Context, Result, bail};
use aya::{
    Ebpf,
    maps::{Array, MapData},
};

/// The bytes of one map value; what is not set is 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Value<N> {
    /// All zeroes.
    pub(super) fn new() -> Self {
        Self([0; N])
    }

    /// The same with `bytes` at `offset`, which the layout has: `offset_of!` of a field.
    pub(super) fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        if let Some(place) = self.0.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        self
    }

    /// The same with a word.
    pub(super) fn u32(self, offset: usize, n: u32) -> Self {
        self.with(offset, &n.to_ne_bytes())
    }

    /// The same with a double word.
    pub(super) fn u64(self, offset: usize, n: u64) -> Self {
        self.with(offset, &n.to_ne_bytes())
    }
}

/// An ARRAY of values of `N` bytes.
pub(super) type Bytes<const N: usize> = Array<MapData, [u8; N]>;

/// Takes an array out of the loaded object.
///
/// # Errors
/// When the object has none of that name and size.
pub(super) fn array<const N: usize>(ebpf: &mut Ebpf, name: &str) -> Result<Bytes<N>> {
    let Some(map) = ebpf.take_map(name) else { bail!("the eBPF object has no map {name}") };
    Array::try_from(map).with_context(|| format!("map {name} is not an array of {N} bytes"))
}
