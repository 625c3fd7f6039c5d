//! What can fail between the daemon and the data path.

use std::io;
use std::path::PathBuf;

/// The data path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This binary carries no eBPF object (decision 15); lbd exits with code 2.
    #[error("built without data path: run cargo xtask setup")]
    NoDataPath,
    /// Input or output outside of the maps.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The program could not be attached to an interface, or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No interface has that name.
    #[error("no interface is named `{0}`")]
    NoInterface(String),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// An operation names an element that the map does not have.
    #[error("map {map} has no element {index}: its size is {size}")]
    OutOfBounds {
        /// Map.
        map: &'static str,
        /// Element.
        index: u32,
        /// Elements.
        size: u32,
    },
}
