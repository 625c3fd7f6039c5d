//! Taking the data path away: a pinned object lives as long as its name in the bpffs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::ControlError;
use crate::instance::Instance;

/// Removes the links, then everything else that the instance has pinned; the interfaces.
pub(super) fn detach(instance: &Instance) -> Result<Vec<String>, ControlError> {
    let root = instance.pin_dir();
    if !root.exists() {
        return Err(ControlError {
            message: format!("instance {} has nothing at {}", instance.name(), root.display()),
            hint: Some("name the instance with --instance, the bpffs with --bpffs".to_owned()),
        });
    }
    let mut interfaces: Vec<String> = entries(&instance.links_dir())?
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| Instance::interface_of_link(&name.to_string_lossy()))
        .collect();
    interfaces.sort();
    remove(&instance.links_dir())?;
    remove(&root)?;
    Ok(interfaces)
}

/// What is in a directory; nothing where there is none.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ControlError> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("read", directory, &error)),
    };
    listed.map(|entry| entry.map(|e| e.path()).map_err(|error| failed("read", directory, &error))).collect()
}

/// Removes a directory and what is in it; one that is not there is removed.
fn remove(directory: &Path) -> Result<(), ControlError> {
    for path in entries(directory)? {
        if path.is_dir() {
            remove(&path)?;
        } else {
            fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
        }
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", directory, &error)),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> ControlError {
    let hint = (error.kind() == io::ErrorKind::PermissionDenied).then(|| "become root".to_owned());
    ControlError { message: format!("cannot {what} {}: {error}", path.display()), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_pinned_goes_and_the_interfaces_are_named() {
        let bpffs = tempfile::tempdir().unwrap();
        let instance = Instance::new("edge", "/run/lb", bpffs.path()).unwrap();
        fs::create_dir_all(instance.links_dir()).unwrap();
        fs::create_dir_all(instance.maps_dir(1)).unwrap();
        fs::write(instance.link_path("eth1"), "").unwrap();
        fs::write(instance.link_path("eth0.7"), "").unwrap();
        fs::write(instance.maps_dir(1).join("SETTINGS"), "").unwrap();
        assert_eq!(detach(&instance).unwrap(), ["eth0.7", "eth1"]);
        assert!(!instance.pin_dir().exists());
        let again = detach(&instance).unwrap_err();
        assert!(again.message.starts_with("instance edge has nothing at "), "{again}");
    }
}
