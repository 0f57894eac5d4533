//! Fuzzes what HTTP servers answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_collector::fuzzing::http_answer(data));
