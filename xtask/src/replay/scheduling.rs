//! Replaying scheduling.json: which real server gets a connection.

use anyhow::Result;
use netns_tests::{Agent, Director};
use serde_json::{Value, json};

use super::recording::{SchedulingCase, Step};
use super::stage::Stage;
use super::{Mismatches, compare};

/// Runs a case against a fresh director.
///
/// # Errors
/// If the machinery fails, not if an answer differs.
pub(crate) fn run(stage: &mut Stage, case: &SchedulingCase) -> Result<Mismatches> {
    let marks =
        case.steps.iter().any(|s| matches!(s, Step::Ipvsadm { ipvsadm, .. } if ipvsadm.contains(" -f ")));
    let director = stage.fresh_director(marks)?;
    let client = &mut stage.traffic()?.client;
    let mut found = Mismatches::default();
    for (n, step) in case.steps.iter().enumerate() {
        let (what, differences) = one(&director, client, step)?;
        found.add(&format!("step {} {what}", n + 1), differences);
    }
    client.close_all()?;
    Ok(found)
}

fn one(director: &Director, client: &mut Agent, step: &Step) -> Result<(String, Vec<String>)> {
    let flow =
        |(from, port, to, to_port): &super::recording::Flow| format!("{from}:{port} -> {to}:{to_port}");
    let expect = |expected: &str, got: String| {
        if got == expected { Vec::new() } else { vec![format!("expected {expected}, got {got}")] }
    };
    Ok(match step {
        Step::Ipvsadm { ipvsadm, outcome } => {
            let got = director.recorded(ipvsadm, "", "root")?;
            (format!("`{ipvsadm}`"), compare::outcome(ipvsadm, outcome, &got))
        }
        Step::Connect { connect, got, hold } => {
            let order = json!({"connect": connect, "hold": hold});
            (format!("connect {}", flow(connect)), expect(got, client.got(order)?))
        }
        Step::Udp { udp, got } => {
            (format!("datagram {}", flow(udp)), expect(got, client.got(json!({"udp": udp}))?))
        }
        Step::Echo { echo, got } => (format!("echo {echo}"), expect(got, client.got(json!({"echo": echo}))?)),
        Step::Close { close } => (format!("close {close}"), closed(client, close)),
        Step::Sysctl { sysctl } => {
            let done = director.lbadm(&["set", sysctl])?;
            let differences = if done.ok() {
                Vec::new()
            } else {
                vec![format!("`lbadm set {sysctl}` ended with {}: {}", done.code, done.stderr.trim_end())]
            };
            (format!("sysctl {sysctl}"), differences)
        }
    })
}

/// A connection that never came to be cannot be closed: that is a difference, not a fault of the machinery.
fn closed(client: &mut Agent, id: &Value) -> Vec<String> {
    match client.order(json!({"close": id})) {
        Ok(_done) => Vec::new(),
        Err(e) => vec![format!("{e:#}")],
    }
}
