//! The stages of `cargo xtask test`, in the order they run.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use super::summary::{Counts, Harness};
use crate::{
    compile, ebpf_build, fuzz, replay,
    repo::Repo,
    run::{self, Job},
    setup, tidy, vm,
};

/// One step of the gate.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Its name on the command line and in the table.
    pub(crate) name: &'static str,
    /// What it does, for people.
    pub(crate) what: &'static str,
    /// A stage without which it makes no sense.
    pub(crate) needs: Option<&'static str>,
    /// Does it. A stage without tests of its own returns no counts.
    pub(crate) run: fn(&Repo) -> Result<Option<Counts>>,
}

/// Every stage. One may only need a stage above it.
pub(crate) const STAGES: [Stage; 16] = [
    Stage { name: "setup", what: "what the tests need is installed", needs: None, run: set_up },
    Stage { name: "format", what: "cargo fmt --check", needs: None, run: format },
    Stage { name: "lint", what: "clippy of user space, warnings denied", needs: None, run: lint },
    Stage {
        name: "lint-ebpf",
        what: "clippy of lb-ebpf for its target",
        needs: Some("setup"),
        run: lint_ebpf,
    },
    Stage { name: "tidy", what: "the rules of the architecture", needs: None, run: layers },
    Stage { name: "build", what: "release build, with the data path", needs: Some("setup"), run: build },
    Stage { name: "unit", what: "unit and property tests", needs: None, run: unit },
    Stage {
        name: "loom",
        what: "the flow table's protocol under every interleaving",
        needs: None,
        run: loom,
    },
    Stage {
        name: "fuzz",
        what: "any bytes through the packet path",
        needs: Some("setup"),
        run: fuzz_targets,
    },
    Stage {
        name: "fixtures",
        what: "packets through the loaded program",
        needs: Some("build"),
        run: fixtures,
    },
    Stage {
        name: "adapters",
        what: "lbd's maps, links and netlink against the kernel",
        needs: Some("build"),
        run: adapters,
    },
    Stage { name: "differential", what: "host against kernel", needs: Some("build"), run: differential },
    Stage {
        name: "namespaces",
        what: "whole systems in network namespaces",
        needs: Some("build"),
        run: namespaces,
    },
    Stage {
        name: "flood",
        what: "a director flooded from random sources; all of it with LB_FLOOD=full",
        needs: Some("build"),
        run: flood,
    },
    Stage { name: "recordings", what: "recordings of the real thing", needs: Some("build"), run: recordings },
    Stage { name: "vm", what: "the oldest supported kernel", needs: Some("build"), run: old_kernel },
];

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Runs a cargo command that has no tests.
fn check(repo: &Repo, name: &str, mut command: Command) -> Result<Option<Counts>> {
    command.env("CARGO_TERM_PROGRESS_WHEN", "never");
    Job::new(name, command).limit(minutes(15)).log(repo.logs().join(format!("{name}.log"))).succeed()?;
    Ok(None)
}

/// Runs `cargo test` with these arguments and adds up what it says. No test at all is an error: a filter that fits
/// nothing must not look like success.
fn cargo_test(repo: &Repo, name: &str, limit: Duration, mut command: Command) -> Result<Option<Counts>> {
    // A failing program does not hide what the ones after it say.
    command.env("CARGO_TERM_PROGRESS_WHEN", "never").env("RUST_BACKTRACE", "1");
    let mut harness = Harness::default();
    let log = repo.logs().join(format!("{name}.log"));
    let finished = Job::new(name, command).limit(limit).log(log).run(|line| harness.line(line))?;
    let Harness { counts, failures } = harness;
    if !failures.is_empty() {
        println!("{name}: failed: {}", failures.join(", "));
    }
    if !finished.status.success() && counts.failed == 0 {
        bail!("cargo test failed ({}) without a failed test: see above", finished.status);
    }
    if counts == Counts::default() {
        bail!("no test ran");
    }
    Ok(Some(counts))
}

fn test_command(repo: &Repo, arguments: &[&str]) -> Command {
    let mut command = run::cargo(repo.root(), &["test", "--locked", "--no-fail-fast", "--target-dir"]);
    command.arg(repo.target()).args(arguments);
    command
}

fn set_up(repo: &Repo) -> Result<Option<Counts>> {
    setup::everything(repo).map(|()| None)
}

fn format(repo: &Repo) -> Result<Option<Counts>> {
    check(repo, "format", run::cargo(repo.root(), &["fmt", "--all", "--check"]))?;
    check(repo, "format-ebpf", run::cargo(&repo.root().join("lb-ebpf"), &["fmt", "--check"]))?;
    check(repo, "format-fuzz", run::cargo(&repo.root().join("fuzz"), &["fmt", "--check"]))
}

