//! Fuzzes JSON bodies of every method.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::gateway(data));
