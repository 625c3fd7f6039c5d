//! Reads one table of the file key by key, remembers which keys it knows, and reports the others.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::Errors;

/// A value of the file with its place.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table of the file.
pub(super) struct Reader<'a> {
    table: &'a DeTable<'a>,
    /// Where the table is named, for what it lacks.
    span: Range<usize>,
    /// As in "unknown key of a service".
    what: &'static str,
    known: Vec<&'static str>,
    errors: &'a Errors,
}

/// What a value is, with its article.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The number of an integer literal, `None` where it does not fit 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let literal = value.as_integer()?;
    i64::from_str_radix(literal.as_str(), literal.radix()).ok()
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        table: &'a DeTable<'a>,
        span: Range<usize>,
        what: &'static str,
        errors: &'a Errors,
    ) -> Self {
        Self { table, span, what, known: Vec::new(), errors }
    }

    pub(super) fn errors(&self) -> &'a Errors {
        self.errors
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of `key` as it stands; the key is known from now on.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// Whether the table has a value of `key`, right or wrong; the key is known from now on.
    pub(super) fn has(&mut self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    /// Whether the table has a value of `key`, which is not known by that.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where the name of `key` stands.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table.get_key_value(key).map_or_else(|| self.span(), |(k, _)| k.span())
    }

    /// Reports that `key` must be something else than it is.
    pub(super) fn wrong_kind(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, help: &str) {
        let title = format!("`{key}` must be {wanted}");
        self.errors.report(value.span(), title, format!("this is {}", kind(value.get_ref())), help);
    }

    pub(super) fn string(&mut self, key: &'static str, example: &str) -> Option<Located<&'a str>> {
        let value = self.raw(key)?;
        if let Some(s) = value.get_ref().as_str() {
            return Some(Located { value: s, span: value.span() });
        }
        self.wrong_kind(key, value, "a string", &format!("write it as: {key} = \"{example}\""));
        None
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        let value = self.raw(key)?;
        if let Some(b) = value.get_ref().as_bool() {
            return Some(Located { value: b, span: value.span() });
        }
        self.wrong_kind(key, value, "true or false", &format!("write it as: {key} = true"));
        None
    }

    /// A whole number of `range`; `unit` is part of the message (`seconds`), may be empty.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<u32>,
        unit: &str,
    ) -> Option<Located<u32>> {
        let value = self.raw(key)?;
        let space = if unit.is_empty() { "" } else { " " };
        let wanted = format!("a whole number from {} to {}{space}{unit}", range.start(), range.end());
        if !value.get_ref().is_integer() {
            self.wrong_kind(key, value, &wanted, "");
            return None;
        }
        let number = integer(value.get_ref()).and_then(|n| u32::try_from(n).ok());
        match number.filter(|n| range.contains(n)) {
            Some(value_) => Some(Located { value: value_, span: value.span() }),
            None => {
                self.errors.report(value.span(), format!("`{key}` must be {wanted}"), "out of range", "");
                None
            }
        }
    }

    /// A list of strings.
    pub(super) fn strings(&mut self, key: &'static str, example: &str) -> Vec<Located<&'a str>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let help = format!("write it as: {key} = [\"{example}\"]");
            self.wrong_kind(key, value, "a list of strings", &help);
            return Vec::new();
        };
        let mut out = Vec::new();
        for entry in list {
            match entry.get_ref().as_str() {
                Some(s) => out.push(Located { value: s, span: entry.span() }),
                None => self.wrong_kind(key, entry, "a list of strings", ""),
            }
        }
        out
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str, path: &str, what: &'static str) -> Vec<Reader<'a>> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let help = format!("begin each with a line of its own: [[{path}]]");
        let Some(list) = value.get_ref().as_array() else {
            self.wrong_kind(key, value, "a list of tables", &help);
            return Vec::new();
        };
        let mut out = Vec::new();
        for entry in list {
            match entry.get_ref().as_table() {
                Some(table) => out.push(Reader::new(table, entry.span(), what, self.errors)),
                None => self.wrong_kind(key, entry, "a list of tables", &help),
            }
        }
        out
    }

    /// The table `[key]`.
    pub(super) fn table(&mut self, key: &'static str, what: &'static str) -> Option<Reader<'a>> {
        let value = self.raw(key)?;
        if let Some(table) = value.get_ref().as_table() {
            return Some(Reader::new(table, value.span(), what, self.errors));
        }
        self.wrong_kind(key, value, "a table", &format!("write it as a line of its own: [{key}]"));
        None
    }

    /// Reports every key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let help = match self.known.iter().map(|k| (distance(name, k), k)).min() {
                Some((d, k)) if d <= 2 => format!("did you mean `{k}`?"),
                _ => format!("known here: {}", self.known.join(", ")),
            };
            self.errors.report(key.span(), format!("unknown key `{name}` of {}", self.what), "", help);
        }
    }
}

/// How many letters to insert, delete or replace (Levenshtein) to come from `a` to `b`; `_` is `-`.
fn distance(a: &str, b: &str) -> usize {
    let dash = |c| if c == '_' { '-' } else { c };
    let b: Vec<char> = b.chars().map(dash).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().map(dash).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(diagonal + 1);
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn the_distance_is_the_number_of_letters_that_differ() {
        assert_eq!(distance("wieght", "weight"), 2);
        assert_eq!(distance("one_packet", "one-packet"), 0);
        assert_eq!(distance("drop_entyr", "drop_entry"), 2);
        assert_eq!(distance("", "tcp"), 3);
        assert_eq!(distance("tcp", ""), 3);
        assert_eq!(distance("upper", "lower"), 3);
    }
}
