//! `oncall_configs`: a group of alerts as an incident for whoever is on call. The incident is known by the group and the
//! receiver (and which of its `oncall_configs` it is), so the same group opens one, and its end resolves it.

use super::{
    config::OncallConfig,
    notify::{Failure, Message},
    shared::Shared,
};
use crate::{
    clock,
    incident::{Finding, Report, report as enter},
    store::StoreError,
};

/// Opens, or brings up to date, or resolves; with a `fence` only while that leader leads, so that one that was asleep does not
/// open again what the next one has resolved.
pub(super) async fn report(
    shared: &Shared,
    config: &OncallConfig,
    message: &Message<'_>,
    fence: Option<i64>,
) -> Result<(), Failure> {
    let now = clock::now();
    let report = report_of(config, message, now)?;
    let context = &shared.context;
    match enter(&context.client, &context.rules, fence, &report, now).await {
        Ok(_) => Ok(()),
        Err(error @ StoreError::Fenced) => Err(Failure::Never(error.to_string())),
        Err(error) => Err(Failure::Again(error.to_string())),
    }
}

/// What the incident is known by.
fn dedup_key(receiver: &str, group_key: &str, index: u32) -> String {
    match index {
        0 => format!("{receiver}/{group_key}"),
        _ => format!("{receiver}#{index}/{group_key}"),
    }
}

fn report_of(
    config: &OncallConfig,
    message: &Message<'_>,
    now: watchkeep_catalog::Time,
) -> Result<Report, Failure> {
    let payload = message.payload;
    let index = message.telling.integration.index;
    let dedup_key = dedup_key(&payload.receiver, &payload.group_key, index);
    if message.is_resolved() {
        let why = "every alert of the group is over".to_owned();
        return Ok(Report::Resolve { dedup_key, by: "watchkeep".to_owned(), why });
    }
    let alert = payload.common_labels.get("alertname");
    Ok(Report::Trigger(Finding {
        dedup_key,
        title: message.text(&config.title)?,
        alert: alert.cloned().unwrap_or_else(|| crate::incident::INCIDENT_REPORTED.to_owned()),
        severity: message.text(&config.severity)?,
        labels: payload.common_labels.clone(),
        details: payload.common_annotations.clone(),
        source: "alert".to_owned(),
        escalation: config.policy.clone(),
        started_at: payload.alerts.iter().filter_map(|a| a.starts_at).min().unwrap_or(now),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two policies of one receiver open two incidents.
    #[test]
    fn each_of_a_receivers_ways_has_a_key() {
        assert_eq!(dedup_key("ops", "{}:{}", 0), "ops/{}:{}");
        assert_eq!(dedup_key("ops", "{}:{}", 1), "ops#1/{}:{}");
    }
}
