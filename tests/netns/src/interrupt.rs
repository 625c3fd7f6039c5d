//! Ctrl-C that unwinds instead of ending the process, so that a site is taken down.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Another party that already handles the signals.
static OBSERVED: OnceLock<fn() -> bool> = OnceLock::new();

extern "C" fn note(_signal: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP are only noted; [`check`] and [`pause`] report them. Does nothing where
/// there is an observer ([`observe`]).
///
/// # Errors
/// If the kernel refuses the handlers.
pub fn install() -> Result<()> {
    if OBSERVED.get().is_some() {
        return Ok(());
    }
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.with_context(|| format!("cannot handle {signal}"))?;
    }
    Ok(())
}

/// For a program that handles the signals itself: `requested` says whether one has come. Only the first call counts.
pub fn observe(requested: fn() -> bool) {
    // A second observer could only say the same.
    let _already = OBSERVED.set(requested);
}

/// Fails once one of the signals has come.
///
/// # Errors
/// `interrupted`.
pub fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) || OBSERVED.get().is_some_and(|requested| requested()) {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps, in small steps, and stops early when interrupted.
///
/// # Errors
/// `interrupted`.
pub fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Asks `done` every few milliseconds until it says true or `time` is over.
///
/// # Errors
/// `interrupted`, what `done` fails with, or that `what` did not happen in time.
pub fn wait_until(what: &str, time: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        if done()? {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("{what}: not within {time:?}");
        }
        pause(Duration::from_millis(10))?;
    }
}
