//! Why lbd ends.

use std::io;
use std::path::PathBuf;

use crate::bpf::{AttachError, LoadError, MapError};
use crate::config::Diagnostics;
use crate::instance::NameError;
use crate::netlink::NetlinkError;
use crate::server::ListenError;

/// lbd cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The instance's name cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No interface is named.
    #[error(
        "no interface is named\nhint: lbd --interface eth0, or interfaces = [\"eth0\"] below [director] in the configuration"
    )]
    NoInterface,
    /// `--check` without a file.
    #[error("--check needs a configuration\nhint: lbd --check --config FILE")]
    NothingToCheck,
    /// The configuration cannot be read.
    #[error("cannot read the configuration {path}")]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Diagnostics),
    /// The configuration wants what this version does not do.
    #[error("the configuration {path} cannot be applied:\n{list}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What, one a line.
        list: String,
    },
    /// Another lbd runs.
    #[error(
        "lbd of instance {instance} runs already (it holds {path})\nhint: stop it, or give this one another --instance and a network namespace of its own"
    )]
    Running {
        /// Instance name.
        instance: String,
        /// The lock.
        path: PathBuf,
    },
    /// What is to be detached is in use.
    #[error(
        "lbd of instance {instance} is running and holds the data path\nhint: stop it first (SIGTERM); it leaves the data path to lbadm detach"
    )]
    Attached {
        /// Instance name.
        instance: String,
    },
    /// There is nothing to detach.
    #[error(
        "instance {instance} has nothing at {path}\nhint: name the instance with --instance, the bpffs with --bpffs"
    )]
    NothingPinned {
        /// Instance name.
        instance: String,
        /// Where its pins would be.
        path: PathBuf,
    },
    /// The directory of the instance cannot be used.
    #[error("cannot {what} {path}")]
    StateDir {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The data path cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A map cannot be used.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The data path cannot be attached.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The kernel's routing tables cannot be used.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// Nobody can be served.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// tokio cannot start.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

impl Error {
    /// Exit code: 2 for wrong usage and an lbd without data path, 1 for everything else.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Name(_) | Self::NoInterface | Self::NothingToCheck => 2,
            Self::Load(LoadError::NoDataPath) => 2,
            _ => 1,
        }
    }

    /// Whether a file is refused to this user.
    fn wants_root(&self) -> bool {
        match self {
            Self::StateDir { source, .. } | Self::ReadConfig { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }

    /// The whole text, causes included.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // A cause that is told already adds nothing.
            if !text.contains(&cause_text) {
                // Before the hint, if there is one.
                match text.find("\nhint: ") {
                    Some(at) => text.insert_str(at, &format!(": {cause_text}")),
                    None => text.push_str(&format!(": {cause_text}")),
                }
            }
            source = cause.source();
        }
        if self.wants_root() {
            text.push_str("\nhint: run it as root");
        }
        text
    }
}
