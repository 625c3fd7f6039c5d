//! Builds hosts and the bridges between them from a description.
//!
//! Every host is a namespace; one more, `switch`, holds a bridge for each LAN and the far ends of all veth pairs.
//! Two properties of veth decide about what an XDP program sees and sends, and both are set here:
//! a sender's transmit offload leaves checksums to a NIC that does not exist, so it is off on every end; a frame that
//! XDP sends into a veth is delivered only if the other end has an XDP program of its own, so the ends behind the
//! directors get one that passes everything. (GRO there gives it a queue but nobody who wakes it: a redirected frame
//! arrives, one of XDP_TX lies until the next frame of somebody else; measured with 6.18.)

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::server::PYTHON;
use crate::{shell, verify};

const LOAD_PASS: &str = include_str!("../files/pass.py");

/// A network interface of a host.
#[derive(Debug, Clone)]
pub struct Nic {
    /// Its name inside the host.
    pub name: String,
    /// The LAN it is plugged into.
    pub lan: String,
    /// Its MAC address.
    pub mac: String,
    /// Addresses with prefix lengths; the first IPv4 one is what the checksum check sends to.
    pub addresses: Vec<String>,
}

/// A host.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Its name; the namespace is called `<site>-<name>`.
    pub name: String,
    /// Its interfaces.
    pub nics: Vec<Nic>,
    /// Further lines for `ip -batch`, after the interfaces are up: routes, rules, addresses on lo.
    pub ip: Vec<String>,
    /// Settings below `/proc/sys/net`, made when the interfaces are there.
    pub sysctls: Vec<(String, String)>,
    /// Whether XDP runs on its interfaces.
    pub director: bool,
}

/// A description of hosts on LANs.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    /// The hosts.
    pub hosts: Vec<Host>,
}

/// No packet filter for what a switch passes on.
const BRIDGE: [(&str, &str); 3] = [
    ("bridge.bridge-nf-call-arptables", "0"),
    ("bridge.bridge-nf-call-iptables", "0"),
    ("bridge.bridge-nf-call-ip6tables", "0"),
];

/// IPv6 addresses are usable at once, and no host answers routers it does not have.
const DEFAULTS: [(&str, &str); 5] = [
    ("ipv6.conf.all.accept_dad", "0"),
    ("ipv6.conf.default.accept_dad", "0"),
    ("ipv6.conf.default.accept_ra", "0"),
    ("ipv4.conf.all.rp_filter", "0"),
    ("ipv4.conf.default.rp_filter", "0"),
];

impl Host {
    /// The namespace of this host in the site `id`.
    #[must_use]
    pub fn namespace(&self, id: &str) -> Namespace {
        Namespace::named(format!("{id}-{}", self.name))
    }

    fn port(&self, nic: &Nic) -> String {
        format!("{}-{}", self.name, nic.name)
    }
}

impl Topology {
    /// Builds it under names that begin with `id`, with the help of a bpffs.
    ///
    /// # Errors
    /// If a tool is missing, the kernel refuses, or a host sends partial checksums towards a director.
    pub(crate) fn build(&self, id: &str, bpffs: &Path) -> Result<()> {
        ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root; run this with sudo");
        let switch = Namespace::named(format!("{id}-switch"));
        let mut spaces: Vec<Namespace> = self.hosts.iter().map(|h| h.namespace(id)).collect();
        spaces.push(switch.clone());
        let add: Vec<String> = spaces.iter().map(|n| format!("netns add {}", n.name())).collect();
        shell::ip_batch(None, &add).context("cannot make network namespaces")?;
        for space in &spaces {
            space.sysctl(&owned(&DEFAULTS))?;
        }
        if Path::new("/proc/sys/net/bridge").exists() {
            // A switch looks at no IP header; with these set, a bridge drops frames whose header is wrong.
            switch.sysctl(&owned(&BRIDGE))?;
        }
        switch.ip(&self.bridges())?;
        for host in &self.hosts {
            let space = host.namespace(id);
            space.ip(&interfaces(host, switch.name())).with_context(|| format!("host {}", host.name))?;
            space.sysctl(&host.sysctls).with_context(|| format!("host {}", host.name))?;
        }
        switch.ip(&self.plugs())?;
        self.offloads(id, &switch)?;
        self.receivers(&switch, bpffs)?;
        for host in &self.hosts {
            host.namespace(id).ip(&host.ip).with_context(|| format!("host {}", host.name))?;
        }
        verify::checksums(self, id)
    }

