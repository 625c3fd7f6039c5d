//! Debian's compiler for the eBPF target is a second `rustc`, in /usr/bin. The set-up must not change which one the user
//! gets, so it asks before and after.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::run;

/// What `rustc -V` answers, by each way the user may find it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    /// One per search path of [`search_paths`]; nothing where that path has no rustc.
    answers: Vec<Option<String>>,
}

impl Versions {
    /// Asks now.
    pub(crate) fn now(root: &Path) -> Self {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
        let paths = search_paths(&env::var_os("PATH").unwrap_or_default(), home.as_deref());
        Self { answers: paths.iter().map(|path| ask(root, path)).collect() }
    }

    /// Wants the same answers as before.
    ///
    /// # Errors
    /// When one differs, with the remedy.
    pub(crate) fn check_unchanged(&self, root: &Path) -> Result<()> {
        self.compare(&Self::now(root))
    }

    fn compare(&self, now: &Self) -> Result<()> {
        for (before, now) in self.answers.iter().zip(&now.answers) {
            if let Some(before) = before
                && now.as_ref() != Some(before)
            {
                bail!(
                    "`rustc -V` said `{before}` before the set-up and now says `{}`: put the directory of your own rustc in \
                     front of /usr/bin in PATH (with rustup: ~/.cargo/bin), then run this again",
                    now.as_deref().unwrap_or("nothing")
                );
            }
        }
        Ok(())
    }
}

/// The search path as it is, and without the directory that rustup puts in front of it for cargo's children: behind that
/// one, Debian's rustc may come before the user's.
fn search_paths(path: &OsString, cargo_home: Option<&Path>) -> Vec<OsString> {
    let mut paths = vec![path.clone()];
    let mut dirs = env::split_paths(path);
    if let (Some(first), Some(home)) = (dirs.next(), cargo_home)
        && first == home.join("bin")
        && let Ok(rest) = env::join_paths(dirs)
    {
        paths.push(rest);
    }
    paths
}

fn ask(root: &Path, path: &OsString) -> Option<String> {
    let rustc = env::split_paths(path).map(|dir| dir.join("rustc")).find(|file| file.is_file())?;
    // Outside cargo nothing names the toolchain; rustup then goes by the directory.
    run::output(
        Command::new(rustc).arg("-V").env("PATH", path).env_remove("RUSTUP_TOOLCHAIN").current_dir(root),
    )
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(answers: &[Option<&str>]) -> Versions {
        Versions { answers: answers.iter().map(|a| a.map(str::to_owned)).collect() }
    }

    #[test]
    fn another_rustc_in_front_is_an_error() {
        let before = versions(&[Some("rustc 1.95.0"), Some("rustc 1.95.0")]);
        before.compare(&versions(&[Some("rustc 1.95.0"), Some("rustc 1.95.0")])).unwrap();
        let error =
            before.compare(&versions(&[Some("rustc 1.95.0"), Some("rustc 1.96.0")])).unwrap_err().to_string();
        assert!(error.contains("1.95.0") && error.contains("1.96.0") && error.contains("PATH"), "{error}");
        before.compare(&versions(&[None, Some("rustc 1.95.0")])).unwrap_err();
    }

    #[test]
    fn one_more_where_there_was_none_is_fine() {
        versions(&[Some("rustc 1.95.0"), None])
            .compare(&versions(&[Some("rustc 1.95.0"), Some("rustc 1.96.0")]))
            .unwrap();
    }

    #[test]
    fn rustups_own_entry_is_looked_behind() {
        let path = OsString::from("/home/u/.cargo/bin:/usr/bin:/home/u/.cargo/bin");
        let paths = search_paths(&path, Some(Path::new("/home/u/.cargo")));
        assert_eq!(paths, [path, OsString::from("/usr/bin:/home/u/.cargo/bin")]);
        assert_eq!(search_paths(&OsString::from("/usr/bin"), Some(Path::new("/home/u/.cargo"))).len(), 1);
    }
}
