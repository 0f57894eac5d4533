//! Alerting: verdicts, failovers, incidents, on-call, pages and the SLO report.
//!
//! A client of the registry like any other. Whatever has an effect outside is a transaction in the registry
//! first, so that the next leader can finish what this one began.

pub mod config;
pub mod slo;
pub mod source;

pub use config::{AlertingConfig, Invalid};
