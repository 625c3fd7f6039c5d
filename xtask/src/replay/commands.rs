//! Replaying command lines: ipvsadm-cli.json and live-listings.json.

use std::fs;

use anyhow::{Result, bail};
use netns_tests::recorded::HOSTS;
use netns_tests::shell::Finished;
use serde_json::json;

use super::names::Names;
use super::recording::{Command, Flow, Outcome, Scenario};
use super::refused::{self, Refused};
use super::stage::Stage;
use super::{Mismatches, compare};

/// Runs a scenario against a fresh director.
///
/// # Errors
/// If the machinery fails (a site, a server, lbd itself), not if an answer differs.
pub(crate) fn run(stage: &mut Stage, scenario: &Scenario, allow_refused: bool) -> Result<Mismatches> {
    let marks = scenario.commands.iter().any(|c| c.cmd.contains(" -f "));
    let director = stage.fresh_director(marks)?;
    let names = Names::new(HOSTS, &fs::read_to_string("/etc/services").unwrap_or_default());
    let mut refused = Refused::new(&names);
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
        let differences = judge(command, &got, allow_refused.then_some(&mut refused), &mut found);
        found.add(&format!("command {} `{}`", n + 1, command.cmd), differences);
    }
    if let Some(traffic) = stage.used_traffic() {
        traffic.client.close_all()?;
    }
    drop(director);
    Ok(found)
}

/// Compares one command; with allowance, one that uses what is refused must be refused clearly.
fn judge(
    command: &Command,
    got: &Finished,
    refused: Option<&mut Refused>,
    notes: &mut Mismatches,
) -> Vec<String> {
    let Some(refused) = refused else { return compare::outcome(&command.cmd, &command.outcome, got) };
    let restores = command.cmd.contains("-R") || command.cmd.contains("restore");
    if command.cmd.trim_end().ends_with("-C") || command.cmd.starts_with("ipvsadm-restore") {
        refused.clear();
    }
    if restores {
        return judge_restore(command, got, refused, notes);
    }
    if command.outcome.rc == 0
        && let Some(why) = refused.judge(&command.cmd)
    {
        notes.note(format!("refused: `{}` ({why})", command.cmd));
        let dependent = why.ends_with("before");
        return if got.code == 0 {
            vec![format!("uses {why}, which this version does not have, and yet was accepted")]
        } else if !got.stdout.is_empty() || !(dependent || refused::says_so(&got.stderr)) {
            vec![format!(
                "uses {why}; the refusal does not say that this version does not do it: {}",
                got.stderr
            )]
        } else {
            Vec::new()
        };
    }
    let expected = Outcome { stdout: refused.strip(&command.outcome.stdout), ..command.outcome.clone() };
    compare::outcome(&command.cmd, &expected, got)
}

/// As [`judge`] for the lines of a restore: the messages of refused ones are looked for and taken away.
fn judge_restore(
    command: &Command,
    got: &Finished,
    refused: &mut Refused,
    notes: &mut Mismatches,
) -> Vec<String> {
    let input = command.stdin.as_deref().unwrap_or_default();
    let whys: Vec<Option<String>> = input.lines().map(|line| refused.judge(line)).collect();
    let count = whys.iter().flatten().count();
    for why in whys.iter().flatten() {
        notes.note(format!("refused: a line of `{}` ({why})", command.cmd));
    }
    let errors: Vec<&str> = command.outcome.stderr.lines().collect();
    let each_line_failed = errors.len() == whys.len();
    let kept = errors.iter().zip(&whys).filter(|(_, why)| why.is_none()).map(|(line, _)| format!("{line}\n"));
    let stderr = if count > 0 && each_line_failed { kept.collect() } else { command.outcome.stderr.clone() };
    // A refusal may be followed by a line that says what to do about it.
    let (said, others): (Vec<&str>, Vec<&str>) = got
        .stderr
        .split_inclusive('\n')
        .partition(|line| count > 0 && (refused::says_so(line) || line.starts_with("hint: ")));
    let refusals: Vec<&&str> = said.iter().filter(|line| refused::says_so(line)).collect();
    let mut differences = Vec::new();
    if refusals.len() < count {
        differences.push(format!(
            "{count} lines use what this version does not have, {} were refused",
            refusals.len()
        ));
    }
    let expected =
        Outcome { stdout: refused.strip(&command.outcome.stdout), stderr, ..command.outcome.clone() };
    let got = Finished { stderr: others.concat(), ..got.clone() };
    differences.extend(compare::outcome(&command.cmd, &expected, &got));
    differences
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

    #[test]
    fn a_refused_command_must_be_refused_clearly() {
        let command = |cmd: &str, stdout: &str| Command {
            scenario: "s".into(),
            cmd: cmd.into(),
            stdin: None,
            user: "root".into(),
            outcome: Outcome { rc: 0, stdout: stdout.into(), stderr: String::new() },
        };
        let finished = |code, stderr: &str| Finished { code, stdout: String::new(), stderr: stderr.into() };
        let names = Names::new("", "");
        let mut refused = Refused::new(&names);
        let mut notes = Mismatches::default();
        let engine = command("ipvsadm -A -u 192.0.2.1:5060 -o --pe sip", "");
        for (got, wrong) in [
            (finished(0, ""), true),
            (finished(255, "Memory allocation problem\n"), true),
            (finished(255, "persistence engines are not supported by this version\n"), false),
        ] {
            assert_eq!(judge(&engine, &got, Some(&mut refused), &mut notes).is_empty(), !wrong, "{got:?}");
        }
        assert!(
            !judge(&engine, &finished(255, "not supported"), None, &mut notes).is_empty(),
            "no allowance"
        );
    }

    #[test]
    fn refused_lines_of_a_restore_are_set_apart() {
        let input = "-A -t 192.0.2.1:80 -s rr\n-A -u 192.0.2.1:5060 -o --pe sip\n-A -t 192.0.2.2:80 -s rr\n";
        let command = Command {
            scenario: "s".into(),
            cmd: "ipvsadm -R".into(),
            stdin: Some(input.into()),
            user: "root".into(),
            outcome: Outcome {
                rc: 255,
                stdout: String::new(),
                stderr: "Service already exists\nService already exists\nService already exists\n".into(),
            },
        };
        let names = Names::new("", "");
        let mut notes = Mismatches::default();
        let got = |stderr: &str| Finished { code: 255, stdout: String::new(), stderr: stderr.into() };
        let mut check = |stderr: &str| {
            judge(&command, &got(stderr), Some(&mut Refused::new(&names)), &mut notes).is_empty()
        };
        assert!(check(
            "Service already exists\npersistence engines are not supported\nService already exists\n"
        ));
        assert!(check("Service already exists\nnot in this version\nhint: use -m\nService already exists\n"));
        assert!(!check("Service already exists\nService already exists\n"), "silently accepted");
    }
}
