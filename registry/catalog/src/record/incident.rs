//! An incident: what a person is paged for, and everything that was done about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;

/// Where an incident stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// Nobody has taken it yet.
    Triggered,
    /// Somebody has.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageKind {
    /// It began.
    Firing,
    /// It is over.
    Resolved,
}

/// How far a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PageState {
    /// To be delivered.
    Pending,
    /// The mail server or webhook took it.
    Delivered,
    /// Given up.
    Failed,
}

/// One message to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Unique within the incident; with the incident's id it is the idempotency key.
    pub id: String,
    /// What it says.
    pub kind: PageKind,
    /// The receiver's name in the configuration.
    pub receiver: String,
    /// `email` or `webhook`.
    pub channel: String,
    /// Address or URL.
    pub to: String,
    /// How far it is.
    pub state: PageState,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: u32,
    /// When it was delivered or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The last error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// When.
    pub at: Time,
    /// Who: a person, or `watchkeep`.
    pub by: String,
    /// What happened.
    pub text: String,
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// Unique.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// The name of the alert: it selects the runbook.
    pub alert: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// What it is about; `service` and `instance` among them.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub status: IncidentStatus,
    /// Start of the fault: the first failed probe.
    pub started_at: Time,
    /// When it was opened.
    pub opened_at: Time,
    /// When and by whom it was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Time>,
    /// Who took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When it was resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Time>,
    /// Who was on call when it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_call: Option<String>,
    /// The failover that answers it, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<String>,
    /// Its messages.
    #[serde(default)]
    pub pages: Vec<Page>,
    /// Everything that happened.
    #[serde(default)]
    pub timeline: Vec<Note>,
}
