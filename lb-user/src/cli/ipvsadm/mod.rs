//! The ipvsadm personality: the grammar, the texts and the exit codes of ipvsadm 1.31, spoken to lbd.
//!
//! The oracle is `tests/recordings/ipvsadm-cli.json`, recordings of the program itself, replayed by
//! the tests of this module. Where several errors meet, the first one in ipvsadm's order is told.

mod check;
mod command;
mod execute;
mod lexer;
mod line;
mod message;
mod names;
mod option;
mod parse;
mod usage;
mod value;

use std::io::{self, BufRead, Write};

use self::command::Command;
pub use self::names::Names;
#[cfg(test)]
pub(crate) use self::names::NoNames;
use self::parse::Wrong;
pub use self::usage::help;
use super::Control;
use super::render::{ListFormat, View};

/// Exit code of usage errors, and of not being root.
const USAGE: u8 = 2;
/// Exit code of a command line that popt cannot read (ipvsadm's -1).
const UNREADABLE: u8 = 255;

/// Which of the three programs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personality {
    /// `ipvsadm`.
    Ipvsadm,
    /// `ipvsadm-save`: `ipvsadm -S`.
    Save,
    /// `ipvsadm-restore`: `ipvsadm -C`, then `ipvsadm -R` without lines that begin with `#`.
    Restore,
}

impl Personality {
    /// The personality of a program of this name that is given `words` (behind the global options):
    /// by its name, or because the first word is an option that is not lbadm's own.
    #[must_use]
    pub fn of(program: &str, words: &[String]) -> Option<Self> {
        match program {
            "ipvsadm" => Some(Self::Ipvsadm),
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => match words.first().map(String::as_str) {
                Some("-h" | "--help" | "-V" | "--version") | None => None,
                Some(word) => word.starts_with('-').then_some(Self::Ipvsadm),
            },
        }
    }
}

/// How a command line ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcome {
    code: u8,
    /// Whether a restore ends here.
    stop: bool,
}

impl Outcome {
    const fn go_on(code: u8) -> Self {
        Self { code, stop: false }
    }

    const fn stop(code: u8) -> Self {
        Self { code, stop: true }
    }
}

/// One run of the program.
pub struct Session<'a> {
    /// The program's name in messages.
    pub program: String,
    /// Whether the caller's effective user is root.
    pub root: bool,
    /// Who knows names of hosts and services.
    pub names: &'a dyn Names,
    /// lbd.
    pub control: &'a mut dyn Control,
    /// Standard input, read by `-R`.
    pub input: &'a mut dyn BufRead,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

impl Session<'_> {
    /// Does what `words` say, the command line without the program's name, and gives the exit code.
    ///
    /// # Errors
    /// Only those of reading standard input and of writing the output.
    pub fn run(&mut self, personality: Personality, words: &[String]) -> io::Result<u8> {
        let help = words.first().is_some_and(|w| {
            matches!(w.as_str(), "-h" | "--help") || personality == Personality::Ipvsadm && is_version(w)
        });
        // ipvsadm looks for the kernel before it looks at its command line. Help is for everybody.
        if !self.root && !help {
            writeln!(self.err, "Can't initialize ipvs: Permission denied (you must be root)")?;
            return Ok(USAGE);
        }
        let outcome = match personality {
            Personality::Ipvsadm if words.is_empty() => {
                let view = View::Plain;
                self.list_all(ListFormat { view, numeric: false, exact: false, sort: true })?
            }
            Personality::Ipvsadm => self.command_line(words, false)?,
            Personality::Save if help => self.execute(Command::Help, false)?,
            Personality::Save => {
                let words: Vec<String> =
                    std::iter::once("-S".to_owned()).chain(words.iter().cloned()).collect();
                self.command_line(&words, false)?
            }
            Personality::Restore if help => self.execute(Command::Help, false)?,
            Personality::Restore => match words.first() {
                Some(word) => {
                    writeln!(self.err, "unexpected argument {word}")?;
                    Outcome::stop(USAGE)
                }
                None => {
                    let cleared = self.execute(Command::Clear, false)?;
                    if cleared.code == 0 { self.restore(|line| !line.starts_with('#'))? } else { cleared }
                }
            },
        };
        self.out.flush()?;
        self.err.flush()?;
        Ok(outcome.code)
    }

    fn command_line(&mut self, words: &[String], restoring: bool) -> io::Result<Outcome> {
        match parse::parse(words, self.names) {
            Ok(command) => self.execute(command, restoring),
            Err(Wrong::TryHelp) => self.try_help(),
            Err(Wrong::Word(error)) => {
                writeln!(self.err, "{error}")?;
                Ok(Outcome::go_on(UNREADABLE))
            }
            Err(Wrong::Usage(text)) => {
                writeln!(self.err, "{text}")?;
                Ok(Outcome::stop(USAGE))
            }
        }
    }

    fn try_help(&mut self) -> io::Result<Outcome> {
        let program = &self.program;
        writeln!(self.err, "Try `{program} -h' or '{program} --help' for more information.")?;
        Ok(Outcome::stop(UNREADABLE))
    }

    /// Carries out the lines of standard input that `wanted` says. A refusal does not end it, a usage
    /// error does; the exit code is that of the last line.
    fn restore(&mut self, wanted: fn(&str) -> bool) -> io::Result<Outcome> {
        let mut code = 0;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if self.input.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(Outcome::go_on(code));
            }
            let line = String::from_utf8_lossy(&bytes);
            if !wanted(&line) {
                continue;
            }
            let words: Vec<String> = line
                .split([' ', '\t', '\r', '\n'])
                .filter(|word| !word.is_empty() && *word != "ipvsadm")
                .map(str::to_owned)
                .collect();
            if words.is_empty() {
                continue;
            }
            let outcome = self.command_line(&words, true)?;
            code = outcome.code;
            if outcome.stop {
                return Ok(outcome);
            }
        }
    }
}

fn is_version(word: &str) -> bool {
    matches!(word, "-v" | "--version")
}

#[cfg(test)]
mod tests;
