//! Random histories: every operation is safe, and a restart finds what was.

use lb_common::abi::Hop;
use lb_common::tables::Count;
use proptest::prelude::*;

use super::world::*;
use crate::api::Request;
use crate::config::Config;
use crate::director::{Event, Memory};
use crate::model::{ForwardingMethod, NextHop, Scheduler};
use crate::plan::{Capacity, Layout, MapOp, plan};

#[derive(Debug, Clone)]
enum Act {
    AddService(u8, u8),
    EditService(u8, u8),
    DeleteService(u8),
    Add(u8, u8, u32, bool),
    Edit(u8, u8, u32, bool),
    Delete(u8, u8),
    Clear,
    Zero,
    Connect(u8, u16),
    Unresolve(u8),
    Wait(u8),
    Config(u8),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let (s, r) = (0..4_u8, 0..6_u8);
    prop_oneof![
        3 => (s.clone(), 0..10_u8).prop_map(|(a, b)| Act::AddService(a, b)),
        2 => (s.clone(), 0..10_u8).prop_map(|(a, b)| Act::EditService(a, b)),
        1 => s.clone().prop_map(Act::DeleteService),
        8 => (s.clone(), r.clone(), 0..5_u32, any::<bool>()).prop_map(|(a, b, c, d)| Act::Add(a, b, c, d)),
        3 => (s.clone(), r.clone(), 0..5_u32, any::<bool>()).prop_map(|(a, b, c, d)| Act::Edit(a, b, c, d)),
        4 => (s.clone(), r.clone()).prop_map(|(a, b)| Act::Delete(a, b)),
        1 => Just(Act::Clear),
        1 => Just(Act::Zero),
        8 => (s, any::<u16>()).prop_map(|(a, b)| Act::Connect(a, b)),
        1 => r.prop_map(Act::Unresolve),
        2 => (0..200_u8).prop_map(Act::Wait),
        1 => any::<u8>().prop_map(Act::Config),
        1 => Just(Act::Restart),
    ]
}

fn vip(n: u8) -> crate::model::ServiceKey {
    tcp(&format!("192.0.2.{}:80", n + 1))
}

fn server(n: u8, weight: u32, nat: bool) -> crate::model::DestinationSpec {
    let mut d = destination(&format!("198.51.100.{}:80", 11 + n), weight);
    d.method = if nat { ForwardingMethod::Masq } else { ForwardingMethod::DirectRoute };
    d
}

fn scheduler(n: u8) -> Scheduler {
    Scheduler::ALL[usize::from(n) % Scheduler::ALL.len()]
}

/// A refusal is an answer too.
fn ask(world: &mut World, request: Request) {
    drop(world.ask(request));
}

fn play(world: &mut World, act: &Act) {
    match *act {
        Act::AddService(s, n) => ask(world, add_service(service(vip(s), scheduler(n)))),
        Act::EditService(s, n) => ask(world, Request::EditService { service: service(vip(s), scheduler(n)) }),
        Act::DeleteService(s) => ask(world, Request::DeleteService { key: vip(s) }),
        Act::Add(s, r, w, nat) => ask(world, add(vip(s), server(r, w, nat))),
        Act::Edit(s, r, w, nat) => {
            ask(world, Request::EditDestination { key: vip(s), destination: server(r, w, nat) });
        }
        Act::Delete(s, r) => ask(world, delete(vip(s), &format!("198.51.100.{}:80", 11 + r))),
        Act::Clear => ask(world, Request::Clear),
        Act::Zero => ask(world, Request::Zero { key: None }),
        Act::Connect(s, port) => {
            if let Some((id, _)) = world.schedule(&vip(s), ([203, 0, 113, 10], port).into()) {
                world.maps.count(id, Count::Inactive, 1);
            }
        }
        Act::Unresolve(r) => world.event(Event::NextHop {
            address: std::net::Ipv4Addr::new(198, 51, 100, 11 + r).into(),
            next_hop: NextHop::Unresolved { why: "gone".into() },
        }),
        Act::Wait(seconds) => {
            world.now += std::time::Duration::from_secs(u64::from(seconds));
            // Connections end with time.
            if seconds > 100 {
                world.maps.counts.borrow_mut().clear();
            }
            world.event(Event::Tick);
        }
        Act::Config(bits) => {
            let services = (0..4).filter(|s| bits >> s & 1 != 0).map(|s| {
                let servers = (0..4).filter(|r| bits >> (4 + r) & 1 != 0).map(|r| server(r, 2, true));
                (service(vip(s), Scheduler::Rr), servers.collect())
            });
            let config = Config { services: services.collect(), ..Config::default() };
            world.event(Event::Config(Box::new(config)));
        }
        Act::Restart => world.start(),
    }
}

