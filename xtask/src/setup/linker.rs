//! bpf-linker, built with the LLVM of the compiler whose bitcode it reads, into `target/tools`.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use super::{apt, programs};
use crate::{
    repo::Repo,
    run::{self, Job},
};

/// The version that goes with the pinned aya; its features name the LLVM it is built with.
pub(crate) const VERSION: &str = "0.13.0";
const LIMIT: Duration = Duration::from_secs(1200);

/// Builds and installs bpf-linker for this compiler.
///
/// # Errors
/// When LLVM's packages cannot be installed or the build fails.
pub(crate) fn install(repo: &Repo, rustc: &Path) -> Result<()> {
    let version = run::output(Command::new(rustc).arg("-vV"))?;
    let llvm = llvm_major(&version)
        .with_context(|| format!("{} does not say which LLVM it is built with", rustc.display()))?;
    let llvm_root = format!("/usr/lib/llvm-{llvm}");
    let mut packages = packages_for(llvm);
    if !programs::is_there("c++") {
        // LLVM is C++: its library is linked in.
        packages.push("g++".to_owned());
    }
    apt::install(&packages.iter().map(String::as_str).collect::<Vec<_>>())?;
    if !Path::new(&llvm_root).join("bin/llvm-config").is_file() {
        bail!("llvm-{llvm}-dev is installed, but {llvm_root}/bin/llvm-config is not there");
    }
    println!("setup: building bpf-linker {VERSION} with LLVM {llvm} into {}", repo.tools().display());
    let mut command =
        run::cargo(repo.root(), &["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    command
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
        .arg(repo.tools())
        .env("LLVM_PREFIX", &llvm_root)
        .env(format!("LLVM_SYS_{llvm}1_PREFIX"), &llvm_root)
        .env_remove("CARGO_TARGET_DIR");
    Job::new("bpf-linker", command).progress().limit(LIMIT).log(repo.logs().join("bpf-linker.log")).succeed()
}

/// Debian's packages to build bpf-linker with this LLVM.
pub(crate) fn packages_for(llvm: u32) -> Vec<String> {
    let mut packages = vec![format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    packages.extend(["libzstd-dev", "zlib1g-dev", "libxml2-dev"].map(str::to_owned));
    packages
}

/// The LLVM major in the output of `rustc -vV`.
fn llvm_major(version: &str) -> Option<u32> {
    let line = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    line.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_major_decides_packages_and_feature() {
        let version =
            "rustc 1.96.0 (ac68faa20 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(version), Some(22));
        assert!(packages_for(23).contains(&"llvm-23-dev".to_owned()));
        assert_eq!(llvm_major("rustc 1.96.0"), None);
        assert_eq!(llvm_major("LLVM version: unknown"), None);
    }
}
