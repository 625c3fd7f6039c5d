//! The directory of an instance: its lock, and what outlives lbd beside the maps.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Error;
use crate::director::Memory;
use crate::instance::Instance;

/// File of what outlives lbd.
const MEMORY: &str = "state.json";

/// The directory of an instance, locked: as long as this lives no other lbd of the instance starts.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    _lock: File,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::StateDir { what, path, source }
}

impl StateDir {
    /// Makes the directory where it is not there, and locks it.
    ///
    /// # Errors
    /// [`Error::Running`], [`Error::StateDir`].
    pub(super) fn lock(instance: &Instance) -> Result<Self, Error> {
        let path = instance.state_dir();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed("make the directory", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("make the directory", &path)(error)),
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::Running { instance: instance.name().to_owned(), path: lock_path })
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &lock_path)(error)),
        }
    }

    /// What an earlier lbd left to remember; nothing where it cannot be read.
    pub(super) fn memory(&self) -> Memory {
        read_memory(&self.path)
    }

    /// Remembers, in one step: a reader finds the old or the new.
    ///
    /// # Errors
    /// [`Error::StateDir`].
    pub(super) fn remember(&self, memory: &Memory) -> Result<(), Error> {
        let path = self.path.join(MEMORY);
        let new = self.path.join("state.json.new");
        let text = serde_json::to_vec(memory)
            .map_err(|error| failed("write", &new)(std::io::Error::other(error)))?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&text)?;
            fs::rename(&new, &path)
        };
        write().map_err(failed("write", &path))
    }
}

/// What an lbd left to remember in the directory of its instance; nothing where it cannot be read.
pub(super) fn read_memory(directory: &Path) -> Memory {
    let path = directory.join(MEMORY);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Memory::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot read what an earlier lbd remembered");
            return Memory::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "cannot understand what an earlier lbd remembered");
        Memory::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lbd_of_the_instance_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::new("edge", dir.path().join("run"), "/sys/fs/bpf").unwrap();
        let first = StateDir::lock(&instance).unwrap();
        let error = StateDir::lock(&instance).unwrap_err();
        assert!(error.text().starts_with("lbd of instance edge runs already (it holds "), "{}", error.text());
        assert_eq!(error.code(), 1);
        drop(first);
        StateDir::lock(&instance).unwrap();
    }

    #[test]
    fn what_is_remembered_comes_back_and_rubbish_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let instance = Instance::new("edge", dir.path(), "/sys/fs/bpf").unwrap();
        let state = StateDir::lock(&instance).unwrap();
        assert_eq!(state.memory(), Memory::default());
        state.remember(&Memory::default()).unwrap();
        assert_eq!(state.memory(), Memory::default());
        fs::write(state.path.join(MEMORY), "{\"maps\": tru").unwrap();
        assert_eq!(state.memory(), Memory::default());
    }
}
