//! Incidents that others find: alerts that fire, integrations, missed heartbeats. Deduplicated by a key.
//!
//! `/watchkeep/incident-keys/{digest}` says which incident a key means. A report reads it, and writes incident and key in
//! one transaction that fails when either has changed: so two reports at once open one incident.

use std::{collections::BTreeMap, time::Duration};

use sha2::{Digest, Sha256};
use tracing::{debug, info};
use watchkeep_catalog::{
    Client, DedupKey, Incident, IncidentStatus, KeyValue, Time,
    client::{Compare, Op, Txn},
    keys,
};

use super::{WATCHKEEP, acknowledge, note, resolve, tell};
use crate::{
    mirror::Versioned,
    oncall,
    rules::Rules,
    store::{StoreError, leads},
    text::shorten,
};

/// The alert of what is reported without a name of its own; it has a runbook of this name.
pub(crate) const INCIDENT_REPORTED: &str = "IncidentReported";
/// Tries of one report: lost races, and a registry that is electing a leader.
const TRIES_MAX: u32 = 50;
/// Pause after a try whose outcome is not known.
const PAUSE: Duration = Duration::from_millis(100);
/// Longest title, in characters.
const TITLE_MAX: usize = 300;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    /// Reports with the same key are about the same incident while it is open. Any text.
    pub(crate) dedup_key: String,
    /// One line for people.
    pub(crate) title: String,
    /// The alert's name: it selects the runbook, where `details` names none.
    pub(crate) alert: String,
    /// `critical`, `error`, `warning`, `info`: it decides how urgent it is.
    pub(crate) severity: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// `description`, `runbook_url`, `dashboard_url`, `query`, and whatever else is to be shown.
    pub(crate) details: BTreeMap<String, String>,
    /// `alert`, `api`, `events` or `heartbeat`.
    pub(crate) source: String,
    /// An escalation policy instead of the one of `pages`.
    pub(crate) escalation: Option<String>,
    /// When the fault began.
    pub(crate) started_at: Time,
}

/// What is reported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Report {
    /// It is so: opens an incident, or brings the open one up to date.
    Trigger(Finding),
    /// Somebody has taken it, says the reporter.
    Acknowledge { dedup_key: String, by: String },
    /// It is over.
    Resolve { dedup_key: String, by: String, why: String },
}

impl Report {
    pub(crate) fn dedup_key(&self) -> &str {
        match self {
            Self::Trigger(finding) => &finding.dedup_key,
            Self::Acknowledge { dedup_key, .. } | Self::Resolve { dedup_key, .. } => dedup_key,
        }
    }
}

/// What came of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raised {
    Opened(Versioned<Incident>),
    Changed(Versioned<Incident>),
    /// It says what is known already.
    Unchanged(Versioned<Incident>),
    /// No incident with this key is open, and the report opens none.
    Nothing,
}

impl Raised {
    /// The incident it is about.
    pub(crate) fn incident(&self) -> Option<&Incident> {
        match self {
            Self::Opened(i) | Self::Changed(i) | Self::Unchanged(i) => Some(&i.record),
            Self::Nothing => None,
        }
    }
}

