//! The same random frames and tables through `lb-common` on the host and through the programs in the
//! kernel: the same action, the same bytes, the same maps afterwards.
//!
//! The kernel's tables are as small as one bucket, so that flows meet; time passes by making entries older.
//! `LB_TEST_SEED` sets the seed, `LB_TEST_CASES` the number of cases; a failure prints both.

#[cfg(test)]
mod common;

#[cfg(test)]
mod differential {
    use std::fmt::Write as _;
    use std::hash::{BuildHasher as _, Hasher as _};
    use std::time::{Duration, Instant};

    use std::net::SocketAddr;

    use lb_common::abi::{Destination, Hop, Settings};
    use lb_common::conn::protocol;
    use lb_common::fwd::ForwardingMethod;
    use lb_common::sched::Scheduler;
    use lb_common::testing::{DIRECTOR_MAC, HostTables, ServiceSpec, direct_bytes};
    use lb_user::bpf::Run;
    use lb_user::plan::MapOp;

    use super::common::frames::{Carried, FrameSpec};
    use super::common::random::{Random, Site, Step};
    use super::common::{BUCKETS, Kernel, number};

    /// Cases of a run without `LB_TEST_CASES`...
    const CASES: u64 = 5000;
    /// ... which may end earlier on a slow machine (an emulated one): after so long, and so many at least.
    const ENOUGH: (Duration, u64) = (Duration::from_secs(60), 100);
    /// Steps of a case.
    const STEPS: u32 = 40;

