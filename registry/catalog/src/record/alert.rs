//! Alerts, silences, and what was told of them: what Alertmanager keeps in memory and gossip, as records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Time;

/// The labels or annotations of an alert.
pub type LabelSet = BTreeMap<String, String>;

/// Who found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertSource {
    /// One of Watchkeep's own alerting rules.
    Rule,
    /// Somebody who posted it, such as a Prometheus.
    #[default]
    Api,
    /// A verdict on an instance.
    Verdict,
}

/// Something that is not as it should be, known by its labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// What it is about; they are its identity.
    pub labels: LabelSet,
    /// What there is to say of it.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub annotations: LabelSet,
    /// Since when it fires.
    pub starts_at: Time,
    /// When it is over, or will be if nobody says more; none: it fires until somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,
    /// When it was last heard of.
    pub updated_at: Time,
    /// Whether `ends_at` was not said by the sender, but follows from how long it was silent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timeout: bool,
    /// Where it comes from, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generator_url: String,
    /// Who found out.
    #[serde(default)]
    pub source: AlertSource,
}

impl Alert {
    /// Whether it is over at `now`.
    #[must_use]
    pub fn is_resolved(&self, now: Time) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// [`fingerprint`] of its labels.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }
}

/// Prometheus' fingerprint of a label set: FNV-1a, 64 bits, of each name and value in the order of names, with the
/// byte 255 behind each (`LabelSet.Fingerprint` in prometheus/common). Written as 16 hexadecimal digits.
#[must_use]
pub fn fingerprint(labels: &LabelSet) -> u64 {
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([255]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertMatcher {
    /// The label's name.
    pub name: String,
    /// A value, or a regular expression for the whole value.
    pub value: String,
    /// Whether `value` is a regular expression.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_regex: bool,
    /// False: the label must not be so.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// Alerts of which nobody is to be told for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSilence {
    /// Unique.
    pub id: String,
    /// All must hold of an alert.
    pub matchers: Vec<AlertMatcher>,
    /// From when.
    pub starts_at: Time,
    /// Until when.
    pub ends_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// Who asked for it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

impl AlertSilence {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn is_active(&self, now: Time) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

/// How far a notification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationState {
    /// Decided; it may be under way.
    Pending,
    /// The receiver took it, or there was nothing to send.
    Sent,
}

/// The latest notification of a group of alerts by one integration of a receiver. It is written before anything is
/// sent and again when it was taken, so that another leader goes on where this one ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    /// The group: route and the labels it groups by.
    pub group_key: String,
    /// The receiver.
    pub receiver: String,
    /// The integration's type: `webhook`, `email`, …
    pub integration: String,
    /// Its number among the receiver's integrations of that type.
    pub index: u32,
    /// Counts the notifications of this group by this integration.
    pub sequence: u64,
    /// The same for each attempt of the same notification.
    pub idempotency_key: String,
    /// How far it is.
    pub state: NotificationState,
    /// Fingerprints of the alerts that fire in it, in rising order.
    pub firing: Vec<u64>,
    /// Fingerprints of the alerts that are over in it, in rising order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<u64>,
    /// When it was decided.
    pub decided_at: Time,
    /// When it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// After this long without anything new the group is told of again, in seconds: whoever tidies up has to know.
    #[serde(default)]
    pub repeat_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_prometheus() {
        assert_eq!(format!("{:016x}", fingerprint(&LabelSet::new())), "cbf29ce484222325");
        let labels = LabelSet::from([("alertname".to_owned(), "Down".to_owned())]);
        let swapped = LabelSet::from([("Down".to_owned(), "alertname".to_owned())]);
        assert_ne!(fingerprint(&labels), fingerprint(&swapped));
    }

    #[test]
    fn an_alert_is_over_at_its_end() {
        let time = |s| Time::from_timestamp(s, 0).expect("in range");
        let json = r#"{"labels":{"alertname":"x"},"starts_at":"1970-01-01T00:00:10Z","updated_at":"1970-01-01T00:00:10Z"}"#;
        let mut alert: Alert = serde_json::from_str(json).expect("an alert");
        assert!(!alert.is_resolved(time(1_000_000)));
        alert.ends_at = Some(time(20));
        assert!(!alert.is_resolved(time(19)) && alert.is_resolved(time(20)));
    }

    #[test]
    fn a_matcher_is_equal_unless_it_says_no() {
        let matcher: AlertMatcher =
            serde_json::from_str(r#"{"name":"a","value":"b"}"#).expect("a matcher");
        assert!(matcher.is_equal && !matcher.is_regex);
        let json = serde_json::to_string(&matcher).expect("JSON");
        assert_eq!(json, r#"{"name":"a","value":"b"}"#);
        let no = AlertMatcher { is_equal: false, ..matcher };
        let json = serde_json::to_string(&no).expect("JSON");
        assert_eq!(json, r#"{"name":"a","value":"b","is_equal":false}"#);
    }
}
