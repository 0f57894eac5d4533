//! A probe's outcome as blackbox_exporter's page: its names, its labels, and nothing else.
//!
//! Which families are there depends on how far the probe came, and many are there from the beginning, as zero. What a
//! probe of ours tells beyond them is left out: a dashboard made for the exporter finds the same series.

use std::{collections::BTreeMap, fmt::Write};

use super::config::ProberKind;
use crate::probe::{Fact, Outcome};

/// A sample: name and labels, sorted.
type Key = (String, Vec<(String, String)>);

/// How far a probe came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The target or the settings were of no use: nothing was asked.
    Nothing,
    /// A name was looked up, at least.
    Asked,
}

/// What each prober shows from the beginning, as zero.
fn from_the_beginning(prober: ProberKind) -> &'static [(&'static str, &'static [&'static str])] {
    match prober {
        ProberKind::Http => &[
            ("probe_http_content_length", &[]),
            ("probe_http_uncompressed_body_length", &[]),
            ("probe_http_redirects", &[]),
            ("probe_http_ssl", &[]),
            ("probe_http_status_code", &[]),
            ("probe_http_version", &[]),
            ("probe_failed_due_to_regex", &[]),
        ],
        ProberKind::Tcp => &[("probe_failed_due_to_regex", &[])],
        ProberKind::Dns => &[
            ("probe_dns_duration_seconds", &["resolve", "connect", "request"]),
            ("probe_dns_answer_rrs", &[]),
            ("probe_dns_authority_rrs", &[]),
            ("probe_dns_additional_rrs", &[]),
            ("probe_dns_query_succeeded", &[]),
        ],
        ProberKind::Icmp => &[("probe_icmp_duration_seconds", &["resolve", "setup", "rtt"])],
        ProberKind::Grpc => &[
            ("probe_grpc_duration_seconds", &["resolve"]),
            ("probe_grpc_ssl", &[]),
            ("probe_grpc_status_code", &[]),
            ("probe_ssl_earliest_cert_expiry", &[]),
        ],
    }
}

/// What every prober shows once it has begun to look the target up.
const FROM_THE_LOOKUP: [&str; 3] =
    ["probe_dns_lookup_time_seconds", "probe_ip_protocol", "probe_ip_addr_hash"];

/// Everything else that may be shown, and the labels that are.
const MORE: &[(&str, &[&str])] = &[
    ("probe_http_duration_seconds", &["phase"]),
    ("probe_http_last_modified_timestamp_seconds", &[]),
    ("probe_failed_due_to_cel", &[]),
    ("probe_expect_info", &[]),
    ("probe_dns_serial", &[]),
    ("probe_icmp_reply_hop_limit", &[]),
    ("probe_grpc_healthcheck_response", &["serving_status"]),
    ("probe_grpc_duration_seconds", &["phase"]),
    ("probe_dns_duration_seconds", &["phase"]),
    ("probe_icmp_duration_seconds", &["phase"]),
    ("probe_ssl_earliest_cert_expiry", &[]),
    ("probe_ssl_last_chain_expiry_timestamp_seconds", &[]),
    (
        "probe_ssl_last_chain_info",
        &["fingerprint_sha256", "issuer", "subject", "subjectalternative"],
    ),
    ("probe_tls_version_info", &["version"]),
];

/// The samples of a page, in the order in which they are shown.
#[derive(Debug, Default)]
pub(super) struct Page(BTreeMap<Key, f64>);

