//! Fuzzes etcd requests, checked, turned into commands and applied to a small state.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::request(data));
