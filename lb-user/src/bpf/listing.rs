//! Connection entries and templates as `lbadm -L -c` lists them.

use super::Maps;
use crate::api::ConnectionView;

/// A walk over every live connection and template, in chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listing {}

impl Listing {
    /// A listing from the beginning.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next connections, about `most` of them; empty only at the end.
    pub fn next_chunk(&mut self, maps: &Maps, now: u32, most: usize) -> Vec<ConnectionView> {
        let _ = (maps, now, most);
        todo!()
    }
}
