//! A command line into a [`Command`], or into the message and the exit code that ipvsadm 1.31 has for
//! it. The order in which things are looked at is ipvsadm's, so that of several errors the same one
//! is told.

use super::Names;
use super::command::Command;
use super::lexer::{LexError, Lexer, Token};
use super::line::Line;
use super::option::{Fits, Given, Opt, Verb, Word};
use super::value::number;
use crate::model::Timeouts;

/// Longest timeout, seconds (31 days).
const MAX_TIMEOUT: u32 = 2_678_400;

/// A command line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// No command in the first place: where to find help. Ends a restore.
    TryHelp,
    /// A word that is no option. A restore goes on with the next line.
    Word(LexError),
    /// Anything else. Ends a restore.
    Usage(String),
}

/// A usage error with its text.
pub(super) fn usage<T>(text: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Usage(text.into()))
}

/// Understands `words`, the command line without the program's name.
pub(super) fn parse(words: &[String], names: &dyn Names) -> Result<Command, Wrong> {
    let mut lexer = Lexer::new(words);
    let Some(Ok(Token { word: Word::Verb(verb), argument })) = lexer.token() else {
        return Err(Wrong::TryHelp);
    };
    match verb {
        Verb::Help => return Ok(Command::Help),
        Verb::Version => return Ok(Command::Version),
        Verb::StartDaemon if !matches!(argument, Some("master" | "backup")) => {
            return usage("illegal start-daemon parameter specified");
        }
        Verb::StopDaemon if !matches!(argument, Some("master" | "backup")) => {
            return usage("illegal start_daemon specified");
        }
        _ => {}
    }
    let mut line = Line::new(names);
    while let Some(token) = lexer.token() {
        let token = token.map_err(Wrong::Word)?;
        line.take(&token, lexer.culprit())?;
    }
    let mut plain = lexer.plain().iter();
    if verb == Verb::Set {
        let (Some(tcp), Some(tcp_fin), Some(udp)) = (plain.next(), plain.next(), plain.next()) else {
            return usage("--set option requires 3 timeout values");
        };
        line.timeouts =
            Timeouts { tcp: timeout(tcp, 0)?, tcp_fin: timeout(tcp_fin, 0)?, udp: timeout(udp, 0)? };
    }
    if let Some(word) = plain.next() {
        return usage(format!("unexpected argument {word}"));
    }
    fitting(verb, line.given)?;
    line.command(verb)
}

/// Whether the options that were given fit the command.
fn fitting(verb: Verb, given: Given) -> Result<(), Wrong> {
    let mut exclusive: Option<Opt> = None;
    for opt in Opt::ALL {
        match (verb.fits(opt), given.has(opt)) {
            (Fits::Required, false) => {
                let (opt, verb) = (opt.name(), verb.name());
                return usage(format!("You need to supply the '{opt}' option for the '{verb}' command"));
            }
            (Fits::Illegal, true) => {
                return usage(format!("Illegal '{}' option with the '{}' command", opt.name(), verb.name()));
            }
            (Fits::Exclusive, true) => {
                if let Some(other) = exclusive {
                    let (opt, other, verb) = (opt.name(), other.name(), verb.name());
                    return usage(format!(
                        "The option '{opt}' conflicts with the '{other}' option in the '{verb}' command"
                    ));
                }
                exclusive = Some(opt);
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn timeout(text: &str, min: u32) -> Result<u32, Wrong> {
    match number(text, min, MAX_TIMEOUT) {
        Some(seconds) => Ok(seconds),
        None => usage(format!("invalid timeout value `{text}' specified")),
    }
}
