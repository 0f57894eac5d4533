//! A new incident about an instance, and the failover that answers it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use watchkeep_catalog::{Failover, FailoverState, Incident, Instance, Time};

use super::{INSTANCE_CRITICAL, View};
use crate::{
    failover::judge::{begin, words},
    incident::{self, WATCHKEEP},
    rules::Rules,
    text::shorten,
    verdict::Tally,
};

/// Longest reason in a title, in characters.
const TITLE_REASON_MAX: usize = 160;

/// A new incident, and the failover of the first policy that matches.
pub(super) fn open(
    view: &View<'_>,
    instance: &Instance,
    tally: &Tally,
    verdict_revision: i64,
    rules: &Rules,
    now: Time,
) -> (Incident, Option<Failover>) {
    let id = incident_id(instance, tally, verdict_revision);
    let policy = rules.policy_for(instance);
    let failover = policy.map(|policy| {
        let own = format!("{id}.{}", policy.name);
        let record = Failover {
            reason: tally.reason.clone(),
            incident: id.clone(),
            trace_parent: tally.trace_parent.clone(),
            never_passed: super::never_passed(view),
            ..Failover::new(own, &policy.name, &instance.service, &instance.id, now)
        };
        begin(policy, record, view.node, view.stopped)
    });
    let reason = shorten(&tally.reason, TITLE_REASON_MAX);
    let title = format!("{}/{} is critical: {reason}", instance.service, instance.id);
    let mut incident =
        Incident::new(id, title, INSTANCE_CRITICAL, "critical", tally.first_seen, now);
    incident.labels = labels(instance);
    incident.failover = failover.as_ref().map(|failover| failover.id.clone());
    let mut note = |at, text: String| incident::note(&mut incident, at, WATCHKEEP, text);
    note(tally.first_seen, "first failed probe".to_owned());
    let (agree, opinions) = (tally.agree, tally.opinions);
    note(now, format!("critical by {agree} of {opinions} opinions: {}", tally.reason));
    if let (Some(policy), Some(failover)) = (policy, &failover) {
        let steps = words(policy);
        note(
            now,
            match failover.state {
                FailoverState::Pending => format!("failover {} decided: {steps}", policy.name),
                _ => format!(
                    "failover {} ({}) may follow: {steps}",
                    policy.name,
                    failover.mode.as_str()
                ),
            },
        );
    }
    incident::tell(&mut incident, rules, None, now);
    (incident, failover)
}

fn labels(instance: &Instance) -> BTreeMap<String, String> {
    let labels = [
        ("alertname", INSTANCE_CRITICAL),
        ("severity", "critical"),
        ("service", &instance.service),
        ("instance", &instance.id),
        ("role", &instance.role),
        ("zone", &instance.zone),
    ];
    let said = labels.into_iter().filter(|(_, value)| !value.is_empty());
    said.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The same fault has the same id, whoever decides on it: `20260105-090000-3f2a9c01`.
fn incident_id(instance: &Instance, tally: &Tally, verdict_revision: i64) -> String {
    let seen = tally.first_seen;
    let text = format!(
        "{INSTANCE_CRITICAL}/{}/{}/{}/{verdict_revision}",
        instance.service,
        instance.id,
        seen.timestamp_micros()
    );
    let digest = Sha256::digest(text.as_bytes());
    format!("{}-{}", seen.format("%Y%m%d-%H%M%S"), hex::encode(&digest[..4]))
}
