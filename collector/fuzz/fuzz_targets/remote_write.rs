//! Fuzzes bodies of remote write requests.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_collector::fuzzing::remote_write(data));
