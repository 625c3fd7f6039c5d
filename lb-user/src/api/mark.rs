//! Changes of the rules that give marks.

use serde::{Deserialize, Serialize};

use crate::model::MarkRule;

/// A change of the list of one address family, as iptables has it. Numbers begin with 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum MarkChange {
    /// `-A`: at the end.
    Append {
        /// The rule.
        rule: Box<MarkRule>,
    },
    /// `-I`: in front of a rule; one behind the last number is the end.
    Insert {
        /// The number that it gets.
        number: u32,
        /// The rule.
        rule: Box<MarkRule>,
    },
    /// `-R`: in the place of a rule.
    Replace {
        /// Which.
        number: u32,
        /// The rule.
        rule: Box<MarkRule>,
    },
    /// `-D` by what it says: the first that is the same.
    Delete {
        /// The rule.
        rule: Box<MarkRule>,
    },
    /// `-D` by number.
    DeleteNumber {
        /// Of which list.
        ipv6: bool,
        /// Which.
        number: u32,
    },
    /// `-F`: all of a list, whoever owns them.
    Flush {
        /// Of which list.
        ipv6: bool,
    },
    /// Replaces the rules that were imported before, in their place.
    Import {
        /// Of which list.
        ipv6: bool,
        /// The rules in order.
        rules: Vec<MarkRule>,
    },
}
