//! The command line of marks: what is taken, what is written back, what is refused and how it is told.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use super::line::words;
use super::parse::{Command, parse};
use super::{run, text};
use crate::api::{ErrorKind, MarkChange, Refusal, Request, Response};
use crate::cli::ipvsadm::Names;
use crate::cli::{Control, ControlError};
use crate::model::{MarkOwner, MarkRule, OwnedMarkRule, Protocol};

mod importing;

/// Knows one host and one port.
pub(super) struct Few;

impl Names for Few {
    fn host_to_addr(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "vip.example").then_some(Ipv4Addr::new(192, 0, 2, 1))
    }
    fn service_to_port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        match (name, protocol) {
            ("http", Protocol::Tcp) => Some(80),
            ("domain", Protocol::Udp) => Some(53),
            _ => None,
        }
    }
    fn addr_to_host(&self, _: IpAddr) -> Option<String> {
        None
    }
    fn port_to_service(&self, _: u16, _: Protocol) -> Option<String> {
        None
    }
}

/// Keeps rules as lbd does, without its checks.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) rules: Vec<OwnedMarkRule>,
    pub(super) asked: Vec<Request>,
    pub(super) texts: VecDeque<Result<String, ControlError>>,
    pub(super) refuses: Option<Refusal>,
    /// Looks of a watch that are still to come.
    pub(super) looks: u32,
}

impl Control for Fake {
    fn ask(&mut self, request: &Request, part: &mut dyn FnMut(Response)) -> Result<(), ControlError> {
        self.asked.push(request.clone());
        part(match (request, &self.refuses) {
            (_, Some(refusal)) => Response::Refused(refusal.clone()),
            (Request::Marks, None) => Response::Marks { rules: self.rules.clone() },
            _ => Response::Done,
        });
        Ok(())
    }

    fn read_text(&mut self, _: &str) -> Result<String, ControlError> {
        self.texts.pop_front().unwrap()
    }

    fn saved_rules(&mut self, _: bool) -> Result<String, ControlError> {
        self.texts.pop_front().unwrap()
    }

    fn pause(&mut self, _: u32) -> bool {
        let more = self.looks > 0;
        self.looks = self.looks.saturating_sub(1);
        more
    }
}

fn commanded(line: &str) -> Result<Command, String> {
    parse(&words(line).unwrap(), &Few).map_err(|e| e.message)
}

/// The rules of a command that appends, as they are written back.
fn written(line: &str) -> Vec<String> {
    match commanded(line) {
        Ok(Command::Append(rules)) => rules.iter().map(text).collect(),
        other => panic!("{line}: {other:?}"),
    }
}

pub(super) fn rule(line: &str) -> MarkRule {
    match commanded(&format!("-A PREROUTING {line}")) {
        Ok(Command::Append(rules)) => rules.into_iter().next().unwrap(),
        other => panic!("{line}: {other:?}"),
    }
}

pub(super) fn owned(line: &str) -> OwnedMarkRule {
    OwnedMarkRule { rule: rule(line), owner: MarkOwner::Operator }
}

