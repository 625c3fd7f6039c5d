//! The one function that builds the eBPF object (ARCHITECTURE.md, decision 15).
//!
//! Included by `lb-user/build.rs` (`#[path]`) and by xtask, so that both build the same object the same way. It uses the
//! standard library alone and installs nothing: it looks for a toolchain that is there, and says what is missing.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names the compiler to use for the BPF target instead of the one found.
pub(crate) const RUSTC_VARIABLE: &str = "LB_EBPF_RUSTC";
/// Names the BPF linker to use instead of the one found.
pub(crate) const LINKER_VARIABLE: &str = "LB_BPF_LINKER";
/// Where `cargo xtask setup` installs its own tools, below the repository's root.
pub(crate) const TOOLS: &str = "target/tools";
/// The compiler Debian's `rustc-web` installs, with a prebuilt `core` for the BPF target.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// A file in the object's target directory that says with which toolchain it is built; `lb-user/build.rs` watches it.
pub(crate) const TOOLCHAIN_NOTE: &str = "toolchain";

const TARGET: &str = "bpfel-unknown-none";
/// The object that is shipped.
pub(crate) const BINARY: &str = "director";

/// Where `core` for the BPF target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// Compiled already, in the compiler's sysroot.
    Prebuilt,
    /// Compiled along from the `rust-src` component (`-Z build-std`).
    FromSource,
}

/// A compiler and a linker that make BPF objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// bpf-linker.
    pub(crate) linker: PathBuf,
    /// Where the compiler finds `core`.
    pub(crate) core: Core,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = match self.core {
            Core::Prebuilt => "prebuilt core",
            Core::FromSource => "core from source",
        };
        write!(f, "{} ({core}) and {}", self.rustc.display(), self.linker.display())
    }
}

/// Why there is no object.
#[derive(Debug)]
pub(crate) enum Error {
    /// No compiler with `core` for the BPF target; `tried` says where we looked and what was wrong there.
    NoCompiler {
        /// One line per place.
        tried: Vec<String>,
    },
    /// A compiler is there, bpf-linker is not.
    NoLinker {
        /// One line per place.
        tried: Vec<String>,
    },
    /// The tree has no `lb-ebpf` to build.
    NoSource(PathBuf),
    /// A program could not be started.
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The compiler or the linker refused; its messages went to standard error or are given here.
    Refused {
        /// The command line, for a person to repeat.
        command: String,
        /// What it printed, if it was captured.
        output: String,
    },
    /// The build went through, the object is not where it should be.
    NoObject(PathBuf),
}

