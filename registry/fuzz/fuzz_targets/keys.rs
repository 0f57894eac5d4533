//! Fuzzes keys of the tables.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::keys(data));
