//! `lbadm marks`: the rules that give marks.

use std::io::{self, Write};

use super::columns::Columns;
use crate::model::MarkRule;

/// Prints `rules` in their order, which counts: the first that matches gives the mark.
pub(in crate::cli) fn marks(out: &mut dyn Write, rules: &[MarkRule]) -> io::Result<()> {
    if rules.is_empty() {
        return writeln!(out, "no marks");
    }
    let mut columns = Columns::default();
    columns.row(["DESTINATION", "PROTOCOL", "PORTS", "MARK"]);
    for rule in rules {
        let ports = match (rule.first_port, rule.last_port) {
            (0, u16::MAX) => "every".to_owned(),
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        columns.row([
            format!("{}/{}", rule.destination, rule.prefix),
            rule.protocol.map_or_else(|| "every".to_owned(), |p| p.to_string()),
            ports,
            rule.mark.to_string(),
        ]);
    }
    columns.print(out, "")
}