/// Exit code, output and errors of a command.
pub(super) fn done(control: &mut Fake, line: &str) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&words(line).unwrap(), control, &Few, &mut out, &mut err).unwrap();
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_lines_people_have_are_taken_as_they_are() {
    for (line, expected) in [
        (
            "-t mangle -A PREROUTING -d 192.168.79.99 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 3",
            "-d 192.168.79.99/32 -p tcp -m multiport --dports 80,443 -j MARK --set-xmark 0x3/0xffffffff",
        ),
        (
            "-t mangle -A PREROUTING -d 192.0.2.1 -p tcp -m tcp --dport 3306 -m mac  ! --mac-source 02:00:00:00:00:0A -j MARK --set-mark 0x3",
            "-d 192.0.2.1/32 -p tcp -m tcp --dport 3306 -m mac ! --mac-source 02:00:00:00:00:0a -j MARK --set-xmark 0x3/0xffffffff",
        ),
        (
            "--table mangle --append PREROUTING --destination vip.example --protocol tcp --match multiport --destination-ports http,8000:8100 --in-interface eth0 --jump MARK --set-mark=010/0xff",
            "-d 192.0.2.1/32 -i eth0 -p tcp -m multiport --dports 80,8000:8100 -j MARK --set-xmark 0x8/0xff",
        ),
        (
            "-A PREROUTING -tmangle -w 5 -i eth+ ! -s 203.0.113.0/255.255.255.0 -pudp --dport domain --sport 1024: -j MARK --or-mark 4",
            "! -s 203.0.113.0/24 -i eth+ -p udp -m udp --sport 1024:65535 -m udp --dport 53 -j MARK --set-xmark 0x4/0x4",
        ),
        (
            "-A PREROUTING ! -i lo -s ! 203.0.113.9 -m iprange --src-range 203.0.113.1-203.0.113.20 ! --dst-range 192.0.2.4-192.0.2.5 -m comment --comment 'a \"web\" rule' -j MARK --and-mark 0xf",
            "! -s 203.0.113.9/32 ! -i lo -m iprange --src-range 203.0.113.1-203.0.113.20 -m iprange ! --dst-range 192.0.2.4-192.0.2.5 -m comment --comment \"a \\\"web\\\" rule\" -j MARK --set-xmark 0x0/0xfffffff0",
        ),
        ("-A PREROUTING -d 0.0.0.0/0 -p all -j MARK --xor-mark 1", "-j MARK --set-xmark 0x1/0x0"),
        (
            "-A PREROUTING -p tcp -m multiport --ports 80 -j RETURN",
            "-p tcp -m multiport --ports 80 -j RETURN",
        ),
        ("-A PREROUTING ! -p icmp -j ACCEPT", "! -p icmp -j ACCEPT"),
        (
            "-6 -A PREROUTING -p udp ! --sport 53 -j MARK --set-xmark 1/2",
            "-p udp -m udp ! --sport 53 -j MARK --set-xmark 0x1/0x2",
        ),
        (
            "-A PREROUTING -d 2001:db8::1 -j MARK --set-mark 1",
            "-d 2001:db8::1/128 -j MARK --set-xmark 0x1/0xffffffff",
        ),
    ] {
        assert_eq!(written(line), [expected], "{line}");
        // And back: the same rule.
        let family = if rule_of(line).ipv6 { "-6" } else { "-4" };
        assert_eq!(rule_of(&format!("{family} -A PREROUTING {expected}")), rule_of(line), "{expected}");
    }
    assert!(rule_of("-A PREROUTING -d 2001:db8::1 -j ACCEPT").ipv6);
    assert_eq!(
        written("-A PREROUTING -s 203.0.113.1,203.0.113.2 -d 192.0.2.1,192.0.2.2 -j ACCEPT").len(),
        4,
        "one for each source and destination, as iptables makes them"
    );
}

