//! The lists of rules that give marks: changes, where they lie in their map, and the addresses they concern.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{self, MARK_RULES, Settings, settings_flags};

use super::Director;
use super::check::{refuse, with_hint};
use super::state::{Destination, Live};
use crate::api::{ErrorKind, MarkChange, Refusal};
use crate::model::{Fwmark, MarkOwner, MarkRule, OwnedMarkRule, ServiceKey};
use crate::plan::{GRACE, Observed, mark_addresses, mark_rule, mark_rule_of, next_area};

/// The lists, IPv4 and IPv6, and what goes with them.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    pub(super) lists: Lists,
    /// Whether they are not yet what is wanted of the maps.
    changed: bool,
    /// When a list was replaced last: until [`GRACE`] is over a packet may still read the one before.
    switched: [Option<Duration>; 2],
    /// Marks of services and of destinations, removed ones included, and how many have them.
    uses: BTreeMap<Fwmark, u32>,
    /// Addresses that have bits in the prefilter.
    concerned: Vec<IpAddr>,
    /// Whether rules concern more addresses than the prefilter tells apart.
    everything: bool,
    lingering: Option<Lingering>,
}

/// What the prefilter let through by rules that are gone: their connections go on as long as there are any.
#[derive(Debug, Clone)]
struct Lingering {
    words: Vec<u64>,
    everything: bool,
}

/// The rules of IPv4 and of IPv6.
pub(super) type Lists = [Vec<OwnedMarkRule>; 2];

fn list(lists: &mut Lists, ipv6: bool) -> &mut Vec<OwnedMarkRule> {
    let [four, six] = lists;
    if ipv6 { six } else { four }
}

const fn family(ipv6: bool) -> &'static str {
    if ipv6 { "IPv6" } else { "IPv4" }
}

/// Why rules cannot be, where they cannot.
pub(super) fn check<'a>(rules: impl IntoIterator<Item = &'a MarkRule>) -> Result<(), Refusal> {
    let mut counts = [0_usize; 2];
    for rule in rules {
        if let Some(wrong) = rule.wrong() {
            return Err(refuse(ErrorKind::Invalid, format!("mark rule: {wrong}")));
        }
        let [four, six] = &mut counts;
        *(if rule.ipv6 { six } else { four }) += 1;
    }
    match counts.into_iter().max() {
        Some(n) if n > MARK_RULES as usize => Err(refuse(
            ErrorKind::NoSpace,
            format!("{n} mark rules of one address family are more than {MARK_RULES}"),
        )),
        _ => Ok(()),
    }
}

/// Applies a change by an operator.
fn apply(lists: &mut Lists, change: MarkChange) -> Result<(), Refusal> {
    let owned = |rule: MarkRule| OwnedMarkRule { rule, owner: MarkOwner::Operator };
    let absent = |ipv6: bool, number: u32, rules: usize| {
        with_hint(
            ErrorKind::NoSuchRule,
            format!("there is no rule {number} among the {rules} {} mark rules", family(ipv6)),
            "lbadm mark -L numbers them",
        )
    };
    let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
    match change {
        MarkChange::Append { rule } => list(lists, rule.ipv6).push(owned(*rule)),
        MarkChange::Insert { number, rule } => {
            let list = list(lists, rule.ipv6);
            if index(number) > list.len() {
                return Err(absent(rule.ipv6, number, list.len()));
            }
            list.insert(index(number), owned(*rule));
        }
        MarkChange::Replace { number, rule } => {
            let list = list(lists, rule.ipv6);
            let rules = list.len();
            let Some(place) = list.get_mut(index(number)) else {
                return Err(absent(rule.ipv6, number, rules));
            };
            *place = owned(*rule);
        }
        MarkChange::Delete { rule } => {
            let list = list(lists, rule.ipv6);
            let Some(at) = list.iter().position(|o| o.rule == *rule) else {
                return Err(with_hint(
                    ErrorKind::NoSuchRule,
                    format!("there is no such {} mark rule", family(rule.ipv6)),
                    "lbadm mark -S shows them as they were taken; a rule is deleted by all of its words, or by its number",
                ));
            };
            list.remove(at);
        }
        MarkChange::DeleteNumber { ipv6, number } => {
            let list = list(lists, ipv6);
            if index(number) >= list.len() {
                return Err(absent(ipv6, number, list.len()));
            }
            list.remove(index(number));
        }
        MarkChange::Flush { ipv6 } => list(lists, ipv6).clear(),
        MarkChange::Import { ipv6, rules } => {
            if rules.iter().any(|r| r.ipv6 != ipv6) {
                return Err(refuse(ErrorKind::Invalid, "an imported rule is of another address family"));
            }
            let list = list(lists, ipv6);
            let end = list.len();
            replace(list, MarkOwner::Import, rules, end);
        }
    }
    Ok(())
}