    fn variable(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().expect("a number"))
    }

    /// Reads of the tick that one frame may cause.
    const READS: u32 = 3;

    /// How the tick may have gone while the director ran: the tick, for how many reads, the tick after them.
    fn ticks(first: u32, last: u32) -> impl Iterator<Item = (u32, u32, u32)> {
        let all = move |from: u32| (0..=last.wrapping_sub(from)).map(move |n| from.wrapping_add(n));
        let changing = all(first).flat_map(move |now| {
            all(now).skip(1).flat_map(move |next| (1..=READS).map(move |reads| (now, reads, next)))
        });
        all(first).map(|now| (now, 0, now)).chain(changing)
    }

    /// Whether the host does the same as the kernel did.
    fn same(
        kernel: &mut Kernel,
        host: &HostTables,
        frame: &[u8],
        ifindex: u32,
        run: &Run,
    ) -> Result<(), String> {
        let (action, bytes) = direct_bytes(host, frame, ifindex);
        if number(action) != run.action {
            let counted: Vec<_> = kernel.reasons().into_iter().filter(|(_, n)| *n != 0).collect();
            return Err(format!(
                "action: host {action:?}, kernel {} with {:02x?}, which counted {counted:?}",
                run.action, run.frame
            ));
        }
        // What is dropped may be half rewritten.
        if run.action != 1 && bytes != run.frame {
            return Err(format!(
                "frame after {action:?}:\n  host   {bytes:02x?}\n  kernel {:02x?}",
                run.frame
            ));
        }
        kernel.compare(host)
    }

    /// A frame on both sides.
    fn frame_on_both(
        kernel: &mut Kernel,
        tables: &mut HostTables,
        frame: &[u8],
        ifindex: u32,
    ) -> Result<(), String> {
        let (run, first, last) = kernel.run(frame, ifindex);
        let mut failures = String::new();
        for (now, reads, next) in ticks(first, last) {
            let host = tables.clone();
            host.set_now_until(now, reads, next);
            match same(kernel, &host, frame, ifindex, &run) {
                Ok(()) => {
                    *tables = host;
                    return Ok(());
                }
                Err(why) => {
                    let _ = writeln!(failures, "at tick {now}, after {reads} reads {next}: {why}");
                }
            }
        }
        Err(failures)
    }

    /// A step on both sides.
    fn both(kernel: &mut Kernel, site: &mut Site, step: &Step) -> Result<(), String> {
        site.apply(step);
        match step {
            Step::Frame { frame, ifindex } => {
                return frame_on_both(kernel, &mut site.tables, frame, *ifindex);
            }
            Step::Pass(_) | Step::State(..) => kernel.put_flows(&site.tables),
            Step::Weight(id, weight) => kernel.execute(&[MapOp::SetWeight { id: *id, weight: *weight }]),
            Step::Flags(id, flags) => kernel.execute(&[MapOp::SetFlags { id: *id, flags: *flags }]),
            Step::Hop(id, hop) => kernel.execute(&[MapOp::SetHop { id: *id, hop: *hop }]),
            Step::Settings(..) => {
                let value: Box<Settings> = Box::new(site.tables.settings);
                kernel.execute(&[MapOp::PutSettings { value }]);
            }
        }
        Ok(())
    }

    #[test]
    #[ignore = "needs root and the eBPF object: cargo xtask test"]
    fn host_and_kernel_do_the_same() {
        let seed = variable("LB_TEST_SEED")
            .unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish() >> 16);
        let wanted = variable("LB_TEST_CASES");
        let cases = wanted.unwrap_or(CASES);
        let begun = Instant::now();
        println!("LB_TEST_SEED={seed} LB_TEST_CASES={cases}");
        let mut kernel = Kernel::open();
        let mut frames = 0_u64;
        for case in 0..cases {
            if wanted.is_none() && begun.elapsed() > ENOUGH.0 && case >= ENOUGH.1 {
                println!("{case} cases on a slow machine");
                break;
            }
            let seed = seed.wrapping_add(case);
            let mut random = Random(seed);
            let mut site = {
                let buckets = if random.once_in(16) { BUCKETS } else { 8 };
                Site::new(&mut random, buckets)
            };
            kernel.load(&site.tables);
            for n in 0..STEPS {
                let step = site.step(&mut random);
                frames += u64::from(matches!(step, Step::Frame { .. }));
                if let Err(why) = both(&mut kernel, &mut site, &step) {
                    panic!("LB_TEST_SEED={seed} LB_TEST_CASES=1, step {n}: {step:02x?}\n{why}");
                }
            }
        }
        println!("{frames} frames");
    }

    /// Destinations of one service.
    const MANY: u32 = 4096;
    const SERVICE: ([u8; 4], u16) = ([192, 0, 2, 1], 80);

    /// A service of many destinations, of which only the last ones have a next hop: walks are long.
    fn many(scheduler: Scheduler, usable: u32) -> HostTables {
        let mut tables = HostTables::with_room(8, MANY, 16 * 8192);
        tables.settings.lblcr_expiration = 250;
        let member = |n: u32| {
            let [_, _, c, d] = n.to_be_bytes();
            let hop = if n < MANY - usable { Hop::UNRESOLVED } else { Hop::new([2, 0, 0, 1, c, d], 1) };
            Destination {
                hop,
                weight: n % 2 + 1,
                address: [10, 0, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                family: 4,
                method: ForwardingMethod::DirectRoute as u8,
                ..Destination::default()
            }
        };
        let members: Vec<u32> = (0..MANY).map(|n| tables.add_destination(member(n))).collect();
        let spec = ServiceSpec { scheduler_flags: 1, ..ServiceSpec::new(scheduler) };
        tables.add_service4(1, SERVICE.0, SERVICE.1, protocol::TCP, &spec, &members);
        tables
    }

    fn syn(n: u16) -> Vec<u8> {
        let client = SocketAddr::from(([203, 0, 113, 9], 40_000 + n));
        FrameSpec::new(DIRECTOR_MAC, client, SERVICE.into(), Carried::Tcp(2)).build()
    }

    #[test]
    #[ignore = "needs root and the eBPF object: cargo xtask test"]
    fn thousands_of_destinations_are_the_same_for_both() {
        let mut kernel = Kernel::with_room(MANY, 16 * 8192);
        for scheduler in [Scheduler::Rr, Scheduler::Wrr, Scheduler::Wlc, Scheduler::Mh, Scheduler::Lblcr] {
            let mut tables = many(scheduler, 40);
            kernel.load(&tables);
            for n in 0..6 {
                if let Err(why) = frame_on_both(&mut kernel, &mut tables, &syn(n), 1) {
                    panic!("{scheduler:?}, client {n}: {why}");
                }
            }
            let chosen: u64 = (0..MANY).map(|id| tables.counters(id).connections).sum();
            assert_eq!(chosen, 6, "{scheduler:?}");
        }
    }

    #[test]
    #[ignore = "needs root and the eBPF object: cargo xtask test"]
    fn twos_in_the_kernel_takes_usable_ones_by_weight() {
        let mut kernel = Kernel::with_room(MANY, 16 * 8192);
        kernel.load(&many(Scheduler::Twos, 3));
        for n in 0..90 {
            assert_eq!(kernel.run(&syn(n), 1).0.action, 3, "client {n}");
        }
        let chosen = kernel.connections();
        let (others, usable) = chosen.split_at(MANY as usize - 3);
        assert_eq!(others.iter().sum::<u64>(), 0, "to one that has no next hop");
        assert_eq!(usable.iter().sum::<u64>(), 90);
        // Weights 2, 1, 2, and of two the less loaded one is taken: by chance alone fewer than 5 come once in 10^9 runs.
        assert!(usable.iter().all(|n| *n >= 5), "{usable:?}");
    }
}
