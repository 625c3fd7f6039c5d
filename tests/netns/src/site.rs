//! The sites that tests, demo and recordings use.
//!
//! Addresses: clients 203.0.113.0/24 and 2001:db8:3::/64, real servers 198.51.100.0/24 and 2001:db8:1::/64, virtual
//! addresses 192.0.2.1 to .16 and 2001:db8:2::1. MACs: director 02:..:01 (second NIC :03), client :02, rs1 :11 ...
//! The virtual addresses are on the director's NIC and, unannounced, on lo of the real servers. A real server
//! answers from a virtual address straight to the client (DR), from its own address through the director (NAT).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::namespace::Namespace;
use crate::topology::{Host, Nic, Topology, owned};
use crate::{stale, verify};

/// Virtual addresses every site has.
pub const VIRTUAL_ADDRESSES: std::ops::RangeInclusive<u8> = 1..=16;
/// Last bytes of the client's IPv4 addresses.
pub const CLIENT_ADDRESSES: std::ops::RangeInclusive<u8> = 10..=99;

/// Hosts, a private bpffs and a directory, taken down when dropped.
#[derive(Debug)]
pub struct Site {
    id: String,
    topology: Topology,
    dir: PathBuf,
    keep: bool,
}

impl Site {
    /// Client, director (one NIC) and three real servers on one bridge, as in the recordings.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn nat_dr() -> Result<Self> {
        Self::build(one_armed())
    }

    /// As [`Site::nat_dr`] with the real servers behind a second NIC of the director.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn two_armed() -> Result<Self> {
        Self::build(two_armed())
    }

    /// Any topology.
    ///
    /// # Errors
    /// If it cannot be built.
    pub fn build(topology: Topology) -> Result<Self> {
        stale::sweep();
        let id = stale::new_id();
        let dir = stale::directory(&id);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // From here on Drop takes away what there is.
        let site = Self { id, topology, dir, keep: false };
        site.mount_bpffs()?;
        site.topology.build(&site.id, &site.bpffs())?;
        Ok(site)
    }

    /// The topology as described, for a test that wants it slightly different.
    #[must_use]
    pub fn one_armed_topology() -> Topology {
        one_armed()
    }

    /// Its id, with which all its names begin.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its directory: logs, sockets, configuration.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its own bpffs is mounted.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.dir.join("bpffs")
    }

    /// The namespace of a host.
    #[must_use]
    pub fn host(&self, name: &str) -> Namespace {
        Namespace::named(format!("{}-{name}", self.id))
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> Namespace {
        self.host("client")
    }

    /// The director's namespace.
    #[must_use]
    pub fn director(&self) -> Namespace {
        self.host("director")
    }

    /// The names of the director's interfaces.
    #[must_use]
    pub fn director_interfaces(&self) -> Vec<String> {
        let directors = self.topology.hosts.iter().filter(|h| h.director);
        directors.flat_map(|h| h.nics.iter().map(|n| n.name.clone())).collect()
    }

    /// Forgets everything pinned: programs are detached, tables are gone. No lbd may be running.
    ///
    /// # Errors
    /// If the bpffs is in use or cannot be mounted anew.
    pub fn fresh_bpffs(&self) -> Result<()> {
        umount2(&self.bpffs(), MntFlags::empty()).context("cannot unmount the site's bpffs")?;
        self.mount_bpffs()
    }

    /// Checks once more that no host sends partial checksums towards the director, as building the site did.
    ///
    /// # Errors
    /// If one does; it names the remedy.
    pub fn check_again(&self) -> Result<()> {
        verify::checksums(&self.topology, &self.id)
    }

    /// Leaves the site up when the handle goes.
    ///
    /// # Errors
    /// If it cannot be marked.
    pub fn keep(&mut self) -> Result<()> {
        stale::keep(&self.id)?;
        self.keep = true;
        Ok(())
    }

    /// Runs `body`, and prints the logs of the site if it fails.
    ///
    /// # Errors
    /// What `body` fails with.
    pub fn test(self, body: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let done = body(&self);
        if done.is_err() {
            self.print_logs();
        }
        done
    }

    /// Prints the end of every log in the site's directory to stderr.
    pub fn print_logs(&self) {
        let mut files: Vec<PathBuf> =
            fs::read_dir(&self.dir).into_iter().flatten().filter_map(|e| e.ok().map(|e| e.path())).collect();
        files.sort();
        for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "log")) {
            let text = fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
            if !tail.is_empty() {
                eprintln!("--- {} ---\n{tail}", file.file_name().unwrap_or_default().to_string_lossy());
            }
        }
    }

    fn mount_bpffs(&self) -> Result<()> {
        let path = self.bpffs();
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .context("cannot mount a bpffs")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !self.keep {
            stale::remove(&self.id);
        }
    }
}