/// Enters a report in one transaction; with a `fence` only while the leader key has this create revision. The same
/// report twice changes nothing more.
///
/// # Errors
/// When the registry does not take it, or another node leads.
pub(crate) async fn report(
    client: &Client,
    rules: &Rules,
    fence: Option<i64>,
    report: &Report,
    now: Time,
) -> Result<Raised, StoreError> {
    let mut last = StoreError::Contended(format!("incident with key {}", report.dedup_key()));
    let dedup = keys::incident_key(&digest(report.dedup_key()));
    for _ in 0..TRIES_MAX {
        let pointer = client.get(&dedup).await?;
        let known = open_incident(client, pointer.as_ref()).await?;
        let Some((mut incident, revision)) = next(client, rules, report, known, now).await? else {
            return Ok(Raised::Nothing);
        };
        if revision == Some(incident.mod_revision) {
            return Ok(Raised::Unchanged(incident));
        }
        let key = keys::incident(&incident.record.id);
        let mut txn = Txn::new()
            .when(Compare::mod_revision(&dedup, pointer.as_ref().map_or(0, |kv| kv.mod_revision)))
            .when(Compare::mod_revision(&key, incident.mod_revision))
            .then(Op::put_json(&key, &incident.record)?)
            .otherwise(Op::get(keys::ALERTING_LEADER));
        let opens = incident.mod_revision == 0;
        if opens {
            let key = report.dedup_key().to_owned();
            let record = DedupKey { key, incident: incident.record.id.clone() };
            txn = txn.then(Op::put_json(&dedup, &record)?);
        }
        if let Some(fence) = fence {
            txn = txn.when(Compare::create_revision(keys::ALERTING_LEADER, fence));
        }
        match client.txn(txn).await {
            Ok(outcome) if outcome.succeeded => {
                incident.mod_revision = outcome.revision;
                if opens {
                    incident.create_revision = outcome.revision;
                    info!(
                        incident = incident.record.id,
                        title = incident.record.title,
                        "incident opened"
                    );
                    return Ok(Raised::Opened(incident));
                }
                return Ok(Raised::Changed(incident));
            }
            Ok(outcome) if fence.is_some_and(|f| !leads(f, outcome.responses.first())) => {
                return Err(StoreError::Fenced);
            }
            Ok(_) => {}
            Err(error) if error.is_refusal() => return Err(error.into()),
            Err(error) => {
                debug!(%error, "outcome of a report not known, reading again");
                last = error.into();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Err(last)
}

/// The incident a key means, while it is open.
async fn open_incident(
    client: &Client,
    pointer: Option<&KeyValue>,
) -> Result<Option<Versioned<Incident>>, StoreError> {
    let Some(pointer) = pointer else { return Ok(None) };
    let DedupKey { incident, .. } = pointer.json()?;
    let Some(kv) = client.get(&keys::incident(&incident)).await? else { return Ok(None) };
    let incident = Versioned::<Incident>::read(&kv)?;
    Ok(Some(incident).filter(|i| i.record.status != IncidentStatus::Resolved))
}

/// The incident as it is to be; with its revision where nothing is to be written, none where there is none.
async fn next(
    client: &Client,
    rules: &Rules,
    report: &Report,
    known: Option<Versioned<Incident>>,
    now: Time,
) -> Result<Option<(Versioned<Incident>, Option<i64>)>, StoreError> {
    let Some(mut incident) = known else {
        let Report::Trigger(finding) = report else { return Ok(None) };
        let mut rules = rules.clone();
        rules.changes = oncall::read_changes(client).await?;
        let record = opened(finding, &rules, now);
        return Ok(Some((Versioned { record, create_revision: 0, mod_revision: 0 }, None)));
    };
    let record = &mut incident.record;
    let changed = match report {
        Report::Trigger(finding) => update(record, finding, now),
        Report::Acknowledge { by, .. } => acknowledge(record, by, now)?,
        Report::Resolve { by, why, .. } => resolve(record, by, why, now).map(|()| true)?,
    };
    let revision = (!changed).then_some(incident.mod_revision);
    Ok(Some((incident, revision)))
}

/// A new incident.
pub(crate) fn opened(finding: &Finding, rules: &Rules, now: Time) -> Incident {
    let Finding { title, alert, severity, started_at, .. } = finding;
    let text = format!("{}/{}", finding.dedup_key, now.timestamp_micros());
    let id = format!("{}-{}", started_at.format("%Y%m%d-%H%M%S"), &digest(&text)[..8]);
    let title = shorten(title, TITLE_MAX);
    let mut incident = Incident::new(id, title, alert, severity, *started_at, now);
    incident.labels = finding.labels.clone();
    incident.details = finding.details.clone();
    incident.source.clone_from(&finding.source);
    incident.dedup_key = Some(finding.dedup_key.clone());
    let text = format!("opened by {}: {}", finding.source, incident.title);
    note(&mut incident, now, WATCHKEEP, text);
    tell(&mut incident, rules, finding.escalation.as_deref(), now);
    incident
}

/// Brings an open incident up to date; true when anything is different.
fn update(incident: &mut Incident, finding: &Finding, now: Time) -> bool {
    let before = incident.clone();
    incident.title = shorten(&finding.title, TITLE_MAX);
    incident.severity.clone_from(&finding.severity);
    incident.labels = finding.labels.clone();
    incident.details = finding.details.clone();
    if *incident == before {
        return false;
    }
    if incident.title != before.title || incident.severity != before.severity {
        let text = format!("now: {} ({})", incident.title, incident.severity);
        note(incident, now, WATCHKEEP, text);
    }
    true
}

/// A key of any length and letters as a segment of a key.
pub(crate) fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
