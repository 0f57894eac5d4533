//! Fuzzes headers, frames and records of the Raft log.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::log(data));
