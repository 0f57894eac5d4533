//! `oncall_configs`: a group of alerts as an incident for whoever is on call. The incident is known by the group and the
//! receiver (and which of its `oncall_configs` it is), so the same group opens one, and its end resolves it. Without the
//! registry there is no incident: whoever would be called first is called once, and the incident is opened when it is back.

use watchkeep_catalog::Time;

use super::{
    config::OncallConfig,
    notify::{Failure, Message},
    shared::Shared,
};
use crate::{
    alone, clock,
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
        Err(error) => {
            if let (None, Report::Trigger(finding)) = (fence, &report) {
                alone::call(context, &message.telling.record.idempotency_key, finding, now).await;
            }
            Err(Failure::Again(error.to_string()))
        }
    }
}

/// What the incident is known by.
pub(super) fn dedup_key(receiver: &str, group_key: &str, index: u32) -> String {
    match index {
        0 => format!("{receiver}/{group_key}"),
        _ => format!("{receiver}#{index}/{group_key}"),
    }
}

fn report_of(config: &OncallConfig, message: &Message<'_>, now: Time) -> Result<Report, Failure> {
    let payload = message.payload;
    let index = message.telling.integration.index;
    let dedup_key = dedup_key(&payload.receiver, &payload.group_key, index);
    if message.is_resolved() {
        let why = "every alert of the group is over".to_owned();
        return Ok(Report::Resolve { dedup_key, by: "watchkeep".to_owned(), why });
    }
    let alert = payload.common_labels.get("alertname");
    let mut details = payload.common_annotations.clone();
    if let Some(query) = payload.alerts.iter().find_map(|alert| expression(&alert.generator_url)) {
        details.entry("query".to_owned()).or_insert(query);
    }
    Ok(Report::Trigger(Finding {
        dedup_key,
        title: message.text(&config.title)?.trim().to_owned(),
        alert: alert.cloned().unwrap_or_else(|| crate::incident::INCIDENT_REPORTED.to_owned()),
        severity: message.text(&config.severity)?,
        labels: payload.common_labels.clone(),
        details,
        source: "alert".to_owned(),
        escalation: config.policy.clone(),
        started_at: payload.alerts.iter().filter_map(|a| a.starts_at).min().unwrap_or(now),
    }))
}

/// The expression of a rule, as Prometheus links to it: `…/graph?g0.expr=up+%3D%3D+0&g0.tab=1`.
fn expression(generator_url: &str) -> Option<String> {
    let url = url::Url::parse(generator_url).ok()?;
    let mut pairs = url.query_pairs();
    pairs.find(|(name, _)| name == "g0.expr").map(|(_, expr)| expr.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alertmanager::{fixtures::shared_with, notify::tests::sink},
        fixtures::time,
    };

    #[tokio::test]
    async fn without_the_registry_the_first_is_called_once() {
        let (url, seen) = sink(axum::http::StatusCode::OK).await;
        let config = serde_json::json!({
            "people": [{"name": "alice", "webhook": format!("{url}/alice")},
                       {"name": "bob", "webhook": format!("{url}/bob")}],
            "escalations": [{"name": "db", "steps": [{"targets": [{"person": "alice"}]},
                                                     {"targets": [{"person": "bob"}]}]}],
        });
        let yaml = "{route: {receiver: r}, receivers: [{name: r, oncall_configs: [{policy: db}]}]}";
        let shared = shared_with(yaml, &serde_json::from_value(config).unwrap());
        let finding = Finding {
            dedup_key: "r/{}:{}".to_owned(),
            title: "it burns".to_owned(),
            alert: "Fire".to_owned(),
            severity: "critical".to_owned(),
            labels: std::collections::BTreeMap::new(),
            details: std::collections::BTreeMap::new(),
            source: "alert".to_owned(),
            escalation: Some("db".to_owned()),
            started_at: time(0),
        };
        for _ in 0..2 {
            assert!(alone::call(&shared.context, "key-1", &finding, time(1)).await);
        }
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let [(at, _, body)] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!(at, "/alice");
        let summary = body["commonAnnotations"]["summary"].as_str().unwrap();
        assert_eq!(summary, "it burns (the registry is lost, you may be told twice)");
    }

    /// Two policies of one receiver open two incidents.
    #[test]
    fn each_of_a_receivers_ways_has_a_key() {
        assert_eq!(dedup_key("ops", "{}:{}", 0), "ops/{}:{}");
        assert_eq!(dedup_key("ops", "{}:{}", 1), "ops#1/{}:{}");
    }

    #[test]
    fn the_expression_behind_an_alert() {
        for (url, expr) in [
            ("http://p:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1", Some("up == 0")),
            ("http://p:9090/graph?g0.tab=1", None),
            ("", None),
        ] {
            assert_eq!(expression(url).as_deref(), expr);
        }
    }
}
