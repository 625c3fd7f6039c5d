//! What lbd tells others about itself.

pub mod sd;
