//! IPVS's sysctls (`net.ipv4.vs.*`): which there are, their defaults and ranges, and what each does.
//!
//! Names, defaults and ranges are the kernel's (ip_vs_ctl.c: vs_vars; Documentation/networking/ipvs-sysctl.rst).
//! Two are ours and say so. What this version has no use for can be "set" to its default alone.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A sysctl that does something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Sysctl::what` says it")]
pub enum Sysctl {
    AmDroprate,
    Amemthresh,
    ConnReuseMode,
    DropEntry,
    DropPacket,
    ExpireNodestConn,
    ExpireNodestConnUdp,
    ExpireQuiescentTemplate,
    KeepExtendedTemplate,
    LblcExpiration,
    LblcrExpiration,
    SecureTcp,
    SloppySctp,
    SloppyTcp,
}

/// Greatest value of the kernel's: a signed word.
const MOST: u32 = i32::MAX as u32;
/// Most seconds: as many ticks as fit a signed word, of the fastest clock there is.
const SECONDS: u32 = MOST / 1000;
/// Greatest mode of a defence.
const MODE: u32 = 3;

/// What is known of a sysctl that is there.
struct Row {
    name: &'static str,
    default: u32,
    most: u32,
    what: &'static str,
}

const fn row(name: &'static str, default: u32, most: u32, what: &'static str) -> Row {
    Row { name, default, most, what }
}

impl Sysctl {
    /// Every one, by name.
    pub const ALL: [Self; 14] = [
        Self::AmDroprate,
        Self::Amemthresh,
        Self::ConnReuseMode,
        Self::DropEntry,
        Self::DropPacket,
        Self::ExpireNodestConn,
        Self::ExpireNodestConnUdp,
        Self::ExpireQuiescentTemplate,
        Self::KeepExtendedTemplate,
        Self::LblcExpiration,
        Self::LblcrExpiration,
        Self::SecureTcp,
        Self::SloppySctp,
        Self::SloppyTcp,
    ];

    const fn row(self) -> Row {
        match self {
            Self::AmDroprate => row(
                "am_droprate",
                10,
                MOST,
                "drop_packet=3 drops one of so many packets that would open a connection (0: none)",
            ),
            Self::Amemthresh => row(
                "amemthresh",
                1024,
                MOST,
                "memory is short below so many free pages of the host, or with a connection table more than half full",
            ),
            Self::ConnReuseMode => row(
                "conn_reuse_mode",
                1,
                3,
                "an opener on a connection in TIME_WAIT or CLOSE is scheduled anew; 2 and 3: also in FIN_WAIT where replies are not seen; 0: goes to the old server",
            ),
            Self::DropEntry => row(
                "drop_entry",
                0,
                MODE,
                "each second a random 1/32 of the table loses half-open and long quiet entries; 0 never, 1 while memory is short (then shown as 2), 3 always",
            ),
            Self::DropPacket => row(
                "drop_packet",
                0,
                MODE,
                "a share of the packets that would open a connection is dropped; 0 never, 1 while memory is short (then shown as 2), 3 always",
            ),
            Self::ExpireNodestConn => row(
                "expire_nodest_conn",
                0,
                MOST,
                "connections of a removed server end at once, and an opener to a removed or quiesced one is scheduled anew; 0: their packets are dropped until they time out",
            ),
            Self::ExpireNodestConnUdp => row(
                "expire_nodest_conn_udp",
                1,
                MOST,
                "a datagram to a removed server is scheduled anew (not of IPVS; 0: as IPVS, dropped unless expire_nodest_conn=1)",
            ),
            Self::ExpireQuiescentTemplate => row(
                "expire_quiescent_template",
                0,
                MOST,
                "clients of a persistent service leave a server of weight 0 with their next connection",
            ),
            Self::KeepExtendedTemplate => row(
                "keep_extended_template",
                0,
                MOST,
                "a template that was extended by 60 s is restarted with 60 s (not of IPVS, but what IPVS does; 0: with the service's timeout)",
            ),
            Self::LblcExpiration => row(
                "lblc_expiration",
                86_400,
                SECONDS,
                "seconds after which scheduler lblc forgets an address that nobody asked for",
            ),
            Self::LblcrExpiration => row(
                "lblcr_expiration",
                86_400,
                SECONDS,
                "seconds after which lblcr forgets an address, and takes the most loaded server out of a set that did not change",
            ),
            Self::SecureTcp => row(
                "secure_tcp",
                0,
                MODE,
                "TCP states by the stricter table; 0 never, 1 while memory is short (then shown as 2), 3 always",
            ),
            Self::SloppySctp => {
                row("sloppy_sctp", 0, MOST, "any SCTP packet but ABORT may open a connection, not only INIT")
            }
            Self::SloppyTcp => {
                row("sloppy_tcp", 0, MOST, "any TCP segment but RST may open a connection, not only SYN")
            }
        }
    }

