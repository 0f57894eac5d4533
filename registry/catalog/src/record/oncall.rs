//! What people change in a schedule of the configuration: overrides, swaps, temporary schedules.

use serde::{Deserialize, Serialize};

use crate::Time;

/// From an instant (with it) to another (without it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First instant.
    pub from: Time,
    /// First instant behind it.
    pub to: Time,
}

impl Span {
    /// Whether it covers `at`.
    #[must_use]
    pub fn contains(&self, at: Time) -> bool {
        self.from <= at && at < self.to
    }
}

/// One shift of a temporary schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemporaryShift {
    /// Who.
    pub person: String,
    /// First instant.
    pub from: Time,
    /// First instant behind it.
    pub to: Time,
}

/// What is different from the schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChangeKind {
    /// This person is on call, whoever it would be.
    Override {
        /// Who.
        person: String,
    },
    /// Wherever the giver would be on call, the taker is. Without a taker it is offered, and changes nothing yet.
    Swap {
        /// Who cannot.
        giver: String,
        /// Who can.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        taker: Option<String>,
        /// In return the giver takes the taker's shifts of this span.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        back: Option<Span>,
    },
    /// Only these shifts hold; between them nobody is on call.
    Temporary {
        /// In any order; of two that overlap the later one in the list holds.
        shifts: Vec<TemporaryShift>,
    },
}

/// A change of one schedule. They take effect in the order of [`Self::decided_at`]: the later wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleChange {
    /// Unique within the schedule.
    pub id: String,
    /// The schedule's name.
    pub schedule: String,
    /// First instant.
    pub from: Time,
    /// First instant behind it.
    pub to: Time,
    /// What is different.
    #[serde(flatten)]
    pub change: ChangeKind,
    /// Who entered it.
    pub by: String,
    /// When it was entered, or for a swap: taken.
    pub decided_at: Time,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
}

impl ScheduleChange {
    /// Whom it names.
    #[must_use]
    pub fn people(&self) -> Vec<&str> {
        match &self.change {
            ChangeKind::Override { person } => vec![person],
            ChangeKind::Swap { giver, taker, .. } => {
                std::iter::once(giver.as_str()).chain(taker.as_deref()).collect()
            }
            ChangeKind::Temporary { shifts } => shifts.iter().map(|shift| &*shift.person).collect(),
        }
    }

    /// The first instant behind everything it changes.
    #[must_use]
    pub fn end(&self) -> Time {
        match &self.change {
            ChangeKind::Swap { back: Some(back), .. } => self.to.max(back.to),
            _ => self.to,
        }
    }
}
