//! UDP "states": one datagram seen, or more. Both are printed `UDP`.

/// One datagram: the entry is weak.
pub const ONE: u8 = 0;
/// More than one.
pub const MORE: u8 = 1;
