//! Settings of on-call duty: people and how they want to be told, schedules, escalation policies, heartbeats.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::Invalid;

/// Somebody who can be on call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Unique among people and receivers.
    pub name: String,
    /// Where mail reaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where a webhook reaches them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// File with the secret that signs the webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<String>,
    /// File with the secret that is to follow: until then what is sent is signed with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_next_file: Option<String>,
    /// Which way first, and which after how long. By default every way at once.
    #[serde(default, skip_serializing_if = "Notify::is_empty")]
    pub notify: Notify,
}

/// How somebody wants to be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// Of what is urgent.
    pub urgent: Vec<NotifyRule>,
    /// Of what is not; empty: as of what is.
    pub not_urgent: Vec<NotifyRule>,
}

impl Notify {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.not_urgent.is_empty()
    }
}

/// A way to reach somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// By mail.
    Email,
    /// By a POST.
    Webhook,
}

impl Channel {
    /// As records write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

/// One way, after some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyRule {
    /// Which way.
    pub channel: Channel,
    /// So long after the person was called, unless somebody has taken the incident. 0 to 86,400.
    #[serde(default)]
    pub after_seconds: u32,
}

/// Who is on call when. Either one rotation (`handoff`, `start`, `rotation`) or `layers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Unique.
    pub name: String,
    /// IANA name; everything is read on this zone's wall clock.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Cron line: `second minute hour day month weekday [year]`, or a crontab line of five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<String>,
    /// The first in the rotation is on call from midnight of this day to the first hand-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<NaiveDate>,
    /// People, in turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rotation: Vec<String>,
    /// Where several say somebody, the last of them holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Schedule {
    /// Its layers; true where it is the short form with one.
    pub(crate) fn layers(&self) -> Result<(bool, Vec<Layer>), Vec<Invalid>> {
        let invalid = |path: &str, message: &str| Invalid {
            path: path.to_owned(),
            message: message.to_owned(),
        };
        let wrong = |path: &str, message: &str| vec![invalid(path, message)];
        let short = self.handoff.is_some() || self.start.is_some() || !self.rotation.is_empty();
        match (short, &self.handoff, self.start) {
            (true, _, _) if !self.layers.is_empty() => {
                Err(wrong("layers", "give layers, or handoff, start and rotation: not both"))
            }
            (true, Some(_), Some(start)) => Ok((
                true,
                vec![Layer {
                    name: "rotation".to_owned(),
                    handoff: self.handoff.clone(),
                    every: None,
                    start,
                    time: None,
                    end: None,
                    rotation: self.rotation.clone(),
                    restrictions: Vec::new(),
                }],
            )),
            (true, handoff, start) => {
                let mut missing = Vec::new();
                if handoff.is_none() {
                    missing.push(invalid("handoff", "missing: give a cron line, or use layers"));
                }
                if start.is_none() {
                    missing.push(invalid("start", "missing: give a date such as 2026-01-05"));
                }
                Err(missing)
            }
            (false, _, _) if self.layers.is_empty() => Err(wrong(
                "layers",
                "nobody is ever on call: give layers, or handoff, start and rotation",
            )),
            (false, _, _) => Ok((false, self.layers.clone())),
        }
    }
}

/// One rotation of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// For people; by default `layer 1`, and so on.
    #[serde(default)]
    pub name: String,
    /// Cron line of the hand-offs; or `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<String>,
    /// Length of a turn, from `start` at `time`; or `handoff`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Every>,
    /// Before this day the layer says nobody.
    pub start: NaiveDate,
    /// Time of the day at which turns of `every` begin: `09:30`. By default midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// From midnight of this day on it says nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<NaiveDate>,
    /// People, in turn.
    pub rotation: Vec<String>,
    /// It counts only then; by default always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restrictions: Vec<Restriction>,
}

/// Length of a turn: one of the three.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Every {
    /// Hours that pass, whatever the clock shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
    /// Days of the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// Weeks of the wall clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weeks: Option<u32>,
}

/// Hours of some weekdays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// `mon` to `sun`, the days on which it begins; by default all.
    #[serde(default)]
    pub days: Vec<String>,
    /// `09:00`, with it.
    #[serde(default = "midnight")]
    pub from: String,
    /// `17:00`, without it; when it is not later than `from`, of the next day.
    #[serde(default = "midnight")]
    pub to: String,
}

fn midnight() -> String {
    "00:00".to_owned()
}

/// People who are called together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Unique.
    pub name: String,
    /// Who.
    pub people: Vec<String>,
}

/// Who is called when, until somebody takes the incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EscalationPolicy {
    /// Unique.
    pub name: String,
    /// One after the other.
    pub steps: Vec<Step>,
    /// So many more times through the steps. 0 to 20.
    #[serde(default)]
    pub repeat: u32,
    /// Called once when the last step of the last round has waited in vain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_resort: Vec<Target>,
}

/// A step of an escalation policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Who is called.
    pub targets: Vec<Target>,
    /// How long it is waited for somebody to take the incident before the next step. 1 to 86,400.
    #[serde(default = "wait_seconds")]
    pub wait_seconds: u32,
    /// Of the targets one is called, the next one with each incident.
    #[serde(default)]
    pub round_robin: bool,
}

fn wait_seconds() -> u32 {
    300
}

/// Who is called: one of the four.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Target {
    /// Whoever is on call by it.
    Schedule(String),
    /// A person.
    Person(String),
    /// Everybody of a team.
    Team(String),
    /// A receiver, such as a webhook.
    Receiver(String),
}

/// Who is told of incidents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    /// The person on call by this schedule.
    pub schedule: Option<String>,
    /// Instead of `schedule`: as this policy says.
    pub escalation: Option<String>,
    /// These, always.
    pub receivers: Vec<String>,
    /// Severities that are urgent.
    pub urgent: Vec<String>,
    /// File with the secret that signs the links in mails; without it there are none.
    pub link_secret_file: Option<String>,
    /// A URL that is called again and again while all is well.
    pub dead_man_url: Option<String>,
    /// From one call of it to the next, 1 to 86,400.
    pub dead_man_interval_seconds: u32,
    /// Messages to one person by one way; what is more becomes one message. By default each is one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
}

/// So many messages in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// 1 to 1,000.
    pub messages: u32,
    /// 1 to 86,400.
    pub per_seconds: u32,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            schedule: None,
            escalation: None,
            receivers: Vec::new(),
            urgent: ["critical", "error", "page"].map(str::to_owned).to_vec(),
            link_secret_file: None,
            dead_man_url: None,
            dead_man_interval_seconds: 60,
            rate_limit: None,
        }
    }
}

/// Something that has to report by itself: `POST /v1/heartbeats/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatConfig {
    /// Unique.
    pub name: String,
    /// How often it comes. 1 to 2,678,400 (31 days).
    pub interval_seconds: u32,
    /// How much later it may come.
    #[serde(default)]
    pub grace_seconds: u32,
    /// How bad it is when it does not.
    #[serde(default = "critical")]
    pub severity: String,
    /// An escalation policy instead of the one of `pages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<String>,
}

/// A program that reports what it finds as PagerDuty's Events API v2 has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Integration {
    /// Unique.
    pub name: String,
    /// File with the key that stands in its events as `routing_key`.
    pub routing_key_file: String,
    /// An escalation policy instead of the one of `pages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<String>,
}

fn critical() -> String {
    "critical".to_owned()
}
