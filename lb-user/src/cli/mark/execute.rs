//! Carries out what a command line of `lbadm mark` asks for.
//!
//! Exit codes: 0 done, 1 refused (of `-C`: no such rule), 2 usage, 3 lbd does not answer.

use std::io::{self, Write};

use super::error::Error;
use super::import::import;
use super::line::words as cut;
use super::parse::{Command, parse};
use super::text::text;
use crate::api::{MarkChange, Refusal, Request, Response};
use crate::cli::ipvsadm::Names;
use crate::cli::render::marks;
use crate::cli::{Control, ControlError};
use crate::model::{MarkRule, OwnedMarkRule};

pub(super) const REFUSED: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const UNREACHABLE: u8 = 3;

const HELP: &str = "\
lbadm mark gives packets firewall marks by iptables' words, as table mangle does in chain PREROUTING:
  lbadm mark -A PREROUTING -d 192.0.2.1 -p tcp -m multiport --dports 80,443 -j MARK --set-mark 3
A line of iptables can stay as it is behind `lbadm mark`: `-t mangle` may stand in front.

commands      -A CHAIN rule, -I CHAIN [number] rule, -R CHAIN number rule, -D CHAIN rule or number,
              -C CHAIN rule (exit code 0 where it is there), -F [CHAIN], -L, -S;
              --restore [--noflush] takes such lines, or those of iptables-save, from standard input, all or none
rules         [!] -s, -d ADDRESS[/MASK][,...]   [!] -i INTERFACE (eth+: every one that begins so)   [!] -p PROTOCOL
              -m tcp, udp, sctp [!] --sport, --dport PORT[:PORT]
              -m multiport [!] --sports, --dports, --ports PORT[:PORT],... (up to 15)
              -m mac [!] --mac-source MAC   -m iprange [!] --src-range, --dst-range FIRST-LAST
              -m comment --comment TEXT
              -j MARK --set-mark, --set-xmark MARK[/MASK], --or-mark, --and-mark, --xor-mark MARK
              -j RETURN, -j ACCEPT: rules behind it are not looked at
families      -4, -6; without, that of the addresses, else IPv4 (-L and -S: both)
import        lbadm mark import [--watch] [--dry-run] [--strict] [-6] [FILE]: what iptables-save prints
A packet meets the rules in their order; one that gives a mark does not end the walk, a later one overwrites it.
";

/// Someone to ask and somewhere to write.
pub(super) struct Session<'a> {
    pub(super) control: &'a mut dyn Control,
    pub(super) names: &'a dyn Names,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

/// Does what `words` say and gives the exit code.
///
/// # Errors
/// Only those of writing the output.
pub(in crate::cli) fn run(
    words: &[String],
    control: &mut dyn Control,
    names: &dyn Names,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut session = Session { control, names, out, err };
    let code = match words.split_first() {
        Some((word, rest)) if word == "import" => import(&mut session, rest)?,
        None => {
            write!(session.out, "{HELP}")?;
            USAGE
        }
        Some(_) => match parse(words, names) {
            Ok(command) => session.execute(command)?,
            Err(error) => session.usage(&error)?,
        },
    };
    session.out.flush()?;
    session.err.flush()?;
    Ok(code)
}

/// The changes that a command asks for, or the command itself where it is another.
fn changes(command: Command) -> Result<Vec<MarkChange>, Command> {
    let each = |rules: Vec<MarkRule>, of: &dyn Fn((u32, Box<MarkRule>)) -> MarkChange| {
        (0..).zip(rules).map(|(n, rule)| of((n, Box::new(rule)))).collect()
    };
    Ok(match command {
        Command::Append(rules) => each(rules, &|(_, rule)| MarkChange::Append { rule }),
        Command::Insert(number, rules) => {
            each(rules, &|(n, rule)| MarkChange::Insert { number: number.saturating_add(n), rule })
        }
        Command::Replace(number, rule) => vec![MarkChange::Replace { number, rule }],
        Command::Delete(rules) => each(rules, &|(_, rule)| MarkChange::Delete { rule }),
        Command::DeleteNumber { ipv6, number } => vec![MarkChange::DeleteNumber { ipv6, number }],
        Command::Flush { ipv6 } => vec![MarkChange::Flush { ipv6 }],
        Command::Nothing => Vec::new(),
        other => return Err(other),
    })
}

