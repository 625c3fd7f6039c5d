//! `[sysctl]`: IPVS's sysctls by their names.

use toml::de::DeValue;

use super::reader::{Reader, integer};
use crate::model::sysctl::{ABSENT, Setting, Sysctl, SysctlErrorKind, SysctlValue, read_setting};

/// Reads `[sysctl]`, in the order of the names.
pub(super) fn read_sysctls(mut table: Reader<'_>) -> Vec<SysctlValue> {
    let mut values = Vec::new();
    for name in Sysctl::ALL.map(Sysctl::name) {
        values.extend(read(&mut table, name));
    }
    for absent in ABSENT {
        // Its default, which is what happens anyway.
        if table.holds(absent.name) {
            values.extend(read(&mut table, absent.name));
        }
    }
    table.finish();
    values
}

/// The value of a name, where it is there, right, and sets something.
fn read(table: &mut Reader<'_>, name: &'static str) -> Option<SysctlValue> {
    let value = table.raw(name)?;
    let text = match value.get_ref() {
        // Two numbers, or a list of processors.
        DeValue::String(text) => text.to_string(),
        // A number too great for the kernel's is out of every range.
        number @ DeValue::Integer(_) => integer(number).map_or_else(String::new, |n| n.to_string()),
        _ => {
            table.wrong_kind(name, value, "a whole number", &format!("write it as: {name} = 1"));
            return None;
        }
    };
    match read_setting(name, &text) {
        Ok(Setting::Value(value)) => Some(value),
        Ok(Setting::Nothing) => None,
        Err(error) => {
            let span = if error.kind == SysctlErrorKind::Value { value.span() } else { table.key_span(name) };
            table.errors().report(span, error.message, "", error.hint);
            None
        }
    }
}