/// Replaces the rules of an owner where the first of them was, or at `otherwise`.
fn replace(list: &mut Vec<OwnedMarkRule>, owner: MarkOwner, rules: Vec<MarkRule>, otherwise: usize) {
    let at = list.iter().position(|o| o.owner == owner).unwrap_or(otherwise);
    list.retain(|o| o.owner != owner);
    let at = at.min(list.len());
    list.splice(at..at, rules.into_iter().map(|rule| OwnedMarkRule { rule, owner }));
}

/// Gives rules that were flushed and written again in one go (a restore) back to who owned them.
fn keep_owners(old: &Lists, new: &mut Lists) {
    for (old, new) in old.iter().zip(new) {
        let mut left: Vec<&OwnedMarkRule> = old.iter().collect();
        for owned in new {
            if let Some(at) = left.iter().position(|o| o.rule == owned.rule) {
                owned.owner = left.swap_remove(at).owner;
            }
        }
    }
}

impl Director {
    /// Changes by an operator: all of them or none.
    pub(super) fn change_marks<L: Live>(
        &mut self,
        live: &L,
        changes: Vec<MarkChange>,
    ) -> Result<(), Refusal> {
        let mut lists = self.marks.lists.clone();
        let flushed = changes.iter().any(|c| matches!(c, MarkChange::Flush { .. }));
        for change in changes {
            apply(&mut lists, change)?;
        }
        if flushed {
            keep_owners(&self.marks.lists, &mut lists);
        }
        check(lists.iter().flatten().map(|o| &o.rule))?;
        self.set_marks(live, lists);
        Ok(())
    }

    /// The configuration's rules are these; they come first, unless somebody put others before.
    pub(super) fn reload_marks<L: Live>(&mut self, live: &L, rules: &[MarkRule]) -> Result<(), Refusal> {
        let mut lists = self.marks.lists.clone();
        for (ipv6, list) in [false, true].into_iter().zip(&mut lists) {
            let own = rules.iter().filter(|r| r.ipv6 == ipv6).cloned().collect();
            replace(list, MarkOwner::Configuration, own, 0);
        }
        check(lists.iter().flatten().map(|o| &o.rule))?;
        self.set_marks(live, lists);
        Ok(())
    }

    fn set_marks<L: Live>(&mut self, live: &L, lists: Lists) {
        if lists != self.marks.lists {
            self.linger(live);
            self.marks.lists = lists;
            self.marks.changed = true;
            self.concern_marks();
        }
    }

    /// What the maps hold, once services and destinations are adopted.
    pub(super) fn adopt_marks<L: Live>(&mut self, live: &L, observed: &Observed, now: Duration) {
        let rules = |ipv6: bool, rules: &[abi::MarkRule]| -> Vec<OwnedMarkRule> {
            rules.iter().map(|r| mark_rule_of(r, ipv6)).collect()
        };
        let [four, six] = &observed.marks;
        self.marks.lists = [rules(false, four), rules(true, six)];
        self.marks.changed = true;
        // The lbd before may have replaced them just now.
        self.marks.switched = [Some(now); 2];
        if self.marked_connections(live) {
            let everything = observed.settings.flags & settings_flags::NO_PREFILTER != 0;
            self.marks.lingering = Some(Lingering { words: observed.prefilter.clone(), everything });
        }
        self.concern_marks();
    }

    /// Whether a mark's service has connections, or had when it was deleted.
    fn marked_connections<L: Live>(&self, live: &L) -> bool {
        let marked = |d: &Destination| matches!(d.service, ServiceKey::Fwmark(_));
        self.destinations.iter().filter(|(_, d)| marked(d)).any(|(id, _)| {
            let counts = live.counts(*id);
            counts.active != 0 || counts.inactive != 0
        })
    }

