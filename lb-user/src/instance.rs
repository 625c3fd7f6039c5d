//! Which director of this machine is meant, and where its state lies (decision 12).
//!
//! Several directors run side by side, each in a network namespace of its own: everything that one
//! of them leaves on the machine lies below a directory of its name. Both binaries take the same
//! three options in front of anything else, or the same three variables.

use std::path::{Path, PathBuf};

use clap::Args;

/// Longest name of an instance, bytes: the path of the socket must fit the 108 bytes of `sun_path`.
pub const NAME_MAX: usize = 32;

/// The options that choose an instance, shared by lbd and lbadm.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InstanceArgs {
    /// Which director of this machine
    #[arg(long, value_name = "NAME", env = "LB_INSTANCE", default_value = "default", global = true)]
    pub instance: String,
    /// Directory of the sockets and of what lbd remembers, one directory below it per instance
    #[arg(long, value_name = "DIR", env = "LB_RUN_DIR", default_value = "/run/lb", global = true)]
    pub run_dir: PathBuf,
    /// Where the bpffs is mounted in which maps and links are pinned
    #[arg(long, value_name = "DIR", env = "LB_BPFFS", default_value = "/sys/fs/bpf", global = true)]
    pub bpffs: PathBuf,
}

impl InstanceArgs {
    /// The instance they name.
    ///
    /// # Errors
    /// [`NameError`] where the name cannot be a file name of a bpffs.
    pub fn instance(self) -> Result<Instance, NameError> {
        Instance::new(self.instance, self.run_dir, self.bpffs)
    }
}

/// An instance of the director on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    name: String,
    run_dir: PathBuf,
    bpffs: PathBuf,
}

/// A name that no instance can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid instance name `{name}`: {why}")]
pub struct NameError {
    /// The name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Instance {
    /// An instance by its name, the directory of sockets and the mount point of the bpffs.
    ///
    /// # Errors
    /// [`NameError`]: a name is 1 to [`NAME_MAX`] letters, digits, `-` and `_`, not beginning with
    /// `-`. A bpffs refuses names with a dot (kernel/bpf/inode.c: `bpf_lookup`).
    pub fn new(
        name: impl Into<String>,
        run_dir: impl Into<PathBuf>,
        bpffs: impl Into<PathBuf>,
    ) -> Result<Self, NameError> {
        let name = name.into();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > NAME_MAX {
            "it is longer than 32 bytes"
        } else if name.starts_with('-') {
            "it begins with `-`"
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            "only letters, digits, `-` and `_` may be in it"
        } else {
            return Ok(Self { name, run_dir: run_dir.into(), bpffs: bpffs.into() });
        };
        Err(NameError { name, why })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of its socket and of what lbd remembers: `/run/lb/<instance>`.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.run_dir.join(&self.name)
    }

    /// Its control socket: `/run/lb/<instance>/socket`.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.state_dir().join("socket")
    }

    /// The mount point of the bpffs.
    #[must_use]
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// Everything it has pinned: `<bpffs>/lb/<instance>`.
    #[must_use]
    pub fn pin_dir(&self) -> PathBuf {
        self.bpffs.join("lb").join(&self.name)
    }

    /// Its pinned maps: `<bpffs>/lb/<instance>/v<ABI>`.
    #[must_use]
    pub fn maps_dir(&self, abi_version: u32) -> PathBuf {
        self.pin_dir().join(format!("v{abi_version}"))
    }

    /// Its pinned links: `<bpffs>/lb/<instance>/links`.
    #[must_use]
    pub fn links_dir(&self) -> PathBuf {
        self.pin_dir().join("links")
    }
}

/// The pin of an interface's link in a directory of links ([`Instance::links_dir`]). A dot (`eth0.100`), which a
/// bpffs refuses (kernel/bpf/inode.c: `bpf_lookup`), is written `%2e`, and `%` itself `%25`; [`interface_of_link`]
/// reads it back.
#[must_use]
pub fn link_path(links_dir: &Path, interface: &str) -> PathBuf {
    links_dir.join(interface.replace('%', "%25").replace('.', "%2e"))
}

/// The interface whose link a file of a directory of links is.
#[must_use]
pub fn interface_of_link(file_name: &str) -> String {
    file_name.replace("%2e", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> Instance {
        Instance::new("edge-1", "/run/lb", "/sys/fs/bpf").unwrap()
    }

    #[test]
    fn everything_lies_below_the_name() {
        let i = edge();
        assert_eq!(i.socket_path(), Path::new("/run/lb/edge-1/socket"));
        assert_eq!(i.maps_dir(3), Path::new("/sys/fs/bpf/lb/edge-1/v3"));
        assert_eq!(i.links_dir(), Path::new("/sys/fs/bpf/lb/edge-1/links"));
    }

    #[test]
    fn a_link_of_any_interface_is_a_name_a_bpffs_takes() {
        for name in ["eth0", "eth0.100", "odd%2e.x", "a%25"] {
            let path = link_path(&edge().links_dir(), name);
            let file = path.file_name().unwrap().to_str().unwrap();
            assert!(!file.contains('.'), "{file}");
            assert_eq!(interface_of_link(file), name);
        }
    }

    #[test]
    fn names_that_no_file_can_have_are_refused() {
        for (name, why) in [
            ("", "it is empty"),
            ("-x", "it begins with `-`"),
            ("a.b", "only letters, digits, `-` and `_` may be in it"),
            ("../up", "only letters, digits, `-` and `_` may be in it"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "it is longer than 32 bytes"),
        ] {
            let err = Instance::new(name, "/run/lb", "/sys/fs/bpf").unwrap_err();
            assert_eq!(err.why, why, "{name}");
        }
    }
}
