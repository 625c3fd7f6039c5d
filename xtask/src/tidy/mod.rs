//! `cargo xtask tidy`: the rules of the architecture that the compiler does not know (ARCHITECTURE.md, 3.3). What it
//! finds it prints with the place, the rule and the remedy.

mod rules;
mod source;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use rules::Layer;
use source::Name;

use crate::repo::Repo;

/// Larger files are data.
const LARGEST_TEXT: u64 = 4 << 20;
/// The crates `lb-common` may depend on.
const LB_COMMON_DEPENDENCIES: [&str; 1] = ["network-types"];

/// A rule that is not kept, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    path: PathBuf,
    line: usize,
    rule: String,
    remedy: &'static str,
    /// A warning is printed and does not fail.
    warning: bool,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.warning { "warning: " } else { "" };
        write!(f, "{}:{}: {kind}{}\n    remedy: {}", self.path.display(), self.line, self.rule, self.remedy)
    }
}

/// Checks every file of the repository.
///
/// # Errors
/// When a rule is not kept; which and where is printed. When files cannot be read.
pub(crate) fn check(repo: &Repo) -> Result<()> {
    let mut files = Vec::new();
    collect(repo.root(), Path::new(""), &mut files)?;
    let mut found = Vec::new();
    for path in &files {
        let full = repo.root().join(path);
        if full.metadata().is_ok_and(|data| data.len() > LARGEST_TEXT) {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            check_file(path, &text, &mut found);
        }
    }
    for violation in &found {
        println!("{violation}");
    }
    let errors = found.iter().filter(|violation| !violation.warning).count();
    if errors > 0 {
        bail!("{errors} rules are not kept in {} files", files.len());
    }
    println!("tidy: {} files keep the rules", files.len());
    Ok(())
}

/// The repository's files: everything but what is made and what tools keep for themselves.
fn collect(root: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let dir = root.join(below);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut entries =
        entries.collect::<Result<Vec<_>, _>>().with_context(|| format!("cannot read {}", dir.display()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = below.join(&name);
        let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() && name != "target" && name != ".git" {
            collect(root, &path, files)?;
        } else if kind.is_file() && name != ".git" {
            files.push(path);
        }
    }
    Ok(())
}

/// Checks one file by its path below the root and its text.
fn check_file(path: &Path, text: &str, found: &mut Vec<Violation>) {
    let file = File { path, found };
    if path.file_name().is_some_and(|name| name == "Cargo.lock") {
        return; // written by cargo
    }
    file.check(text);
}

struct File<'a> {
    path: &'a Path,
    found: &'a mut Vec<Violation>,
}

