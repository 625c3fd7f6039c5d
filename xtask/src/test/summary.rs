//! How many tests passed: read from what the test programs print, added up, shown at the end.

use std::{fmt, ops::AddAssign, time::Duration};

/// Tests by their outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Ended well.
    pub(crate) passed: u64,
    /// Did not.
    pub(crate) failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Collects what the lines of Rust's test harness say.
#[derive(Debug, Default)]
pub(crate) struct Harness {
    /// The sum of all `test result:` lines.
    pub(crate) counts: Counts,
    /// The names of the tests that failed.
    pub(crate) failures: Vec<String>,
}

impl Harness {
    /// Reads one line.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colours(line);
        let line = line.trim();
        if let Some(result) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let (before, _) = result.split_once(what)?;
                before.rsplit([' ', ';', '.']).find(|word| !word.is_empty())?.parse::<u64>().ok()
            };
            self.counts +=
                Counts { passed: count(" passed").unwrap_or(0), failed: count(" failed").unwrap_or(0) };
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// Takes terminal colours (ESC [ ... m) out.
fn without_colours(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for (at, part) in line.split("\x1b[").enumerate() {
        text.push_str(if at == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) });
    }
    text
}

/// How one stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should.
    Passed,
    /// Not; with the reason.
    Failed(String),
    /// A stage it needs failed.
    NotRun(&'static str),
}

/// One line of the table at the end.
#[derive(Debug)]
pub(crate) struct Row {
    /// The stage.
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// The tests in it. A stage without tests of its own counts as one.
    pub(crate) counts: Counts,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Characters of a reason in the table; the whole stands where the stage ends.
const REASON_WIDTH: usize = 80;

/// The table and, as the last line, the sum.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("\nstage          result   tests             time\n");
    let mut sum = Counts::default();
    for row in rows {
        let (result, reason) = match &row.verdict {
            Verdict::Passed => ("ok", String::new()),
            Verdict::Failed(reason) => {
                let line = reason.lines().next().unwrap_or_default();
                ("FAILED", line.chars().take(REASON_WIDTH).collect())
            }
            Verdict::NotRun(needed) => ("not run", format!("needs {needed}")),
        };
        let tests = format!("{}/{}", row.counts.passed, row.counts.passed + row.counts.failed);
        let line =
            format!("{:14} {result:8} {tests:>11} {:>10.1} s  {reason}", row.name, row.took.as_secs_f64());
        text.push_str(line.trim_end());
        text.push('\n');
        sum += row.counts;
    }
    text.push_str(&format!("\n{sum}"));
    text
}

/// True if every stage passed.
pub(crate) fn all_passed(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.verdict == Verdict::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_are_added_up() {
        let mut harness = Harness::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.36s",
            "\x1b[0mtest result: \x1b[32mok\x1b[m. 40 passed; 0 failed; 2 ignored; 0 measured; 9 filtered out",
        ] {
            harness.line(line);
        }
        assert_eq!(harness.counts, Counts { passed: 41, failed: 1 });
        assert_eq!(harness.failures, ["a::c"]);
    }

    #[test]
    fn other_lines_count_nothing() {
        let mut harness = Harness::default();
        for line in ["", "test result", "5 passed", "test result: ok.", "warning: test result: ok. 5 passed"]
        {
            harness.line(line);
        }
        assert_eq!(harness.counts, Counts::default());
    }

    fn row(name: &'static str, verdict: Verdict, passed: u64, failed: u64) -> Row {
        Row { name, verdict, counts: Counts { passed, failed }, took: Duration::from_millis(1500) }
    }

    #[test]
    fn the_sum_is_the_last_line() {
        let rows = [
            row("format", Verdict::Passed, 1, 0),
            row("unit", Verdict::Failed("2 tests failed\nmore".to_owned()), 40, 2),
            row("fixtures", Verdict::NotRun("build"), 0, 0),
        ];
        let table = table(&rows);
        assert_eq!(table.lines().last(), Some("41 passed, 2 failed"));
        assert!(
            table.contains("unit           FAILED         40/42        1.5 s  2 tests failed\n"),
            "{table}"
        );
        assert!(table.contains("needs build\n"), "{table}");
        assert!(!all_passed(&rows) && all_passed(&rows[..1]));
    }
}
