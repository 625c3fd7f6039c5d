//! `lbadm set`: IPVS's sysctls, as `sysctl` sets and lists them.

use std::io::{self, Write};

use clap::Args;

use super::Control;
use super::lbadm::{Failure, REFUSED, ask, write_json};
use super::render::{sysctls, sysctls_json};
use crate::api::{ErrorKind, Refusal, Request, Response};
use crate::model::sysctl::{Setting, SysctlError, SysctlErrorKind, SysctlValue, read_setting};

/// What `lbadm set` takes.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "Names are those of net.ipv4.vs.*, with or without that beginning. \
                        Without a setting: all of them, with their defaults and what they do.")]
pub struct SetArgs {
    /// As JSON (of the list)
    #[arg(long, conflicts_with_all = ["settings", "file"])]
    json: bool,
    /// Set what a file in the form of sysctl.conf says of net.ipv4.vs; `-` is the standard input
    #[arg(short = 'p', long = "load", value_name = "FILE", conflicts_with = "settings")]
    file: Option<String>,
    /// Sysctls and their values; all are set, or none
    #[arg(value_name = "NAME=VALUE")]
    settings: Vec<String>,
}

impl SetArgs {
    /// What cannot be done where it cannot.
    pub(super) fn failing(&self) -> &'static str {
        if self.settings.is_empty() && self.file.is_none() {
            "cannot list sysctls"
        } else {
            "cannot set sysctls"
        }
    }
}

/// Does it, and gives the exit code.
pub(super) fn run(
    args: &SetArgs,
    control: &mut dyn Control,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Result<u8, Failure>> {
    if let Some(name) = &args.file {
        return load(name, control, err);
    }
    if args.settings.is_empty() {
        return list(args.json, control, out);
    }
    let values = args.settings.iter().map(|setting| {
        let Some((name, value)) = setting.split_once('=') else {
            return Err(Failure::Usage(Refusal {
                kind: ErrorKind::Invalid,
                message: format!("`{setting}` is no setting"),
                hint: Some(format!("write it as: {setting}=VALUE")),
            }));
        };
        read_setting(name.trim(), value).map_err(failure)
    });
    Ok(values.collect::<Result<Vec<_>, _>>().and_then(|settings| set(settings, control)))
}

fn failure(error: SysctlError) -> Failure {
    let refusal = |kind| Refusal { kind, message: error.message.clone(), hint: Some(error.hint.clone()) };
    match error.kind {
        SysctlErrorKind::Absent => Failure::Refused(refusal(ErrorKind::Unsupported)),
        SysctlErrorKind::Unknown | SysctlErrorKind::Value => Failure::Usage(refusal(ErrorKind::Invalid)),
    }
}

/// Asks lbd to set what is not so anyway.
fn set(settings: Vec<Setting>, control: &mut dyn Control) -> Result<u8, Failure> {
    let value = |setting| match setting {
        Setting::Value(value) => Some(value),
        Setting::Nothing => None,
    };
    let values: Vec<SysctlValue> = settings.into_iter().filter_map(value).collect();
    ask(control, &Request::SetSysctls { values }).map(|_| 0)
}

fn list(json: bool, control: &mut dyn Control, out: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    let parts = match ask(control, &Request::Sysctls) {
        Ok(parts) => parts,
        Err(failure) => return Ok(Err(failure)),
    };
    for part in parts {
        if let Response::Sysctls { values } = part {
            if json { write_json(out, &sysctls_json(&values))? } else { sysctls(out, &values)? }
        }
    }
    Ok(Ok(0))
}

/// A line of a file in the form of sysctl.conf.
enum Line<'a> {
    /// Blank, or a comment.
    Empty,
    /// A sysctl that is none of IPVS's.
    Other(&'a str),
    /// Name and value; whether an error is to be passed over (`-` in front).
    Setting(&'a str, &'a str, bool),
    /// None of these.
    Strange,
}

fn line(text: &str) -> Line<'_> {
    let text = text.trim();
    if text.is_empty() || text.starts_with(['#', ';']) {
        return Line::Empty;
    }
    let (text, forgiven) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let Some((name, value)) = text.split_once('=') else { return Line::Strange };
    let name = name.trim();
    let of_ipvs = ["net.ipv4.vs.", "net/ipv4/vs/"].iter().any(|beginning| name.starts_with(beginning));
    if of_ipvs { Line::Setting(name, value, forgiven) } else { Line::Other(name) }
}

/// Sets what of a file can be set, as `sysctl -p` does, and says what could not.
fn load(file: &str, control: &mut dyn Control, err: &mut dyn Write) -> io::Result<Result<u8, Failure>> {
    let text = match control.read_text(file) {
        Ok(text) => text,
        Err(error) => return Ok(Err(Failure::Impossible(error))),
    };
    let (mut settings, mut wrong) = (Vec::new(), false);
    for (n, text) in (1..).zip(text.lines()) {
        match line(text) {
            Line::Empty => {}
            Line::Other(name) => writeln!(err, "note: {file}:{n}: {name} is not IPVS's: left to sysctl")?,
            Line::Strange => {
                wrong = true;
                writeln!(err, "error: {file}:{n}: no setting of the form NAME = VALUE")?;
            }
            Line::Setting(name, value, forgiven) => match read_setting(name, value) {
                Ok(setting) => settings.push(setting),
                Err(error) => {
                    let word = if forgiven { "note" } else { "error" };
                    wrong |= !forgiven;
                    writeln!(err, "{word}: {file}:{n}: {}\nhint: {}", error.message, error.hint)?;
                }
            },
        }
    }
    Ok(set(settings, control).map(|code| if wrong { REFUSED } else { code }))
}

#[cfg(test)]
mod tests;
