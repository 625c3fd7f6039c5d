//! What commands of rules need of the machine: texts, iptables' own rules.

use std::io::{self, Read as _};
use std::process::Command;

use crate::cli::ControlError;

fn error(message: String, hint: Option<&str>) -> ControlError {
    ControlError { message, hint: hint.map(str::to_owned) }
}

/// A text: of a file, `-` for standard input.
pub(super) fn read_text(path: &str) -> Result<String, ControlError> {
    let text = if path == "-" {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let name = if path == "-" { "standard input" } else { path };
    text.map_err(|source| error(format!("cannot read {name}: {source}"), None))
}

/// The rules of table mangle, by iptables' own programs.
pub(super) fn saved_rules(ipv6: bool) -> Result<String, ControlError> {
    let program = if ipv6 { "ip6tables-save" } else { "iptables-save" };
    let output = Command::new(program).args(["-t", "mangle"]).output().map_err(|source| {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => Some(
                "it is part of iptables; a text of it made elsewhere is taken by: lbadm mark import FILE",
            ),
            _ => None,
        };
        error(format!("cannot run {program}: {source}"), hint)
    })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let message = format!("{program} -t mangle ended with {}: {}", output.status, why.trim());
        return Err(error(message, None));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
