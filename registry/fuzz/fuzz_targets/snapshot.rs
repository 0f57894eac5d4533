//! Fuzzes frames of a snapshot as they are received.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::snapshot(data));
