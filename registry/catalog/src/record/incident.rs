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
    /// Not needed any more: somebody took the incident before.
    Cancelled,
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
    /// It is not sent before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// It calls for somebody: when an incident is taken, it is cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calls: bool,
    /// The message that it is part of, with pages of other incidents; none: a message of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
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
    /// Who opened it: empty (a verdict), `alert`, `events`, `heartbeat`, or whoever reported it by the API.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Reports with this key are about this incident, as long as it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// What else is said of it: `description`, `runbook_url`, `dashboard_url`, `query` and whatever the source adds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// Taken until then; it calls again afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Time>,
    /// Who was asked to help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub responders: Vec<String>,
    /// Who it was given to, instead of whoever the escalation would find.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assigned: Vec<String>,
    /// Who is called next, and when; none: whoever is told was told when it opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// Links out of mails that have been used; none works twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links_used: Vec<String>,
    /// Its messages.
    #[serde(default)]
    pub pages: Vec<Page>,
    /// Everything that happened.
    #[serde(default)]
    pub timeline: Vec<Note>,
}

/// How far an incident has gone through its escalation policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// The policy's name.
    pub policy: String,
    /// Rounds through its steps that are over.
    #[serde(default)]
    pub round: u32,
    /// The step that comes next, from 0; as many as there are steps: the last resort.
    #[serde(default)]
    pub step: u32,
    /// When it comes; none: nothing comes any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// The step that was taken last: where it goes on when the incident is given back.
    #[serde(default)]
    pub last: u32,
    /// Steps that were taken so far; it numbers their pages.
    #[serde(default)]
    pub taken: u32,
    /// Which target of each step with round robin has its turn here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<u32, u64>,
    /// The step that comes next was taken before, and calls the same again: the incident was given back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// Which incident the reports with a key are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DedupKey {
    /// The key, in full; the record's own key holds only its digest.
    pub key: String,
    /// The incident's id.
    pub incident: String,
}

impl Incident {
    /// A new one that nobody knows of yet.
    #[must_use]
    pub fn new(
        id: String,
        title: String,
        alert: &str,
        severity: &str,
        started_at: Time,
        now: Time,
    ) -> Self {
        Self {
            id,
            title,
            alert: alert.to_owned(),
            severity: severity.to_owned(),
            labels: BTreeMap::new(),
            status: IncidentStatus::Triggered,
            started_at,
            opened_at: now,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            on_call: None,
            failover: None,
            source: String::new(),
            dedup_key: None,
            details: BTreeMap::new(),
            snoozed_until: None,
            responders: Vec::new(),
            assigned: Vec::new(),
            escalation: None,
            links_used: Vec::new(),
            pages: Vec::new(),
            timeline: Vec::new(),
        }
    }
}
