//! What the test machine is made of, from Debian's packages: unpacked below `target/vm`, never installed. A kernel must
//! not become the one of the next boot, and qemu's package may push out another version's tools.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::{
    repo::Repo,
    run::{self, Job},
};

/// The package that depends on Debian 12's current kernel for virtual machines.
const KERNEL_OF_THE_DAY: &str = "linux-image-cloud-amd64";
/// What the name of a package of the oldest supported kernel begins with.
const KERNEL: &str = "linux-image-6.1.";
const EMULATOR: &str = "qemu-system-x86_64";
const LIMIT: Duration = Duration::from_secs(600);

/// The parts of the machine.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// The compressed kernel.
    pub(crate) kernel: PathBuf,
    /// Its modules: the directory below which they lie.
    pub(crate) modules: PathBuf,
    /// A statically linked busybox.
    pub(crate) busybox: PathBuf,
    /// qemu.
    pub(crate) emulator: PathBuf,
    /// Where the unpacked qemu finds its libraries; none for an installed one.
    pub(crate) libraries: Vec<PathBuf>,
}

/// The parts, fetched if they are not there yet. Needs no root.
///
/// # Errors
/// When a package cannot be found, fetched or unpacked.
pub(crate) fn ensure(repo: &Repo) -> Result<Parts> {
    let dir = repo.vm();
    let kernel_dir = dir.join("kernel");
    if !kernel_dir.is_dir() {
        let package = kernel_package()?;
        println!("vm: fetching {package}, to be unpacked below {}", dir.display());
        unpack(&[package], &kernel_dir)?;
    }
    let busybox_dir = dir.join("busybox");
    if !busybox_dir.is_dir() {
        unpack(&["busybox-static".to_owned()], &busybox_dir)?;
    }
    let emulator_dir = dir.join("qemu");
    let installed = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|path| path.join(EMULATOR))
        .find(|file| file.is_file());
    if installed.is_none() && !emulator_dir.is_dir() {
        println!("vm: fetching qemu, to be unpacked below {}", dir.display());
        unpack(&with_dependencies("qemu-system-x86")?, &emulator_dir)?;
    }
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|path| emulator_dir.join(path));
    Ok(Parts {
        kernel: only_file(&kernel_dir.join("boot"), "vmlinuz-")?,
        modules: kernel_dir.join("lib/modules"),
        busybox: busybox_dir.join("bin/busybox"),
        libraries: if installed.is_some() { Vec::new() } else { libraries.to_vec() },
        emulator: installed.unwrap_or_else(|| emulator_dir.join("usr/bin").join(EMULATOR)),
    })
}

/// The file in this directory whose name begins so.
fn only_file(dir: &Path, beginning: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with(beginning))
        .map(|entry| entry.path())
        .with_context(|| format!("{} has no {beginning}*", dir.display()))
}

fn kernel_package() -> Result<String> {
    let text = ask_apt("apt-cache", &["depends", KERNEL_OF_THE_DAY], |text| text.contains("Depends:"))?;
    kernel_in(&text).with_context(|| {
        format!("{KERNEL_OF_THE_DAY} of this system is not {KERNEL}*: the test of the oldest kernel needs Debian 12")
    })
}

fn kernel_in(depends: &str) -> Option<String> {
    let mut packages = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends:"));
    packages.find_map(|name| name.trim().starts_with(KERNEL).then(|| name.trim().to_owned()))
}

/// A package and those it needs that are not installed.
fn with_dependencies(package: &str) -> Result<Vec<String>> {
    let arguments = ["install", "--simulate", "--no-install-recommends", package];
    let text = ask_apt("apt-get", &arguments, |text| text.contains("Inst "))?;
    Ok(to_install(&text))
}

fn to_install(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Asks apt something; where it does not know, perhaps because it has no lists yet, fetches them and asks again.
fn ask_apt(program: &str, arguments: &[&str], is_good: impl Fn(&str) -> bool) -> Result<String> {
    let ask = || run::output(Command::new(program).args(arguments).env("LC_ALL", "C.UTF-8"));
    match ask() {
        Ok(text) if is_good(&text) => return Ok(text),
        Ok(_) | Err(_) if geteuid().is_root() => {}
        Ok(_) => bail!("apt does not know {}: run `apt-get update` as root", arguments.join(" ")),
        Err(error) => return Err(error),
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-o", "Acquire::Retries=3"]);
    Job::new("apt-get update", update).progress().limit(LIMIT).succeed()?;
    ask()
}

/// Fetches packages and unpacks them into a directory, which is there only when all went well.
fn unpack(packages: &[String], dir: &Path) -> Result<()> {
    let part = dir.with_extension("part");
    let debs = part.join("debs");
    if part.exists() {
        fs::remove_dir_all(&part).with_context(|| format!("cannot remove {}", part.display()))?;
    }
    fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
    let mut download = Command::new("apt-get");
    download
        .current_dir(&debs)
        .args(["download", "-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root"])
        .args(packages);
    Job::new("apt-get download", download).progress().limit(LIMIT).succeed()?;
    for deb in fs::read_dir(&debs).context("cannot list the packages")?.flatten() {
        run::output(Command::new("dpkg-deb").arg("-x").arg(deb.path()).arg(&part))?;
    }
    fs::remove_dir_all(&debs).with_context(|| format!("cannot remove {}", debs.display()))?;
    fs::rename(&part, dir).with_context(|| format!("cannot make {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_of_the_day_must_be_the_oldest_supported() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(kernel_in(text).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(kernel_in("linux-image-cloud-amd64\n  Depends: linux-image-6.12.5-cloud-amd64\n"), None);
        assert_eq!(kernel_in(""), None);
    }

    #[test]
    fn what_would_be_installed_is_fetched_and_nothing_else() {
        let text = "Reading lists...\nRemv qemu-utils [1:10]\nInst seabios (1.16 Debian:12 [all])\nConf seabios (1.16)\n";
        assert_eq!(to_install(text), ["seabios"]);
    }
}
