//! The clock: what a run costs the CPU, the least of many rounds.

use std::time::Duration;

use anyhow::{Context, Result};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use nix::time::{ClockId, clock_gettime};

/// What runs of one program over one frame cost, nanoseconds a run: one number a round.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round.
    pub(super) fn add(&mut self, nanoseconds: f64) {
        self.0.push(nanoseconds);
    }

    /// The least: whatever else runs on the machine only adds.
    pub(super) fn least(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// Runs `program` `repeat` times over `frame`; nanoseconds a run, and what it returned last.
///
/// The thread's own CPU time, not the kernel's figure: that one is cut to whole nanoseconds. The call around the runs
/// takes some ten microseconds, spread over all of them.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn time(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(f64, u32)> {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = clock()?;
    let result = program
        .test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() })
        .context("BPF_PROG_TEST_RUN was refused")?;
    let took = clock()?.saturating_sub(start);
    Ok((took.as_nanos() as f64 / f64::from(repeat), result.return_value))
}
