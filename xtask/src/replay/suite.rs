//! The recordings that must pass, kept in tests/recordings.

/// A file and the cases of it that must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    /// File name in tests/recordings.
    pub(crate) file: &'static str,
    /// Names as `--only` takes them.
    pub(crate) only: &'static [&'static str],
}

/// Everything that must pass.
pub(crate) const SUITE: &[Entry] = &[
    Entry {
        file: "ipvsadm-cli.json",
        only: &[
            "usage-errors",
            "default-scheduler",
            "scheduler-rr",
            "scheduler-wrr",
            "scheduler-wlc",
            "scheduler-sh",
            "scheduler-dh",
            "scheduler-lblcr",
            "one-packet-and-flags",
            "timeouts",
            "list-options",
            "forwarding-and-tunnels",
            "save-restore",
            "listings-with-servers",
            "families-protocols",
        ],
    },
    Entry {
        file: "scheduling.json",
        only: &[
            "rr/NAT",
            "rr/DR",
            "rr-changes",
            "rr-nat-other-port",
            "wrr-1-2-3",
            "wrr-3-2-1",
            "wrr-10-20-30",
            "sh",
            "sh-1-2-3",
            "sh-port",
            "sh-weight0",
            "dh",
            "mh",
            "mh-1-2-3",
            "mh-weight0-mh-fallback",
            "lblc",
            "lc-held-1-2-3",
            "wlc-held-1-2-3",
            "wlc-not-held",
            "sed-held-1-1-1",
            "nq-held-1-2-3",
            "fo-1-2-3",
            "ovf-held-2-3-4",
            "udp-rr",
            "all-weights-0-wrr",
            "all-weights-0-sh",
            "no-servers",
            "sorry-server",
            "removed-and-added-keeps-counts",
            "persistent",
            "persistent-mask-28",
            "persistent-port0",
            "weight0-quiesce",
            "weight0-persistent-expire0",
            "remove-with-held-expire_nodest0",
            "threshold-2",
            "udp-ops-rr",
            "same-source-port-again-reuse1",
        ],
    },
    Entry { file: "packets.json", only: &[] },
];
