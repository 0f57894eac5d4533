//! Who takes part: collectors and alerting nodes, each under its lease.

use serde::{Deserialize, Serialize};

use crate::Time;

/// A collector that is alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collector {
    /// Its name; the key's last segment.
    pub id: String,
    /// Its vantage point.
    #[serde(default)]
    pub zone: String,
    /// Since when.
    pub started_at: Time,
}

/// An alerting node that is alive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name; the key's last segment.
    pub id: String,
    /// Base URL of its HTTP API; samples are remote-written to `{url}/api/v1/write`.
    pub url: String,
    /// Since when.
    pub started_at: Time,
}
