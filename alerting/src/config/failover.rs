//! Failover policies as they are written: when, how much by itself, held by what. In which steps is in `step`.

use serde::{Deserialize, Serialize};
use watchkeep_catalog::{FailoverMode, Status};

use super::Restriction;

mod step;

pub use step::{
    Callback, Condition, Expect, FailoverScripts, FailoverStepConfig, OnFailure, PageStep, Prefer,
    Promote, Scale, Script, VerdictIs, Whom,
};

/// When to fail over, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailoverPolicy {
    /// Unique.
    pub name: String,
    /// What triggers it.
    pub when: When,
    /// How much it may do by itself; by default `observe`, and `automatic` where there is only a `callback`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<FailoverMode>,
    /// The trigger must last so long before anything is decided. 0 to 86,400.
    #[serde(default)]
    pub confirm_seconds: u32,
    /// How long a person has to confirm it. 30 to 86,400.
    #[serde(default = "approval_seconds")]
    pub approval_seconds: u32,
    /// What holds it.
    #[serde(default)]
    pub guards: Guards,
    /// URLs that are called before the first step and behind the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Hooks>,
    /// Shorthand for one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<Callback>,
    /// What is done, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<FailoverStepConfig>,
}

fn approval_seconds() -> u32 {
    900
}

impl FailoverPolicy {
    /// Stands in for one that is not configured any more.
    pub(crate) fn gone() -> Self {
        Self {
            name: String::new(),
            when: When {
                service: None,
                role: None,
                instance: None,
                tag: None,
                status: Status::Critical,
                alert: Vec::new(),
                burn_rate: None,
            },
            mode: None,
            confirm_seconds: 0,
            approval_seconds: 0,
            guards: Guards::default(),
            hooks: None,
            callback: None,
            steps: Vec::new(),
        }
    }

    /// How much it may do by itself.
    #[must_use]
    pub fn mode(&self) -> FailoverMode {
        let otherwise =
            if self.steps.is_empty() { FailoverMode::Automatic } else { FailoverMode::Observe };
        self.mode.unwrap_or(otherwise)
    }

    /// Whether it acts in the very transaction that decides on its trigger: one callback, no guard of its own, nothing to
    /// wait for. What is in maintenance has no verdict, but alerts and burn rates know nothing of it: those are asked first.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.steps.is_empty()
            && self.when.is_verdict()
            && self.hooks.is_none()
            && self.mode() == FailoverMode::Automatic
            && self.confirm_seconds == 0
            && self.guards == Guards::default()
    }

    /// Whether no other failover of the service may run.
    #[must_use]
    pub fn one_at_a_time(&self) -> bool {
        self.guards.one_at_a_time.unwrap_or(!self.steps.is_empty())
    }

    /// Everything that is called by HTTP.
    pub(crate) fn callbacks(&self) -> impl Iterator<Item = (String, &Callback)> {
        let hooks = self.hooks.iter().flat_map(|hooks| {
            let before = hooks.before.as_ref().map(|call| ("hooks.before".to_owned(), call));
            before.into_iter().chain(hooks.after.as_ref().map(|c| ("hooks.after".to_owned(), c)))
        });
        let own = self.callback.iter().map(|call| ("callback".to_owned(), call));
        let steps = self.steps.iter().enumerate().flat_map(|(at, step)| {
            let scale =
                step.scale.as_ref().map(|s| (format!("steps[{at}].scale.callback"), &s.callback));
            let call = step.callback.as_ref().map(|c| (format!("steps[{at}].callback"), c));
            call.into_iter().chain(scale)
        });
        own.chain(hooks).chain(steps)
    }
}

impl FailoverPolicy {
    /// The same, to be changed.
    pub(crate) fn callbacks_mut(&mut self) -> impl Iterator<Item = &mut Callback> {
        let hooks = self.hooks.iter_mut();
        let hooks = hooks.flat_map(|hooks| hooks.before.iter_mut().chain(hooks.after.iter_mut()));
        let steps = self.steps.iter_mut().flat_map(|step| {
            step.callback.iter_mut().chain(step.scale.iter_mut().map(|scale| &mut scale.callback))
        });
        self.callback.iter_mut().chain(hooks).chain(steps)
    }
}

/// What triggers a policy: a verdict (with what must be so of the instance), an alert, or a burn rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Its service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// One of its tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The verdict; only `critical` fails over.
    #[serde(default = "critical")]
    pub status: Status,
    /// Matchers of a firing alert: `alertname="DiskFull"`. All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alert: Vec<String>,
    /// How fast the service's error budget burns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn_rate: Option<BurnRate>,
}

fn critical() -> Status {
    Status::Critical
}

impl When {
    /// Whether a verdict triggers it.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        self.alert.is_empty() && self.burn_rate.is_none()
    }
}

/// So many times as fast as would use up the budget exactly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnRate {
    /// Above it. 14.4 over an hour uses up 2 % of a month's budget.
    pub above: f64,
    /// Over this time.
    #[serde(default = "hour")]
    pub window: String,
    /// The share of probes that is promised to succeed; by default the service's, or the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
}

fn hour() -> String {
    "1h".to_owned()
}

/// What holds a failover. All that are set must let it pass; the kill switch, maintenance, belief, and what is not set here but
/// has a default, always count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// So many other instances of the service must pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_healthy: Option<u32>,
    /// At most this share of the service's instances is acted on within an hour. 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_share_percent: Option<u8>,
    /// So long after a failover of the service there is no other. At most 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_seconds: Option<u32>,
    /// So many failovers of this policy in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_per_hour: Option<u32>,
    /// So many collectors must find it critical; without an instance, be alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// Only then; empty: always.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time_windows: Vec<Restriction>,
    /// The zone on whose clock the windows are read; UTC when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// There must be a passing instance in the same zone, or in another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneRule>,
    /// Only for an instance that has passed since it was registered.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_passed: bool,
    /// Not while another failover of the service runs; by default so for policies with steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_at_a_time: Option<bool>,
}

/// Where, seen from the instance that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneRule {
    /// In its zone.
    Same,
    /// In another.
    Other,
}

/// URLs around the steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Before the first step; when it fails, no step is begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Callback>,
    /// Behind the last, whatever came of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Callback>,
}
