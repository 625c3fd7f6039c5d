//! IPVS's sysctls: where each lies in the settings, and the defences that come and go with memory
//! (ip_vs_ctl.c: update_defense_level).

use lb_common::abi::{Settings, settings_flags};

use super::Director;
use super::event::Load;
use super::settings::ticks;
use crate::api::{ErrorKind, Refusal};
use crate::model::sysctl::{Sysctl, SysctlValue, check_value};

/// Mode of a defence that waits for memory to become short.
const ARMED: u32 = 1;
/// Mode of one that is active for that reason.
const ACTIVE: u32 = 2;
/// Mode of one that is always active.
const ALWAYS: u32 = 3;

/// The flag that holds a switch.
const fn flag(sysctl: Sysctl) -> Option<u32> {
    Some(match sysctl {
        Sysctl::ExpireNodestConn => settings_flags::EXPIRE_NODEST,
        Sysctl::ExpireNodestConnUdp => settings_flags::EXPIRE_NODEST_UDP,
        Sysctl::ExpireQuiescentTemplate => settings_flags::EXPIRE_QUIESCENT_TEMPLATE,
        Sysctl::KeepExtendedTemplate => settings_flags::KEEP_EXTENDED_TEMPLATE,
        Sysctl::SloppySctp => settings_flags::SLOPPY_SCTP,
        Sysctl::SloppyTcp => settings_flags::SLOPPY_TCP,
        Sysctl::AmDroprate
        | Sysctl::Amemthresh
        | Sysctl::ConnReuseMode
        | Sysctl::DropEntry
        | Sysctl::DropPacket
        | Sysctl::LblcExpiration
        | Sysctl::LblcrExpiration
        | Sysctl::SecureTcp => return None,
    })
}

/// Ticks in seconds.
const fn seconds(ticks: u32, hz: u32) -> u32 {
    match ticks.checked_div(hz) {
        Some(seconds) => seconds,
        None => 0,
    }
}

/// The value in force.
fn value(settings: &Settings, sysctl: Sysctl) -> u32 {
    match sysctl {
        Sysctl::AmDroprate => settings.am_droprate,
        Sysctl::Amemthresh => settings.amemthresh,
        Sysctl::ConnReuseMode => settings.reuse_mode,
        Sysctl::DropEntry => settings.drop_entry,
        Sysctl::DropPacket => settings.drop_packet,
        Sysctl::LblcExpiration => seconds(settings.lblc_expiration, settings.hz),
        Sysctl::LblcrExpiration => seconds(settings.lblcr_expiration, settings.hz),
        Sysctl::SecureTcp => settings.secure_tcp,
        other => u32::from(flag(other).is_some_and(|flag| settings.flags & flag != 0)),
    }
}

/// Puts a value into the settings; what follows from it is [`activate`]'s.
fn store(settings: &mut Settings, sysctl: Sysctl, value: u32) {
    match sysctl {
        Sysctl::AmDroprate => settings.am_droprate = value,
        Sysctl::Amemthresh => settings.amemthresh = value,
        Sysctl::ConnReuseMode => settings.reuse_mode = value,
        Sysctl::DropEntry => settings.drop_entry = value,
        Sysctl::DropPacket => settings.drop_packet = value,
        Sysctl::LblcExpiration => settings.lblc_expiration = ticks(value, settings.hz),
        Sysctl::LblcrExpiration => settings.lblcr_expiration = ticks(value, settings.hz),
        Sysctl::SecureTcp => settings.secure_tcp = value,
        other => put_flag(settings, flag(other).unwrap_or(0), value != 0),
    }
}

fn put_flag(settings: &mut Settings, flag: u32, on: bool) {
    settings.flags = if on { settings.flags | flag } else { settings.flags & !flag };
}

/// The defaults of new maps that are not 0.
pub(super) fn defaults(settings: &mut Settings) {
    for sysctl in Sysctl::ALL {
        store(settings, sysctl, sysctl.default_value());
    }
}

/// What the data path does by the modes of the defences; `rate` is that of `drop_packet` while memory is short.
fn activate(settings: &mut Settings, rate: u32) {
    put_flag(settings, settings_flags::SECURE_TCP, settings.secure_tcp >= ACTIVE);
    settings.drop_rate = match settings.drop_packet {
        ALWAYS => settings.am_droprate,
        ACTIVE => rate,
        _ => 0,
    };
}

/// How short memory is, as the rate of `drop_packet`: one of so many packets, `None` while there is enough.
fn shortage(load: &Load, amemthresh: u32) -> Option<u32> {
    let of = |enough: u64, left: u64| {
        let missing = enough.checked_sub(left).filter(|missing| *missing > 0)?;
        Some(u32::try_from(enough / missing).unwrap_or(u32::MAX))
    };
    // The table takes its memory at the start, so that it is the table's own slots that become short: above half
    // of them in use, more and more keys find both of their buckets full.
    let tables = load.tables.iter().map(|t| of(t.slots / 2, t.slots.saturating_sub(t.used)));
    let host = load.available_pages.and_then(|pages| of(u64::from(amemthresh), pages));
    tables.flatten().chain(host).min()
}

