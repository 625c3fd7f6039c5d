//! What `lbadm set` asks for and prints.

use clap::Parser;

use super::super::ControlError;
use super::super::ipvsadm::NoNames;
use super::super::lbadm::{self, Cli};
use super::*;
use crate::model::sysctl::{ABSENT, Sysctl};

/// Does as lbd, and remembers what it was asked.
struct Lbd {
    file: &'static str,
    asked: Vec<Request>,
}

impl Control for Lbd {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.asked.push(request.clone());
        let values = Sysctl::ALL.map(|name| SysctlValue { name, value: 2 }).to_vec();
        part(if *request == Request::Sysctls { Response::Sysctls { values } } else { Response::Done });
        Ok(())
    }

    fn read_text(&mut self, name: &str) -> Result<String, ControlError> {
        assert_eq!(name, "vs.conf");
        Ok(self.file.to_owned())
    }
}

/// Exit code, standard output, standard error, and what was to be set.
type Told = (u8, String, String, Option<Vec<(&'static str, u32)>>);

fn lbadm(words: &[&str], file: &'static str) -> Told {
    let cli = Cli::try_parse_from(["lbadm", "set"].iter().chain(words)).unwrap();
    let (mut out, mut err, mut lbd) = (Vec::new(), Vec::new(), Lbd { file, asked: Vec::new() });
    let code = lbadm::run(cli.command, &mut lbd, &NoNames, &mut out, &mut err).unwrap();
    let set = lbd.asked.into_iter().find_map(|request| match request {
        Request::SetSysctls { values } => Some(values.iter().map(|v| (v.name.name(), v.value)).collect()),
        _ => None,
    });
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), set)
}

fn refused(words: &[&str]) -> (u8, String) {
    let (code, out, err, set) = lbadm(words, "");
    assert_eq!((out.as_str(), set), ("", None), "{words:?}");
    (code, err)
}

#[test]
fn settings_go_to_lbd_together() {
    let words = ["drop_entry=1", "net.ipv4.vs.conn_reuse_mode=3", "net/ipv4/vs/sloppy_tcp=7", "pmtu_disc=1"];
    let set = Some(vec![("drop_entry", 1), ("conn_reuse_mode", 3), ("sloppy_tcp", 1)]);
    assert_eq!(lbadm(&words, ""), (0, String::new(), String::new(), set));
}

#[test]
fn what_cannot_be_set_is_said_and_nothing_is_set() {
    let (code, err) = refused(&["drop_entry=1", "dorp_entry=1"]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: cannot set sysctls: no sysctl of IPVS is named dorp_entry\nhint: there are ")
    );
    let (code, err) = refused(&["secure_tcp=4"]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error: cannot set sysctls: secure_tcp must be a whole number from 0 to 3\nhint: ")
    );
    let (code, err) = refused(&["secure_tcp"]);
    let text = "error: cannot set sysctls: `secure_tcp` is no setting\nhint: write it as: secure_tcp=VALUE\n";
    assert_eq!((code, err.as_str()), (2, text));
    let (code, err) = refused(&["net.ipv4.vs.sync_threshold=3 60"]);
    assert_eq!(code, 1);
    let text = "error: cannot set sysctls: sync_threshold is not supported by this version, but for its default 3 50\nhint: this version does not synchronise";
    assert!(err.starts_with(text), "{err}");
    for words in [&["--json", "drop_entry=1"][..], &["-p", "vs.conf", "drop_entry=1"], &["-p"]] {
        assert!(Cli::try_parse_from(["lbadm", "set"].iter().chain(words)).is_err(), "{words:?}");
    }
}

#[test]
fn a_file_of_sysctl_sets_what_it_can() {
    let file = "# comment\n; another\n\nnet.ipv4.ip_forward = 1\nnet.ipv4.vs.drop_entry = 1\n\
                net/ipv4/vs/am_droprate=20\nnet.ipv4.vs.conntrack = 1\n-net.ipv4.vs.drop_it = 1\nwhat\n\
                net.ipv4.vs.sync_threshold = 3\t50\n";
    let (code, out, err, set) = lbadm(&["-p", "vs.conf"], file);
    assert_eq!((code, out.as_str(), set), (1, "", Some(vec![("drop_entry", 1), ("am_droprate", 20)])));
    let lines: Vec<&str> = err.lines().filter(|line| !line.starts_with("hint: ")).collect();
    assert_eq!(
        lines,
        [
            "note: vs.conf:4: net.ipv4.ip_forward is not IPVS's: left to sysctl",
            "error: vs.conf:7: conntrack is not supported by this version, but for its default 0",
            "note: vs.conf:8: no sysctl of IPVS is named net.ipv4.vs.drop_it",
            "error: vs.conf:9: no setting of the form NAME = VALUE",
        ]
    );
    assert_eq!(lbadm(&["-p", "vs.conf"], "net.ipv4.vs.secure_tcp=3\n").0, 0);
}

#[test]
fn the_list_has_value_default_and_meaning_of_each() {
    let (code, out, err, _) = lbadm(&[], "");
    assert_eq!((code, err.as_str()), (0, ""));
    for sysctl in Sysctl::ALL {
        let text =
            format!("{} = 2 (default {})\n    {}\n", sysctl.name(), sysctl.default_value(), sysctl.what());
        assert!(out.contains(&text), "{out}");
    }
    assert!(out.contains("\nsync_threshold = 3 50\n    this version does not synchronise"), "{out}");
    let (_, out, ..) = lbadm(&["--json"], "");
    let json: Vec<serde_json::Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(json.len(), Sysctl::ALL.len() + ABSENT.len());
    let of = |name: &str| json.iter().find(|j| j["name"] == name).unwrap();
    assert_eq!((&of("amemthresh")["value"], &of("amemthresh")["default"]), (&2.into(), &"1024".into()));
    assert_eq!((&of("pmtu_disc")["value"], &of("pmtu_disc")["supported"]), (&().into(), &false.into()));
}
