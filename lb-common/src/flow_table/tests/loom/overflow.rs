//! The same where both buckets of a key are full: in the overflow buckets.

use super::*;

/// Fills both buckets with what must stay, and of the first overflow bucket so many ways.
fn flood(model: &Model, third: u32) {
    crowd(model, WAYS, WAYS);
    for way in 0..third {
        model.put(2, way, 300 + u64::from(way), 0);
    }
}

#[test]
fn two_insertions_of_one_key_in_home_and_overflow_leave_at_most_one() {
    explore(|| {
        let model = Model::new();
        // One weak entry in the home bucket, of which one insertion makes its own; the other may find it taken.
        flood(&model, 0);
        let weak = find(&model, &key(102), PLACE).unwrap();
        let other = model.clone();
        let first = thread::spawn(move || {
            assert!(remove(&other, weak, &mut removed()));
            counted(&other, 1)
        });
        let second = counted(&model, 1);
        let inserted = first.join().unwrap().wrapping_add(second);
        assert_eq!(model.count(1), inserted, "every entry there is is counted");
        assert!(inserted <= 1, "and one at most is there");
    });
}

#[test]
fn two_insertions_of_one_key_in_two_overflow_buckets_leave_at_most_one() {
    explore(|| {
        let model = Model::new();
        flood(&model, 3);
        let other = model.clone();
        let first = thread::spawn(move || counted(&other, 1));
        let second = counted(&model, 1);
        let inserted = first.join().unwrap().wrapping_add(second);
        assert_eq!(model.count(1), inserted);
        assert!(inserted <= 1);
    });
}

#[test]
fn a_reader_of_the_overflow_never_takes_what_is_anothers() {
    explore(|| {
        let model = Model::new();
        flood(&model, 4);
        for way in 1..WAYS {
            model.put(3, way, 400 + u64::from(way), 0);
        }
        // The one weak entry gives way to key 2, while key 1 is looked up.
        model.put(3, 0, 1, Word::WEAK);
        let other = model.clone();
        let reader = thread::spawn(move || look(&other, 1));
        assert_eq!(put(&model, 2), (1, Some(key(1))));
        assert!(reader.join().unwrap().is_none_or(|found| found == destination(1)));
        assert_eq!((model.count(1), model.count(2)), (0, 1));
        assert_eq!(look(&model, 2), Some(destination(2)));
    });
}

#[test]
fn an_overflowed_entry_is_found_while_others_of_its_bucket_come_and_go() {
    explore(|| {
        let model = Model::new();
        flood(&model, 0);
        model.put(2, 0, 1, 0);
        model.put(2, 1, 2, 0);
        let other = model.clone();
        let reader = thread::spawn(move || look(&other, 1));
        let found = find(&model, &key(2), PLACE).unwrap();
        assert!(remove(&model, found, &mut removed()));
        assert_eq!(put(&model, 3).0, 1);
        assert_eq!(reader.join().unwrap(), Some(destination(1)));
        assert_eq!(model.count(1), 1);
    });
}

#[test]
fn an_overflowed_entry_is_removed_once_and_the_mark_of_its_gate_stays() {
    explore(|| {
        let model = Model::new();
        model.put(2, 0, 1, 0);
        let other = model.clone();
        let first = thread::spawn(move || {
            let removed =
                find(&other, &key(1), PLACE).is_some_and(|found| remove(&other, found, &mut removed()));
            other.bucket(0).unwrap().mark_gate(gate::STATELESS);
            removed
        });
        let second = find(&model, &key(1), PLACE).is_some_and(|found| discard(&model, found));
        assert!(first.join().unwrap() ^ second);
        assert_eq!(model.count(1), 0);
        assert_eq!(model.bucket(0).unwrap().gate(), gate::STATELESS);
        model.bucket(0).unwrap().unmark_gate(gate::STATELESS);
        assert_eq!(model.bucket(0).unwrap().gate(), 0);
    });
}
