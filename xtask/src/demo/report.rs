//! What the demo prints, and whether all of it was as it should be.

use std::collections::BTreeMap;
use std::time::Instant;

/// Prints as it goes and keeps the checks for the summary.
#[derive(Debug)]
pub(crate) struct Report {
    started: Instant,
    checks: Vec<(bool, String)>,
}

impl Report {
    /// The clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), checks: Vec::new() }
    }

    /// A heading.
    pub(crate) fn chapter(&mut self, title: &str) {
        println!("\n== {title}");
    }

    /// Plain words.
    pub(crate) fn say(&mut self, text: &str) {
        println!("{text}");
    }

    /// A command that is given, and where.
    pub(crate) fn command(&mut self, host: &str, line: &str) {
        println!("  {host:>8} $ {line}");
    }

    /// What a command printed.
    pub(crate) fn output(&mut self, text: &str) {
        for line in text.lines() {
            println!("           | {line}");
        }
    }

    /// Something that should be so.
    pub(crate) fn check(&mut self, what: &str, ok: bool) {
        println!("  {} {what}", if ok { "ok  " } else { "FAIL" });
        self.checks.push((ok, what.to_owned()));
    }

    /// The summary; whether everything was as it should be.
    pub(crate) fn summary(&mut self) -> bool {
        self.chapter("Summary");
        for (ok, what) in &self.checks {
            println!("  {} {what}", if *ok { "ok  " } else { "FAIL" });
        }
        let failed = self.checks.iter().filter(|(ok, _)| !ok).count();
        let passed = self.checks.len() - failed;
        println!("{passed} as it should be, {failed} not, in {:.0} s.", self.started.elapsed().as_secs_f64());
        failed == 0 && passed > 0
    }
}

/// How often each answer came, in words: `rs1 4 times, rs2 2 times`.
pub(crate) fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.as_str()).or_insert(0) += 1;
    }
    counts
}

/// Shares in words.
pub(crate) fn in_words(shares: &BTreeMap<&str, usize>) -> String {
    let parts: Vec<String> =
        shares.iter().map(|(name, n)| format!("{name} {n} time{}", if *n == 1 { "" } else { "s" })).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_and_told() {
        let answers: Vec<String> = ["rs2", "rs1", "rs2"].into_iter().map(str::to_owned).collect();
        assert_eq!(in_words(&shares(&answers)), "rs1 1 time, rs2 2 times");
    }

    #[test]
    fn nothing_checked_is_no_success() {
        assert!(!Report::new().summary());
        let mut report = Report::new();
        report.check("a", true);
        assert!(report.summary());
        report.check("b", false);
        assert!(!report.summary());
    }
}
