//! Installing Debian packages, without starting what they bring and without taking anything away.

use std::{fs, process::Command, thread, time::Duration};

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use super::{policy, programs};
use crate::{
    interrupt,
    run::{self, Job},
};

/// Waits before further tries: mirrors and the lock of another apt come back.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(20)];
const LIMIT: Duration = Duration::from_secs(900);

/// Why nothing may be installed on this machine, or nothing in the way.
pub(crate) fn obstacle() -> Option<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    obstacle_of(&release, programs::is_there("apt-get"), geteuid().is_root())
}

fn obstacle_of(os_release: &str, has_apt: bool, is_root: bool) -> Option<String> {
    let value = |key: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(|v| v.trim_matches('"'))
    };
    if value("ID") != Some("debian") || !has_apt {
        return Some(format!("this is {}, not Debian", value("PRETTY_NAME").unwrap_or("an unknown system")));
    }
    (!is_root).then(|| "you are not root".to_owned())
}

/// Installs these packages and what they need. Daemons are neither started now nor at the next boot.
///
/// # Errors
/// When apt does not manage it in four tries; the message has its last lines.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    println!("setup: installing the Debian packages {}", packages.join(" "));
    let _refusal = policy::Refusal::begin()?;
    // A fresh machine has no package lists, others may have ones older than the mirror: without a word in between.
    if !has_lists() {
        update();
    }
    let mut waits = WAITS.iter();
    loop {
        let job = Job::new("apt-get install", install_command(&packages)).progress().limit(LIMIT);
        let Err(error) = job.succeed() else { break };
        let Some(wait) = waits.next().filter(|_| !interrupt::requested()) else {
            bail!("{error:#}\nhint: run `apt-get install {}` to see it for yourself", packages.join(" "));
        };
        println!("setup: once more, with fresh package lists");
        thread::sleep(*wait);
        update();
    }
    for package in packages {
        keep_from_starting_at_boot(package);
    }
    Ok(())
}

/// True if apt knows any packages.
fn has_lists() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().contains("_Packages"))
}

/// Fetches the package lists. A failure is only told: what the install says afterwards counts.
fn update() {
    let job = Job::new("apt-get update", apt_get(&["update"])).progress().limit(LIMIT);
    if let Err(error) = job.succeed() {
        println!("setup: {error:#}");
    }
}

fn install_command(packages: &[&str]) -> Command {
    // --no-remove: rustc-web is in conflict with Debian's rustc and rustup packages; better an error than to lose those.
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    command.args(packages);
    command
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "Dpkg::Use-Pty=0"])
        .args(["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8");
    command
}

/// Debian enables a daemon when it installs it: switch that off again for those we brought.
fn keep_from_starting_at_boot(package: &str) {
    let unit = match package {
        "nginx-light" => "nginx.service",
        "keepalived" => "keepalived.service",
        _ => return,
    };
    if programs::is_there("systemctl")
        && let Err(error) = run::output(Command::new("systemctl").args(["disable", unit]))
    {
        println!("setup: {unit} may start at the next boot: {error:#}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";

    #[test]
    fn installs_only_as_root_on_debian() {
        assert_eq!(obstacle_of(DEBIAN, true, true), None);
        assert_eq!(obstacle_of(DEBIAN, true, false).as_deref(), Some("you are not root"));
        let fedora = "ID=fedora\nPRETTY_NAME=\"Fedora Linux 43\"\n";
        assert_eq!(obstacle_of(fedora, false, true).as_deref(), Some("this is Fedora Linux 43, not Debian"));
        assert_eq!(obstacle_of("", true, true).as_deref(), Some("this is an unknown system, not Debian"));
    }

    #[test]
    fn apt_may_take_nothing_away_and_asks_nothing() {
        let command = install_command(&["curl"]);
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert!(arguments.iter().any(|a| a == "--no-remove") && arguments.iter().any(|a| a == "--yes"));
        assert!(command.get_envs().any(|(name, value)| {
            name == "DEBIAN_FRONTEND" && value.is_some_and(|value| value == "noninteractive")
        }));
    }
}
