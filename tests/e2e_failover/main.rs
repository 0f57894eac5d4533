//! Failovers over real processes: what triggers them, what holds them, their steps, and leaders that die meanwhile.
//! They are one program, since each by itself would be as large as all.

#[path = "../common/mod.rs"]
mod common;

mod callback;
mod counted;
mod guards;
mod killed;
mod policies;
mod postgres;
mod takeover;
mod triggers;
