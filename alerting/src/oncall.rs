//! Who is on call: a pure function of a schedule, what people changed in it, and an instant.
//!
//! ```text
//! layers ──▶ rotation (who has the turn) ∩ restrictions (when it counts) ──▶ the last layer with somebody wins
//!        ──▶ overrides, swaps, temporary schedules, in the order in which they were decided ──▶ the final schedule
//! ```

use chrono::{Datelike, NaiveTime};
use chrono_tz::Tz;
use watchkeep_catalog::Time;

use crate::config::{Invalid, Layer};

mod changes;
mod crontab;
mod handoff;
mod ics;
mod restriction;
mod schedule;
mod turns;
mod wall;

pub(crate) use changes::{
    Changes, check as check_change, check_effect, put as put_change, read_changes,
    remove as remove_change,
};
pub(crate) use handoff::{Handoff, YEAR_MAX};
pub(crate) use ics::{Entry, calendar};
pub(crate) use restriction::Restrictions;
pub(crate) use schedule::{Duty, Schedule, Shift};
use turns::Turns;
pub use wall::{wall_clock, wall_instant};

/// A rotation longer than this is surely a mistake.
const ROTATION_MAX: usize = 1_000;
/// The `cron` crate knows no earlier year.
pub(crate) const YEAR_MIN: i32 = 1970;

/// Who has the turn: one after the other, changing at each hand-off after the start.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    turns: Turns,
    start: Time,
    people: Vec<String>,
}

impl Rotation {
    /// Reads the hand-offs.
    ///
    /// # Errors
    /// What is wrong, each with the layer's field.
    fn new(zone: Tz, layer: &Layer) -> Result<Self, Vec<Invalid>> {
        let mut found = Vec::new();
        let mut add = |path: &str, message: String| {
            found.push(Invalid { path: path.to_owned(), message });
        };
        if layer.rotation.is_empty() || layer.rotation.len() > ROTATION_MAX {
            let length = layer.rotation.len();
            add("rotation", format!("it names {length} people: name 1 to {ROTATION_MAX}"));
        }
        if !(YEAR_MIN..=YEAR_MAX).contains(&layer.start.year()) {
            let start = layer.start;
            add(
                "start",
                format!("{start} is out of range: give {YEAR_MIN}-01-01 to {YEAR_MAX}-12-31"),
            );
        }
        let time = match (&layer.time, &layer.every) {
            (None, _) => Ok(NaiveTime::MIN),
            (Some(time), Some(_)) => restriction::time_of_day(time),
            (Some(_), None) => {
                Err("it goes with every; a cron line says the time itself".to_owned())
            }
        };
        let time = time.unwrap_or_else(|message| {
            add("time", message);
            NaiveTime::MIN
        });
        let start = wall::first(zone, layer.start.and_time(time));
        let turns = match (&layer.handoff, &layer.every) {
            (Some(line), None) => Handoff::new(line, zone)
                .map(|h| Turns::Cron(Box::new(h)))
                .map_err(|message| ("handoff", message)),
            (None, Some(every)) => {
                Turns::every(every, layer.start, time, zone).map_err(|message| ("every", message))
            }
            _ => Err(("handoff", "give handoff or every, one of the two".to_owned())),
        };
        match turns {
            Err((field, message)) => add(field, message),
            Ok(turns) if found.is_empty() => {
                if turns.next(start, start).is_some() {
                    let people = layer.rotation.clone();
                    return Ok(Self { turns, start, people });
                }
                let line = layer.handoff.as_deref().unwrap_or_default();
                let message = format!("{line:?} never comes after {}", layer.start);
                found.push(Invalid { path: "handoff".to_owned(), message });
            }
            Ok(_) => {}
        }
        Err(found)
    }

    /// Which turn it is at `at`: 0 until the first hand-off, and before the start.
    fn number(&self, at: Time) -> u64 {
        self.turns.count(self.start, at)
    }

    /// Whose turn number `number` is.
    fn person(&self, number: u64) -> &str {
        // The remainder is below the number of people, so it is a usize.
        &self.people[(number % self.people.len() as u64) as usize]
    }

    /// The first hand-off behind `after` and the start.
    fn next(&self, after: Time) -> Option<Time> {
        self.turns.next(self.start, after)
    }

    /// Who has the turn at `at`; before the start it is the first.
    fn who(&self, at: Time) -> Shift {
        let number = self.number(at);
        let begun = (at >= self.start).then_some(self.start);
        Shift {
            person: Some(self.person(number).to_owned()),
            since: begun.map(|start| self.turns.last(start, at).unwrap_or(start)),
            until: self.next(at),
            next_person: Some(self.person(number + 1).to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
