//! Fuzzes HTTP/2 connections whose `:authority` is mended.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| watchkeep_registry::fuzzing::authority(data));