fn lint(repo: &Repo) -> Result<Option<Counts>> {
    let mut command =
        run::cargo(repo.root(), &["clippy", "--workspace", "--all-targets", "--locked", "--target-dir"]);
    command.arg(repo.target()).args(["--", "-D", "warnings"]);
    check(repo, "lint", command)
}

/// What `cargo clippy` does, with the driver that belongs to the compiler of the eBPF target.
fn lint_ebpf(repo: &Repo) -> Result<Option<Counts>> {
    let toolchain = ebpf_build::find_toolchain(repo.root())?;
    let driver = toolchain.rustc.with_file_name("clippy-driver");
    if !driver.is_file() {
        bail!("{} is not there: install clippy for {}", driver.display(), toolchain.rustc.display());
    }
    let mut command = ebpf_build::cargo(repo.root(), &toolchain, "check", &repo.target().join("ebpf-lint"));
    command.arg("--locked").env("RUSTC_WORKSPACE_WRAPPER", driver);
    // How cargo-clippy hands arguments to its driver.
    command.env("CLIPPY_ARGS", ["-D", "warnings", ""].join("__CLIPPY_HACKERY__"));
    check(repo, "lint-ebpf", command)
}

fn layers(repo: &Repo) -> Result<Option<Counts>> {
    tidy::check(repo).map(|()| None)
}

fn build(repo: &Repo) -> Result<Option<Counts>> {
    compile::build(repo).map(|()| None)
}

fn unit(repo: &Repo) -> Result<Option<Counts>> {
    cargo_test(repo, "unit", minutes(15), test_command(repo, &[]))
}

fn loom(repo: &Repo) -> Result<Option<Counts>> {
    let mut command =
        run::cargo(repo.root(), &["test", "--locked", "--release", "--package", "lb-common", "--lib"]);
    command.arg("--target-dir").arg(repo.target().join("loom")).arg("loom").env("RUSTFLAGS", "--cfg loom");
    cargo_test(repo, "loom", minutes(10), command)
}

fn fuzz_targets(repo: &Repo) -> Result<Option<Counts>> {
    fuzz::run(repo, &fuzz::Options::default()).map(Some)
}

/// Tests of lb-user that need root and the object; `cargo test` alone leaves them out (`#[ignore]`).
fn privileged(repo: &Repo, name: &str, test: &str) -> Result<Option<Counts>> {
    need_root()?;
    let command =
        test_command(repo, &["--release", "--package", "lb-user", "--test", test, "--", "--include-ignored"]);
    cargo_test(repo, name, minutes(10), command)
}

fn fixtures(repo: &Repo) -> Result<Option<Counts>> {
    privileged(repo, "fixtures", "test_run")
}

/// The ignored tests of lb-user but those of the stages beside this one: the unprivileged ones ran already.
fn adapters(repo: &Repo) -> Result<Option<Counts>> {
    need_root()?;
    let tests = ["--lib", "--test", "dataplane", "--test", "netlink", "--test", "walk"];
    let mut command = test_command(repo, &["--release", "--package", "lb-user"]);
    command.args(tests).args(["--", "--ignored"]);
    cargo_test(repo, "adapters", minutes(10), command)
}

fn differential(repo: &Repo) -> Result<Option<Counts>> {
    privileged(repo, "differential", "differential")
}

fn namespaces(repo: &Repo) -> Result<Option<Counts>> {
    need_root()?;
    cargo_test(
        repo,
        "namespaces",
        minutes(15),
        // The flood takes a stage of its own: it leaves no time for others.
        test_command(
            repo,
            &["--release", "--package", "netns-tests", "--", "--include-ignored", "--skip", FLOOD],
        ),
    )
}

/// The test of the stage `flood`.
const FLOOD: &str = "a_flood_breaks_nothing";

fn flood(repo: &Repo) -> Result<Option<Counts>> {
    need_root()?;
    let mut command =
        test_command(repo, &["--release", "--package", "netns-tests", "--test", "flood", FLOOD]);
    command.args(["--", "--include-ignored", "--nocapture"]);
    cargo_test(repo, "flood", minutes(20), command)
}

fn recordings(repo: &Repo) -> Result<Option<Counts>> {
    need_root()?;
    replay::run_suite(repo).map(Some)
}

fn old_kernel(repo: &Repo) -> Result<Option<Counts>> {
    vm::run(repo, &vm::Options::default()).map(Some)
}

fn need_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("this needs root, for namespaces and for loading programs: run it with sudo")
}
