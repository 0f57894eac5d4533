//! A report's record in the registry: when it was due last, to whom it goes, and how far that is. Pure.

use chrono::TimeDelta;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use watchkeep_catalog::Time;

use crate::{slo::schedule::ReportSchedule, text};

/// Attempts until a delivery is given up: about a day of a receiver that is down.
const ATTEMPTS_MAX: u32 = 40;
/// Longest pause between two attempts.
const PAUSE_SECONDS_MAX: i64 = 3_600;
/// Longest error kept with a delivery, in characters.
const ERROR_MAX: usize = 300;

/// Record at `/watchkeep/slo-reports/{name}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dispatch {
    /// When the report was due last; of a new one, when it was heard of.
    pub(super) due: Time,
    /// The schedule as it was then. Another one is not due for the past.
    #[serde(default)]
    pub(super) schedule: String,
    /// It is not due up to then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Time>,
    /// To whom it goes.
    pub(super) deliveries: Vec<Delivery>,
}

/// One way to one person or receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delivery {
    pub(super) receiver: String,
    pub(super) channel: String,
    state: State,
    attempts: u32,
    /// The next attempt is not made before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    Delivered,
    GivenUp,
}

impl Dispatch {
    /// What is heard of for the first time is not due for the past.
    pub(super) fn new(schedule: &ReportSchedule, usual: Tz, now: Time) -> Self {
        let schedule = format!("{} {}", schedule.schedule, schedule.zone(usual));
        Self { due: now, schedule, since: None, deliveries: Vec::new() }
    }

    /// This record; or, when the schedule has changed, the one to be written first.
    pub(super) fn under(
        self,
        schedule: &ReportSchedule,
        usual: Tz,
        now: Time,
    ) -> Result<Self, Self> {
        let changed = Self::new(schedule, usual, now);
        match self.schedule == changed.schedule {
            true => Ok(self),
            // What is pending of the last one still goes out.
            false => Err(Self {
                due: self.due,
                since: Some(now),
                deliveries: self.deliveries,
                ..changed
            }),
        }
    }

    /// Behind which moment it is due.
    pub(super) fn after(&self) -> Time {
        self.since.map_or(self.due, |since| since.max(self.due))
    }
}

impl Delivery {
    pub(super) fn new(receiver: &str, channel: &str) -> Self {
        let (receiver, channel) = (receiver.to_owned(), channel.to_owned());
        Self {
            receiver,
            channel,
            state: State::Pending,
            attempts: 0,
            not_before: None,
            error: None,
        }
    }

    pub(super) fn is_due(&self, now: Time) -> bool {
        self.state == State::Pending && self.not_before.is_none_or(|at| at <= now)
    }

    /// Enters an outcome.
    pub(super) fn attempted(&mut self, outcome: Result<(), String>, now: Time) {
        self.attempts += 1;
        match outcome {
            Ok(()) => (self.state, self.error, self.not_before) = (State::Delivered, None, None),
            Err(error) => {
                self.error = Some(text::shorten(&error, ERROR_MAX));
                let pause = (1_i64 << self.attempts.min(20)).min(PAUSE_SECONDS_MAX);
                self.not_before = Some(now + TimeDelta::seconds(pause));
                if self.attempts >= ATTEMPTS_MAX {
                    self.state = State::GivenUp;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