    /// Its name, without `net.ipv4.vs.`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its value where nobody sets it.
    #[must_use]
    pub const fn default_value(self) -> u32 {
        self.row().default
    }

    /// What it does, in one line.
    #[must_use]
    pub const fn what(self) -> &'static str {
        self.row().what
    }

    /// Its greatest value; the least is 0.
    #[must_use]
    pub const fn most(self) -> u32 {
        self.row().most
    }

    /// Whether it is a switch: everything but 0 is 1.
    #[must_use]
    pub const fn is_switch(self) -> bool {
        !matches!(
            self,
            Self::AmDroprate
                | Self::Amemthresh
                | Self::ConnReuseMode
                | Self::DropEntry
                | Self::DropPacket
                | Self::LblcExpiration
                | Self::LblcrExpiration
                | Self::SecureTcp
        )
    }

    /// Whether it is one of the defences, whose mode 2 is mode 1 while it is active.
    #[must_use]
    pub const fn is_defence(self) -> bool {
        matches!(self, Self::DropEntry | Self::DropPacket | Self::SecureTcp)
    }

    /// The sysctl of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

impl Serialize for Sysctl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Sysctl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::from_name(&name).ok_or_else(|| de::Error::custom(format!("unknown sysctl `{name}`")))
    }
}

/// A sysctl with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SysctlValue {
    /// Which.
    pub name: Sysctl,
    /// Its value.
    pub value: u32,
}

/// A sysctl of IPVS that does nothing in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbsentSysctl {
    /// Its name.
    pub name: &'static str,
    /// Its default, which is what this version does; `None` where it depends on the machine.
    pub default: Option<&'static str>,
    /// Why nothing else can be set, and what to do instead.
    pub instead: &'static str,
}

const SYNC: &str =
    "this version does not synchronise connections: a peer that takes over begins without them";
const ESTIMATION: &str = "rates are estimated by lbd every 2 s, always";

const fn absent(name: &'static str, default: &'static str, instead: &'static str) -> AbsentSysctl {
    AbsentSysctl { name, default: Some(default), instead }
}

/// The sysctls of IPVS that do nothing in this version.
pub const ABSENT: [AbsentSysctl; 19] = [
    absent("backup_only", "0", SYNC),
    absent(
        "cache_bypass",
        "0",
        "nothing is routed past the servers: give the service a sorry server, the last one of scheduler fo",
    ),
    absent(
        "conntrack",
        "0",
        "XDP runs before netfilter, which sees no balanced packet: filter in front of the director or on the servers",
    ),
    absent("est_cpulist", "", ESTIMATION),
    absent("est_nice", "0", ESTIMATION),
    absent("ignore_tunneled", "0", "tunnels that end at the director are not looked into"),
    absent("nat_icmp_send", "0", "ICMP errors about packets of real servers pass the director's own stack"),
    absent(
        "pmtu_disc",
        "1",
        "what does not fit is answered with \"fragmentation needed\"; the director never fragments",
    ),
    absent("run_estimation", "1", ESTIMATION),
    absent(
        "schedule_icmp",
        "0",
        "an ICMP error opens no connection; one about a connection that is there goes where that one goes",
    ),
    absent("snat_reroute", "1", "answers of NAT always take the director's route to the client"),
    absent("sync_persist_mode", "0", SYNC),
    absent("sync_ports", "1", SYNC),
    AbsentSysctl { name: "sync_qlen_max", default: None, instead: SYNC },
    absent("sync_refresh_period", "0", SYNC),
    absent("sync_retries", "0", SYNC),
    absent("sync_sock_size", "0", SYNC),
    absent("sync_threshold", "3 50", SYNC),
    absent("sync_version", "1", SYNC),
];

/// What a name and a value mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// It is to be set.
    Value(SysctlValue),
    /// The default of what this version does not have: already so.
    Nothing,
}

/// Kinds of [`SysctlError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlErrorKind {
    /// No sysctl of IPVS has this name.
    Unknown,
    /// The value is none, or out of range.
    Value,
    /// This version does not have it.
    Absent,
}

/// Why a name and a value cannot be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlError {
    /// Kind.
    pub kind: SysctlErrorKind,
    /// What is wrong, lower case, no trailing period.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// The name without `net.ipv4.vs.` or `net/ipv4/vs/`; `None` of a name that begins otherwise and so is none of
/// IPVS's.
#[must_use]
pub fn short_name(name: &str) -> Option<&str> {
    let beginnings = ["net.ipv4.vs.", "net/ipv4/vs/", "/proc/sys/net/ipv4/vs/"];
    let short = beginnings.iter().find_map(|b| name.strip_prefix(b)).unwrap_or(name);
    (!short.contains(['.', '/'])).then_some(short)
}

