//! Formatter and linter of the user's own Rust: not part of its smallest installation.

use std::time::Duration;

use anyhow::{Context, Result};

use super::programs;
use crate::{
    repo::Repo,
    run::{self, Job},
};

/// The subcommands of cargo the gate calls, and the component of rustup each comes with.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];
const LIMIT: Duration = Duration::from_secs(300);

/// They are there. Where rustup manages Rust, it adds them.
///
/// # Errors
/// When one is missing and cannot be added.
pub(crate) fn ensure(repo: &Repo) -> Result<()> {
    for (subcommand, component) in COMPONENTS {
        let works = || run::output(run::cargo(repo.root(), &[subcommand]).arg("--version"));
        let Err(missing) = works() else { continue };
        let remedy =
            || format!("install {component} for your Rust, with rustup: rustup component add {component}");
        if !programs::is_there("rustup") {
            return Err(missing).with_context(remedy);
        }
        println!("setup: adding {component} to your Rust");
        let mut rustup = std::process::Command::new("rustup");
        rustup.args(["component", "add", component]).current_dir(repo.root());
        Job::new("rustup", rustup).progress().limit(LIMIT).succeed().with_context(remedy)?;
        works().with_context(remedy)?;
    }
    Ok(())
}
