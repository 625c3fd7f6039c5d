//! Cuts a command line into options the way popt 1.19 does: short options may be joined (`-Ln`),
//! their arguments too (`-t192.0.2.1:80`, `-t=...`), long ones take `--opt=value` or the next word,
//! and are never abbreviated.

use super::option::{Argument, Spec, TABLE, Word};

/// An option with its argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) word: Word,
    pub(super) argument: Option<&'a str>,
}

/// What cannot be read, `Display` as popt says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LexError {
    #[error("{0}: unknown option")]
    Unknown(String),
    #[error("{0}: missing argument")]
    MissingArgument(String),
    #[error("{0}: option does not take an argument")]
    UnwantedArgument(String),
}

/// Reads options from words, and keeps the words that are none.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    words: &'a [String],
    next: usize,
    /// What is left of a word of joined short options.
    joined: Option<&'a str>,
    /// After `--` nothing is an option.
    ended: bool,
    plain: Vec<&'a str>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self { words, next: 0, joined: None, ended: false, plain: Vec::new() }
    }

    /// The word that was read last: the culprit of an error.
    pub(super) fn culprit(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|n| self.words.get(n)).map_or("", String::as_str)
    }

    /// The words that are no options, so far.
    pub(super) fn plain(&self) -> &[&'a str] {
        &self.plain
    }

    /// The next option, `None` at the end.
    pub(super) fn token(&mut self) -> Option<Result<Token<'a>, LexError>> {
        loop {
            if let Some(joined) = self.joined.take() {
                return Some(self.short(joined));
            }
            let word = self.words.get(self.next)?.as_str();
            self.next += 1;
            if self.ended {
                self.plain.push(word);
                continue;
            }
            match word.strip_prefix('-') {
                None | Some("") => self.plain.push(word),
                Some("-") => self.ended = true,
                Some(rest) => match rest.strip_prefix('-') {
                    Some(long) => return Some(self.long(long)),
                    None => self.joined = Some(rest),
                },
            }
        }
    }

    fn long(&mut self, text: &'a str) -> Result<Token<'a>, LexError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let spec = TABLE.iter().find(|s| s.long == name);
        let spec = spec.ok_or_else(|| LexError::Unknown(self.culprit().to_owned()))?;
        if value.is_some() && spec.argument == Argument::None {
            return Err(LexError::UnwantedArgument(self.culprit().to_owned()));
        }
        self.with_argument(spec, value)
    }

    fn short(&mut self, joined: &'a str) -> Result<Token<'a>, LexError> {
        let mut rest = joined.chars();
        let letter = rest.next();
        let spec = TABLE.iter().find(|s| s.short.is_some() && s.short == letter);
        let spec = spec.ok_or_else(|| LexError::Unknown(self.culprit().to_owned()))?;
        let rest = rest.as_str();
        let rest = rest.strip_prefix('=').unwrap_or(rest);
        if rest.is_empty() {
            return self.with_argument(spec, None);
        }
        if spec.argument == Argument::None {
            self.joined = Some(rest);
            return Ok(Token { word: spec.word, argument: None });
        }
        self.with_argument(spec, Some(rest))
    }

    fn with_argument(&mut self, spec: &Spec, value: Option<&'a str>) -> Result<Token<'a>, LexError> {
        let argument = match (spec.argument, value) {
            (Argument::None, _) => None,
            (_, Some(value)) => Some(value),
            (Argument::Required, None) => {
                let word = self.words.get(self.next);
                let word = word.ok_or_else(|| LexError::MissingArgument(self.culprit().to_owned()))?;
                self.next += 1;
                Some(word.as_str())
            }
            (Argument::Optional, None) => {
                let word = self.words.get(self.next).filter(|w| !w.starts_with('-'));
                self.next += usize::from(word.is_some());
                word.map(String::as_str)
            }
        };
        Ok(Token { word: spec.word, argument })
    }
}

#[cfg(test)]
mod tests {
    use super::super::option::{Opt, Verb};
    use super::*;
    use crate::model::Protocol;

    type Read = (Word, Option<String>);

    fn lex(line: &str) -> (Vec<Read>, Option<String>, Vec<String>) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut lexer = Lexer::new(&words);
        let mut tokens = Vec::new();
        let mut error = None;
        while let Some(token) = lexer.token() {
            match token {
                Ok(t) => tokens.push((t.word, t.argument.map(str::to_owned))),
                Err(e) => {
                    error = Some(e.to_string());
                    break;
                }
            }
        }
        (tokens, error, lexer.plain().iter().map(|w| (*w).to_owned()).collect())
    }

    const LIST: Read = (Word::Verb(Verb::List), None);
    const NUMERIC: Read = (Word::Opt(Opt::Numeric), None);

    #[test]
    fn short_options_are_joined() {
        assert_eq!(lex("-Ln"), (vec![LIST, NUMERIC], None, vec![]));
        assert_eq!(lex("-Lnc").0.len(), 3);
        assert_eq!(lex("-L=n").0, [LIST, NUMERIC]);
    }

    #[test]
    fn arguments_may_stick_to_their_option() {
        let service = (Word::Address(Protocol::Tcp), Some("192.0.2.1:80".to_owned()));
        for line in
            ["-Lt192.0.2.1:80", "-L -t=192.0.2.1:80", "-Lt 192.0.2.1:80", "-L --tcp-service=192.0.2.1:80"]
        {
            assert_eq!(lex(line), (vec![LIST, service.clone()], None, vec![]), "{line}");
        }
    }

    #[test]
    fn an_optional_argument_does_not_begin_with_a_dash() {
        let persistent = |v: Option<&str>| (Word::Opt(Opt::Persistent), v.map(str::to_owned));
        assert_eq!(lex("-p 60").0, [persistent(Some("60"))]);
        assert_eq!(lex("-p").0, [persistent(None)]);
        assert_eq!(lex("-p -n").0, [persistent(None), NUMERIC]);
        assert_eq!(lex("--persistent=-5").0, [persistent(Some("-5"))]);
    }

    #[test]
    fn errors_name_the_whole_word() {
        assert_eq!(lex("-Lq").1.as_deref(), Some("-Lq: unknown option"));
        assert_eq!(lex("-L --num").1.as_deref(), Some("--num: unknown option"));
        assert_eq!(lex("-A -t").1.as_deref(), Some("-t: missing argument"));
        assert_eq!(lex("--list=all").1.as_deref(), Some("--list=all: option does not take an argument"));
    }

    #[test]
    fn other_words_are_kept() {
        assert_eq!(lex("--set 1 - 3 -n -- -4").2, ["1", "-", "3", "-4"]);
    }
}
