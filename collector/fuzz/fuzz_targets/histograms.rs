//! Fuzzes native histograms as the series store keeps them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_collector::fuzzing::histograms(data));
