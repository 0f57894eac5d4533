//! Fuzzes what name servers answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_collector::fuzzing::dns_answer(data));
