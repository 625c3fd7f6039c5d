//! The counts against a model, over random sequences of packets, time and passes.

use std::collections::HashMap;

use lb_common::abi::Settings;
use lb_common::conn::{self, tcp};
use lb_common::fwd::ForwardingMethod;
use proptest::prelude::*;

use super::super::Sweeper;
use super::site::{ACK, FIN, HZ, SERVICES, SYN, counts, frame, pass, site, sweep};

/// A step of the property test.
#[derive(Debug, Clone)]
enum Op {
    Packet { service: usize, client: u8, port: u16, flags: u8 },
    Advance(u32),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let flags = prop::sample::select(vec![SYN, ACK, FIN | ACK, tcp::flag::RST, SYN | ACK]);
    prop_oneof![
        8 => (0..SERVICES.len(), 1..4u8, 4000..4003u16, flags)
            .prop_map(|(service, client, port, flags)| Op::Packet { service, client, port, flags }),
        2 => prop::sample::select(vec![1, HZ, 31 * HZ, 61 * HZ, 121 * HZ, 301 * HZ, 901 * HZ])
            .prop_map(Op::Advance),
        2 => Just(Op::Sweep),
    ]
}

/// A connection of the model.
#[derive(Debug, Clone, Copy)]
struct Connection {
    state: u8,
    seen: u32,
    timeout: u32,
}

/// A template of the model.
#[derive(Debug, Clone, Copy)]
struct Template {
    seen: u32,
    timeout: u32,
}

/// What the tables ought to hold, from ipvs-semantics sections 5 to 7 alone.
#[derive(Debug, Default)]
struct Model {
    connections: HashMap<(usize, u8, u16), Connection>,
    templates: HashMap<(usize, u8), Template>,
}

impl Model {
    fn children(&self, service: usize, client: u8) -> usize {
        self.connections.keys().filter(|(s, c, _)| (*s, *c) == (service, client)).count()
    }

    fn packet(&mut self, settings: &Settings, now: u32, key: (usize, u8, u16), flags: u8) {
        let (service, client, _) = key;
        let (_, protocol, persistence, method) = SERVICES[service];
        let direction = match method {
            ForwardingMethod::Masq => tcp::Direction::Input,
            _ => tcp::Direction::InputOnly,
        };
        let after = |state| if protocol == 6 { tcp::next(direction, flags, state) } else { 0 };
        if let Some(found) = self.connections.get_mut(&key) {
            let ended = matches!(found.state, tcp::TIME_WAIT | tcp::CLOSE);
            let reused = protocol == 6 && tcp::is_opener(flags) && persistence == 0 && ended;
            if now.wrapping_sub(found.seen) <= found.timeout && !reused {
                found.state = after(found.state);
                found.seen = now;
                found.timeout = conn::timeout(settings, protocol, found.state);
                return;
            }
            self.connections.remove(&key);
        }
        if protocol == 6 && !tcp::is_opener(flags) {
            return;
        }
        if persistence != 0 {
            let fresh = Template { seen: now, timeout: persistence * HZ };
            // Kept or made anew: either way there is one, with the service's timeout from now.
            self.templates.insert((service, client), fresh);
        }
        let state = after(tcp::NONE);
        let timeout = conn::timeout(settings, protocol, state);
        self.connections.insert(key, Connection { state, seen: now, timeout });
    }

    fn sweep(&mut self, now: u32) {
        self.connections.retain(|_, c| now.wrapping_sub(c.seen) <= c.timeout);
        let over: Vec<_> = self
            .templates
            .iter()
            .filter(|(_, t)| now.wrapping_sub(t.seen) > t.timeout)
            .map(|(key, _)| *key)
            .collect();
        for (service, client) in over {
            if self.children(service, client) == 0 {
                self.templates.remove(&(service, client));
            } else {
                self.templates.insert((service, client), Template { seen: now, timeout: 60 * HZ });
            }
        }
    }

    fn counts(&self, service: usize) -> (u32, u32, u32) {
        let protocol = SERVICES[service].1;
        let of = |active: bool| {
            let mine = self.connections.iter().filter(|((s, ..), _)| *s == service);
            mine.filter(|(_, c)| conn::is_active(protocol, c.state) == active).count() as u32
        };
        let templates = self.templates.keys().filter(|(s, _)| *s == service).count() as u32;
        (of(true), of(false), templates)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, in whatever order, and over the turn of the tick counter: the counts are those of
    /// the model after every step, and the recount finds nothing to mend.
    #[test]
    fn counts_stay_exact(ops in prop::collection::vec(op(), 1..80)) {
        let (memory, services) = site(256);
        let settings = memory.settings.read(0).unwrap();
        let mut model = Model::default();
        let mut sweeper = Sweeper::new();
        let mut now = u32::MAX - 200 * HZ;
        for op in ops {
            match op {
                Op::Packet { service, client, port, flags } => {
                    pass(&memory, &services, now, &frame(service, client, port, flags));
                    model.packet(&settings, now, (service, client, port), flags);
                }
                Op::Advance(ticks) => now = now.wrapping_add(ticks),
                Op::Sweep => {
                    let statistics = sweep(&mut sweeper, &memory, now);
                    model.sweep(now);
                    prop_assert_eq!(&statistics.drift, &[]);
                    let slots = |v6: bool| {
                        let mine = model.connections.keys().filter(|(s, ..)| (*s >= 4) == v6);
                        let masq = |s: usize| SERVICES[s].3 == ForwardingMethod::Masq;
                        mine.map(|(s, ..)| 1 + u64::from(masq(*s))).sum::<u64>()
                    };
                    prop_assert_eq!((statistics.live4, statistics.live6), (slots(false), slots(true)));
                    prop_assert_eq!(statistics.templates, model.templates.len() as u64);
                }
            }
            for (id, service) in (0..).zip(0..SERVICES.len()) {
                prop_assert_eq!(counts(&memory, id), model.counts(service), "service {}", service);
            }
        }
    }
}
