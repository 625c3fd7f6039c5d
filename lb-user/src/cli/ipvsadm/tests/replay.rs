//! Every command of `tests/recordings/ipvsadm-cli.json`.

use serde::Deserialize;

use super::{Director, Printed, shell};

#[derive(Debug, Deserialize)]
struct Recorded {
    scenario: String,
    cmd: String,
    stdin: String,
    user: String,
    rc: u8,
    stdout: String,
    stderr: String,
}

/// The lines of a listing in an order of our own, for those whose order is the kernel's hash.
fn unordered(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_recorded_commands_print_what_was_recorded() {
    let text = include_str!("../../../../../tests/recordings/ipvsadm-cli.json");
    let recordings: Vec<Recorded> = serde_json::from_str(text).unwrap();
    let mut director = Director::default();
    let mut scenario = "";
    let (mut compared, mut wrong) = (0, Vec::new());
    for recorded in &recordings {
        if recorded.scenario != scenario {
            scenario = &recorded.scenario;
            director = Director::default();
        }
        if !recorded.cmd.starts_with("ipvsadm") {
            continue;
        }
        assert_eq!(recorded.user, "root");
        let got = shell(&mut director, &recorded.cmd, &recorded.stdin);
        let mut want =
            Printed { code: recorded.rc, out: recorded.stdout.clone(), err: recorded.stderr.clone() };
        if scenario == "sync-daemons" && !usage_or_empty(recorded) {
            // There is no sync yet: nothing starts, nothing is listed, nothing stops.
            if recorded.cmd.contains("--start") {
                assert!(got.err.starts_with("connection sync is not in this version"), "{}", got.err);
            } else if recorded.cmd.contains("--stop") {
                want = Printed { code: 255, out: String::new(), err: "No daemon is running\n".to_owned() };
                assert_eq!(got, want);
            }
            continue;
        }
        compared += 1;
        let same = if recorded.cmd.contains("--nosort") {
            unordered(&got.out) == unordered(&want.out) && got.code == want.code && got.err == want.err
        } else {
            got == want
        };
        if !same {
            wrong.push(format!("{scenario}: {}\nwant {want:#?}\ngot {got:#?}", recorded.cmd));
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(compared > 470, "only {compared} commands were compared");
}

/// Whether a recorded command of the sync daemons ended before any daemon was touched.
fn usage_or_empty(recorded: &Recorded) -> bool {
    let popt = ["Try `", "missing argument", "No daemon"].iter().any(|t| recorded.stderr.contains(t));
    recorded.rc == 2 || popt || recorded.cmd.contains("-L") && recorded.stdout.is_empty()
}

/// The commands of the recordings with traffic: here only that they are taken.
#[test]
fn the_commands_of_the_recordings_with_traffic_are_taken() {
    #[derive(Deserialize)]
    struct Case {
        steps: Vec<serde_json::Value>,
    }
    let scheduling: Vec<Case> =
        serde_json::from_str(include_str!("../../../../../tests/recordings/scheduling.json")).unwrap();
    let mut taken = 0;
    for case in scheduling {
        let mut director = Director::default();
        let commands = case.steps.iter().filter(|s| s["ipvsadm"].is_string());
        for step in commands {
            let line = step["ipvsadm"].as_str().unwrap();
            let got = shell(&mut director, line, "");
            assert_eq!((i64::from(got.code), got.err.as_str()), (step["rc"].as_i64().unwrap(), ""), "{line}");
            taken += 1;
        }
    }
    let packets: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../../../../tests/recordings/packets.json")).unwrap();
    for packet in packets {
        let mut director = Director::default();
        for line in packet["ipvsadm"].as_array().unwrap() {
            let got = shell(&mut director, line.as_str().unwrap(), "");
            assert_eq!((got.code, got.err.as_str()), (0, ""), "{line}");
            taken += 1;
        }
    }
    assert!(taken > 150, "only {taken} commands");
}