impl File<'_> {
    fn check(mut self, text: &str) {
        self.words(text);
        if self.path == Path::new("lb-common/Cargo.toml") {
            self.dependencies(text);
        }
        if self.path.extension().is_none_or(|extension| extension != "rs") {
            return;
        }
        self.length(text);
        match source::names(self.path, text) {
            Ok(names) => {
                let module = self.module_of_lb_user();
                for name in &names {
                    self.edge(module, name);
                    self.confined(name);
                    self.pure(module, name);
                    self.no_std(name);
                }
                self.unsafe_code(&names);
            }
            Err(error) => self.error(1, format!("{error:#}"), "run cargo fmt to see where it goes wrong"),
        }
    }

    fn error(&mut self, line: usize, rule: String, remedy: &'static str) {
        self.found.push(Violation { path: self.path.to_owned(), line, rule, remedy, warning: false });
    }

    fn is_below(&self, places: &[&str]) -> bool {
        let path = self.path.to_string_lossy();
        places.iter().any(|place| path.starts_with(place))
    }

    /// The name of the module of lb-user this file belongs to, if it belongs to one.
    fn module_of_lb_user(&mut self) -> Option<&'static rules::Module> {
        let below = self.path.strip_prefix("lb-user/src").ok()?;
        if below.starts_with("bin") || below == Path::new("lib.rs") {
            return None;
        }
        let name = source::module_path(self.path).into_iter().next()?;
        let module = rules::find_module(&name);
        if module.is_none() {
            self.error(
                1,
                format!("the module `{name}` has no place in the layers"),
                "add it to MODULES in xtask/src/tidy/rules.rs, with the modules it may use",
            );
        }
        module
    }

    fn edge(&mut self, from: Option<&'static rules::Module>, name: &Name) {
        let Some(from) = from else { return };
        let [first, to, ..] = name.words.as_slice() else { return };
        if (first != "crate" && first != "lb_user")
            || to == from.name
            || from.layer == Layer::Composition
            || from.uses.contains(&to.as_str())
        {
            return;
        }
        // A test may drive one pure module by another: the director by recorded commands.
        let pure = |name: &str| rules::find_module(name).is_some_and(|module| module.layer == Layer::Pure);
        if name.in_test && from.layer == Layer::Pure && pure(to) {
            return;
        }
        let remedy = match from.layer {
            Layer::Adapter => {
                "an adapter turns the world into events and effects into calls; let `daemon` join the two"
            }
            Layer::Pure | Layer::Composition => {
                "move the type down to a module both may use, or hand the value in; else decide the edge in \
                 xtask/src/tidy/rules.rs and ARCHITECTURE.md"
            }
        };
        self.error(name.line, format!("`{}` may not use `{to}` (as `{}`)", from.name, name.text()), remedy);
    }

    fn confined(&mut self, name: &Name) {
        let Some(crate_name) = name.words.first() else { return };
        // A word alone is as likely a variable or a module.
        if name.words.len() < 2 || !self.is_below(&["lb-user/", "lb-common/", "xtask/", "tests/"]) {
            return;
        }
        let Some(confined) = rules::CONFINED.iter().find(|confined| confined.name == crate_name) else {
            return;
        };
        if !self.is_below(confined.places) {
            let rule = format!("`{}` is used outside {}", name.text(), confined.places.join(", "));
            let remedy = if confined.name == "anyhow" {
                "the library has an error enum per module (thiserror), whose variants say what was being done"
            } else {
                "give the module that owns this crate a function in our own words and call that"
            };
            self.error(name.line, rule, remedy);
        }
    }

    fn pure(&mut self, module: Option<&'static rules::Module>, name: &Name) {
        let is_pure = self.is_below(&["lb-common/src/"]) || module.is_some_and(|m| m.layer == Layer::Pure);
        if !is_pure || name.in_test {
            return;
        }
        let last_two = name.words.len().checked_sub(2).map(|at| &name.words[at..]);
        if rules::CLOCKS.iter().any(|clock| last_two.is_some_and(|words| words == clock)) {
            let rule = format!("`{}` reads a clock in pure code", name.text());
            self.error(name.line, rule, "take `now` as an argument; the daemon reads the clock");
        } else if rules::SOCKETS.iter().any(|socket| name.words.iter().any(|word| word == socket)) {
            let rule = format!("`{}` is a socket in pure code", name.text());
            self.error(name.line, rule, "move the input and output to an adapter and hand in the bytes");
        } else if rules::IMPURE_PATHS.iter().any(|path| name.words.len() > 1 && name.starts_with(path)) {
            let rule = format!("`{}` reaches outside from pure code", name.text());
            self.error(name.line, rule, "move this to an adapter; pure code gets values and returns effects");
        }
    }

    fn unsafe_code(&mut self, names: &[Name]) {
        let mut uses = names.iter().filter(|name| name.words.iter().any(|word| word == "unsafe"));
        if let Some(first) = uses.next()
            && !self.is_below(&rules::UNSAFE_PLACES)
        {
            let rule =
                format!("unsafe ({} times) outside {}", 1 + uses.count(), rules::UNSAFE_PLACES.join(", "));
            self.error(
                first.line,
                rule,
                "use a safe call (nix, aya), or put the unsafe part where it may be",
            );
        }
    }

    fn no_std(&mut self, name: &Name) {
        if self.is_below(&rules::HOST_ONLY) {
            return;
        }
        let std = name.words.len() > 1 && name.starts_with(&["std"]);
        if std && !name.in_test && self.is_below(&["lb-common/src/", "lb-ebpf/src/"]) {
            self.error(name.line, format!("`{}` in code for the kernel", name.text()), "use `core`");
        }
    }

    fn length(&mut self, text: &str) {
        let lines = text.lines().count();
        let is_binary = self.is_below(&["lb-user/src/bin/"]);
        if is_binary && lines > rules::TOO_LONG_BINARY {
            let rule = format!("{lines} lines, a binary has at most {}", rules::TOO_LONG_BINARY);
            self.error(
                lines,
                rule,
                "binaries only parse, run and map errors to exit codes: move the rest to `daemon` or `cli`",
            );
        } else if lines > rules::LONG_FILE {
            let (rule, remedy) = (
                format!("{lines} lines, a file has at most about {}", rules::LONG_FILE),
                "split it: one concept per file",
            );
            let warning = lines <= rules::TOO_LONG_FILE;
            self.found.push(Violation { path: self.path.to_owned(), line: lines, rule, remedy, warning });
        }
    }

    fn words(&mut self, text: &str) {
        for (number, line) in text.lines().enumerate() {
            for word in rules::FORBIDDEN_WORDS {
                if line.contains(word) {
                    let rule = format!("`{word}` is the host of a package registry");
                    self.error(number + 1, rule, "leave the host to the configuration of cargo and apt");
                }
            }
        }
    }

    fn dependencies(&mut self, text: &str) {
        let remedy = "lb-common is compiled for the kernel: do it with what it has, or in lb-user";
        match text.parse::<toml::Table>() {
            Ok(manifest) => {
                let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
                for name in dependencies.into_iter().flatten().map(|(name, _)| name) {
                    if !LB_COMMON_DEPENDENCIES.contains(&name.as_str()) {
                        let line =
                            text.lines().position(|line| line.starts_with(name.as_str())).unwrap_or(0) + 1;
                        self.error(line, format!("lb-common depends on `{name}`"), remedy);
                    }
                }
            }
            Err(error) => self.error(1, format!("not TOML: {error}"), "see the message"),
        }
    }
}
