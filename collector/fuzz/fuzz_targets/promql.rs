//! Fuzzes PromQL expressions: reading, writing and evaluating them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| watchkeep_collector::fuzzing::promql(data));
