//! Samples over real processes: sent, kept through kills, and unit tests of rules over them. One program, since each would be as large as all.

#[path = "../common/mod.rs"]
mod common;

mod kill;
mod remote_write;
mod rule_tests;
