//! Who is on call: a pure function of a schedule and an instant.

use std::str::FromStr;

use chrono::Datelike;
use chrono_tz::Tz;
use serde::Serialize;
use watchkeep_catalog::Time;

use crate::config::{Invalid, Schedule};

mod crontab;
mod handoff;

pub(crate) use handoff::{Handoff, YEAR_MAX};

/// A rotation longer than this is surely a mistake.
const ROTATION_MAX: usize = 1_000;
/// The `cron` crate knows no earlier year.
pub(crate) const YEAR_MIN: i32 = 1970;

/// A schedule ready for questions.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    pub(crate) name: String,
    handoff: Handoff,
    start: Time,
    people: Vec<String>,
}

/// A shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shift {
    /// Who is on call.
    pub(crate) person: String,
    /// Since when: a hand-off, or the schedule's start; none before its start.
    pub(crate) since: Option<Time>,
    /// Until when; none when there is no hand-off before the year 2100.
    pub(crate) until: Option<Time>,
    /// Who comes next.
    pub(crate) next_person: String,
}

impl Rotation {
    /// Reads time zone and cron line.
    ///
    /// # Errors
    /// What is wrong, each with the schedule's field.
    pub(crate) fn new(schedule: &Schedule) -> Result<Self, Vec<Invalid>> {
        let mut found = Vec::new();
        let mut add = |path: &str, message: String| {
            found.push(Invalid { path: path.to_owned(), message });
        };
        if schedule.rotation.is_empty() || schedule.rotation.len() > ROTATION_MAX {
            let length = schedule.rotation.len();
            add("rotation", format!("it names {length} people: name 1 to {ROTATION_MAX}"));
        }
        if !(YEAR_MIN..=YEAR_MAX).contains(&schedule.start.year()) {
            let start = schedule.start;
            add(
                "start",
                format!("{start} is out of range: give {YEAR_MIN}-01-01 to {YEAR_MAX}-12-31"),
            );
        }
        let zone = Tz::from_str(&schedule.time_zone);
        if zone.is_err() {
            let zone = &schedule.time_zone;
            add(
                "time_zone",
                format!("{zone:?} is not a time zone: give an IANA name such as Europe/Berlin"),
            );
        }
        let handoff = Handoff::new(&schedule.handoff, zone.unwrap_or(Tz::UTC));
        match handoff {
            Err(message) => add("handoff", message),
            Ok(handoff) if found.is_empty() => {
                let start = handoff.midnight(schedule.start);
                if handoff.next(start).is_some() {
                    let people = schedule.rotation.clone();
                    return Ok(Self { name: schedule.name.clone(), handoff, start, people });
                }
                let message =
                    format!("{:?} never comes after {}", schedule.handoff, schedule.start);
                found.push(Invalid { path: "handoff".to_owned(), message });
            }
            Ok(_) => {}
        }
        Err(found)
    }

    /// Who is on call at `at`: the person changes at each hand-off after the start. Before it, it is the first.
    pub(crate) fn who(&self, at: Time) -> Shift {
        let count = if at > self.start { self.handoff.count(self.start, at) } else { 0 };
        let person = |number: u64| {
            // The remainder is below the number of people, so it is a usize.
            self.people[(number % self.people.len() as u64) as usize].clone()
        };
        let begun = (at >= self.start).then_some(self.start);
        Shift {
            person: person(count),
            since: begun.map(|start| self.handoff.last(start, at).unwrap_or(start)),
            until: self.handoff.next(at.max(self.start)),
            next_person: person(count + 1),
        }
    }
}

#[cfg(test)]
mod tests;
