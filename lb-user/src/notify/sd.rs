//! Notices to systemd (sd_notify(3)); nothing happens where nobody waits for them.

use sd_notify::NotifyState;

/// lbd forwards and answers.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// lbd stops.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}
