//! The table, and the goals (what the project wants of its data path).

use std::fmt;

use serde::Serialize;

use super::facts::Fact;

/// What a case may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// None: shown for the record.
    None,
    /// So many L.
    L(f64),
    /// The goal of established TCP by DR with one flow, and so many L more.
    AsDr(f64),
    /// What established TCP by DR with one flow cost in this run, and so many of this H (ns).
    DrAndHit(f64, f64),
    /// So many of this H (ns).
    Hit(f64, f64),
}

/// Goal of established TCP by DR, L.
const DR: f64 = 1.0;

/// What one case cost.
#[derive(Debug, Clone)]
pub(super) struct Row {
    name: String,
    nanoseconds: f64,
    goal: Goal,
}

impl Row {
    /// A case and its cost, net.
    pub(super) fn new(name: impl Into<String>, nanoseconds: f64, goal: Goal) -> Self {
        Self { name: name.into(), nanoseconds, goal }
    }
}

/// Everything measured.
#[derive(Debug)]
pub(super) struct Results {
    /// An empty program, ns.
    empty: f64,
    /// L, ns.
    l: f64,
    /// The cases; the first is established TCP by DR with one flow.
    pub(super) rows: Vec<Row>,
    /// H, ns, by what it is of.
    pub(super) hits: Vec<(String, f64)>,
}

impl Results {
    /// No case yet.
    pub(super) fn new(empty: f64, l: f64) -> Self {
        Self { empty, l, rows: Vec::new(), hits: Vec::new() }
    }
}

/// The cases of two directors side by side.
pub(super) fn comparison(results: &[Results]) -> String {
    let [before, after] = results else { return String::new() };
    let mut text =
        format!("L: {:.1} and {:.1} ns\n{:48} {:>7} {:>7}\n", before.l, after.l, "case", "before", "after");
    for (before, after) in before.rows.iter().zip(&after.rows) {
        let change = (after.nanoseconds / before.nanoseconds - 1.0) * 100.0;
        text += &format!(
            "{:48} {:>7.1} {:>7.1}  {change:+.0} %\n",
            after.name, before.nanoseconds, after.nanoseconds
        );
    }
    text
}

/// What is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    empty_ns: f64,
    l_ns: f64,
    hash_hits_ns: Vec<(String, f64)>,
    cases: Vec<Line>,
    missed: usize,
    programs: Vec<Fact>,
}

#[derive(Debug, Serialize)]
struct Line {
    case: String,
    ns: f64,
    l: f64,
    goal: Option<String>,
    goal_ns: Option<f64>,
    met: Option<bool>,
}

impl Report {
    /// Compares with the goals.
    pub(super) fn new(results: Results, programs: Vec<Fact>) -> Self {
        let Results { empty, l, rows, hits } = results;
        let dr = rows.first().map_or(0.0, |row| row.nanoseconds);
        let line = |row: Row| {
            let goal = match row.goal {
                Goal::None => None,
                Goal::L(n) => Some((format!("{n:.1} L"), n * l)),
                Goal::AsDr(more) => Some((format!("{:.1} L", DR + more), (DR + more) * l)),
                Goal::DrAndHit(n, hit) => Some((format!("one flow + {n:.1} H"), dr + n * hit)),
                Goal::Hit(n, hit) => Some((format!("{n:.1} H"), n * hit)),
            };
            let goal_ns = goal.as_ref().map(|goal| goal.1);
            Line {
                case: row.name,
                ns: row.nanoseconds,
                l: row.nanoseconds / l,
                goal: goal.map(|goal| goal.0),
                goal_ns,
                met: goal_ns.map(|goal| row.nanoseconds <= goal),
            }
        };
        let cases: Vec<Line> = rows.into_iter().map(line).collect();
        let missed = cases.iter().filter(|line| line.met == Some(false)).count();
        Self { empty_ns: empty, l_ns: l, hash_hits_ns: hits, cases, missed, programs }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ns a packet net of an empty program ({:.1} ns); the least of all rounds",
            self.empty_ns
        )?;
        writeln!(f, "L, one lookup in a HASH with a 16-byte key: {:.1} ns", self.l_ns)?;
        for (name, nanoseconds) in &self.hash_hits_ns {
            writeln!(f, "{name}: {nanoseconds:.1} ns")?;
        }
        writeln!(f, "\n{:48} {:>7} {:>6}  {:19} verdict", "case", "ns", "L", "goal")?;
        for line in &self.cases {
            write!(f, "{:48} {:>7.1} {:>6.2}  ", line.case, line.ns, line.l)?;
            match (&line.goal, line.goal_ns, line.met) {
                (Some(goal), Some(_), Some(true)) => writeln!(f, "{goal:19} ok")?,
                (Some(goal), Some(ns), _) => writeln!(
                    f,
                    "{goal:19} MISSED by {:.1} ns, {:.2} L ({:.0} %)",
                    line.ns - ns,
                    (line.ns - ns) / self.l_ns,
                    (line.ns / ns - 1.0) * 100.0
                )?,
                _ => writeln!(f, "-")?,
            }
        }
        writeln!(
            f,
            "\n{:10} {:>12} {:>9} {:>10} {:>7}  stack (512 at most)",
            "program", "instructions", "verified", "machine B", "tag"
        )?;
        for fact in &self.programs {
            writeln!(f, "{fact}")?;
        }
        match self.missed {
            0 => writeln!(f, "\nevery goal is met"),
            n => {
                writeln!(f, "\n{n} of {} goals missed", self.cases.iter().filter(|c| c.met.is_some()).count())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_missed_by_what_was_measured() {
        let mut results = Results::new(5.0, 20.0);
        results.rows = vec![
            Row::new("dr", 20.0, Goal::L(1.0)),
            Row::new("udp", 20.1, Goal::AsDr(0.0)),
            Row::new("v6", 28.0, Goal::AsDr(0.4)),
            Row::new("many", 71.0, Goal::DrAndHit(0.5, 100.0)),
            Row::new("new", 99.0, Goal::Hit(1.0, 100.0)),
            Row::new("other", 1e6, Goal::None),
        ];
        let report = Report::new(results, Vec::new());
        let met: Vec<_> = report.cases.iter().map(|line| line.met).collect();
        assert_eq!(met, [Some(true), Some(false), Some(true), Some(false), Some(true), None]);
        assert_eq!(report.missed, 2);
        let text = report.to_string();
        assert!(text.contains("2 of 5 goals missed") && text.contains("MISSED by 1.0 ns, 0.05 L"), "{text}");
    }
}
