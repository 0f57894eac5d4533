//! Whether the promise was kept.

mod bucket;
mod config;
mod day;
mod interval;
mod probes;
mod roles;
mod sweep;
mod time;
mod track;

pub use bucket::Bucket;
pub use config::{Objective, SloConfig};
pub use roles::RoleChange;
pub use sweep::State;
