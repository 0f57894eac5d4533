//! What a `/metrics` page says: Prometheus's text format 0.0.4 and OpenMetrics 1.0, read sample by sample. Pure;
//! borrows from the page wherever nothing has to be unescaped.
//!
//! ```text
//! # TYPE http_requests_total counter
//! http_requests_total{method="post",path="/a \"b\""} 1027 1395066363000      text: milliseconds
//! foo_bucket{le="10"} 17 1395066363.1 # {trace_id="a1"} 9.8 1395066362.9     OpenMetrics: seconds, exemplar
//! {"disk.used",mount="/"} 12                                                  both: a name in quotes
//! # EOF                                                                       OpenMetrics: must be there
//! ```
//!
//! Types, help and units are checked and passed over, exemplars as well. The rules are those by which Prometheus
//! itself reads a page (exposition formats documentation; OpenMetrics 1.0 §ABNF), so that a page which one of both
//! takes, the other does too.

use std::borrow::Cow;

use thiserror::Error;

mod cursor;
mod number;
mod openmetrics;
mod sample;
mod text;

#[cfg(test)]
mod tests;

use cursor::Cursor;

/// What a target says when it is asked for its page.
pub const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What a `Content-Type` announces; whatever is not OpenMetrics is read as text, as Prometheus does.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Self {
        let media = content_type.and_then(|t| t.split(';').next()).unwrap_or_default().trim();
        if media.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Name and labels as they stand on the page.
    pub raw: &'a [u8],
    /// The metric's name; never empty.
    pub name: Cow<'a, str>,
    /// Labels in the order of the page; no name twice, values may be empty.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Its value; every NaN is the one that means "not a number", never the staleness marker.
    pub value: f64,
    /// Milliseconds since 1970-01-01 UTC, if the page says.
    pub timestamp_ms: Option<i64>,
}

/// Why a page cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: u64,
    /// What was expected and what stands there.
    pub message: String,
}

/// The samples of a page, one after the other. After an error there is nothing more.
#[derive(Debug)]
pub struct Page<'a> {
    cursor: Cursor<'a>,
    format: Format,
    over: bool,
}

impl<'a> Page<'a> {
    /// Begins to read.
    #[must_use]
    pub fn new(page: &'a [u8], format: Format) -> Self {
        Self { cursor: Cursor::new(page), format, over: false }
    }
}

impl<'a> Iterator for Page<'a> {
    type Item = Result<Line<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let line = match self.format {
            Format::Text => text::next(&mut self.cursor),
            Format::OpenMetrics => openmetrics::next(&mut self.cursor),
        };
        self.over = !matches!(line, Ok(Some(_)));
        line.transpose()
    }
}
