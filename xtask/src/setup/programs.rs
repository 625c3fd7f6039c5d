//! The programs the tests and the demo call, and the Debian package each comes from.

use std::{env, path::Path};

use super::Purpose;

/// Something that must be on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program's name, looked for on PATH and where administrators' programs lie, or a file's path.
    pub(crate) name: &'static str,
    /// The Debian package that brings it.
    pub(crate) package: &'static str,
    /// From which purpose on it is needed.
    pub(crate) needed_for: Purpose,
}

const fn program(name: &'static str, package: &'static str, needed_for: Purpose) -> Program {
    Program { name, package, needed_for }
}

const PROGRAMS: [Program; 15] = [
    program("ip", "iproute2", Purpose::Demo),
    program("ethtool", "ethtool", Purpose::Demo),
    program("curl", "curl", Purpose::Demo),
    program("python3", "python3", Purpose::Demo),
    program("nginx", "nginx-light", Purpose::Demo),
    program("nsenter", "util-linux", Purpose::Demo),
    program("sysctl", "procps", Purpose::Demo),
    program("ping", "iputils-ping", Purpose::Demo),
    program("arping", "iputils-arping", Purpose::Demo),
    program("tcpdump", "tcpdump", Purpose::Test),
    program("keepalived", "keepalived", Purpose::Test),
    program("iptables-save", "iptables", Purpose::Test),
    // Clippy's driver that belongs to the compiler of the eBPF target.
    program("/usr/bin/clippy-driver", "rust-web-clippy", Purpose::Test),
    // ipvsadm's texts name services and protocols.
    program("/etc/services", "netbase", Purpose::Demo),
    program("/etc/protocols", "netbase", Purpose::Demo),
];

/// Where Debian puts administrators' programs; a user's PATH may lack them.
const ADMINISTRATORS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// What is needed for this and not there.
pub(crate) fn missing(purpose: Purpose) -> Vec<Program> {
    missing_of(&PROGRAMS, purpose, is_there)
}

fn missing_of(programs: &[Program], purpose: Purpose, is_there: impl Fn(&str) -> bool) -> Vec<Program> {
    programs.iter().filter(|p| p.needed_for <= purpose && !is_there(p.name)).copied().collect()
}

/// True if this program or file exists.
pub(crate) fn is_there(name: &str) -> bool {
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(ADMINISTRATORS.map(Into::into)).any(|dir| dir.join(name).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_includes_the_ones_before_it() {
        let names = |purpose| missing_of(&PROGRAMS, purpose, |_| false).len();
        assert_eq!(names(Purpose::Build), 0);
        assert!(names(Purpose::Demo) > 0);
        assert_eq!(names(Purpose::Test), PROGRAMS.len());
    }

    #[test]
    fn what_is_there_is_not_missing() {
        let missing = missing_of(&PROGRAMS, Purpose::Test, |name| name != "nginx");
        assert_eq!(missing.iter().map(|p| p.package).collect::<Vec<_>>(), ["nginx-light"]);
        assert!(is_there("sh") && is_there("/proc/self/exe") && !is_there("no-such-program-of-ours"));
    }
}