fn rule_of(line: &str) -> MarkRule {
    match commanded(line) {
        Ok(Command::Append(rules)) => rules.into_iter().next().unwrap(),
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_command_is_told_apart() {
    let accept = || rule("-j ACCEPT");
    for (line, expected) in [
        ("-I PREROUTING -j ACCEPT", Command::Insert(1, vec![accept()])),
        ("-I PREROUTING 3 -j ACCEPT", Command::Insert(3, vec![accept()])),
        ("--replace PREROUTING 3 -j ACCEPT", Command::Replace(3, Box::new(accept()))),
        ("-D PREROUTING -j ACCEPT", Command::Delete(vec![accept()])),
        ("-D PREROUTING 2", Command::DeleteNumber { ipv6: false, number: 2 }),
        ("-6 -D PREROUTING 2", Command::DeleteNumber { ipv6: true, number: 2 }),
        ("-C PREROUTING -j ACCEPT", Command::Check(vec![accept()])),
        ("-F", Command::Flush { ipv6: false }),
        ("-t mangle -F PREROUTING --ipv6", Command::Flush { ipv6: true }),
        ("-S", Command::Save(None)),
        ("-nvL PREROUTING --line-numbers", Command::List(None)),
        ("-4 -S PREROUTING", Command::Save(Some(false))),
        ("-P PREROUTING ACCEPT", Command::Nothing),
        ("--restore --noflush", Command::Restore { keep: true }),
        ("--help", Command::Help),
    ] {
        assert_eq!(commanded(line), Ok(expected), "{line}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    for (line, message) in [
        ("-A PREROUTING --fragment -j MARK", "option `--fragment` is not known"),
        ("-A PREROUTING -q", "option `-q` is not known"),
        ("-A PREROUTING -m recent --name x", "module `-m recent` is not known"),
        ("-A PREROUTING -m state --state NEW", "module `-m state` is not known"),
        (
            "-A PREROUTING -p tcp --syn -j MARK",
            "option `--syn` is not understood: a mark is looked at only where a connection begins, so that the rule means the same without it",
        ),
        ("-A INPUT -j MARK --set-mark 1", "chain `INPUT` gives no marks here"),
        ("-A", "`-A` needs a chain"),
        ("-t nat -A PREROUTING", "table `nat` gives no marks here"),
        ("-A PREROUTING -j CONNMARK", "target `-j CONNMARK` is not known"),
        ("-A PREROUTING -j MARK", "`-j MARK` says not which mark"),
        ("-A PREROUTING -d 192.0.2.1", "the rule says not what to do"),
        ("-A PREROUTING -j ACCEPT --set-mark 1", "`--set-mark` belongs to `-j MARK`, not to `-j ACCEPT`"),
        (
            "-A PREROUTING -j MARK --set-mark 4294967296",
            "`--set-mark`: `4294967296` is no mark like 3, 0x3 or 0x3/0xff",
        ),
        ("-A PREROUTING -j MARK --or-mark 1/2", "`--or-mark`: `1/2` is no mark like 3 or 0x3"),
        ("-A PREROUTING -d vip -j ACCEPT", "`-d`: the host `vip` is not known"),
        (
            "-A PREROUTING -d 192.0.2.1/33 -j ACCEPT",
            "`-d`: `33` is no prefix length from 0 to 32 and no mask",
        ),
        (
            "-A PREROUTING -s 192.0.2.1 -d 2001:db8::1 -j ACCEPT",
            "`2001:db8::1/128` is no IPv4 address, as the rest of the rule is",
        ),
        (
            "-6 -A PREROUTING -s 192.0.2.1 -j ACCEPT",
            "`192.0.2.1/32` is no IPv6 address, as the rest of the rule is",
        ),
        (
            "-A PREROUTING ! -s 192.0.2.1,192.0.2.2 -j ACCEPT",
            "`!` cannot stand in front of several addresses",
        ),
        ("-A PREROUTING -p tcp --dport 80,443 -j ACCEPT", "`--dport` takes one port or one range"),
        (
            "-A PREROUTING -p tcp --dport web -j ACCEPT",
            "`--dport`: `web` is no port of tcp and no range of ports",
        ),
        (
            "-A PREROUTING -p tcp --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16 -j ACCEPT",
            "`--dports` names more than 15 ports",
        ),
        ("-A PREROUTING -p icmp --dport 80 -j ACCEPT", "`--dport` needs a protocol that has ports"),
        (
            "-A PREROUTING -p tcp --dport 80 --dports 81 -j ACCEPT",
            "`--dports` says once more what was said before",
        ),
        (
            "-A PREROUTING -p tcp --ports 80 --dports 81 -j ACCEPT",
            "the rule cannot be: `--ports` and `--dports` cannot stand together",
        ),
        ("-A PREROUTING -p foo -j ACCEPT", "`-p`: `foo` is no protocol"),
        (
            "-A PREROUTING -i a234567890123456 -j ACCEPT",
            "`-i`: `a234567890123456` is no name of an interface: they have at most 15 bytes",
        ),
        (
            "-A PREROUTING -m mac --mac-source 1:2 -j ACCEPT",
            "`--mac-source`: `1:2` is no MAC address like 02:00:00:00:00:01",
        ),
        ("-A PREROUTING ! -j ACCEPT", "`!` cannot stand in front of `-j`"),
        ("-A PREROUTING -j ACCEPT !", "nothing stands behind the last `!`"),
        ("-A PREROUTING -s", "option `-s` needs a value"),
        ("-A PREROUTING -j ACCEPT -F", "`-A` and `-F` are two commands: one a time"),
        ("-F PREROUTING -s 192.0.2.1", "`-F` takes no rule"),
        ("-R PREROUTING -j ACCEPT", "`-R` needs the number of a rule"),
        ("-D PREROUTING 0", "`0` is no number of a rule: they begin with 1"),
        (
            "-A PREROUTING -o eth0 -j ACCEPT",
            "option `-o` is not understood: no packet has an interface to leave by yet in PREROUTING",
        ),
        ("-N MARKS", "option `-N` is not understood: PREROUTING is the one chain there is"),
        ("-j ACCEPT", "no command is given"),
        ("add", "unexpected word `add`"),
    ] {
        assert_eq!(commanded(line), Err(message.to_owned()), "{line}");
    }
    let (code, out, err) = done(&mut Fake::default(), "-A PREROUTING --hashlimit 1");
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.starts_with("error: option `--hashlimit` is not known\nhint: understood are: -t mangle; "),
        "{err}"
    );
}

#[test]
fn commands_become_changes_and_listings_text() {
    let mut fake =
        Fake { rules: vec![owned("-p tcp -j MARK --set-mark 3"), owned("-6 -j RETURN")], ..Fake::default() };
    assert_eq!(
        done(&mut fake, "-I PREROUTING 2 -s 203.0.113.1,203.0.113.2 -j ACCEPT"),
        (0, String::new(), String::new())
    );
    let Some(Request::ChangeMarks { changes }) = fake.asked.pop() else { panic!() };
    let numbers = changes.iter().map(|c| if let MarkChange::Insert { number, .. } = c { *number } else { 0 });
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 3]);
    let saved = "-A PREROUTING -p tcp -j MARK --set-xmark 0x3/0xffffffff\n-6 -A PREROUTING -j RETURN\n";
    assert_eq!(done(&mut fake, "-S"), (0, saved.to_owned(), String::new()));
    assert_eq!(done(&mut fake, "-6 -S").1, "-6 -A PREROUTING -j RETURN\n");
    let listed = "IPV4  MARK  OWNER     PACKETS\n1     3     operator  -p tcp\n";
    assert_eq!(done(&mut fake, "-4 -L").1, listed);
    assert_eq!(done(&mut fake, "-C PREROUTING -p tcp -j MARK --set-mark 3").0, 0);
    let absent = "error: there is no such mark rule\n".to_owned();
    assert_eq!(done(&mut fake, "-C PREROUTING -p udp -j MARK --set-mark 3"), (1, String::new(), absent));
    fake.refuses = Some(Refusal {
        kind: ErrorKind::NoSuchRule,
        message: "there is no such IPv4 mark rule".to_owned(),
        hint: Some("look".to_owned()),
    });
    let refused =
        "error: cannot change the mark rules: there is no such IPv4 mark rule\nhint: look\n".to_owned();
    assert_eq!(done(&mut fake, "-D PREROUTING -j ACCEPT"), (1, String::new(), refused));
}

