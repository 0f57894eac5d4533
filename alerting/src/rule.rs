//! Prometheus's rules: files in, alerts and recorded series out.
//!
//! ```text
//! files ─parse─▶ groups ─▶ each interval: ask ─▶ step (pure) ─▶ state into the registry ─▶ series, alerts
//!          judged whole     (leader only)            ▲                │ written on change, fenced
//!                                                    └── restored ◀───┘ by the next leader
//! ```
//!
//! While the registry is lost every node evaluates and tells for itself, and writes nothing (`room/alone.rs`).
//!
//! What an expression means is not known here: [`Expressions`] judges it, [`Ask`] answers it.

mod alert;
mod duration;
mod evaluate;
mod file;
mod identity;
mod judge;
mod load;
mod metrics;
mod model;
mod record;
mod registry;
mod room;
mod schedule;
mod source;
mod state;
#[cfg(test)]
mod tests;

pub use alert::{Active, AlertState, FOR_STATE, SERIES};
pub use duration::{format_duration, parse_duration};
pub use evaluate::{Environment, Evaluation, GroupState, Health, RuleState, Sink, evaluate, step};
pub use identity::{fingerprint, group_id, rule_id};
pub use judge::{Problem, parse_file};
pub use load::{Loaded, Origin, load};
pub use model::{
    AlertRule, Answered, Ask, Expressions, Group, Histogram, Labels, Measure, RecordRule, Rule,
    RuleKind, Sample, Text,
};
pub use room::{GroupView, RuleSettings, Rules, SharedExpressions};
pub use schedule::{aligned, missed};

/// The bits of the value that marks a series' end, as Prometheus has them.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The value that marks a series' end.
#[must_use]
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}
