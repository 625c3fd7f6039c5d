//! One network namespace and how commands and sockets get into it.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::shell::{self, Finished};

/// Where iproute2 keeps named namespaces.
pub(crate) const NAMED: &str = "/run/netns";

/// A handle on a named network namespace. The [`crate::Site`] that made it removes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// The handle on an existing namespace of that name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Its name for `ip -n`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for it, for `nsenter --net=`.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(NAMED).join(&self.name)
    }

    /// A command that will run inside. Only the network changes: `ip netns exec` would also give it another /sys,
    /// in which the machine's bpffs is hidden.
    ///
    /// # Errors
    /// If the namespace is gone.
    pub fn command(&self, program: &str) -> Result<Command> {
        let file = self.open()?;
        let mut command = Command::new(program);
        // SAFETY: the closure runs in the child between fork and exec and makes one system call on a descriptor it
        // owns; it allocates nothing.
        unsafe {
            command.pre_exec(move || setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(Into::into));
        }
        Ok(command)
    }

    /// Runs a line of shell inside and waits for it.
    ///
    /// # Errors
    /// If it cannot be started; a failing line is no error, see [`Finished::code`].
    pub fn sh(&self, line: &str) -> Result<Finished> {
        shell::finish(self.command("sh")?.args(["-c", line]), "")
    }

    /// As [`Namespace::sh`], but a failing line is an error.
    ///
    /// # Errors
    /// If the line fails.
    pub fn must(&self, line: &str) -> Result<String> {
        shell::check(self.command("sh")?.args(["-c", line]), "")
            .with_context(|| format!("in namespace {}", self.name))
    }

    /// Lines for `ip -batch` inside.
    ///
    /// # Errors
    /// If one of them fails.
    pub fn ip(&self, lines: &[String]) -> Result<()> {
        shell::ip_batch(Some(&self.name), lines)
    }

    /// Runs `f` in a thread of its own that is inside the namespace.
    ///
    /// # Errors
    /// If the namespace cannot be entered or `f` fails or panics.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let file = self.open()?;
        std::thread::scope(|scope| {
            scope
                .spawn(move || {
                    setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
                        .context("cannot enter the network namespace")?;
                    f()
                })
                .join()
                .map_err(|_panic| anyhow!("the thread in namespace {} panicked", self.name))?
        })
    }

    /// Sets sysctls below `/proc/sys/net` (`ipv4.ip_forward`).
    ///
    /// # Errors
    /// If one of them does not exist or takes another value.
    pub fn sysctl(&self, settings: &[(String, String)]) -> Result<()> {
        self.enter(|| {
            for (name, value) in settings {
                let path = Path::new("/proc/sys/net").join(name.replace('.', "/"));
                std::fs::write(&path, value)
                    .with_context(|| format!("cannot set {} = {value}", path.display()))?;
            }
            Ok(())
        })
    }

    /// Bytes received so far by an interface inside.
    ///
    /// # Errors
    /// If there is no such interface.
    pub fn received_bytes(&self, interface: &str) -> Result<u64> {
        let table = self.enter(|| {
            std::fs::read_to_string("/proc/thread-self/net/dev").context("cannot read interface counters")
        })?;
        received_bytes(&table, interface)
            .with_context(|| format!("no counters of {interface} in {}", self.name))
    }

    fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("no network namespace {}", self.name))
    }
}

/// The first counter of an interface in the text of `/proc/net/dev`.
fn received_bytes(table: &str, interface: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let (name, counters) = line.split_once(':')?;
        if name.trim() != interface {
            return None;
        }
        counters.split_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_counter_of_the_right_interface_is_read() {
        let table = "Inter-| Receive\n face |bytes packets\n    lo: 5 1 0\neth0: 1234 9 0\n eth01:77 1";
        assert_eq!(super::received_bytes(table, "eth0"), Some(1234));
        assert_eq!(super::received_bytes(table, "eth01"), Some(77));
        assert_eq!(super::received_bytes(table, "eth2"), None);
    }
}
