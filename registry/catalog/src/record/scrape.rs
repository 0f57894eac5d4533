//! How an instance's own metrics are fetched.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Scheme;

/// Shortest interval.
const INTERVAL_MS_MIN: u64 = 100;
/// Longest interval: a day.
const INTERVAL_MS_MAX: u64 = 86_400_000;

/// A page of metrics, Prometheus text or OpenMetrics, fetched again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrape {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Path and query.
    pub path: String,
    /// Port, when it is not the instance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// From the start of one scrape to the start of the next.
    pub interval_ms: u64,
    /// A page that comes later is not taken.
    pub timeout_ms: u64,
}

impl Default for Scrape {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            path: "/metrics".to_owned(),
            port: None,
            interval_ms: 15_000,
            timeout_ms: 10_000,
        }
    }
}

/// Why it is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScrapeError {
    /// The path lacks its slash.
    #[error("scrape.path is {0:?}: begin it with /")]
    Path(String),
    /// Port 0.
    #[error("scrape.port is 0: give 1 to 65535, or leave it out")]
    Port,
    /// A number out of range.
    #[error("scrape.interval_ms is {0}: give {INTERVAL_MS_MIN} to {INTERVAL_MS_MAX}")]
    Interval(u64),
    /// A page that may take longer than the interval.
    #[error("scrape.timeout_ms is {0}: give 1 to {1}, the interval")]
    Timeout(u64, u64),
}

impl Scrape {
    /// Checks path and ranges.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), ScrapeError> {
        if !self.path.starts_with('/') {
            return Err(ScrapeError::Path(self.path.clone()));
        }
        if self.port == Some(0) {
            return Err(ScrapeError::Port);
        }
        if !(INTERVAL_MS_MIN..=INTERVAL_MS_MAX).contains(&self.interval_ms) {
            return Err(ScrapeError::Interval(self.interval_ms));
        }
        if !(1..=self.interval_ms).contains(&self.timeout_ms) {
            return Err(ScrapeError::Timeout(self.timeout_ms, self.interval_ms));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_ranges() {
        let read = |text: &str| serde_json::from_str::<Scrape>(text).expect(text).validate();
        for (text, error) in [
            ("{}", None),
            (r#"{"interval_ms":100,"timeout_ms":100}"#, None),
            (r#"{"path":"metrics"}"#, Some("scrape.path is \"metrics\": begin it with /")),
            (r#"{"port":0}"#, Some("scrape.port is 0: give 1 to 65535, or leave it out")),
            (r#"{"interval_ms":99}"#, Some("scrape.interval_ms is 99: give 100 to 86400000")),
            (
                r#"{"interval_ms":5000}"#,
                Some("scrape.timeout_ms is 10000: give 1 to 5000, the interval"),
            ),
        ] {
            assert_eq!(read(text).err().map(|e| e.to_string()).as_deref(), error, "{text}");
        }
        assert!(serde_json::from_str::<Scrape>(r#"{"pfad":"/"}"#).is_err());
    }
}
