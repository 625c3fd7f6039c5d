//! The words of the ipvsadm grammar: its commands, its options, and which option belongs to which
//! command.

/// What is to be done: the first option of a command line, and nothing but the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    Help,
    Version,
}

/// An option whose being given twice, missing or out of place is an error. The order is the one in
/// which ipvsadm looks for such errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UpperThreshold,
    LowerThreshold,
    McastInterface,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    SyncId,
    Exact,
    OnePacket,
    PersistenceEngine,
    SchedFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

impl Opt {
    pub(super) const ALL: [Self; 34] = [
        Self::Numeric,
        Self::Connection,
        Self::Service,
        Self::Scheduler,
        Self::Persistent,
        Self::Netmask,
        Self::Server,
        Self::Forward,
        Self::Weight,
        Self::UpperThreshold,
        Self::LowerThreshold,
        Self::McastInterface,
        Self::Timeout,
        Self::Daemon,
        Self::Stats,
        Self::Rate,
        Self::Thresholds,
        Self::PersistentConn,
        Self::NoSort,
        Self::SyncId,
        Self::Exact,
        Self::OnePacket,
        Self::PersistenceEngine,
        Self::SchedFlags,
        Self::McastGroup,
        Self::McastPort,
        Self::McastTtl,
        Self::SyncMaxlen,
        Self::TunInfo,
        Self::TunType,
        Self::TunPort,
        Self::TunNocsum,
        Self::TunCsum,
        Self::TunRemcsum,
    ];

    /// The name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Connection => "connection",
            Self::Service => "service-address",
            Self::Scheduler => "scheduler",
            Self::Persistent => "persistent",
            Self::Netmask => "netmask",
            Self::Server => "real-server",
            Self::Forward => "forwarding-method",
            Self::Weight => "weight",
            Self::UpperThreshold => "u-threshold",
            Self::LowerThreshold => "l-threshold",
            Self::McastInterface => "mcast-interface",
            Self::Timeout => "timeout",
            Self::Daemon => "daemon",
            Self::Stats => "stats",
            Self::Rate => "rate",
            Self::Thresholds => "thresholds",
            Self::PersistentConn => "persistent-conn",
            Self::NoSort => "nosort",
            Self::SyncId => "syncid",
            Self::Exact => "exact",
            Self::OnePacket => "ops",
            Self::PersistenceEngine => "pe",
            Self::SchedFlags => "sched-flags",
            Self::McastGroup => "mcast-group",
            Self::McastPort => "mcast-port",
            Self::McastTtl => "mcast-ttl",
            Self::SyncMaxlen => "sync-maxlen",
            Self::TunInfo => "tun-info",
            Self::TunType => "tun-type",
            Self::TunPort => "tun-port",
            Self::TunNocsum => "tun-nocsum",
            Self::TunCsum => "tun-csum",
            Self::TunRemcsum => "tun-remcsum",
        }
    }

    const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// The options given so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given(u64);

impl Given {
    /// Takes down `opt`, false where it was given before.
    pub(super) fn add(&mut self, opt: Opt) -> bool {
        let new = !self.has(opt);
        self.0 |= opt.bit();
        new
    }

    pub(super) const fn has(self, opt: Opt) -> bool {
        self.0 & opt.bit() != 0
    }

    pub(super) fn any(self, opts: &[Opt]) -> bool {
        opts.iter().any(|o| self.has(*o))
    }
}

/// Whether an option fits a command, or a kind of tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fits {
    /// It has to be there.
    Required,
    /// It may be there.
    Optional,
    /// One of these may be there.
    Exclusive,
    /// It must not be there.
    Illegal,
}

impl Verb {
    /// The name in messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::List => "list",
            Self::AddServer => "add-server",
            Self::DeleteServer => "delete-server",
            Self::EditServer => "edit-server",
            Self::Set => "set",
            Self::StartDaemon => "start-daemon",
            Self::StopDaemon => "stop-daemon",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
            Self::Help => "help",
            Self::Version => "version",
        }
    }

    /// Whether `opt` fits this command.
    pub(super) fn fits(self, opt: Opt) -> Fits {
        let (required, optional, exclusive): (&[Opt], &[Opt], &[Opt]) = match self {
            Self::AddService | Self::EditService => (
                &[Opt::Service],
                &[
                    Opt::Scheduler,
                    Opt::Persistent,
                    Opt::Netmask,
                    Opt::OnePacket,
                    Opt::PersistenceEngine,
                    Opt::SchedFlags,
                ],
                &[],
            ),
            Self::DeleteService => (&[Opt::Service], &[], &[]),
            Self::AddServer | Self::EditServer => (
                &[Opt::Service, Opt::Server],
                &[
                    Opt::Forward,
                    Opt::Weight,
                    Opt::UpperThreshold,
                    Opt::LowerThreshold,
                    Opt::TunType,
                    Opt::TunPort,
                    Opt::TunNocsum,
                    Opt::TunCsum,
                    Opt::TunRemcsum,
                ],
                &[],
            ),
            Self::DeleteServer => (&[Opt::Service, Opt::Server], &[], &[]),
            Self::List => (
                &[],
                &[
                    Opt::Numeric,
                    Opt::Stats,
                    Opt::Rate,
                    Opt::Thresholds,
                    Opt::PersistentConn,
                    Opt::NoSort,
                    Opt::SyncId,
                    Opt::Exact,
                    Opt::TunInfo,
                ],
                &[Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon],
            ),
            Self::StartDaemon => (
                &[],
                &[
                    Opt::McastInterface,
                    Opt::SyncId,
                    Opt::McastGroup,
                    Opt::McastPort,
                    Opt::McastTtl,
                    Opt::SyncMaxlen,
                ],
                &[],
            ),
            Self::StopDaemon => (&[], &[Opt::SyncId], &[]),
            Self::Save => (&[], &[Opt::Numeric], &[]),
            Self::Zero => (&[], &[Opt::Service], &[]),
            Self::Clear | Self::Set | Self::Restore | Self::Help | Self::Version => (&[], &[], &[]),
        };
        if required.contains(&opt) {
            Fits::Required
        } else if optional.contains(&opt) {
            Fits::Optional
        } else if exclusive.contains(&opt) {
            Fits::Exclusive
        } else {
            Fits::Illegal
        }
    }
}