fn without_hops(layout: &Layout) -> Layout {
    let mut layout = layout.clone();
    layout.interfaces.clear();
    // Who did not answer does at the next look.
    layout.destinations.values_mut().for_each(|d| (d.hop, d.mtu) = (Hop::UNRESOLVED, 0));
    layout
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// [`World`] checks each operation as it is made; small maps make ids and slots scarce.
    #[test]
    fn histories_are_safe_at_every_operation(acts in prop::collection::vec(act(), 1..60)) {
        let mut w = World::with(Capacity { services: 3, destinations: 8, slots: 600 });
        for act in &acts {
            play(&mut w, act);
        }
        // What was configured is found again, with counters, whoever looks.
        for (id, d) in &w.maps.layout.destinations {
            prop_assert!(w.maps.layout.destinations.values().filter(|o| o.order == d.order).count() == 1, "{id}");
        }
        let before = w.list();
        let layout = without_hops(&w.maps.layout);
        w.start();
        prop_assert_eq!(without_hops(&w.maps.layout), layout);
        let after = w.list();
        for (b, a) in before.iter().zip(&after) {
            prop_assert_eq!(&b.service, &a.service);
            prop_assert_eq!(b.stats, a.stats);
            let members = |v: &crate::api::ServiceView| {
                v.destinations.iter().map(|d| (d.destination.clone(), d.owner, d.stats)).collect::<Vec<_>>()
            };
            prop_assert_eq!(members(b), members(a));
        }
        prop_assert_eq!(before.len(), after.len());
    }

    /// The way between any two states is found, safe, and leads there; then there is nothing to do.
    #[test]
    fn the_plan_leads_from_any_state_to_any_other(
        one in prop::collection::vec(act(), 1..40),
        other in prop::collection::vec(act(), 1..40),
    ) {
        let end = |acts: &[Act]| {
            let mut w = World::new();
            for act in acts {
                play(&mut w, act);
            }
            w.maps.layout
        };
        let (from, to) = (end(&one), apart(end(&other)));
        let ops = plan(&to, &from);
        let mut layout = from;
        for op in &ops {
            if let MapOp::PutSlots { first, ids } = op {
                for s in layout.services.values().filter(|s| s.slots != 0) {
                    let clear = s.first_slot + s.slots <= *first || *first + ids.len() as u32 <= s.first_slot;
                    prop_assert!(clear);
                }
            }
            layout.apply(op);
            for s in layout.services.values() {
                prop_assert_eq!(layout.slots(s).len(), s.slots as usize);
                for id in layout.slots(s) {
                    prop_assert!(layout.destinations.contains_key(id));
                }
            }
        }
        prop_assert_eq!(&layout, &to);
        prop_assert_eq!(plan(&to, &layout), vec![]);
    }
}

/// The same state with ids and slots that no other history gave: an allocator sees to that.
fn apart(mut layout: Layout) -> Layout {
    let far = |id: u32| id + 1000;
    layout.destinations = layout.destinations.into_iter().map(|(id, d)| (far(id), d)).collect();
    layout.extents = layout
        .extents
        .into_iter()
        .map(|(first, ids)| (first + 100_000, ids.into_iter().map(far).collect()))
        .collect();
    for s in layout.services.values_mut().filter(|s| s.slots != 0) {
        s.first_slot += 100_000;
    }
    layout
}

#[test]
fn a_change_that_was_cut_off_is_mended() {
    let mut w = World::new();
    w.does(add_service(service(tcp("192.0.2.1:80"), Scheduler::Rr)));
    w.does(add(tcp("192.0.2.1:80"), destination("198.51.100.11:80", 1)));
    let whole = w.maps.layout.clone();
    w.does(add(tcp("192.0.2.1:80"), destination("198.51.100.12:80", 1)));
    let ops: Vec<MapOp> = std::mem::take(&mut w.ops);
    let begin = ops.iter().rposition(|op| matches!(op, MapOp::PutDestination { .. })).unwrap();
    // lbd was killed after each of the operations of the second -a.
    for cut in begin..ops.len() {
        w.maps.layout = whole.clone();
        for op in &ops[begin..=cut] {
            w.maps.layout.apply(op);
        }
        w.start_with(Memory::default());
        let slots: Vec<usize> = w.maps.layout.services.values().map(|s| s.slots as usize).collect();
        assert_eq!(slots, [2], "what was begun is done");
        w.is_settled();
    }
}
