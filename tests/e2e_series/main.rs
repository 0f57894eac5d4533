//! Samples over real processes: sent, kept through kills, and unit tests of rules over them.
//! They are one program, since each by itself would be as large as all.

#[path = "../common/mod.rs"]
mod common;

mod kill;
mod limits;
mod remote_write;
mod rule_tests;
mod scraped;