/// Reads a setting; `name` with or without `net.ipv4.vs.`.
///
/// # Errors
/// An unknown name, a value out of range, or anything but the default of what this version does not have.
pub fn read_setting(name: &str, value: &str) -> Result<Setting, SysctlError> {
    let short = short_name(name).unwrap_or(name);
    let value = value.trim();
    if let Some(absent) = ABSENT.iter().find(|a| a.name == short) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        return match absent.default {
            Some(default) if words(default) == words(value) => Ok(Setting::Nothing),
            default => Err(SysctlError {
                kind: SysctlErrorKind::Absent,
                message: match default {
                    Some(default) if !default.is_empty() => {
                        format!("{short} is not supported by this version, but for its default {default}")
                    }
                    _ => format!("{short} is not supported by this version"),
                },
                hint: absent.instead.to_owned(),
            }),
        };
    }
    let Some(sysctl) = Sysctl::from_name(short) else {
        return Err(SysctlError {
            kind: SysctlErrorKind::Unknown,
            message: format!("no sysctl of IPVS is named {name}"),
            hint: format!("there are {}", Sysctl::ALL.map(Sysctl::name).join(", ")),
        });
    };
    check_value(sysctl, value.parse().ok()).map(Setting::Value)
}

/// Holds a value to the sysctl's range; everything but 0 of a switch is 1.
///
/// # Errors
/// `None`, or a value out of range.
pub fn check_value(sysctl: Sysctl, value: Option<u32>) -> Result<SysctlValue, SysctlError> {
    let (name, most) = (sysctl.name(), sysctl.most());
    match value.filter(|v| *v <= most) {
        Some(value) if sysctl.is_switch() => Ok(SysctlValue { name: sysctl, value: u32::from(value != 0) }),
        Some(value) => Ok(SysctlValue { name: sysctl, value }),
        None => Err(SysctlError {
            kind: SysctlErrorKind::Value,
            message: format!(
                "{name} must be a whole number from 0 to {}",
                if sysctl.is_switch() { 1 } else { most }
            ),
            hint: format!("{name}: {}", sysctl.what()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, text: &str) -> Result<Setting, SysctlErrorKind> {
        read_setting(name, text).map_err(|e| e.kind)
    }

    #[test]
    fn names_are_the_kernels_and_sorted() {
        let names = Sysctl::ALL.map(Sysctl::name);
        assert!(names.is_sorted() && ABSENT.map(|a| a.name).is_sorted());
        assert!(ABSENT.iter().all(|a| Sysctl::from_name(a.name).is_none()));
        for sysctl in Sysctl::ALL {
            assert_eq!(Sysctl::from_name(sysctl.name()), Some(sysctl));
            assert!(sysctl.default_value() <= sysctl.most() && sysctl.what().len() > 20);
        }
    }

    #[test]
    fn a_name_may_be_short_or_whole() {
        let set = |name, value| Ok(Setting::Value(SysctlValue { name, value }));
        for name in ["drop_entry", "net.ipv4.vs.drop_entry", "net/ipv4/vs/drop_entry"] {
            assert_eq!(value(name, " 3"), set(Sysctl::DropEntry, 3));
        }
        for name in ["net.ipv4.ip_forward", "net.ipv4.vs.drop", "", "net.ipv4.drop_entry"] {
            assert_eq!(value(name, "1"), Err(SysctlErrorKind::Unknown), "{name}");
        }
    }

    #[test]
    fn values_are_held_to_their_ranges() {
        let set = |name, value| Ok(Setting::Value(SysctlValue { name, value }));
        assert_eq!(value("conn_reuse_mode", "3"), set(Sysctl::ConnReuseMode, 3));
        assert_eq!(value("amemthresh", "2147483647"), set(Sysctl::Amemthresh, 2_147_483_647));
        assert_eq!(value("sloppy_tcp", "2"), set(Sysctl::SloppyTcp, 1), "a switch, as the kernel's");
        for (name, text) in [
            ("drop_entry", "4"),
            ("conn_reuse_mode", "-1"),
            ("amemthresh", "2147483648"),
            ("secure_tcp", "on"),
        ] {
            assert_eq!(value(name, text), Err(SysctlErrorKind::Value), "{name}={text}");
        }
    }

    #[test]
    fn what_is_not_there_can_be_its_default_alone() {
        for a in ABSENT {
            if let Some(default) = a.default {
                assert_eq!(value(a.name, default), Ok(Setting::Nothing), "{}", a.name);
            }
            let error = read_setting(a.name, "77").unwrap_err();
            assert_eq!(error.kind, SysctlErrorKind::Absent);
            assert!(error.message.contains("not supported by this version") && error.hint.len() > 20);
        }
        assert_eq!(value("sync_threshold", "3\t50"), Ok(Setting::Nothing));
        assert_eq!(value("pmtu_disc", "0"), Err(SysctlErrorKind::Absent));
    }
}
