//! Names that carry the id of their maker, and the sweep of what a killed run left behind.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::{NAMED, Namespace};

const PREFIX: &str = "lbt";
/// A file in a site's directory that says: leave it up although its maker has ended.
const KEEP: &str = "keep";

static SITES: AtomicU32 = AtomicU32::new(0);

/// A name no other site of this machine has: `lbt1234-0`.
#[must_use]
pub(crate) fn new_id() -> String {
    format!("{PREFIX}{}-{}", std::process::id(), SITES.fetch_add(1, Ordering::Relaxed))
}

/// Where a site keeps its files.
#[must_use]
pub(crate) fn directory(id: &str) -> PathBuf {
    std::env::temp_dir().join(id)
}

/// Marks a site as one to be left up.
pub(crate) fn keep(id: &str) -> Result<()> {
    fs::write(directory(id).join(KEEP), "").context("cannot mark the site as kept")
}

/// Removes the sites of processes that are no longer there; quick where there are none.
pub(crate) fn sweep() {
    for id in leftovers() {
        if !directory(&id).join(KEEP).exists() {
            remove(&id);
        }
    }
}

/// Removes the sites that were left up on purpose; their ids.
#[must_use]
pub fn remove_kept() -> Vec<String> {
    let kept: Vec<String> = leftovers().into_iter().filter(|id| directory(id).join(KEEP).exists()).collect();
    for id in &kept {
        remove(id);
    }
    kept
}

/// Takes away everything a site consists of, as far as it is there.
pub(crate) fn remove(id: &str) {
    for name in names(Path::new(NAMED)).filter(|n| site_of(n) == Some(id)) {
        let namespace = Namespace::named(name);
        for pid in processes_in(&namespace) {
            // It may have ended meanwhile.
            let _gone = kill(pid, Signal::SIGKILL);
        }
        let path = namespace.path();
        let _not_mounted = umount2(&path, MntFlags::MNT_DETACH);
        warn(&path, fs::remove_file(&path));
    }
    let dir = directory(id);
    let _not_mounted = umount2(&dir.join("bpffs"), MntFlags::MNT_DETACH);
    if dir.exists() {
        warn(&dir, fs::remove_dir_all(&dir));
    }
}

/// The processes inside a namespace.
fn processes_in(namespace: &Namespace) -> Vec<Pid> {
    let Ok(inside) = fs::metadata(namespace.path()) else { return Vec::new() };
    names(Path::new("/proc"))
        .filter_map(|n| n.parse::<i32>().ok())
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|m| (m.dev(), m.ino()) == (inside.dev(), inside.ino()))
        })
        .map(Pid::from_raw)
        .collect()
}

/// The ids of sites whose maker has ended.
fn leftovers() -> Vec<String> {
    let mut ids: Vec<String> = names(Path::new(NAMED))
        .chain(names(&std::env::temp_dir()))
        .filter_map(|n| site_of(&n).map(str::to_owned))
        .filter(|id| maker(id).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()))
        .collect();
    ids.sort();
    ids.dedup();
    ids
}

/// The site that a name of ours belongs to: `lbt12-0` of `lbt12-0-client`.
fn site_of(name: &str) -> Option<&str> {
    maker(name)?;
    let second = name.match_indices('-').nth(1).map_or(name.len(), |(at, _)| at);
    name.get(..second)
}

/// The process that made a name of ours.
fn maker(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    rest.split('-').next()?.parse::<u32>().ok()?;
    pid.parse().ok()
}

fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok().and_then(|e| e.file_name().into_string().ok()))
}

fn warn(path: &Path, done: std::io::Result<()>) {
    if let Err(e) = done {
        eprintln!("warning: {} is left over: {e}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_site_and_maker() {
        assert_eq!(site_of("lbt12-0-client"), Some("lbt12-0"));
        assert_eq!(site_of("lbt12-3"), Some("lbt12-3"));
        assert_eq!(maker("lbt12-3"), Some(12));
        for foreign in ["lbt", "lbtx-1", "lb12-0", "lbt12", "lbt12-x-client", "eth0"] {
            assert_eq!(site_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn two_sites_of_one_process_differ() {
        assert_ne!(new_id(), new_id());
    }
}
