//! The check that no host sends partial checksums towards XDP.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::server::PYTHON;
use crate::shell;
use crate::topology::{Nic, Topology};

const SCRIPT: &str = include_str!("../files/verify.py");

#[derive(Serialize)]
struct Sender {
    name: String,
    path: String,
    nic: String,
    director: String,
    interface: String,
    target: String,
}

/// Lets every host send a datagram to each director on its LANs and looks at what arrives.
///
/// # Errors
/// If a checksum is partial (it names the remedy), or nothing arrives.
pub(crate) fn checksums(topology: &Topology, id: &str) -> Result<()> {
    let job = senders(topology, id);
    if job.is_empty() {
        return Ok(());
    }
    let job = serde_json::to_string(&job).context("cannot write the job")?;
    let said = shell::check(Command::new(PYTHON).args(["-c", SCRIPT]), &job).context("the checksum check")?;
    if !said.is_empty() {
        bail!("{}", said.trim_end());
    }
    Ok(())
}

fn senders(topology: &Topology, id: &str) -> Vec<Sender> {
    let nics = |director: bool| {
        topology
            .hosts
            .iter()
            .filter(move |h| h.director == director)
            .flat_map(|h| h.nics.iter().map(move |n| (h, n)))
    };
    let mut senders = Vec::new();
    for (director, inner) in nics(true) {
        let Some(target) = first_ipv4(inner) else { continue };
        for (host, nic) in nics(false).filter(|(_, n)| n.lan == inner.lan) {
            senders.push(Sender {
                name: host.name.clone(),
                path: host.namespace(id).path().display().to_string(),
                nic: nic.name.clone(),
                director: director.namespace(id).path().display().to_string(),
                interface: inner.name.clone(),
                target: target.to_owned(),
            });
        }
    }
    senders
}

fn first_ipv4(nic: &Nic) -> Option<&str> {
    nic.addresses.iter().filter_map(|a| a.split('/').next()).find(|a| !a.contains(':'))
}
