//! See `lb-common/tests/shared/fuzz.rs`.
#![no_main]
#![allow(dead_code, reason = "the tests of lb-common use the rest")]

#[path = "../../lb-common/tests/shared/frames.rs"]
mod frames;
#[path = "../../lb-common/tests/shared/fuzz.rs"]
mod fuzz;
#[path = "../../lb-common/tests/shared/random/mod.rs"]
mod random;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::parse(bytes));
