//! Where alerting asks for samples: one trait, in the words of the Prometheus data model.
//!
//! Alerting does not know who keeps the samples. The binary answers from the embedded series store; a
//! Prometheus that is already there can answer by its HTTP API.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use thiserror::Error;

/// The samples of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesData {
    /// All labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970 and value, in the order of time.
    pub samples: Vec<(i64, f64)>,
}

/// Why a question was not answered.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SourceError {
    /// The selector is not PromQL.
    #[error("selector {selector}: {message}; write it as name{{label=\"value\"}}")]
    Selector {
        /// What was asked.
        selector: String,
        /// What is wrong with it.
        message: String,
    },
    /// The store could not be read.
    #[error("samples of {selector} cannot be read: {message}")]
    Read {
        /// What was asked.
        selector: String,
        /// What went wrong.
        message: String,
    },
}

/// Somebody who has samples.
pub trait Source: Send + Sync + 'static {
    /// The raw samples of each series that `selector` selects (a PromQL vector selector such as
    /// `probe_success{service="web"}`), from `from_ms` to `to_ms`, both milliseconds since 1970.
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from_ms: i64,
        to_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>>;
}
