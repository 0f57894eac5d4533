//! Alerting's settings: plain serde shapes. What is wrong with them is said in [`AlertingConfig::validate`],
//! before anything starts. No secret is in here, only the names of files that hold one.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use watchkeep_catalog::{Maintenance, Quorum};

use crate::rule::{Origin, RuleSettings, parse_duration};
use crate::source::DataSourceConfig;

mod duty;
mod failover;
mod secret;
#[cfg(test)]
mod tests;
mod validate;
mod validate_duty;
mod validate_failover;

pub use duty::{
    Channel, EscalationPolicy, Every, HeartbeatConfig, Integration, Layer, Notify, NotifyRule,
    Pages, Person, RateLimit, Restriction, Schedule, Step, Target, Team,
};
pub use failover::{
    BurnRate, Callback, Condition, Expect, FailoverPolicy, FailoverScripts, FailoverStepConfig,
    Guards, Hooks, OnFailure, PageStep, Prefer, Promote, Scale, Script, VerdictIs, When, Whom,
    ZoneRule,
};
pub(crate) use secret::{Keys, Secret};
pub(crate) use validate::undefined;

/// Rules that come with the program: name and text.
const SHIPPED_RULES: [(&str, &str); 1] =
    [("shipped/watchkeep.yml", include_str!("../rules/watchkeep.yml"))];

/// Where the files of rules that come with the program say that runbooks are.
const RUNBOOKS_OF_FILES: &str = "runbook_url: http://127.0.0.1:8480/runbooks/";

/// A shipped rule file whose links lead to the runbooks at `url`, an address that people reach.
#[must_use]
pub fn lead_to(url: &str, rules: &str) -> String {
    let url = url.trim_end_matches('/');
    rules.replace(RUNBOOKS_OF_FILES, &format!("runbook_url: {url}/runbooks/"))
}

/// What is recorded of every service's promise where a Prometheus evaluates the alerts on it. Nothing here asks for that.
const SLO_RECORDS: &str = include_str!("../rules/slo-records.yml");

