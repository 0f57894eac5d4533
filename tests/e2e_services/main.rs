//! Services over real processes: registered, probed, judged, found, in maintenance, and whom their faults call.
//! They are one program, since each by itself would be as large as all.

#[path = "../common/mod.rs"]
mod common;

mod browser;
mod checks;
mod console;
mod corrupt;
mod discovery;
mod dns;
mod duty;
mod fleet;
mod maintenance;
mod oncall;
mod ranges;
mod roles;
mod rota;
mod verdicts;
