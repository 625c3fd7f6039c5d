//! The fixtures on the host; lb-user's tests run them in the kernel.

#[path = "../../tests/shared/fixtures/mod.rs"]
mod shared;

use self::shared::{Event, all};
use super::frames;
use crate::run::Action;
use crate::testing::direct_bytes;

#[test]
fn every_fixture_holds_on_the_host() {
    for mut fixture in all() {
        for (n, event) in fixture.events.into_iter().enumerate() {
            let expected = match event {
                Event::Frame(expected) => expected,
                Event::Change(change) => {
                    change(&mut fixture.tables);
                    continue;
                }
            };
            let context = format!("{}, event {n}: {:02x?}", fixture.what, expected.frame);
            let before = fixture.tables.reasons();
            let (action, bytes) = direct_bytes(&fixture.tables, &expected.frame, 1);
            assert_eq!(action, expected.action, "{context}");
            if action != Action::Drop {
                assert_eq!(bytes, expected.bytes, "{context}\n{bytes:02x?}\n{:02x?}", expected.bytes);
            }
            let mut after = before;
            if let Some(reason) = expected.reason {
                after[reason as usize] += 1;
            }
            assert_eq!(fixture.tables.reasons(), after, "{context}");
        }
    }
}
