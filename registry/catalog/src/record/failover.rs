//! The journal of a failover: written before the callback leaves, so that the next leader can finish it.

use serde::{Deserialize, Serialize};

use crate::Time;

/// How far a failover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailoverState {
    /// Decided; the callback is to be delivered.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Given up after the configured attempts.
    Failed,
}

/// One delivery attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// Its start.
    pub at: Time,
    /// How long it took.
    pub duration_ms: f64,
    /// The HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One decision to fail over. Its fencing token is the create revision of its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    /// Unique, and the idempotency key of the callback.
    pub id: String,
    /// The policy that decided.
    pub policy: String,
    /// The service.
    pub service: String,
    /// The instance that is critical.
    pub instance: String,
    /// Why: the verdict's reason.
    pub reason: String,
    /// When it was decided.
    pub decided_at: Time,
    /// How far it is.
    pub state: FailoverState,
    /// Every attempt so far.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The incident it belongs to.
    pub incident: String,
    /// W3C `traceparent` of the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
}
