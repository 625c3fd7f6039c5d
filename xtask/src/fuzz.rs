//! `cargo xtask fuzz`: libFuzzer on the packet path, with the stable compiler.
//!
//! What is learnt goes below `target`; the corpus in the repository is where a run starts, and what the unit tests run
//! again. A finding's bytes are kept, and the message says where.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    interrupt,
    repo::Repo,
    run::{self, Job},
    setup::fuzzer,
    test::summary::Counts,
};

/// The targets, `fuzz/fuzz_targets/NAME.rs` each.
const TARGETS: [&str; 2] = ["parse", "direct"];
/// Building libFuzzer and a target from nothing, beside the time it runs.
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// Bytes of an input: a large frame.
const LONGEST_INPUT: &str = "-max_len=1600";

/// What to fuzz.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only these targets; all if none is named
    targets: Vec<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { targets: Vec::new(), seconds: 20 }
    }
}

/// Runs the targets one after the other. Counts a target that found nothing as passed.
///
/// # Errors
/// When a target is named that does not exist, or the fuzzer cannot be installed.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<Counts> {
    if let Some(unknown) = options.targets.iter().find(|name| !TARGETS.contains(&name.as_str())) {
        bail!("there is no fuzz target `{unknown}`; there are {}", TARGETS.join(", "));
    }
    fuzzer::ensure(repo)?;
    let mut counts = Counts::default();
    for target in TARGETS {
        if !options.targets.is_empty() && !options.targets.iter().any(|name| name == target) {
            continue;
        }
        if interrupt::requested() {
            bail!("interrupted before {target}");
        }
        match fuzz(repo, target, options.seconds) {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("fuzz: {target}: {error:#}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

/// Fuzzes one target.
fn fuzz(repo: &Repo, target: &str, seconds: u64) -> Result<()> {
    let place = |name: &str| -> Result<PathBuf> {
        let path = repo.target().join("fuzz").join(name).join(target);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let (learnt, findings) = (place("corpus")?, place("findings")?);
    let log = repo.logs().join(format!("fuzz-{target}.log"));
    println!("fuzz: {target}, {seconds} s");
    let job = Job::new(&format!("fuzz {target}"), command(repo, target, seconds, &learnt, &findings))
        .progress()
        .limit(BUILD_LIMIT + Duration::from_secs(seconds))
        .log(log.clone());
    let finished = job.run(|_| ())?;
    if !finished.status.success() {
        let found = repo.root().join("fuzz/corpus").join(target);
        bail!(
            "failed ({}): see {}\nhint: bytes of a finding lie in {}; move them to {} and mend what `cargo test \
             --package lb-common corpus` then shows",
            finished.status,
            log.display(),
            findings.display(),
            found.display()
        );
    }
    Ok(())
}

fn command(repo: &Repo, target: &str, seconds: u64, learnt: &Path, findings: &Path) -> Command {
    let fuzz = repo.root().join("fuzz");
    let mut command = run::cargo(repo.root(), &["fuzz", "run", "--sanitizer", "none", "--fuzz-dir"]);
    command.arg(&fuzz).arg("--target-dir").arg(repo.target().join("fuzz/build")).arg(target);
    // The first directory is the one it writes to.
    command.arg(learnt).arg(fuzz.join("corpus").join(target));
    command.args(["--", LONGEST_INPUT, "-print_final_stats=1", "-timeout=10"]);
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", findings.display()));
    command.env("PATH", fuzzer::path(repo)).env_remove("CARGO_TARGET_DIR");
    command
}
