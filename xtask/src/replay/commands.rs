//! Replaying command lines: ipvsadm-cli.json and live-listings.json.

use anyhow::{Result, bail};
use serde_json::json;

use super::recording::{Flow, Scenario};
use super::stage::Stage;
use super::{Mismatches, compare};

/// Runs a scenario against a fresh director.
///
/// # Errors
/// If the machinery fails (a site, a server, lbd itself), not if an answer differs.
pub(crate) fn run(stage: &mut Stage, scenario: &Scenario) -> Result<Mismatches> {
    let marks = scenario.commands.iter().any(|c| c.cmd.contains(" -f "));
    let director = stage.fresh_director(marks)?;
    let mut found = Mismatches::default();
    let mut traffic = recorded_traffic(scenario);
    for (n, command) in scenario.commands.iter().enumerate() {
        if lists(&command.cmd)
            && let Some(flows) = traffic.take()
        {
            play(stage, &flows, &mut found)?;
        }
        let Some(line) = on_this_kernel(&command.cmd) else {
            found.note(format!("skipped: `{}` reads the kernel's own IPVS", command.cmd));
            continue;
        };
        let got = director.recorded(&line, command.stdin.as_deref().unwrap_or_default(), &command.user)?;
        let differences = compare::outcome(&command.cmd, &command.outcome, &got);
        found.add(&format!("command {} `{}`", n + 1, command.cmd), differences);
    }
    if let Some(traffic) = stage.used_traffic() {
        traffic.client.close_all()?;
    }
    drop(director);
    Ok(found)
}

/// A command as it can be run here: the kernel of the recording had other devices and its own IPVS.
fn on_this_kernel(cmd: &str) -> Option<String> {
    if cmd.contains("/proc/net/ip_vs") {
        return None;
    }
    Some(cmd.replace("type dummy", "type bridge"))
}

fn lists(cmd: &str) -> bool {
    cmd.split_whitespace().any(|w| w == "--list" || (w.starts_with("-L") || w.starts_with("-l")))
}

/// What the client did before the first listing: a connection still open, one closed, or a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Did {
    Hold,
    Close,
    Datagram,
}

/// The traffic behind recorded listings is known only from their connection list: what is there now came from
/// somewhere, in the order of the client's ports.
fn recorded_traffic(scenario: &Scenario) -> Option<Vec<(Flow, Did)>> {
    let mut flows: Vec<(Flow, Did)> = scenario
        .commands
        .iter()
        .find(|c| {
            c.outcome.stdout.starts_with("IPVS connection entries") && c.outcome.stdout.lines().count() > 2
        })?
        .outcome
        .stdout
        .lines()
        .filter_map(flow)
        .collect();
    flows.sort_by_key(|((_, port, ..), _)| *port);
    (!flows.is_empty()).then_some(flows)
}

fn flow(line: &str) -> Option<(Flow, Did)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [protocol, _expiry, state, client, service, ..] = words[..] else { return None };
    let did = match (protocol, state) {
        ("TCP", "ESTABLISHED") => Did::Hold,
        ("TCP", "TIME_WAIT" | "FIN_WAIT") => Did::Close,
        ("UDP", "UDP") => Did::Datagram,
        // Templates come with their connections.
        _ => return None,
    };
    let end = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        Some((host.trim_matches(['[', ']']).to_owned(), port.parse::<u16>().ok()?))
    };
    let ((from, from_port), (to, to_port)) = (end(client)?, end(service)?);
    (from_port != 0).then_some(((from, from_port, to, to_port), did))
}

/// Makes the traffic. The recorded client said one byte on each connection that it kept open.
fn play(stage: &mut Stage, flows: &[(Flow, Did)], found: &mut Mismatches) -> Result<()> {
    let client = &mut stage.traffic()?.client;
    for (flow, did) in flows {
        let got = match did {
            Did::Hold => client.got(json!({"connect": flow, "hold": flow.1, "talk": true}))?,
            Did::Close => client.got(json!({"connect": flow}))?,
            Did::Datagram => client.got(json!({"udp": flow}))?,
        };
        if !got.starts_with("rs") {
            found.add(&format!("traffic {flow:?}"), vec![format!("no real server answered, got {got}")]);
        }
    }
    if flows.is_empty() {
        bail!("no traffic to play");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_traffic_behind_a_connection_list_is_found() {
        let of = |line| flow(line).map(|((from, port, to, to_port), did)| (from, port, to, to_port, did));
        assert_eq!(
            of("TCP 14:54  ESTABLISHED [2001:db8:3::11]:21434 [2001:db8:2::1]:80 [2001:db8:1::12]:80"),
            Some(("2001:db8:3::11".into(), 21434, "2001:db8:2::1".into(), 80, Did::Hold))
        );
        assert_eq!(
            of("TCP 01:54  TIME_WAIT   203.0.113.15:21424 192.0.2.1:80       198.51.100.11:80").map(|f| f.4),
            Some(Did::Close)
        );
        for line in [
            "IP  00:44  ASSURED     203.0.113.0:0      0.0.0.2:0          198.51.100.13:0",
            "TCP 04:54  ASSURED     203.0.113.11:0     192.0.2.1:443      198.51.100.12:443",
            "pro expire state       source             virtual            destination",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
