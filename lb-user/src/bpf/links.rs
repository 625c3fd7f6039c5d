//! Attachment of the XDP program to interfaces, by pinned links.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, XdpMode};
use nix::net::if_::if_nametoindex;

use super::object::ProgramName;
use super::{AttachError, Dataplane, sys};
use crate::instance::{interface_of_link, link_path};

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
        let name = interface.to_owned();
        let ifindex = if_nametoindex(interface)
            .map_err(|errno| AttachError::NoInterface { name: name.clone(), errno })?;
        let pin = link_path(&self.links_dir, interface);
        let program =
            self.object.program(ProgramName::Director).map_err(|source| replace_error(&pin, source))?;
        let adopted = adopt(program, ifindex, interface, &pin)?;
        let (mode, refusal) = match adopted {
            Some(mode) => (mode, None),
            None => create(program, ifindex, interface, &pin)?,
        };
        let id = program.info().map_err(|source| replace_error(&pin, source))?.id();
        Ok(Attached { name, ifindex, mode, program: id, adopted: adopted.is_some(), refusal })
    }

    /// Takes the director off an interface. Nothing happens where it is not attached.
    ///
    /// # Errors
    /// [`AttachError`] where the pin cannot be removed.
    pub fn detach(&mut self, interface: &str) -> Result<(), AttachError> {
        unpin(&link_path(&self.links_dir, interface))
    }
}

/// Puts the program on the link that an earlier lbd pinned, in one step for the packets. `None` where
/// there is none, or its interface is gone or another one: then the pin is gone too.
fn adopt(
    program: &mut Xdp,
    ifindex: u32,
    interface: &str,
    pin: &Path,
) -> Result<Option<AttachMode>, AttachError> {
    let failed = |doing, source| AttachError::Pin { doing, path: pin.to_path_buf(), source };
    let link = match sys::xdp_link(pin) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", error)),
    };
    if link.is_none_or(|link| link.ifindex != ifindex) {
        unpin(pin)?;
        return Ok(None);
    }
    // The same index in another network namespace is another interface. The kernel tells, and also which
    // mode the link has: a second, generic program is refused with EEXIST where a native one is, with EBUSY
    // where a generic one is (net/core/dev.c: dev_xdp_attach), and taken where there is none.
    let mode = match try_attach(program, ifindex, interface, XdpMode::Skb) {
        Ok(link) => {
            drop(link);
            unpin(pin)?;
            return Ok(None);
        }
        Err(Failure::Occupied(error)) if error.raw_os_error() == Some(libc::EEXIST) => AttachMode::Native,
        Err(Failure::Occupied(_)) => AttachMode::Generic,
        Err(failure) => return Err(failure.into_error(interface)),
    };
    let link = PinnedLink::from_pin(pin).map_err(|error| replace_error(pin, error))?;
    let link = XdpLink::try_from(FdLink::from(link)).map_err(|error| replace_error(pin, error))?;
    let id = program.attach_to_link(link).map_err(|error| replace_error(pin, error))?;
    // The pin holds the link; our descriptor would only keep it beyond a later removal of the pin.
    drop(program.take_link(id).map_err(|error| replace_error(pin, error))?);
    Ok(Some(mode))
}

