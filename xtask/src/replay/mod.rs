//! `cargo xtask replay`: recordings of the real ipvsadm and IPVS against our director.
//!
//! Each scenario or case runs against a director with empty tables, those with traffic with real clients and servers
//! in network namespaces. What may differ from a recording is said in [`compare`] and [`frame`].

mod commands;
mod compare;
mod frame;
mod packets;
mod recording;
mod scheduling;
mod stage;
mod suite;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use netns_tests::interrupt;

use self::recording::Recording;
use self::stage::Stage;
use crate::repo::Repo;
use crate::test::summary::Counts;

/// Arguments of `cargo xtask replay`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Recordings: ipvsadm-cli.json, live-listings.json, scheduling.json, packets.json or others of their shapes.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Only these scenarios or cases: a name, or `name/METHOD` where one name is there for several methods.
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub(crate) only: Vec<String>,
}

/// What differs in one scenario or case.
#[derive(Debug, Default)]
pub(crate) struct Mismatches {
    lines: Vec<String>,
    notes: Vec<String>,
}

impl Mismatches {
    /// Adds the differences of one step; none where the list is empty.
    pub(crate) fn add(&mut self, step: &str, differences: Vec<String>) {
        if !differences.is_empty() {
            self.lines.push(format!("  {step}:"));
            self.lines.extend(differences.into_iter().map(|d| format!("    {d}")));
        }
    }

    /// Something worth saying that is no difference.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }
}

/// Replays files; ends its output with `N passed, M failed`.
///
/// # Errors
/// If a file is no recording, none of the names is in any of them, or the site cannot be built.
pub(crate) fn run(args: &ReplayArgs) -> Result<Counts> {
    let only: Vec<&str> = args.only.iter().map(String::as_str).collect();
    let files: Vec<(&Path, &[&str])> = args.files.iter().map(|f| (f.as_path(), only.as_slice())).collect();
    replay(&files)
}

/// Replays what must pass ([`suite::SUITE`]).
///
/// # Errors
/// As [`run`].
pub(crate) fn run_suite(repo: &Repo) -> Result<Counts> {
    let dir = repo.root().join("tests/recordings");
    let paths: Vec<(PathBuf, &[&str])> = suite::SUITE.iter().map(|e| (dir.join(e.file), e.only)).collect();
    let files: Vec<(&Path, &[&str])> = paths.iter().map(|(p, o)| (p.as_path(), *o)).collect();
    replay(&files)
}

fn replay(files: &[(&Path, &[&str])]) -> Result<Counts> {
    interrupt::install()?;
    // Read everything first: a typo is found before anything is built.
    let recordings: Vec<(&Path, &[&str], Recording)> =
        files.iter().map(|(path, only)| Ok((*path, *only, recording::read(path)?))).collect::<Result<_>>()?;
    for name in files.iter().flat_map(|(_, only)| only.iter()) {
        if !recordings.iter().any(|(_, only, r)| only.contains(name) && labels(r).any(|l| l.is(name))) {
            bail!("no recording of the name `{name}`");
        }
    }
    let mut runner = Runner { stage: Stage::new()?, summary: Counts::default() };
    for (path, only, recording) in &recordings {
        runner.file(path, only, recording)?;
    }
    println!("{}", runner.summary);
    Ok(runner.summary)
}

/// What a scenario or case is called.
struct Label {
    name: String,
    method: String,
}

impl Label {
    /// Whether `--only name` means it.
    fn is(&self, name: &str) -> bool {
        let full = format!("{}/{}", self.name, self.method);
        // The name of a packet begins with its method.
        let of_method = !self.method.is_empty() && self.name.starts_with(&self.method) && name == self.method;
        name == self.name || name.eq_ignore_ascii_case(&full) || of_method
    }

    fn shown(&self) -> String {
        if self.method.is_empty() || self.name.starts_with(&self.method) {
            self.name.clone()
        } else {
            format!("{} ({})", self.name, self.method)
        }
    }
}

fn labels(recording: &Recording) -> Box<dyn Iterator<Item = Label> + '_> {
    match recording {
        Recording::Commands(all) => {
            Box::new(all.iter().map(|s| Label { name: s.name.clone(), method: String::new() }))
        }
        Recording::Scheduling(all) => {
            Box::new(all.iter().map(|c| Label { name: c.name.clone(), method: c.forward.clone() }))
        }
        Recording::Packets(all) => {
            Box::new(all.iter().map(|c| Label { name: c.name(), method: c.method.clone() }))
        }
    }
}

struct Runner {
    stage: Stage,
    summary: Counts,
}

impl Runner {
    fn file(&mut self, path: &Path, only: &[&str], recording: &Recording) -> Result<()> {
        println!("{}", path.display());
        let wanted: Vec<(usize, String)> = labels(recording)
            .enumerate()
            .filter(|(_, label)| only.is_empty() || only.iter().any(|name| label.is(name)))
            .map(|(n, label)| (n, label.shown()))
            .collect();
        for (n, name) in wanted {
            interrupt::check()?;
            let start = Instant::now();
            let result = match recording {
                Recording::Commands(all) => all.get(n).map(|s| commands::run(&mut self.stage, s)),
                Recording::Scheduling(all) => all.get(n).map(|c| scheduling::run(&mut self.stage, c)),
                Recording::Packets(all) => all.get(n).map(|c| packets::run(&mut self.stage, c)),
            };
            if let Some(result) = result {
                self.report(&name, start, result);
            }
            interrupt::check()?;
        }
        Ok(())
    }

    fn report(&mut self, name: &str, start: Instant, result: Result<Mismatches>) {
        let found = result.unwrap_or_else(|e| {
            let mut found = Mismatches::default();
            found.add("it could not be run", vec![format!("{e:#}")]);
            found
        });
        let ok = found.lines.is_empty();
        println!("{} {name} ({:.1} s)", if ok { "ok  " } else { "FAIL" }, start.elapsed().as_secs_f64());
        for note in &found.notes {
            println!("  {note}");
        }
        for line in &found.lines {
            println!("{line}");
        }
        if ok {
            self.summary.passed += 1;
        } else {
            self.summary.failed += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_names_what_is_recorded() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings");
        for entry in suite::SUITE {
            let recording = recording::read(&dir.join(entry.file)).unwrap();
            for name in entry.only {
                assert!(labels(&recording).any(|l| l.is(name)), "{name} is not in {}", entry.file);
            }
        }
    }

    #[test]
    fn a_name_selects_all_methods_or_one() {
        let label = |name: &str, method: &str| Label { name: name.into(), method: method.into() };
        assert!(
            label("rr", "DR").is("rr") && label("rr", "DR").is("rr/dr") && !label("rr", "DR").is("rr/NAT")
        );
        assert!(label("NAT -m", "NAT").is("NAT") && !label("TUN -i", "TUN").is("NAT"));
        assert!(!label("rr-changes", "NAT").is("rr") && !label("rr", "NAT").is("NAT"));
        assert_eq!(label("rr", "DR").shown(), "rr (DR)");
        assert_eq!(label("DR -g", "DR").shown(), "DR -g");
    }
}
