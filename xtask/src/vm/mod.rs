//! `cargo xtask vm`: the tests that load the eBPF object, on Debian 12's kernel 6.1, the oldest supported, under qemu.

mod initramfs;
pub(crate) mod packages;
mod qemu;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use initramfs::Program;
use qemu::Accelerator;

use crate::{
    repo::Repo,
    run::{self, Job},
    test::summary::{Counts, Harness},
};

/// The test programs of lb-user that need the kernel and nothing of the machine around it.
const TESTS: [&str; 2] = ["test_run", "differential"];
/// Modules the tests use; the kernel for virtual machines has everything else built in.
const MODULES: [&str; 2] = ["veth", "bridge"];
/// Seconds one test program may take, emulated.
const PROGRAM_LIMIT: u64 = 600;
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Debug, Args, Default)]
pub(crate) struct Options {
    /// Only these test programs of lb-user
    #[arg(long = "test", value_name = "NAME")]
    tests: Vec<String>,
    /// Do not try out whether KVM works
    #[arg(long, value_enum)]
    accelerator: Option<Accelerator>,
    /// Arguments for the test programs
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Boots the machine, runs the test programs in it and adds up what they say.
///
/// # Errors
/// When the machine cannot be made, does not come up, or does not get to its end.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<Counts> {
    let parts = packages::ensure(repo)?;
    let programs = programs(repo, options)?;
    let archive = repo.vm().join("initramfs.cpio");
    initramfs::write(&archive, &parts, &MODULES, &programs)?;
    let accelerator = match options.accelerator {
        Some(accelerator) => accelerator,
        None => qemu::choose(repo, &parts)?,
    };
    println!("vm: booting {} with {accelerator}", parts.kernel.display());
    let limit = BOOT_LIMIT + Duration::from_secs(PROGRAM_LIMIT) * u32::try_from(programs.len()).unwrap_or(1);
    let command = qemu::command(&parts, &archive, accelerator, "");
    let mut report = Report::default();
    Job::new("vm", command).limit(limit).log(repo.logs().join("vm.log")).run(|line| report.line(line))?;
    report.judge(&programs)
}

/// Builds the test programs as `cargo test` does.
fn programs(repo: &Repo, options: &Options) -> Result<Vec<Program>> {
    let package = repo.root().join("lb-user");
    let mut names = options.tests.clone();
    if names.is_empty() {
        names.extend(TESTS.iter().filter(|name| has_test(&package, name)).map(|name| (*name).to_owned()));
    }
    if names.is_empty() {
        println!("vm: lb-user has no test program for the machine ({})", TESTS.join(", "));
        return Ok(Vec::new());
    }
    let mut command =
        run::cargo(repo.root(), &["test", "--locked", "--release", "--package", "lb-user", "--no-run"]);
    command.arg("--message-format=json").arg("--target-dir").arg(repo.target());
    for name in &names {
        command.args(["--test", name]);
    }
    let mut found = Vec::new();
    let job = Job::new("building the test programs", command).progress().limit(Duration::from_secs(900));
    let finished = job.run(|line| found.extend(executable(line)))?;
    if !finished.status.success() {
        bail!("the test programs cannot be built; see: cargo test --release -p lb-user --no-run");
    }
    let mut arguments = vec!["--include-ignored".to_owned(), "--test-threads=1".to_owned()];
    arguments.extend(options.arguments.iter().cloned());
    let program = |name: String| {
        let (_, file) =
            found.iter().find(|(test, _)| *test == name).with_context(|| format!("cargo built no {name}"))?;
        let (file, directory, arguments) = (file.clone(), package.clone(), arguments.clone());
        Ok(Program { name, file, directory, limit: PROGRAM_LIMIT, arguments })
    };
    names.into_iter().map(program).collect()
}

fn has_test(package: &Path, name: &str) -> bool {
    let tests = package.join("tests");
    tests.join(format!("{name}.rs")).is_file() || tests.join(name).join("main.rs").is_file()
}

