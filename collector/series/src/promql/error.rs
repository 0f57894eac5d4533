//! What can go wrong with a query: before it runs and while it runs.

use thiserror::Error;

use crate::SeriesError;

/// Why a text is no PromQL expression.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes from the start, if known.
    pub position: Option<usize>,
}

impl ParseError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), position: None }
    }
}

/// Why an evaluation ended without an answer.
#[derive(Debug, Error)]
pub enum EvalError {
    /// It would hold or read more samples than it may.
    #[error(
        "query processing would load too many samples into memory: more than {0}; shorten its range, \
         widen its step or select fewer series"
    )]
    SamplesMax(usize),
    /// Its caller asked it to stop.
    #[error("the query was stopped: its time ran out or its client went away")]
    Stopped,
    /// A range query has too many steps.
    #[error(
        "exceeded maximum resolution of {max} points per series: {steps} steps; widen the step"
    )]
    StepsMax {
        /// Asked for.
        steps: u64,
        /// Allowed.
        max: u64,
    },
    /// The step of a range query is not positive, or its end is before its start.
    #[error("{0}")]
    BadRange(&'static str),
    /// An experimental function is called and the option is off.
    #[error("function {0:?} is experimental: set query.experimental to use it")]
    Experimental(String),
    /// The expression cannot be evaluated on these series, in Prometheus's words.
    #[error("{0}")]
    Execution(String),
    /// The series could not be read.
    #[error(transparent)]
    Series(SeriesError),
}

impl From<SeriesError> for EvalError {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::SamplesMax(max) => Self::SamplesMax(max),
            SeriesError::Stopped => Self::Stopped,
            other => Self::Series(other),
        }
    }
}

pub(crate) fn execution(message: impl Into<String>) -> EvalError {
    EvalError::Execution(message.into())
}
