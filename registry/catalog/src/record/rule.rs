//! What a restart must not forget of an alerting rule: which alerts are active, and since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;

/// An alert of a rule that is pending or firing. It is written when it begins, fires, is kept firing, and removed
/// when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleAlert {
    /// The rule's group, for people; the key says which it is.
    pub group: String,
    /// All labels, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// Since when the expression holds.
    pub active_at: Time,
    /// When it began to fire; none: it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_at: Option<Time>,
    /// Since when it fires only because of `keep_firing_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<Time>,
}
