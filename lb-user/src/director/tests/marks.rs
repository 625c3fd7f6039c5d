//! The rules that give marks: changes, owners, where they lie, whom they concern.

use lb_common::abi::{MARK_RULES, settings_flags};

use super::settings::{config, load, rule};
use super::world::*;
use crate::api::{ErrorKind, MarkChange, Request, Response};
use crate::director::Event;
use crate::model::{Fwmark, MarkRule, MarkTarget, OwnedMarkRule, Scheduler, ServiceKey, Test};
use crate::plan::MapOp;

const fn fwmark(mark: u32) -> ServiceKey {
    ServiceKey::Fwmark(Fwmark { mark, ipv6: false })
}

fn mark(n: u8, mark: u32) -> MarkRule {
    MarkRule { target: MarkTarget::set(mark), ..rule(&format!("192.0.2.{n}"), 32) }
}

fn change(w: &mut World, changes: Vec<MarkChange>) -> Result<Response, crate::api::Refusal> {
    w.ask(Request::ChangeMarks { changes })
}

fn append(w: &mut World, rules: &[MarkRule]) {
    let changes = rules.iter().map(|r| MarkChange::Append { rule: Box::new(r.clone()) }).collect();
    w.does(Request::ChangeMarks { changes });
}

/// Owner and mark of each rule.
fn listed(w: &mut World) -> String {
    let Ok(Response::Marks { rules }) = w.ask(Request::Marks) else { panic!() };
    let one = |OwnedMarkRule { rule, owner }: &OwnedMarkRule| {
        let MarkTarget::Mark { value, .. } = rule.target else { panic!() };
        format!("{}{value}", owner.to_string().chars().next().unwrap())
    };
    rules.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn bits(w: &World) -> u32 {
    w.maps.layout.prefilter.iter().map(|word| word.count_ones()).sum()
}

#[test]
fn the_list_changes_as_iptables_changes_it() {
    let mut w = World::new();
    append(&mut w, &[mark(1, 1), mark(2, 2)]);
    let insert = |number, rule| MarkChange::Insert { number, rule: Box::new(rule) };
    w.does(Request::ChangeMarks { changes: vec![insert(1, mark(3, 3)), insert(4, mark(4, 4))] });
    assert_eq!(listed(&mut w), "o3 o1 o2 o4");
    let replace = MarkChange::Replace { number: 2, rule: Box::new(mark(5, 5)) };
    let delete = MarkChange::Delete { rule: Box::new(mark(4, 4)) };
    w.does(Request::ChangeMarks { changes: vec![replace, delete.clone()] });
    w.does(Request::ChangeMarks { changes: vec![MarkChange::DeleteNumber { ipv6: false, number: 1 }] });
    assert_eq!(listed(&mut w), "o5 o2");
    for wrong in [
        delete,
        insert(5, mark(1, 1)),
        insert(0, mark(1, 1)),
        MarkChange::Replace { number: 4, rule: Box::new(mark(1, 1)) },
        MarkChange::DeleteNumber { ipv6: true, number: 1 },
    ] {
        // All or none.
        let first = MarkChange::Append { rule: Box::new(mark(9, 9)) };
        assert_eq!(change(&mut w, vec![first, wrong]).unwrap_err().kind, ErrorKind::NoSuchRule);
        assert_eq!(listed(&mut w), "o5 o2");
    }
    let six = MarkRule { ipv6: true, ..mark(1, 1) };
    let six = MarkChange::Append { rule: Box::new(six) };
    assert_eq!(change(&mut w, vec![six]).unwrap_err().kind, ErrorKind::Invalid);
    w.is_settled();
    assert_eq!(listed(&mut w), "o5 o2", "after a restart");
}

#[test]
fn thousands_of_rules_are_replaced_where_nobody_reads() {
    let mut w = World::new();
    w.ops.clear();
    let many: Vec<MarkRule> = (0..MARK_RULES).map(|n| mark((n % 250) as u8, n + 1)).collect();
    append(&mut w, &many);
    let word = w.maps.layout.settings.marks;
    let synchronized = w.maps.synchronized.get();
    // The world itself asserts that no list is written that packets read.
    let one_more = MarkChange::Append { rule: Box::new(mark(1, 1)) };
    assert_eq!(change(&mut w, vec![one_more]).unwrap_err().kind, ErrorKind::NoSpace);
    let delete = MarkChange::DeleteNumber { ipv6: false, number: 7 };
    w.does(Request::ChangeMarks { changes: vec![delete] });
    assert_ne!(w.maps.layout.settings.marks, word);
    assert_eq!(w.maps.synchronized.get(), synchronized + 1, "packets may still read the list of just now");
    let first = |op: &MapOp| match op {
        MapOp::PutMarks { .. } => Some("rules"),
        MapOp::PutSettings { .. } => Some("settings"),
        _ => None,
    };
    let order: Vec<_> = w.ops.iter().filter_map(first).collect();
    assert_eq!(order, ["rules", "settings", "rules", "settings"]);
    w.is_settled();
}

#[test]
fn owners_keep_their_rules_apart() {
    let mut w = World::new();
    append(&mut w, &[mark(1, 1)]);
    let mut file = config(&[]);
    file.marks = vec![mark(2, 2), mark(3, 3)];
    load(&mut w, &file);
    assert_eq!(listed(&mut w), "c2 c3 o1");
    let import = |rules| vec![MarkChange::Import { ipv6: false, rules }];
    w.does(Request::ChangeMarks { changes: import(vec![mark(4, 4), mark(5, 5)]) });
    append(&mut w, &[mark(6, 6)]);
    assert_eq!(listed(&mut w), "c2 c3 o1 i4 i5 o6");
    w.ops.clear();
    load(&mut w, &file);
    w.does(Request::ChangeMarks { changes: import(vec![mark(4, 4), mark(5, 5)]) });
    assert!(w.ops.is_empty(), "the same changes nothing: {:?}", w.ops);
    w.start();
    file.marks = vec![mark(7, 7)];
    load(&mut w, &file);
    w.does(Request::ChangeMarks { changes: import(vec![mark(8, 8)]) });
    assert_eq!(listed(&mut w), "c7 o1 i8 o6");
    // What is saved and restored keeps its owners.
    let Ok(Response::Marks { rules }) = w.ask(Request::Marks) else { panic!() };
    let mut changes = vec![MarkChange::Flush { ipv6: false }, MarkChange::Flush { ipv6: true }];
    changes.extend(rules.into_iter().map(|o| MarkChange::Append { rule: Box::new(o.rule) }));
    w.does(Request::ChangeMarks { changes });
    assert_eq!(listed(&mut w), "c7 o1 i8 o6");
    w.does(Request::ChangeMarks { changes: vec![MarkChange::Flush { ipv6: false }] });
    load(&mut w, &file);
    assert_eq!(listed(&mut w), "c7");
    w.event(Event::Tick);
    w.is_settled();
}

/// The flag that turns the prefilter off, where it is set.
fn unfiltered(w: &World) -> u32 {
    w.maps.layout.settings.flags & settings_flags::NO_PREFILTER
}

#[test]
fn only_marks_that_have_services_concern_packets() {
    let mut w = World::new();
    append(&mut w, &[rule("192.0.2.2", 31), MarkRule { target: MarkTarget::set(2), ..rule("0.0.0.0", 0) }]);
    assert_eq!((bits(&w), unfiltered(&w)), (0, 0));
    w.does(add_service(service(fwmark(1), Scheduler::Rr)));
    assert_eq!((bits(&w), unfiltered(&w)), (2, 0));
    w.is_settled();
    w.does(add_service(service(fwmark(2), Scheduler::Rr)));
    assert_eq!(unfiltered(&w), settings_flags::NO_PREFILTER);
    w.is_settled();
    w.does(Request::DeleteService { key: fwmark(2) });
    assert_eq!((bits(&w), unfiltered(&w)), (2, 0));
    // A rule that sets some bits of the mark may make it any that has them.
    let or = MarkTarget::Mark { value: 1, mask: 1 };
    append(&mut w, &[MarkRule { target: or, ..rule("192.0.2.8", 32) }]);
    assert_eq!(bits(&w), 3);
    let not = MarkRule { destination: Some(Test::not("192.0.2.8".parse().unwrap())), ..mark(1, 1) };
    append(&mut w, &[not]);
    assert_eq!(unfiltered(&w), settings_flags::NO_PREFILTER);
    w.does(Request::ChangeMarks { changes: vec![MarkChange::Flush { ipv6: false }] });
    assert_eq!((bits(&w), unfiltered(&w)), (0, 0));
    w.is_settled();
}

#[test]
fn connections_outlive_the_rule_that_made_them() {
    let mut w = World::new();
    append(&mut w, &[mark(1, 1)]);
    w.does(add_service(service(fwmark(1), Scheduler::Rr)));
    w.does(add(
        fwmark(1),
        crate::model::DestinationSpec {
            method: crate::model::ForwardingMethod::DirectRoute,
            ..destination("198.51.100.11:0", 1)
        },
    ));
    let (id, _) = w.element("198.51.100.11:0");
    w.maps.count(id, lb_common::tables::Count::Active, 1);
    w.does(Request::ChangeMarks { changes: vec![MarkChange::Flush { ipv6: false }] });
    assert_eq!(bits(&w), 1, "its packets are still looked at");
    w.start();
    w.event(Event::Tick);
    assert_eq!(bits(&w), 1);
    w.maps.count(id, lb_common::tables::Count::Active, -1);
    w.event(Event::Tick);
    assert_eq!(bits(&w), 0);
}
