//! The files of recordings, known by their shape.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// One recorded command.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Command {
    /// The scenario it belongs to.
    pub(crate) scenario: String,
    /// The line given to a shell.
    pub(crate) cmd: String,
    /// Its standard input.
    #[serde(default)]
    pub(crate) stdin: Option<String>,
    /// Who gave it.
    #[serde(default = "root")]
    pub(crate) user: String,
    /// What came of it.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

fn root() -> String {
    "root".into()
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Outcome {
    /// Exit code.
    pub(crate) rc: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// Commands that go in order against one director.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Its name.
    pub(crate) name: String,
    /// Its commands.
    pub(crate) commands: Vec<Command>,
}

/// Source address and port, destination address and port.
pub(crate) type Flow = (String, u16, String, u16);

/// One step of a scheduling case.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Step {
    /// A command on the director.
    Ipvsadm {
        /// The line.
        ipvsadm: String,
        /// What came of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A TCP connection; it stays open where it has an id.
    Connect {
        /// From where to where.
        connect: Flow,
        /// The server that answered, or the error.
        got: String,
        /// The id to hold it by.
        #[serde(default)]
        hold: Option<Value>,
    },
    /// One question on a held connection.
    Echo {
        /// Which connection.
        echo: Value,
        /// The server that answered, or the error.
        got: String,
    },
    /// The end of a held connection.
    Close {
        /// Which connection.
        close: Value,
    },
    /// A datagram.
    Udp {
        /// From where to where.
        udp: Flow,
        /// The server that answered, or the error.
        got: String,
    },
    /// A setting of the director.
    Sysctl {
        /// `net.ipv4.vs.NAME=VALUE`.
        sysctl: String,
    },
}

/// Which real servers got the connections.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SchedulingCase {
    /// Its name; the same name may be there once for each forwarding method.
    pub(crate) name: String,
    /// `NAT`, `DR` or `TUN`.
    pub(crate) forward: String,
    /// What was done.
    pub(crate) steps: Vec<Step>,
}

/// One packet and what became of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PacketCase {
    /// `NAT`, `DR` or `TUN`.
    pub(crate) method: String,
    /// The options of `ipvsadm -a`.
    pub(crate) options: String,
    /// `IPv4` or `IPv6`.
    #[serde(default)]
    pub(crate) vip: String,
    /// `IPv4` or `IPv6`.
    #[serde(default)]
    pub(crate) server: String,
    /// The commands before.
    pub(crate) ipvsadm: Vec<String>,
    /// Their exit codes.
    pub(crate) rc: Vec<i32>,
    /// The client's frame, hexadecimal.
    pub(crate) sent: String,
    /// The frame that reached the real server, hexadecimal.
    pub(crate) received: String,
}

impl PacketCase {
    /// Its name: method and options, and the families where they are not IPv4.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        let families = match (self.vip.as_str(), self.server.as_str()) {
            ("IPv4" | "", "IPv4" | "") => String::new(),
            (vip, server) => format!(" {vip} to {server}"),
        };
        format!("{} {}{families}", self.method, self.options)
    }
}

/// A file of recordings.
#[derive(Debug, Clone)]
pub(crate) enum Recording {
    /// ipvsadm-cli.json, live-listings.json.
    Commands(Vec<Scenario>),
    /// scheduling.json.
    Scheduling(Vec<SchedulingCase>),
    /// packets.json.
    Packets(Vec<PacketCase>),
}

/// Reads a file.
///
/// # Errors
/// If it cannot be read or has none of the known shapes.
pub(crate) fn read(path: &Path) -> Result<Recording> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text).with_context(|| format!("in {}", path.display()))
}

/// Recognises a recording by the keys of its first entry.
///
/// # Errors
/// If it is no JSON list or has none of the known shapes.
pub(crate) fn parse(text: &str) -> Result<Recording> {
    let list: Vec<Value> = serde_json::from_str(text).context("a recording is a JSON list")?;
    let has = |key: &str| list.first().is_some_and(|first| first.get(key).is_some());
    let whole = Value::Array(list.clone());
    if has("scenario") && has("cmd") {
        Ok(Recording::Commands(scenarios(serde_json::from_value(whole).context("a list of commands")?)))
    } else if has("steps") {
        Ok(Recording::Scheduling(serde_json::from_value(whole).context("a list of scheduling cases")?))
    } else if has("sent") && has("received") {
        Ok(Recording::Packets(serde_json::from_value(whole).context("a list of packets")?))
    } else {
        bail!(
            "not a recording: its first entry has neither `scenario` and `cmd`, nor `steps`, nor `sent` and `received`"
        )
    }
}

/// Puts commands of the same scenario together, in order of appearance.
fn scenarios(commands: Vec<Command>) -> Vec<Scenario> {
    let mut all: Vec<Scenario> = Vec::new();
    for command in commands {
        match all.iter_mut().find(|s| s.name == command.scenario) {
            Some(scenario) => scenario.commands.push(command),
            None => all.push(Scenario { name: command.scenario.clone(), commands: vec![command] }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_recognised() {
        let commands = r#"[{"scenario":"a","cmd":"x","stdin":null,"user":"root","rc":0,"stdout":"","stderr":""},
            {"scenario":"b","cmd":"y","stdin":"in","user":"nobody","rc":2,"stdout":"","stderr":"no"},
            {"scenario":"a","cmd":"z","stdin":"","user":"root","rc":0,"stdout":"","stderr":""}]"#;
        let Recording::Commands(all) = parse(commands).unwrap() else { panic!("not commands") };
        let names: Vec<_> = all.iter().map(|s| (s.name.as_str(), s.commands.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1)]);
        let packets = r#"[{"method":"DR","options":"-g","vip":"IPv4","server":"IPv4","ipvsadm":[],"rc":[],"sent":"00","received":"01"}]"#;
        let Recording::Packets(all) = parse(packets).unwrap() else { panic!("not packets") };
        assert_eq!(all[0].name(), "DR -g");
    }

    #[test]
    fn every_kind_of_step_is_told_apart() {
        let text = r#"[{"name":"n","forward":"NAT","steps":[
            {"ipvsadm":"ipvsadm -C","rc":0,"stdout":"","stderr":""},
            {"connect":["203.0.113.1",1,"192.0.2.1",80],"got":"rs1","hold":3},
            {"connect":["203.0.113.1",1,"192.0.2.1",80],"got":"rs1"},
            {"echo":3,"got":"rs1"},{"close":3},
            {"udp":["203.0.113.1",1,"192.0.2.1",80],"got":"timeout"},
            {"sysctl":"net.ipv4.vs.sloppy_tcp=1"}]}]"#;
        let Recording::Scheduling(cases) = parse(text).unwrap() else { panic!("not scheduling") };
        let kinds: Vec<&str> = cases[0]
            .steps
            .iter()
            .map(|s| match s {
                Step::Ipvsadm { .. } => "ipvsadm",
                Step::Connect { hold: Some(_), .. } => "hold",
                Step::Connect { .. } => "connect",
                Step::Echo { .. } => "echo",
                Step::Close { .. } => "close",
                Step::Udp { .. } => "udp",
                Step::Sysctl { .. } => "sysctl",
            })
            .collect();
        assert_eq!(kinds, ["ipvsadm", "hold", "connect", "echo", "close", "udp", "sysctl"]);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["[]", "{}", "[{\"a\":1}]", "no"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