/// A word of the command line as the table below names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// A command.
    Verb(Verb),
    /// `-t`, `-u`, `--sctp-service`.
    Address(crate::model::Protocol),
    /// `-f`.
    Fwmark,
    /// `-6`.
    Ipv6,
    /// `-g`, `-i`, `-m`.
    Method(crate::model::ForwardingMethod),
    /// `--sort`, which does nothing.
    Sort,
    /// Any other.
    Opt(Opt),
}

/// Whether an option has an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Required,
    /// The next word, unless it begins with `-`.
    Optional,
}

/// One line of the table of options.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) argument: Argument,
    pub(super) word: Word,
}

const fn spec(long: &'static str, short: Option<char>, argument: Argument, word: Word) -> Spec {
    Spec { long, short, argument, word }
}

/// Every option.
pub(super) const TABLE: &[Spec] = {
    use crate::model::ForwardingMethod::{DirectRoute, Masq, Tunnel};
    use crate::model::Protocol;
    use Argument::{None as No, Optional, Required};
    use Word::{Address, Method, Opt as O, Verb as V};
    &[
        spec("add-service", Some('A'), No, V(Verb::AddService)),
        spec("edit-service", Some('E'), No, V(Verb::EditService)),
        spec("delete-service", Some('D'), No, V(Verb::DeleteService)),
        spec("clear", Some('C'), No, V(Verb::Clear)),
        spec("list", Some('L'), No, V(Verb::List)),
        spec("list", Some('l'), No, V(Verb::List)),
        spec("zero", Some('Z'), No, V(Verb::Zero)),
        spec("add-server", Some('a'), No, V(Verb::AddServer)),
        spec("edit-server", Some('e'), No, V(Verb::EditServer)),
        spec("delete-server", Some('d'), No, V(Verb::DeleteServer)),
        spec("set", None, No, V(Verb::Set)),
        spec("help", Some('h'), No, V(Verb::Help)),
        spec("version", Some('v'), No, V(Verb::Version)),
        spec("restore", Some('R'), No, V(Verb::Restore)),
        spec("save", Some('S'), No, V(Verb::Save)),
        spec("start-daemon", None, Required, V(Verb::StartDaemon)),
        spec("stop-daemon", None, Required, V(Verb::StopDaemon)),
        spec("tcp-service", Some('t'), Required, Address(Protocol::Tcp)),
        spec("udp-service", Some('u'), Required, Address(Protocol::Udp)),
        spec("sctp-service", None, Required, Address(Protocol::Sctp)),
        spec("fwmark-service", Some('f'), Required, Word::Fwmark),
        spec("ipv6", Some('6'), No, Word::Ipv6),
        spec("scheduler", Some('s'), Required, O(Opt::Scheduler)),
        spec("sched-flags", Some('b'), Required, O(Opt::SchedFlags)),
        spec("persistent", Some('p'), Optional, O(Opt::Persistent)),
        spec("netmask", Some('M'), Required, O(Opt::Netmask)),
        spec("pe", None, Required, O(Opt::PersistenceEngine)),
        spec("ops", Some('o'), No, O(Opt::OnePacket)),
        spec("real-server", Some('r'), Required, O(Opt::Server)),
        spec("masquerading", Some('m'), No, Method(Masq)),
        spec("ipip", Some('i'), No, Method(Tunnel)),
        spec("gatewaying", Some('g'), No, Method(DirectRoute)),
        spec("weight", Some('w'), Required, O(Opt::Weight)),
        spec("u-threshold", Some('x'), Required, O(Opt::UpperThreshold)),
        spec("l-threshold", Some('y'), Required, O(Opt::LowerThreshold)),
        spec("tun-type", None, Required, O(Opt::TunType)),
        spec("tun-port", None, Required, O(Opt::TunPort)),
        spec("tun-nocsum", None, No, O(Opt::TunNocsum)),
        spec("tun-csum", None, No, O(Opt::TunCsum)),
        spec("tun-remcsum", None, No, O(Opt::TunRemcsum)),
        spec("numeric", Some('n'), No, O(Opt::Numeric)),
        spec("connection", Some('c'), No, O(Opt::Connection)),
        spec("timeout", None, No, O(Opt::Timeout)),
        spec("daemon", None, No, O(Opt::Daemon)),
        spec("stats", None, No, O(Opt::Stats)),
        spec("rate", None, No, O(Opt::Rate)),
        spec("thresholds", None, No, O(Opt::Thresholds)),
        spec("persistent-conn", None, No, O(Opt::PersistentConn)),
        spec("tun-info", None, No, O(Opt::TunInfo)),
        spec("nosort", None, No, O(Opt::NoSort)),
        spec("sort", None, No, Word::Sort),
        spec("exact", Some('X'), No, O(Opt::Exact)),
        spec("mcast-interface", None, Required, O(Opt::McastInterface)),
        spec("mcast-group", None, Required, O(Opt::McastGroup)),
        spec("mcast-port", None, Required, O(Opt::McastPort)),
        spec("mcast-ttl", None, Required, O(Opt::McastTtl)),
        spec("syncid", None, Required, O(Opt::SyncId)),
        spec("sync-maxlen", None, Required, O(Opt::SyncMaxlen)),
    ]
};