/// A test program that cargo tells of: its name and file.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let (name, file) = (message["target"]["name"].as_str()?, message["executable"].as_str()?);
    is_test.then(|| (name.to_owned(), PathBuf::from(file)))
}

/// What the machine said.
#[derive(Debug, Default)]
struct Report {
    harness: Harness,
    began: bool,
    came_to_its_end: bool,
    /// Test programs that ended, with their exit codes.
    ended: Vec<(String, i32)>,
}

impl Report {
    fn line(&mut self, line: &str) {
        self.harness.line(line);
        let mut words = line.split_whitespace();
        if words.next() != Some("vm:") {
            return;
        }
        match (words.next(), words.next(), words.next()) {
            (Some("begin"), ..) => self.began = true,
            (Some("end"), None, _) => self.came_to_its_end = true,
            (Some("ended"), Some(name), Some(code)) => {
                self.ended.push((name.to_owned(), code.parse().unwrap_or(-1)))
            }
            _ => {}
        }
    }

    /// The tests' sum. A program that ended badly without a failed test (killed, out of time) counts as one.
    fn judge(self, programs: &[Program]) -> Result<Counts> {
        if !self.began {
            bail!("the machine did not come up");
        }
        if !self.came_to_its_end {
            bail!("the machine stopped before its end: the kernel crashed, see target/xtask-logs/vm.log");
        }
        let mut counts = self.harness.counts;
        for program in programs {
            match self.ended.iter().find(|(name, _)| *name == program.name) {
                Some((_, 0)) => {}
                Some((name, code)) => {
                    println!("vm: {name} ended with {code}");
                    if self.harness.counts.failed == 0 {
                        counts.failed += 1;
                    }
                }
                None => bail!("the machine did not run {}", program.name),
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        lines.iter().for_each(|line| report.line(line));
        report
    }

    fn program(name: &str) -> Program {
        let (file, directory) = (PathBuf::new(), PathBuf::new());
        Program { name: name.to_owned(), file, directory, limit: 1, arguments: Vec::new() }
    }

    const CHECKS: [&str; 2] = ["vm: begin 6.1.0", "test result: ok. 5 passed; 0 failed"];

    #[test]
    fn a_whole_run_is_added_up() {
        let tests = [
            "vm: run test_run",
            "test result: ok. 7 passed; 0 failed; 0 ignored",
            "vm: ended test_run 0",
            "vm: end",
        ];
        let counts = report(&[&CHECKS[..], &tests].concat()).judge(&[program("test_run")]).unwrap();
        assert_eq!(counts, Counts { passed: 12, failed: 0 });
    }

    #[test]
    fn a_program_that_was_killed_counts_as_failed() {
        let counts = report(&[&CHECKS[..], &["vm: ended test_run 137", "vm: end"]].concat())
            .judge(&[program("test_run")]);
        assert_eq!(counts.unwrap(), Counts { passed: 5, failed: 1 });
        let failing = ["test result: FAILED. 1 passed; 2 failed", "vm: ended test_run 101", "vm: end"];
        let counts = report(&[&CHECKS[..], &failing].concat()).judge(&[program("test_run")]);
        assert_eq!(counts.unwrap(), Counts { passed: 6, failed: 2 });
    }

    #[test]
    fn a_machine_that_stops_early_is_an_error() {
        assert!(report(&[]).judge(&[]).unwrap_err().to_string().contains("did not come up"));
        assert!(report(&CHECKS).judge(&[]).unwrap_err().to_string().contains("before its end"));
        let error = report(&[&CHECKS[..], &["vm: end"]].concat()).judge(&[program("test_run")]).unwrap_err();
        assert!(error.to_string().contains("did not run test_run"), "{error}");
    }

    #[test]
    fn cargo_names_the_programs() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"test_run"},"executable":"/t/x"}"#;
        assert_eq!(executable(message), Some(("test_run".to_owned(), PathBuf::from("/t/x"))));
        let library =
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"lb_user"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("   Compiling lb-user"), None);
    }
}
