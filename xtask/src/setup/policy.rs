//! Keeps Debian from starting the daemons it installs (nginx would listen on every address): while packages are being
//! installed, `policy-rc.d` refuses with 101. What was there before is there afterwards.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const PATH: &str = "/usr/sbin/policy-rc.d";
/// Tells our own file from the machine's, also after a run that was killed.
const MARK: &str = "# made by cargo xtask setup while it installs packages";

/// Services are refused as long as this lives.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Our own file, to be taken away; none if the machine has a policy of its own.
    ours: Option<PathBuf>,
}

impl Refusal {
    /// Begins to refuse. A policy of the machine's own is kept as it is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn begin() -> Result<Self> {
        Self::begin_at(Path::new(PATH))
    }

    fn begin_at(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) if text.contains(MARK) => {}
            Ok(_) => return Ok(Self { ours: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        fs::write(path, format!("#!/bin/sh\n{MARK}\nexit 101\n"))
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { ours: Some(path.to_owned()) })
    }
}

impl Drop for Refusal {
    fn drop(&mut self) {
        if let Some(path) = &self.ours
            && let Err(error) = fs::remove_file(path)
        {
            println!(
                "setup: cannot remove {}: {error}; remove it by hand, or services will not start",
                path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_and_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let refusal = Refusal::begin_at(&path).unwrap();
        let status = std::process::Command::new(&path).status().unwrap();
        assert_eq!(status.code(), Some(101));
        drop(refusal);
        assert!(!path.exists());
    }

    #[test]
    fn the_machines_own_policy_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        drop(Refusal::begin_at(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "#!/bin/sh\nexit 0\n");
    }

    #[test]
    fn what_a_killed_run_left_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        std::mem::forget(Refusal::begin_at(&path).unwrap());
        drop(Refusal::begin_at(&path).unwrap());
        assert!(!path.exists());
    }
}