impl Error {
    /// True if a toolchain is what is missing, so that building without data path is the right answer.
    pub(crate) fn is_missing_toolchain(&self) -> bool {
        matches!(self, Self::NoCompiler { .. } | Self::NoLinker { .. } | Self::NoSource(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCompiler { tried } => {
                write!(
                    f,
                    "no Rust compiler for the target {TARGET} ({}): run `cargo xtask setup`",
                    tried.join("; ")
                )
            }
            Self::NoLinker { tried } => {
                write!(f, "no bpf-linker ({}): run `cargo xtask setup`", tried.join("; "))
            }
            Self::NoSource(path) => {
                write!(f, "{} is missing: the source tree is not complete", path.display())
            }
            Self::Start { program, .. } => write!(f, "cannot start {}", program.display()),
            Self::Refused { command, output } if output.is_empty() => {
                write!(f, "this command failed: {command}")
            }
            Self::Refused { command, output } => write!(f, "this command failed: {command}\n{output}"),
            Self::NoObject(path) => write!(f, "the build ended well but left no {}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Finds a toolchain by looking at files, in some ten milliseconds; that it works shows when it is used.
///
/// # Errors
/// [`Error::NoCompiler`] and [`Error::NoLinker`], which say where it looked.
pub(crate) fn find_toolchain(root: &Path) -> Result<Toolchain, Error> {
    let linker = find_linker(root);
    let (rustc, core) = find_compiler()?;
    Ok(Toolchain { rustc, core, linker: linker? })
}

/// Finds bpf-linker: the variable, the project's own, the user's.
///
/// # Errors
/// [`Error::NoLinker`].
pub(crate) fn find_linker(root: &Path) -> Result<PathBuf, Error> {
    if let Some(named) = env::var_os(LINKER_VARIABLE) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(Error::NoLinker {
                tried: vec![format!("{LINKER_VARIABLE} names {}, no file", named.display())],
            })
        };
    }
    let own = root.join(TOOLS).join("bin/bpf-linker");
    if own.is_file() {
        return Ok(own);
    }
    find_on_path("bpf-linker").ok_or_else(|| Error::NoLinker {
        tried: vec![format!("{} is not there", own.display()), "none on PATH".to_owned()],
    })
}

/// Finds a compiler with `core` for the BPF target: the variable, Debian's, a nightly of rustup.
///
/// # Errors
/// [`Error::NoCompiler`].
pub(crate) fn find_compiler() -> Result<(PathBuf, Core), Error> {
    let mut tried = Vec::new();
    if let Some(named) = env::var_os(RUSTC_VARIABLE) {
        let named = PathBuf::from(named);
        return match core_of(&named) {
            Ok(core) => Ok((named, core)),
            Err(why) => Err(Error::NoCompiler { tried: vec![format!("{RUSTC_VARIABLE} names one: {why}")] }),
        };
    }
    match core_of(Path::new(DEBIAN_RUSTC)) {
        Ok(core @ Core::Prebuilt) => return Ok((PathBuf::from(DEBIAN_RUSTC), core)),
        Ok(Core::FromSource) => tried.push(format!("{DEBIAN_RUSTC} has no {TARGET}")),
        Err(why) => tried.push(why),
    }
    match nightly_of_rustup() {
        Some(nightly) => match core_of(&nightly) {
            Ok(core) => return Ok((nightly, core)),
            Err(why) => tried.push(why),
        },
        None => tried.push("rustup has no nightly".to_owned()),
    }
    Err(Error::NoCompiler { tried })
}

/// How this compiler comes by `core` for the BPF target, or why not.
fn core_of(rustc: &Path) -> Result<Core, String> {
    if !rustc.is_file() {
        return Err(format!("{} is not there", rustc.display()));
    }
    let sysroot = output_line(Command::new(rustc).args(["--print", "sysroot"]))
        .ok_or_else(|| format!("{} does not run", rustc.display()))?;
    let rustlib = Path::new(&sysroot).join("lib/rustlib");
    let prebuilt = std::fs::read_dir(rustlib.join(TARGET).join("lib")).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    });
    if prebuilt {
        return Ok(Core::Prebuilt);
    }
    if rustlib.join("src/rust/library/core/Cargo.toml").is_file() {
        return Ok(Core::FromSource);
    }
    Err(format!("{} has neither {TARGET} nor rust-src", rustc.display()))
}

fn nightly_of_rustup() -> Option<PathBuf> {
    let rustup = find_on_path("rustup")?;
    let mut which = Command::new(rustup);
    which.args(["which", "--toolchain", "nightly", "rustc"]);
    output_line(&mut which).map(PathBuf::from)
}

/// The first line a command prints, if it ends well.
fn output_line(command: &mut Command) -> Option<String> {
    clean(command);
    let output = command.stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    let line = String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

fn find_on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Takes away what an outer cargo, clippy or rustup put into the environment and what would change the object.
fn clean(command: &mut Command) {
    const EXACT: [&str; 9] = [
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "CARGO_ENCODED_RUSTFLAGS",
        "CLIPPY_ARGS",
    ];
    const PREFIXES: [&str; 3] = ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if EXACT.contains(&text.as_ref()) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// A cargo command for `lb-ebpf` with this toolchain; the caller adds the subcommand's own arguments.
pub(crate) fn cargo(root: &Path, toolchain: &Toolchain, subcommand: &str, target_dir: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    clean(&mut command);
    // 0x1f separates the flags, so that a blank in the linker's path does no harm.
    let flags = [
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        format!("-Clinker={}", toolchain.linker.display()),
    ];
    command
        .current_dir(root.join("lb-ebpf"))
        .arg(subcommand)
        .args(["--release", "--target", TARGET, "--target-dir"])
        .arg(target_dir)
        .env("RUSTC", &toolchain.rustc)
        // aya-ebpf uses an unstable feature, and Debian's compiler is a stable one.
        .env("RUSTC_BOOTSTRAP", "1")
        // An empty value also switches off a wrapper that the user's configuration names.
        .env("RUSTC_WRAPPER", "")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .stdin(Stdio::null());
    if toolchain.core == Core::FromSource {
        command.args(["-Z", "build-std=core"]);
    }
    command
}

/// Builds `lb-ebpf` below `target_dir` and returns the path of the object. Quick when nothing changed. The compiler's
/// messages go to standard error. With `locked` a `Cargo.lock` that does not fit is an error.
///
/// # Errors
/// Any of [`Error`]; [`Error::is_missing_toolchain`] tells those apart that `cargo xtask setup` mends.
pub(crate) fn build(
    root: &Path,
    toolchain: &Toolchain,
    target_dir: &Path,
    locked: bool,
) -> Result<PathBuf, Error> {
    build_binary(root, toolchain, target_dir, locked, BINARY)
}

/// The same for another binary of `lb-ebpf` than the shipped one.
///
/// # Errors
/// As [`build`].
pub(crate) fn build_binary(
    root: &Path,
    toolchain: &Toolchain,
    target_dir: &Path,
    locked: bool,
    binary: &str,
) -> Result<PathBuf, Error> {
    let source = root.join("lb-ebpf/src/main.rs");
    if !source.is_file() {
        return Err(Error::NoSource(source));
    }
    let mut command = cargo(root, toolchain, "build", target_dir);
    command.args(["--quiet", "--bin", binary]).stdout(Stdio::null());
    if locked {
        command.arg("--locked");
    }
    let status = command
        .status()
        .map_err(|source| Error::Start { program: PathBuf::from(command.get_program()), source })?;
    if !status.success() {
        return Err(Error::Refused { command: format!("{command:?}"), output: String::new() });
    }
    let object = target_dir.join(TARGET).join("release").join(binary);
    if object.is_file() { Ok(object) } else { Err(Error::NoObject(object)) }
}

/// Compiles and links an empty program: tells whether compiler and linker agree, which a linker of another LLVM does
/// not. With [`Core::FromSource`] there is nothing to link without compiling `core`, so only the linker is started.
///
/// # Errors
/// [`Error::Refused`] with the messages, [`Error::Start`].
pub(crate) fn try_out(toolchain: &Toolchain, scratch: &Path) -> Result<(), Error> {
    let start = |program: &Path| {
        let program = program.to_owned();
        move |source| Error::Start { program, source }
    };
    let mut command = match toolchain.core {
        Core::FromSource => {
            let mut command = Command::new(&toolchain.linker);
            command.arg("--version");
            command
        }
        Core::Prebuilt => {
            let source = scratch.join("empty.rs");
            let text = "#![no_std] #![no_main] #[panic_handler] fn stop(_: &core::panic::PanicInfo) -> ! { loop {} }\n\
                 #[unsafe(no_mangle)] #[unsafe(link_section = \"xdp\")] pub extern \"C\" fn empty(_: *mut u8) -> u32 { 2 }\n";
            std::fs::create_dir_all(scratch)
                .and_then(|()| std::fs::write(&source, text))
                .map_err(start(scratch))?;
            let mut command = Command::new(&toolchain.rustc);
            clean(&mut command);
            command
                .args(["--edition=2024", "--crate-type=bin", "--target", TARGET])
                .args(["-Cpanic=abort", "-Copt-level=2", "-Ctarget-cpu=v3", "-Clinker-plugin-lto"])
                .arg(format!("-Clinker={}", toolchain.linker.display()))
                .arg(&source)
                .arg("-o")
                .arg(scratch.join("empty.o"));
            command
        }
    };
    let output = command.stdin(Stdio::null()).output().map_err(start(Path::new(command.get_program())))?;
    if output.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Refused { command: format!("{command:?}"), output })
}
