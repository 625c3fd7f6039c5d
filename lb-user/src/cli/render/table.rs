//! `lbadm list`: services and destinations with what ipvsadm does not show.

use std::io::{self, Write};

use super::columns::Columns;
use super::format::{flags, netmask};
use crate::api::{DestinationView, Neighbour, ServiceView};
use crate::model::{Owner, ServiceSpec};

/// Prints `services` in the order they have.
pub(in crate::cli) fn table(out: &mut dyn Write, services: &[ServiceView]) -> io::Result<()> {
    if services.is_empty() {
        return writeln!(out, "no services");
    }
    for (n, view) in services.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        let ServiceView { service, owner, .. } = view;
        let options = options(service);
        let scheduler = service.scheduler.name();
        writeln!(out, "{}  {scheduler}{options}  ({})", service.key, owner_word(*owner))?;
        let mut columns = Columns::default();
        if view.destinations.is_empty() {
            writeln!(out, "  no destinations")?;
            continue;
        }
        columns.row([
            "DESTINATION",
            "METHOD",
            "WEIGHT",
            "ACTIVE",
            "INACTIVE",
            "LOWER",
            "UPPER",
            "OWNER",
            "NEIGHBOUR",
        ]);
        for destination in &view.destinations {
            columns.row(cells(destination));
        }
        columns.print(out, "  ")?;
    }
    Ok(())
}

const fn owner_word(owner: Owner) -> &'static str {
    match owner {
        Owner::Configuration => "configuration",
        Owner::Operator => "operator",
    }
}

fn options(service: &ServiceSpec) -> String {
    let mut options = String::new();
    let flags = flags(service.scheduler, service.flags);
    if !flags.is_empty() {
        options.push_str(&format!(" ({flags})"));
    }
    if let Some(persistence) = service.persistence {
        options.push_str(&format!(", persistent {} s", persistence.timeout));
        if let Some(mask) = netmask(service) {
            options.push_str(&format!(" by {mask}"));
        }
    }
    if let Some(engine) = &service.persistence_engine {
        options.push_str(&format!(", engine {engine}"));
    }
    if service.one_packet {
        options.push_str(", one-packet");
    }
    options
}

fn cells(view: &DestinationView) -> [String; 9] {
    let destination = &view.destination;
    let threshold = |n: u32| if n == 0 { "-".to_owned() } else { n.to_string() };
    let upper = threshold(destination.upper);
    [
        destination.address.to_string(),
        destination.method.name().to_owned(),
        destination.weight.to_string(),
        view.active.to_string(),
        view.inactive.to_string(),
        threshold(destination.lower),
        if view.overloaded { format!("{upper} (over)") } else { upper },
        owner_word(view.owner).to_owned(),
        neighbour(&view.neighbour),
    ]
}

fn neighbour(neighbour: &Neighbour) -> String {
    match neighbour {
        Neighbour::Local => "this machine".to_owned(),
        Neighbour::Resolved { mac, interface, gateway: None } => format!("{mac} on {interface}"),
        Neighbour::Resolved { mac, interface, gateway: Some(gateway) } => {
            format!("{mac} on {interface} via {gateway}")
        }
        Neighbour::Unresolved { why } => format!("unresolved: {why}"),
    }
}
