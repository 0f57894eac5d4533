//! The collector: probes what the catalog lists, forms opinions, and keeps and passes on the samples.
//!
//! ```text
//! collectors ─watch─▶ sharing ─┐
//! instances ──watch─▶ targets ─┴▶ engine: timetables ─▶ probes ─▶ belief ─▶ opinion ─▶ registry, leased
//!                                                           └─▶ samples ─▶ series store (own thread)
//!                                                                      └─▶ remote write, a queue per receiver
//! ```
//!
//! It knows the registry as a client only, and never waits for it: probing goes on while it is away.

mod access;
pub mod blackbox;
mod by_hand;
mod check;
mod collector;
mod config;
mod engine;
pub mod exposition;
mod flap;
mod foreign;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod keeper;
mod membership;
mod metrics;
mod opinion;
mod probe;
mod publish;
mod recorder;
pub mod relabel;
pub mod remote_write;
mod reports;
mod samples;
mod schedule;
mod scrape;
mod sharing;
mod target;
mod targets;

pub use access::HttpClientConfig;
pub use by_hand::{ByHand, PhaseTook, Report, Step, Told};
pub use collector::{Collector, CollectorError};
pub use config::{CollectorConfig, Invalid};
pub use foreign::{ForeignConfig, ForeignState, Format as ForeignFormat, PrefixState};
pub use keeper::keep_series;
pub use metrics::Metrics;
pub use probe::judge;
pub use recorder::Recorder;
pub use remote_write::{QueueConfig, RemoteWriteConfig, write_router};
pub use scrape::{LastScrape, ScrapeConfig, ScrapeState, TargetState};
