//! `lbadm set`: the sysctls in force.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::sysctl::{ABSENT, SysctlValue};

/// Prints each with its default and what it does; then those that do nothing here.
pub(in crate::cli) fn sysctls(out: &mut dyn Write, values: &[SysctlValue]) -> io::Result<()> {
    for SysctlValue { name, value } in values {
        writeln!(out, "{} = {value} (default {})", name.name(), name.default_value())?;
        writeln!(out, "    {}", name.what())?;
    }
    writeln!(out, "\nnot in this version, and as by their defaults:")?;
    for absent in ABSENT {
        match absent.default {
            Some(default) if !default.is_empty() => writeln!(out, "{} = {default}", absent.name)?,
            _ => writeln!(out, "{}", absent.name)?,
        }
        writeln!(out, "    {}", absent.instead)?;
    }
    Ok(())
}

/// A sysctl in JSON.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    /// The value in force; null of what this version does not have.
    value: Option<u32>,
    default: Option<String>,
    supported: bool,
    description: &'static str,
}

/// All of them, for JSON.
pub(in crate::cli) fn sysctls_json(values: &[SysctlValue]) -> impl Serialize {
    let there = values.iter().map(|v| Line {
        name: v.name.name(),
        value: Some(v.value),
        default: Some(v.name.default_value().to_string()),
        supported: true,
        description: v.name.what(),
    });
    let absent = ABSENT.iter().map(|a| Line {
        name: a.name,
        value: None,
        default: a.default.map(str::to_owned),
        supported: false,
        description: a.instead,
    });
    there.chain(absent).collect::<Vec<_>>()
}
