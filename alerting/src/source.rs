//! Where alerting asks questions and leaves what it recorded: one trait, in the words of the Prometheus data model.
//!
//! Alerting does not know who keeps the samples. The binary answers from the embedded series store; a
//! Prometheus, VictoriaMetrics, Thanos or Mimir that is already there answers by its HTTP API.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use thiserror::Error;
use watchkeep_catalog::prompb;

mod answer;
mod external;

pub use answer::{MatrixRow, QueryAnswer, QueryData, RowValue, VectorRow};
pub use external::{DataSourceConfig, External};

/// The samples of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeriesData {
    /// All labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970 and value, in the order of time.
    pub samples: Vec<(i64, f64)>,
}

/// A sample to be written: all labels with `__name__` among them, milliseconds since 1970, value. The staleness marker is
/// a value like any other ([`STALE_NAN`]).
pub type Recorded = (BTreeMap<String, String>, i64, f64);

/// A native histogram to be written, its time in it, and all labels of its series.
pub type RecordedHistogram = (BTreeMap<String, String>, prompb::Histogram);

/// The bits of the NaN that ends a series (Prometheus, `model/value`).
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// Why a question was not answered, or samples were not written.
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
    /// The expression is not PromQL: asking again is of no use.
    #[error("expression {expr}: {message}")]
    Expression {
        /// What was asked.
        expr: String,
        /// What is wrong with it.
        message: String,
    },
    /// The expression cannot be evaluated over these samples (many-to-many matching, a limit): asking again may help.
    #[error("{expr} cannot be evaluated: {message}")]
    Evaluation {
        /// What was asked.
        expr: String,
        /// What went wrong.
        message: String,
    },
    /// No answer in time.
    #[error("{expr}: no answer within {limit_ms} ms; make it cheaper, or raise the limit")]
    Timeout {
        /// What was asked.
        expr: String,
        /// The limit.
        limit_ms: u64,
    },
    /// Who has the samples cannot be reached, or does not understand.
    #[error("data source {url}: {message}")]
    Unavailable {
        /// Who was asked.
        url: String,
        /// What went wrong.
        message: String,
    },
    /// Samples were not taken.
    #[error("{samples} recorded samples were not taken: {message}")]
    Write {
        /// How many.
        samples: usize,
        /// What went wrong.
        message: String,
    },
}

/// Somebody who has samples.
///
/// Only [`Self::select`] has to be there; who knows no PromQL refuses questions.
pub trait Source: Send + Sync + 'static {
    /// The raw samples of each series that `selector` selects (a PromQL vector selector such as
    /// `probe_success{service="web"}`), from `from_ms` to `to_ms`, both inclusive and milliseconds since 1970.
    fn select<'a>(
        &'a self,
        selector: &'a str,
        from_ms: i64,
        to_ms: i64,
    ) -> BoxFuture<'a, Result<Vec<SeriesData>, SourceError>>;

    /// The value of a PromQL expression at one time, in milliseconds since 1970.
    fn query<'a>(
        &'a self,
        expr: &'a str,
        _at_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(async { Err(no_promql(expr)) })
    }

    /// The values of a PromQL expression at `from_ms`, `from_ms + step_ms`, … up to `to_ms`: always a matrix.
    fn query_range<'a>(
        &'a self,
        expr: &'a str,
        _from_ms: i64,
        _to_ms: i64,
        _step_ms: i64,
    ) -> BoxFuture<'a, Result<QueryAnswer, SourceError>> {
        Box::pin(async { Err(no_promql(expr)) })
    }

    /// Keeps samples, where every alerting node will read them. When it answers they are on disk, or on their way by a
    /// queue on disk.
    fn write(&self, samples: Vec<Recorded>) -> BoxFuture<'_, Result<(), SourceError>> {
        let samples = samples.len();
        let message = "nothing is written here".to_owned();
        Box::pin(async move { Err(SourceError::Write { samples, message }) })
    }

    /// Keeps native histograms, on this node: who reads them elsewhere writes them there.
    fn write_histograms(
        &self,
        histograms: Vec<RecordedHistogram>,
    ) -> BoxFuture<'_, Result<(), SourceError>> {
        let samples = histograms.len();
        let message = "native histograms are recorded by the embedded store only; record \
                       histogram_quantile or histogram_count of them instead";
        let message = message.to_owned();
        Box::pin(async move { Err(SourceError::Write { samples, message }) })
    }
}

fn no_promql(expr: &str) -> SourceError {
    SourceError::Evaluation { expr: expr.to_owned(), message: "no PromQL is known here".to_owned() }
}
