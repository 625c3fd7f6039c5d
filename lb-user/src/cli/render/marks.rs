//! The rules that give marks.

use std::io::{self, Write};

use super::columns::Columns;
use crate::cli::mark::text;
use crate::model::{MarkTarget, OwnedMarkRule};

/// Prints rules with their numbers: packets meet them in this order.
pub(in crate::cli) fn marks(out: &mut dyn Write, rules: &[OwnedMarkRule]) -> io::Result<()> {
    if rules.is_empty() {
        return writeln!(out, "no marks");
    }
    for ipv6 in [false, true] {
        let mut columns = Columns::default();
        columns.row([if ipv6 { "IPV6" } else { "IPV4" }, "MARK", "OWNER", "PACKETS"]);
        let mut number = 0;
        for owned in rules.iter().filter(|o| o.rule.ipv6 == ipv6) {
            number += 1;
            let mark = match owned.rule.target {
                MarkTarget::Mark { value, mask: u32::MAX } => value.to_string(),
                MarkTarget::Mark { value, mask } if value == mask => format!("or {value:#x}"),
                MarkTarget::Mark { value: 0, mask } => format!("and {:#x}", !mask),
                MarkTarget::Mark { value, mask: 0 } => format!("xor {value:#x}"),
                MarkTarget::Mark { value, mask } => format!("{value:#x}/{mask:#x}"),
                MarkTarget::Return => "return".to_owned(),
                MarkTarget::Accept => "accept".to_owned(),
            };
            let text = text(&owned.rule);
            let conditions =
                text.rsplit_once("-j ").map_or(text.as_str(), |(conditions, _)| conditions.trim());
            let conditions = if conditions.is_empty() { "every one" } else { conditions };
            columns.row([&number.to_string(), &mark, &owned.owner.to_string(), conditions]);
        }
        if number > 0 {
            columns.print(out, "")?;
        }
    }
    Ok(())
}