/// Attaches anew and pins the link; how, and why not natively.
fn create(
    program: &mut Xdp,
    ifindex: u32,
    interface: &str,
    pin: &Path,
) -> Result<(AttachMode, Option<String>), AttachError> {
    let (link, mode, refusal) = match try_attach(program, ifindex, interface, XdpMode::Driver) {
        Ok(link) => (link, AttachMode::Native, None),
        Err(Failure::Refused(native)) => match try_attach(program, ifindex, interface, XdpMode::Skb) {
            Ok(link) => (link, AttachMode::Generic, Some(native)),
            Err(Failure::Refused(generic)) => {
                return Err(AttachError::Refused { name: interface.to_owned(), native, generic });
            }
            Err(failure) => return Err(failure.into_error(interface)),
        },
        Err(failure) => return Err(failure.into_error(interface)),
    };
    let path = pin.to_path_buf();
    if let Some(dir) = pin.parent() {
        let failed = |source| AttachError::Pin { doing: "make the directory of", path: path.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    link.pin(pin).map_err(|error| AttachError::Pin {
        doing: "pin",
        path,
        source: io::Error::other(error),
    })?;
    Ok((mode, refusal))
}

/// Why an attachment failed.
enum Failure {
    /// Another program is there.
    Occupied(io::Error),
    /// The kernel wants more rights.
    Permission(io::Error),
    /// The interface does not do this mode.
    Refused(String),
    /// It came off as a netlink attachment.
    Unpinnable,
}

impl Failure {
    fn into_error(self, interface: &str) -> AttachError {
        let name = interface.to_owned();
        match self {
            Self::Occupied(source) => AttachError::Occupied { name, source },
            Self::Permission(source) => AttachError::Permission { name, source },
            Self::Refused(why) => AttachError::Refused { name, native: why.clone(), generic: why },
            Self::Unpinnable => AttachError::Unpinnable { name },
        }
    }
}

/// Attaches in one mode, by a link that can be pinned.
fn try_attach(program: &mut Xdp, ifindex: u32, interface: &str, mode: XdpMode) -> Result<FdLink, Failure> {
    let id = program.attach_to_if_index(ifindex, mode).map_err(failure)?;
    let link = program.take_link(id).map_err(failure)?;
    if let Ok(link) = FdLink::try_from(link) {
        return Ok(link);
    }
    // aya 0.14 falls back to netlink by itself, and forgets such an attachment without taking it off:
    // attach once more, for an id to detach by.
    tracing::warn!(interface, "attached by netlink, which ends with lbd: taking it off again");
    let id: XdpLinkId = program.attach_to_if_index(ifindex, mode).map_err(failure)?;
    program.detach(id).map_err(failure)?;
    Err(Failure::Unpinnable)
}

fn failure(error: ProgramError) -> Failure {
    let error = match error {
        ProgramError::SyscallError(error) => error.io_error,
        error => return Failure::Refused(with_causes(&error)),
    };
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => Failure::Occupied(error),
        Some(libc::EPERM | libc::EACCES) => Failure::Permission(error),
        _ => Failure::Refused(error.to_string()),
    }
}

/// An error's text with those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn replace_error(pin: &Path, error: impl std::error::Error + Send + Sync + 'static) -> AttachError {
    AttachError::Replace { path: pin.to_path_buf(), source: Box::new(error) }
}

/// Removes a pin, and thereby takes the program off; nothing where there is none.
fn unpin(pin: &Path) -> Result<(), AttachError> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AttachError::Pin { doing: "remove", path: pin.to_path_buf(), source: error })
        }
        _ => Ok(()),
    }
}

/// The interfaces that have a pinned link in `links_dir`, by name.
///
/// # Errors
/// [`AttachError`] where the directory cannot be read; one that does not exist holds none.
pub fn attached_interfaces(links_dir: &Path) -> Result<Vec<String>, AttachError> {
    let failed = |source| AttachError::Pin { doing: "read", path: links_dir.to_path_buf(), source };
    let entries = match fs::read_dir(links_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let name = |entry: fs::DirEntry| interface_of_link(&entry.file_name().to_string_lossy());
    let mut names: Vec<String> =
        entries.map(|entry| entry.map(name)).collect::<Result<_, _>>().map_err(failed)?;
    names.sort();
    Ok(names)
}

/// Takes the director off every interface (`lbadm detach`); the names.
///
/// # Errors
/// [`AttachError`] where a pin cannot be removed.
pub fn detach_all(links_dir: &Path) -> Result<Vec<String>, AttachError> {
    let names = attached_interfaces(links_dir)?;
    for name in &names {
        unpin(&link_path(links_dir, name))?;
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_directory_holds_no_links() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(attached_interfaces(&dir.path().join("none")).unwrap(), Vec::<String>::new());
        assert_eq!(detach_all(&dir.path().join("none")).unwrap(), Vec::<String>::new());
    }
}
