//! What a notification says, before anybody's template: Alertmanager's data, and its webhook's JSON. Pure.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/notifications/> and, for the JSON, version 4 of
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>.

use serde::Serialize;
use watchkeep_catalog::{LabelSet, Time};

use super::tell::{Shown, Telling};

/// What Alertmanager writes for an alert that has not ended.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// All of a notification.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Payload {
    pub(crate) receiver: String,
    pub(crate) status: &'static str,
    pub(crate) alerts: Vec<PayloadAlert>,
    pub(crate) group_labels: LabelSet,
    pub(crate) common_labels: LabelSet,
    pub(crate) common_annotations: LabelSet,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
    pub(crate) version: &'static str,
    pub(crate) group_key: String,
    pub(crate) truncated_alerts: u64,
    /// Set where the registry is lost, and this node tells what it knows.
    #[serde(rename = "watchkeep_notice", skip_serializing_if = "Option::is_none")]
    pub(crate) watchkeep_notice: Option<String>,
}

/// One alert of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PayloadAlert {
    pub(crate) status: &'static str,
    pub(crate) labels: LabelSet,
    pub(crate) annotations: LabelSet,
    #[serde(serialize_with = "instant")]
    pub(crate) starts_at: Option<Time>,
    #[serde(serialize_with = "instant")]
    pub(crate) ends_at: Option<Time>,
    #[serde(rename = "generatorURL")]
    pub(crate) generator_url: String,
    pub(crate) fingerprint: String,
}

fn instant<S: serde::Serializer>(at: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.serialize_str(&show(*at)),
        None => serializer.serialize_str(NO_END),
    }
}

/// As Go writes it: as many digits behind the point as it takes.
pub(crate) fn show(at: Time) -> String {
    let text = at.format("%Y-%m-%dT%H:%M:%S%.9f").to_string();
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The word for it.
pub(crate) fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

impl Payload {
    /// Says all of `telling`.
    pub(crate) fn new(telling: &Telling, external_url: &str, notice: Option<&str>) -> Self {
        let all = &telling.alerts;
        let mut common_annotations = common(all.iter().map(|s| &s.alert.annotations));
        if let Some(notice) = notice {
            common_annotations.insert("watchkeep_notice".to_owned(), notice.to_owned());
        }
        Self {
            receiver: telling.integration.receiver.clone(),
            status: status(all.iter().all(|shown| shown.resolved)),
            alerts: all.iter().map(alert).collect(),
            group_labels: telling.labels.clone(),
            common_labels: common(all.iter().map(|shown| &shown.alert.labels)),
            common_annotations,
            external_url: external_url.to_owned(),
            version: "4",
            group_key: telling.record.group_key.clone(),
            truncated_alerts: 0,
            watchkeep_notice: notice.map(str::to_owned),
        }
    }

    /// At most `most` alerts; 0: all.
    pub(crate) fn truncate(&mut self, most: u64) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if most > 0 && self.alerts.len() > most {
            self.truncated_alerts += (self.alerts.len() - most) as u64;
            self.alerts.truncate(most);
        }
    }

    /// Half of the alerts, those that fire first, and a word on how many are left out; false when there is but one.
    pub(crate) fn halve(&mut self) -> bool {
        if self.alerts.len() < 2 {
            return false;
        }
        let firing = status(false);
        self.alerts.sort_by_key(|alert| alert.status != firing);
        self.truncate(self.alerts.len() as u64 / 2);
        let text = format!("{} more alerts are left out here", self.truncated_alerts);
        self.common_annotations.insert("watchkeep_truncated".to_owned(), text);
        true
    }
}

fn alert(shown: &Shown) -> PayloadAlert {
    let alert = &shown.alert;
    PayloadAlert {
        status: status(shown.resolved),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at: Some(alert.starts_at),
        ends_at: alert.ends_at.filter(|_| shown.resolved),
        generator_url: alert.generator_url.clone(),
        fingerprint: format!("{:016x}", shown.fingerprint),
    }
}

/// What is the same in all of them.
fn common<'a>(mut all: impl Iterator<Item = &'a LabelSet>) -> LabelSet {
    let Some(mut common) = all.next().cloned() else { return LabelSet::new() };
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_writes_them() {
        for (text, shown) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            ("2024-01-02T03:04:05.120Z", "2024-01-02T03:04:05.12Z"),
            ("2024-01-02T03:04:05.000000001Z", "2024-01-02T03:04:05.000000001Z"),
        ] {
            assert_eq!(show(text.parse().unwrap()), shown);
        }
    }

    #[test]
    fn halves_have_what_fires_first() {
        use crate::alertmanager::fixtures;
        let mut payload = Payload {
            receiver: "r".to_owned(),
            status: "firing",
            alerts: Vec::new(),
            group_labels: LabelSet::new(),
            common_labels: LabelSet::new(),
            common_annotations: LabelSet::new(),
            external_url: String::new(),
            version: "4",
            group_key: "{}:{}".to_owned(),
            truncated_alerts: 0,
            watchkeep_notice: None,
        };
        for name in ["a", "b", "c", "d", "e"] {
            let alert = fixtures::alert(&[("name", name)], 0, Some(60));
            let fingerprint = alert.fingerprint();
            let resolved = name < "d";
            let shown = Shown { fingerprint, alert: std::sync::Arc::new(alert), resolved };
            payload.alerts.push(super::alert(&shown));
        }
        let left = |payload: &Payload| -> String {
            payload.alerts.iter().map(|alert| alert.labels["name"].as_str()).collect()
        };
        assert!(payload.halve());
        assert_eq!((left(&payload).as_str(), payload.truncated_alerts), ("de", 3));
        assert!(payload.halve() && !payload.halve());
        assert_eq!((left(&payload).as_str(), payload.truncated_alerts), ("d", 4));
        assert!(payload.common_annotations["watchkeep_truncated"].starts_with("4 more"));
    }

    #[test]
    fn what_all_have() {
        let set = |pairs: &[(&str, &str)]| -> LabelSet {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let (a, b) = (set(&[("a", "1"), ("b", "2")]), set(&[("a", "1"), ("b", "3"), ("c", "4")]));
        assert_eq!(common([&a, &b].into_iter()), set(&[("a", "1")]));
        assert_eq!(common(std::iter::empty()), set(&[]));
    }
}
