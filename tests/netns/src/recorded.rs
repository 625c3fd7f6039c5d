//! Commands as the recordings gave them: a shell, the recording's /etc/hosts, some user.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

use crate::Director;
use crate::shell::{self, Finished};

/// The names the recordings use.
pub const HOSTS: &str = include_str!("../files/hosts");

impl Director {
    /// Runs `line` by `sh -c` with the tools of this director on PATH and [`HOSTS`] as /etc/hosts, seen by nobody
    /// else. Every user but root becomes `nobody`.
    ///
    /// # Errors
    /// If it cannot be started; a failing line is no error.
    pub fn recorded(&self, line: &str, stdin: &str, user: &str) -> Result<Finished> {
        let hosts = self.dir().join("hosts");
        if !hosts.exists() {
            fs::write(&hosts, HOSTS).context("cannot write the recording's hosts")?;
        }
        let nobody = if user == "root" { None } else { Some(ids_of_nobody()?) };
        let mut command = self.command("sh")?;
        command.args(["-c", line]);
        with_hosts(&mut command, hosts);
        let enter = move || -> nix::Result<()> {
            if let Some((uid, gid)) = nobody {
                setgroups(&[gid])?;
                setgid(gid)?;
                setuid(uid)?;
            }
            Ok(())
        };
        // SAFETY: the closure runs in the child between fork and exec and makes system calls only.
        unsafe {
            command.pre_exec(move || enter().map_err(Into::into));
        }
        shell::finish(&mut command, stdin)
    }
}

/// Lets `command` see `hosts` as /etc/hosts.
pub(crate) fn with_hosts(command: &mut Command, hosts: PathBuf) {
    let enter = move || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        mount(Some(&hosts), "/etc/hosts", None::<&str>, MsFlags::MS_BIND, None::<&str>)
    };
    // SAFETY: the closure runs in the child between fork and exec and makes system calls only; short paths are handed
    // over on the stack.
    unsafe {
        command.pre_exec(move || enter().map_err(Into::into));
    }
}

fn ids_of_nobody() -> Result<(Uid, Gid)> {
    let user = User::from_name("nobody").context("cannot look up user nobody")?.context("no user nobody")?;
    Ok((user.uid, user.gid))
}
