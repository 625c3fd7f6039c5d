//! Attachment of the XDP program to interfaces, by pinned links.

use std::fmt;
use std::path::Path;

use super::{AttachError, Dataplane};

/// How the program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// In the stack, because the driver refused: slower.
    Generic,
}

impl fmt::Display for AttachMode {
    /// `xdp native`, `xdp generic`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "xdp native",
            Self::Generic => "xdp generic",
        })
    }
}

/// An interface that has the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Name.
    pub name: String,
    /// Kernel index.
    pub ifindex: u32,
    /// How.
    pub mode: AttachMode,
    /// Kernel id of the program.
    pub program: u32,
    /// Whether the pinned link of an earlier lbd was taken over (the program replaced atomically).
    pub adopted: bool,
    /// Why the driver refused, where the mode is generic and the link is new.
    pub refusal: Option<String>,
}

impl Dataplane {
    /// Attaches the director to an interface of this network namespace, natively, or generically
    /// where the driver refuses; takes over the pinned link of an earlier lbd. Writes no map: the
    /// interface's element comes by [`crate::plan::MapOp::PutInterface`].
    ///
    /// # Errors
    /// [`AttachError`], with remedy.
    pub fn attach(&mut self, interface: &str) -> Result<Attached, AttachError> {
        let _ = interface;
        todo!()
    }

    /// Takes the director off an interface. Nothing happens where it is not attached.
    ///
    /// # Errors
    /// [`AttachError`] where the pin cannot be removed.
    pub fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        let _ = interface;
        todo!()
    }
}

/// The interfaces that have a pinned link in `links_dir`, by name.
///
/// # Errors
/// [`AttachError`] where the directory cannot be read; one that does not exist holds none.
pub fn attached_interfaces(links_dir: &Path) -> Result<Vec<String>, AttachError> {
    let _ = links_dir;
    todo!()
}

/// Takes the director off every interface (`lbadm detach`); the names.
///
/// # Errors
/// [`AttachError`] where a pin cannot be removed.
pub fn detach_all(links_dir: &Path) -> Result<Vec<String>, AttachError> {
    let _ = links_dir;
    todo!()
}
