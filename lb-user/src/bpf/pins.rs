//! The bpffs: where maps and links are pinned, and what is there already.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use aya::maps::{MapInfo, MapType};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::LoadError;
use super::specs::Spec;

/// Sees to it that `dir` exists on a bpffs, mounting one at `bpffs` if need be; warnings in words.
pub(super) fn prepare(bpffs: &Path, dir: &Path) -> Result<Vec<String>, LoadError> {
    let mut warnings = Vec::new();
    if !is_bpffs(nearest(dir))? {
        if !dir.starts_with(bpffs) {
            return Err(LoadError::NotBpffs { path: dir.to_path_buf() });
        }
        warnings.extend(mount_bpffs(bpffs)?);
    }
    make_dir(dir)?;
    // A directory of another file system may lie between the mount point and ours.
    if !is_bpffs(dir)? {
        return Err(LoadError::NotBpffs { path: dir.to_path_buf() });
    }
    Ok(warnings)
}

/// Makes a directory that only root enters, and those above it.
pub(super) fn make_dir(dir: &Path) -> Result<(), LoadError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            return LoadError::Permission { doing: format!("make directory {}", dir.display()), source };
        }
        LoadError::Io { doing: "make directory", path: dir.to_path_buf(), source }
    })
}

/// The nearest part of a path that exists.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"))
}

fn is_bpffs(path: &Path) -> Result<bool, LoadError> {
    let about = statfs(path).map_err(|source| LoadError::Io {
        doing: "look at the file system of",
        path: path.to_path_buf(),
        source: source.into(),
    })?;
    Ok(about.filesystem_type() == BPF_FS_MAGIC)
}

/// Mounts a bpffs; a warning where the mount is private to this process and its children.
fn mount_bpffs(at: &Path) -> Result<Option<String>, LoadError> {
    make_dir(at)?;
    mount(Some("bpf"), at, Some("bpf"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=700")).map_err(
        |errno| {
            let source = io::Error::from(errno);
            if source.kind() == io::ErrorKind::PermissionDenied {
                return LoadError::Permission { doing: format!("mount a bpffs at {}", at.display()), source };
            }
            LoadError::Mount { path: at.to_path_buf(), source }
        },
    )?;
    // `ip netns exec` gives its command a /sys of its own: pins made there end with the last process of
    // that mount namespace, and the data path with them.
    let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
    let private = namespace("self") != namespace("1");
    Ok(private.then(|| {
        let at = at.display();
        format!(
            "the bpffs at {at} was mounted in a private mount namespace: the data path ends with the last process in it; mount a bpffs outside beforehand and name it with --bpffs"
        )
    }))
}

/// What is pinned in a directory of maps.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// Nothing.
    Nothing,
    /// Some maps of those that belong there.
    Some {
        /// The first that is not there.
        missing: &'static str,
    },
    /// All maps, with these numbers of elements, in the order of the specifications.
    All(Vec<u32>),
}

/// Looks at what is pinned and holds it to the specifications; the number of elements may differ where
/// a map can have any.
pub(super) fn inspect(dir: &Path, specs: &[Spec]) -> Result<Pinned, LoadError> {
    let mut elements = Vec::new();
    let mut missing = None;
    for spec in specs {
        let path = dir.join(spec.name);
        let there = path.try_exists().map_err(|error| refused("look at", &path, error))?;
        if !there {
            missing = missing.or(Some(spec.name));
            continue;
        }
        let info = MapInfo::from_pin(&path).map_err(|error| open_error(&path, error))?;
        compare(&path, spec, &info)?;
        elements.push(info.max_entries());
    }
    Ok(match missing {
        None => Pinned::All(elements),
        Some(_) if elements.is_empty() => Pinned::Nothing,
        Some(missing) => Pinned::Some { missing },
    })
}

/// Why a pin could not be opened.
fn open_error(path: &Path, error: aya::maps::MapError) -> LoadError {
    let source = match error {
        aya::maps::MapError::SyscallError(error) => error.io_error,
        error => io::Error::other(error),
    };
    refused("open", path, source)
}

/// Why something could not be done with a pinned map.
fn refused(doing: &'static str, path: &Path, source: io::Error) -> LoadError {
    if source.kind() == io::ErrorKind::PermissionDenied {
        return LoadError::Permission { doing: format!("{doing} pinned map {}", path.display()), source };
    }
    LoadError::Io { doing, path: path.to_path_buf(), source }
}

/// Holds a pinned map to its specification.
fn compare(path: &Path, spec: &Spec, info: &MapInfo) -> Result<(), LoadError> {
    let kind = info.map_type().unwrap_or(MapType::Unspecified);
    let text = |v: u32| v.to_string();
    let mut facts = vec![
        ("type", format!("{kind:?}"), format!("{:?}", spec.kind)),
        ("key size", text(info.key_size()), text(spec.key)),
        ("value size", text(info.value_size()), text(spec.value)),
        ("flags", format!("{:#x}", info.map_flags()), format!("{:#x}", spec.flags)),
    ];
    if !spec.sizeable {
        facts.push(("number of elements", text(info.max_entries()), text(spec.elements)));
    }
    match facts.into_iter().find(|(_, pinned, expected)| pinned != expected) {
        None => Ok(()),
        Some((what, pinned, expected)) => {
            Err(LoadError::MapDiffers { path: path.to_path_buf(), what, pinned, expected })
        }
    }
}

/// Removes the pins of a directory of maps, and the directory; nothing where it does not exist. The
/// programs that still run keep their maps.
///
/// # Errors
/// [`LoadError`] where a pin cannot be removed.
pub fn remove_maps(maps_dir: &Path) -> Result<(), LoadError> {
    let failed = |path: &Path, source| LoadError::Io { doing: "remove", path: path.to_path_buf(), source };
    let entries = match fs::read_dir(maps_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(maps_dir, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| failed(maps_dir, error))?.path();
        fs::remove_file(&path).map_err(|error| failed(&path, error))?;
    }
    fs::remove_dir(maps_dir).map_err(|error| failed(maps_dir, error))
}
