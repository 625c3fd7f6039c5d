//! The same random frames and tables through `lb-common` on the host and through the programs in the
//! kernel: the same action, the same bytes, the same maps afterwards.
//!
//! `LB_TEST_SEED` sets the seed, `LB_TEST_CASES` the number of cases; a failure prints both.

#[cfg(test)]
mod common;

#[cfg(test)]
mod differential {
    use std::fmt::Write as _;
    use std::hash::{BuildHasher as _, Hasher as _};

    use lb_common::abi::Settings;
    use lb_common::testing::{HostTables, direct_bytes};
    use lb_user::bpf::Run;
    use lb_user::plan::MapOp;

    use super::common::random::{Random, Site, Step};
    use super::common::{BUCKETS, Kernel, number};

    /// Cases of a run without `LB_TEST_CASES`.
    const CASES: u64 = 3000;
    /// Steps of a case.
    const STEPS: u32 = 40;

    fn variable(name: &str) -> Option<u64> {
        std::env::var(name).ok().map(|text| text.parse().expect("a number"))
    }

    /// Whether the host does the same as the kernel did, if the tick was `now`.
    fn same(
        kernel: &mut Kernel,
        host: &HostTables,
        now: u32,
        frame: &[u8],
        ifindex: u32,
        run: &Run,
    ) -> Result<(), String> {
        host.set_now(now);
        let (action, bytes) = direct_bytes(host, frame, ifindex);
        if number(action) != run.action {
            return Err(format!("action: host {action:?}, kernel {}", run.action));
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

    /// A step on both sides.
    fn both(kernel: &mut Kernel, site: &mut Site, step: &Step) -> Result<(), String> {
        site.apply(step);
        match step {
            Step::Frame { frame, ifindex } => {
                let (run, first, last) = kernel.run(frame, *ifindex);
                // The tick may have changed while the director ran: then any of these is right.
                let mut failures = String::new();
                for now in 0..=last.wrapping_sub(first) {
                    let host = site.tables.clone();
                    match same(kernel, &host, first.wrapping_add(now), frame, *ifindex, &run) {
                        Ok(()) => {
                            site.tables = host;
                            return Ok(());
                        }
                        Err(why) => {
                            let _ = writeln!(failures, "at tick {}: {why}", first.wrapping_add(now));
                        }
                    }
                }
                return Err(failures);
            }
            Step::Pass(_) => kernel.put_flows(&site.tables),
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
        let cases = variable("LB_TEST_CASES").unwrap_or(CASES);
        println!("LB_TEST_SEED={seed} LB_TEST_CASES={cases}");
        let mut kernel = Kernel::open();
        let mut frames = 0_u64;
        for case in 0..cases {
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
}