/// The groups of rules that record and watch what every service promises, as they stand in a rule file.
#[must_use]
pub fn slo_rules() -> String {
    let [(_, text)] = SHIPPED_RULES;
    let begin = text.find("  - name: watchkeep-slo\n").unwrap_or_default();
    let group = &text[begin..];
    let end = group[1..].find("  - name: ").map_or(group.len(), |at| at + 1);
    format!("{SLO_RECORDS}{}", &group[..end])
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Where: `pages.receivers[0]`, relative to the room.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Settings of the alerting room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlertingConfig {
    /// How long a leader that fell silent still holds its office. 2 to 60.
    pub lease_ttl_seconds: i64,
    /// The mail server; needed when anybody is to be told by e-mail.
    pub smtp: Option<SmtpConfig>,
    /// Who can be on call.
    pub people: Vec<Person>,
    /// Who else can be told.
    pub receivers: Vec<Receiver>,
    /// Who is on call when.
    pub schedules: Vec<Schedule>,
    /// People who are called together.
    pub teams: Vec<Team>,
    /// Who is called when, until somebody takes the incident.
    pub escalations: Vec<EscalationPolicy>,
    /// Who is told of incidents.
    pub pages: Pages,
    /// Signs of life that are missed when they do not come.
    pub heartbeats: Vec<HeartbeatConfig>,
    /// Programs that report by `POST /v2/enqueue`.
    pub integrations: Vec<Integration>,
    /// What is done about a fault: of the policies that a verdict triggers, the first that matches.
    pub failover: Vec<FailoverPolicy>,
    /// Whether failovers happen at all.
    pub failover_enabled: bool,
    /// The programs that a failover may run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover_scripts: Option<FailoverScripts>,
    /// How long a drain waits for an instance that is not registered any more. 0: for ever; at most 8760.
    pub drain_retention_hours: u32,
    /// How many opinions make a check critical, where the service does not say so itself.
    pub quorum: Quorum,
    /// Opinions without which a majority decides nothing; fewer, where fewer collectors are alive. 1 to 100.
    pub opinions_min: u32,
    /// When more than this share of a service's instances seems critical at once, none of them is believed to be. 0: never.
    pub panic_threshold_percent: u8,
    /// Only services with at least so many probed instances panic. 2 to 1,000,000.
    pub panic_instances_min: u32,
    /// When something is allowed to be broken.
    pub maintenance: Vec<Maintenance>,
    /// Who is asked for samples and takes recorded ones; none: the embedded series store.
    pub data_source: Option<DataSourceConfig>,
    /// Prometheus rule files: names and globs, relative to the directory of this file.
    pub rule_files: Vec<String>,
    /// Between evaluations of rule groups that name no interval: `15s`, `1m`.
    pub evaluation_interval: String,
    /// Rules ask for the time so much before they are evaluated, where their group does not say otherwise.
    pub rule_query_offset: String,
    /// `$externalLabels` of the rules' templates.
    pub external_labels: BTreeMap<String, String>,
    /// `$externalURL` of the rules' templates; empty: this node's URL.
    pub external_url: String,
    /// Whether the rules that come with Watchkeep, about Watchkeep, are evaluated too.
    pub shipped_rules: bool,
    /// An `alertmanager.yml`: the node is an Alertmanager, too. Flag `--config.file`.
    pub alertmanager_config: Option<PathBuf>,
}

impl Default for AlertingConfig {
    fn default() -> Self {
        Self {
            lease_ttl_seconds: 3,
            smtp: None,
            people: Vec::new(),
            receivers: Vec::new(),
            schedules: Vec::new(),
            teams: Vec::new(),
            escalations: Vec::new(),
            heartbeats: Vec::new(),
            integrations: Vec::new(),
            pages: Pages::default(),
            failover: Vec::new(),
            failover_enabled: true,
            failover_scripts: None,
            drain_retention_hours: 720,
            quorum: Quorum::Majority,
            opinions_min: 2,
            panic_threshold_percent: 40,
            panic_instances_min: 5,
            maintenance: Vec::new(),
            data_source: None,
            rule_files: Vec::new(),
            evaluation_interval: "1m".to_owned(),
            rule_query_offset: "0s".to_owned(),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
            shipped_rules: true,
            alertmanager_config: None,
        }
    }
}

impl AlertingConfig {
    /// Where the rules come from, with `base` as the directory that relative names are meant from. What is wrong with
    /// the durations is said by [`Self::validate`].
    #[must_use]
    pub fn rule_settings(&self, base: &Path) -> RuleSettings {
        let duration = |text: &str, or: Duration| parse_duration(text).unwrap_or(or);
        let shipped = SHIPPED_RULES.map(|(name, text)| (name.to_owned(), text.to_owned()));
        RuleSettings {
            origin: Origin {
                patterns: self.rule_files.clone(),
                base: base.to_owned(),
                shipped: if self.shipped_rules { shipped.to_vec() } else { Vec::new() },
                interval: duration(&self.evaluation_interval, Duration::from_mins(1)),
            },
            external_labels: self.external_labels.clone(),
            external_url: self.external_url.clone(),
            query_offset: duration(&self.rule_query_offset, Duration::ZERO),
            // Where there is an Alertmanager's file, its routes say who is told.
            opens_incidents: self.alertmanager_config.is_none(),
        }
    }
}

/// How the mail server is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// In the clear.
    #[default]
    None,
    /// In the clear at first, then TLS; refused when the server does not offer it.
    Starttls,
    /// TLS from the first byte.
    Tls,
}

/// The mail server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// Host name or address; with TLS, the name in its certificate.
    pub host: String,
    /// Port; usually 25 (`none`), 587 (`starttls`) or 465 (`tls`).
    #[serde(default = "smtp_port")]
    pub port: u16,
    /// With or without TLS.
    #[serde(default)]
    pub tls: SmtpTls,
    /// PEM file of the authority behind its certificate; without it the public roots hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// User, when it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with the user's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The sender: `watchkeep@example.org` or `Watchkeep <watchkeep@example.org>`.
    pub from: String,
}

fn smtp_port() -> u16 {
    25
}

/// A place that is told of incidents whoever is on call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Unique among people and receivers.
    pub name: String,
    /// A mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// A URL that takes Alertmanager's version 4 JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// File with the secret that signs the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// File with the secret that is to follow: until then what is sent is signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_next_file: Option<String>,
}