    fn lans(&self) -> Vec<&str> {
        let mut lans: Vec<&str> = self.hosts.iter().flat_map(|h| &h.nics).map(|n| n.lan.as_str()).collect();
        lans.sort_unstable();
        lans.dedup();
        lans
    }

    fn bridges(&self) -> Vec<String> {
        let make = |lan: &&str| {
            [
                format!("link add {lan} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
                format!("link set {lan} addrgenmode none"),
                format!("link set {lan} up"),
            ]
        };
        self.lans().iter().flat_map(make).collect()
    }

    fn plugs(&self) -> Vec<String> {
        self.hosts
            .iter()
            .flat_map(|h| h.nics.iter().map(|n| (h.port(n), &n.lan)))
            .flat_map(|(port, lan)| {
                [format!("link set {port} addrgenmode none"), format!("link set {port} master {lan} up")]
            })
            .collect()
    }

    fn offloads(&self, id: &str, switch: &Namespace) -> Result<()> {
        let mut at_switch = String::from("set -e\n");
        for host in &self.hosts {
            let mut at_host = String::from("set -e\n");
            for nic in &host.nics {
                at_host += &format!("ethtool -K {} tx off\n", nic.name);
                at_switch += &format!("ethtool -K {} tx off\n", host.port(nic));
            }
            host.namespace(id).must(&at_host).context("cannot turn transmit offload off (ethtool)")?;
        }
        switch.must(&at_switch).context("cannot set offloads of the bridge ports (ethtool)")?;
        Ok(())
    }

    /// Gives the ports behind the directors a program, so that they take what XDP sends.
    fn receivers(&self, switch: &Namespace, bpffs: &Path) -> Result<()> {
        let pin = bpffs.join("pass");
        shell::check(Command::new(PYTHON).args(["-c", LOAD_PASS]).arg(&pin), "")
            .context("cannot load an XDP program; is this root, and a kernel with BPF?")?;
        let directors = self.hosts.iter().filter(|h| h.director);
        for port in directors.flat_map(|h| h.nics.iter().map(|n| h.port(n))) {
            // Not `ip -n`: the pin must stay visible.
            let attach = format!("ip link set dev {port} xdpdrv pinned {}", pin.display());
            switch.must(&attach).with_context(|| format!("bridge port {port}"))?;
        }
        std::fs::remove_file(&pin).context("cannot remove the pin of the passing program")
    }
}

/// The lines that give a host its interfaces.
fn interfaces(host: &Host, switch: &str) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    for nic in &host.nics {
        let Nic { name, mac, addresses, .. } = nic;
        let port = host.port(nic);
        lines.push(format!("link add name {name} address {mac} type veth peer name {port} netns {switch}"));
        lines.push(format!("link set {name} up"));
        lines.extend(addresses.iter().map(|a| format!("addr add {a} dev {name}")));
    }
    lines
}

/// Settings as the owned strings that [`Namespace::sysctl`] takes.
#[must_use]
pub(crate) fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        let nic = Nic {
            name: "eth0".into(),
            lan: "lan".into(),
            mac: "02:00:00:00:00:11".into(),
            addresses: vec!["198.51.100.11/24".into()],
        };
        Host { name: "rs1".into(), nics: vec![nic], ..Host::default() }
    }

    #[test]
    fn an_interface_is_up_before_it_has_addresses() {
        assert_eq!(
            interfaces(&host(), "s"),
            [
                "link set lo up",
                "link add name eth0 address 02:00:00:00:00:11 type veth peer name rs1-eth0 netns s",
                "link set eth0 up",
                "addr add 198.51.100.11/24 dev eth0",
            ]
        );
    }

    #[test]
    fn each_lan_has_one_bridge() {
        let mut other = host();
        other.name = "rs2".into();
        let topology = Topology { hosts: vec![host(), other] };
        assert_eq!(topology.lans(), ["lan"]);
        assert_eq!(topology.plugs().len(), 4);
    }
}
