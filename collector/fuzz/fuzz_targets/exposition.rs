//! Fuzzes metrics pages.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_collector::fuzzing::exposition(data));
