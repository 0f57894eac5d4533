//! `query`: what a question in PromQL may cost.

use serde::{Deserialize, Serialize};

/// Limits of questions to the series store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueryConfig {
    /// Questions over HTTP that are answered at once; and as many of rules. 1 to 1000.
    pub(crate) concurrency_max: usize,
    /// Questions that wait for their turn; a further one is refused. 0 to 100000.
    pub(crate) queue_max: usize,
    /// A question that takes longer is given up; a request may ask for less. 1 to 3600000.
    pub(crate) timeout_ms: u64,
    /// Samples that one question may hold at once. 1 to 1000000000.
    pub(crate) samples_max: usize,
    /// Series that one question about series or labels may be answered with. 1 to 100000000.
    pub(crate) series_max: usize,
    /// How far an instant looks back for a sample. 1 to 86400000.
    pub(crate) lookback_ms: i64,
    /// Whether PromQL's experimental functions may be called.
    pub(crate) experimental: bool,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            concurrency_max: 20,
            queue_max: 1_000,
            timeout_ms: 120_000,
            samples_max: 50_000_000,
            series_max: 1_000_000,
            lookback_ms: 300_000,
            experimental: false,
        }
    }
}

impl QueryConfig {
    /// Everything that is wrong: field and message.
    pub(super) fn validate(&self) -> Vec<(&'static str, String)> {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        [
            ("concurrency_max", wide(self.concurrency_max), 1, 1_000),
            ("queue_max", wide(self.queue_max), 0, 100_000),
            ("timeout_ms", self.timeout_ms, 1, 3_600_000),
            ("samples_max", wide(self.samples_max), 1, 1_000_000_000),
            ("series_max", wide(self.series_max), 1, 100_000_000),
            ("lookback_ms", u64::try_from(self.lookback_ms).unwrap_or(0), 1, 86_400_000),
        ]
        .into_iter()
        .filter(|(_, value, min, max)| !(min..=max).contains(&value))
        .map(|(field, value, min, max)| (field, format!("is {value}: give {min} to {max}")))
        .collect()
    }
}
