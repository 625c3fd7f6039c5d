//! What can fail towards the kernel's routing tables.

use std::io;

/// A request to the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel refused.
    #[error("the kernel refused to {doing}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The answer did not come, or could not be read.
    #[error("no usable answer of the kernel when asked to {doing}: {why}")]
    NoAnswer {
        /// What was asked.
        doing: &'static str,
        /// What came instead.
        why: String,
    },
}

impl NetlinkError {
    /// The kernel's error number, where it gave one.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            Self::Socket(_) | Self::NoAnswer { .. } => None,
        }
    }
}

/// An error of rtnetlink.
pub(super) fn failed(doing: &'static str, error: rtnetlink::Error) -> NetlinkError {
    match error {
        rtnetlink::Error::NetlinkError(message) => NetlinkError::Refused { doing, source: message.to_io() },
        error => NetlinkError::NoAnswer { doing, why: error.to_string() },
    }
}
