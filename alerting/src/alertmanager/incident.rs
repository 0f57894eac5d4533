//! `oncall_configs`: a group of alerts as an incident for whoever is on call. The incident is known by the group and the
//! receiver, so the same group opens one, and its end resolves it.

use super::{
    config::OncallConfig,
    notify::{Failure, Message},
    shared::Shared,
};
use crate::{
    clock,
    incident::{Finding, Report, report as enter},
};

/// Opens, or brings up to date, or resolves.
pub(super) async fn report(
    shared: &Shared,
    config: &OncallConfig,
    message: &Message<'_>,
) -> Result<(), Failure> {
    let now = clock::now();
    let report = report_of(config, message, now)?;
    let context = &shared.context;
    match enter(&context.client, &context.rules, None, &report, now).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Again(error.to_string())),
    }
}

fn report_of(
    config: &OncallConfig,
    message: &Message<'_>,
    now: watchkeep_catalog::Time,
) -> Result<Report, Failure> {
    let payload = message.payload;
    let dedup_key = format!("{}/{}", payload.receiver, payload.group_key);
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
