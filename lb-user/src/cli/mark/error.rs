//! A command line that is not understood.

/// What is understood, for whoever wrote something else.
pub(super) const UNDERSTOOD: &str = "understood are: -t mangle; -A -I -R -D -C -F -L -S (PREROUTING); -s -d -i -p, each also behind !; \
     -m tcp, udp, sctp, multiport, mac, iprange, comment with --sport --dport --sports --dports --ports --mac-source \
     --src-range --dst-range --comment; -j MARK with --set-mark --set-xmark --or-mark --and-mark --xor-mark; -j RETURN; \
     -j ACCEPT; -4 -6; --restore; import";

/// Why a command line cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Error {
    /// What is wrong, lower case, no trailing period.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// An error whose remedy is clear from itself.
pub(super) fn wrong<T>(message: impl Into<String>) -> Result<T, Error> {
    Err(Error { message: message.into(), hint: None })
}

/// An error with its remedy.
pub(super) fn wrong_with<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Error> {
    Err(Error { message: message.into(), hint: Some(hint.into()) })
}
