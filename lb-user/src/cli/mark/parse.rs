//! A command line of iptables' words.

use super::error::{Error, UNDERSTOOD, wrong, wrong_with};
use super::option::{Spec, Values, Word, long, short};
use super::rule::Draft;
use crate::cli::ipvsadm::Names;
use crate::model::MarkRule;

/// What a command line asks for. Rules are of one address family; an address may stand for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Append(Vec<MarkRule>),
    Insert(u32, Vec<MarkRule>),
    Replace(u32, Box<MarkRule>),
    Delete(Vec<MarkRule>),
    DeleteNumber {
        ipv6: bool,
        number: u32,
    },
    Check(Vec<MarkRule>),
    Flush {
        ipv6: bool,
    },
    /// Of one family, or of both.
    List(Option<bool>),
    Save(Option<bool>),
    /// Rules from standard input; whether those that are there stay.
    Restore {
        keep: bool,
    },
    /// A command that changes nothing here: the policy of the chain.
    Nothing,
    Help,
}

/// The one chain.
const CHAIN: &str = "PREROUTING";
/// The one table.
const TABLE: &str = "mangle";
/// Modules whose options are known.
const MODULES: [&str; 7] = ["tcp", "udp", "sctp", "multiport", "mac", "iprange", "comment"];

struct Parser<'a> {
    words: std::slice::Iter<'a, String>,
    names: &'a dyn Names,
    draft: Draft,
    command: Option<(Word, &'static Spec)>,
    /// The number behind a chain.
    number: Option<u32>,
    keep: bool,
}

/// Reads a command line.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(words: &[String], names: &dyn Names) -> Result<Command, Error> {
    let draft = Draft::default();
    Parser { words: words.iter(), names, draft, command: None, number: None, keep: false }.run()
}