#[test]
fn what_is_saved_is_restored_and_so_are_scripts() {
    let saved = "-A PREROUTING -p tcp -j MARK --set-xmark 0x3/0xffffffff\n-6 -A PREROUTING -j RETURN\n";
    let script = "# marks\nlbadm mark -A PREROUTING -p tcp -j MARK --set-mark 3\n\n/sbin/ip6tables -t mangle -A PREROUTING -j RETURN\n";
    let tables = "*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -j MARK --set-mark 3\n-A PREROUTING -6 -j RETURN\nCOMMIT\n";
    for text in [saved, script, tables] {
        let mut fake = Fake { texts: [Ok(text.to_owned())].into(), ..Fake::default() };
        assert_eq!(done(&mut fake, "--restore"), (0, String::new(), String::new()), "{text}");
        let append = |line| MarkChange::Append { rule: Box::new(rule(line)) };
        let changes = vec![
            MarkChange::Flush { ipv6: false },
            MarkChange::Flush { ipv6: true },
            append("-p tcp -j MARK --set-mark 3"),
            append("-6 -j RETURN"),
        ];
        assert_eq!(fake.asked, [Request::ChangeMarks { changes }]);
    }
    // One wrong line: nothing is asked.
    let wrong = "-A PREROUTING -j ACCEPT\n-A PREROUTING -m foo\n-S\n*nat\n";
    let mut fake = Fake { texts: [Ok(wrong.to_owned())].into(), ..Fake::default() };
    let (code, _, err) = done(&mut fake, "--restore --noflush");
    assert_eq!((code, fake.asked.len()), (2, 0));
    for line in [
        "error: line 2: module `-m foo` is not known",
        "error: line 3: only commands that change rules stand in a restore",
        "error: line 4: table nat gives no marks: only mangle does",
        "nothing is changed",
    ] {
        assert!(err.contains(line), "{err}");
    }
}

#[test]
fn words_are_cut_as_a_shell_does() {
    for (line, expected) in [
        ("  a  b\t", vec!["a", "b"]),
        (r#"a "b c" 'd "e' f\ g"#, vec!["a", "b c", "d \"e", "f g"]),
        (r#""a\"b\\c" """#, vec!["a\"b\\c", ""]),
        (r#"a"b"c"#, vec!["abc"]),
    ] {
        assert_eq!(words(line).unwrap(), expected);
    }
    assert!(words("'a").is_err() && words("\"a\\\"").is_err());
    for word in ["", "a b", "a\"b", "\\", "é", "x;y"] {
        assert_eq!(words(&super::line::quoted(word)).unwrap(), [word]);
    }
}

proptest::proptest! {
    #[test]
    fn no_line_makes_it_panic(line in "((-[a-zA-Z0-9]|--[a-z-]{1,12}|!|[a-z0-9.:/,'\"-]{1,12}|PREROUTING|MARK) ){0,12}") {
        if let Ok(words) = words(&line) {
            let _ = parse(&words, &Few);
        }
        let _ = super::saved::read(&line, false, &Few);
    }
}
