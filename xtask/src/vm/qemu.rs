//! Booting the test machine.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{initramfs, packages::Parts};
use crate::{
    repo::Repo,
    run::{Echo, Job},
};

/// A boot with KVM takes about two seconds; on some hosts it never ends.
const PROBE_LIMIT: Duration = Duration::from_secs(15);
const MEMORY_MIB: &str = "2048";

/// How the machine's processor is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Accelerator {
    /// By the host's processor.
    Kvm,
    /// In software.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation",
        })
    }
}

/// KVM if it boots our kernel, which a short boot tells; else emulation. The answer is kept until the host boots again.
///
/// # Errors
/// When the archive for the short boot cannot be written.
pub(crate) fn choose(repo: &Repo, parts: &Parts) -> Result<Accelerator> {
    let note = repo.vm().join("kvm-probe");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let answer = |accelerator: Accelerator| format!("{accelerator} {}\n", boot.trim());
    let noted = fs::read_to_string(&note).unwrap_or_default();
    if let Some(known) =
        [Accelerator::Kvm, Accelerator::Tcg].into_iter().find(|known| answer(*known) == noted)
    {
        return Ok(known);
    }
    let found = if Path::new("/dev/kvm").exists() && kvm_boots(repo, parts)? {
        Accelerator::Kvm
    } else {
        Accelerator::Tcg
    };
    fs::write(&note, answer(found)).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(found)
}

fn kvm_boots(repo: &Repo, parts: &Parts) -> Result<bool> {
    let archive = repo.vm().join("probe.cpio");
    initramfs::write(&archive, parts, &[], &[])?;
    let mut alive = false;
    let command = command(parts, &archive, Accelerator::Kvm, "lb.probe");
    let log = repo.logs().join("vm-probe.log");
    let job = Job::new("KVM probe", command).echo(Echo::Nothing).limit(PROBE_LIMIT).log(log);
    // Its failure is an answer, not an error.
    let ended = job.run(|line| alive |= line.contains("vm: alive"));
    Ok(ended.is_ok() && alive)
}

/// The command that boots this archive; everything the machine says comes on standard output.
pub(crate) fn command(
    parts: &Parts,
    archive: &Path,
    accelerator: Accelerator,
    kernel_arguments: &str,
) -> Command {
    let mut command = Command::new(&parts.emulator);
    if !parts.libraries.is_empty() {
        let mut paths: Vec<PathBuf> = parts.libraries.clone();
        paths.extend(env::split_paths(&env::var_os("LD_LIBRARY_PATH").unwrap_or_default()));
        if let Ok(joined) = env::join_paths(paths) {
            command.env("LD_LIBRARY_PATH", joined);
        }
    }
    match accelerator {
        Accelerator::Kvm => command.args(["-accel", "kvm", "-cpu", "host"]),
        Accelerator::Tcg => command.args(["-accel", "tcg,thread=multi", "-cpu", "max"]),
    };
    command
        .args(["-machine", "pc", "-smp", "2", "-m", MEMORY_MIB])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"])
        .arg("-kernel")
        .arg(&parts.kernel)
        .arg("-initrd")
        .arg(archive)
        .arg("-append")
        // panic=-1 restarts at once, and -no-reboot makes that the end.
        .arg(format!("console=ttyS0 quiet loglevel=4 panic=-1 {kernel_arguments}"));
    command
}