impl Director {
    /// Sets sysctls, all or none.
    pub(super) fn set_sysctls(&mut self, values: &[SysctlValue]) -> Result<(), Refusal> {
        let checked = values.iter().map(|v| check_value(v.name, Some(v.value)));
        let checked: Vec<SysctlValue> = checked.collect::<Result<_, _>>().map_err(|error| Refusal {
            kind: ErrorKind::Invalid,
            message: error.message,
            hint: Some(error.hint),
        })?;
        for SysctlValue { name, value } in checked {
            tracing::info!(sysctl = name.name(), value, "set");
            self.store_sysctl(name, value);
        }
        Ok(())
    }

    pub(super) fn store_sysctl(&mut self, sysctl: Sysctl, value: u32) {
        let settings = &mut self.wanted.settings;
        store(settings, sysctl, value);
        // Until memory is looked at, within a second, by the rate of always.
        let rate = if settings.drop_rate == 0 { settings.am_droprate } else { settings.drop_rate };
        activate(settings, rate);
    }

    /// The sysctls in force.
    pub(super) fn sysctls(&self) -> Vec<SysctlValue> {
        Sysctl::ALL.map(|name| SysctlValue { name, value: self.sysctl(name) }).to_vec()
    }

    pub(super) fn sysctl(&self, name: Sysctl) -> u32 {
        value(&self.wanted.settings, name)
    }

    /// Whether a defence depends on memory: whether [`super::Event::Load`] is wanted each second.
    #[must_use]
    pub fn watches_load(&self) -> bool {
        Sysctl::ALL.iter().any(|s| s.is_defence() && matches!(self.sysctl(*s), ARMED | ACTIVE))
    }

    /// [`super::Event::Load`].
    pub(super) fn defend(&mut self, load: &Load) {
        let short = shortage(load, self.wanted.settings.amemthresh);
        for sysctl in Sysctl::ALL.into_iter().filter(|s| s.is_defence()) {
            let (before, after) = match (self.sysctl(sysctl), short) {
                (ARMED, Some(_)) => (ARMED, ACTIVE),
                (ACTIVE, None) => (ACTIVE, ARMED),
                _ => continue,
            };
            store(&mut self.wanted.settings, sysctl, after);
            let (name, active) = (sysctl.name(), after > before);
            tracing::warn!(
                sysctl = name,
                active,
                "memory {}",
                if active { "is short" } else { "is enough again" }
            );
        }
        activate(&mut self.wanted.settings, short.unwrap_or(0));
    }

    /// The defences that memory made active, for an operator.
    pub(super) fn active_defences(&self) -> Vec<String> {
        let active = Sysctl::ALL.into_iter().filter(|s| s.is_defence() && self.sysctl(*s) == ACTIVE);
        active
            .map(|s| {
                format!("memory or the connection table is short: {} is active ({})", s.name(), s.what())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::TableLoad;
    use super::*;

    fn load(pages: u64, used: u64) -> Load {
        let tables = [TableLoad { slots: 1000, used: 0 }, TableLoad { slots: 1000, used }];
        Load { available_pages: Some(pages), tables }
    }

    #[test]
    fn the_rate_is_the_threshold_over_what_is_missing() {
        for (pages, used, rate) in [
            (1024, 0, None),
            (1023, 0, Some(1024)),
            (768, 0, Some(4)),
            (0, 0, Some(1)),
            // The same of the slots above half.
            (5000, 500, None),
            (5000, 501, Some(500)),
            (5000, 750, Some(2)),
            (5000, 1000, Some(1)),
            (5000, 1200, Some(1)),
            (1023, 750, Some(2)),
        ] {
            assert_eq!(shortage(&load(pages, used), 1024), rate, "{pages} {used}");
        }
        assert_eq!(shortage(&Load { available_pages: None, ..load(0, 0) }, 1024), None, "not known");
        assert_eq!(shortage(&load(0, 0), 0), None, "never short");
    }

    #[test]
    fn every_value_comes_back_from_where_it_lies() {
        for sysctl in Sysctl::ALL {
            let mut settings = Settings { hz: 1000, ..Settings::default() };
            let most = if sysctl.is_switch() { 1 } else { sysctl.most() };
            for v in [most, 0, 1] {
                store(&mut settings, sysctl, v);
                assert_eq!(value(&settings, sysctl), v, "{}", sysctl.name());
            }
        }
        let mut settings = Settings { hz: 250, ..Settings::default() };
        defaults(&mut settings);
        assert!(Sysctl::ALL.iter().all(|s| value(&settings, *s) == s.default_value()));
    }
}
