//! Running short commands and reading what they said.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.code == 0
    }
}

impl From<Output> for Finished {
    fn from(o: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = o.status.code().unwrap_or_else(|| 128 + o.status.signal().unwrap_or(0));
        Self {
            code,
            stdout: String::from_utf8_lossy(&o.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&o.stderr).into_owned(),
        }
    }
}

/// Runs `command` with `stdin` and waits for it.
///
/// # Errors
/// If it cannot be started; a hint names the Debian package of the tools used here.
pub fn finish(command: &mut Command, stdin: &str) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{program}`{}", package_hint(&program)))?;
    if let Some(mut pipe) = child.stdin.take() {
        // A command that does not read its input has closed the pipe: that is its right.
        let _unread = pipe.write_all(stdin.as_bytes());
    }
    Ok(child.wait_with_output().with_context(|| format!("cannot wait for `{program}`"))?.into())
}

/// As [`finish`], and anything but exit code 0 is an error that quotes what the command said.
///
/// # Errors
/// If it cannot be started or fails.
pub fn check(command: &mut Command, stdin: &str) -> Result<String> {
    let shown = format!("{command:?}");
    let done = finish(command, stdin)?;
    if !done.ok() {
        bail!("{shown} ended with {}\n{}{}", done.code, done.stdout, done.stderr);
    }
    Ok(done.stdout)
}

/// Gives `ip` many lines at once: `ip -batch` stops at the first that fails and names it. A batch has one family:
/// lines that begin with `-6` come after the others.
///
/// # Errors
/// If one of the lines fails.
pub fn ip_batch(namespace: Option<&str>, lines: &[String]) -> Result<()> {
    let (six, rest): (Vec<&str>, Vec<&str>) =
        lines.iter().map(String::as_str).partition(|l| l.starts_with("-6 "));
    one_batch(namespace, None, &rest)?;
    one_batch(namespace, Some("-6"), &six.iter().filter_map(|l| l.strip_prefix("-6 ")).collect::<Vec<_>>())
}

fn one_batch(namespace: Option<&str>, family: Option<&str>, lines: &[&str]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("ip");
    command.args(family);
    if let Some(name) = namespace {
        command.args(["-n", name]);
    }
    command.args(["-batch", "-"]);
    let done = finish(&mut command, &(lines.join("\n") + "\n"))?;
    if !done.ok() {
        bail!("ip {} -batch failed: {}\nlines:\n{}", namespace.unwrap_or("-"), done.stderr, lines.join("\n"));
    }
    Ok(())
}

/// The Debian package that brings a tool, as a remedy in error messages.
fn package_hint(program: &str) -> &'static str {
    match program {
        "ip" => " (Debian package iproute2; `cargo xtask setup` installs it)",
        "ethtool" => " (Debian package ethtool; `cargo xtask setup` installs it)",
        "curl" => " (Debian package curl; `cargo xtask setup` installs it)",
        "nginx" => " (Debian package nginx-light; `cargo xtask setup` installs it)",
        "python3" | "/usr/bin/python3" => " (Debian package python3; `cargo xtask setup` installs it)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_output_are_kept() {
        let done = finish(Command::new("sh").args(["-c", "cat; echo no >&2; exit 3"]), "in\n").unwrap();
        assert_eq!((done.code, done.stdout.as_str(), done.stderr.as_str()), (3, "in\n", "no\n"));
        assert!(!done.ok());
    }

    #[test]
    fn a_failure_quotes_the_command() {
        let text =
            check(Command::new("sh").args(["-c", "echo why >&2; exit 1"]), "").unwrap_err().to_string();
        assert!(text.contains("why") && text.contains("ended with 1"), "{text}");
    }

    #[test]
    fn a_missing_tool_is_named() {
        let text = finish(&mut Command::new("no-such-tool-here"), "").unwrap_err().to_string();
        assert!(text.contains("no-such-tool-here"), "{text}");
    }
}
