//! Replaying packets.json: one frame in, the frame that reaches the first real server.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Mismatches;
use super::frame::{self, Masked};
use super::recording::PacketCase;
use super::stage::Stage;

const INTERFACE: &str = "eth0";
const PATIENCE: Duration = Duration::from_secs(3);
/// The end of the payload, by which our frame is known among others.
const MARK: usize = 16;

/// Runs a case against a fresh director.
///
/// # Errors
/// If the machinery fails, not if the frame differs.
pub(crate) fn run(stage: &mut Stage, case: &PacketCase) -> Result<Mismatches> {
    let director = stage.fresh_director(false)?;
    let traffic = stage.traffic()?;
    let mut found = Mismatches::default();
    for (line, rc) in case.ipvsadm.iter().zip(&case.rc) {
        let got = director.recorded(line, "", "root")?;
        if got.code != *rc {
            found.add(&format!("`{line}`"), vec![format!("expected {rc}, got {}: {}", got.code, got.stderr)]);
        }
    }
    let tail = case.sent.len().checked_sub(2 * MARK).and_then(|at| case.sent.get(at..));
    let Some(tail) = tail else { bail!("the frame sent is shorter than {MARK} bytes") };
    let expected = frame::from_hex(&case.received).context("the frame received")?;
    traffic.rs1.capture(INTERFACE)?;
    traffic.client.send_frame(INTERFACE, &case.sent)?;
    let frames = traffic.rs1.frames(INTERFACE, tail, 1, PATIENCE)?;
    let differences = match frames.first() {
        None => vec![format!("nothing reached the real server within {PATIENCE:?}")],
        Some(hex) => frame::differences(&Masked::of(expected), &Masked::of(frame::from_hex(hex)?)),
    };
    found.add("the frame at the real server", differences);
    Ok(found)
}
