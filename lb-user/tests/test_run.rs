//! The fixtures in the kernel: the real programs, run over single frames by BPF_PROG_TEST_RUN.

#[cfg(test)]
mod common;

#[cfg(test)]
mod test_run {
    use lb_common::run::Action;

    use super::common::fixtures::{Event, Expected, Fixture, all};
    use super::common::{Kernel, number};

    /// Runs a frame; what was not as expected.
    fn check(kernel: &mut Kernel, expected: &Expected) -> Result<(), String> {
        let before = kernel.reasons();
        let (run, ..) = kernel.run(&expected.frame, 1);
        if run.action != number(expected.action) {
            return Err(format!("action {} in place of {:?}", run.action, expected.action));
        }
        if expected.action != Action::Drop && run.frame != expected.bytes {
            return Err(format!("frame\n  {:02x?} in place of\n  {:02x?}", run.frame, expected.bytes));
        }
        let counted: Vec<_> = kernel
            .reasons()
            .into_iter()
            .zip(before)
            .filter(|((_, now), (_, before))| now != before)
            .map(|((reason, now), (_, before))| (reason, now - before))
            .collect();
        let expected: Vec<_> = expected.reason.map(|reason| (reason, 1)).into_iter().collect();
        if counted == expected {
            Ok(())
        } else {
            Err(format!("counted {counted:?} in place of {expected:?}"))
        }
    }

    fn run(kernel: &mut Kernel, mut fixture: Fixture) {
        kernel.load(&fixture.tables);
        for (n, event) in fixture.events.into_iter().enumerate() {
            match event {
                Event::Change(change) => {
                    change(&mut fixture.tables);
                    kernel.configure(&fixture.tables, false);
                }
                Event::Frame(expected) => {
                    if let Err(why) = check(kernel, &expected) {
                        panic!("{}, event {n}: {why}\nof {:02x?}", fixture.what, expected.frame);
                    }
                }
            }
        }
    }

    #[test]
    #[ignore = "needs root and the eBPF object: cargo xtask test"]
    fn every_fixture_holds_in_the_kernel() {
        let mut kernel = Kernel::open();
        let fixtures = all();
        println!("{} fixtures, {} ticks a second", fixtures.len(), kernel.hz());
        println!("verified instructions: {:?}", kernel.verified());
        for fixture in fixtures {
            run(&mut kernel, fixture);
        }
    }
}
