//! The one place that reads a clock. Everything below the loops takes `now` as a parameter.

use watchkeep_catalog::Time;

/// Now.
pub(crate) fn now() -> Time {
    chrono::Utc::now()
}