/// A NIC; `mac` is the last byte in hexadecimal digits.
pub(crate) fn nic(name: &str, lan: &str, mac: &str, addresses: Vec<String>) -> Nic {
    Nic { name: name.into(), lan: lan.into(), mac: format!("02:00:00:00:00:{mac}"), addresses }
}

fn client(lan: &str) -> Host {
    let mut addresses: Vec<String> = CLIENT_ADDRESSES.map(|n| format!("203.0.113.{n}/24")).collect();
    addresses.extend((10..=29).map(|n| format!("2001:db8:3::{n}/64")));
    Host {
        name: "client".into(),
        nics: vec![nic("eth0", lan, "02", addresses)],
        ip: lines(&["route add default via 203.0.113.1", "route add default via 2001:db8:3::1"]),
        // A recorded client uses a port again at once; the exchange of FINs is complete all the same.
        sysctls: owned(&[("ipv4.tcp_max_tw_buckets", "0")]),
        director: false,
    }
}

/// Real server `n` answers from a virtual address through the gateways given, or on link where there are none.
fn real_server(n: u8, lan: &str, gateway: Option<(&str, &str)>) -> Host {
    let on_link = ("dev eth0".to_owned(), "dev eth0".to_owned());
    let (v4, v6) = gateway.map_or(on_link, |(v4, v6)| (format!("via {v4}"), format!("via {v6}")));
    let addresses = vec![format!("198.51.100.1{n}/24"), format!("2001:db8:1::1{n}/64")];
    let mut ip: Vec<String> = VIRTUAL_ADDRESSES.map(|v| format!("addr add 192.0.2.{v}/32 dev lo")).collect();
    ip.extend(lines(&[
        "addr add 2001:db8:2::1/128 dev lo",
        "route add default via 198.51.100.1",
        "route add default via 2001:db8:1::1",
        "rule add from 192.0.2.0/24 lookup 100",
        "-6 rule add from 2001:db8:2::/64 lookup 100",
    ]));
    ip.push(format!("route add 203.0.113.0/24 {v4} table 100"));
    ip.push(format!("route add 2001:db8:3::/64 {v6} table 100"));
    Host {
        name: format!("rs{n}"),
        nics: vec![nic("eth0", lan, &format!("1{n}"), addresses)],
        ip,
        sysctls: owned(&[("ipv4.conf.all.arp_ignore", "1"), ("ipv4.conf.all.arp_announce", "2")]),
        director: false,
    }
}

fn director(nics: Vec<Nic>) -> Host {
    Host {
        name: "director".into(),
        nics,
        ip: Vec::new(),
        sysctls: owned(&[
            ("ipv4.ip_forward", "1"),
            ("ipv6.conf.all.forwarding", "1"),
            ("ipv4.conf.all.send_redirects", "0"),
            ("ipv4.conf.default.send_redirects", "0"),
            ("ipv4.conf.eth0.send_redirects", "0"),
        ]),
        director: true,
    }
}

fn client_side() -> Vec<String> {
    let mut addresses = lines(&["203.0.113.1/24", "2001:db8:3::1/64"]);
    addresses.extend(VIRTUAL_ADDRESSES.map(|n| format!("192.0.2.{n}/32")));
    addresses.push("2001:db8:2::1/128".into());
    addresses
}

fn one_armed() -> Topology {
    let mut addresses = client_side();
    addresses.extend(lines(&["198.51.100.1/24", "2001:db8:1::1/64"]));
    let mut hosts = vec![client("lan"), director(vec![nic("eth0", "lan", "01", addresses)])];
    hosts.extend((1..=3).map(|n| real_server(n, "lan", None)));
    Topology { hosts }
}

fn two_armed() -> Topology {
    let inner = nic("eth1", "servers", "03", lines(&["198.51.100.1/24", "2001:db8:1::1/64"]));
    // The answers of DR real servers need a way to the clients that is not the director's: a router between the LANs.
    let router = Host {
        name: "router".into(),
        nics: vec![
            nic("eth0", "clients", "08", lines(&["203.0.113.8/24", "2001:db8:3::8/64"])),
            nic("eth1", "servers", "09", lines(&["198.51.100.9/24", "2001:db8:1::9/64"])),
        ],
        ip: Vec::new(),
        sysctls: owned(&[("ipv4.ip_forward", "1"), ("ipv6.conf.all.forwarding", "1")]),
        director: false,
    };
    let mut hosts =
        vec![client("clients"), router, director(vec![nic("eth0", "clients", "01", client_side()), inner])];
    hosts.extend((1..=3).map(|n| real_server(n, "servers", Some(("198.51.100.9", "2001:db8:1::9")))));
    Topology { hosts }
}

pub(crate) fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|l| (*l).to_owned()).collect()
}
