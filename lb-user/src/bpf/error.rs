//! What can fail between the daemon and the data path.

use std::io;
use std::path::PathBuf;

/// The data path could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// This binary carries no eBPF object (decision 15); lbd exits with code 2.
    #[error("built without data path: run cargo xtask setup")]
    NoDataPath,
    /// The kernel wants more rights.
    #[error(
        "not permitted to {doing}: run as root, or with the capabilities CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_RESOURCE"
    )]
    Permission {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A file or directory.
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
    /// The bpffs is not there and could not be mounted.
    #[error(
        "cannot mount a bpffs at {path}: mount one by `mount -t bpf bpf {path}`, or name another place with --bpffs",
        path = path.display()
    )]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory of maps or links lies outside of any bpffs.
    #[error("{} is not on a bpffs: name one that is mounted with --bpffs", path.display())]
    NotBpffs {
        /// The directory.
        path: PathBuf,
    },
    /// A pinned map is not what this version makes.
    #[error(
        "pinned map {path} has {what} {pinned}, but this version of lbd needs {expected}: take the old data path away by `lbadm detach` and start lbd again",
        path = path.display()
    )]
    MapDiffers {
        /// Its pin.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// As pinned.
        pinned: String,
        /// As needed.
        expected: String,
    },
    /// Some maps of a data path are pinned, but not this one.
    #[error(
        "the data path in {dir} lacks map {map}: take it away by `lbadm detach` and start lbd again",
        dir = dir.display()
    )]
    MapMissing {
        /// Directory of the maps.
        dir: PathBuf,
        /// The map.
        map: &'static str,
    },
    /// No data path is pinned there.
    #[error("no data path is pinned in {}: lbd has not been started, or it was detached", path.display())]
    NotPinned {
        /// Directory of the maps.
        path: PathBuf,
    },
    /// The object lacks a map or a program.
    #[error("the embedded object has no {what} `{name}`: rebuild lbd by `cargo xtask build`")]
    Incomplete {
        /// Map or program.
        what: &'static str,
        /// Its name.
        name: &'static str,
    },
    /// A map could not be made.
    #[error(
        "cannot make map {map} of {elements} elements of {bytes} bytes (a smaller size is set in the configuration)"
    )]
    CreateMap {
        /// Its name.
        map: String,
        /// Elements.
        elements: u32,
        /// Bytes of one.
        bytes: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The object could not be loaded.
    #[error("cannot load the embedded object")]
    Object(#[source] Box<aya::EbpfError>),
    /// The verifier refused a program.
    #[error("the kernel's verifier refused program `{program}`:\n{log}")]
    Verifier {
        /// Its name.
        program: &'static str,
        /// The last lines of what the verifier said.
        log: String,
        /// The error number.
        #[source]
        source: io::Error,
    },
    /// A program could not be loaded or run.
    #[error("cannot {doing} program `{program}`")]
    Program {
        /// What was being done.
        doing: &'static str,
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The tick could not be measured.
    #[error("cannot measure the kernel's tick: {0}")]
    Clock(&'static str),
    /// A map could not be opened or written.
    #[error(transparent)]
    Map(#[from] MapError),
}

/// The program could not be attached to an interface, or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// No interface has that name.
    #[error("no interface is named `{name}` in this network namespace: `ip link` lists those there are")]
    NoInterface {
        /// The name.
        name: String,
        /// The kernel's answer, which says nothing more (ENODEV).
        errno: nix::Error,
    },
    /// Another program is there.
    #[error(
        "another XDP program is attached to `{name}` or to a device above it: `ip -details link show dev {name}` shows it; stop what holds it, or take it off by `ip link set dev {name} xdp off`"
    )]
    Occupied {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel attached without a link that can be pinned.
    #[error(
        "`{name}` takes the program only by netlink, which would not outlive lbd: the kernel must be 6.1 or newer"
    )]
    Unpinnable {
        /// The interface.
        name: String,
    },
    /// Neither native nor generic mode.
    #[error("cannot attach to `{name}`: natively: {native}; generically: {generic}")]
    Refused {
        /// The interface.
        name: String,
        /// Why not natively.
        native: String,
        /// Why not generically.
        generic: String,
    },
    /// The kernel wants more rights.
    #[error("not permitted to attach to `{name}`: run as root, or with CAP_NET_ADMIN and CAP_BPF")]
    Permission {
        /// The interface.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The program of a pinned link could not be replaced.
    #[error("cannot put the program on the pinned link {}", path.display())]
    Replace {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A pin could not be made, read or removed.
    #[error("cannot {doing} {}", path.display())]
    Pin {
        /// What was being done.
        doing: &'static str,
        /// The pin, or its directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// An operation names an element that the map does not have.
    #[error("map {map} has no element {index}: it has {size} (a larger size is set in the configuration)")]
    OutOfBounds {
        /// Map.
        map: &'static str,
        /// Element.
        index: u32,
        /// Elements.
        size: u32,
    },
    /// A HASH map takes no further element.
    #[error("map {map} is full (a larger size is set in the configuration)")]
    Full {
        /// Map.
        map: &'static str,
    },
    /// The map cannot be opened or mapped into memory.
    #[error("cannot open map {map}")]
    Open {
        /// Map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A system call on the map failed.
    #[error("cannot {doing} map {map}")]
    Access {
        /// What was being done.
        doing: &'static str,
        /// Map.
        map: &'static str,
        /// Why not.
        #[source]
        source: Box<aya::maps::MapError>,
    },
    /// A value that no version of this program writes.
    #[error("map {map} holds {what}, which no version of lbd writes")]
    Strange {
        /// Map.
        map: &'static str,
        /// The value.
        what: String,
    },
}