impl Page {
    /// The page of an outcome.
    pub(super) fn new(prober: ProberKind, reach: Reach, outcome: &Outcome) -> Self {
        let mut page = Self::default();
        for (name, phases) in from_the_beginning(prober) {
            if phases.is_empty() {
                page.set(name, &[], 0.0);
            }
            for phase in *phases {
                page.set(name, &[("phase", phase)], 0.0);
            }
        }
        if reach == Reach::Asked {
            FROM_THE_LOOKUP.iter().for_each(|name| page.set(name, &[], 0.0));
        }
        // An HTTP target whose name is not found has but one phase.
        let found = outcome.facts.iter().any(|fact| fact.name == "probe_ip_protocol");
        if found && prober == ProberKind::Grpc {
            for status in ["NOT_SERVING", "SERVICE_UNKNOWN", "SERVING", "UNKNOWN"] {
                let labels = [("serving_status", status)];
                page.set("probe_grpc_healthcheck_response", &labels, 0.0);
            }
        }
        for fact in &outcome.facts {
            let resolves = || fact.labels.iter().any(|(_, phase)| phase == "resolve");
            if found || fact.name != "probe_http_duration_seconds" || resolves() {
                page.add(prober, fact);
            }
        }
        page.set("probe_success", &[], f64::from(u8::from(outcome.good)));
        page.set("probe_duration_seconds", &[], outcome.duration.as_secs_f64());
        page
    }

    fn add(&mut self, prober: ProberKind, fact: &Fact) {
        let name = &*fact.name;
        let first = from_the_beginning(prober)
            .iter()
            .any(|(known, phases)| *known == name && phases.is_empty());
        let labels: &[&str] = if first || FROM_THE_LOOKUP.contains(&name) {
            &[]
        } else {
            match MORE.iter().find(|(known, _)| *known == name) {
                Some((_, labels)) => labels,
                None => return,
            }
        };
        let own = fact.labels.iter().map(|(name, value)| (&**name, &**value));
        // What was matched in a dialogue has labels of the user's.
        let shown: Vec<_> = own
            .filter(|(label, _)| labels.contains(label) || name == "probe_expect_info")
            .collect();
        self.set(name, &shown, fact.value);
    }

    fn set(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut labels: Vec<_> =
            labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        labels.sort();
        self.0.insert((name.to_owned(), labels), value);
    }

    /// Prometheus text. All are gauges.
    pub(super) fn text(&self) -> String {
        let (mut text, mut family) = (String::with_capacity(2048), "");
        for ((name, labels), value) in &self.0 {
            if family != name {
                let _ = writeln!(text, "# TYPE {name} gauge");
                family = name;
            }
            text.push_str(name);
            for (at, (label, value)) in labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(text, "{before}{label}=\"{value}\"");
            }
            let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_what_was_there_from_the_beginning_and_what_was_found() {
        let mut outcome = Outcome::never("x");
        outcome.duration = Duration::from_millis(1500);
        let page = Page::new(ProberKind::Tcp, Reach::Nothing, &outcome).text();
        assert_eq!(
            page,
            "# TYPE probe_duration_seconds gauge\nprobe_duration_seconds 1.5\n\
             # TYPE probe_failed_due_to_regex gauge\nprobe_failed_due_to_regex 0\n\
             # TYPE probe_success gauge\nprobe_success 0\n"
        );
        let fact = |name: &'static str, labels: &[(&'static str, &str)], value| Fact {
            name: name.into(),
            labels: labels.iter().map(|(n, v)| ((*n).into(), (*v).to_owned().into())).collect(),
            value,
        };
        outcome.good = true;
        outcome.facts = vec![
            fact("probe_ip_protocol", &[], 4.0),
            fact("probe_tls_version_info", &[("version", "TLS \"1.3\"")], 1.0),
            fact("probe_of_our_own", &[], 7.0),
            fact("probe_ssl_last_chain_info", &[("serialnumber", "1"), ("issuer", "CN=a")], 1.0),
        ];
        let page = Page::new(ProberKind::Tcp, Reach::Asked, &outcome).text();
        for line in [
            "probe_ip_protocol 4",
            "probe_ip_addr_hash 0",
            "probe_tls_version_info{version=\"TLS \\\"1.3\\\"\"} 1",
            "probe_ssl_last_chain_info{issuer=\"CN=a\"} 1",
            "probe_success 1",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} in\n{page}");
        }
        assert!(!page.contains("probe_of_our_own"), "{page}");
    }
}
