//! Steps of failover policies as they are written: what each does, and what happens when it fails.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use watchkeep_catalog::Status;

use super::ZoneRule;

/// One step: a name, what is done if it fails, and exactly one thing to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailoverStepConfig {
    /// Unique in the policy; by default its kind, with a number where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What happens when it fails; by default `page`, and `go_on` for `wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// A URL is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// A candidate is chosen for a promotion later on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choose: Option<Promote>,
    /// A role is given to the candidate; one is chosen, where that has not been done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,
    /// An instance is left out of answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Whom>,
    /// It is not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undrain: Option<Whom>,
    /// A URL is asked for more instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// A local program is run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Until something is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Condition>,
    /// Whether something becomes so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Condition>,
    /// Somebody is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<PageStep>,
}

/// What happens when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The promotion before it takes another candidate.
    NextCandidate,
    /// What was done is undone, and somebody is told.
    RollBack,
    /// Somebody is told.
    Page,
    /// Nothing: the next step.
    GoOn,
}

/// Which instance gets a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// The role.
    #[serde(default = "primary")]
    pub role: String,
    /// The role of whoever had it.
    #[serde(default = "standby")]
    pub demote_to: String,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneRule>,
    /// Only with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only with this role now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_role: Option<String>,
    /// PromQL; of the series with the label `instance`, the best comes first. Else the greatest `weight` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What is best.
    #[serde(default)]
    pub prefer: Prefer,
}

fn primary() -> String {
    "primary".to_owned()
}
fn standby() -> String {
    "standby".to_owned()
}

/// What is best.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The least: lag.
    #[default]
    Lowest,
    /// The most: position in the log.
    Highest,
}

/// An instance: `failed`, `candidate`, or an id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// Which.
    #[serde(default = "failed")]
    pub instance: String,
}

fn failed() -> String {
    "failed".to_owned()
}

/// A request for more instances.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// So many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// So many more than are registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<u32>,
    /// Who is asked.
    pub callback: Callback,
}

/// A program out of `failover_scripts.dir`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Its file name.
    pub command: String,
    /// Arguments; `$SERVICE`, `$INSTANCE` and `$CANDIDATE` are filled in.
    #[serde(default)]
    pub args: Vec<String>,
    /// More of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Longest that it may take. 100 to 3,600,000.
    #[serde(default = "script_timeout_ms")]
    pub timeout_ms: u64,
    /// It may be run again by the next leader when it is not known whether it ran. Else that fails the step.
    #[serde(default)]
    pub idempotent: bool,
}

fn script_timeout_ms() -> u64 {
    30_000
}

/// Where the scripts of failovers are; none is run without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverScripts {
    /// The folder.
    pub dir: PathBuf,
}

/// Something that is to be so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// PromQL that has a series in its answer, or a number other than 0 and NaN; `$SERVICE`, `$INSTANCE` and `$CANDIDATE` are
    /// filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promql: Option<String>,
    /// A verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictIs>,
    /// How long it may take. 1 to 86,400.
    #[serde(default = "within_seconds")]
    pub within_seconds: u32,
    /// Between two looks. 50 to 60,000.
    #[serde(default = "every_ms")]
    pub every_ms: u64,
}

fn within_seconds() -> u32 {
    60
}
fn every_ms() -> u64 {
    1_000
}

/// A verdict that is to be so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerdictIs {
    /// The service; by default the failover's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `candidate`, `failed`, or an id.
    #[serde(default = "candidate")]
    pub instance: String,
    /// What it is to be.
    #[serde(default = "passing")]
    pub status: Status,
}

fn candidate() -> String {
    "candidate".to_owned()
}
fn passing() -> Status {
    Status::Passing
}

/// What is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageStep {
    /// In words.
    pub text: String,
}

/// A URL that is called, again and again until it answers as expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// `http://` or `https://`.
    pub url: String,
    /// File with the secret that signs the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// File with the secret that is to follow: until then what is sent is signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_next_file: Option<String>,
    /// Longest wait for one answer. 10 to 60,000.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Attempts until it is given up and a page goes out. 1 to 100.
    #[serde(default = "attempts_max")]
    pub attempts_max: u32,
    /// Pause after the first failed attempt; it doubles up to 30 s. 10 to 30,000.
    #[serde(default = "backoff_ms")]
    pub backoff_ms: u64,
    /// No attempt is begun so long after the step was. 1 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<u32>,
    /// What it is to answer; by default any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Called with the same body and `"undo": true` when the failover is rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo_url: Option<String>,
}

fn timeout_ms() -> u64 {
    2_000
}
fn attempts_max() -> u32 {
    10
}
fn backoff_ms() -> u64 {
    200
}

/// An answer as it should be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// One of these; empty: any 2xx.
    pub status: Vec<u16>,
    /// A regular expression that is found in the first 64 KiB of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}
