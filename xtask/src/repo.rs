//! Where things lie in the repository. Every path xtask uses starts here.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::ebpf_build;

/// The repository xtask was built from.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    root: PathBuf,
}

impl Repo {
    /// The repository around the running xtask. `cargo run` names xtask's own directory at run time, which stays right
    /// when the tree was moved since the build.
    pub(crate) fn find() -> Self {
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        Self { root: here.parent().map_or_else(|| here.clone(), Path::to_path_buf) }
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where everything that is made goes. Always below the root, whatever the user's cargo configuration says, so that
    /// the paths in the documentation hold.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The target directory of the eBPF object, the same as `lb-user/build.rs` uses.
    pub(crate) fn ebpf_target(&self) -> PathBuf {
        self.target().join("ebpf")
    }

    /// Tools the set-up installed for this repository alone.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(ebpf_build::TOOLS)
    }

    /// The kernel and the initramfs of `cargo xtask vm`.
    pub(crate) fn vm(&self) -> PathBuf {
        self.target().join("vm")
    }

    /// Full output of the commands that ran; only an excerpt is shown.
    pub(crate) fn logs(&self) -> PathBuf {
        self.target().join("xtask-logs")
    }

    /// A binary of the release build.
    pub(crate) fn release(&self, name: &str) -> PathBuf {
        self.target().join("release").join(name)
    }
}
