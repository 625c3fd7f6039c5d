//! `cargo xtask setup`: makes the machine able to build and test, and does nothing when it already is.
//!
//! It looks first and installs only what is missing, with Debian's packages and, below `target/tools`, bpf-linker. Where it
//! may not install it prints the commands for a person and stops.

mod apt;
mod components;
pub(crate) mod fuzzer;
mod linker;
mod manual;
mod policy;
mod programs;
mod user_rust;

use std::{fs, path::Path, time::UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::{
    ebpf_build::{self, Toolchain},
    repo::Repo,
    vm,
};

/// What the machine must be able to do. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// Build `lbd` with its data path.
    Build,
    /// Run the demo, the recordings and the benchmark: namespaces, real servers and clients.
    Demo,
    /// Run every test, and boot another kernel.
    Test,
}

/// What was asked for is there. Returns the toolchain for the eBPF object.
///
/// # Errors
/// When something is missing and may not or cannot be installed; the message has the commands to run by hand.
pub(crate) fn ensure(repo: &Repo, purpose: Purpose) -> Result<Toolchain> {
    let missing = programs::missing(purpose);
    let toolchain = proven_toolchain(repo);
    if let (true, Some(toolchain)) = (missing.is_empty(), toolchain) {
        return Ok(toolchain);
    }
    let toolchain = find_and_try(repo);
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    if let Some(obstacle) = apt::obstacle() {
        return match toolchain {
            Ok(toolchain) if packages.is_empty() => Ok(toolchain),
            toolchain => bail!(manual::instructions(&obstacle, toolchain.is_err(), &missing)),
        };
    }
    let users_rust = user_rust::Versions::now(repo.root());
    if !packages.is_empty() {
        apt::install(&packages)?;
    }
    let toolchain = toolchain.or_else(|why| {
        // Nothing there is the usual case; something there that does not work is worth a word.
        if !why.downcast_ref::<ebpf_build::Error>().is_some_and(ebpf_build::Error::is_missing_toolchain) {
            println!("setup: {why:#}");
        }
        install_toolchain(repo)
    });
    users_rust.check_unchanged(repo.root())?;
    let toolchain = toolchain?;
    let still_missing = programs::missing(purpose);
    if !still_missing.is_empty() {
        let names: Vec<&str> = still_missing.iter().map(|program| program.name).collect();
        bail!("the packages {packages:?} are installed, but {} still cannot be found", names.join(", "));
    }
    Ok(toolchain)
}

/// Everything for every command, also the kernel and the emulator of `cargo xtask vm`. That these cannot be had, as on a
/// system other than Debian 12, is told and keeps nothing else from running.
///
/// # Errors
/// As [`ensure`].
pub(crate) fn everything(repo: &Repo) -> Result<()> {
    ensure(repo, Purpose::Test)?;
    components::ensure(repo)?;
    fuzzer::ensure(repo)?;
    if let Err(error) = vm::packages::ensure(repo) {
        println!("setup: cargo xtask vm will not run: {error:#}");
    }
    Ok(())
}

/// Compiler from Debian, linker built for that compiler's LLVM.
fn install_toolchain(repo: &Repo) -> Result<Toolchain> {
    let has_target = || matches!(ebpf_build::find_compiler(), Ok((_, ebpf_build::Core::Prebuilt)));
    if !has_target() {
        apt::install(&["rustc-web", "libstd-rust-web-dev-bpf"])?;
    }
    let (rustc, _) = ebpf_build::find_compiler().context("the compiler for the eBPF target was installed")?;
    linker::install(repo, &rustc)?;
    find_and_try(repo).context("the eBPF toolchain was installed, but it does not work")
}

/// The toolchain, if the note left by [`find_and_try`] says that exactly these files have worked before.
fn proven_toolchain(repo: &Repo) -> Option<Toolchain> {
    let toolchain = ebpf_build::find_toolchain(repo.root()).ok()?;
    let noted = fs::read_to_string(note_path(repo)).ok()?;
    (noted == note(&toolchain)).then_some(toolchain)
}

/// Finds a toolchain, links an empty program with it (some seconds) and notes that it worked. The note is what
/// `lb-user/build.rs` watches: cargo then builds the object with the toolchain it had to do without before.
fn find_and_try(repo: &Repo) -> Result<Toolchain> {
    let toolchain = ebpf_build::find_toolchain(repo.root())?;
    ebpf_build::try_out(&toolchain, &repo.ebpf_target().join("try-out"))
        .with_context(|| format!("{toolchain} do not work together"))?;
    fs::create_dir_all(repo.ebpf_target())
        .and_then(|()| fs::write(note_path(repo), note(&toolchain)))
        .with_context(|| format!("cannot write {}", note_path(repo).display()))?;
    Ok(toolchain)
}

fn note_path(repo: &Repo) -> std::path::PathBuf {
    repo.ebpf_target().join(ebpf_build::TOOLCHAIN_NOTE)
}

/// Names the toolchain's files and when they were last changed.
fn note(toolchain: &Toolchain) -> String {
    format!("{toolchain}\n{} {}\n", changed(&toolchain.rustc), changed(&toolchain.linker))
}

fn changed(file: &Path) -> u64 {
    let modified = fs::metadata(file).and_then(|data| data.modified()).ok();
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}
