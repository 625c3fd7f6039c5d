//! Requests one after another, at a steady and moderate rate, while a test changes something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::{Agent, interrupt};

/// Between the end of a request and the next.
const BETWEEN: Duration = Duration::from_millis(20);
/// For requests to be made.
const PATIENCE: Duration = Duration::from_secs(30);
/// Client ports that are used in turn.
const PORTS: u16 = 5000;

/// A client that asks until it is told to stop.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<Vec<String>>>>,
}

impl Stream {
    /// Begins to connect from `from`, by `first_port` and those after it, to `to`.
    #[must_use]
    pub fn start(mut client: Agent, from: &'static str, first_port: u16, to: (&'static str, u16)) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicUsize::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&done));
        let thread = std::thread::spawn(move || {
            let mut got = Vec::new();
            for port in (first_port..first_port.saturating_add(PORTS)).cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                got.push(client.connect((from, port), to)?);
                counter.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(BETWEEN);
            }
            Ok(got)
        });
        Self { stop, done, thread: Some(thread) }
    }

    /// Waits until `count` more requests have ended.
    ///
    /// # Errors
    /// If they do not.
    pub fn wait_for(&self, count: usize) -> Result<()> {
        let end = self.done.load(Ordering::Relaxed) + count;
        interrupt::wait_until(&format!("{count} more requests are made"), PATIENCE, || {
            Ok(self.done.load(Ordering::Relaxed) >= end)
        })
    }

    /// Ends it: what each request got.
    ///
    /// # Errors
    /// If the client fails.
    pub fn finish(mut self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or_else(|| anyhow!("the stream was ended before"))?;
        thread.join().map_err(|_panic| anyhow!("the thread of the stream panicked"))?
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
