//! What `iptables-save` prints: the rules of table mangle that packets meet in PREROUTING.

use std::collections::BTreeMap;

use super::error::Error;
use super::line::words;
use super::parse::{Command, parse};
use crate::cli::ipvsadm::Names;
use crate::model::{MarkRule, MarkTarget};

/// Chains within chains, at most.
const DEPTH: u32 = 16;

/// A rule that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Number of the line, from 1.
    pub(super) line: usize,
    /// The line.
    pub(super) text: String,
    /// Why.
    pub(super) why: String,
}

/// A saved text, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// The rules in the order in which packets meet them.
    pub(super) rules: Vec<MarkRule>,
    /// The others.
    pub(super) left: Vec<Left>,
}

/// A line that appends a rule.
struct Line {
    number: usize,
    text: String,
    /// Behind `-A CHAIN`.
    words: Vec<String>,
}

impl Line {
    fn left(&self, why: impl Into<String>) -> Left {
        Left { line: self.number, text: self.text.clone(), why: why.into() }
    }

    /// The chain it jumps to, and whether every packet does.
    fn jump(&self) -> Option<(&str, bool)> {
        let at = self.words.iter().position(|w| w == "-j" || w == "--jump" || w == "-g" || w == "--goto")?;
        Some((self.words.get(at + 1)?, at == 0 && self.words.len() == 2))
    }
}

struct Reader<'a> {
    chains: BTreeMap<String, Vec<Line>>,
    names: &'a dyn Names,
    ipv6: bool,
    saved: Saved,
}

/// Reads a text of `iptables-save` or `ip6tables-save`, or of `iptables -t mangle -S`.
pub(super) fn read(text: &str, ipv6: bool, names: &dyn Names) -> Saved {
    let mut reader = Reader { chains: BTreeMap::new(), names, ipv6, saved: Saved::default() };
    reader.lines(text);
    let before = reader.chains.remove("PREROUTING").unwrap_or_default();
    for line in before {
        reader.rule(&line, 0, true);
    }
    // Marks of chains that packets meet elsewhere: whoever wrote them should know.
    for (chain, lines) in &reader.chains {
        let builtin = ["INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&chain.as_str());
        for line in lines.iter().filter(|l| builtin && l.jump().is_some_and(|(to, _)| to == "MARK")) {
            reader.saved.left.push(line.left("only what PREROUTING marks is seen here"));
        }
    }
    reader.saved.left.sort_by_key(|left| left.line);
    reader.saved.left.dedup();
    reader.saved
}

impl Reader<'_> {
    fn lines(&mut self, text: &str) {
        // A text without tables is a listing of rules.
        let mut mangle = true;
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(table) = line.strip_prefix('*') {
                mangle = table.trim() == "mangle";
                continue;
            }
            if let Some(chain) = line.strip_prefix(':') {
                if let Some(name) = chain.split_whitespace().next().filter(|_| mangle) {
                    self.chains.entry(name.to_owned()).or_default();
                }
                continue;
            }
            // Counters stand in front (iptables-save -c).
            let rule =
                line.strip_prefix('[').and_then(|l| l.split_once(']')).map_or(line, |(_, rule)| rule.trim());
            if !mangle || rule.is_empty() || rule.starts_with('#') || rule == "COMMIT" {
                continue;
            }
            let mut entry = Line { number: n + 1, text: rule.to_owned(), words: Vec::new() };
            match words(rule) {
                Ok(mut all) => {
                    if matches!(all.first().map(String::as_str), Some("-N" | "--new-chain")) {
                        if let Some(name) = all.get(1) {
                            self.chains.entry(name.clone()).or_default();
                        }
                        continue;
                    }
                    if matches!(all.first().map(String::as_str), Some("-P" | "--policy")) {
                        continue;
                    }
                    if all.len() < 2 || !matches!(all.first().map(String::as_str), Some("-A" | "--append")) {
                        self.saved.left.push(entry.left("this is no rule that is appended to a chain"));
                        continue;
                    }
                    entry.words = all.split_off(2);
                    let chain = all.pop().unwrap_or_default();
                    self.chains.entry(chain).or_default().push(entry);
                }
                Err(error) => self.saved.left.push(entry.left(error.message)),
            }
        }
    }

    /// A rule that packets come to; `outermost` in PREROUTING itself.
    fn rule(&mut self, line: &Line, depth: u32, outermost: bool) {
        if let Some((chain, always)) = line.jump()
            && self.chains.contains_key(chain)
        {
            let (chain, always) = (chain.to_owned(), always);
            self.chain(line, &chain, always, depth);
            return;
        }
        let append = ["-A", "PREROUTING"].map(str::to_owned);
        let family = if self.ipv6 { "-6" } else { "-4" }.to_owned();
        let all: Vec<String> = append.into_iter().chain([family]).chain(line.words.iter().cloned()).collect();
        match parse(&all, self.names) {
            Ok(Command::Append(rules)) => {
                let ends = rules.iter().any(|r| r.target == MarkTarget::Return);
                if ends && !outermost {
                    let why = "it returns to the chain that jumped here, and rules here are one list";
                    self.saved.left.push(line.left(why));
                } else {
                    self.saved.rules.extend(rules);
                }
            }
            Ok(_) => self.saved.left.push(line.left("this is no rule that is appended to a chain")),
            Err(Error { message, .. }) => self.saved.left.push(line.left(message)),
        }
    }

    /// A jump: the rules of a chain that every packet goes to are as if they stood there.
    fn chain(&mut self, line: &Line, chain: &str, always: bool, depth: u32) {
        if !always {
            let why = format!("only some packets go to chain {chain}: put the conditions into its rules");
            self.saved.left.push(line.left(why));
            return;
        }
        if depth >= DEPTH {
            self.saved.left.push(line.left("chains lie too deep in each other"));
            return;
        }
        let Some(lines) = self.chains.remove(chain) else { return };
        for inner in &lines {
            self.rule(inner, depth + 1, false);
        }
        self.chains.insert(chain.to_owned(), lines);
    }
}
