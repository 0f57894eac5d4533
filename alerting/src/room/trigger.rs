//! One trigger: its failover, and the incident that tells of it.

use std::collections::BTreeMap;

use tracing::{debug, warn};
use watchkeep_catalog::{Failover, FailoverState, Incident, Time};

use crate::{
    config::FailoverPolicy,
    context::Context,
    failover::judge::begin,
    incident::{self, Finding, Report, WATCHKEEP},
    mirror::Versioned,
    store::{self, Extra, NotWritten, StoreError, Written},
};

/// Dedup keys of incidents that only a failover's trigger has opened.
pub(super) const KEY: &str = "failover/";
/// Who opened them.
const SOURCE: &str = "failover";

/// A trigger that is there.
pub(super) struct Trigger {
    pub(super) policy: FailoverPolicy,
    pub(super) key: String,
    pub(super) service: String,
    pub(super) instance: String,
    pub(super) reason: String,
    /// Since when it counts as one and the same.
    pub(super) since: Time,
    /// When it began.
    pub(super) began: Time,
    pub(super) alert: String,
    /// Of the alert, if it is one.
    pub(super) fingerprint: Option<String>,
    pub(super) severity: String,
    pub(super) labels: BTreeMap<String, String>,
}

impl Trigger {
    /// Writes the failover, and its incident before it where there is none.
    pub(super) async fn begin(
        &self,
        context: &Context,
        fence: i64,
        open: Option<String>,
        stopped: bool,
        now: Time,
    ) -> Option<Written> {
        let incident = match open {
            Some(open) => open,
            None => match self.open(context, fence, now).await {
                Ok(id) => id?,
                Err(error) => {
                    warn!(%error, policy = self.policy.name, "a failover is not begun yet");
                    return None;
                }
            },
        };
        let id = format!("{incident}.{}", self.policy.name);
        let record = Failover {
            reason: self.reason.clone(),
            incident,
            alert: self.fingerprint.clone(),
            ..Failover::new(id.clone(), &self.policy.name, &self.service, &self.instance, now)
        };
        let record = begin(&self.policy, record, &context.id, stopped);
        let acts = record.state == FailoverState::Pending;
        let note = format!("failover {} is triggered: {}", self.policy.name, self.reason);
        let change = |incident: &mut Incident| {
            incident.failover = Some(id.clone());
            incident::note(incident, now, WATCHKEEP, note.clone());
            true
        };
        let failover = Versioned { record, create_revision: 0, mod_revision: 0 };
        let extra = Extra { acts, ..Extra::default() };
        match store::write_failover(&context.client, fence, failover, &extra, change).await {
            Ok(written) => Some(written),
            Err(NotWritten::Failed(error)) => {
                warn!(%error, policy = self.policy.name, "a failover is not begun yet");
                None
            }
            Err(_) => None,
        }
    }

    async fn open(
        &self,
        context: &Context,
        fence: i64,
        now: Time,
    ) -> Result<Option<String>, StoreError> {
        let report = Report::Trigger(Finding {
            dedup_key: self.key.clone(),
            title: format!("{}: {}", self.service, self.reason),
            alert: self.alert.clone(),
            severity: self.severity.clone(),
            labels: self.labels.clone(),
            details: BTreeMap::new(),
            source: SOURCE.to_owned(),
            escalation: None,
            started_at: self.began.min(now),
        });
        let raised = incident::report(&context.client, &context.rules, Some(fence), &report, now);
        Ok(raised.await?.incident().map(|incident| incident.id.clone()))
    }
}

/// The trigger is gone: its own incident ends.
pub(super) async fn settle(context: &Context, fence: i64, dedup_key: String, now: Time) {
    let why = "what triggered the failover is over".to_owned();
    let report = Report::Resolve { dedup_key, by: WATCHKEEP.to_owned(), why };
    let settled = incident::report(&context.client, &context.rules, Some(fence), &report, now);
    if let Err(error) = settled.await {
        debug!(%error, "an incident of a failover is not ended yet");
    }
}
