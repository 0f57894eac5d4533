//! The last sign of life of something that reports by itself: a backup, a job, another monitoring.

use serde::{Deserialize, Serialize};

use crate::Time;

/// A heartbeat. How often it has to come stands in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Its name in the configuration.
    pub name: String,
    /// When it came last.
    pub at: Time,
}
