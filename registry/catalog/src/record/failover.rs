//! The journal of a failover: every step and attempt is written before it has an effect, so that the next leader can
//! finish it, or hand it to a person.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;

/// How far a failover is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailoverState {
    /// Its trigger is there; it is to be confirmed, and its guards are to be asked.
    Deciding,
    /// The guards let it pass; a person is to confirm it.
    AwaitingApproval,
    /// Decided; its steps are to be carried out.
    Pending,
    /// All steps are done: for a callback, the receiver answered as expected.
    Delivered,
    /// A step failed for good, and a person was told.
    Failed,
    /// A step failed for good, what was done before is undone, and a person was told.
    RolledBack,
    /// A guard held it.
    Held,
    /// Its policy only observes: this is what it would have done.
    Observed,
    /// Nobody confirmed it in time.
    Expired,
    /// A person ended it.
    Aborted,
    /// Its trigger went away before anything was done.
    CalledOff,
}

impl FailoverState {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Deciding,
        Self::AwaitingApproval,
        Self::Pending,
        Self::Delivered,
        Self::Failed,
        Self::RolledBack,
        Self::Held,
        Self::Observed,
        Self::Expired,
        Self::Aborted,
        Self::CalledOff,
    ];

    /// The word in JSON and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deciding => "deciding",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Held => "held",
            Self::Observed => "observed",
            Self::Expired => "expired",
            Self::Aborted => "aborted",
            Self::CalledOff => "called_off",
        }
    }

    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Deciding | Self::AwaitingApproval | Self::Pending)
    }
}

/// How much a policy may do by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailoverMode {
    /// It says what it would do.
    Observe,
    /// A person confirms it.
    Approve,
    /// It acts.
    #[default]
    Automatic,
}

impl FailoverMode {
    /// The word in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Approve => "approve",
            Self::Automatic => "automatic",
        }
    }

    fn is_automatic(&self) -> bool {
        *self == Self::Automatic
    }
}

/// What a guard said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardResult {
    /// Its name: `cooldown_seconds`.
    pub guard: String,
    /// Whether it prevents the failover.
    pub held: bool,
    /// What it saw.
    pub why: String,
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
    /// The step's number, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub step: u32,
    /// How often the step was begun anew with another candidate before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
    /// The beginning of the answer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How far a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// Its turn has not come.
    #[default]
    Waiting,
    /// Begun: it may have had its effect.
    Running,
    /// It had.
    Done,
    /// Given up.
    Failed,
    /// Not needed, or not reached.
    Skipped,
    /// Done, and undone afterwards.
    Undone,
}

/// A step of a failover.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverStep {
    /// Unique in its policy.
    pub name: String,
    /// `callback`, `promote`, `drain`, `undrain`, `scale`, `script`, `wait`, `verify` or `page`.
    pub kind: String,
    /// How far it is.
    #[serde(default)]
    pub state: StepState,
    /// When it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was done or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The node that began it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// What it did, or why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What is sent, the same at every attempt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// What was before, so that it can be undone: roles by instance, and `holder`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, String>,
    /// The count that a scale request asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<u32>,
    /// The step that this one undoes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u32>,
    /// How often it was begun anew with another candidate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub round: u32,
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
    /// The instance that is critical; empty: the service as a whole.
    pub instance: String,
    /// Why: the verdict's reason, or what triggered it.
    pub reason: String,
    /// When it was decided.
    pub decided_at: Time,
    /// How far it is.
    pub state: FailoverState,
    /// Every attempt so far.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The incident it belongs to; empty for a rehearsal.
    pub incident: String,
    /// The fingerprint of the alert that triggered it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// W3C `traceparent` of the fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<String>,
    /// Whether the instance had not passed once since it was registered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_passed: bool,
    /// How much it may do by itself.
    #[serde(default, skip_serializing_if = "FailoverMode::is_automatic")]
    pub mode: FailoverMode,
    /// Callbacks are told so, and nothing else is changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    /// When its guards are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Time>,
    /// Until when a person can confirm it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Who confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted_by: Option<String>,
    /// What each guard said when they were asked last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<GuardResult>,
    /// When its first step was begun; none: it has done nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Its steps, and behind them those that undo some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<FailoverStep>,
    /// The instance that takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// Candidates that were of no use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<String>,
    /// Why it fails, as soon as that is so; what is undone or told afterwards does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// What came of it, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
}

impl Failover {
    /// One that is pending and has done nothing yet.
    #[must_use]
    pub fn new(id: String, policy: &str, service: &str, instance: &str, decided_at: Time) -> Self {
        Self {
            id,
            policy: policy.to_owned(),
            service: service.to_owned(),
            instance: instance.to_owned(),
            reason: String::new(),
            decided_at,
            state: FailoverState::Pending,
            attempts: Vec::new(),
            finished_at: None,
            incident: String::new(),
            alert: None,
            trace_parent: None,
            never_passed: false,
            mode: FailoverMode::Automatic,
            rehearsal: false,
            due_at: None,
            expires_at: None,
            approved_by: None,
            aborted_by: None,
            guards: Vec::new(),
            started_at: None,
            steps: Vec::new(),
            candidate: None,
            tried: Vec::new(),
            failure: None,
            outcome: String::new(),
        }
    }

    /// `db/db-1`, or `db` where it is about the service as a whole.
    #[must_use]
    pub fn about(&self) -> String {
        match self.instance.as_str() {
            "" => self.service.clone(),
            instance => format!("{}/{instance}", self.service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_older_versions_are_read() {
        let json = r#"{"id":"a.db","policy":"db","service":"db","instance":"one","reason":"r",
            "decided_at":"2026-01-05T09:00:00Z","state":"pending","incident":"a",
            "attempts":[{"at":"2026-01-05T09:00:00Z","duration_ms":1.5,"status":503,"error":"e"}]}"#;
        let read: Failover = serde_json::from_str(json).expect("a record");
        assert_eq!((read.state, read.mode), (FailoverState::Pending, FailoverMode::Automatic));
        assert!(read.steps.is_empty() && !read.rehearsal);
        // What is not used is not written.
        let written = serde_json::to_value(&read).expect("JSON");
        let fields = written.as_object().expect("an object").len();
        assert_eq!(fields, 9, "{written}");
    }

    #[test]
    fn words_are_the_same_everywhere() {
        for state in FailoverState::ALL {
            assert_eq!(serde_json::to_value(state).expect("JSON"), state.as_str());
        }
    }
}