impl Parser<'_> {
    fn run(mut self) -> Result<Command, Error> {
        let mut negated = false;
        while let Some(word) = self.words.next() {
            if word == "!" {
                if negated {
                    return wrong("two `!` in a row");
                }
                negated = true;
                continue;
            }
            if let Some(rest) = word.strip_prefix("--") {
                let (name, value) =
                    rest.split_once('=').map_or((rest, None), |(n, v)| (n, Some(v.to_owned())));
                let Some(spec) = long(name) else { return self.unknown(&format!("--{name}")) };
                self.option(spec, &format!("--{name}"), value, negated)?;
            } else if let Some(rest) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                self.short_options(rest, negated)?;
            } else {
                return wrong_with(format!("unexpected word `{word}`"), UNDERSTOOD);
            }
            negated = false;
        }
        if negated {
            return wrong("nothing stands behind the last `!`");
        }
        self.finish()
    }

    fn unknown<T>(&self, name: &str) -> Result<T, Error> {
        wrong_with(format!("option `{name}` is not known"), UNDERSTOOD)
    }

    /// Options of one letter: flags may stand in one word, and a value behind the last.
    fn short_options(&mut self, mut rest: &str, negated: bool) -> Result<(), Error> {
        while let Some(letter) = rest.chars().next() {
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            let Some(spec) = short(letter) else { return self.unknown(&format!("-{letter}")) };
            let takes = spec.values != Values::None;
            let value = (takes && !rest.is_empty()).then(|| rest.to_owned());
            self.option(spec, &format!("-{letter}"), value, negated)?;
            if takes {
                break;
            }
        }
        Ok(())
    }

    /// The next word as a value, where it is none of an option.
    fn optional(&mut self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let mut ahead = self.words.clone();
        let word = ahead.next().filter(|w| fits(w))?.clone();
        self.words = ahead;
        Some(word)
    }

    fn option(
        &mut self,
        spec: &'static Spec,
        name: &str,
        mut value: Option<String>,
        mut negated: bool,
    ) -> Result<(), Error> {
        let is_number = |w: &str| w.bytes().all(|b| b.is_ascii_digit()) && !w.is_empty();
        match spec.values {
            Values::None if value.is_some() => return wrong(format!("option `{name}` has no value")),
            Values::None => {}
            Values::One => {
                if value.is_none() {
                    value = self.words.next().cloned();
                    // As it was written long ago: -s ! 192.0.2.1.
                    if value.as_deref() == Some("!") && spec.negatable {
                        negated = !negated;
                        value = self.words.next().cloned();
                    }
                }
                if value.is_none() {
                    return wrong(format!("option `{name}` needs a value"));
                }
            }
            Values::Number => value = value.or_else(|| self.optional(is_number)),
            Values::Chain => value = value.or_else(|| self.optional(|w| !w.starts_with('-') && w != "!")),
            Values::Two => {
                value = value.or_else(|| self.words.next().cloned());
                if value.is_none() || self.words.next().is_none() {
                    return wrong(format!("option `{name}` needs two values"));
                }
            }
        }
        if negated && !spec.negatable {
            return wrong(format!("`!` cannot stand in front of `{name}`"));
        }
        self.meaning(spec, name, value.as_deref().unwrap_or_default(), negated)
    }

    fn meaning(&mut self, spec: &'static Spec, name: &str, value: &str, negated: bool) -> Result<(), Error> {
        match spec.word {
            Word::Table if value == TABLE => Ok(()),
            Word::Table => wrong_with(
                format!("table `{value}` gives no marks here"),
                format!("marks are given by table {TABLE}: -t {TABLE}, or leave it out"),
            ),
            Word::Match if MODULES.contains(&value) => Ok(()),
            Word::Match if matches!(value, "state" | "conntrack") => wrong_with(
                format!("module `-m {value}` is not known"),
                "leave it out: a mark is looked at only where a connection begins",
            ),
            Word::Match => wrong_with(
                format!("module `-m {value}` is not known"),
                format!("known are: {}", MODULES.join(", ")),
            ),
            Word::Append
            | Word::Insert
            | Word::Replace
            | Word::Delete
            | Word::Check
            | Word::Flush
            | Word::List
            | Word::Save
            | Word::Policy
            | Word::Restore => self.command(spec, name, value),
            Word::NoFlush => {
                self.keep = true;
                Ok(())
            }
            Word::Wait | Word::Counters | Word::Look => Ok(()),
            Word::Help => {
                self.command = Some((Word::Help, spec));
                Ok(())
            }
            Word::Refused(why) => wrong_with(format!("option `{name}` is not understood: {why}"), UNDERSTOOD),
            word => self.draft.set(word, name, value, negated, self.names),
        }
    }

    fn command(&mut self, spec: &'static Spec, name: &str, value: &str) -> Result<(), Error> {
        if let Some((_, before)) = self.command.filter(|(word, _)| *word != Word::Help) {
            return wrong(format!("`{}` and `{name}` are two commands: one a time", before.name()));
        }
        self.command = Some((spec.word, spec));
        let needs_chain =
            matches!(spec.word, Word::Append | Word::Insert | Word::Replace | Word::Delete | Word::Check);
        if value.is_empty() && needs_chain {
            return wrong_with(format!("`{name}` needs a chain"), format!("write {name} {CHAIN}"));
        }
        if !value.is_empty() && value != CHAIN {
            return wrong_with(
                format!("chain `{value}` gives no marks here"),
                format!("packets come here before everything else: marks are given in {CHAIN}"),
            );
        }
        if matches!(spec.word, Word::Insert | Word::Replace | Word::Delete | Word::List | Word::Save)
            && let Some(text) = self.optional(|w| w.starts_with(|c: char| c.is_ascii_digit()))
        {
            match text.parse() {
                Ok(number) if number > 0 => self.number = Some(number),
                _ => return wrong(format!("`{text}` is no number of a rule: they begin with 1")),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Command, Error> {
        let Some((word, spec)) = self.command else {
            return wrong_with("no command is given", "one of -A -I -R -D -C -F -L -S, --restore, import");
        };
        let families = self.draft.family;
        let bare = |draft: &Draft| {
            if draft.is_empty() { Ok(()) } else { wrong(format!("`{}` takes no rule", spec.name())) }
        };
        match word {
            Word::Append => Ok(Command::Append(self.draft.rules()?)),
            Word::Insert => Ok(Command::Insert(self.number.unwrap_or(1), self.draft.rules()?)),
            Word::Check => Ok(Command::Check(self.draft.rules()?)),
            Word::Replace => {
                let Some(number) = self.number else {
                    return wrong("`-R` needs the number of a rule");
                };
                let mut rules = self.draft.rules()?;
                match (rules.pop(), rules.is_empty()) {
                    (Some(rule), true) => Ok(Command::Replace(number, Box::new(rule))),
                    _ => wrong("one rule cannot be replaced by several: give one source and one destination"),
                }
            }
            Word::Delete => match self.number.take() {
                Some(number) => {
                    bare(&self.draft)?;
                    Ok(Command::DeleteNumber { ipv6: families.unwrap_or(false), number })
                }
                None => Ok(Command::Delete(self.draft.rules()?)),
            },
            Word::Flush => {
                bare(&self.draft)?;
                Ok(Command::Flush { ipv6: families.unwrap_or(false) })
            }
            Word::List => {
                bare(&self.draft)?;
                Ok(Command::List(families))
            }
            Word::Save => {
                bare(&self.draft)?;
                Ok(Command::Save(families))
            }
            Word::Restore => {
                bare(&self.draft)?;
                Ok(Command::Restore { keep: self.keep })
            }
            Word::Help => Ok(Command::Help),
            _ => Ok(Command::Nothing),
        }
    }
}
