//! `cargo xtask build`: `target/release/lbd` and `target/release/lbadm`, with the data path in the daemon.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    ebpf_build::{self, Toolchain},
    elf,
    repo::Repo,
    run::{self, Job},
    setup::{self, Purpose},
};

const LIMIT: Duration = Duration::from_secs(1500);

/// Sets up what is missing, builds, and checks what was built.
///
/// # Errors
/// When any of that fails; in particular when `lbd` would be without data path.
pub(crate) fn build(repo: &Repo) -> Result<()> {
    let toolchain = setup::ensure(repo, Purpose::Build)?;
    let object = object(repo, &toolchain)?;
    ebpf_build::build_binary(repo.root(), &toolchain, &repo.ebpf_target(), true, "flood")
        .context("the eBPF object of the flood tests cannot be built")?;
    user_space(repo, &object)
}

/// Builds the eBPF object and checks it; returns its bytes.
///
/// # Errors
/// When it cannot be built or is not as `xtask/ebpf-expect.toml` says.
pub(crate) fn object(repo: &Repo, toolchain: &Toolchain) -> Result<Vec<u8>> {
    let path = ebpf_build::build(repo.root(), toolchain, &repo.ebpf_target(), true)
        .context("the eBPF object cannot be built")?;
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let facts = elf::check(&bytes, &elf::expectation(&repo.root().join("xtask/ebpf-expect.toml"))?)
        .with_context(|| format!("{} does not pass", path.display()))?;
    println!(
        "build: eBPF object of {} KiB, {} instructions, {} programs, {} maps",
        bytes.len() / 1024,
        facts.instructions,
        facts.programs,
        facts.maps
    );
    Ok(bytes)
}

/// Builds daemon and tool.
fn user_space(repo: &Repo, object: &[u8]) -> Result<()> {
    let mut command = run::cargo(repo.root(), &["build", "--release", "--locked", "--package", "lb-user"]);
    command.arg("--target-dir").arg(repo.target());
    Job::new("cargo build", command).limit(LIMIT).log(repo.logs().join("build.log")).succeed()?;
    let daemon = repo.release("lbd");
    let bytes = fs::read(&daemon).with_context(|| format!("cannot read {}", daemon.display()))?;
    if !contains(&bytes, object) {
        bail!("{} is without data path: the eBPF object is not in it", daemon.display());
    }
    for name in ["lbd", "lbadm"] {
        println!("build: {}", repo.release(name).display());
    }
    Ok(())
}

/// True if `part` lies in `whole`. The object starts with the ELF magic, so few places need a full comparison.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    const HEAD: usize = 16;
    let Some(head) = part.get(..HEAD) else { return false };
    whole.windows(HEAD).enumerate().any(|(at, window)| window == head && whole[at..].starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_part_is_found_and_a_changed_part_is_not() {
        let whole: Vec<u8> = (0..=255).cycle().take(5000).collect();
        assert!(contains(&whole, &whole[1000..2000]));
        assert!(contains(&whole, &whole));
        let mut changed = whole[1000..2000].to_vec();
        changed[900] ^= 1;
        assert!(!contains(&whole, &changed));
        assert!(!contains(&whole, b"short"));
    }
}
