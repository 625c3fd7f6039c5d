//! `cargo xtask test`: the whole gate, the same here and in continuous integration. Goes on after a failed stage where
//! that makes sense, and ends with a table and the sum of all tests.

mod stage;
pub(crate) mod summary;

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use clap::Args;
use stage::{STAGES, Stage};
use summary::{Counts, Row, Verdict};

use crate::{interrupt, repo::Repo};

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only these stages and what they need; all if none is named
    stages: Vec<String>,
    /// Show the stages and stop
    #[arg(long)]
    list: bool,
}

/// Runs the stages. The exit code says whether all passed.
///
/// # Errors
/// When a stage is named that does not exist, or when it is interrupted.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<ExitCode> {
    if options.list {
        for stage in &STAGES {
            println!("{:14} {}", stage.name, stage.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<Row> = Vec::new();
    for stage in selected(&STAGES, &options.stages)? {
        let row = run_stage(repo, stage, &rows);
        if interrupt::requested() {
            bail!("interrupted during {}", stage.name);
        }
        rows.push(row);
    }
    println!("{}", summary::table(&rows));
    Ok(if summary::all_passed(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The named stages and all they need, in their order.
fn selected<'a>(stages: &'a [Stage], names: &[String]) -> Result<Vec<&'a Stage>> {
    let all = || stages.iter().map(|stage| stage.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = names.iter().find(|name| !stages.iter().any(|stage| stage.name == **name)) {
        bail!("there is no stage `{unknown}`; there are {}", all());
    }
    let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    // A stage only needs ones above it, so one pass from below finds all.
    for stage in stages.iter().rev() {
        if wanted.contains(&stage.name) {
            wanted.extend(stage.needs);
        }
    }
    Ok(stages.iter().filter(|stage| names.is_empty() || wanted.contains(&stage.name)).collect())
}

fn run_stage(repo: &Repo, stage: &Stage, before: &[Row]) -> Row {
    let started = Instant::now();
    let needed = before.iter().find(|row| Some(row.name) == stage.needs);
    if let Some(needed) = needed
        && needed.verdict != Verdict::Passed
    {
        println!("\n=== {}: not run, because {} did not pass", stage.name, needed.name);
        let verdict = Verdict::NotRun(needed.name);
        return Row { name: stage.name, verdict, counts: Counts::default(), took: started.elapsed() };
    }
    println!("\n=== {}: {}", stage.name, stage.what);
    let outcome = (stage.run)(repo);
    let (verdict, counts) = judge(outcome);
    let took = started.elapsed();
    match &verdict {
        Verdict::Failed(reason) => {
            println!("=== {} FAILED after {:.1} s: {reason}", stage.name, took.as_secs_f64())
        }
        Verdict::Passed | Verdict::NotRun(_) => {
            println!("=== {} ok, {:.1} s", stage.name, took.as_secs_f64())
        }
    }
    Row { name: stage.name, verdict, counts, took }
}

/// A stage without tests of its own counts as one test.
fn judge(outcome: Result<Option<Counts>>) -> (Verdict, Counts) {
    match outcome {
        Ok(None) => (Verdict::Passed, Counts { passed: 1, failed: 0 }),
        Ok(Some(counts)) if counts.failed == 0 => (Verdict::Passed, counts),
        Ok(Some(counts)) => (Verdict::Failed(format!("{} tests failed", counts.failed)), counts),
        Err(error) => (Verdict::Failed(format!("{error:#}")), Counts { passed: 0, failed: 1 }),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn names(wanted: &[&str]) -> Vec<&'static str> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        selected(&STAGES, &wanted).unwrap().iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn a_stage_brings_what_it_needs() {
        assert_eq!(names(&["fixtures", "format"]), ["setup", "format", "build", "fixtures"]);
        assert_eq!(names(&[]).len(), STAGES.len());
        let error = selected(&STAGES, &["fixture".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("no stage `fixture`") && error.contains("fixtures"), "{error}");
    }

    #[test]
    fn a_stage_needs_only_ones_above_it() {
        for (at, stage) in STAGES.iter().enumerate() {
            if let Some(needed) = stage.needs {
                assert!(STAGES[..at].iter().any(|above| above.name == needed), "{}", stage.name);
            }
        }
    }

    #[test]
    fn every_outcome_counts() {
        let counts = |passed, failed| Counts { passed, failed };
        assert_eq!(judge(Ok(None)), (Verdict::Passed, counts(1, 0)));
        assert_eq!(judge(Ok(Some(counts(5, 0)))), (Verdict::Passed, counts(5, 0)));
        assert!(matches!(
            judge(Ok(Some(counts(5, 2)))),
            (Verdict::Failed(_), Counts { passed: 5, failed: 2 })
        ));
        assert!(matches!(
            judge(Err(anyhow!("broken"))),
            (Verdict::Failed(_), Counts { passed: 0, failed: 1 })
        ));
    }

    #[test]
    fn a_stage_is_not_run_when_what_it_needs_failed() {
        fn never(_: &Repo) -> Result<Option<Counts>> {
            bail!("it ran")
        }
        let stage = Stage { name: "second", what: "", needs: Some("first"), run: never };
        let row = |verdict| Row {
            name: "first",
            verdict,
            counts: Counts::default(),
            took: std::time::Duration::ZERO,
        };
        let repo = Repo::find();
        let failed = run_stage(&repo, &stage, &[row(Verdict::Failed("x".to_owned()))]);
        assert_eq!(failed.verdict, Verdict::NotRun("first"));
        let ran = run_stage(&repo, &stage, &[row(Verdict::Passed)]);
        assert_eq!(ran.verdict, Verdict::Failed("it ran".to_owned()));
    }
}
