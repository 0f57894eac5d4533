//! The stand-in for blackbox_exporter: its `blackbox.yml`, and `/probe` with its metrics.
//!
//! ```text
//! GET /probe?target=…&module=…
//!   ─▶ module (config, judged at the start) + target ─▶ Check ─▶ Prober, the same as any check's ─▶ facts ─▶ page
//! ```

mod config;
mod desk;
mod judge;
mod module;
mod page;
mod router;
mod target;

pub use config::*;
pub use router::probe_router;
