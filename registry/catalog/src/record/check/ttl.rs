//! A check in which the service reports itself.

use serde::{Deserialize, Serialize};

use super::{CheckError, CheckKind};

/// Shortest silence: leases have whole seconds.
const TTL_MS_MIN: u64 = 1_000;
/// Longest silence: a day.
const TTL_MS_MAX: u64 = 86_400_000;

/// Good as long as the service says so, again and again, within `ttl_ms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TtlCheck {
    /// Silence after which it is critical; rounded up to seconds.
    pub ttl_ms: u64,
}

impl TtlCheck {
    /// The lease of a report.
    #[must_use]
    pub fn ttl_seconds(&self) -> i64 {
        i64::try_from(self.ttl_ms.div_ceil(1000)).unwrap_or(i64::MAX)
    }
}

impl CheckKind for TtlCheck {
    fn connects(&self) -> bool {
        false
    }

    fn validate(&self) -> Result<(), CheckError> {
        CheckError::range("ttl.ttl_ms", self.ttl_ms, TTL_MS_MIN, TTL_MS_MAX)
    }
}