impl Session<'_> {
    pub(super) fn usage(&mut self, error: &Error) -> io::Result<u8> {
        writeln!(self.err, "error: {}", error.message)?;
        if let Some(hint) = &error.hint {
            writeln!(self.err, "hint: {hint}")?;
        }
        Ok(USAGE)
    }

    fn failed(&mut self, message: &str, hint: Option<&str>, code: u8) -> io::Result<u8> {
        writeln!(self.err, "error: {message}")?;
        if let Some(hint) = hint {
            writeln!(self.err, "hint: {hint}")?;
        }
        Ok(code)
    }

    pub(super) fn unreachable(&mut self, error: &ControlError) -> io::Result<u8> {
        self.failed(&error.message, error.hint.as_deref(), UNREACHABLE)
    }

    /// Asks for something; the refusal, if it is refused.
    fn ask(&mut self, request: &Request) -> Result<(Vec<OwnedMarkRule>, Option<Refusal>), ControlError> {
        let (mut rules, mut refusal) = (Vec::new(), None);
        self.control.ask(request, &mut |response| match response {
            Response::Marks { rules: some } => rules = some,
            Response::Refused(why) => refusal = Some(why),
            _ => {}
        })?;
        Ok((rules, refusal))
    }

    pub(super) fn change(&mut self, changes: Vec<MarkChange>) -> io::Result<u8> {
        match self.ask(&Request::ChangeMarks { changes }) {
            Ok((_, None)) => Ok(0),
            Ok((_, Some(r))) => self.failed(
                &format!("cannot change the mark rules: {}", r.message),
                r.hint.as_deref(),
                REFUSED,
            ),
            Err(error) => self.unreachable(&error),
        }
    }

    /// The rules there are, or the exit code.
    fn list(&mut self) -> io::Result<Result<Vec<OwnedMarkRule>, u8>> {
        match self.ask(&Request::Marks) {
            Ok((rules, None)) => Ok(Ok(rules)),
            Ok((_, Some(r))) => {
                let message = format!("cannot list the mark rules: {}", r.message);
                self.failed(&message, r.hint.as_deref(), REFUSED).map(Err)
            }
            Err(error) => self.unreachable(&error).map(Err),
        }
    }

    fn execute(&mut self, command: Command) -> io::Result<u8> {
        let command = match changes(command) {
            Ok(changes) if changes.is_empty() => return Ok(0),
            Ok(changes) => return self.change(changes),
            Err(command) => command,
        };
        match command {
            Command::Restore { keep } => return self.restore(keep),
            Command::Help => {
                write!(self.out, "{HELP}")?;
                return Ok(0);
            }
            _ => {}
        }
        let rules = match self.list()? {
            Ok(rules) => rules,
            Err(code) => return Ok(code),
        };
        let of = |family: Option<bool>| {
            let wanted = rules.iter().filter(move |o| family.is_none_or(|six| six == o.rule.ipv6));
            wanted.cloned().collect::<Vec<_>>()
        };
        match command {
            Command::Check(wanted) => {
                if wanted.iter().all(|w| rules.iter().any(|o| o.rule == *w)) {
                    return Ok(0);
                }
                self.failed("there is no such mark rule", None, REFUSED)
            }
            Command::Save(family) => {
                for owned in of(family) {
                    writeln!(self.out, "{}", line(&owned.rule))?;
                }
                Ok(0)
            }
            Command::List(family) => {
                marks(self.out, &of(family))?;
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    /// `--restore`: every line, or none.
    fn restore(&mut self, keep: bool) -> io::Result<u8> {
        let input = match self.control.read_text("-") {
            Ok(input) => input,
            Err(error) => return self.failed(&error.message, error.hint.as_deref(), REFUSED),
        };
        let mut all = Vec::new();
        if !keep {
            all.extend([false, true].map(|ipv6| MarkChange::Flush { ipv6 }));
        }
        let mut wrong = false;
        for (n, line) in input.lines().enumerate() {
            match restored(line, self.names) {
                Ok(changes) => all.extend(changes),
                Err(error) => {
                    wrong = true;
                    writeln!(self.err, "error: line {}: {}", n + 1, error.message)?;
                    if let Some(hint) = &error.hint {
                        writeln!(self.err, "hint: {hint}")?;
                    }
                }
            }
        }
        if wrong {
            writeln!(self.err, "nothing is changed")?;
            return Ok(USAGE);
        }
        self.change(all)
    }
}

/// A rule as `-S` prints it.
pub(super) fn line(rule: &MarkRule) -> String {
    format!("{}-A PREROUTING {}", if rule.ipv6 { "-6 " } else { "" }, text(rule))
}

/// A line of a restore: one that `-S` printed, a command in front of it or not, or one of iptables-save.
fn restored(line: &str, names: &dyn Names) -> Result<Vec<MarkChange>, Error> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ':']) || line == "COMMIT" {
        return Ok(Vec::new());
    }
    let refused = |message: String| Err(Error { message, hint: None });
    if let Some(table) = line.strip_prefix('*') {
        return if table.trim() == "mangle" {
            Ok(Vec::new())
        } else {
            refused(format!("table {table} gives no marks: only mangle does"))
        };
    }
    let mut words = cut(line)?;
    let mut ipv6 = false;
    while let Some(first) = words.first().filter(|w| !w.starts_with('-') && *w != "!") {
        match first.rsplit('/').next() {
            Some("lbadm" | "mark" | "iptables" | "sudo") => {}
            Some("ip6tables") => ipv6 = true,
            _ => break,
        }
        words.remove(0);
    }
    if ipv6 {
        words.push("-6".to_owned());
    }
    match changes(parse(&words, names)?) {
        Ok(changes) => Ok(changes),
        Err(_) => refused("only commands that change rules stand in a restore".to_owned()),
    }
}
