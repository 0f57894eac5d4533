//! Alertmanager's webhook JSON, version 4: what receivers made for Alertmanager already read. Pure.
//!
//! Source: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>. One incident is one
//! group with one alert; many that are told together are one group.

use std::collections::BTreeMap;

use serde::Serialize;
use watchkeep_catalog::{Incident, Page, PageKind};

use super::{facts, message};

/// What Alertmanager writes for an alert that has not ended.
const NO_END: &str = "0001-01-01T00:00:00Z";

type Labels = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    version: &'a str,
    group_key: String,
    truncated_alerts: u32,
    status: &'a str,
    receiver: &'a str,
    group_labels: &'a Labels,
    common_labels: &'a Labels,
    common_annotations: &'a Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Alert<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'a str,
    labels: &'a Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// The body of a page.
pub(super) fn body(url: &str, incident: &Incident, page: &Page) -> Vec<u8> {
    let group_labels: Labels = ["alertname", "service", "instance"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), incident.labels.get(name)?.clone())))
        .collect();
    write(&Body {
        version: "4",
        group_key: group_key(&group_labels),
        truncated_alerts: 0,
        status: status(page),
        receiver: &page.receiver,
        group_labels: &group_labels,
        common_labels: &incident.labels,
        common_annotations: &annotations(url, incident, page),
        external_url: url,
        alerts: vec![alert(url, incident, page)],
    })
}

/// Pages of several incidents as one group, whose only label is the message's own name.
pub(super) fn body_of_many(url: &str, summary: &str, pages: &[(&Incident, &Page)]) -> Vec<u8> {
    let group_labels = Labels::from([("summary".to_owned(), summary.to_owned())]);
    let all_over = pages.iter().all(|(_, page)| page.kind == PageKind::Resolved);
    write(&Body {
        version: "4",
        group_key: group_key(&group_labels),
        truncated_alerts: 0,
        status: if all_over { "resolved" } else { "firing" },
        receiver: pages.first().map_or("", |(_, page)| page.receiver.as_str()),
        group_labels: &group_labels,
        common_labels: &Labels::new(),
        common_annotations: &Labels::new(),
        external_url: url,
        alerts: pages.iter().map(|(incident, page)| alert(url, incident, page)).collect(),
    })
}

fn write(body: &Body<'_>) -> Vec<u8> {
    // Strings and maps of strings always have a JSON form.
    serde_json::to_vec(body).unwrap_or_default()
}

fn status(page: &Page) -> &'static str {
    match page.kind {
        PageKind::Firing => "firing",
        PageKind::Resolved => "resolved",
    }
}

fn annotations(url: &str, incident: &Incident, page: &Page) -> Labels {
    let mut all: Labels = incident.details.clone();
    all.insert("summary".to_owned(), message::summary(incident, page));
    all.insert("description".to_owned(), message::description(incident, page));
    all.extend(facts::runbook_url(url, incident).map(|page| ("runbook_url".to_owned(), page)));
    all
}

fn alert<'a>(url: &str, incident: &'a Incident, page: &Page) -> Alert<'a> {
    let ended = incident.resolved_at.filter(|_| page.kind == PageKind::Resolved);
    Alert {
        status: status(page),
        labels: &incident.labels,
        annotations: annotations(url, incident, page),
        starts_at: crate::text::instant(incident.started_at),
        ends_at: ended.map_or_else(|| NO_END.to_owned(), crate::text::instant),
        generator_url: facts::incident_url(url, incident),
        fingerprint: fingerprint(&incident.labels),
    }
}

/// As Alertmanager writes it: `{}:{alertname="x", service="y"}`.
fn group_key(labels: &Labels) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{}}:{{{}}}", pairs.join(", "))
}

/// Prometheus' fingerprint of a label set: FNV-1a, 64 bits, of each name and value with 255 behind it
/// (`LabelSet.Fingerprint` in prometheus/common).
fn fingerprint(labels: &Labels) -> String {
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([255]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{opened_incident, time},
        incident,
    };

    #[test]
    fn is_alertmanagers_version_4() {
        let mut incident = opened_incident();
        let url = "http://127.0.0.1:8480";
        let firing: serde_json::Value =
            serde_json::from_slice(&body(url, &incident, &incident.pages[2])).unwrap();
        insta::assert_snapshot!("firing", serde_json::to_string_pretty(&firing).unwrap());
        incident::resolve(&mut incident, "bob", "resolved", time(60)).unwrap();
        let page = incident.pages.iter().find(|page| page.id == "resolved.ops.webhook").unwrap();
        let resolved: serde_json::Value =
            serde_json::from_slice(&body(url, &incident, page)).unwrap();
        insta::assert_snapshot!("resolved", serde_json::to_string_pretty(&resolved).unwrap());
    }
}