    /// Before rules change: packets of the connections that there are by them go on to be looked at.
    fn linger<L: Live>(&mut self, live: &L) {
        if !self.marked_connections(live) {
            return;
        }
        let words = self.prefilter.words();
        let everything = self.marks.everything;
        match &mut self.marks.lingering {
            Some(lingering) => {
                lingering.words.iter_mut().zip(words).for_each(|(to, from)| *to |= from);
                lingering.everything |= everything;
            }
            None => self.marks.lingering = Some(Lingering { words: words.to_vec(), everything }),
        }
    }

    /// Whether nothing has to be kept any more for connections by rules that are gone.
    pub(super) fn end_lingering<L: Live>(&mut self, live: &L) {
        if self.marks.lingering.is_some() && !self.marked_connections(live) {
            self.marks.lingering = None;
        }
    }

    /// A service or a destination of a mark begins or ends to concern packets.
    pub(super) fn concern_mark(&mut self, mark: Fwmark, begins: bool) {
        let uses = self.marks.uses.entry(mark).or_default();
        *uses = if begins { uses.saturating_add(1) } else { uses.saturating_sub(1) };
        let (first, none) = (begins && *uses == 1, *uses == 0);
        if none {
            self.marks.uses.remove(&mark);
        }
        if first || none {
            self.concern_marks();
        }
    }

    /// Forgets everything, as the prefilter does: before it is adopted anew.
    pub(super) fn forget_marks(&mut self) {
        self.marks = Marks::default();
    }

    /// Brings the prefilter's bits up to date. Only rules that can give a mark which somebody has concern anybody:
    /// of all the rules that a packet fits it is the last one that decides, so each is looked at on its own.
    fn concern_marks(&mut self) {
        let uses = &self.marks.uses;
        let matters = |rule: &MarkRule| {
            uses.keys().any(|f| f.mark != 0 && f.ipv6 == rule.ipv6 && rule.target.can_give(f.mark))
        };
        let mut everything = false;
        let mut addresses = Vec::new();
        for owned in self.marks.lists.iter().flatten().filter(|o| matters(&o.rule)) {
            match mark_addresses(&owned.rule) {
                Some(some) => addresses.extend(some),
                None => everything = true,
            }
        }
        for address in std::mem::replace(&mut self.marks.concerned, addresses) {
            self.prefilter.remove(address);
        }
        for address in &self.marks.concerned {
            self.prefilter.add(*address);
        }
        self.marks.everything = everything;
    }

    /// Adds to the wanted prefilter what lingers; whether it is to be off.
    pub(super) fn settle_marks(&mut self) -> bool {
        let Some(lingering) = &self.marks.lingering else { return self.marks.everything };
        self.wanted.prefilter.iter_mut().zip(&lingering.words).for_each(|(to, from)| *to |= from);
        self.marks.everything || lingering.everything
    }

    /// Finds a place for lists that changed: where no packet reads.
    pub(super) fn place_marks<L: Live>(&mut self, live: &L, now: Duration) {
        if !std::mem::take(&mut self.marks.changed) {
            return;
        }
        let mut words = self.maps.settings.marks;
        for (((ipv6, owned), switched), word) in
            [false, true].into_iter().zip(&self.marks.lists).zip(&mut self.marks.switched).zip(&mut words)
        {
            let (first, rules) = self.maps.settings.mark_list(ipv6);
            let wanted: Arc<[abi::MarkRule]> = owned.iter().map(mark_rule).collect();
            let present = self.maps.marks.get(&first).filter(|_| rules != 0);
            if present.map_or(&[][..], |p| p) == &*wanted {
                if let Some(present) = present {
                    self.wanted.marks.insert(first, present.clone());
                }
                continue;
            }
            if switched.is_some_and(|at| now.saturating_sub(at) < GRACE) {
                live.synchronize();
            }
            *switched = Some(now);
            let area = next_area(ipv6, first);
            let rules = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
            *word = Settings::mark_word(area, rules);
            if rules != 0 {
                self.wanted.marks.insert(area, wanted);
            }
        }
        self.wanted.settings.marks = words;
        self.wanted.forget_marks();
    }
}
