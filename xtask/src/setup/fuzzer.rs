//! cargo-fuzz, which builds and runs fuzz targets, in `target/tools`.

use std::{env, ffi::OsString, time::Duration};

use anyhow::{Context, Result};

use super::{apt, programs};
use crate::{
    repo::Repo,
    run::{self, Job},
};

const VERSION: &str = "0.13.1";
const LIMIT: Duration = Duration::from_secs(600);

/// cargo-fuzz and the C++ compiler that libFuzzer needs are there.
///
/// # Errors
/// When one of them is missing and cannot be installed.
pub(crate) fn ensure(repo: &Repo) -> Result<()> {
    if !programs::is_there("c++") {
        apt::install(&["g++"]).context("libFuzzer is built with a C++ compiler")?;
    }
    if repo.tools().join("bin/cargo-fuzz").is_file() {
        return Ok(());
    }
    println!("setup: building cargo-fuzz {VERSION} into {}", repo.tools().display());
    let mut command = run::cargo(repo.root(), &["install", "cargo-fuzz", "--version", VERSION, "--locked"]);
    command.arg("--root").arg(repo.tools()).env_remove("CARGO_TARGET_DIR");
    Job::new("cargo-fuzz", command).progress().limit(LIMIT).log(repo.logs().join("cargo-fuzz.log")).succeed()
}

/// PATH with our own tools first.
pub(crate) fn path(repo: &Repo) -> OsString {
    let before = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(repo.tools().join("bin")).chain(env::split_paths(&before));
    env::join_paths(all).unwrap_or(before)
}
