//! What a Rust source file names, read from its tokens: comments and strings do not count, `use` trees are spelled out,
//! `self` and `super` are resolved.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path as it is written in code, made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// Its words. Begins with `crate` if it is one of this crate's own.
    pub(crate) words: Vec<String>,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// True in code that only tests have.
    pub(crate) in_test: bool,
}

impl Name {
    /// The path as text.
    pub(crate) fn text(&self) -> String {
        self.words.join("::")
    }

    /// True if it begins with these words.
    pub(crate) fn starts_with(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len() && self.words.iter().zip(words).all(|(have, want)| have == want)
    }
}

/// Every name in a file.
///
/// # Errors
/// When the text is not Rust.
pub(crate) fn names(path: &Path, text: &str) -> Result<Vec<Name>> {
    let tokens: TokenStream =
        text.parse().map_err(|error| anyhow!("{error}")).context("cannot be read as Rust")?;
    let mut reader = Reader { names: Vec::new(), module: module_path(path) };
    reader.read(tokens, is_test_file(path));
    Ok(reader.names)
}

/// True for files that are part of tests alone.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem == "tests")
        || path.components().any(|part| part.as_os_str() == "benches")
}

/// The module a file is, from its path below `src`: `a/b.rs` is `[a, b]`, `a/mod.rs` is `[a]`.
pub(crate) fn module_path(path: &Path) -> Vec<String> {
    let parts: Vec<String> =
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let below = parts.iter().position(|part| part == "src").map_or(&[][..], |at| &parts[at + 1..]);
    let mut module: Vec<String> = below.iter().map(|part| part.trim_end_matches(".rs").to_owned()).collect();
    if module.first().is_some_and(|first| first == "bin") {
        return Vec::new();
    }
    if module
        .last()
        .is_some_and(|last| last == "mod" || (module.len() == 1 && (last == "lib" || last == "main")))
    {
        module.pop();
    }
    module
}

struct Reader {
    names: Vec<Name>,
    module: Vec<String>,
}

impl Reader {
    fn read(&mut self, tokens: TokenStream, in_test: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        // An attribute #[cfg(test)] makes the item after it test code, #![cfg(test)] all that follows.
        let (mut rest_in_test, mut item_in_test) = (in_test, false);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            let in_test = rest_in_test || item_in_test;
            if let Some((inner, attribute, length)) = attribute(&tokens[at..]) {
                if is_cfg_test(attribute) {
                    rest_in_test |= inner;
                    item_in_test |= !inner;
                }
                self.read(attribute.stream(), in_test);
                at += length;
                continue;
            }
            match token {
                TokenTree::Ident(ident) if ident == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        self.module.push(name.to_string());
                        self.read(body.stream(), in_test);
                        self.module.pop();
                        item_in_test = false;
                        at += 2;
                    }
                }
                TokenTree::Ident(_) => {
                    at += self.path(&tokens[at..], &[], in_test);
                    // The group of a use tree belongs to the path; the item ends with the semicolon.
                    continue;
                }
                TokenTree::Group(group) => {
                    self.read(group.stream(), in_test);
                    item_in_test &= group.delimiter() != Delimiter::Brace;
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => item_in_test = false,
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Reads a path that starts at the first token, with the words of the use tree around it. Returns its length.
    fn path(&mut self, tokens: &[TokenTree], prefix: &[String], in_test: bool) -> usize {
        let mut words = prefix.to_vec();
        let line = tokens.first().map_or(0, |token| token.span().start().line);
        let mut at = 0;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(ident)) => words.push(ident.to_string()),
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => words.push("*".to_owned()),
                Some(TokenTree::Group(tree)) if at > 0 && tree.delimiter() == Delimiter::Brace => {
                    self.use_tree(tree, &words, in_test);
                    return at + 1;
                }
                // `Vec::<T>`, `<T as Trait>::f`: the path ends here, what is between is read on its own.
                _ => break,
            }
            at += 1;
            if !is_double_colon(&tokens[at..]) {
                break;
            }
            at += 2;
        }
        self.add(words, line, in_test);
        at
    }

    fn use_tree(&mut self, tree: &Group, prefix: &[String], in_test: bool) {
        let tokens: Vec<TokenTree> = tree.stream().into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at += self.path(&tokens[at..], prefix, in_test).max(1);
            // What follows up to the comma is a new name for it.
            while at < tokens.len()
                && !matches!(&tokens[at], TokenTree::Punct(punct) if punct.as_char() == ',')
            {
                at += 1;
            }
            at += 1;
        }
    }

    fn add(&mut self, words: Vec<String>, line: usize, in_test: bool) {
        let words = self.absolute(words);
        if !words.is_empty() {
            self.names.push(Name { words, line, in_test });
        }
    }

    /// Resolves leading `self` and `super`.
    fn absolute(&self, words: Vec<String>) -> Vec<String> {
        if words.first().is_none_or(|first| first != "self" && first != "super") || words.len() == 1 {
            return words;
        }
        let mut module = self.module.clone();
        let leading = words.iter().take_while(|word| *word == "self" || *word == "super").count();
        for word in &words[..leading] {
            if word == "super" {
                module.pop();
            }
        }
        std::iter::once("crate".to_owned()).chain(module).chain(words.into_iter().skip(leading)).collect()
    }
}

/// `#[...]` or `#![...]` at the beginning: whether it is the inner form, its brackets, its length in tokens.
fn attribute(tokens: &[TokenTree]) -> Option<(bool, &Group, usize)> {
    let is = |token: Option<&TokenTree>, wanted: char| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted);
    if !is(tokens.first(), '#') {
        return None;
    }
    let inner = is(tokens.get(1), '!');
    let at = 1 + usize::from(inner);
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => {
            Some((inner, group, at + 1))
        }
        _ => None,
    }
}

/// True for `cfg(test)`, `cfg(all(test, ...))` and the like, not for `cfg(not(test))`.
fn is_cfg_test(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    let is_cfg = matches!(tokens.next(), Some(TokenTree::Ident(ident)) if ident == "cfg");
    is_cfg && matches!(tokens.next(), Some(TokenTree::Group(group)) if names_test(group.stream()))
}

fn names_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => negated = ident == "not",
            TokenTree::Group(group) if !negated && names_test(group.stream()) => return true,
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    false
}

fn is_double_colon(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == ':' && b.as_char() == ':')
}
