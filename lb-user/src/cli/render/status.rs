//! `lbadm status`.

use std::io::{self, Write};

use super::columns::Columns;
use crate::api::Status;

/// Addresses that other hosts have, at most.
const MOST: usize = 20;

/// Prints how lbd and its data path stand.
pub(in crate::cli) fn status(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let mut rows = Columns::default();
    rows.row(["instance", &status.instance]);
    rows.row(["lbd", &format!("{}, pid {}", status.version, status.pid)]);
    rows.row(["forwarding", if status.forwarding { "yes" } else { "no" }]);
    for (n, interface) in status.interfaces.iter().enumerate() {
        let title = if n == 0 { "interfaces" } else { "" };
        let (name, mode, program) = (&interface.name, &interface.mode, interface.program);
        rows.row([title, &format!("{name}: {mode}, program {program}")]);
    }
    if status.interfaces.is_empty() {
        rows.row(["interfaces", "none"]);
    }
    rows.row(["services", &status.services.to_string()]);
    rows.row(["destinations", &status.destinations.to_string()]);
    for (title, (slots, used)) in
        [("connections IPv4", status.connections4), ("connections IPv6", status.connections6)]
    {
        rows.row([title, &format!("{used} in {slots} slots")]);
    }
    for (title, drop) in [("packets passed on", false), ("packets dropped", true)] {
        for (n, reason) in status.reasons.iter().filter(|r| r.drop == drop).enumerate() {
            let title = if n == 0 { title } else { "" };
            rows.row([title, &format!("{} {}", reason.packets, reason.reason)]);
        }
    }
    let elsewhere = &status.answered_elsewhere;
    for (n, other) in elsewhere.iter().take(MOST).enumerate() {
        let title = if n == 0 { "elsewhere" } else { "" };
        let (address, mac, interface) = (other.address.to_string(), &other.mac, &other.interface);
        rows.row([title, &format!("{address} is answered for by {mac} on {interface}")]);
    }
    if elsewhere.len() > MOST {
        rows.row(["", &format!("and {} more", elsewhere.len() - MOST)]);
    }
    rows.print(out, "")?;
    for warning in &status.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
