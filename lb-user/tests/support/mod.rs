//! A place of its own for one test: network namespaces and a bpffs, taken away when dropped.

#![allow(dead_code, reason = "each test uses the part it needs")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use lb_user::bpf::{OpenOptions, Sizes};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Runs a command and fails with its output.
pub(crate) fn run(command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}");
}

/// A network namespace.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one.
    pub(crate) fn new() -> Self {
        let name = format!("lbu-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&format!("ip netns add {name}"));
        let namespace = Self { name };
        namespace.run("ip link set lo up");
        namespace
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in it.
    pub(crate) fn run(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.name));
    }

    /// Moves this thread into it.
    pub(crate) fn enter(&self) {
        let file = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        setns(file, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Two namespaces, joined by a veth pair `eth0` to `eth0`, both up.
pub(crate) fn pair() -> (Namespace, Namespace) {
    let (here, there) = (Namespace::new(), Namespace::new());
    let (a, b) = (here.name(), there.name());
    run(&format!("ip link add eth0 netns {a} type veth peer name eth0 netns {b}"));
    for namespace in [&here, &there] {
        namespace.run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.eth0.accept_dad=0");
        namespace.run("ip link set eth0 up");
    }
    (here, there)
}

/// A directory with a bpffs in it.
pub(crate) struct Bpffs {
    dir: tempfile::TempDir,
}

impl Bpffs {
    /// A place where none is mounted yet.
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The mount point.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("bpf")
    }

    /// Options for a small data path in it.
    pub(crate) fn options(&self) -> OpenOptions {
        let sizes =
            Sizes { connections: 1024, connections6: None, services: 16, destinations: 64, slots: 1024 };
        let (maps_dir, links_dir) = (self.path().join("lb/t/v1"), self.path().join("lb/t/links"));
        OpenOptions { bpffs: self.path(), maps_dir, links_dir, sizes }
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
    }
}
