//! The commands a person runs where xtask may not install.

use std::fmt::Write as _;

use super::{linker, programs::Program};
use crate::ebpf_build;

/// What is missing, why it is not installed, and exactly what to run.
pub(crate) fn instructions(obstacle: &str, needs_toolchain: bool, missing: &[Program]) -> String {
    let mut what: Vec<&str> = Vec::new();
    if needs_toolchain {
        what.push("the eBPF toolchain");
    }
    what.extend(missing.iter().map(|program| program.name));
    let mut text = format!("missing: {}; not installed, because {obstacle}.", what.join(", "));
    let debian = !obstacle.contains("not Debian");
    if debian {
        text.push_str(" Run this as root, then the same command again:\n\n");
        write_debian(&mut text, needs_toolchain, missing);
    } else {
        write_elsewhere(&mut text, needs_toolchain, missing);
    }
    text
}

fn write_debian(text: &mut String, needs_toolchain: bool, missing: &[Program]) {
    let mut packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    if needs_toolchain {
        packages.extend(["rustc-web", "libstd-rust-web-dev-bpf", "g++"]);
    }
    packages.sort_unstable();
    packages.dedup();
    text.push_str("    apt-get update\n");
    let _ = writeln!(text, "    apt-get install --no-install-recommends {}", packages.join(" "));
    if needs_toolchain {
        let llvm_packages = linker::packages_for(0).join(" ").replace("-0-", "-$N-");
        let _ = writeln!(
            text,
            "    N=$({} -vV | sed -n 's/^LLVM version: \\([0-9]*\\).*/\\1/p')",
            ebpf_build::DEBIAN_RUSTC
        );
        let _ = writeln!(text, "    apt-get install --no-install-recommends {llvm_packages}");
        text.push_str("\nand, as yourself, in the repository:\n\n");
        let _ = writeln!(
            text,
            "    N=$({} -vV | sed -n 's/^LLVM version: \\([0-9]*\\).*/\\1/p')",
            ebpf_build::DEBIAN_RUSTC
        );
        let _ = writeln!(
            text,
            "    env LLVM_PREFIX=/usr/lib/llvm-$N LLVM_SYS_${{N}}1_PREFIX=/usr/lib/llvm-$N cargo install bpf-linker \
             --version {} --locked --no-default-features --features llvm-$N --root {}",
            linker::VERSION,
            ebpf_build::TOOLS
        );
    }
}

fn write_elsewhere(text: &mut String, needs_toolchain: bool, missing: &[Program]) {
    if !missing.is_empty() {
        text.push_str(
            " Install with your system's package manager (Debian's package names in brackets):\n\n",
        );
        for program in missing {
            let _ = writeln!(text, "    {} ({})", program.name, program.package);
        }
    }
    if needs_toolchain {
        text.push_str("\nThe eBPF toolchain can be a nightly of rustup's and a bpf-linker built with the same LLVM:\n\n");
        text.push_str("    rustup toolchain install nightly --component rust-src\n");
        let _ = writeln!(
            text,
            "    N=$(rustc +nightly -vV | sed -n 's/^LLVM version: \\([0-9]*\\).*/\\1/p')\n    cargo install bpf-linker \
             --locked --no-default-features --features llvm-$N --root {}\n\nThe second needs LLVM N's development files. \
             A compiler or linker elsewhere is named by {} and {}.",
            ebpf_build::TOOLS,
            ebpf_build::RUSTC_VARIABLE,
            ebpf_build::LINKER_VARIABLE
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Purpose;

    const NGINX: Program = Program { name: "nginx", package: "nginx-light", needed_for: Purpose::Demo };

    #[test]
    fn without_root_debian_commands_are_given() {
        let text = instructions("you are not root", true, &[NGINX]);
        assert!(
            text.starts_with("missing: the eBPF toolchain, nginx; not installed, because you are not root.")
        );
        let expected =
            "apt-get install --no-install-recommends g++ libstd-rust-web-dev-bpf nginx-light rustc-web\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("llvm-$N-dev libpolly-$N-dev libzstd-dev"), "{text}");
        assert!(text.contains("LLVM_SYS_${N}1_PREFIX"), "{text}");
    }

    #[test]
    fn only_what_is_missing_is_named() {
        let text = instructions("you are not root", false, &[NGINX]);
        assert!(
            !text.contains("rustc-web") && text.contains("--no-install-recommends nginx-light\n"),
            "{text}"
        );
        let text = instructions("this is Fedora Linux 43, not Debian", false, &[NGINX]);
        assert!(text.contains("nginx (nginx-light)") && !text.contains("apt-get"), "{text}");
    }

    #[test]
    fn elsewhere_rustup_is_the_way() {
        let text = instructions("this is Fedora Linux 43, not Debian", true, &[]);
        assert!(text.contains("rustup toolchain install nightly --component rust-src"), "{text}");
        assert!(!text.contains("apt-get"), "{text}");
    }
}
